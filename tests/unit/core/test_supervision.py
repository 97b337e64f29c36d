"""Actors of this process: created, restarted, ended, and who is told."""

from __future__ import annotations

import pytest

from tests.unit.core.actor_bench import (
    ACTOR,
    CREATOR,
    HANDLE,
    ActorBench,
    at,
    calls_in,
    down,
    hosted,
    lease_of,
    lost,
    returned,
    wanted,
)
from tests.unit.core.bench import ERROR, asked, error, outcome
from tests.unit.core.names import (
    FUNCTION,
    NODE,
    OTHER_WORKER,
    PAYLOAD,
    WORKER,
    peer,
    pushed,
    result,
    spec,
)
from zgen.core.effects import NodeLost, ObjectsReady, Send
from zgen.core.supervision import EXITED, KILLED, NO_HANDLE
from zgen.exceptions import RemoteProtocolError
from zgen.ids import TaskId
from zgen.limits import ACTOR_END_NS, SECOND, WORKERS_LOST_COUNT_MAX
from zgen.wire.actor import (
    ActorExits,
    ActorLost,
    ActorSettings,
    EndActor,
    FreeName,
    KillActor,
    UnwatchActor,
    WatchActor,
)
from zgen.wire.lease import LeaseRefused, ReturnLease
from zgen.wire.task import DefineFunction, PushedCall, PushTasks
from zgen.wire.value import NONE, Fault, FaultKind, Parcel

CALLER = peer("caller")
NAMED = ActorSettings(name="one", namespace="space")
FREED = Send(NODE, FreeName("space", "one", ACTOR))


def last(bench: ActorBench) -> Fault:
    """Return what a call gets now that the actor is dead."""
    bench.call("late")
    fault = bench.fault("late")
    bench.owner.refs.drop_all([result("late")])
    return fault


# -- creation ------------------------------------------------------------------------------------
def test_an_actor_is_created_under_a_lease_of_its_own_and_kept() -> None:
    bench = ActorBench()
    assert bench.create() == [wanted()]
    assert bench.value(HANDLE) is None
    assert bench.grant_actor() == [
        hosted(),
        Send(WORKER, DefineFunction(FUNCTION, PAYLOAD)),
        Send(
            WORKER,
            PushTasks(lease_of(), 0, (pushed("actor"),), 0, (PushedCall(ACTOR, "__init__"),)),
            (lease_of(), 0),
        ),
    ]
    assert bench.grant_actor() == [], "a second grant of the same lease"
    assert bench.created() == [ObjectsReady((HANDLE,))]
    assert bench.value(HANDLE) == NONE
    assert bench.owner.actors.supervision.worker_of(ACTOR) == WORKER


def test_an_actor_that_wants_resources_has_idle_leases_returned_for_it() -> None:
    bench = ActorBench()
    bench.submit(spec("f"))
    bench.grant()
    bench.done(outcome("f", b"value"))
    assert bench.create() == [wanted(), Send(NODE, ReturnLease(asked(), True))]


def test_an_actor_that_wants_no_resources_takes_nothing_from_others() -> None:
    bench = ActorBench()
    bench.submit(spec("f"))
    bench.grant()
    bench.done(outcome("f", b"value"))
    assert len(bench.create(shape=())) == 1
    assert bench.grant_actor()[0] == hosted(holds=False), "nor has it any to give away"


def test_an_actor_is_created_twice_by_nobody() -> None:
    bench = ActorBench().alive()
    with pytest.raises(RemoteProtocolError, match="twice"):
        bench.created()


def test_arguments_are_kept_only_while_a_restart_needs_them() -> None:
    for restarts, kept in ((0, False), (1, True)):
        bench = ActorBench()
        bench.put(result("put"))
        bench.create(ActorSettings(restarts), (result("put"),))
        bench.drop(result("put"))
        bench.grant_actor()
        bench.created()
        assert (result("put") in bench.owner.refs.records) is kept


def test_an_actor_whose_init_raises_is_dead_and_its_worker_ends() -> None:
    bench = ActorBench()
    bench.create(NAMED)
    bench.grant_actor()
    bench.call("a")
    done = bench.raised()
    assert FREED in done
    assert done[-1] == returned()
    fault = bench.fault("a")
    assert (fault.kind, fault.init_failed, fault.cause) == (FaultKind.ACTOR_DIED, True, ERROR)
    value = bench.value(HANDLE)
    assert isinstance(value, Fault)
    assert not fault.may_have_run


def test_an_argument_that_is_an_error_ends_an_actor_before_it_begins() -> None:
    bench = ActorBench()
    bench.submit(spec("f"))
    bench.create(NAMED, (result("f"),))
    bench.call("a")
    bench.call("needs both", slots=(result("f"),))
    bench.hear(CALLER, WatchActor(ACTOR))
    bench.grant()
    done = bench.done(error("f"))
    assert FREED in done
    assert any(isinstance(e, Send) and isinstance(e.message, ActorLost) for e in done)
    assert bench.fault("a").cause == ERROR
    assert bench.fault("needs both").kind in (FaultKind.ACTOR_DIED, FaultKind.ARGUMENT)
    bench.let_go()
    assert not bench.is_known()


def test_a_refusal_ends_an_actor() -> None:
    bench = ActorBench()
    bench.create()
    assert bench.hear(NODE, LeaseRefused(lease_of(), "no")) != []
    assert last(bench).reason == "no"
    bench.let_go()
    assert not bench.is_known()


def test_words_about_leases_of_strangers_change_nothing() -> None:
    bench = ActorBench()
    bench.create()
    with pytest.raises(RemoteProtocolError, match="stranger"):
        bench.hear(CALLER, LeaseRefused(lease_of(), "no"))
    bench.submit(spec("f"))
    assert bench.grant() != [], "a lease of a plain task"


# -- deaths --------------------------------------------------------------------------------------
def test_a_worker_that_dies_before_it_begins_costs_nothing() -> None:
    for said in (down(started=0), None):
        bench = ActorBench()
        bench.create()
        bench.grant_actor()
        unsent = [(lease_of(), 0)]
        assert bench.down(said=said, unsent=unsent) == [returned(), wanted(1)]
        bench.grant_actor(1)
        bench.created()
        assert bench.value(HANDLE) == NONE


def test_workers_that_never_begin_end_an_actor_after_many() -> None:
    bench = ActorBench()
    bench.create()
    for number in range(WORKERS_LOST_COUNT_MAX):
        bench.grant_actor(number)
        bench.down(said=down(under=lease_of(number), started=0))
    assert last(bench).kind is FaultKind.ACTOR_DIED


def test_an_actor_is_restarted_as_often_as_it_may_and_watchers_hear_each_change() -> None:
    bench = ActorBench().alive(ActorSettings(1))
    assert bench.hear(CALLER, WatchActor(ACTOR)) == [Send(CALLER, at())]
    done = bench.down(said=down())
    assert done == [returned(), Send(CALLER, lost(reason="last words"))]
    assert bench.advance(SECOND) == [wanted(1, retriable=True)]
    bench.grant_actor(1, "other worker")
    assert bench.created(attempt=1, worker=OTHER_WORKER) == [
        Send(CALLER, at(1, "other worker")),
    ]
    done = bench.down(OTHER_WORKER, down(OTHER_WORKER, lease_of(1)))
    assert done == [returned(1), Send(CALLER, lost(1, dead=True, reason="last words"))]
    assert last(bench).signal == 9


def test_a_worker_that_says_goodbye_ends_a_life_as_well() -> None:
    bench = ActorBench().alive(ActorSettings(1))
    bench.down()
    bench.advance(SECOND)
    bench.grant_actor(1)
    bench.down()
    assert last(bench).reason == "it is gone"


def test_an_actor_that_dies_while_it_is_created_again_is_restarting_still() -> None:
    bench = ActorBench().alive(ActorSettings(-1))
    for number in (1, 2):
        bench.down(said=down(under=lease_of(number - 1)))
        bench.advance(2 * SECOND)
        bench.grant_actor(number)
    bench.created(attempt=2)
    assert bench.owner.actors.supervision.table.actors[ACTOR].life == 2


def test_a_dead_watcher_is_told_nothing_more() -> None:
    bench = ActorBench().alive()
    bench.hear(CALLER, WatchActor(ACTOR))
    bench.down(CALLER)
    assert bench.kill() == [returned()]


# -- ends ----------------------------------------------------------------------------------------
def test_the_last_handle_lets_the_worker_end_in_peace_and_only_so_long() -> None:
    bench = ActorBench().alive(NAMED)
    assert bench.let_go() == [FREED, Send(WORKER, EndActor(ACTOR))]
    assert bench.is_known(), "its worker is still there"
    assert bench.advance(ACTOR_END_NS - 1) == []
    assert bench.advance(1) == [returned()]
    assert not bench.is_known()
    assert bench.is_empty()


def test_an_actor_whose_worker_ended_in_peace_is_forgotten() -> None:
    bench = ActorBench().alive()
    bench.let_go()
    bench.down()
    assert not bench.is_known()
    assert bench.advance(2 * ACTOR_END_NS) == []


def test_an_actor_that_is_dropped_before_it_was_created_never_is() -> None:
    bench = ActorBench()
    bench.create()
    assert bench.let_go() == [returned()]
    assert bench.is_empty()
    assert not bench.is_known()
    assert bench.grant_actor() == [Send(NODE, ReturnLease(lease_of(), True))]


def test_a_pending_call_keeps_the_actor_of_a_dropped_handle() -> None:
    bench = ActorBench().alive()
    bench.call("a")
    assert bench.let_go() == []
    done = bench.ended("a")
    assert bench.settle_handles(done)[-1] == Send(WORKER, EndActor(ACTOR))


def test_killing_ends_an_actor_at_once_and_for_good() -> None:
    bench = ActorBench().alive(ActorSettings(-1))
    bench.call("a")
    assert bench.kill() == [returned()]
    assert bench.value(result("a")) is None, "its end may be on its way"
    bench.down()
    assert bench.fault("a").reason == KILLED
    assert bench.fault("a").may_have_run
    assert bench.kill() == [], "it is dead"
    bench.let_go()
    assert not bench.is_known()


def test_killing_with_a_restart_is_a_crash_like_any_other() -> None:
    bench = ActorBench()
    bench.create(ActorSettings(1))
    assert bench.kill(no_restart=False) == [], "nothing lives yet"
    bench.grant_actor()
    bench.created()
    assert bench.hear(CALLER, KillActor(ACTOR, False)) == [returned()]
    bench.down(said=down())
    assert bench.advance(SECOND) == [wanted(1, retriable=True)]


def test_killing_an_actor_of_another_process_is_asked_of_its_creator() -> None:
    assert ActorBench().kill(CREATOR) == [Send(CREATOR.peer, KillActor(ACTOR, True))]


def test_an_actor_ends_itself() -> None:
    bench = ActorBench().alive(ActorSettings(-1))
    bench.call("a")
    with pytest.raises(RemoteProtocolError, match="does not live at"):
        bench.hear(OTHER_WORKER, ActorExits(ACTOR, 0))
    bench.hear(WORKER, ActorExits(ACTOR, 0))
    assert bench.hear(WORKER, ActorExits(ACTOR, 0)) == [], "it is dead"
    bench.down()
    assert bench.fault("a").reason == EXITED


def test_an_actor_that_waits_before_it_is_created_again_can_be_killed() -> None:
    bench = ActorBench().alive(ActorSettings(1))
    bench.down(said=down())
    assert bench.kill() == []
    assert bench.advance(SECOND) == []
    assert last(bench).reason == KILLED


# -- who is told ---------------------------------------------------------------------------------
def test_a_late_caller_hears_what_holds() -> None:
    bench = ActorBench()
    bench.create()
    assert bench.hear(CALLER, WatchActor(ACTOR)) == [], "not created yet"
    bench.hear(CALLER, UnwatchActor(ACTOR))
    bench.grant_actor()
    assert bench.created() == [ObjectsReady((HANDLE,))]
    assert bench.hear(CALLER, WatchActor(ACTOR)) == [Send(CALLER, at())]
    bench.kill()
    (sent,) = bench.hear(peer("another"), WatchActor(ACTOR))
    assert isinstance(sent, Send)
    assert sent.message.reason == KILLED


def test_a_caller_of_an_actor_that_nobody_knows_any_more_hears_so() -> None:
    bench = ActorBench()
    (sent,) = bench.hear(CALLER, WatchActor(ACTOR))
    assert isinstance(sent, Send)
    assert (sent.message.is_dead, sent.message.reason) == (True, NO_HANDLE)
    assert last(bench).reason == NO_HANDLE
    assert bench.advance(60 * SECOND) == []
    assert ACTOR not in bench.owner.actors.calling.calls.targets


def test_a_first_call_of_a_living_and_of_a_dead_actor_knows_where_it_stands() -> None:
    bench = ActorBench().alive()
    assert calls_in(bench.call("a")) == [(WORKER, 0, ["a"])]
    other = ActorBench().alive()
    other.kill()
    other.call("a")
    assert other.fault("a").reason == KILLED


# -- the node ------------------------------------------------------------------------------------
def test_the_death_of_the_node_ends_every_actor() -> None:
    bench = ActorBench().alive()
    bench.call("a")
    assert isinstance(bench.down(NODE)[-1], NodeLost)
    assert bench.fault("a").kind is FaultKind.NODE_DIED
    bench.call("b")
    assert bench.fault("b").kind is FaultKind.NODE_DIED
    bench.drop(result("a"), result("b"))
    bench.let_go()
    assert not bench.is_known()
    ending = ActorBench().alive()
    ending.let_go()
    ending.down(NODE)
    assert not ending.is_known()
    unborn = ActorBench()
    unborn.create(NAMED)
    unborn.down(NODE)
    unborn.let_go()
    assert unborn.is_empty()


def test_an_actor_is_not_created_after_the_node_died() -> None:
    bench = ActorBench()
    bench.down(NODE)
    assert bench.create(NAMED) == [ObjectsReady((HANDLE,))]
    bench.let_go()
    assert not bench.is_known()


def test_what_constructor_arguments_refer_to_is_let_go_where_no_restart_is_left() -> None:
    bench = ActorBench()
    bench.create()
    arguments = Parcel(b"args")
    bench.owner.tasks.entries[TaskId(ACTOR)].spec.arguments = arguments
    bench.grant_actor()
    bench.created()
    assert bench.owner.refs.dropped == [arguments]
