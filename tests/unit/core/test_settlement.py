"""How tasks end: values, errors, other attempts, and what waits for them."""

from __future__ import annotations

from dataclasses import replace

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
    those,
)
from zgen.core.deadlines import earliest
from zgen.core.effects import ObjectsReady, Report, Send, StreamAdvanced
from zgen.core.task_table import Doing
from zgen.ids import COMPLETION_INDEX
from zgen.limits import (
    HISTORY_COUNT_MAX,
    MEMORY_RETRY_NS,
    RETRY_DELAY_FIRST_NS,
    RETRY_DELAY_NS_MAX,
    WORKERS_LOST_COUNT_MAX,
)
from zgen.wire.lease import LeaseRefused, ProcessDown, ReturnLease
from zgen.wire.task import OUTCOME_RETRY
from zgen.wire.value import Fault, FaultKind

MIDDLING_NS = 2_000_000


def killed(lease_number: int = 1, started: int = 1) -> ProcessDown:
    return ProcessDown(WORKER, 1, PID, -1, 9, "last words", asked(lease_number), started)


# -- values --------------------------------------------------------------------------------------
def test_each_result_gets_its_value() -> None:
    bench = OwnerBench().running(spec("a", returns=2))
    done = bench.done(outcome("a", b"0", b"1"))
    assert done == [ObjectsReady((result("a", 0), result("a", 1)))]
    assert (bench.value(result("a", 0)), bench.value(result("a", 1))) == (b"0", b"1")
    assert bench.state("a") is None


def test_one_error_stands_for_all_results() -> None:
    bench = OwnerBench().running(spec("a", returns=2))
    bench.done(error("a"))
    assert [bench.value(result("a", index)) for index in (0, 1)] == [ERROR, ERROR]


def test_a_task_without_results_ends_in_silence() -> None:
    bench = OwnerBench().running(spec("a", returns=0), spec("b", returns=0))
    assert bench.done(outcome("a"), error("b")) == []
    assert bench.is_empty()


def test_a_result_that_nobody_holds_any_more_is_dropped() -> None:
    bench = OwnerBench().running(spec("a"))
    bench.drop(result("a"))
    assert bench.done(outcome("a", b"late")) == []
    assert bench.is_empty()


def test_a_value_lets_those_run_that_wait_for_it() -> None:
    bench = OwnerBench().running(spec("a"))
    bench.submit(spec("b", slots=[result("a")]))
    bench.submit(spec("c", slots=[result("a")]))
    assert bench.state("b") is Doing.WAITING_ARGS
    bench.drop(result("a"))
    done = bench.done(outcome("a", b"value", run_ns=MIDDLING_NS))
    assert ObjectsReady((result("a"),)) in done
    (sent,) = [e for e in those(done, Send) if isinstance(e, Send) and e.peer == WORKER]
    assert sent.message.tasks[0].slots == (b"value",)
    assert bench.state("c") is Doing.WAITING_LEASE


# -- errors of arguments -------------------------------------------------------------------------
def test_an_error_fails_those_that_need_it_and_those_that_need_them() -> None:
    bench = OwnerBench().running(spec("a"))
    bench.submit(spec("b", slots=[result("a")]))
    bench.submit(spec("c", slots=[result("b"), result("a")]))
    bench.submit(stream_spec("s", slots=[result("b")]))
    done = bench.done(error("a"))
    expected = {
        name: Fault(FaultKind.ARGUMENT, name, may_have_run=False, cause=ERROR) for name in "bcs"
    }
    assert [bench.value(result(name)) for name in "bc"] == [expected["b"], expected["c"]]
    assert bench.owner.streams.streams[task("s")].completion == expected["s"]
    assert done[0] == StreamAdvanced(task("s"))
    assert ObjectsReady((result("a"), result("b"), result("c"))) in done
    assert [bench.state(name) for name in "abcs"] == [None] * 4


def test_a_long_chain_of_failures_ends_and_names_its_root() -> None:
    bench = OwnerBench().running(spec("0"))
    for number in range(1, 60):
        bench.submit(spec(f"{number}", slots=[result(f"{number - 1}")]))
    bench.done(error("0"))
    last = bench.value(result("59"))
    assert isinstance(last, Fault)
    assert last.cause == ERROR
    assert not bench.owner.tasks.entries


def test_a_task_whose_argument_is_an_error_already_never_runs() -> None:
    bench = OwnerBench()
    bench.put(result("put"), ERROR)
    assert bench.submit(spec("a", slots=[result("put")])) == [ObjectsReady((result("a"),))]
    fault = Fault(FaultKind.ARGUMENT, "a", may_have_run=False, cause=ERROR)
    assert bench.value(result("a")) == fault
    assert bench.owner.placement.leases.pools == {}


def test_a_task_fails_with_its_first_error_though_it_misses_arguments_too() -> None:
    bench = OwnerBench().running(spec("a"))
    other = Fault(FaultKind.NODE_DIED, "x")
    bench.put(result("put"), ERROR)
    bench.put(result("other"), other)
    bench.submit(spec("b", slots=[result("a"), result("put"), result("other")]))
    value = bench.value(result("b"))
    assert isinstance(value, Fault)
    assert value.cause == ERROR
    bench.done(outcome("a", b"value"))
    assert bench.state("b") is None


# -- another attempt -----------------------------------------------------------------------------
def test_an_error_that_may_be_retried_begins_another_attempt_at_the_same_worker() -> None:
    bench = OwnerBench().running(spec("a", retries=1))
    assert bench.done(retriable("a")) == []
    assert bench.state("a") is Doing.WAITING_RETRY
    assert earliest(bench.owner.deadlines) == bench.now_ns
    assert bench.advance(0) == [push(1, pushed("a", attempt=1))]
    assert bench.done(retriable("a")) == [], "it is of the old attempt"
    assert bench.done(retriable("a", attempt=1)) == [ObjectsReady((result("a"),))]
    assert bench.value(result("a")) == ERROR


def test_later_attempts_wait_longer() -> None:
    bench = OwnerBench().running(spec("a", retries=2))
    bench.done(retriable("a"))
    bench.advance(0)
    bench.done(retriable("a", attempt=1))
    assert bench.advance(RETRY_DELAY_FIRST_NS // 2 - 1) == []
    assert push(2, pushed("a", attempt=2)) in bench.advance(RETRY_DELAY_FIRST_NS)


def test_a_stream_that_raised_what_may_be_retried_begins_again() -> None:
    bench = OwnerBench().running(stream_spec("s", retries=1))
    bench.items("s", 0, b"a", b"b")
    assert bench.end("s", 2, ERROR_ENTRY, kind=OUTCOME_RETRY) == []
    bench.advance(0)
    assert bench.attempt("s") == 1
    assert bench.items("s", 0, b"a", b"b", attempt=1) == []
    assert bench.items("s", 2, b"c", attempt=1) == [StreamAdvanced(task("s"))]
    bench.end("s", 3, ERROR_ENTRY, attempt=1, kind=OUTCOME_RETRY)
    assert list(bench.owner.streams.streams[task("s")].unread) == [b"a", b"b", b"c", ERROR]


def test_the_end_of_the_node_leaves_no_retry_behind() -> None:
    bench = OwnerBench().running(spec("a", retries=1))
    bench.done(retriable("a"))
    bench.down(NODE)
    assert earliest(bench.owner.deadlines) is None
    value = bench.value(result("a"))
    assert isinstance(value, Fault)
    assert value.kind is FaultKind.NODE_DIED


# -- crashes -------------------------------------------------------------------------------------
def test_a_crash_without_a_retry_left_says_how_the_worker_died() -> None:
    bench = OwnerBench().running(spec("a"))
    done = bench.down(WORKER, killed())
    assert done == [Send(NODE, ReturnLease(asked(), False)), ObjectsReady((result("a"),))]
    assert bench.value(result("a")) == Fault(
        FaultKind.WORKER_CRASHED, "a", "last words", PID, -1, 9, attempts=1
    )


def test_a_crash_that_no_node_told_of_has_a_reason_for_people() -> None:
    bench = OwnerBench().running(spec("a"))
    bench.down(WORKER)
    assert bench.value(result("a")) == Fault(
        FaultKind.NODE_DIED, "a", "it is gone", PID, attempts=1
    )


def test_a_crash_of_a_stream_comes_after_what_was_reported() -> None:
    bench = OwnerBench().running(stream_spec("s"))
    bench.items("s", 0, b"a")
    bench.ref_completion("s")
    fault = Fault(FaultKind.WORKER_CRASHED, "s", "last words", PID, -1, 9, attempts=1)
    done = bench.down(WORKER, killed())
    assert done[1:] == [
        StreamAdvanced(task("s")),
        ObjectsReady((result("s", COMPLETION_INDEX),)),
    ]
    assert list(bench.owner.streams.streams[task("s")].unread) == [b"a", fault]
    assert bench.value(result("s", COMPLETION_INDEX)) == fault


def test_what_had_begun_is_retried_and_what_had_not_runs_at_no_cost() -> None:
    bench = OwnerBench().running(spec("a", retries=1), spec("b"), spec("c"))
    done = bench.down(WORKER, killed(started=1))
    assert [bench.state(name) for name in "abc"] == [
        Doing.WAITING_RETRY,
        Doing.WAITING_LEASE,
        Doing.WAITING_LEASE,
    ]
    assert [bench.attempt(name) for name in "abc"] == [1, 0, 0]
    assert request(4, "b") in done
    sent = bench.grant(4, OTHER_WORKER)
    assert push(0, pushed("b"), number=4, worker=OTHER_WORKER) in sent
    assert push(1, pushed("c"), number=4, worker=OTHER_WORKER) in sent


def test_a_worker_that_last_worked_under_another_lease_had_begun_nothing_of_this_one() -> None:
    bench = OwnerBench().running(spec("a"))
    bench.down(WORKER, killed(lease_number=9, started=5))
    assert (bench.state("a"), bench.attempt("a")) == (Doing.WAITING_LEASE, 0)


@pytest.mark.parametrize("known", [True, False])
def test_a_task_fails_when_too_many_workers_in_a_row_die_before_they_begin_it(known: bool) -> None:
    bench = OwnerBench()
    bench.submit(spec("a", retries=-1))
    for number in range(1, WORKERS_LOST_COUNT_MAX + 1):
        assert bench.state("a") is Doing.WAITING_LEASE
        bench.grant(number)
        if known:
            bench.down(WORKER, killed(number, started=0))
        else:
            bench.down(WORKER, None, [(asked(number), 0)])
    assert bench.state("a") is None
    if known:
        fault = Fault(FaultKind.WORKER_CRASHED, "a", "last words", PID, -1, 9, attempts=0)
    else:
        fault = Fault(FaultKind.NODE_DIED, "a", "it is gone", PID, attempts=0)
    fault.may_have_run = False
    assert bench.value(result("a")) == fault


def test_a_start_begins_the_count_of_lost_workers_anew_and_is_remembered() -> None:
    bench = OwnerBench()
    bench.submit(stream_spec("s", retries=1))
    for number in range(1, WORKERS_LOST_COUNT_MAX):
        bench.grant(number)
        bench.down(WORKER, killed(number, started=0))
    bench.grant(WORKERS_LOST_COUNT_MAX)
    bench.down(WORKER, killed(WORKERS_LOST_COUNT_MAX, started=1))
    assert (bench.state("s"), bench.attempt("s")) == (Doing.WAITING_RETRY, 1)
    bench.advance(0)
    for number in range(WORKERS_LOST_COUNT_MAX + 1, 2 * WORKERS_LOST_COUNT_MAX + 1):
        assert bench.state("s") is Doing.WAITING_LEASE
        bench.grant(number)
        bench.down(WORKER, killed(number, started=0))
    fault = Fault(FaultKind.WORKER_CRASHED, "s", "last words", PID, -1, 9, attempts=1)
    fault.history = (f"attempt 0: worker pid={PID} died of signal 9",)
    assert list(bench.owner.streams.streams[task("s")].unread) == [fault]


@pytest.mark.parametrize(("first_unsent", "begun"), [(0, 0), (1, 1), (3, 3), (None, 3)])
def test_where_nobody_knows_what_had_begun_what_certainly_never_left_had_not(
    first_unsent: int | None, begun: int
) -> None:
    bench = OwnerBench().running(*[spec(name, retries=1) for name in "abc"])
    unsent = [(asked(9), 0)]
    if first_unsent is not None:
        unsent += [(asked(), first_unsent), (asked(), 7)]
    bench.down(WORKER, None, unsent)
    assert [bench.attempt(name) for name in "abc"] == [1] * begun + [0] * (3 - begun)


def test_the_last_error_tells_how_the_attempts_before_it_ended() -> None:
    bench = OwnerBench().running(spec("a", retries=4))
    bench.done(retriable("a"))
    bench.advance(0)
    ends = (
        killed(1, started=2),
        replace(killed(2, started=-1), log_tail="its node is gone"),
        None,
        replace(killed(4), signal=0, exit_code=3),
    )
    for number, down in enumerate(ends, 1):
        bench.down(WORKER, down)
        bench.advance(RETRY_DELAY_NS_MAX)
        bench.grant(number + 1)
    value = bench.value(result("a"))
    assert isinstance(value, Fault)
    assert (value.attempts, value.exit_code) == (5, 3)
    assert value.history == (
        "attempt 0: it raised",
        f"attempt 1: worker pid={PID} died of signal 9",
        f"attempt 2: worker pid={PID} is gone: its node is gone",
        f"attempt 3: worker pid={PID} is gone: it is gone",
    )


def test_a_task_whose_node_died_says_so() -> None:
    bench = OwnerBench().running(spec("a"))
    bench.down(WORKER, replace(killed(started=-1), log_tail="its node is gone"))
    fault = Fault(FaultKind.NODE_DIED, "a", "its node is gone", PID, attempts=1)
    assert bench.value(result("a")) == fault


def test_a_task_that_was_ended_for_memory_waits_before_it_takes_memory_again_and_says_so() -> None:
    bench = OwnerBench().running(spec("a", retries=1))
    bench.down(WORKER, replace(killed(), rss_bytes=70, limit_bytes=90))
    assert bench.advance(MEMORY_RETRY_NS - 1) == []
    assert bench.advance(1) == [request(2, retriable=True)]
    bench.grant(2)
    bench.down(WORKER, replace(killed(2), rss_bytes=71, limit_bytes=90))
    value = bench.value(result("a"))
    assert isinstance(value, Fault)
    assert value.kind is FaultKind.OUT_OF_MEMORY
    assert (value.rss_bytes, value.limit_bytes, value.attempts) == (71, 90, 2)
    assert "70 bytes, the limit there is 90" in value.history[0]


def test_endless_retries_are_reported_less_and_less_often_and_wait_longer() -> None:
    bench = OwnerBench()
    bench.submit(spec("a", retries=-1))
    told: list[int] = []
    began_ns = bench.now_ns
    for number in range(1, 33):
        bench.grant(number)
        done = bench.down(WORKER, killed(number))
        told += [number for effect in done if isinstance(effect, Report)]
        while bench.state("a") is Doing.WAITING_RETRY:
            bench.advance(RETRY_DELAY_FIRST_NS // 2)
    assert told == [4, 8, 16, 32]
    assert bench.now_ns - began_ns > 25 * RETRY_DELAY_NS_MAX // 2
    assert len(bench.owner.tasks.entries[task("a")].history) == HISTORY_COUNT_MAX


def test_the_death_of_a_worker_without_a_lease_changes_nothing() -> None:
    bench = OwnerBench().running(spec("a"))
    assert bench.down(OTHER_WORKER) == []
    assert bench.state("a") is Doing.PUSHED


# -- refusals ------------------------------------------------------------------------------------
def test_a_refusal_fails_what_waited_and_says_why() -> None:
    bench = OwnerBench()
    bench.submit(spec("a"))
    bench.submit(spec("b"))
    done = bench.hear(NODE, LeaseRefused(asked(), "no worker starts"))
    assert done == [ObjectsReady((result("a"),)), ObjectsReady((result("b"),))]
    for name in "ab":
        assert bench.value(result(name)) == Fault(
            FaultKind.REFUSED, name, "no worker starts", may_have_run=False
        )
    assert bench.hear(NODE, LeaseRefused(asked(), "again")) == []


def test_an_error_that_nothing_says_may_be_retried_is_final() -> None:
    bench = OwnerBench().running(spec("a", retries=1))
    assert bench.done(error("a")) == [ObjectsReady((result("a"),))]
    assert bench.state("a") is None
