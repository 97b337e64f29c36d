"""Two-way streams: what is sent reaches the body in order, and once more after a death."""

from __future__ import annotations

import dataclasses

import pytest

from tests.unit.core.actor_bench import CREATOR, ActorBench, at, lost
from tests.unit.core.names import (
    ME,
    WORKER,
    address,
    lease,
    peer,
    pushed,
    result,
    stream_spec,
    task,
    those,
)
from tests.unit.core.process_bench import DRIVER, ProcessBench, worker_bench
from tests.unit.core.rebuild_bench import FARTHER, LEASE, RebuildBench, far, messages, opened
from tests.unit.core.test_executor import OTHER, Worker
from zgen.core import dialogue, input_log
from zgen.core.cancel_words import CancelRequested, CloseRequested, StopBody
from zgen.core.effects import Effect, HoldBody, ItemsTaken, ReleaseBody, Send, StartTask
from zgen.core.events import PutObject, RefCompletion, TakeItems, TaskEnded, Yielded
from zgen.core.input_log import Input, InputLog
from zgen.core.stream_words import GiveInput, SendRequested
from zgen.core.task_spec import TaskSpec
from zgen.exceptions import RemoteProtocolError
from zgen.ids import COMPLETION_INDEX, ITEM_INDEX_FIRST, PeerId, item_ids
from zgen.limits import BATCH_BYTES_MAX, SECOND
from zgen.wire.lease import ProcessDown
from zgen.wire.stream import CloseStream, Consumed, Inputs, ReportItems
from zgen.wire.task import (
    LOCK_STEP,
    OUTCOME_CANCELLED,
    OUTCOME_RETRY,
    OUTCOME_VALUE,
    OUTCOME_WITHDRAWN,
    STREAMING,
    CancelTask,
    PushedTask,
    PushTasks,
)
from zgen.wire.value import (
    NONE,
    REASON_TWO_WAY,
    Fault,
    FaultKind,
    NestedRef,
    Parcel,
    Value,
    pack,
)

S = task("s")
PUT = result("p")
ERROR = Parcel(b"error", (), True)


def inputs(first: int, *values: Value, attempt: int = 0, raises: tuple[int, ...] = ()) -> Inputs:
    return Inputs(S, attempt, first, raises, pack(values, []))


# -- the worker ------------------------------------------------------------------------------------
def two_way(name: str = "s", attempt: int = 0) -> PushedTask:
    return dataclasses.replace(pushed(name, attempt, STREAMING), window=LOCK_STEP)


def listening() -> Worker:
    worker = Worker()
    worker.push(two_way())
    return worker


def test_a_body_is_held_before_its_first_line() -> None:
    worker = Worker()
    held, started = worker.push(two_way())
    assert held == HoldBody(S)
    assert isinstance(started, StartTask)


def test_each_input_lets_the_body_go_on_to_its_next_item() -> None:
    bench = worker_bench()
    bench.say(DRIVER, PushTasks(lease("l"), 0, (two_way(),)))
    given = [GiveInput(S, 0, NONE), ReleaseBody(S)]
    assert bench.say(DRIVER, inputs(0, NONE)) == given
    report = ReportItems(S, 0, 0, (b"item",))
    assert bench.step(Yielded(S, 0, b"item")) == [Send(DRIVER, report), HoldBody(S)]
    given = [GiveInput(S, 0, b"v", True), ReleaseBody(S)]
    assert bench.say(DRIVER, inputs(1, b"v", raises=(0,))) == given


def test_a_body_that_has_inputs_left_is_not_held_between_them() -> None:
    bench = worker_bench()
    bench.say(DRIVER, PushTasks(lease("l"), 0, (two_way(),)), inputs(0, b"a", b"b"))
    assert those(bench.step(Yielded(S, 0, b"item")), HoldBody) == []
    assert those(bench.step(Yielded(S, 0, b"item")), HoldBody) == [HoldBody(S)]


def test_what_is_sent_to_a_body_that_queues_is_there_when_it_starts() -> None:
    worker = Worker()
    worker.push(pushed("a"), two_way())
    assert worker.hear(inputs(0, b"x")) == worker.hear(inputs(1, b"y", raises=(0,))) == []
    done = worker.ended("a", b"value")
    given, started = done[1:3], done[3]
    assert given == [GiveInput(S, 0, b"x"), GiveInput(S, 0, b"y", True)]
    assert isinstance(started, StartTask)
    assert len(done) == 4, "it is not held"


@pytest.mark.parametrize(
    ("sender", "message"), [(OTHER, inputs(0, b"x")), (ME, inputs(0, b"x", attempt=1))]
)
def test_nobody_else_speaks_to_it(sender: PeerId, message: Inputs) -> None:
    worker = listening()
    assert worker.hear(message, sender) == []
    queueing = Worker()
    queueing.push(pushed("a"), two_way())
    assert queueing.hear(message, sender) == []
    assert those(queueing.ended("a", b"value"), GiveInput) == []


def test_a_closed_body_is_let_go_and_hears_nothing_more() -> None:
    worker = listening()
    assert worker.hear(CloseStream(S, 0, True)) == [StopBody(S, 0), ReleaseBody(S)]
    assert worker.hear(inputs(0, b"x")) == []


def test_a_body_that_was_closed_while_it_queued_waits_for_no_input() -> None:
    worker = Worker()
    worker.push(pushed("a"), two_way())
    worker.hear(CloseStream(S, 0))
    started = worker.ended("a", b"value")[1:]
    assert [type(effect) for effect in started] == [StartTask], "it is not held"


@pytest.mark.parametrize(
    "message",
    [inputs(1, b"x"), inputs(0, far(1)), inputs(0, ERROR)],
    ids=["a gap", "shared memory", "an error"],
)
def test_what_cannot_be_given_is_refused(message: Inputs) -> None:
    with pytest.raises(RemoteProtocolError):
        listening().hear(message)
    worker = Worker()
    worker.push(pushed("a"), two_way())
    with pytest.raises(RemoteProtocolError):
        worker.hear(message)


def test_a_stream_that_is_not_two_way_takes_no_inputs() -> None:
    worker = Worker()
    worker.push(dataclasses.replace(pushed("s", returns=STREAMING), window=2))
    with pytest.raises(RemoteProtocolError):
        worker.hear(inputs(0, b"x"))


def test_a_grant_is_no_input() -> None:
    assert listening().hear(Consumed(S, 0, 5)) == []


def said(name: bytes = b"said") -> Parcel:
    return Parcel(name, (), False, (NestedRef(PUT, address("driver")),))


def borrowed(bench: ProcessBench) -> bool:
    return PUT in bench.process.owner.refs.records


def test_what_an_input_refers_to_is_borrowed_until_it_is_answered() -> None:
    bench = worker_bench()
    bench.say(DRIVER, PushTasks(lease("l"), 0, (pushed("a"), two_way())), inputs(0, said()))
    assert borrowed(bench)
    bench.step(TaskEnded(task("a"), 0, OUTCOME_VALUE, (b"v",)))
    assert borrowed(bench)
    bench.step(Yielded(S, 0, b"item"))
    assert not borrowed(bench)
    bench.say(DRIVER, inputs(1, said()))
    assert borrowed(bench)
    bench.step(TaskEnded(S, 0, OUTCOME_VALUE, ()))
    assert not borrowed(bench)
    bench.say(DRIVER, inputs(2, said()))
    assert not borrowed(bench), "nobody listens"


def test_what_a_queued_input_refers_to_goes_with_its_task() -> None:
    bench = worker_bench()
    bench.say(DRIVER, PushTasks(lease("l"), 0, (pushed("a"), two_way())), inputs(0, said()))
    bench.say(DRIVER, CloseStream(S, 0, True))
    assert not borrowed(bench)


# -- the owner -------------------------------------------------------------------------------------
def dialogue_spec(retries: int = 3) -> TaskSpec:
    return dataclasses.replace(stream_spec("s", retries=retries), window=LOCK_STEP)


class Bench(RebuildBench):
    """A driver that speaks with the stream ``s``, which its worker runs."""

    def __init__(self, retries: int = 3) -> None:
        super().__init__()
        self.submit(dialogue_spec(retries))

    def send(self, value: Value, *, raises: bool = False) -> list[Effect]:
        return self.step(SendRequested(S, value, raises))

    def ask(self, index: int, value: Value = NONE, attempt: int = 0) -> None:
        """Send something and take the answer."""
        self.send(value)
        self.items("s", index, b"answer", attempt=attempt)
        self.drop(*self.taken().objects)

    def taken(self) -> ItemsTaken:
        (taken,) = those(self.step(TakeItems(S, 1)), ItemsTaken)
        assert isinstance(taken, ItemsTaken)
        return taken

    def crash(self) -> list[Effect]:
        """Let the worker die under its task."""
        down = ProcessDown(WORKER, 1, 42, -1, 9, "last words", LEASE, 1)
        return self.say(peer("node"), down) + self.quiet()

    def fault(self) -> Fault:
        value = self.value(result("s", ITEM_INDEX_FIRST + self.owner.streams.streams[S].taken - 1))
        assert isinstance(value, Fault)
        return value


def test_what_is_sent_goes_to_the_worker_at_once() -> None:
    bench = Bench()
    assert messages(bench.send(NONE)) == [inputs(0, NONE)]
    assert messages(bench.send(b"x", raises=True)) == [inputs(1, b"x", raises=(0,))]


def test_what_is_sent_before_there_is_a_worker_follows_the_push() -> None:
    bench = Bench()
    bench.step(RefCompletion(S))
    for name in ("t", "u"):
        late = stream_spec(name, slots=(result("s", COMPLETION_INDEX),))
        bench.submit(dataclasses.replace(late, window=LOCK_STEP))
        assert messages(bench.step(SendRequested(task(name), b"x"))) == []
    bench.drop(streams=(task("u"),))
    assert list(bench.owner.tasks.entries) == [S, task("t")], "what never began is no more"
    push, sent = messages(bench.over("s", 0))
    assert [each.task for each in push.tasks] == [task("t")]
    assert sent == Inputs(task("t"), 0, 0, (), (b"x",))


def test_the_next_attempt_is_given_all_that_was_sent() -> None:
    bench = Bench()
    bench.ask(0)
    bench.ask(1, b"x")
    bench.send(b"y", raises=True)
    bench.over("s", 2, ERROR, kind=OUTCOME_RETRY)
    bench.send(b"z")
    sent = messages(bench.advance(SECOND))
    push = next(each for each in sent if type(each) is PushTasks)
    assert [(each.attempt, each.window, each.resume) for each in push.tasks] == [(1, LOCK_STEP, 0)]
    assert sent[-1] == inputs(0, NONE, b"x", b"y", b"z", attempt=1, raises=(2,))


def test_a_long_log_travels_in_several_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_log, "BATCH_COUNT_MAX", 3)
    bench = Bench()
    for index in range(4):
        bench.ask(index)
    bench.over("s", 4, ERROR, kind=OUTCOME_RETRY)
    said = [each for each in messages(bench.advance(SECOND)) if type(each) is Inputs]
    assert [(each.first_index, len(each.entries)) for each in said] == [(0, 3), (3, 1)]


def test_large_inputs_travel_one_by_one() -> None:
    bench = Bench()
    for _ in range(3):
        bench.send(bytes(BATCH_BYTES_MAX))
    bench.over("s", 0, ERROR, kind=OUTCOME_RETRY)
    said = [each for each in messages(bench.advance(SECOND)) if type(each) is Inputs]
    assert [(each.first_index, len(each.buffers)) for each in said] == [(0, 1), (1, 1), (2, 1)]


def test_nothing_is_sent_to_what_has_ended_or_was_cancelled() -> None:
    bench = Bench()
    bench.step(CancelRequested(S, False, False))
    assert bench.send(b"x") == []
    bench.over("s", 0, kind=OUTCOME_WITHDRAWN)
    assert bench.send(b"x") == []


def test_who_drops_the_generator_closes_it() -> None:
    bench = Bench()
    bench.ask(0)
    assert messages(bench.drop(streams=(S,))) == [CloseStream(S, 0, True)]
    bench.over("s", 1, kind=OUTCOME_WITHDRAWN)
    assert bench.is_empty()


def test_who_has_closed_it_closes_nothing_by_dropping_it() -> None:
    bench = Bench()
    bench.step(CloseRequested(S))
    assert messages(bench.drop(streams=(S,))) == []
    bench.over("s", 0, kind=OUTCOME_WITHDRAWN)
    assert bench.is_empty()


def test_what_was_sent_keeps_what_it_refers_to_until_the_end() -> None:
    bench = Bench()
    bench.step(PutObject(PUT, b"put"))
    bench.ask(0)
    bench.send(Parcel(b"x", (), False, (NestedRef(PUT, address("me")),)))
    bench.drop(PUT)
    assert bench.value(PUT) == b"put"
    bench.over("s", 1)
    assert bench.owner.tasks.entries == {}
    assert bench.taken().ended


def test_a_large_item_of_a_dialogue_is_not_made_again() -> None:
    bench = Bench()
    bench.send(NONE)
    bench.items("s", 0, far(1))
    (name,) = bench.taken().objects
    bench.over("s", 1)
    (said,) = opened(bench.lose(name, far(1)))
    assert (said.value.kind, said.value.why) == (FaultKind.NOT_REBUILT, REASON_TWO_WAY)


class Losing(Bench):
    """Its first item is large and lost, and it goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.send(NONE)
        self.items("s", 0, far(1))
        (self.name,) = self.taken().objects
        self.ask(1)


def test_a_large_item_that_is_lost_while_it_runs_is_made_again_from_the_log() -> None:
    bench = Losing()
    assert CancelTask(S, 0, False, False) in messages(bench.lose(bench.name, far(1)))
    bench.send(b"late")
    sent = messages(bench.over("s", 2, kind=OUTCOME_CANCELLED) + bench.advance(SECOND))
    assert sent[-1] == inputs(0, NONE, NONE, b"late", attempt=1)
    bench.items("s", 0, far(11, FARTHER), attempt=1)
    assert bench.value(bench.name) == far(11, FARTHER)


def test_one_that_ended_before_it_heard_of_that_does_not_run_again() -> None:
    bench = Losing()
    bench.lose(bench.name, far(1))
    bench.over("s", 2)
    value = bench.value(bench.name)
    assert isinstance(value, Fault)
    assert (value.kind, value.why) == (FaultKind.NOT_REBUILT, REASON_TWO_WAY)


# -- what cannot be repeated -----------------------------------------------------------------------
@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialogue, "INPUT_LOG_BYTES_MAX", 300)


@pytest.mark.usefixtures("small")
def test_a_dialogue_that_is_too_long_to_be_repeated_ends_with_its_worker_and_says_why() -> None:
    bench = Bench(retries=-1)
    for index in range(5):
        bench.ask(index)
    assert bench.owner.tasks.entries[S].log == InputLog(5, [], 0, True, True)
    bench.ask(5, b"goes on")
    bench.crash()
    assert bench.taken() == ItemsTaken(S, item_ids(S, 6, 1), True)
    fault = bench.fault()
    assert fault.kind is FaultKind.LOG_LOST
    assert fault.reason == "worker pid=42 died of signal 9"


@pytest.mark.usefixtures("small")
def test_nothing_is_let_go_before_the_attempt_has_said_something() -> None:
    bench = Bench()
    for _ in range(5):
        bench.send(b"x")
    bench.over("s", 0, ERROR, kind=OUTCOME_RETRY)
    assert messages(bench.advance(SECOND))[-1] == inputs(0, *[b"x"] * 5, attempt=1)


@pytest.mark.usefixtures("small")
def test_nothing_is_let_go_of_an_attempt_that_is_stopped_and_runs_again() -> None:
    bench = Losing()
    bench.lose(bench.name, far(1))
    for _ in range(5):
        bench.send(b"x")
    sent = messages(bench.over("s", 2, kind=OUTCOME_CANCELLED) + bench.advance(SECOND))
    assert sent[-1] == inputs(0, NONE, NONE, *[b"x"] * 5, attempt=1)


@pytest.mark.usefixtures("small")
def test_a_large_item_that_is_lost_is_named_where_the_log_was_let_go() -> None:
    bench = Losing()
    for index in range(2, 5):
        bench.ask(index)
    (said,) = opened(bench.lose(bench.name, far(1)))
    assert (said.value.kind, said.value.why) == (FaultKind.NOT_REBUILT, REASON_TWO_WAY)


def test_of_what_may_run_once_only_nothing_is_kept_and_its_end_is_an_ordinary_one() -> None:
    bench = Bench(retries=0)
    bench.ask(0)
    bench.ask(1)
    log = bench.owner.tasks.entries[S].log
    assert log is not None
    assert (log.inputs, log.is_missed) == ([], False)
    bench.crash()
    bench.taken()
    assert bench.fault().kind is FaultKind.WORKER_CRASHED


def test_a_log_counts_its_bytes() -> None:
    log = InputLog()
    log.add(Input(b"four"))
    assert (log.count, log.size_bytes, log.values()) == (1, 132, [b"four"])


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("dead", [False, True])
def test_a_call_of_an_actor_says_so_too_if_the_actor_lives_on(dead: bool) -> None:
    bench = ActorBench()
    bench.call("s", CREATOR, returns=STREAMING, retries=3, window=LOCK_STEP)
    bench.hear(CREATOR.peer, at())
    for index in range(5):
        out: list[Effect] = []
        bench.owner.wishes[SendRequested](SendRequested(S, NONE), bench.now_ns, out)
        bench.items("s", index, b"item")
    bench.hear(CREATOR.peer, lost(dead=dead))
    bench.down()
    bench.take("s")
    value = bench.value(result("s", ITEM_INDEX_FIRST + 5))
    assert isinstance(value, Fault)
    assert value.kind is (FaultKind.ACTOR_DIED if dead else FaultKind.LOG_LOST)
