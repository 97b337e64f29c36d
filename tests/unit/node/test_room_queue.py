import pytest

from tests.unit.node.fakes import peer
from zgen.ids import NO_STREAM, PeerId
from zgen.limits import EVICT_AGAIN_NS, STORE_FULL_NS
from zgen.wire.store import WantRegions
from zgen_node.core.room_queue import Request, RoomQueue

A, B = peer("a"), peer("b")


def want(queue: RoomQueue, writer: PeerId = A, owner: PeerId = B, now_ns: int = 0) -> Request:
    queue.want(writer, WantRegions(1, owner, NO_STREAM, 5, 1), 4096, now_ns)
    queue.check()
    return queue.wants()[-1]


def test_requests_stand_in_order_of_arrival_until_they_end() -> None:
    queue = RoomQueue()
    first, second = want(queue), want(queue, B, B)
    assert queue.wants() == [first, second]
    assert (queue.of(A), queue.of(B)) == ([first], [first, second])
    queue.end(first)
    queue.check()
    assert first not in queue
    assert (queue.of(A), queue.of(B)) == ([], [second])
    queue.end(second)
    queue.check()
    assert not queue
    assert queue.deadlines.next_ns is None


def test_a_region_comes_back_once_however_many_want_it() -> None:
    queue = RoomQueue()
    queue.restore(3, B, 4096, 0)
    queue.restore(3, B, 4096, 1)
    queue.check()
    (request,) = queue.restores()
    assert (request.region, request.owner) == (3, B)
    assert queue.of(B) == []
    assert queue.has_restore(3)
    queue.end_restore(3)
    queue.end_restore(3)
    queue.check()
    assert len(queue) == 0


def test_a_request_gives_up_when_no_room_was_made_for_long() -> None:
    queue = RoomQueue()
    request = want(queue)
    assert queue.on_timer(STORE_FULL_NS - 1) == []
    assert queue.on_timer(STORE_FULL_NS) == [request]
    queue.check()
    queue.postpone(request, STORE_FULL_NS + 5)
    assert queue.deadlines.next_ns == STORE_FULL_NS + 5


def test_room_that_was_made_has_all_wait_longer() -> None:
    queue = RoomQueue()
    request = want(queue)
    queue.made_room(100)
    assert queue.on_timer(STORE_FULL_NS) == []
    assert queue.deadlines.next_ns == STORE_FULL_NS + 100
    assert queue.on_timer(STORE_FULL_NS + 100) == [request]


def test_a_request_that_is_held_back_counts_from_when_it_is_not() -> None:
    queue = RoomQueue()
    request = want(queue)
    assert queue.hold_back(request.key, B, STORE_FULL_NS - 1)
    assert queue.on_timer(STORE_FULL_NS) == []
    at_ns = STORE_FULL_NS - 1 + EVICT_AGAIN_NS
    assert queue.on_timer(at_ns) == []
    assert not request.held_back
    assert queue.deadlines.next_ns == at_ns + STORE_FULL_NS


def test_only_the_owner_of_a_request_that_waits_holds_it_back() -> None:
    queue = RoomQueue()
    request = want(queue)
    queue.restore(3, B, 4096, 0)
    assert not queue.hold_back(request.key, A, 0)
    assert not queue.hold_back(queue.restores()[0].key, B, 0)
    assert not queue.hold_back(99, B, 0)


def test_an_owner_lets_go_of_its_own_requests_only() -> None:
    queue = RoomQueue()
    own, other, loose = want(queue), want(queue, B, A), want(queue)
    queue.hold_back(own.key, B, 0)
    queue.hold_back(other.key, A, 0)
    queue.let_go(B, 5)
    assert [made.held_back for made in (own, other, loose)] == [False, True, False]
    assert (own.since_ns, loose.since_ns) == (5, 0)


@pytest.mark.parametrize("part", ["_requests", "_wants", "_restores", "_keys_of"])
def test_a_one_sided_entry_is_found_by_the_check(part: str) -> None:
    queue = RoomQueue()
    want(queue)
    queue.restore(3, B, 4096, 0)
    getattr(queue, part).clear()
    with pytest.raises((AssertionError, KeyError)):
        queue.check()
