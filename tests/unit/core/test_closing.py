"""A generator that its user closes stops at its yield or never begins; it ends without an error."""

from __future__ import annotations

import dataclasses

import pytest

from tests.unit.core.names import ME, WORKER, peer, pushed, result, stream_spec, task, those
from tests.unit.core.rebuild_bench import RebuildBench, far, messages
from tests.unit.core.test_executor import OTHER, Worker
from zgen.core.cancel_words import CancelRequested, CloseRequested, InterruptBody, StopBody
from zgen.core.effects import Effect, HoldBody, ItemsTaken, ReleaseBody, Send, StreamAdvanced
from zgen.core.events import RefCompletion, TakeItems
from zgen.core.holds import Reason
from zgen.ids import COMPLETION_INDEX, PeerId
from zgen.limits import SECOND, TASK_SHORT_NS
from zgen.wire.lease import ProcessDown
from zgen.wire.stream import CloseStream, ReportEnd
from zgen.wire.task import (
    OUTCOME_CANCELLED,
    OUTCOME_RETRY,
    OUTCOME_WITHDRAWN,
    STREAMING,
    CancelTask,
    PushTasks,
)
from zgen.wire.value import NONE, REASON_CANCELLED, Fault, FaultKind, Parcel, Value

S = task("s")
C = result("s", COMPLETION_INDEX)
ERROR = Parcel(b"error", (), True)
CLOSE = CloseStream(S, 0, True)


class Bench(RebuildBench):
    """A driver that closes the stream ``s``; somebody holds its completion."""

    def __init__(self, *items: Value, taken: int = 0, retries: int = 3) -> None:
        super().__init__()
        self.submit(stream_spec("s", retries=retries))
        self.step(RefCompletion(S))
        if items:
            self.items("s", 0, *items)
        for _ in range(taken):
            self.step(TakeItems(S, 1))

    def close(self) -> list[Effect]:
        return self.step(CloseRequested(S))

    def taken(self) -> ItemsTaken:
        (taken,) = those(self.step(TakeItems(S, 9)), ItemsTaken)
        assert isinstance(taken, ItemsTaken)
        return taken

    def let_go(self, *names: bytes) -> bool:
        self.drop(C, *names, streams=(S,))  # type: ignore[arg-type]  # ids of objects
        return self.is_empty()


# -- the owner -------------------------------------------------------------------------------------
def test_the_worker_is_told_and_what_was_not_taken_is_freed() -> None:
    bench = Bench(far(1), b"1", taken=0)
    done = bench.close()
    assert StreamAdvanced(S) in done
    assert CLOSE in messages(done)
    assert bench.process.store.regions.regions == {}
    assert bench.taken() == ItemsTaken(S, (), True), "for ever at its end"
    assert bench.owner.streams.is_ready(S)
    bench.items("s", 2, far(2))
    assert bench.process.store.regions.regions == {}, "what comes late is dropped"
    bench.over("s", 3, kind=OUTCOME_CANCELLED)
    assert bench.value(C) == NONE
    bench.step(RefCompletion(S))
    bench.drop(C)
    assert bench.let_go()


def test_closing_again_says_nothing() -> None:
    bench = Bench()
    bench.close()
    assert bench.close() == []
    bench.over("s", 0, kind=OUTCOME_CANCELLED)
    assert bench.close() == []
    assert bench.let_go()


def test_a_stream_that_never_reached_a_worker_ends_at_once() -> None:
    bench = Bench()
    waiting = stream_spec("w", slots=(C,))
    bench.submit(waiting)
    assert bench.step(CloseRequested(task("w")))
    assert task("w") not in bench.owner.tasks.entries
    bench.step(RefCompletion(task("w")))
    assert bench.value(result("w", COMPLETION_INDEX)) == NONE
    bench.drop(result("w", COMPLETION_INDEX), streams=(task("w"),))
    bench.close()
    bench.over("s", 0, kind=OUTCOME_CANCELLED)
    assert bench.let_go()


def test_one_that_queued_at_its_worker_never_began() -> None:
    bench = Bench()
    bench.close()
    bench.over("s", 0, kind=OUTCOME_WITHDRAWN)
    assert bench.value(C) == NONE
    assert bench.let_go()


def test_what_the_body_returned_before_it_heard_is_its_completion() -> None:
    bench = Bench()
    bench.close()
    bench.over("s", 0, far(1))
    assert bench.value(C) == far(1)
    assert bench.let_go()


def test_an_error_that_came_first_is_for_nobody() -> None:
    bench = Bench()
    bench.close()
    bench.over("s", 0, ERROR, kind=1)
    assert bench.value(C) == NONE
    assert bench.taken() == ItemsTaken(S, (), True)
    assert bench.let_go()


def test_a_closed_stream_does_not_run_again_for_what_it_raised_or_for_its_worker() -> None:
    bench = Bench()
    bench.close()
    bench.over("s", 0, ERROR, kind=OUTCOME_RETRY)
    assert bench.value(C) == NONE
    assert bench.let_go()
    bench = Bench()
    bench.close()
    bench.say(peer("node"), ProcessDown(WORKER, 1, 42, -1, 9, "", bytes(16), 1))  # type: ignore[arg-type]  # no lease
    bench.quiet()
    assert bench.value(C) == NONE
    assert bench.let_go()


def test_closed_while_it_waits_for_its_next_attempt_it_has_none() -> None:
    bench = Bench(b"0")
    bench.over("s", 1, ERROR, kind=OUTCOME_RETRY)
    bench.close()
    assert bench.value(C) == NONE
    assert not those(messages(bench.advance(SECOND)), PushTasks)
    assert bench.let_go()


def test_a_stream_that_has_ended_is_freed_and_keeps_its_completion() -> None:
    bench = Bench(far(1), far(2), taken=1)
    bench.over("s", 2, b"returned")
    bench.close()
    assert [each.region for each in (far(1),)] == list(bench.process.store.regions.regions)
    assert bench.value(C) == b"returned"
    assert bench.let_go(result("s", 1))


def test_nothing_is_kept_of_a_stream_of_small_items_that_has_ended() -> None:
    bench = Bench(b"0")
    bench.over("s", 1)
    bench.close()
    assert bench.taken() == ItemsTaken(S, (), True)
    assert bench.let_go()


def test_what_was_taken_of_a_closed_stream_is_not_made_again() -> None:
    bench = Bench(far(1), taken=1)
    bench.close()
    bench.over("s", 1, kind=OUTCOME_CANCELLED)
    name = result("s", 1)
    bench.lose(name, far(1))
    assert bench.owner.pins.lineage.entries[S].why == REASON_CANCELLED
    assert bench.let_go(name)


def test_a_closed_stream_can_be_cancelled_and_is_interrupted_then() -> None:
    bench = Bench()
    bench.close()
    assert messages(bench.step(CancelRequested(S, False, False))) == [
        CancelTask(S, 0, False, False)
    ]
    assert bench.step(CancelRequested(S, False, False)) == []
    bench.over("s", 0, kind=OUTCOME_CANCELLED)
    fault = bench.value(C)
    assert isinstance(fault, Fault)
    assert fault.kind is FaultKind.CANCELLED
    assert bench.let_go()


def test_a_cancelled_stream_may_be_closed_and_was_cancelled_nevertheless() -> None:
    bench = Bench()
    bench.step(CancelRequested(S, False, False))
    assert messages(bench.close()) == [CLOSE]
    bench.over("s", 0, kind=OUTCOME_CANCELLED)
    fault = bench.value(C)
    assert isinstance(fault, Fault)
    assert fault.kind is FaultKind.CANCELLED
    assert bench.let_go()


def test_dropped_after_it_was_closed_it_leaves_nothing() -> None:
    bench = Bench(far(1), taken=1)
    bench.close()
    assert messages(bench.drop(C, result("s", 1), streams=(S,))) != [CLOSE]
    bench.over("s", 1, kind=OUTCOME_CANCELLED)
    assert bench.is_empty()


# -- the worker ------------------------------------------------------------------------------------
def close(worker: Worker, sender: PeerId = ME, attempt: int = 0) -> list[Effect]:
    return worker.hear(CloseStream(S, attempt, True), sender)


def running(window: int = 0) -> Worker:
    worker = Worker()
    worker.push(dataclasses.replace(pushed("s", returns=STREAMING), window=window))
    return worker


def test_a_body_that_runs_is_to_stop_at_its_yield() -> None:
    worker = running()
    assert close(worker) == [StopBody(S, 0)]
    assert worker.yields("s", b"late") == []
    assert worker.ended("s", outcome=OUTCOME_CANCELLED) == [
        Send(ME, ReportEnd(S, 0, 1, OUTCOME_CANCELLED, 0, ()))
    ]


def test_a_body_that_is_held_is_let_go_to_stop() -> None:
    worker = running(window=1)
    worker.executor.reports.add_item(S, 0, b"0", worker.now_ns, [])
    held: list[Effect] = []
    worker.executor.holds.hold(S, ME, Reason.WINDOW, held)
    assert held == [HoldBody(S)]
    assert close(worker) == [StopBody(S, 0), ReleaseBody(S)]


def test_a_stream_that_queues_never_begins() -> None:
    worker = Worker()
    worker.push(pushed("a"), pushed("s", returns=STREAMING))
    assert close(worker) == [Send(ME, ReportEnd(S, 0, 0, OUTCOME_WITHDRAWN, TASK_SHORT_NS, ()))]
    worker.ended("a")


@pytest.mark.parametrize(("sender", "attempt"), [(OTHER, 0), (ME, 1)])
def test_nobody_else_closes_it(sender: PeerId, attempt: int) -> None:
    assert close(running(), sender, attempt) == []


def test_a_task_with_results_has_no_yield_to_stop_at() -> None:
    worker = Worker()
    worker.push(pushed("s"))
    assert close(worker) == []


def test_a_body_that_survives_an_interrupt_stops_all_the_same() -> None:
    worker = running()
    out: list[Effect] = []
    worker.executor.cancel(ME, CancelTask(S, 0, False, False), worker.now_ns, out)
    assert those(out, InterruptBody) == [InterruptBody(S, 0)]
    assert close(worker) == [StopBody(S, 0)]
