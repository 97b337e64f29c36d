"""What waits of streams, by items and by bytes, of one and of all of an actor."""

from __future__ import annotations

import pytest

from tests.unit.core.names import task
from zgen.core.metering import Metering
from zgen.ids import TaskId
from zgen.wire.stream import PARKED_BY_ACTOR, PARKED_BY_BYTES, PARKED_BY_ITEMS

A, B, C = task("a"), task("b"), task("c")


class Counted(Metering):
    """A table whose every change is followed by ``check()``, and how far each stream has come."""

    def __init__(self, items_max: int = 0, bytes_max: int = 0) -> None:
        super().__init__()
        self.items_max, self.bytes_max = items_max, bytes_max
        self.index: dict[TaskId, int] = {}

    def yields(self, stream: TaskId, size_bytes: int) -> bool:
        """Yield an item; return whether it is let in. One that is kept back is not counted."""
        index = self.index.get(stream, 0)
        is_in = self.admit(stream, index, size_bytes, (b"item",))
        self.index[stream] = index + is_in
        self.check()
        return is_in

    def may_go_on(self, stream: TaskId) -> bool:
        """Whoever lets an item in takes it out, and yields it."""
        goes_on = super().may_go_on(stream)
        if goes_on:
            self.meters[stream].values = ()
        return goes_on


def metered(items_max: int = 0, bytes_max: int = 0, taken: int = 0) -> Counted:
    """One stream, ``A``, with a window of its own."""
    table = Counted()
    table.open(A, items_max, bytes_max, taken)
    return table


def shared(items_max: int = 0, bytes_max: int = 0, *, count: int = 2) -> Counted:
    """Some streams of an actor, without windows of their own."""
    table = Counted(items_max, bytes_max)
    for stream in (A, B, C)[:count]:
        table.open(stream, 0, 0, 0)
    return table


# -- one stream ----------------------------------------------------------------------------------
def test_items_are_let_in_until_the_bytes_of_the_window_are_used_up() -> None:
    table = metered(bytes_max=100)
    assert [table.yields(A, 40) for _ in range(3)] == [True, True, False]
    assert table.meters[A].parked_by == PARKED_BY_BYTES
    assert (table.meters[A].waiting_bytes, len(table.meters[A].sizes)) == (80, 2)
    assert not table.may_go_on(A)
    table.take(A, 1)
    assert table.may_go_on(A)
    assert list(table.meters[A].sizes) == [40, 40]


def test_a_window_that_fits_exactly_is_full() -> None:
    table = metered(bytes_max=100)
    assert table.yields(A, 60)
    assert not table.fill(A)
    assert table.yields(A, 40)
    assert table.fill(A)
    assert table.meters[A].parked_by == PARKED_BY_BYTES
    table.take(A, 1)
    assert table.may_go_on(A)
    assert (table.meters[A].next_bytes, table.parked) == (0, {})
    table.check()


def test_items_are_counted_beside_bytes() -> None:
    table = metered(items_max=2, bytes_max=100)
    assert table.yields(A, 1)
    assert not table.fill(A)
    assert table.yields(A, 1)
    assert table.fill(A)
    assert table.meters[A].parked_by == PARKED_BY_ITEMS


@pytest.mark.parametrize("bytes_max", [1, 50])
def test_an_item_that_is_larger_than_the_window_comes_alone(bytes_max: int) -> None:
    table = metered(bytes_max=bytes_max)
    assert table.yields(A, 1000)
    assert not table.yields(A, 1000)
    table.take(A, 1)
    assert table.may_go_on(A)
    assert table.yields(A, 1000), "it was let in when the one before was taken"
    assert not table.yields(A, 1)


def test_an_item_that_is_still_to_come_is_let_in_once() -> None:
    table = metered(bytes_max=100)
    assert table.admit(A, 0, 80)
    assert table.meters[A].is_reserved
    assert table.yields(A, 80)
    assert list(table.meters[A].sizes) == [80]
    assert not table.admit(A, 1, 80)
    table.take(A, 1)
    assert table.may_go_on(A)
    assert table.meters[A].is_reserved
    table.check()


def test_what_a_replay_repeats_of_taken_items_does_not_count() -> None:
    table = metered(bytes_max=100, taken=2)
    assert [table.yields(A, 90) for _ in range(4)] == [True, True, True, False]
    assert list(table.meters[A].sizes) == [90]


def test_items_that_are_taken_ahead_of_a_replay_are_counted_out_once() -> None:
    table = metered(bytes_max=100)
    assert table.yields(A, 90)
    table.take(A, 5)
    table.take(A, 3)
    assert (table.meters[A].taken, table.meters[A].waiting_bytes) == (5, 0)
    assert [table.yields(A, 90) for _ in range(4)] == [True] * 4


def test_what_earlier_attempts_left_counts_until_all_of_it_is_taken() -> None:
    table = metered(bytes_max=100, taken=3)
    table.resume(A, 6, 70)
    table.index[A] = 6
    assert not table.yields(A, 40)
    table.take(A, 5)
    assert not table.may_go_on(A)
    table.take(A, 6)
    assert table.may_go_on(A)
    table.check()


def test_a_body_that_goes_on_behind_what_was_taken_has_nothing_waiting() -> None:
    table = metered(bytes_max=100, taken=3)
    table.resume(A, 3, 0)
    assert not table.meters[A].sizes
    table.check()


@pytest.mark.parametrize(("items_max", "begins"), [(0, 6), (4, 6), (3, 5), (1, 3)])
def test_a_body_that_goes_on_behind_a_full_window_yields_its_last_item_again(
    items_max: int, begins: int
) -> None:
    table = metered(items_max=items_max, bytes_max=100, taken=3)
    assert table.resume(A, 6, 70) == begins
    table.check()


def test_the_item_that_was_kept_back_is_handed_out_at_the_end() -> None:
    table = metered(bytes_max=1)
    assert table.yields(A, 5)
    assert not table.yields(A, 5)
    assert table.values() == [b"item"]
    assert table.close(A) == (b"item",)
    assert (table.items_count, table.waiting_bytes, table.parked) == (0, 0, {})
    assert table.close(A) == ()


# -- all streams of an actor ---------------------------------------------------------------------
def test_streams_of_an_actor_share_its_items_evenly() -> None:
    table = shared(items_max=4)
    assert [table.yields(A, 1) for _ in range(3)] == [True, True, False]
    assert table.meters[A].parked_by == PARKED_BY_ACTOR
    assert [table.yields(B, 1) for _ in range(3)] == [True, True, False]
    table.take(B, 1)
    assert not table.may_go_on(A), "the others may have theirs"
    assert table.may_go_on(B)
    table.check()


def test_streams_of_an_actor_share_its_bytes_evenly() -> None:
    table = shared(bytes_max=100)
    assert [table.yields(A, 25) for _ in range(3)] == [True, True, False]
    assert table.meters[A].parked_by == PARKED_BY_ACTOR
    assert [table.yields(B, 50), table.yields(B, 1)] == [True, False]


def test_each_stream_of_an_actor_may_have_one_item_whatever_others_have() -> None:
    table = shared(items_max=1, bytes_max=10, count=3)
    assert [table.yields(each, 100) for each in (A, B, C)] == [True] * 3
    assert [table.yields(each, 100) for each in (A, B, C)] == [False] * 3
    table.take(C, 1)
    assert [table.may_go_on(each) for each in (A, B, C)] == [False, False, True]


def test_a_new_stream_of_an_actor_gets_its_share_when_others_are_read() -> None:
    table = shared(items_max=4, count=1)
    assert [table.yields(A, 1) for _ in range(5)] == [True] * 4 + [False]
    table.open(B, 0, 0, 0)
    assert [table.yields(B, 1), table.yields(B, 1)] == [True, False]
    table.take(A, 2)
    assert not table.may_go_on(A), "two of four are its share now"
    assert table.may_go_on(B)
    table.close(B)
    assert table.may_go_on(A)
    table.check()


def test_what_waits_of_all_streams_of_an_actor_is_counted_in_and_out() -> None:
    table = shared(items_max=4, bytes_max=100)
    assert [table.yields(A, 10), table.yields(A, 5), table.yields(B, 20)] == [True] * 3
    assert (table.items_count, table.waiting_bytes) == (3, 35)
    table.take(A, 1)
    assert (table.items_count, table.waiting_bytes) == (2, 25)
    table.close(A)
    assert (table.items_count, table.waiting_bytes) == (1, 20)


def test_bytes_of_an_actor_are_full_though_a_share_is_not() -> None:
    table = shared(bytes_max=100, count=1)
    assert table.yields(A, 90)
    table.open(B, 0, 0, 0)
    assert [table.yields(B, 20), table.yields(B, 20)] == [True, False]
    assert table.meters[B].parked_by == PARKED_BY_ACTOR


# -- check ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("broken", ["count", "bytes", "sum", "parked", "value", "waits", "window"])
def test_check_finds_what_does_not_add_up(broken: str) -> None:
    is_of_all = broken in ("count", "bytes")
    table = shared(bytes_max=100, count=1) if is_of_all else metered(bytes_max=100)
    table.yields(A, 60)
    assert not table.yields(A, 60)
    meter = table.meters[A]
    if broken == "count":
        table.items_count += 1
    elif broken == "bytes":
        table.waiting_bytes += 1
    elif broken == "sum":
        meter.sizes[0] += 1
    elif broken == "parked":
        table.parked.clear()
    elif broken == "value":
        meter.parked_by = 0
        table.parked.clear()
    elif broken == "waits":
        meter.next_bytes = 10
    else:
        meter.sizes.append(60)
        meter.waiting_bytes += 60
    with pytest.raises(AssertionError):
        table.check()
