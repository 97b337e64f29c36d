"""Cancels as the owner sees them: at once where no worker has the task, else when that answers."""

from __future__ import annotations

import pytest

from tests.unit.core.bench import (
    ERROR,
    ERROR_ENTRY,
    PID,
    OwnerBench,
    asked,
    error,
    outcome,
    push,
    request,
    retriable,
)
from tests.unit.core.names import (
    NODE,
    OTHER_WORKER,
    WORKER,
    pushed,
    result,
    spec,
    stream_spec,
    task,
)
from zgen.core.effects import Effect, ObjectsReady, Send, StreamAdvanced
from zgen.core.task_table import Doing
from zgen.ids import COMPLETION_INDEX
from zgen.limits import FORCED_CANCEL_NS
from zgen.wire.lease import ProcessDown, ReturnLease
from zgen.wire.task import (
    OUTCOME_CANCELLED,
    OUTCOME_ERROR,
    OUTCOME_RETRY,
    OUTCOME_WITHDRAWN,
    CancelTask,
    TasksReturned,
)
from zgen.wire.value import NONE, Fault, FaultKind


def cancelled(name: str, *, may_have_run: bool = True) -> Fault:
    return Fault(FaultKind.CANCELLED, name, task(name).hex(), may_have_run=may_have_run)


def cancel(
    bench: OwnerBench, name: str, *, force: bool = False, recursive: bool = True
) -> list[Effect]:
    out: list[Effect] = []
    bench.owner.cancellation.cancel(task(name), force, recursive, bench.now_ns, out)
    bench.owner.check()
    return out


def told(name: str, *, attempt: int = 0, force: bool = False, recursive: bool = True) -> Send:
    return Send(WORKER, CancelTask(task(name), attempt, force, recursive))


def killed(started: int) -> ProcessDown:
    return ProcessDown(WORKER, 1, PID, -1, 9, "last words", asked(), started)


# -- what no worker has --------------------------------------------------------------------------
def test_a_task_that_waits_for_arguments_ends_at_once_and_fails_those_that_need_it() -> None:
    bench = OwnerBench().running(spec("a"))
    bench.submit(spec("b", slots=[result("a")]))
    bench.submit(spec("c", slots=[result("b")]))
    assert cancel(bench, "b") == [ObjectsReady((result("b"), result("c")))]
    assert bench.value(result("b")) == cancelled("b", may_have_run=False)
    cause = cancelled("b", may_have_run=False)
    fault = Fault(FaultKind.ARGUMENT, "c", may_have_run=False, cause=cause)
    assert bench.value(result("c")) == fault
    assert bench.done(outcome("a", b"value"))[0] == ObjectsReady((result("a"),))


def test_a_task_that_waits_for_a_worker_ends_at_once_and_its_request_is_withdrawn() -> None:
    bench = OwnerBench()
    bench.submit(spec("a"))
    bench.submit(spec("b"))
    assert cancel(bench, "a") == [ObjectsReady((result("a"),))]
    assert cancel(bench, "b") == [
        ObjectsReady((result("b"),)),
        Send(NODE, ReturnLease(asked(1), True)),
        Send(NODE, ReturnLease(asked(2), True)),
    ]
    assert bench.value(result("b")) == cancelled("b", may_have_run=False)


def test_a_task_that_waits_before_it_runs_again_ends_at_once_and_never_does() -> None:
    bench = OwnerBench().running(spec("a", retries=3))
    bench.done(retriable("a"))
    assert bench.state("a") is Doing.WAITING_RETRY
    assert ObjectsReady((result("a"),)) in cancel(bench, "a")
    assert bench.value(result("a")) == cancelled("a")
    bench.advance(10**10)
    assert bench.state("a") is None


def test_a_stream_that_waits_ends_with_one_error_and_so_does_its_completion() -> None:
    bench = OwnerBench()
    bench.submit(stream_spec("s"))
    bench.ref_completion("s")
    completion = result("s", COMPLETION_INDEX)
    assert cancel(bench, "s")[:2] == [StreamAdvanced(task("s")), ObjectsReady((completion,))]
    fault = cancelled("s", may_have_run=False)
    assert list(bench.owner.streams.streams[task("s")].unread) == [fault]
    assert bench.value(completion) == fault


def test_what_has_ended_or_is_of_nobody_here_is_left_alone() -> None:
    bench = OwnerBench().running(spec("a"))
    bench.done(outcome("a", b"value"))
    assert cancel(bench, "a") == []
    assert cancel(bench, "unknown") == []
    assert bench.value(result("a")) == b"value"


# -- what a worker has ---------------------------------------------------------------------------
@pytest.mark.parametrize("how", [OUTCOME_CANCELLED, OUTCOME_WITHDRAWN])
def test_a_pushed_task_ends_when_its_worker_says_so(how: int) -> None:
    bench = OwnerBench().running(spec("a", returns=2, retries=3))
    assert cancel(bench, "a") == [told("a")]
    assert bench.state("a") is Doing.PUSHED
    done = bench.done(outcome("a", kind=how))
    assert done == [ObjectsReady((result("a", 0), result("a", 1)))]
    fault = cancelled("a", may_have_run=how == OUTCOME_CANCELLED)
    assert [bench.value(result("a", index)) for index in (0, 1)] == [fault, fault]


def test_a_worker_is_asked_again_only_for_more() -> None:
    bench = OwnerBench().running(spec("a"))
    assert cancel(bench, "a", recursive=False) == [told("a", recursive=False)]
    assert cancel(bench, "a", recursive=False) == []
    assert cancel(bench, "a") == [told("a")]
    assert cancel(bench, "a", force=True, recursive=False) == [told("a", force=True)]
    assert cancel(bench, "a", force=True) == []
    bench.done(outcome("a", kind=OUTCOME_CANCELLED))


def test_what_ended_before_the_cancel_arrived_keeps_its_result() -> None:
    bench = OwnerBench().running(spec("a"), spec("b", retries=3), stream_spec("s"))
    for name in "abs":
        cancel(bench, name)
    bench.done(outcome("a", b"value"), error("b"))
    assert (bench.value(result("a")), bench.value(result("b"))) == (b"value", ERROR)
    bench.items("s", 0, b"item")
    bench.end("s", 1)
    stream = bench.owner.streams.streams[task("s")]
    assert (list(stream.unread), stream.completion) == ([b"item"], NONE)


def test_a_cancelled_task_does_not_run_again_for_what_it_raised() -> None:
    bench = OwnerBench().running(spec("a", retries=3), stream_spec("s", retries=3))
    cancel(bench, "a")
    cancel(bench, "s")
    bench.done(retriable("a"))
    bench.end("s", 0, ERROR_ENTRY, kind=OUTCOME_RETRY)
    assert bench.value(result("a")) == cancelled("a")
    assert list(bench.owner.streams.streams[task("s")].unread) == [cancelled("s")]


def test_what_a_cancelled_generator_with_fixed_results_had_yielded_is_dropped() -> None:
    bench = OwnerBench().running(spec("a", returns=2, retries=3))
    cancel(bench, "a")
    bench.done(outcome("a", b"0", ERROR_ENTRY, kind=OUTCOME_RETRY))
    assert [bench.value(result("a", index)) for index in (0, 1)] == [cancelled("a")] * 2


def test_a_cancelled_stream_ends_with_one_error_after_what_was_reported() -> None:
    bench = OwnerBench().running(stream_spec("s"))
    bench.ref_completion("s")
    bench.items("s", 0, b"0", b"1")
    cancel(bench, "s")
    bench.items("s", 2, b"2")
    bench.end("s", 3, kind=OUTCOME_CANCELLED)
    stream = bench.owner.streams.streams[task("s")]
    assert list(stream.unread) == [b"0", b"1", b"2", cancelled("s")]
    assert bench.value(result("s", COMPLETION_INDEX)) == cancelled("s")


def test_an_error_of_a_cancelled_replay_stands_after_what_was_known() -> None:
    bench = OwnerBench().running(stream_spec("s", retries=1))
    bench.items("s", 0, b"0", b"1")
    bench.down(WORKER, killed(started=1))
    bench.advance(0)
    bench.grant(2)
    cancel(bench, "s")
    bench.items("s", 0, b"0", attempt=1)
    bench.end("s", 1, ERROR_ENTRY, attempt=1, kind=OUTCOME_ERROR)
    stream = bench.owner.streams.streams[task("s")]
    assert list(stream.unread) == [b"0", b"1", ERROR]


def test_a_cancelled_task_that_is_handed_back_ends_and_the_others_wait_again() -> None:
    bench = OwnerBench().running(spec("a"), spec("b"), spec("c"))
    cancel(bench, "b")
    back = tuple((task(name), 0) for name in "bc")
    done = bench.hear(WORKER, TasksReturned(asked(), back))
    assert ObjectsReady((result("b"),)) in done
    assert bench.value(result("b")) == cancelled("b", may_have_run=False)
    assert [bench.state(name) for name in "abc"] == [Doing.PUSHED, None, Doing.WAITING_LEASE]
    assert bench.hear(OTHER_WORKER, TasksReturned(asked(), ((task("a"), 0),))) == []


def test_what_was_on_its_way_to_a_worker_that_handed_tasks_back_waits_behind_them() -> None:
    bench = OwnerBench().running(*[spec(name) for name in "abcd"])
    bench.submit(spec("e"))
    for names in ("bc", "d"):
        back = tuple((task(name), 0) for name in names)
        bench.hear(WORKER, TasksReturned(asked(), back))
    (pool,) = bench.owner.placement.leases.pools.values()
    assert list(pool.queue) == [task(name) for name in "bcde"]


# -- deaths --------------------------------------------------------------------------------------
def test_no_cancelled_task_runs_again_when_its_worker_dies() -> None:
    bench = OwnerBench().running(*[spec(name, retries=3) for name in "abc"])
    cancel(bench, "a")
    cancel(bench, "b", force=True)
    cancel(bench, "c", force=True)
    bench.down(WORKER, killed(started=2))
    assert bench.value(result("a")) == cancelled("a")
    fault = Fault(FaultKind.WORKER_CRASHED, "b", "last words", PID, -1, 9, attempts=1)
    assert bench.value(result("b")) == fault
    assert bench.value(result("c")) == cancelled("c", may_have_run=False)
    assert [bench.state(name) for name in "abc"] == [None] * 3


def test_a_worker_that_does_not_answer_is_killed_and_gets_nothing_until_then() -> None:
    bench = OwnerBench().running(spec("a", retries=3), spec("b"))
    assert cancel(bench, "a", force=True) == [told("a", force=True)]
    assert bench.advance(FORCED_CANCEL_NS - 1) == []
    assert cancel(bench, "b", force=True) == [told("b", force=True)]
    assert bench.advance(1) == [Send(NODE, ReturnLease(asked(), False))]
    assert bench.submit(spec("c")) == [request(3, "c")]
    assert bench.advance(FORCED_CANCEL_NS) == []  # it was asked to already
    bench.down(WORKER, killed(started=1))
    assert bench.value(result("b")) == cancelled("b", may_have_run=False)
    sent = bench.grant(3, OTHER_WORKER)
    assert push(0, pushed("c"), number=3, worker=OTHER_WORKER) in sent


def test_a_worker_that_answers_in_time_is_not_killed() -> None:
    bench = OwnerBench().running(spec("a"), spec("b"))
    cancel(bench, "b", force=True)
    bench.done(outcome("b", kind=OUTCOME_WITHDRAWN))
    assert bench.advance(2 * FORCED_CANCEL_NS) == []


# -- children ------------------------------------------------------------------------------------
def test_what_one_attempt_has_submitted_is_cancelled_and_nothing_else() -> None:
    bench = OwnerBench()
    for name, parent, attempt in [("a", "p", 1), ("b", "p", 0), ("c", "q", 1), ("d", "p", 1)]:
        child = spec(name)
        child.parent, child.parent_attempt = task(parent), attempt
        bench.submit(child)
    child = spec("e", slots=[result("a")])  # ends with what it needs
    child.parent, child.parent_attempt = task("p"), 1
    bench.submit(child)
    bench.owner.cancellation.cancel_children(task("p"), 1, bench.now_ns, [])
    bench.owner.check()
    assert [bench.state(name) is None for name in "abcde"] == [True, False, False, True, True]
    fault = bench.value(result("e"))
    assert isinstance(fault, Fault)
    assert fault.kind is FaultKind.ARGUMENT


def test_check_finds_a_forced_cancel_that_nobody_looks_after() -> None:
    bench = OwnerBench().running(spec("a"))
    cancel(bench, "a", force=True)
    bench.owner.cancellation.deadlines.clear_all()
    with pytest.raises(AssertionError):
        bench.owner.check()
