"""A worker that becomes an actor's."""

from __future__ import annotations

import pytest

from tests.unit.core.names import FUNCTION, ME, NODE, OTHER_WORKER, lease, pushed, result, task
from tests.unit.core.test_executor import Worker
from zgen.core.actor_effects import ActorOver
from zgen.core.actor_events import ExitActor
from zgen.core.cancel_words import AbandonBody, KillSelf
from zgen.core.effects import Effect, HoldBody, ReleaseBody, Send, StartTask
from zgen.core.events import BodyBlocked
from zgen.exceptions import RemoteProtocolError
from zgen.ids import ActorId, LeaseId, PeerId, TaskId
from zgen.limits import ITEM_BYTES_UNACKED_MAX, LINE_BUSY_NS
from zgen.wire.actor import ActorExits, ActorSettings, EndActor, HostActor
from zgen.wire.lease import WorkerBlocked
from zgen.wire.session import Address
from zgen.wire.store import Place
from zgen.wire.stream import CloseStream, Consumed
from zgen.wire.task import (
    OUTCOME_CANCELLED,
    OUTCOME_ERROR,
    STREAMING,
    ArgumentsLost,
    PushedCall,
    PushedTask,
    PushTasks,
    TasksReturned,
)
from zgen.wire.value import GONE, NONE, NestedRef, Parcel, Stored, pack

ACTOR = ActorId(task("actor"))
LIFE = lease("life")
OTHER = OTHER_WORKER
ASYNC = ActorSettings(max_concurrency=4, is_async=True)


class Host(Worker):
    """A worker that is to be, or is, an actor's; its creator is ``ME``."""

    def host(
        self, settings: ActorSettings | None = None, life: int = 0, *, holds: bool = True
    ) -> Host:
        self.hear(HostActor(ACTOR, life, settings or ActorSettings(), holds))
        return self

    def begin(self) -> list[Effect]:
        call = PushedCall(ACTOR, "__init__")
        return self.hear(PushTasks(LIFE, 0, (pushed("actor"),), 0, (call,)))

    def alive(self, settings: ActorSettings | None = None, *, holds: bool = True) -> Host:
        self.host(settings, holds=holds).begin()
        self.ended("actor", NONE)
        self.now_ns += LINE_BUSY_NS
        return self

    def call(
        self, *names: str, sender: PeerId = ME, returns: int = 1, group: str = ""
    ) -> list[Effect]:
        calls = tuple([PushedCall(ACTOR, "method", group) for _ in names])
        tasks = tuple([pushed(name, returns=returns) for name in names])
        return self.hear(PushTasks(LeaseId(ACTOR), 0, tasks, 0, calls), sender)

    def exit(self) -> list[Effect]:
        out: list[Effect] = []
        self.executor.on_exit_actor(ExitActor(), self.now_ns, out)
        return out

    def waits(self, name: str, blocked: bool = True) -> list[Effect]:
        out: list[Effect] = []
        self.executor.on_body_blocked(BodyBlocked(blocked, task(name)), self.now_ns, out)
        return out


def started(effects: list[Effect]) -> list[str]:
    return [effect.task.name for effect in effects if isinstance(effect, StartTask)]


def test_the_creation_task_says_what_it_creates_and_how() -> None:
    settings = ActorSettings(max_concurrency=2)
    (start,) = Host().host(settings).begin()
    assert isinstance(start, StartTask)
    assert (start.call, start.settings) == (PushedCall(ACTOR, "__init__"), settings)
    assert start.lease == LIFE


def test_a_worker_whose_actor_was_created_runs_its_calls_and_says_so_in_each() -> None:
    host = Host().alive()
    (start,) = host.call("a")
    assert isinstance(start, StartTask)
    assert (start.call, start.settings) == (PushedCall(ACTOR, "method"), None)
    assert host.call("b", "c") == []
    assert started(host.ended("a", b"value")) == ["b"]


def test_a_worker_whose_actor_was_not_created_is_none() -> None:
    host = Host().host()
    host.begin()
    host.ended("actor", b"error", outcome=OUTCOME_ERROR)
    assert host.executor.calls is None


def test_calls_without_their_actor_are_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="no actor"):
        Host().call("a")
    with pytest.raises(RemoteProtocolError, match="no actor"):
        Host().host().call("a", "b")
    with pytest.raises(RemoteProtocolError, match="no actor"):
        Host().host().call("a", sender=OTHER)
    host = Host().alive()
    with pytest.raises(RemoteProtocolError, match="does not live here"):
        host.push(pushed("plain"))
    call = PushedCall(ActorId(task("another")), "method")
    with pytest.raises(RemoteProtocolError, match="does not live here"):
        host.hear(PushTasks(LIFE, 0, (pushed("a"),), 0, (call,)))


def test_a_worker_that_does_something_else_becomes_no_actors() -> None:
    host = Host()
    host.push(pushed("plain"))
    with pytest.raises(RemoteProtocolError, match="something else"):
        host.host()
    with pytest.raises(RemoteProtocolError, match="something else"):
        Host().alive().host()


def test_streams_of_one_actor_run_side_by_side_and_a_queued_one_can_be_closed() -> None:
    host = Host().alive(ActorSettings(max_concurrency=2))
    assert started(host.call("a", "b", "c", returns=STREAMING)) == ["a", "b"]
    host.hear(CloseStream(task("c"), 0))
    assert host.yields("b", b"1") != []
    host.yields("a", b"1")
    assert started(host.ended("a")) == ["c"]
    assert host.executor.reports.streams[task("c")].closed


def test_what_a_dead_caller_pushed_is_not_started() -> None:
    host = Host().alive()
    host.call("a")
    host.call("b", sender=OTHER)
    host.owner_down(OTHER)
    assert started(host.ended("a", b"value")) == []


def test_the_node_hears_when_all_that_runs_waits_and_when_it_goes_on() -> None:
    host = Host().alive(ActorSettings(max_concurrency=2))
    host.call("a", "b")
    assert host.waits("a") == []
    assert host.waits("b") == [Send(NODE, WorkerBlocked(LIFE, True))]
    assert host.waits("b", False) == [Send(NODE, WorkerBlocked(LIFE, False))]
    host.executor.node = None
    assert host.waits("b") == []


def test_an_actor_without_resources_has_none_to_give_away() -> None:
    host = Host().alive(ActorSettings(max_concurrency=2), holds=False)
    host.call("a", "b")
    assert (host.waits("a"), host.waits("b"), host.waits("b", False)) == ([], [], [])


def test_the_end_of_the_last_call_that_did_not_wait_is_told_and_what_follows_it() -> None:
    host = Host().alive(ActorSettings(max_concurrency=2))
    host.call("a", "b")
    assert host.waits("a") == []
    assert Send(NODE, WorkerBlocked(LIFE, True)) in host.ended("b", b"value")
    assert Send(NODE, WorkerBlocked(LIFE, False)) in host.ended("a", b"value")


def test_a_call_waits_for_its_arguments_in_shared_memory() -> None:
    host = Host().alive()
    stored = Stored(NODE, 7, Place(0, 0, 64, 64, False), b"data", (1,))
    slots = pack((stored,), [])
    waiting = PushedTask(task("a"), 0, FUNCTION, "a", 1, b"args", slots, b"")
    call = PushedCall(ACTOR, "method")
    assert started(host.hear(PushTasks(LeaseId(ACTOR), 0, (waiting,), 0, (call,)))) == []
    out: list[Effect] = []
    host.executor.on_held((7,), host.now_ns, out)
    assert started(out) == ["a"]


def test_an_actor_is_ended_by_its_creator_when_it_has_run_what_it_was_given() -> None:
    host = Host().alive()
    with pytest.raises(RemoteProtocolError, match="does not live here"):
        host.hear(EndActor(ACTOR), OTHER)
    with pytest.raises(RemoteProtocolError, match="does not live here"):
        Host().hear(EndActor(ACTOR))
    host.call("a", "b")
    assert host.hear(EndActor(ACTOR)) == []
    assert ActorOver() not in host.ended("a", b"value")
    assert host.ended("b", b"value")[-1] == ActorOver()
    assert Host().alive().hear(EndActor(ACTOR)) == [ActorOver()]


def test_an_actor_that_ends_itself_says_so_after_all_it_has_reported() -> None:
    host = Host().alive()
    host.call("a", "b", returns=STREAMING)
    host.yields("a", b"1")
    host.yields("a", b"2")
    sent = host.exit()
    assert len(sent) == 2
    assert sent[-1] == Send(ME, ActorExits(ACTOR, 0))
    assert host.ended("a") == [], "its caller hears that the actor died"


def test_an_actor_may_end_itself_while_it_is_created() -> None:
    host = Host().host(life=3)
    host.begin()
    assert host.exit() == [Send(ME, ActorExits(ACTOR, 3))]


def test_an_actor_whose_creator_died_ends_at_once_when_no_generator_is_to_stop() -> None:
    host = Host().alive()
    host.call("a", sender=OTHER)
    assert host.owner_down(died=False) == []
    assert host.owner_down() == [KillSelf()]


def test_an_actor_whose_creator_died_ends_when_its_generators_have_stopped() -> None:
    host = Host().alive(ActorSettings(max_concurrency=4))
    host.call("s", returns=STREAMING)
    host.call("t", sender=OTHER, returns=STREAMING)
    assert host.owner_down(OTHER) == [AbandonBody(task("t"), 0)]
    assert host.owner_down() == [AbandonBody(task("s"), 0)]
    assert host.ended("t", outcome=OUTCOME_CANCELLED) == []
    assert host.ended("s", outcome=OUTCOME_CANCELLED) == [KillSelf()]


@pytest.mark.parametrize("settings", [ActorSettings(max_concurrency=4), ASYNC])
def test_generators_of_a_dead_caller_stop_and_nothing_is_said_of_its_calls(
    settings: ActorSettings,
) -> None:
    host = Host().alive(settings)
    host.call("s", sender=OTHER, returns=STREAMING)
    host.call("a", sender=OTHER)
    host.call("b", returns=STREAMING)
    out: list[Effect] = []
    host.executor.on_items_sent(task("s"), OTHER, ITEM_BYTES_UNACKED_MAX, out)
    assert out == [HoldBody(task("s"))]
    assert host.owner_down(OTHER) == [AbandonBody(task("s"), 0), ReleaseBody(task("s"))]
    assert host.yields("s", b"late") == []
    assert host.ended("s", outcome=OUTCOME_CANCELLED) == host.ended("a", NONE) == []
    assert OTHER not in host.executor.reports.lines
    assert list(host.executor.reports.streams) == [task("b")]


def test_each_stream_is_held_for_its_own_owner() -> None:
    host = Host().alive(ActorSettings(max_concurrency=3))
    host.call("a", "b", returns=STREAMING)
    host.call("c", sender=OTHER, returns=STREAMING)
    out: list[Effect] = []
    for name in ("a", "b"):
        host.executor.on_items_sent(task(name), ME, ITEM_BYTES_UNACKED_MAX, out)
    assert out == [HoldBody(task("a")), HoldBody(task("b"))]
    host.ended("c")
    host.ended("a")
    out.clear()
    host.executor.on_acked(ME, 0, out)
    assert out == [ReleaseBody(task("b"))]


def test_a_queued_stream_knows_what_its_caller_took_of_an_earlier_attempt() -> None:
    host = Host().alive()
    host.call("a", "b", returns=STREAMING)
    assert host.executor.calls is not None
    host.hear(Consumed(task("b"), 0, 7), OTHER)
    assert host.executor.calls.waiting()[0].consumed == 0
    host.hear(Consumed(task("b"), 0, 7))
    assert host.executor.calls.waiting()[0].consumed == 7


def test_what_calls_refer_to_is_needed_until_they_have_ended() -> None:
    host = Host().alive()
    ref = NestedRef(result("kept"), Address(ME, 1, "ipc://me"))
    host.call("first", "second")
    calls = host.executor.calls
    assert calls is not None
    running = calls.running[task("first")].call
    (waiting,) = calls.waiting()
    running.arguments = waiting.arguments = Parcel(b"", (), False, (ref,))
    assert host.executor.needs() == [ref.object, ref.object]


def test_a_call_whose_argument_is_gone_goes_back_and_lets_the_next_one_pass() -> None:
    host = Host().alive()
    first, second = (
        PushedTask(task(name), 0, FUNCTION, name, 1, b"args", pack(slots, []), b"")
        for name, slots in (("a", [GONE]), ("b", []))
    )
    call = PushedCall(ACTOR, "method")
    done = host.hear(PushTasks(LeaseId(ACTOR), 0, (first, second), 0, (call, call)))
    lost = ArgumentsLost(
        LeaseId(ACTOR), task("a"), 0, ((0, 0),), "it was lost when the task was pushed"
    )
    assert Send(ME, lost) in done
    assert [each.task.name for each in done if isinstance(each, StartTask)] == ["b"]


def test_a_creation_task_whose_argument_is_gone_goes_back() -> None:
    host = Host().host()
    created = PushedTask(
        TaskId(ACTOR), 0, FUNCTION, "actor", 1, b"args", tuple(pack([GONE], [])), b""
    )
    done = host.hear(PushTasks(LIFE, 0, (created,), 0, (PushedCall(ACTOR, "__init__"),)))
    lost = ArgumentsLost(LIFE, TaskId(ACTOR), 0, ((0, 0),), "it was lost when the task was pushed")
    assert done == [Send(ME, lost), Send(ME, TasksReturned(LIFE, ()))]
