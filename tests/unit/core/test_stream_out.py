"""Reports: at once on an idle line, together on a busy one, in order always."""

from __future__ import annotations

import pytest

from tests.unit.core.names import ME, peer, task
from zgen.core.effects import Effect, Send
from zgen.core.stream_out import StreamsOut
from zgen.ids import PeerId, TaskId
from zgen.limits import BATCH_BYTES_MAX, BATCH_COUNT_MAX, LINE_BUSY_NS, LINE_TICK_NS
from zgen.wire.schema import Buffers
from zgen.wire.stream import ReportEnd, ReportItems
from zgen.wire.task import OUTCOME_ERROR, OUTCOME_VALUE, Outcome, TasksDone
from zgen.wire.value import Parcel, Value

S, T = task("stream"), task("other stream")
OTHER = peer("other")
ERROR = Parcel(b"error", (b"frame",), True)


class Reports:
    """The reports of a worker and the time."""

    def __init__(self, *streams: TaskId) -> None:
        self.table = StreamsOut()
        self.now_ns = 10 * LINE_TICK_NS
        for stream in streams:
            self.table.open(stream, 0, ME)

    def item(self, value: Value, stream: TaskId = S, attempt: int = 0) -> list[Effect]:
        out: list[Effect] = []
        self.table.add_item(stream, attempt, value, self.now_ns, out)
        self.table.check()
        return out

    def end(self, *error: Value, stream: TaskId = S) -> list[Effect]:
        out: list[Effect] = []
        outcome = OUTCOME_ERROR if error else OUTCOME_VALUE
        self.table.end(stream, outcome, 77, error, self.now_ns, out)
        self.table.check()
        return out

    def outcome(
        self, name: str, *values: Value, owner: PeerId = ME, patience_ns: int = LINE_BUSY_NS
    ) -> list[Effect]:
        out: list[Effect] = []
        how = (task(name), 0, OUTCOME_VALUE, 5)
        self.table.add_outcome(owner, how, values, patience_ns, self.now_ns, out)
        self.table.check()
        return out

    def due(self) -> int | None:
        return self.table.deadlines.next_ns

    def tick(self) -> list[Effect]:
        """Let the deadline come."""
        due_ns = self.due()
        assert due_ns is not None
        self.now_ns = max(self.now_ns, due_ns)
        out: list[Effect] = []
        self.table.on_timer(self.now_ns, out)
        self.table.check()
        return out


def items(first: int, *entries: bytes, stream: TaskId = S) -> Send:
    size = sum(map(len, entries))
    return Send(ME, ReportItems(stream, 0, first, entries), None, size)


def end(count: int, stream: TaskId = S) -> Send:
    return Send(ME, ReportEnd(stream, 0, count, OUTCOME_VALUE, 77, ()))


# -- items ---------------------------------------------------------------------------------------
def test_an_item_leaves_an_idle_line_at_once() -> None:
    reports = Reports(S)
    assert reports.item(b"a") == [items(0, b"a")]
    reports.now_ns += LINE_BUSY_NS
    assert reports.item(b"b") == [items(1, b"b")]
    assert reports.due() is None


def test_items_of_a_busy_line_leave_together_when_it_is_idle_again() -> None:
    reports = Reports(S)
    reports.item(b"a")
    assert reports.item(b"b") == []
    reports.now_ns += LINE_BUSY_NS - 1
    assert reports.item(b"c") == []
    reports.now_ns += 1
    assert reports.item(b"d") == [items(1, b"b", b"c", b"d")]


def test_the_first_waiting_item_waits_for_a_tick_at_most() -> None:
    reports = Reports(S)
    reports.item(b"a")
    reports.now_ns += 7
    first_ns = reports.now_ns
    reports.item(b"b")
    reports.now_ns += 7
    reports.item(b"c")
    assert reports.due() == first_ns + LINE_TICK_NS
    assert reports.tick() == [items(1, b"b", b"c")]
    assert reports.due() is None


def test_a_tick_that_finds_a_line_flushed_a_moment_ago_comes_again() -> None:
    reports = Reports(S)
    reports.item(b"a")
    reports.item(b"b")
    reports.now_ns += LINE_BUSY_NS
    reports.item(b"c")
    flushed_ns = reports.now_ns
    reports.item(b"d")
    assert reports.tick() == []
    assert reports.due() == flushed_ns + LINE_TICK_NS
    assert reports.tick() == [items(3, b"d")]


def test_a_tick_that_finds_nothing_is_the_last() -> None:
    reports = Reports(S)
    reports.item(b"a")
    reports.item(b"b")
    reports.now_ns += LINE_BUSY_NS
    reports.item(b"c")
    assert reports.tick() == []
    assert reports.due() is None


def test_a_full_batch_does_not_wait() -> None:
    reports = Reports(S)
    reports.item(b"a")
    for _ in range(BATCH_COUNT_MAX - 1):
        assert reports.item(b"") == []
    assert reports.item(b"") == [items(1, *[b""] * BATCH_COUNT_MAX)]
    half = Parcel(b"x", (bytes(BATCH_BYTES_MAX // 2),))
    assert reports.item(half) == []
    assert len(reports.item(half)) == 1


def test_buffers_and_their_bytes_go_with_the_report() -> None:
    reports = Reports(S)
    frames = Buffers((b"123", b"45"))
    message = ReportItems(S, 0, 0, ((0, b"x", 2),), frames)
    assert reports.item(Parcel(b"x", frames)) == [Send(ME, message, None, 6)]


def test_streams_of_one_owner_share_a_flush_in_the_order_of_their_first_items() -> None:
    reports = Reports(S, T)
    reports.item(b"a")
    reports.item(b"b", T)
    reports.item(b"c")
    reports.item(b"d", T)
    assert reports.tick() == [items(0, b"b", b"d", stream=T), items(1, b"c")]


def test_an_item_of_another_attempt_is_our_bug() -> None:
    with pytest.raises(AssertionError, match="another attempt"):
        Reports(S).item(b"a", attempt=1)


# -- ends ----------------------------------------------------------------------------------------
def test_the_end_leaves_at_once_behind_the_items_and_everything_on_its_line() -> None:
    reports = Reports(S, T)
    reports.item(b"a")
    reports.item(b"b", T)
    reports.item(b"c")
    done = reports.end()
    assert done == [items(1, b"c"), items(0, b"b", stream=T), end(2)]
    assert list(reports.table.streams) == [T]


def test_the_end_of_a_stream_without_items_says_zero() -> None:
    assert Reports(S).end() == [end(0)]


def test_an_error_goes_with_the_end() -> None:
    reports = Reports(S)
    message = ReportEnd(S, 0, 0, OUTCOME_ERROR, 77, ((1, b"error", 1),), Buffers((b"frame",)))
    assert reports.end(ERROR) == [Send(ME, message)]


# -- outcomes ------------------------------------------------------------------------------------
def done(*named_values: tuple[str, bytes]) -> Send:
    outcomes = [Outcome(task(name), 0, OUTCOME_VALUE, 5, (value,)) for name, value in named_values]
    return Send(ME, TasksDone(tuple(outcomes)))


def test_an_outcome_leaves_an_idle_line_at_once_and_a_busy_one_together() -> None:
    reports = Reports()
    assert reports.outcome("a", b"1") == [done(("a", b"1"))]
    assert reports.outcome("b", b"2") == []
    assert reports.outcome("c", b"3") == []
    assert reports.tick() == [done(("b", b"2"), ("c", b"3"))]


def test_an_outcome_with_nothing_behind_it_takes_along_what_waits() -> None:
    reports = Reports()
    reports.outcome("a", b"1")
    assert reports.outcome("b", b"2") == []
    assert reports.outcome("c", b"3", patience_ns=0) == [done(("b", b"2"), ("c", b"3"))]


def test_an_outcome_waits_for_as_long_as_it_has_patience() -> None:
    reports = Reports()
    reports.outcome("a", b"1")
    reports.now_ns += LINE_BUSY_NS
    assert reports.outcome("b", b"2", patience_ns=LINE_TICK_NS) == []
    assert reports.outcome("c", b"3") == [done(("b", b"2"), ("c", b"3"))]


def test_an_outcome_of_many_bytes_does_not_wait() -> None:
    reports = Reports()
    reports.outcome("a", b"1")
    large = bytes(BATCH_BYTES_MAX)
    message = TasksDone(
        (Outcome(task("b"), 0, OUTCOME_VALUE, 5, ((2, b"", 1),)),), Buffers((large,))
    )
    assert reports.outcome("b", large) == [Send(ME, message)]


def test_items_go_in_front_of_outcomes_and_owners_do_not_wait_for_each_other() -> None:
    reports = Reports(S)
    reports.outcome("a", b"1")
    reports.outcome("b", b"2")
    assert len(reports.outcome("x", b"0", owner=OTHER)) == 1
    assert reports.item(b"i") == []
    assert reports.tick() == [items(0, b"i"), done(("b", b"2"))]


# -- closing -------------------------------------------------------------------------------------
def test_a_closed_stream_drops_its_items_and_still_counts_them() -> None:
    reports = Reports(S)
    reports.item(b"a")
    reports.item(b"b")
    reports.table.close(S, 0)
    reports.table.check()
    reports.now_ns += LINE_BUSY_NS
    assert reports.item(b"c") == []
    assert reports.end() == [end(3)]


@pytest.mark.parametrize("idle", [False, True])
def test_closing_before_the_first_item_or_of_another_attempt(idle: bool) -> None:
    reports = Reports(S)
    reports.table.close(S, 1)
    reports.table.close(task("unknown"), 0)
    if not idle:
        assert reports.item(b"a") == [items(0, b"a")]
    reports.table.close(S, 0)
    assert reports.item(b"b") == []


# -- dead owners ---------------------------------------------------------------------------------
def test_nothing_is_reported_to_a_dead_owner_and_others_are_served() -> None:
    reports = Reports(S)
    reports.table.open(T, 0, OTHER)
    reports.item(b"a")
    reports.item(b"b")
    reports.item(b"c", T)
    reports.item(b"d", T)
    reports.table.drop_owner(ME)
    reports.table.check()
    assert reports.item(b"e") == []
    assert reports.tick() == [Send(OTHER, ReportItems(T, 0, 1, (b"d",)), None, 1)]
    assert list(reports.table.lines) == [OTHER]


# -- check ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("broken", ["tick", "waiting", "count"])
def test_check_finds_what_would_never_leave(broken: str) -> None:
    reports = Reports(S)
    reports.item(b"a")
    reports.item(b"b")
    table = reports.table
    if broken == "tick":
        table.deadlines.clear(ME)
    elif broken == "waiting":
        table.streams[S].waiting = []
    else:
        table.streams[S].count = 5
    with pytest.raises(AssertionError):
        table.check()
