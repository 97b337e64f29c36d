"""Cancels of actors' calls: at the caller, and in the worker that the actor lives in."""

from __future__ import annotations

import dataclasses

import pytest

from tests.unit.core.actor_bench import ACTOR as CALLED
from tests.unit.core.actor_bench import (
    CREATOR,
    ActorBench,
    at,
    calls_in,
    lost,
)
from tests.unit.core.bench import OwnerBench, outcome, retriable
from tests.unit.core.names import (
    ME,
    NODE,
    OTHER_WORKER,
    WORKER,
    address,
    lease,
    peer,
    pushed,
    result,
    spec,
    task,
)
from tests.unit.core.process_bench import DRIVER, ProcessBench, worker_bench
from tests.unit.core.test_borrowing import borrower
from tests.unit.core.test_call_admission import call, calls_of, started
from tests.unit.core.test_cancel_task import cancel as cancel_in
from tests.unit.core.test_cancel_task import interrupt
from tests.unit.core.test_cancellation import cancel, cancelled
from tests.unit.core.test_executor import done
from tests.unit.core.test_executor_actors import ACTOR, Host
from tests.unit.core.test_executor_actors import started as started_in
from zgen.core.actor_effects import ActorOver
from zgen.core.cancel_words import CancelRequested, KillSelf
from zgen.core.effects import Effect, HoldBody, ObjectsReady, ReleaseBody, Send, StreamAdvanced
from zgen.core.events import DefineTaskFunction, SubmitTask
from zgen.core.holds import Reason
from zgen.core.task_table import Doing
from zgen.ids import LeaseId, TaskId
from zgen.limits import ITEM_BYTES_UNACKED_MAX, LINE_BUSY_NS, LINE_TICK_NS, TASK_SHORT_NS
from zgen.wire.actor import ActorSettings, EndActor
from zgen.wire.lease import ProcessDown
from zgen.wire.store import Place
from zgen.wire.stream import ReportEnd, ReportItems
from zgen.wire.task import (
    OUTCOME_CANCELLED,
    OUTCOME_ERROR,
    OUTCOME_VALUE,
    OUTCOME_WITHDRAWN,
    STREAMING,
    CancelBorrowed,
    CancelTask,
    PushTasks,
)
from zgen.wire.value import NestedRef, Parcel, Stored, pack

CREATOR_ID = CREATOR.peer
THREADED = ActorSettings(max_concurrency=2)
ASYNC = ActorSettings(max_concurrency=2, is_async=True)
ERROR = Parcel(b"error", (), True)


def told(name: str, *, attempt: int = 0, recursive: bool = True) -> Send:
    return Send(WORKER, CancelTask(task(name), attempt, False, recursive))


# -- at the caller ---------------------------------------------------------------------------------
def test_a_call_that_waits_for_its_actor_ends_at_once_and_never_leaves() -> None:
    bench = ActorBench()
    bench.call("a", CREATOR)
    bench.call("b", CREATOR)
    assert cancel(bench, "a", force=True) == [ObjectsReady((result("a"),))]
    assert bench.value(result("a")) == cancelled("a", may_have_run=False)
    assert calls_in(bench.hear(CREATOR_ID, at())) == [(WORKER, 0, ["b"])]


def test_a_call_that_waits_for_its_arguments_lets_those_go_that_it_held_back() -> None:
    bench = ActorBench().remote("first")
    bench.submit(spec("f"))
    bench.call("a", CREATOR, slots=(result("f"),))
    bench.call("b", CREATOR)
    bench.advance(LINE_TICK_NS)
    assert bench.state("a") is Doing.WAITING_ARGS
    assert calls_in(cancel(bench, "a")) == [(WORKER, 1, ["b"])]
    assert bench.value(result("a")) == cancelled("a", may_have_run=False)


def test_a_call_that_waits_before_it_runs_again_never_does() -> None:
    bench = ActorBench().remote("a", retries=3)
    bench.done(retriable("a"))
    assert bench.state("a") is Doing.WAITING_RETRY
    assert cancel(bench, "a") == [ObjectsReady((result("a"),))]
    assert bench.value(result("a")) == cancelled("a")
    assert calls_in(bench.advance(10**10)) == []


def test_a_call_at_its_worker_ends_when_that_says_so_and_nobody_is_killed() -> None:
    bench = ActorBench().remote("a", "b")
    assert cancel(bench, "a", force=True, recursive=False) == [told("a", recursive=False)]
    assert cancel(bench, "a", force=True, recursive=False) == []
    assert cancel(bench, "a") == [told("a")]
    cancel(bench, "b")
    assert bench.advance(10**11) == []
    bench.done(outcome("a", kind=OUTCOME_CANCELLED), outcome("b", kind=OUTCOME_WITHDRAWN))
    assert bench.value(result("a")) == cancelled("a")
    assert bench.value(result("b")) == cancelled("b", may_have_run=False)


def test_what_had_ended_keeps_its_result_and_what_raised_does_not_run_again() -> None:
    bench = ActorBench().remote("a", "b", retries=3)
    cancel(bench, "a")
    cancel(bench, "b")
    bench.ended("a")
    bench.done(retriable("b"))
    assert bench.value(result("a")) == b"value"
    assert bench.value(result("b")) == cancelled("b")
    assert cancel(bench, "a") == []


def test_a_stream_ends_with_one_error_after_what_was_reported() -> None:
    bench = ActorBench()
    bench.call("s", CREATOR, returns=STREAMING)
    bench.hear(CREATOR_ID, at())
    bench.items("s", 0, b"0")
    cancel(bench, "s")
    bench.items("s", 1, b"1")
    out = bench.end("s", 2, kind=OUTCOME_CANCELLED)
    assert StreamAdvanced(task("s")) in out
    assert list(bench.owner.streams.streams[task("s")].unread) == [b"0", b"1", cancelled("s")]


@pytest.mark.parametrize("dead", [False, True])
def test_no_cancelled_call_goes_to_the_next_life_of_its_actor(dead: bool) -> None:
    bench = ActorBench().remote("a", "b", retries=3)
    cancel(bench, "a")
    bench.hear(CREATOR_ID, lost(dead=dead))
    bench.down()
    assert bench.value(result("a")) == cancelled("a")
    if not dead:
        again = calls_in(bench.hear(CREATOR_ID, at(1, "other worker")))
        assert again == [(OTHER_WORKER, 0, ["b"])]


def test_a_cancelled_call_that_never_left_says_so() -> None:
    bench = ActorBench().remote("a")
    cancel(bench, "a")
    bench.hear(CREATOR_ID, lost())
    bench.down(unsent=[(LeaseId(CALLED), 0)])
    assert bench.value(result("a")) == cancelled("a", may_have_run=False)


def test_the_creation_of_an_actor_is_not_cancelled() -> None:
    bench = ActorBench()
    bench.create()
    bench.owner.cancellation.cancel(TaskId(CALLED), False, True, bench.now_ns, [])
    assert TaskId(CALLED) in bench.owner.tasks.entries


def test_calls_that_a_cancelled_execution_has_made_are_its_children() -> None:
    bench = ActorBench().remote("a", "b")
    entry = bench.owner.tasks.entries[task("a")]
    entry.spec.parent, entry.spec.parent_attempt = task("p"), 1
    sent: list[Effect] = []
    bench.owner.cancellation.cancel_children(task("p"), 1, bench.now_ns, sent)
    assert sent == [told("a")]


# -- at the worker ---------------------------------------------------------------------------------
@pytest.mark.parametrize("settings", [None, THREADED, ASYNC])
def test_a_queued_call_never_starts_and_those_behind_it_do(settings: ActorSettings | None) -> None:
    host = Host().alive(settings)
    host.call("a", "b", "c", "d")
    name = "c" if settings is not None else "b"
    runs, out = cancel_in(host, name)
    assert (runs, out) == (
        False,
        [done(name, run_ns=TASK_SHORT_NS, outcome=OUTCOME_WITHDRAWN)],
    )
    assert started_in(host.ended("a", b"value")) == ["d" if settings is not None else "c"]


def test_a_queued_stream_says_its_end_alone() -> None:
    host = Host().alive()
    host.call("a")
    host.call("s", returns=STREAMING)
    end = ReportEnd(task("s"), 0, 0, OUTCOME_WITHDRAWN, TASK_SHORT_NS, ())
    assert cancel_in(host, "s") == (False, [Send(ME, end)])


def test_the_last_queued_call_of_an_actor_that_ends_was_the_last() -> None:
    host = Host().alive()
    host.call("a", "b")
    host.hear(EndActor(ACTOR))
    cancel_in(host, "b")
    assert ActorOver() in host.ended("a", b"value")


def test_a_call_whose_arguments_lack_holds_nobody_back_once_it_is_cancelled() -> None:
    calls = calls_of()
    calls.push([call("a", missing=7), call("b")])
    assert started(calls) == []
    withdrawn = calls.withdraw(WORKER, task("a"), 0)
    assert withdrawn is not None
    assert started(calls) == ["b"]
    assert calls.withdraw(WORKER, task("a"), 0) is None
    assert calls.withdraw(WORKER, task("b"), 0) is None


def test_only_its_caller_finds_a_running_call_and_not_when_the_actor_has_left() -> None:
    calls = calls_of()
    calls.push([call("a")])
    started(calls)
    assert calls.running_as(WORKER, task("a"), 0) is not None
    assert calls.running_as(WORKER, task("a"), 1) is None
    assert calls.running_as(OTHER_WORKER, task("a"), 0) is None
    assert calls.running_as(WORKER, task("b"), 0) is None
    calls.leave()
    assert calls.running_as(WORKER, task("a"), 0) is None


@pytest.mark.parametrize("settings", [None, THREADED])
def test_a_running_method_is_over_for_its_caller_at_once_and_keeps_its_place(
    settings: ActorSettings | None,
) -> None:
    host = Host().alive(settings)
    host.call("a", "b", "c")
    said = done("a", run_ns=TASK_SHORT_NS, outcome=OUTCOME_CANCELLED)
    assert cancel_in(host, "a", force=True) == (True, [interrupt("a"), said])
    assert cancel_in(host, "a", force=True) == (True, [])
    assert host.executor.calls is not None
    assert task("a") in host.executor.calls.running
    host.now_ns += LINE_BUSY_NS
    out = host.ended("a", b"value")
    assert started_in(out) == (["b"] if settings is None else ["c"])
    assert not [effect for effect in out if isinstance(effect, Send)]


def test_an_error_after_the_caller_was_told_is_dropped_too_and_memory_is_taken_care_of() -> None:
    host = Host().alive()
    host.call("a")
    cancel_in(host, "a")
    assert host.ended("a", ERROR, outcome=OUTCOME_ERROR) == []
    host.call("b")
    cancel_in(host, "b")
    store = host.executor._store
    store.stock.reported = lambda region, out: None  # type: ignore[method-assign]  # it was given
    stored = Stored(NODE, 7, Place(1, 0, 64, 64, False), b"", (64,))
    host.ended("b", stored)
    assert stored in store.dropped


def test_a_generator_method_says_its_end_behind_what_it_had_yielded_and_no_more() -> None:
    host = Host().alive()
    host.call("s", returns=STREAMING)
    host.yields("s", b"0")
    assert host.yields("s", b"1") == []
    said = ReportEnd(task("s"), 0, 2, OUTCOME_CANCELLED, TASK_SHORT_NS, ())
    items = ReportItems(task("s"), 0, 1, (b"1",))
    assert cancel_in(host, "s") == (
        True,
        [interrupt("s"), Send(ME, items, None, 1), Send(ME, said)],
    )
    assert host.yields("s", b"2") == []
    assert host.ended("s", outcome=OUTCOME_CANCELLED) == []
    assert not host.executor.reports.streams


def test_a_body_that_is_held_for_whatever_goes_on_to_its_end() -> None:
    host = Host().alive()
    host.call("s", returns=STREAMING)
    out: list[Effect] = []
    host.executor.on_items_sent(task("s"), ME, ITEM_BYTES_UNACKED_MAX, out)
    assert out == [HoldBody(task("s"))]
    assert ReleaseBody(task("s")) in cancel_in(host, "s")[1]
    assert not host.executor.holds.is_held(task("s"), Reason.BYTES)


@pytest.mark.parametrize("outcome", [OUTCOME_VALUE, OUTCOME_CANCELLED])
def test_a_call_of_an_async_actor_ends_for_its_caller_when_its_body_does(outcome: int) -> None:
    host = Host().alive(ASYNC)
    host.call("a", "b")
    assert cancel_in(host, "a", force=True) == (True, [interrupt("a")])
    assert cancel_in(host, "b") == (True, [interrupt("b")])
    values = (b"value",) if outcome == OUTCOME_VALUE else ()
    assert host.ended("a", *values, outcome=outcome) == [done("a", outcome=OUTCOME_CANCELLED)]
    (sent,) = host.timer(LINE_BUSY_NS) or host.ended("b", ERROR, outcome=OUTCOME_ERROR)
    assert isinstance(sent, Send)
    (ended,) = sent.message.outcomes
    assert (ended.outcome, ended.entries) == (OUTCOME_ERROR, ((1, b"error", 0),))


def test_a_stream_that_nobody_cancelled_is_not_forgotten_without_an_end() -> None:
    host = Host().alive()
    host.call("s", returns=STREAMING)
    with pytest.raises(AssertionError):
        host.executor.reports.forget(task("s"))


def test_a_cancel_by_force_kills_no_actor() -> None:
    host = Host().alive(ASYNC)
    host.call("a")
    assert KillSelf() not in cancel_in(host, "a", force=True)[1]
    assert cancel_in(host, "unknown") == (False, [])


# -- what was borrowed -----------------------------------------------------------------------------
def request(name: str, *, force: bool = False) -> CancelRequested:
    return CancelRequested(task(name), force, True, result(name))


def test_who_borrows_a_reference_asks_its_owner_and_nobody_if_that_is_dead() -> None:
    bench = borrower("x")
    asked = Send(DRIVER, CancelBorrowed(result("x"), True, True))
    assert bench.step(request("x", force=True)) == [asked]
    bench = worker_bench()
    bench.meet("other")
    arguments = Parcel(b"pickle", (), False, (NestedRef(result("x"), address("other")),))
    pushed_task = dataclasses.replace(pushed("t"), arguments=pack((arguments,), [])[0])
    bench.say(DRIVER, PushTasks(lease("l"), 0, (pushed_task,)))
    bench.say(NODE, ProcessDown(peer("other"), 1, 42, -1, 9, "", lease("l"), 0))
    bench.quiet()
    assert bench.step(request("x")) == []


def test_what_was_not_borrowed_is_cancelled_here() -> None:
    bench = ProcessBench()
    bench.step(DefineTaskFunction(spec("a").function, b"pickle"))
    bench.step(SubmitTask(spec("a")))
    assert len(bench.step(request("a"))) == 2
    assert bench.process.owner.tasks.entries == {}
    assert bench.step(request("unknown")) == []


def test_an_owner_hears_those_only_who_borrow_from_it() -> None:
    bench = OwnerBench().running(spec("a"))
    message = CancelBorrowed(result("a"), False, True)
    assert bench.hear(OTHER_WORKER, message) == []
    assert bench.owner.tasks.entries[task("a")].cancel is None
    bench.owner.borrowing.lent.count(
        bench.owner.borrowing.lent.borrowers, OTHER_WORKER, result("a")
    )
    out: list[Effect] = []
    bench.owner.cancellation.on_borrowed(OTHER_WORKER, message, bench.now_ns, out)
    assert out == [told("a")]
