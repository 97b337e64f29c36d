"""Actors through the machine of a whole process."""

from __future__ import annotations

from tests.unit.core.actor_bench import ACTOR, CREATOR, HANDLE, at, calls_in, lost
from tests.unit.core.names import NODE, WORKER, address, peer, result, spec
from tests.unit.core.process_bench import DRIVER, ProcessBench, worker_bench
from zgen.core.actor_effects import CharterCame, NameAnswered
from zgen.core.actor_events import (
    CallActor,
    CreateActor,
    DetachNow,
    ExitActor,
    FindActor,
    KillActorNow,
    NameActor,
    WantCharter,
)
from zgen.core.effects import CloseConnection, OpenConnection, Send
from zgen.core.events import ConnectionUp, Dropped
from zgen.ids import ActorId, LeaseId, TaskId
from zgen.limits import SECOND
from zgen.wire.actor import (
    ActorExits,
    ActorRestarted,
    ActorSettings,
    AskCharter,
    Charter,
    ClaimName,
    DetachActor,
    FindName,
    HostActor,
    KeepActor,
    KillActor,
    NameAnswer,
    UnwatchActor,
    WatchActor,
)
from zgen.wire.lease import ProcessDown, ReturnLease
from zgen.wire.object import WatchProcess
from zgen.wire.value import Fault

NO_LEASE = LeaseId(bytes(16))


def call(name: str) -> CallActor:
    made = spec(name)
    made.actor, made.method = ACTOR, "method"
    return CallActor(made, CREATOR)


def died(name: str) -> ProcessDown:
    return ProcessDown(address(name).peer, 1, 9, -1, 9, "", NO_LEASE, 0)


def value_of(bench: ProcessBench, name: str) -> Fault:
    value = bench.process.owner.refs.value_of(result(name))
    assert isinstance(value, Fault)
    return value


def test_a_call_dials_the_creator_and_then_the_worker() -> None:
    bench = ProcessBench()
    bench.step(call("a"))
    assert bench.meet("creator") == [Send(CREATOR.peer, WatchActor(ACTOR))]
    assert Send(NODE, WatchProcess(WORKER, 1)) in bench.say(CREATOR.peer, at())
    assert calls_in(bench.meet("worker")) == [(WORKER, 0, ["a"])]


def test_an_actor_may_call_itself() -> None:
    bench = ProcessBench()
    bench.step(call("a"))
    bench.meet("creator")
    done = bench.say(CREATOR.peer, at(0, "me"))
    assert [each.peer for each in done if isinstance(each, OpenConnection)] == [peer("me")]
    assert calls_in(bench.meet("me")) == [(peer("me"), 0, ["a"])]


def test_a_call_of_an_actor_whose_creator_is_dead_fails_at_once() -> None:
    bench = ProcessBench()
    bench.say(NODE, died("creator"))
    bench.step(call("a"))
    assert value_of(bench, "a").reason == "its creator died"
    assert bench.step(KillActorNow(ACTOR, CREATOR, True)) == []


def test_an_actor_that_is_said_to_be_at_a_dead_worker_is_not_called_there() -> None:
    bench = ProcessBench()
    bench.say(NODE, died("worker"))
    bench.step(call("a"))
    bench.meet("creator")
    assert bench.say(CREATOR.peer, at()) == []
    assert calls_in(bench.say(CREATOR.peer, lost())) == []
    bench.say(CREATOR.peer, at(1, "other worker"))
    assert [names for _, _, names in calls_in(bench.meet("other worker"))] == [["a"]]


def test_an_actor_of_this_process_is_created_and_dropped() -> None:
    bench = ProcessBench()
    made = spec("actor")
    made.actor, made.method = ACTOR, "__init__"
    (asked,) = bench.step(CreateActor(made, ActorSettings()))
    assert isinstance(asked, Send)
    dropped = bench.step(Dropped((HANDLE,), ()))
    assert dropped == [Send(NODE, ReturnLease(asked.message.lease, False))]
    assert bench.step(KillActorNow(ACTOR, address("me"), True)) == []


def test_killing_is_asked_of_the_creator() -> None:
    bench = ProcessBench()
    bench.meet("creator")
    assert bench.step(KillActorNow(ACTOR, CREATOR, True)) == [
        Send(NODE, WatchProcess(CREATOR.peer, 1)),
        Send(CREATOR.peer, KillActor(ACTOR, True)),
    ]
    again = bench.step(KillActorNow(ACTOR, CREATOR, False))
    assert again == [Send(CREATOR.peer, KillActor(ACTOR, False))]


def test_killing_is_given_up_with_a_creator_whose_inbox_is_another_ones_by_now() -> None:
    bench = ProcessBench()
    bench.step(KillActorNow(ACTOR, CREATOR, True))
    asked = Send(CREATOR.peer, KillActor(ACTOR, True))
    assert asked in bench.step(ConnectionUp(CREATOR.peer, 1)), "who listens there never answers"
    assert bench.due() is not None
    bench.say(NODE, died("creator"))
    assert CloseConnection(CREATOR.peer, 1) in bench.quiet()
    bench.advance(SECOND)
    assert bench.due() is None, "nothing is sent again"


def test_names_are_claimed_and_found_at_the_node() -> None:
    bench = ProcessBench()
    assert bench.step(NameActor(4, "space", "one", ACTOR, b"class")) == [
        Send(NODE, ClaimName(4, "space", "one", ACTOR, address("me"), b"class"))
    ]
    assert bench.step(FindActor(5, "space", "one")) == [Send(NODE, FindName(5, "space", "one"))]
    assert bench.say(NODE, NameAnswer(5, ACTOR, CREATOR, b"class")) == [
        NameAnswered(5, ACTOR, CREATOR, b"class")
    ]
    assert ProcessBench(joined=False).step(FindActor(5, "space", "one")) == []


def test_an_actor_in_a_worker_ends_itself() -> None:
    bench = worker_bench()
    bench.say(DRIVER, HostActor(ACTOR, 0, ActorSettings()))
    assert bench.step(ExitActor(is_crash=True)) == []
    assert bench.step(ExitActor()) == [Send(DRIVER, ActorExits(ACTOR, 0))]


def test_a_detached_actor_is_asked_of_the_node() -> None:
    bench = ProcessBench()
    assert bench.step(DetachNow(4, "space", "one", b"class", 2)) == [
        Send(NODE, DetachActor(4, "space", "one", Charter(b"class", 2)))
    ]
    assert bench.say(NODE, NameAnswer(4, ACTOR, CREATOR, b"class", "", True)) == [
        NameAnswered(4, ACTOR, CREATOR, b"class", "", True)
    ]
    assert bench.step(WantCharter(5)) == [Send(NODE, AskCharter(5))]
    assert bench.say(NODE, KeepActor(5, b"class", 1)) == [CharterCame(5, b"class", 1)]


def named(detached: bool) -> CreateActor:
    made = spec("actor")
    made.task, made.actor, made.method = TaskId(ACTOR), ACTOR, "__init__"
    return CreateActor(made, ActorSettings(name="one", namespace="space", detached=detached))


def test_who_is_found_by_a_name_before_it_is_created_is_not_said_to_be_dead() -> None:
    bench = ProcessBench()
    bench.step(NameActor(4, "space", "one", ACTOR, b"class"))
    for caller in ("early", "hasty"):
        bench.meet(caller)
        assert bench.say(peer(caller), WatchActor(ACTOR)) == []
    bench.say(peer("hasty"), UnwatchActor(ACTOR))
    bench.say(NODE, NameAnswer(4, ACTOR, address("me"), b"class"))
    done = bench.step(named(detached=True))
    assert Send(NODE, ActorRestarted(ACTOR, 0)) in done
    table = bench.process.owner.actors.supervision.table
    assert list(table.actors[ACTOR].watchers) == [peer("early")]


def test_who_does_not_get_its_name_is_awaited_by_nobody() -> None:
    bench = ProcessBench()
    bench.step(NameActor(4, "space", "one", ACTOR, b"class"))
    table = bench.process.owner.actors.supervision.table
    assert table.awaits(ACTOR, peer("early"))
    table.forget_watcher(peer("early"))
    bench.say(NODE, NameAnswer(4, ActorId(peer("other")), CREATOR, b"class"))
    assert not table.awaits(ACTOR, peer("early"))
