"""A body that runs again may ask where to go on: behind what its owner has."""

from __future__ import annotations

import dataclasses

import pytest

from tests.unit.core.names import ME, WORKER, peer, pushed, result, stream_spec, task, those
from tests.unit.core.rebuild_bench import FARTHER, RebuildBench, far, pushed_in
from tests.unit.core.test_executor import Worker
from zgen.core.effects import Effect, ItemsTaken, Send
from zgen.core.events import TakeItems
from zgen.core.stream_words import AskPosition, PositionIs
from zgen.ids import item_ids
from zgen.limits import SECOND
from zgen.wire.lease import ProcessDown
from zgen.wire.stream import ReportEnd, ReportItems
from zgen.wire.task import OUTCOME_RETRY, STREAMING, PushedTask
from zgen.wire.value import Fault, FaultKind, Parcel, Value

S = task("s")
ERROR = Parcel(b"error", (), True)


# -- the worker ------------------------------------------------------------------------------------
def running(resume: int, window: int = 0, consumed: int = 0) -> Worker:
    worker = Worker()
    plain = pushed("s", attempt=1, returns=STREAMING)
    flow = dataclasses.replace(plain, resume=resume, window=window, consumed=consumed)
    worker.push(flow)
    return worker


def ask(worker: Worker, name: str = "s") -> int:
    out: list[Effect] = []
    worker.executor.reports.on_ask(AskPosition(task(name), 1), worker.now_ns, out)
    worker.executor.check()
    (answer,) = out
    assert isinstance(answer, PositionIs)
    return answer.index


def yields(worker: Worker, value: bytes) -> list[Effect]:
    out: list[Effect] = []
    worker.executor.reports.add_item(S, 1, value, worker.now_ns, out)
    worker.executor.check()
    return out


def test_a_body_that_asks_goes_on_from_there() -> None:
    worker = running(resume=5)
    assert (ask(worker), ask(worker)) == (5, 5)
    assert yields(worker, b"5") == [Send(ME, ReportItems(S, 1, 5, (b"5",)), None, 1)]
    assert ask(worker) == 6


def test_a_body_that_does_not_ask_begins_anew() -> None:
    worker = running(resume=5)
    (sent,) = yields(worker, b"0")
    assert isinstance(sent, Send)
    assert sent.message == ReportItems(S, 1, 0, (b"0",))
    assert ask(worker) == 1, "too late"


def test_where_the_window_is_full_one_item_is_made_again() -> None:
    assert ask(running(resume=5, window=3, consumed=2)) == 4
    assert ask(running(resume=5, window=3, consumed=3)) == 5


def test_what_yields_no_items_has_no_position() -> None:
    worker = Worker()
    worker.push(pushed("a"))
    assert ask(worker, "a") == -1


# -- the owner -------------------------------------------------------------------------------------
class Bench(RebuildBench):
    """An owner of the stream ``s``, whose first attempt failed behind these items."""

    def __init__(self, *items: Value, taken: int = 0) -> None:
        super().__init__()
        self.submit(stream_spec("s", retries=5))
        self.items("s", 0, *items)
        for _ in range(taken):
            self.step(TakeItems(S, 1))

    def fails(self, count: int, attempt: int = 0) -> PushedTask:
        self.over("s", count, ERROR, attempt=attempt, kind=OUTCOME_RETRY)
        (again,) = pushed_in(self.advance(5 * SECOND))
        return again

    def taken(self) -> list[Value | None]:
        (taken,) = those(self.step(TakeItems(S, 9)), ItemsTaken)
        assert isinstance(taken, ItemsTaken)
        return [self.value(name) for name in taken.objects]

    @property
    def refusals(self) -> int:
        return sum(self.counts.values())


def test_a_retry_is_told_what_there_is_and_may_report_from_there() -> None:
    bench = Bench(b"0", b"1", taken=1)
    assert bench.fails(2).resume == 2
    bench.items("s", 2, b"2", attempt=1)
    bench.over("s", 3, attempt=1)
    assert bench.taken() == [b"1", b"2"]
    assert bench.refusals == 0


def test_a_retry_that_has_nothing_more_ends_where_the_first_one_stopped() -> None:
    bench = Bench(b"0", b"1")
    bench.fails(2)
    bench.over("s", 2, attempt=1)
    assert bench.taken() == [b"0", b"1"]
    assert bench.owner.streams.streams[S].ended


def test_a_retry_may_repeat_some_or_all() -> None:
    for first in (0, 1):
        bench = Bench(b"0", b"1")
        bench.fails(2)
        bench.items("s", first, *(b"0", b"1", b"2")[first:], attempt=1)
        bench.over("s", 3, attempt=1)
        assert bench.taken() == [b"0", b"1", b"2"]


def test_a_retry_that_ends_short_is_a_mismatch_still() -> None:
    bench = Bench(b"0", b"1")
    bench.fails(2)
    bench.items("s", 0, b"0", attempt=1)
    bench.over("s", 1, attempt=1)
    fault = bench.owner.streams.streams[S].completion
    assert isinstance(fault, Fault)
    assert fault.kind is FaultKind.REPLAY_MISMATCH


@pytest.mark.parametrize("first", [3, 4])
def test_nobody_leaves_items_out(first: int) -> None:
    bench = Bench(b"0", b"1")
    bench.fails(2)
    bench.items("s", first, b"x", attempt=1)
    assert bench.refusals == 1
    bench.items("s", 2, b"2", attempt=1)
    bench.items("s", 2, b"2", attempt=1)
    assert bench.refusals == 2, "it has begun"


def test_the_first_attempt_begins_at_its_beginning() -> None:
    bench = RebuildBench()
    bench.submit(stream_spec("s", retries=1))
    bench.items("s", 1, b"1")
    assert sum(bench.counts.values()) == 1


def test_each_attempt_goes_on_behind_all_before() -> None:
    bench = Bench(b"0", b"1")
    bench.fails(2)
    bench.items("s", 2, b"2", attempt=1)
    assert bench.fails(3, attempt=1).resume == 3


def node_death(bench: RebuildBench) -> None:
    bench.say(peer("node"), ProcessDown(WORKER, 1, 42, -1, 0, "its node died", bytes(16), -1))  # type: ignore[arg-type]  # no lease
    bench.quiet()
    bench.advance(5 * SECOND)


@pytest.mark.parametrize(
    ("taken", "dropped", "resume"), [(0, False, 1), (2, False, 1), (2, True, 3), (4, True, 3)]
)
def test_what_may_have_gone_with_a_node_is_yielded_again(
    taken: int, dropped: bool, resume: int
) -> None:
    bench = Bench(b"0", far(1), b"2", far(3), b"4", taken=taken)
    if dropped:
        bench.drop(result("s", 2))
    node_death(bench)
    assert bench.owner.streams.streams[S].resume == resume


def test_a_stream_that_is_gone_needs_no_item_again() -> None:
    bench = RebuildBench()
    bench.owner.streams.rewind(S, 1, fills=False)
    assert bench.is_empty()


def test_large_items_that_come_again_replace_what_was_lost() -> None:
    bench = Bench(b"0", far(1), b"2", taken=2)
    name = item_ids(S, 1, 1)[0]
    bench.lose(name, far(1))
    assert bench.fails(3).resume == 1
    bench.items("s", 1, far(11, FARTHER), b"2", b"3", attempt=1)
    assert bench.value(name) == far(11, FARTHER)
    bench.over("s", 4, attempt=1)
    assert bench.taken() == [b"2", b"3"]


def test_a_run_for_lost_items_alone_begins_at_the_beginning() -> None:
    bench = Bench(b"0", far(1), taken=2)
    bench.over("s", 2)
    (again,) = pushed_in(bench.lose(item_ids(S, 1, 1)[0], far(1)))
    assert (again.resume, again.wanted) == (0, (2,))


def test_an_end_behind_what_nobody_reported_is_refused() -> None:
    bench = Bench(b"0", b"1")
    bench.fails(2)
    bench.say(WORKER, ReportEnd(S, 1, 3, 0, 0, ()))
    assert bench.refusals == 1
