"""Waiting tasks find workers: leases, functions in front of tasks, pushes."""

from __future__ import annotations

import pytest

import zgen.core.lease_client as lease_client_module
from tests.unit.core.bench import DEFINE, PID, OwnerBench, asked, outcome, push, request
from tests.unit.core.names import (
    FUNCTION,
    JOB,
    NODE,
    ONE,
    OTHER_WORKER,
    PAYLOAD,
    TWO,
    WORKER,
    named,
    peer,
    pushed,
    result,
    spec,
    task,
    those,
)
from zgen.core.deadlines import earliest
from zgen.core.effects import Effect, JobReady, ObjectsReady, Report, Send
from zgen.core.events import PutObject, RegisterDriver
from zgen.core.task_table import Doing
from zgen.exceptions import RemoteProtocolError
from zgen.ids import NO_PEER, JobId, object_id
from zgen.limits import BATCH_BYTES_MAX, INBODY_BYTES_MAX, LEASE_LINGER_NS, LINE_TICK_NS
from zgen.wire.lease import (
    JobRegistered,
    LeaseRefused,
    LeaseWaiting,
    LeaseWanted,
    PlacedShape,
    QueryNode,
    RegisterJob,
    RequestLease,
    ReturnLease,
    Strategy,
)
from zgen.wire.schema import Buffers
from zgen.wire.store import Place
from zgen.wire.task import DefineFunction, PushTasks, TasksReturned
from zgen.wire.value import Parcel, Stored

GIVEN_BACK = Send(NODE, ReturnLease(asked(), True))


# -- the node ------------------------------------------------------------------------------------
def test_a_driver_registers_its_job_and_hears_what_the_node_has() -> None:
    bench = OwnerBench()
    out: list[Effect] = []
    event = RegisterDriver(7, ("lib",), "folder", (("A", "b"),))
    bench.owner.placement.register(event, out)
    assert out == [Send(NODE, RegisterJob(JOB, 7, ("lib",), "folder", (("A", "b"),)))]
    assert bench.hear(NODE, JobRegistered(JOB, TWO)) == [JobReady(TWO)]
    assert bench.hear(NODE, JobRegistered(JobId(named("other")), TWO)) == []


def test_the_node_is_asked_while_there_is_one() -> None:
    bench = OwnerBench(joined=False)
    out: list[Effect] = []
    bench.owner.placement.ask_node(5, out)
    assert out == []
    bench.owner.placement.join(NODE, JOB)
    bench.owner.placement.ask_node(6, out)
    assert out == [Send(NODE, QueryNode(6))]


def test_nothing_is_registered_or_placed_without_a_node() -> None:
    bench = OwnerBench(joined=False)
    with pytest.raises(AssertionError, match="before join"):
        bench.owner.placement.register(RegisterDriver(7, (), "", ()), [])
    with pytest.raises(AssertionError, match="without a node"):
        bench.submit(spec("a"))


# -- pushing -------------------------------------------------------------------------------------
def test_a_task_asks_for_a_worker_and_goes_to_it_behind_its_function() -> None:
    bench = OwnerBench()
    assert bench.submit(spec("a")) == [request()]
    assert bench.state("a") is Doing.WAITING_LEASE
    assert bench.grant() == [DEFINE, push(0, pushed("a"))]
    assert bench.state("a") is Doing.PUSHED


def test_a_function_travels_once_to_each_worker() -> None:
    bench = OwnerBench()
    bench.submit(spec("a"))
    bench.submit(spec("b"))
    bench.submit(spec("c"))
    bench.grant(1)
    assert bench.grant(2, OTHER_WORKER) == [
        Send(OTHER_WORKER, DefineFunction(FUNCTION, PAYLOAD)),
        push(0, pushed("b"), number=2, worker=OTHER_WORKER),
    ]
    done = bench.done(outcome("a", b"value", run_ns=2_000_000))
    assert done[-1] == push(1, pushed("c"))


def test_the_values_of_arguments_go_with_the_task() -> None:
    bench = OwnerBench()
    put = result("put")
    bench.put(put, Parcel(b"pickle", (b"frame",)))
    arguments = bytes(INBODY_BYTES_MAX + 1)
    bench.submit(spec("a", slots=[put, put], arguments=arguments))
    (_, sent) = bench.grant()
    assert isinstance(sent, Send)
    assert isinstance(sent.message, PushTasks)
    assert sent.message.tasks[0].arguments == (2, b"", 1)
    assert sent.message.tasks[0].slots == ((0, b"pickle", 1), (0, b"pickle", 1))
    assert sent.message.buffers == Buffers((arguments, b"frame", b"frame"))


def test_tasks_of_many_bytes_go_in_several_messages_with_consecutive_numbers() -> None:
    half = bytes(BATCH_BYTES_MAX // 2)
    bench = OwnerBench()
    for name in "abcd":
        bench.submit(spec(name, arguments=half))
    bench.owner.placement.leases.pools[ONE].depth = 64
    bench.owner.placement.leases.pools[ONE].open.clear()
    bench.owner.placement.leases.pools[ONE].open[asked(1)] = None
    sent = [effect for effect in bench.grant() if isinstance(effect, Send)]
    pushes = [effect for effect in sent if isinstance(effect.message, PushTasks)]
    assert [[each.task for each in effect.message.tasks] for effect in pushes] == [
        [task("a"), task("b")],
        [task("c"), task("d")],
    ]
    assert [effect.message.first_push for effect in pushes] == [0, 2]
    assert [effect.token for effect in pushes] == [(asked(), 0), (asked(), 2)]


def test_tasks_for_busy_workers_wait_a_tick_for_company() -> None:
    bench = OwnerBench().running(spec("a"))
    assert bench.submit(spec("b")) == []
    assert bench.submit(spec("c")) == []
    assert bench.advance(LINE_TICK_NS - 1) == []
    assert bench.advance(1) == [request(2, "b"), request(3, "b")]


def test_an_end_takes_along_what_waited_for_company() -> None:
    bench = OwnerBench().running(spec("a"))
    bench.submit(spec("b"))
    ready = ObjectsReady((result("a"),))
    assert bench.done(outcome("a", b"value")) == [ready, push(1, pushed("b"))]
    assert bench.advance(LINE_TICK_NS) == []


# -- handed back ---------------------------------------------------------------------------------
def test_what_a_worker_hands_back_goes_elsewhere_in_its_old_order() -> None:
    bench = OwnerBench().running(spec("a"), spec("b"), spec("c"))
    bench.submit(spec("d"))
    back = TasksReturned(asked(), ((task("b"), 0), (task("c"), 0)))
    done = bench.hear(WORKER, back)
    assert done == [request(number, "b") for number in (4, 5, 6)]
    assert [bench.state(name) for name in "abcd"] == [Doing.PUSHED] + [Doing.WAITING_LEASE] * 3
    assert list(bench.owner.placement.leases.pools[ONE].queue) == [task(name) for name in "bcd"]
    assert bench.attempt("b") == 0
    assert bench.grant(4, OTHER_WORKER)[-1] == push(0, pushed("b"), number=4, worker=OTHER_WORKER)


def test_a_hand_back_of_old_attempts_or_by_others_changes_nothing() -> None:
    bench = OwnerBench().running(spec("a"), spec("b"))
    assert bench.hear(OTHER_WORKER, TasksReturned(asked(), ((task("a"), 0),))) == []
    assert bench.hear(WORKER, TasksReturned(asked(9), ((task("a"), 0),))) == []
    assert bench.hear(WORKER, TasksReturned(asked(), ((task("a"), 1),))) == []
    assert bench.state("a") is Doing.PUSHED


def test_a_wanted_lease_goes_back_with_the_last_task_that_was_handed_back() -> None:
    bench = OwnerBench().running(spec("a"))
    assert bench.hear(NODE, LeaseWanted(asked())) == []
    assert bench.hear(WORKER, TasksReturned(asked(), ((task("a"), 0),))) == [
        GIVEN_BACK,
        request(2),
    ]


# -- leases --------------------------------------------------------------------------------------
def test_a_stranger_grants_and_refuses_nothing() -> None:
    bench = OwnerBench()
    bench.submit(spec("a"))
    with pytest.raises(RemoteProtocolError, match="grant by a stranger"):
        bench.grant(sender=peer("stranger"))
    with pytest.raises(RemoteProtocolError, match="refusal by a stranger"):
        bench.hear(peer("stranger"), LeaseRefused(asked(), "no"))
    assert bench.hear(peer("stranger"), LeaseWanted(asked())) == []
    assert bench.state("a") is Doing.WAITING_LEASE


def test_an_unwanted_grant_goes_back() -> None:
    assert OwnerBench().grant() == [GIVEN_BACK]


def test_an_idle_lease_is_returned_after_a_while() -> None:
    bench = OwnerBench().running(spec("a"))
    bench.done(outcome("a", b"value"))
    assert bench.advance(LEASE_LINGER_NS - 1) == []
    assert bench.advance(1) == [GIVEN_BACK]
    assert earliest(bench.owner.deadlines) is None


@pytest.mark.parametrize("closing", [False, True])
def test_idle_leases_are_returned_when_the_node_wants_them_or_drains(closing: bool) -> None:
    bench = OwnerBench().running(spec("a"))
    bench.done(outcome("a", b"value"))
    assert bench.hear(NODE, LeaseWanted(asked(), closing)) == [GIVEN_BACK]


@pytest.mark.parametrize("feasible", [False, True])
def test_a_person_hears_what_a_task_waits_for(feasible: bool) -> None:
    bench = OwnerBench()
    bench.submit(spec("a"))
    waiting = LeaseWaiting(asked(), feasible, "needs num_cpus=8")
    assert bench.hear(NODE, waiting) == [Report("warning", "a() waits: needs num_cpus=8")]


def test_nobody_is_told_while_tasks_of_the_shape_run() -> None:
    bench = OwnerBench().running(spec("a"))
    bench.submit(spec("b"))
    bench.advance(LINE_TICK_NS)
    assert bench.hear(NODE, LeaseWaiting(asked(2), True, "busy")) == []
    assert those(bench.hear(NODE, LeaseWaiting(asked(2), False, "never")), Report)
    assert bench.hear(NODE, LeaseWaiting(asked(9), False, "unknown")) == []


def test_a_request_without_a_task_is_reported_as_some_task() -> None:
    bench = OwnerBench()
    bench.submit(spec("a"))
    bench.owner.placement.leases.pools[ONE].queue.clear()
    assert bench.hear(NODE, LeaseWaiting(asked(), True, "busy")) == [
        Report("warning", "a task() waits: busy")
    ]


def test_the_worker_of_a_task_is_known_while_it_is_pushed() -> None:
    bench = OwnerBench().running(spec("a"))
    placement = bench.owner.placement
    assert bench.owner.tasks.entries[task("a")].worker == WORKER
    assert placement.leases.held[asked()].pid == PID
    bench.submit(spec("b"))
    assert bench.owner.tasks.entries[task("b")].worker is None


def test_a_request_says_where_it_may_be_met_and_where_the_arguments_are() -> None:
    bench = OwnerBench()
    x, y = object_id(task("x"), 0), object_id(task("y"), 0)
    place = Place(1, 0, 4096, 4096, True)
    bench.owner.put(PutObject(x, Stored(NODE, 5, place, b"", (9, 1))))
    bench.owner.put(PutObject(y, b"small"))
    strategy: Strategy = ("SPREAD", NO_PEER, False, (), ())
    wanted = spec("a", slots=(x, y))
    wanted.shape = PlacedShape(ONE, strategy)
    asked_for = RequestLease(asked(), JOB, ONE, "a", strategy, ((NODE, 10),), False)
    assert bench.submit(wanted) == [Send(NODE, asked_for)]


def test_a_shape_may_be_forgotten_as_the_end_of_its_last_task_lets_another_shape_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lease_client_module, "IDLE_POOLS_COUNT_MAX", 1)
    bench = OwnerBench().running(spec("a"))
    bench.submit(spec("b", slots=[result("a")], shape=TWO))
    bench.hear(NODE, LeaseWanted(asked(1)))
    assert bench.done(outcome("a", b"value"))[:2] == [GIVEN_BACK, request(2, "b", TWO)]
    assert list(bench.owner.placement.leases.pools) == [TWO]
