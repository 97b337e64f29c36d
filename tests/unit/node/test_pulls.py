"""Copies under way: parts, how many at a time and of whom, and what does not come."""

from __future__ import annotations

from tests.unit.node.clusters import EAST, WEST
from zgen.ids import PeerId
from zgen.limits import (
    CHUNK_BYTES,
    CHUNK_TRIES_COUNT_MAX,
    CHUNKS_ASKED_COUNT_MAX,
    CHUNKS_COUNT_MAX,
    CHUNKS_OF_NODE_COUNT_MAX,
    CHUNKS_STALLED_NS,
)
from zgen.wire.store import Place
from zgen_node.core.pulls import Ask, Pull, Pulls

SIZE = (CHUNKS_COUNT_MAX + 1) * CHUNK_BYTES + 5
PLACE = Place(1, 0, 99 * CHUNK_BYTES, 99 * CHUNK_BYTES, False)
STRETCH = CHUNKS_ASKED_COUNT_MAX * CHUNK_BYTES


def begun(
    size_bytes: int = SIZE, region: int = 7, pulls: Pulls | None = None
) -> tuple[Pulls, Pull]:
    pulls = Pulls() if pulls is None else pulls
    pull = pulls.begin(region, EAST, PLACE)
    pulls.invite(pull, EAST)
    pull.size_bytes = size_bytes
    pulls.join(pull, EAST)
    pulls.check()
    return pulls, pull


def asked(pulls: Pulls, pull: Pull, now_ns: int = 0) -> list[tuple[PeerId, int, int]]:
    asks = pulls.next_asks(pull, now_ns)
    pulls.check()
    return [(ask.node, ask.offset, ask.size_bytes) for ask in asks]


def test_nothing_is_asked_for_before_somebody_holds_it() -> None:
    pulls = Pulls()
    pull = pulls.begin(7, EAST, PLACE)
    pulls.invite(pull, EAST)
    pull.size_bytes = SIZE
    assert asked(pulls, pull) == []
    assert not pull.is_done


def test_only_so_many_parts_are_under_way_and_several_are_asked_for_at_once() -> None:
    pulls, pull = begun()
    whole = CHUNKS_COUNT_MAX * CHUNK_BYTES
    assert asked(pulls, pull) == [(EAST, start, STRETCH) for start in range(0, whole, STRETCH)]
    pulls.written(pull, CHUNK_BYTES, 0)
    assert asked(pulls, pull) == [], "a little later, with more"
    pulls.written(pull, 0, 0)
    assert asked(pulls, pull) == [(EAST, whole, CHUNK_BYTES + 5)]


def test_what_does_not_follow_is_asked_for_by_itself() -> None:
    ask = Ask(EAST, CHUNK_BYTES, CHUNK_BYTES)
    assert ask.takes(2 * CHUNK_BYTES)
    assert not ask.takes(3 * CHUNK_BYTES)
    assert not Ask(EAST, 0, STRETCH).takes(STRETCH)


def test_it_is_done_when_all_parts_are_here() -> None:
    pulls, pull = begun(CHUNK_BYTES + 1)
    asked(pulls, pull)
    for offset in (0, CHUNK_BYTES):
        assert not pull.is_done
        pulls.written(pull, offset, 0)
    assert pull.is_done
    pulls.end(pull)
    pulls.check()
    assert (len(pulls), pulls.get(pull.pull), pulls.deadlines.next_ns) == (0, None, None)
    assert pulls.was(pull.pull)
    assert not pulls.was(pull.pull + 1)


def test_a_damaged_part_is_asked_for_a_few_times() -> None:
    pulls, pull = begun(2 * CHUNK_BYTES)
    asked(pulls, pull)
    for _ in range(CHUNK_TRIES_COUNT_MAX - 1):
        assert pulls.came_damaged(pull, 0)
        assert asked(pulls, pull) == [(EAST, 0, CHUNK_BYTES)]
    assert not pulls.came_damaged(pull, 0)
    assert not pulls.came_damaged(pull, 0), "it is not under way"


def test_parts_come_of_several_sources() -> None:
    pulls, pull = begun(7 * CHUNK_BYTES)
    assert pulls.invite(pull, WEST)
    assert not pulls.invite(pull, WEST)
    assert not pulls.invite(pull, EAST)
    asked(pulls, pull)
    pulls.join(pull, WEST)
    first = CHUNKS_COUNT_MAX * CHUNK_BYTES
    assert asked(pulls, pull)[0] == (WEST, first, STRETCH)
    pulls.leave(pull, EAST)
    again = asked(pulls, pull)
    assert again == [], "it has enough to send"
    for offset in range(first, 7 * CHUNK_BYTES, CHUNK_BYTES):
        pulls.written(pull, offset, 0)
    assert asked(pulls, pull)[0] == (WEST, 0, STRETCH)
    pulls.leave(pull, WEST)
    assert pull.is_hopeless
    pulls.end(pull)
    pulls.check()


def test_what_does_not_come_is_asked_for_again_each_time_later() -> None:
    pulls, pull = begun(CHUNK_BYTES)
    asked(pulls, pull)
    now_ns = 0
    for doubled in range(3):
        now_ns += CHUNKS_STALLED_NS << doubled
        assert pulls.deadlines.next_ns == now_ns
        assert pulls.stalled(now_ns - 1) == []
        assert pulls.stalled(now_ns) == [(pull, EAST)]
        pulls.check()
        assert asked(pulls, pull, now_ns) == [(EAST, 0, CHUNK_BYTES)]


def test_what_comes_moves_the_deadline_and_late_or_double_parts_count_once() -> None:
    pulls, pull = begun(3 * CHUNK_BYTES)
    asked(pulls, pull)
    pulls.written(pull, 0, 5)
    assert pulls.deadlines.next_ns == 5 + CHUNKS_STALLED_NS
    pulls.written(pull, 0, 6)
    pulls.check()
    assert pulls.stalled(5 + CHUNKS_STALLED_NS) == [(pull, EAST)]
    pulls.written(pull, CHUNK_BYTES, 7)
    pulls.check()
    assert asked(pulls, pull) == [(EAST, 2 * CHUNK_BYTES, CHUNK_BYTES)]
    pulls.written(pull, 2 * CHUNK_BYTES, 8)
    assert pull.is_done
    pulls.end(pull)


def test_the_slowest_is_asked_last() -> None:
    pulls, pull = begun(2 * CHUNK_BYTES)
    asked(pulls, pull)
    pulls.invite(pull, WEST)
    pulls.join(pull, WEST)
    pulls.stalled(CHUNKS_STALLED_NS)
    assert asked(pulls, pull) == [(WEST, 0, 2 * CHUNK_BYTES)]


def test_all_copies_of_a_node_share_what_may_be_under_way() -> None:
    pulls = Pulls()
    count = CHUNKS_OF_NODE_COUNT_MAX // CHUNKS_COUNT_MAX
    several = [begun(SIZE, number, pulls)[1] for number in range(count + 1)]
    for pull in several[:-1]:
        assert asked(pulls, pull) != []
    assert asked(pulls, several[-1]) == []
    assert pulls.starved() == []
    pulls.end(several[0])
    assert pulls.starved() == [several[-1]]
    assert asked(pulls, several[-1]) != []
    assert asked(pulls, several[-1]) == []
    pulls.begin(99, EAST, PLACE)
    assert pulls.starved() == []


def test_a_second_copying_of_a_region_has_another_number() -> None:
    pulls, pull = begun()
    other = pulls.begin(8, WEST, PLACE)
    pulls.end(pull)
    assert pulls.begin(7, EAST, PLACE).pull not in (pull.pull, other.pull)
    assert len(pulls.all()) == 2
