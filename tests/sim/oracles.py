"""The promises P1, P2, P3, P5 and P7, checked from outside on every run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tests.sim.oracles_actors import ActorsKeepOrder
from tests.sim.oracles_cancel import CancelledForGood
from tests.sim.oracles_dialogue import DialoguesKept
from tests.sim.oracles_flow import WindowsKept
from tests.sim.oracles_rebuild import LostIsRebuilt
from tests.sim.oracles_store import RegionsKept, StoreAnswers
from tests.sim.programs import (
    INTERRUPTED,
    NO_ROOM,
    Account,
    Consumer,
    attempt_in,
    item_size,
    item_value,
    result_value,
    same,
)
from tests.sim.together import YieldsComeWhole
from zgen.core.deadlines import earliest
from zgen.core.effects import CloseConnection, Effect, Report, StartTask, StreamAdvanced
from zgen.core.events import Arrived, Dropped, Event, TakeItems, Yielded
from zgen.core.process import ProcessMachine
from zgen.core.session import Session
from zgen.core.stream_words import YieldedTogether
from zgen.core.task_table import Doing
from zgen.ids import (
    COMPLETION_INDEX,
    ITEM_INDEX_FIRST,
    ObjectId,
    PeerId,
    TaskId,
    index_of,
    item_ids,
    short,
    task_of,
)
from zgen.io.inquiry import Inquiry
from zgen.limits import QUIET_LINE_NS
from zgen.sim.oracle import Kind, Oracle
from zgen.sim.world import Life
from zgen.wire.task import DYNAMIC, STREAMING
from zgen.wire.value import NONE, Fault, FaultKind, Parcel, Value, is_error, refs_of
from zgen_node.core.node import NodeMachine

if TYPE_CHECKING:
    from tests.sim.cluster import Cluster, Worker


def session_of(life: Life) -> Session:
    machine = life.machine
    if isinstance(machine, NodeMachine):
        return machine._peers.session
    if isinstance(machine, Inquiry):
        return machine._session
    assert isinstance(machine, ProcessMachine)
    return machine.session


class ItemsInOrderOnce(Oracle):
    """P1: every item in yield order, each once; after a failure one error, then the end."""

    promise = "P1"

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        #: Stream -> items seen, and whether its error was.
        self._seen: dict[TaskId, tuple[int, bool]] = {}
        self.items = 0
        self.returned = 0

    def took(self, user: Consumer, stream: TaskId, names: list[ObjectId], ended: bool) -> None:
        account = self.cluster.accounts[stream]
        count, failed = self._seen.get(stream, (0, False))
        beside = 0  # errors that stand for one yield with the first one
        for name in names:
            if beside and name == stream + (ITEM_INDEX_FIRST + count + beside).to_bytes(4, "big"):
                beside = (beside + 1) % account.plan.per_yield
                continue
            if failed or name != stream + (ITEM_INDEX_FIRST + count).to_bytes(4, "big"):
                after = "the error" if failed else f"{count} items"
                self.require(False, f"{short(stream)}: took {short(name)} after {after}")
            value = user.owner.refs.value_of(name)
            assert value is not None
            if is_error(value):
                self.cluster.promises.errors.allowed(stream, account, value, count)
                failed = not (account.differed and is_mismatch(value))
                count += not failed
                beside = int(failed and account.plan.per_yield > 1)
                continue
            self.cluster.promises.cancels.item(stream, count)
            size = item_size(account, count)
            if not same(value, item_value(stream, count, 0, size)):
                self.require(False, f"{short(stream)}: item {count} is {value!r}")
            count += 1
            self.items += 1
        self._seen[stream] = (count, failed)
        if ended and not failed:
            plan = account.plan
            self.require(
                count == plan.items and not plan.raises,
                f"{short(stream)}: ended well after {count} of {plan.items} items",
            )

    def got(self, user: Consumer, name: ObjectId, value: Value) -> None:
        """A result, a completion or a put was got."""
        if name in self.cluster.puts:
            self.require(value == self.cluster.puts[name], f"{short(name)} is {value!r}")
            return
        task, index = task_of(name), index_of(name)
        account = self.cluster.accounts[task]
        if account.plan.returns == DYNAMIC and not is_error(value):
            self._gathered(user, task, account, value)
            return
        streaming = account.plan.returns == STREAMING
        if is_error(value):
            self.require(
                not (streaming and isinstance(value, Parcel)),
                f"{short(name)} is an error that the body raised",
            )
            self.cluster.promises.errors.allowed(task, account, value, None)
        elif streaming:
            # After an error of its own, which stood among the items, a stream completes well.
            self.require(index == COMPLETION_INDEX, f"{short(name)} is {value!r}")
            self._completed(task, account, value)
        else:
            self.require(not account.plan.raises, f"{short(task)} returned")
            expected = result_value(task, index, 0, account.plan.result_bytes)
            self.require(same(value, expected), f"{short(name)} is {value!r}")

    def _completed(self, task: TaskId, account: Account, value: Value) -> None:
        """A stream that ended well, or with an error of its own, has what it returned."""
        size = account.plan.returned_bytes
        returns = size >= 0 and same(value, result_value(task, 0, 0, size))
        self.returned += returns
        is_none = size < 0 or account.plan.raises or bool(account.excuses)
        is_none = is_none or self.cluster.promises.cancels.is_closed(task)
        good = returns or (is_none and value == NONE)
        self.require(good, f"{short(task)} returned {value!r}")

    def _gathered(self, user: Consumer, task: TaskId, account: Account, value: Value) -> None:
        """A value that refers to all items of a stream, and perhaps to one error behind them."""
        names = [ref.object for ref in refs_of(value)]
        self.require(names == list(item_ids(task, 0, len(names))), f"{short(task)}: {names}")
        items = [user.owner.refs.value_of(name) for name in names]
        failed = bool(items) and items[-1] is not None and is_error(items[-1])
        count = len(items) - failed
        if failed:
            self.cluster.promises.errors.allowed(task, account, items[-1], count)  # type: ignore[arg-type]  # an error
        else:
            whole = count == account.plan.items and not account.plan.raises
            self.require(whole, f"{short(task)}: {count} of {account.plan.items} items gathered")
        for index, item in enumerate(items[:count]):
            expected = item_value(task, index, 0, item_size(account, index))
            good = item is not None and same(item, expected)
            self.require(good, f"{short(task)}: item {index} is {item!r}")


#: What a task ends with whose worker died under it.
DEATHS_UNDER = (FaultKind.WORKER_CRASHED, FaultKind.NODE_DIED, FaultKind.OUT_OF_MEMORY)


#: And one that was cancelled by force.
DEATHS_FORCED = DEATHS_UNDER


class ErrorsNameTheirCause(Oracle):
    """P5: an error is the one that the world knows the cause of, and no budget is cut short."""

    promise = "P5"

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.kinds: dict[str, int] = {}

    def allowed(self, task: TaskId, account: Account, value: Value, count: int | None) -> None:
        plan, story = account.plan, f"{short(task)}: {value!r}, starts {account.starts}"
        starts = len(account.starts)
        if isinstance(value, Parcel):
            if value.data.startswith(NO_ROOM):
                self._note("no room")
                self.require(bool(account.excuses), f"{story}, but there was room")
                return
            if value.data.startswith(INTERRUPTED):
                self._note("interrupted")
                self.require(bool(account.interrupts), f"{story}, but nobody interrupted it")
                return
            self._note("raised")
            if starts - 1 in account.interrupts:  # it saw no room for what it would have yielded
                return
            if self.cluster.promises.dialogues.ends_retries(plan):
                return
            self.require(plan.raises, f"{story}, but the body never raises")
            self.require(count in (None, items_before_raise(account)), f"{story} at item {count}")
            return
        assert isinstance(value, Fault)
        self._note(value.kind.value)
        cancels = self.cluster.promises.cancels
        if value.kind is FaultKind.CANCELLED:
            cancels.got(task, account, value)
        elif value.kind in DEATHS_FORCED and cancels.is_forced(task):
            return
        elif value.kind is FaultKind.NODE_DIED and not value.name:
            self.require(self.cluster.node_deaths > 0, f"{story}, but the node lives")
        elif value.kind in DEATHS_UNDER:
            few = starts < 1 + plan.retries and self.cluster.lost_count
            self.require(bool(few) or starts == 1 + plan.retries, f"{story} of {1 + plan.retries}")
            self.require(len(value.history) == value.attempts - 1, f"{story}: its history lacks")
            caused = {
                FaultKind.WORKER_CRASHED: True,
                FaultKind.NODE_DIED: self.cluster.node_deaths > 0,
                FaultKind.OUT_OF_MEMORY: self.cluster.memory_deaths > 0,
            }
            self.require(caused[value.kind], f"{story}: nothing of the kind happened")
        elif value.kind is FaultKind.REFUSED:
            no_start = self.cluster.spawn_failures > 0 or self.cluster.is_gone(plan.place)
            # Who is cut off holds the others for gone.
            no_start |= self.cluster.lost_count > 0 and value.reason.endswith("which is gone")
            self.require(no_start, f"{story}, but workers start")
        elif value.kind in (FaultKind.ACTOR_DIED, FaultKind.ACTOR_UNAVAILABLE):
            self.cluster.promises.actors.allowed(account, value, story)
        elif value.kind is FaultKind.ARGUMENT:
            again = self.cluster.promises.lost.losses > 0  # it may have ended well before
            good = bool(account.slots) and (again or not starts)
            self.require(good, f"{story}, slots {account.slots}")
        elif value.kind is FaultKind.NOT_REBUILT:
            self.cluster.promises.lost.allowed(account, value, story)
        elif value.kind is FaultKind.LOG_LOST:
            self.cluster.promises.dialogues.allowed(task, account, story)
        elif is_mismatch(value):
            self.require(bool(account.differed or account.excuses), story)
        else:
            self.require(False, f"{story}: no scripted task earns this")

    def _note(self, kind: str) -> None:
        self.kinds[kind] = self.kinds.get(kind, 0) + 1


def items_before_raise(account: Account) -> int:
    count = 0
    for op in account.plan.ops:
        if op[0] == "yield":
            count += op[1]
        elif op[0] == "raise" and account.plan.is_final(op[1]):
            break
    return count


def is_mismatch(value: Value) -> bool:
    return isinstance(value, Fault) and value.kind is FaultKind.REPLAY_MISMATCH


class NothingHangs(Oracle):
    """P2: whoever waits for what is ready was woken; after everything healed, everybody is done."""

    promise = "P2"

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def check(self, user: Consumer, life: Life) -> None:
        owner = user.owner
        for stream in user.waiting_streams:
            ready = stream not in owner.streams.streams or owner.streams.is_ready(stream)
            if ready:
                self.nobody_woke(life, stream)
        for name in user.waiting_objects:
            record = owner.refs.records.get(name)
            if record is None or record.value is not None:
                self.nobody_woke(life, name)

    def nobody_woke(self, life: Life, what: bytes) -> None:
        story = f"{life.name} waits for {short(what)}, which is ready or gone: nobody woke it"
        self.require(False, story, Kind.LIVENESS)

    def all_done(self, undone: Iterable[str]) -> None:
        undone = list(undone)
        self.require(not undone, "never ended: " + "; ".join(undone), Kind.LIVENESS)


class NothingLeaks(Oracle):
    """P3: no record outlives its last reference; at rest nothing is held anywhere."""

    promise = "P3"

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def dropped(self, user: Consumer, event: Dropped) -> None:
        owner = user.owner
        for name in event.objects:
            record = owner.refs.records.get(name)
            if record is None:
                if task_of(name) in owner.streams.gathered:
                    self.require(False, f"{short(name)} is gathered for nobody")
            elif name not in user.refs and not record.pins:
                # That each pin has its reason is an invariant of the machine.
                self.require(False, f"{short(name)} outlives its last reference")
        for stream in event.streams:
            record_in = owner.streams.streams.get(stream)
            self.require(
                record_in is None or not record_in.unread, f"{short(stream)} keeps items for nobody"
            )

    def at_rest(self) -> None:
        self.cluster.world.check_all()
        for life in list(self.cluster.world.lives.values()):
            machine = life.machine
            if isinstance(machine, ProcessMachine):
                self._process(life, machine)
            elif isinstance(machine, NodeMachine):
                self._node(life, machine)

    def _process(self, life: Life, machine: ProcessMachine) -> None:
        owner = machine.owner
        self._empty(life, "references", owner.refs.records)
        lent = owner.borrowing.lent
        self._empty(life, "borrowers", [lent.borrowers, lent.loans] if lent.pinned() else ())
        self._empty(life, "askers", owner.borrowing.askers)
        self._empty(life, "tasks", owner.tasks.entries)
        self._empty(life, "streams", owner.streams.streams)
        self._empty(life, "lineage", owner.pins.lineage.entries)
        self._empty(life, "streams that are filled in", owner.pins.filling)
        self._empty(life, "views that wait", machine.store.waiting)
        self._empty(life, "leases", owner.placement.leases.held)
        for pool in owner.placement.leases.pools.values():
            self._empty(life, "queued tasks", pool.queue)
            self._empty(life, "requests", pool.open)
        self._empty(life, "deadlines", earliest(owner.deadlines) or ())
        self.cluster.promises.actors.process_at_rest(life, machine)
        if machine.executor is not None:
            self._empty(life, "waiting pushes", machine.executor.admission.queue)
            self._empty(life, "running", machine.executor.admission.running or ())
            self._empty(life, "streams out", machine.executor.reports.streams)
            self._empty(life, "inputs", machine.executor.listening.kept)
        self._lines(life)

    def _node(self, life: Life, machine: NodeMachine) -> None:
        self._empty(life, "leases", machine._staffing.leases.all())
        self._empty(life, "names", machine.cluster.naming.names._names)
        if not machine.cluster.naming.electorate.silent:
            self._empty(life, "names kept", machine.cluster.naming.records._records)
        self.require(
            machine._staffing.leases.resources.free == machine._staffing.leases.resources.total,
            f"node keeps resources: {machine._staffing.leases.resources.free}",
        )
        kept = {job.job: job.prestart_count for job in machine._staffing.jobs}
        for worker in machine._staffing.pool.all():
            kept[worker.job] = kept.get(worker.job, 0) - 1
            self.require(kept[worker.job] >= 0, f"worker {short(worker.worker)} is kept for nobody")
        living = sum(worker.node is life for worker in self.cluster.living_workers())
        self.require(
            living == len(machine._staffing.pool.all()),
            f"{living} workers live, the node knows {len(machine._staffing.pool.all())}",
        )
        self._lines(life)

    def _lines(self, life: Life) -> None:
        living = {other.address.peer for other in self.cluster.world.lives.values()}
        for peer, line in session_of(life)._lines.items():
            self.require(peer in living, f"{life.name} keeps a line to the dead {short(peer)}")
            self.require(not line.kept, f"{life.name} keeps {len(line.kept)} messages")
            self.require(not line.early, f"{life.name} keeps early messages of {short(peer)}")

    def _empty(self, life: Life, what: str, table: Any) -> None:
        self.require(not table, f"{life.name} keeps {what}: {self.cluster.world.trace.show(table)}")


class ExecutionsAreCounted(Oracle):
    """P5: no task starts more often than its budget allows, and no attempt starts twice."""

    promise = "P5"

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.starts = 0

    def started(self, worker: Worker, effect: StartTask) -> None:
        task, attempt = effect.task.task, effect.task.attempt
        account = self.cluster.accounts[task]
        self.cluster.placed(worker, account.plan.place)
        self.starts += 1
        story = f"{short(task)} attempt {attempt} starts after {account.starts}"
        if self.cluster.lost_count:
            # What was pushed to a lost node counts as begun, and may begin there at any time.
            self.require(attempt not in account.starts, story)
            if effect.call is not None and effect.call.method != "__init__":
                self.cluster.promises.actors.started(worker, account, effect.task)
        elif effect.call is not None and effect.call.method != "__init__":
            # Which calls of a dead actor had started is not known: each pays that was sent.
            self.require(attempt > max(account.starts, default=-1), story)
            self.cluster.promises.actors.started(worker, account, effect.task)
            self.cluster.promises.cancels.started(worker, task, attempt)
        else:
            # Every earlier attempt started, once: else one was counted that never ran.
            self.require(attempt == len(account.starts), story)
            self.cluster.promises.cancels.started(worker, task, attempt)
        self.cluster.promises.lost.started(account, story)
        account.starts.append(attempt)
        retries = account.plan.retries
        self.require(retries < 0 or len(account.starts) <= 1 + retries, story)


class TheDeadStayDead(Oracle):
    """P7: what a dead life sends changes nothing; no item of an old attempt is taken in."""

    promise = "P7"

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._known: dict[TaskId, int] = {}
        #: (life, dead sender): the sender was fenced there before the present step.
        self._fenced: dict[tuple[int, int], None] = {}
        self.refused = 0

    def arrived(self, life: Life, sender: Life, effects: list[Effect]) -> None:
        if sender.dead:
            self._from_the_dead(life, sender, effects)
        if not isinstance(life.machine, ProcessMachine):
            return
        for effect in effects:
            if type(effect) is StreamAdvanced:
                self._advanced(life.machine, effect.stream)

    def _from_the_dead(self, life: Life, sender: Life, effects: list[Effect]) -> None:
        session = session_of(life)
        address = sender.address
        if (life.number, sender.number) in self._fenced:
            self.refused += 1
            acts = [effect for effect in effects if type(effect) is not Report]
            self.require(not acts, f"{life.name} acts on {sender.name}, which is dead: {acts}")
        elif session.is_fenced(address.peer, address.incarnation):
            self._fenced[life.number, sender.number] = None

    def _advanced(self, machine: ProcessMachine, stream: TaskId) -> None:
        record = machine.owner.streams.streams.get(stream)
        if record is None or not record.unread or record.known <= self._known.get(stream, 0):
            return
        self._known[stream] = record.known
        newest = attempt_in(record.unread[-1])
        if newest is None or newest == record.attempt:
            return
        # The end of that attempt may have come in the same frames, and begun the next one.
        entry = machine.owner.tasks.entries.get(stream)
        just_ended = entry is not None and entry.doing.state is Doing.WAITING_RETRY
        story = f"{short(stream)}: item of attempt {newest} taken in during {record.attempt}"
        self.require(just_ended and newest == record.attempt - 1, story)


class LastWordsFirst(Oracle):
    """P1: a death is acted on only when the line of the dead has been quiet for long enough."""

    promise = "P1"

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        #: (life, sender) -> when the one last heard the other.
        self._heard: dict[tuple[int, PeerId], int] = {}

    def arrived(self, life: Life, sender: PeerId) -> None:
        self._heard[life.number, sender] = self.cluster.world.now_ns

    def closed(self, life: Life, peer: PeerId) -> None:
        died_ns = self.cluster.worker_deaths.get(peer)
        if died_ns is None or not session_of(life).is_fenced(peer, 1):
            return
        if self.cluster.lost_count:  # it may have been given up while it lived
            return
        last_ns = max(died_ns, self._heard.get((life.number, peer), 0))
        waited_ns = self.cluster.world.now_ns - last_ns
        story = f"{life.name} gives {short(peer)} up {waited_ns} ns after it was heard"
        self.require(waited_ns >= QUIET_LINE_NS, story)


class Promises(Oracle):
    """All of them; the cluster tells it what happens."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.items = ItemsInOrderOnce(cluster)
        self.errors = ErrorsNameTheirCause(cluster)
        self.hangs = NothingHangs(cluster)
        self.leaks = NothingLeaks(cluster)
        self.executions = ExecutionsAreCounted(cluster)
        self.dead = TheDeadStayDead(cluster)
        self.cancels = CancelledForGood(cluster)
        self.last_words = LastWordsFirst(cluster)
        self.store = StoreAnswers(cluster)
        self.regions = RegionsKept(cluster)
        self.actors = ActorsKeepOrder(cluster)
        self.windows = WindowsKept(cluster)
        self.whole = YieldsComeWhole(cluster)
        self.dialogues = DialoguesKept(cluster)
        self.lost = LostIsRebuilt(cluster)
        self.took = self.items.took
        self.got = self.items.got
        self.started = self.executions.started

    def node_lost(self, user: Consumer) -> None:
        """A driver was told that its node is gone; one that leaves well lets nobody in any more."""
        excused = self.cluster.node_deaths > 0 or not user.joined
        self.hangs.require(excused, f"{user.life.name} lost a living node")

    def after_step(self, life: Life, event: Event, effects: list[Effect]) -> None:
        kind = type(event)
        if kind is TakeItems or kind is Yielded or kind is YieldedTogether:
            self.windows.after_step(life, event, effects)
            self.whole.after_step(life, event, effects)
        elif kind is Arrived:
            assert isinstance(event, Arrived)
            sender = self.cluster.world.network.dialler_of(event.connection)
            self.dead.arrived(life, sender, effects)
            known = event.connection in session_of(life)._connections
            if known and sender.number in self.cluster.workers:
                self.last_words.arrived(life, sender.address.peer)
        for effect in effects:
            if type(effect) is CloseConnection:
                self.last_words.closed(life, effect.peer)
        user = self.cluster.users.get(life.number)
        if user is None:
            if life is self.cluster.node:
                assert isinstance(life.machine, NodeMachine)
                self.regions.after_node_step(life.machine)
            return
        if life.dead:
            return
        if kind is Dropped:
            assert isinstance(event, Dropped)
            self.leaks.dropped(user, event)
        if user.waiting_streams or user.waiting_objects:
            self.hangs.check(user, life)
