"""What simulated programs do: plans of tasks, and a consumer that does what a user does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.sim.moments import note_drop
from tests.sim.store_user import StoreUser
from zgen.core.actor_effects import NameAnswered
from zgen.core.actor_events import CallActor, CreateActor, FindActor, KillActorNow, NameActor
from zgen.core.cancel_words import CancelRequested, CloseRequested
from zgen.core.effects import Effect, ItemsTaken, ObjectsReady, StreamAdvanced
from zgen.core.events import (
    DefineTaskFunction,
    Dropped,
    PutObject,
    RefCompletion,
    SubmitTask,
    TakeItems,
)
from zgen.core.handover_words import HANDOVER_ANSWERS, StreamRefusal
from zgen.core.process import ProcessMachine
from zgen.core.stream_words import SendRequested
from zgen.core.task_spec import TaskSpec
from zgen.ids import (
    NO_ACTOR,
    NO_PEER,
    NO_TASK,
    ActorId,
    ObjectId,
    PeerId,
    TaskId,
    derive_task_id,
    handle_object,
    hash_function,
    object_id,
    task_of,
)
from zgen.limits import INLINE_BYTES_MAX
from zgen.options import narrower
from zgen.sim.world import Life
from zgen.wire.actor import ActorSettings
from zgen.wire.lease import (
    BY_DEFAULT,
    IN,
    ON_NODE,
    SPREAD,
    Demand,
    PlacedShape,
    Shape,
    shape_of,
)
from zgen.wire.store import Place
from zgen.wire.task import STREAMING
from zgen.wire.value import Fault, NestedRef, Parcel, Stored, Value

if TYPE_CHECKING:
    from tests.sim.cluster import Cluster

Ops = list[list[Any]]
FUNCTION = b"a function that runs scripts"
FUNCTION_ID = hash_function(FUNCTION)
#: How the errors of bodies begin.
RAISED, NO_ROOM, INTERRUPTED = b"raised", b"no room", b"interrupted"
NOWHERE = Place(0, 0, 0, 0, False)


@dataclass(slots=True)
class Plan:
    """A task as its submitter wants it.

    Attributes:
        ops: What its body does, in order: ``["yield", count, delay_ns, size]``, ``["sleep", ns]``,
            ``["raise", attempts]`` (a retryable error below that attempt; -1: always a final one),
            ``["die", attempts]`` (its worker crashes below that attempt), ``["spawn", plan]``
            (submits a child), ``["gather"]`` (waits for its children), ``["waste", size]`` (asks
            for room in shared memory and writes nothing), ``["call", actor, plan]``, ``["kill",
            actor, no_restart]``, ``["exit"]`` (its actor ends itself), ``["differ", how]`` (where
            it runs again for lost items: one item ``more``, ``raise``, end ``early``, or yield
            ``small`` items from there on), ``["return", size]`` (a stream returns a value),
            ``["resume"]`` (it asks where to go on, before its first item).
        returns: Number of results, or ``STREAMING`` or ``DYNAMIC``.
        retries: How often it may run again.
        cpus: Ten-thousandths of a CPU.
        result_bytes: Bytes of each result, beyond its name.
        window: Items of a stream that may be there without being taken; 0 for any number,
            ``LOCK_STEP`` for one that yields when it is asked.
        place: Where it may run: ``SPREAD``, ``magic`` for a resource that some nodes have, a zone
            that a node is labelled with, or ``hard`` or ``soft`` and the hex id of a node.
        window_bytes: Bytes of a stream that may be there without being taken; 0 for any number.
        per_yield: Items that each yield makes; those of each ``yield`` above are a multiple of it.
    """

    ops: Ops
    returns: int = STREAMING
    retries: int = 3
    cpus: int = 10_000
    result_bytes: int = 0
    window: int = 0
    place: str = ""
    window_bytes: int = 0
    per_yield: int = 1

    @property
    def items(self) -> int:
        return sum(op[1] for op in self.ops if op[0] == "yield")

    @property
    def raises(self) -> bool:
        """Whether its last attempt ends with an error of its own."""
        return any(op[0] == "raise" and self.is_final(op[1]) for op in self.ops)

    @property
    def returned_bytes(self) -> int:
        """Bytes of what a stream returns, -1 for nothing."""
        return next((int(op[1]) for op in self.ops if op[0] == "return"), -1)

    def is_final(self, attempts: int) -> bool:
        """Return whether a body that raises below that attempt does so in its last one."""
        return attempts < 0 or 0 <= self.retries < attempts

    def to_json(self) -> list[Any]:
        fields = [self.ops, self.returns, self.retries, self.cpus, self.result_bytes]
        wide = [self.window_bytes, self.per_yield]
        wide = wide[: 2 if self.per_yield > 1 else 1 if self.window_bytes else 0]
        return [*fields, self.window, self.place, *wide]


@dataclass(slots=True)
class Account:
    """What the world itself knows of one submitted task.

    Attributes:
        plan: The task.
        slots: Objects in its arguments.
        owner: Who submitted it.
        starts: Attempts whose body was marked as started, in order.
        ends: Attempts whose body ended.
        excuses: Attempts that ended since there was no room in shared memory or since an argument
            in it was lost.
        actor: Actor that it is a call of, or creates.
        seq: Number of the call among those of its caller.
        worker: Where the call last started.
        parent: Which execution submitted it.
        interrupts: Attempts that were interrupted, since they were cancelled.
        is_stopped: Whether a generator was stopped, to run again for an item that was lost.
        differed: Attempts whose body ended and did otherwise than the first time, and who ran it.
    """

    plan: Plan
    slots: tuple[ObjectId, ...]
    owner: Life
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    excuses: list[int] = field(default_factory=list)
    actor: ActorId | None = None
    seq: int = 0
    worker: PeerId | None = None
    parent: tuple[TaskId, int] = (NO_TASK, 0)
    interrupts: list[int] = field(default_factory=list)
    is_stopped: bool = False
    differed: dict[int, PeerId] = field(default_factory=dict)


@dataclass(slots=True)
class ActorStory:
    """What the world itself knows of one actor.

    Attributes:
        creator: Who created it.
        settings: How it runs its calls.
        calls: How often each process called it.
        deaths: Workers that died with it, or while they created it.
        kills: How often it was killed for good.
        exits: How often it ended itself.
        is_dropped: Whether its creator let go of its last handle.
        last_first: Caller -> number of the last of its calls that started for the first time.
        last: (worker, caller) -> number of the last of its calls that started there.
    """

    creator: Life
    settings: ActorSettings
    calls: dict[int, int] = field(default_factory=dict)
    deaths: int = 0
    kills: int = 0
    exits: int = 0
    is_dropped: bool = False
    last_first: dict[int, int] = field(default_factory=dict)
    last: dict[tuple[PeerId, int], int] = field(default_factory=dict)

    @property
    def in_order(self) -> bool:
        settings = self.settings
        return settings.max_concurrency == 1 and not settings.is_async and not settings.groups


def item_value(task: TaskId, index: int, attempt: int, size: int) -> Value:
    """Return item ``index``; its first byte tells oracles which attempt made it.

    A large one is a template: it has yet to be written somewhere.
    """
    data = bytes([attempt]) + task[:4] + index.to_bytes(3, "big")
    if size > INLINE_BYTES_MAX:
        return Stored(PeerId(b""), 0, NOWHERE, data, (size,))
    data += bytes(size)
    if index % 7 == 3:
        return Parcel(data, (b"buffer", bytes([index % 256])))
    return data


def item_size(account: Account, index: int) -> int:
    for op in account.plan.ops:
        if op[0] == "yield":
            if index < op[1]:
                each = account.plan.per_yield
                return int(op[3]) if index % each == each // 2 else 0
            index -= op[1]
    return 0


def result_value(task: TaskId, index: int, attempt: int, size: int = 0) -> Value:
    return item_value(task, 1000 + index, attempt, size)


def same(value: Value, expected: Value) -> bool:
    """Return whether two values are equal, whatever attempt made them."""
    if isinstance(value, Parcel) and isinstance(expected, Parcel):
        return value.data[1:] == expected.data[1:] and value.buffers == expected.buffers
    if isinstance(value, Stored) and isinstance(expected, Stored):
        return value.data[1:] == expected.data[1:] and value.sizes == expected.sizes
    if isinstance(value, bytes) and isinstance(expected, bytes):
        return value[1:] == expected[1:]
    return False


def attempt_in(value: Value) -> int | None:
    """Return which attempt made a value; None for an error."""
    if isinstance(value, Parcel):
        return None if value.is_error else value.data[0]
    if isinstance(value, Stored):
        return value.data[0]
    return value[0] if isinstance(value, bytes) else None


def placed(shape: Shape, place: str) -> Demand:
    """Return what a task holds that may run in a certain place only."""
    how, _, node = place.partition(" ")
    if how == "magic":
        return (*shape, ("magic", 10_000))
    if node:
        return PlacedShape(shape, (ON_NODE, PeerId(bytes.fromhex(node)), how == "soft", (), ()))
    if how == SPREAD:
        return PlacedShape(shape, (SPREAD, NO_PEER, False, (), ()))
    return PlacedShape(shape, (BY_DEFAULT, NO_PEER, False, (("zone", IN, (how,)),), ()))


class Consumer:
    """A user of one process: submits, waits, takes, drops. Call its methods from ``later`` only."""

    def __init__(self, cluster: Cluster, life: Life) -> None:
        self.cluster = cluster
        self.life = life
        machine = life.machine
        assert isinstance(machine, ProcessMachine)
        self.owner = machine.owner
        #: References that the user holds, by object.
        self.refs: dict[ObjectId, int] = {}
        self.handles: dict[TaskId, None] = {}
        self.waiting_objects: dict[ObjectId, list[Callable[[Value], None]]] = {}
        self.waiting_streams: dict[TaskId, tuple[int, Callable[[list[ObjectId], bool], None]]] = {}
        self.waiting_names: dict[int, Callable[[ActorId], None]] = {}
        #: Whether the node of this driver has let it in.
        self.joined = False
        self.defined = False
        self.store = StoreUser(self)
        #: Answer to the last ``TakeItems``.
        self._taken: list[ItemsTaken] = []
        #: Streams that advanced since it was asked for.
        self._advanced: dict[TaskId, None] = {}
        #: Answers about generators that are handed over, until somebody clears them.
        self.answers: list[Effect] = []
        #: Whether who may not read a stream waits until it comes back.
        self.on_refused: Callable[[Consumer, TaskId, Fault], bool] = lambda user, stream, fault: (
            False
        )

    def later(self, delay_ns: int, act: Callable[[], None]) -> None:
        """Do ``act`` after ``delay_ns``, when the process is not paused, if it lives then."""
        self.cluster.world.at(delay_ns, self._act, (act,))

    def _act(self, act: Callable[[], None]) -> None:
        if self.life.dead:
            return
        if self.life.paused:
            self.cluster.world.at(2_000_000, self._act, (act,))
        else:
            act()

    def post(self, event: Any) -> None:
        self.cluster.world.post(self.life, event)

    # -- what users do -----------------------------------------------------------------------------
    def submit(
        self,
        plan: Plan,
        parent: tuple[TaskId, int],
        index: int,
        slots: tuple[ObjectId, ...] = (),
        refs: tuple[NestedRef, ...] = (),
    ) -> TaskId:
        self._define()
        task = derive_task_id(*parent, index)
        self.cluster.begin_account(task, Account(plan, slots, self.life, parent=parent))
        self._hold_results(task, plan)
        spec = self._spec(task, plan, slots, refs)
        spec.parent, spec.parent_attempt = parent
        self.post(SubmitTask(spec))
        self.cluster.cancel_perhaps(self, task)
        return task

    def cancel(self, task: TaskId, force: bool, recursive: bool) -> None:
        self.cluster.promises.cancels.asked(self, task, force, recursive)
        self.post(CancelRequested(task, force, recursive))

    def close(self, stream: TaskId) -> None:
        """``gen.close()``."""
        self.cluster.promises.cancels.asked(self, stream, False, False, closed=True)
        self.post(CloseRequested(stream))

    def send(self, stream: TaskId, value: Value, *, raises: bool) -> None:
        """``gen.send()`` and ``gen.throw()``, but for the wait."""
        self.cluster.promises.dialogues.sent(stream, value, raises=raises)
        self.post(SendRequested(stream, value, raises))

    def _define(self) -> None:
        if not self.defined:
            self.defined = True
            self.post(DefineTaskFunction(FUNCTION_ID, FUNCTION))

    def _hold_results(self, task: TaskId, plan: Plan) -> None:
        if plan.returns == STREAMING:
            self.handles[task] = None
        else:
            for position in range(abs(plan.returns)):  # one where all is gathered
                self.refs[object_id(task, position)] = 1

    def _spec(
        self,
        task: TaskId,
        plan: Plan,
        slots: tuple[ObjectId, ...],
        refs: tuple[NestedRef, ...] = (),
    ) -> TaskSpec:
        shape: Demand = (("CPU", plan.cpus),) if plan.cpus else ()
        if plan.place:
            shape = placed(shape_of(shape), plan.place)
        retryable = b"yes" if any(op[0] == "raise" and op[1] >= 0 for op in plan.ops) else b""
        said = json.dumps(plan.ops).encode()
        return TaskSpec(
            task,
            FUNCTION_ID,
            f"task-{len(self.cluster.accounts)}",
            plan.returns,
            Parcel(said, (), False, refs) if refs else said,
            slots,
            shape,
            plan.retries,
            retryable,
            window=plan.window,
            window_bytes=plan.window_bytes,
            per_yield=plan.per_yield,
        )

    def create(
        self,
        settings: ActorSettings,
        plan: Plan,
        actor: ActorId,
        slots: tuple[ObjectId, ...] = (),
    ) -> None:
        """``Class.remote()``."""
        self._define()
        task = TaskId(actor)
        account = Account(plan, slots, self.life, actor=actor)
        self.cluster.begin_account(task, account)
        self.cluster.actors[actor] = ActorStory(self.life, settings)
        self.refs[handle_object(actor)] = 1
        spec = self._spec(task, plan, slots)
        spec.actor, spec.method = actor, "__init__"
        self.post(CreateActor(spec, settings))

    def call(
        self,
        actor: ActorId,
        plan: Plan,
        parent: tuple[TaskId, int],
        index: int,
        slots: tuple[ObjectId, ...] = (),
        refs: tuple[NestedRef, ...] = (),
    ) -> TaskId:
        """``handle.method.remote()``."""
        task = derive_task_id(*parent, index)
        story = self.cluster.actors[actor]
        seq = story.calls[self.life.number] = story.calls.get(self.life.number, 0) + 1
        if plan.returns == STREAMING:  # as handles do
            settings = story.settings
            plan.window = narrower(plan.window, settings.max_pending_items)
            plan.window_bytes = narrower(plan.window_bytes, settings.max_pending_bytes)
        account = Account(plan, slots, self.life, actor=actor, seq=seq, parent=parent)
        self.cluster.begin_account(task, account)
        self._hold_results(task, plan)
        spec = self._spec(task, plan, slots, refs)
        spec.actor, spec.method = actor, "method"
        spec.parent, spec.parent_attempt = parent
        groups = ["", *(name for name, _ in story.settings.groups)]
        spec.group = groups[index % len(groups)]
        self.post(CallActor(spec, story.creator.address))
        self.cluster.cancel_perhaps(self, task)
        return task

    def kill(self, actor: ActorId, no_restart: bool) -> None:
        """``zgen.kill()``."""
        story = self.cluster.actors[actor]
        story.kills += no_restart
        self.post(KillActorNow(actor, story.creator.address, no_restart))

    def ask_name(self, event: NameActor | FindActor, then: Callable[[ActorId], None]) -> None:
        """Claim or look up a name; ``then`` gets zeroes if nobody has it or the node is gone."""
        if self.owner.placement.node is None:
            then(NO_ACTOR)
        else:
            self.waiting_names[event.query] = then
            self.post(event)

    def node_lost(self) -> None:
        """Nobody will answer any more."""
        waiting, self.waiting_names = self.waiting_names, {}
        for then in waiting.values():
            self.later(0, partial(then, NO_ACTOR))

    def put(self, name: ObjectId, value: Value) -> None:
        self.refs[name] = 1
        self.cluster.puts[name] = value
        self.post(PutObject(name, value))

    def complete(self, stream: TaskId) -> ObjectId:
        """``gen.completed()``."""
        name = object_id(stream, 0)
        self.refs[name] = self.refs.get(name, 0) + 1
        self.post(RefCompletion(stream))
        return name

    def get(self, name: ObjectId, then: Callable[[Value], None]) -> None:
        value = self.owner.refs.value_of(name)
        if value is None:
            self.waiting_objects.setdefault(name, []).append(then)
        else:
            then(value)

    def next(
        self, stream: TaskId, count_max: int, then: Callable[[list[ObjectId], bool], None]
    ) -> None:
        """Take up to ``count_max`` items as soon as there is one, an error, or the end."""
        if stream not in self.handles:
            return  # closed and dropped while this waited
        self._taken.clear()
        self._advanced.clear()
        self.answers.clear()
        self.post(TakeItems(stream, count_max))
        if self.answers:
            (refusal,) = self.answers
            assert isinstance(refusal, StreamRefusal), refusal
            if self.on_refused(self, stream, refusal.fault):
                self.waiting_streams[stream] = (count_max, then)
            else:
                then([], True)
            return
        (taken,) = self._taken
        names = list(taken.objects)
        if not names and not taken.ended:
            if stream in self._advanced:  # by what the process heard behind that event
                self.later(0, partial(self.next, stream, count_max, then))
            else:
                self.waiting_streams[stream] = (count_max, then)
            return
        for name in names:
            self.refs[name] = 1
        then(names, taken.ended)

    def drop(self, names: list[ObjectId], streams: tuple[TaskId, ...] = ()) -> None:
        for name in names:
            self.refs[name] -= 1
            if not self.refs[name]:
                del self.refs[name]
                story = self.cluster.actors.get(ActorId(task_of(name)))
                if story is not None and name == handle_object(ActorId(task_of(name))):
                    story.is_dropped = True
        for stream in streams:
            del self.handles[stream]
        note_drop(self, names, streams)
        self.post(Dropped(tuple(names), streams))

    def drop_all(self) -> None:
        names = [name for name, count in self.refs.items() for _ in range(count)]
        self.drop(names, tuple(self.handles))

    # -- what the machine tells --------------------------------------------------------------------
    def perform(self, effect: Effect) -> None:
        if isinstance(effect, ItemsTaken):
            self._taken.append(effect)
        elif isinstance(effect, HANDOVER_ANSWERS):
            self.answers.append(effect)
        elif isinstance(effect, ObjectsReady):
            for name in effect.objects:
                for tell in self.waiting_objects.pop(name, ()):
                    self.later(0, partial(self._tell, name, tell))
        elif isinstance(effect, NameAnswered):
            self.later(0, partial(self.waiting_names.pop(effect.query), effect.actor))
        elif isinstance(effect, StreamAdvanced):
            self._advanced[effect.stream] = None
            if effect.stream in self.waiting_streams:
                count_max, then = self.waiting_streams.pop(effect.stream)
                self.later(0, partial(self.next, effect.stream, count_max, then))
        else:
            self.store.perform(effect)

    def _tell(self, name: ObjectId, then: Callable[[Value], None]) -> None:
        if self.owner.refs.value_of(name) is None:
            self.cluster.promises.lost.woken(name)  # it was found lost since
        self.get(name, then)
