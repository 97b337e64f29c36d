"""Cancels as a worker sees them: what queues never starts, what runs is interrupted once."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.unit.core.names import ME, NODE, pushed, spec, task
from tests.unit.core.process_bench import DRIVER, ProcessBench, worker_bench
from tests.unit.core.test_executor import OTHER, L, Worker, done, start
from zgen.core.cancel_words import CancelRequested, InterruptBody, KillSelf
from zgen.core.effects import Effect, HoldBody, ReleaseBody, Send, StartTask
from zgen.core.events import DefineTaskFunction, SubmitTask, TaskEnded, Yielded
from zgen.ids import PeerId
from zgen.limits import CHILDREN_TOLD_NS, TASK_SHORT_NS
from zgen.wire.lease import RequestLease
from zgen.wire.store import Place
from zgen.wire.stream import ReportEnd, ReportItems
from zgen.wire.task import (
    OUTCOME_CANCELLED,
    OUTCOME_ERROR,
    OUTCOME_RETRY,
    OUTCOME_WITHDRAWN,
    STREAMING,
    CancelTask,
    PushTasks,
)
from zgen.wire.value import Parcel, Stored, Value

ERROR = Parcel(b"error", (), True)


def cancel(
    worker: Worker, name: str, *, attempt: int = 0, force: bool = False, sender: PeerId = ME
) -> tuple[bool, list[Effect]]:
    out: list[Effect] = []
    message = CancelTask(task(name), attempt, force, True)
    runs = worker.executor.cancel(sender, message, worker.now_ns, out)
    worker.executor.check()
    return runs, out


def interrupt(name: str) -> InterruptBody:
    return InterruptBody(task(name), 0)


@pytest.mark.parametrize("streams", [False, True])
def test_what_queues_is_taken_out_and_said_never_to_have_begun(streams: bool) -> None:
    worker = Worker()
    returns = STREAMING if streams else 1
    worker.push(pushed("a"), pushed("b", returns=returns), pushed("c"))
    if streams:
        end: Any = ReportEnd(task("b"), 0, 0, OUTCOME_WITHDRAWN, TASK_SHORT_NS, ())
        expected = Send(ME, end)
    else:
        expected = done("b", run_ns=TASK_SHORT_NS, outcome=OUTCOME_WITHDRAWN)
    assert cancel(worker, "b") == (False, [expected])
    assert worker.ended("a", b"value")[-1] == start("c", 2)
    cancel(worker, "c")
    worker.ended("c")


def test_nobody_looks_how_long_the_running_one_takes_when_the_last_behind_it_is_taken_out() -> None:
    worker = Worker()
    worker.push(pushed("a"), pushed("b"), pushed("c"))
    cancel(worker, "c", force=True)
    assert worker.executor.deadlines.next_ns is not None
    worker.now_ns += 1_000_000_000
    cancel(worker, "b", force=True)
    assert worker.executor.deadlines.next_ns is None


@pytest.mark.parametrize(
    ("name", "attempt", "sender"), [("a", 1, ME), ("a", 0, OTHER), ("b", 0, ME)]
)
def test_cancels_of_others_change_nothing(name: str, attempt: int, sender: PeerId) -> None:
    worker = Worker()
    assert cancel(worker, name, attempt=attempt, sender=sender) == (False, [])
    worker.push(pushed("a"))
    assert cancel(worker, name, attempt=attempt, sender=sender) == (False, [])
    assert worker.ended("a", b"value") == [done("a", b"value")]


def test_a_running_body_is_interrupted_once_and_what_it_returns_is_dropped() -> None:
    worker = Worker()
    worker.push(pushed("a"))
    assert cancel(worker, "a") == (True, [interrupt("a")])
    assert cancel(worker, "a") == (True, [])
    worker.now_ns += 3
    assert worker.ended("a", b"value") == [done("a", run_ns=3, outcome=OUTCOME_CANCELLED)]


@pytest.mark.parametrize("how", [OUTCOME_ERROR, OUTCOME_RETRY])
def test_an_error_of_its_own_stands_and_is_not_retried(how: int) -> None:
    worker = Worker()
    worker.push(pushed("a"))
    cancel(worker, "a")
    (sent,) = worker.ended("a", ERROR, outcome=how)
    assert isinstance(sent, Send)
    (ended,) = sent.message.outcomes
    assert (ended.outcome, ended.entries) == (OUTCOME_ERROR, ((1, b"error", 0),))


@pytest.mark.parametrize(
    ("values", "how", "left"),
    [((b"0", ERROR), OUTCOME_ERROR, ((1, b"error", 0),)), ((b"0", b"1"), OUTCOME_CANCELLED, ())],
)
def test_of_a_generator_with_fixed_results_its_own_error_alone_stands(
    values: tuple[Value, ...], how: int, left: tuple[Any, ...]
) -> None:
    worker = Worker()
    worker.push(pushed("a", returns=2))
    cancel(worker, "a")
    (sent,) = worker.ended("a", *values, outcome=OUTCOME_RETRY)
    assert isinstance(sent, Send)
    (ended,) = sent.message.outcomes
    assert (ended.outcome, ended.entries) == (how, left)


def test_results_in_shared_memory_that_are_dropped_are_taken_care_of() -> None:
    worker = Worker()
    worker.push(pushed("a"))
    cancel(worker, "a")
    stored = Stored(NODE, 7, Place(1, 0, 64, 64, False), b"", (64,))
    out: list[Effect] = []
    store = worker.executor._store
    store.stock.reported = lambda region, out: None  # type: ignore[method-assign]  # it was given
    worker.executor.on_task_ended(TaskEnded(task("a"), 0, 0, (stored,)), worker.now_ns, out)
    assert store.dropped == [stored]


def test_what_a_stream_had_yielded_leaves_and_what_it_yields_then_does_not_count() -> None:
    worker = Worker()
    worker.push(pushed("a", returns=STREAMING))
    assert cancel(worker, "a") == (True, [interrupt("a")])  # nothing to report yet
    assert worker.yields("a", b"0") == []
    assert worker.ended("a") == [Send(ME, ReportEnd(task("a"), 0, 0, OUTCOME_CANCELLED, 0, ()))]
    worker.now_ns += 1_000_000_000
    worker.push(pushed("b", returns=STREAMING))
    assert len(worker.yields("b", b"0")) == 1
    assert worker.yields("b", b"1") == []  # its line is busy
    reported = Send(ME, ReportItems(task("b"), 0, 1, (b"1",)), None, 1)
    assert cancel(worker, "b") == (True, [interrupt("b"), reported])
    assert worker.yields("b", b"2") == []
    assert worker.ended("b") == [Send(ME, ReportEnd(task("b"), 0, 2, OUTCOME_CANCELLED, 0, ()))]


def test_by_force_the_worker_dies_only_if_it_runs_the_task() -> None:
    worker = Worker()
    worker.push(pushed("a"), pushed("b"))
    runs, out = cancel(worker, "b", force=True)
    assert not runs
    assert KillSelf() not in out
    assert cancel(worker, "a", force=True) == (True, [])


@pytest.mark.parametrize("recursive", [True, False])
def test_by_force_a_worker_dies_at_once_unless_its_children_have_to_hear_of_it(
    recursive: bool,
) -> None:
    bench = worker_bench()
    bench.say(DRIVER, PushTasks(L, 0, (pushed("a"),)))
    if recursive:
        child = spec("child")
        child.parent = task("a")
        bench.step(DefineTaskFunction(child.function, b"pickle"))
        bench.step(SubmitTask(child))
    force = CancelTask(task("a"), 0, True, recursive)
    assert (KillSelf() in bench.say(DRIVER, force)) is not recursive
    if recursive:
        assert task("child") not in bench.process.owner.tasks.entries
        assert bench.advance(CHILDREN_TOLD_NS) == [KillSelf()]


def test_nothing_more_is_said_of_a_body_that_ends_while_its_worker_is_about_to_die() -> None:
    worker = Worker()
    worker.push(pushed("a"), pushed("b"))
    worker.executor.die(True, worker.now_ns, [])
    assert worker.ended("a", b"value") == [KillSelf()]


# -- the whole process -----------------------------------------------------------------------------
@pytest.mark.parametrize("recursive", [True, False])
def test_what_the_body_has_submitted_is_cancelled_too_if_that_is_wanted(recursive: bool) -> None:
    bench = worker_bench()
    (started,) = bench.say(DRIVER, PushTasks(L, 0, (pushed("a"),)))
    assert isinstance(started, StartTask)
    child = spec("child")
    child.parent, child.parent_attempt = task("a"), 0
    bench.step(DefineTaskFunction(child.function, b"pickle"))
    assert isinstance(bench.step(SubmitTask(child))[0], Send)
    out = bench.say(DRIVER, CancelTask(task("a"), 0, False, recursive))
    assert out[0] == interrupt("a")
    assert (task("child") in bench.process.owner.tasks.entries) is not recursive


def test_children_of_what_does_not_run_are_left_alone() -> None:
    bench = worker_bench()
    child = spec("child")
    child.parent = task("a")
    bench.step(DefineTaskFunction(child.function, b"pickle"))
    bench.step(SubmitTask(child))
    assert bench.say(DRIVER, CancelTask(task("a"), 0, False, True)) == []
    assert task("child") in bench.process.owner.tasks.entries


def test_the_user_cancels_by_an_event() -> None:
    bench = ProcessBench()
    child = spec("child")
    bench.step(DefineTaskFunction(child.function, b"pickle"))
    (asked,) = bench.step(SubmitTask(child))
    assert isinstance(asked, Send)
    assert isinstance(asked.message, RequestLease)
    assert len(bench.step(CancelRequested(task("child"), False, True))) == 2
    assert not bench.process.owner.tasks.entries


def test_a_body_that_waits_for_its_consumer_waits_no_more() -> None:
    bench = worker_bench()
    narrow = dataclasses.replace(pushed("a", returns=STREAMING), window=1)
    bench.say(DRIVER, PushTasks(L, 0, (narrow,)))
    assert HoldBody(task("a")) in bench.step(Yielded(task("a"), 0, b"0"))
    out = bench.say(DRIVER, CancelTask(task("a"), 0, False, True))
    assert out == [interrupt("a"), ReleaseBody(task("a"))]
    assert bench.step(Yielded(task("a"), 0, b"1")) == []
