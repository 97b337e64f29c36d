"""References that travel: nested in arguments, results, items and puts, passed on, dropped, lost.

Every process does with the references that it has whatever comes to mind: puts them into values,
passes them on, waits for what they refer to, keeps them beyond the end of a task, drops them; with
every fifth seed cancels the tasks behind them, too, some of which end for that alone. The network
is bad and workers die, as owners, as borrowers and as those who pass on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from random import Random

from tests.sim.bodies import Body
from tests.sim.cluster import Cluster, Settings, Worker
from tests.sim.programs import Consumer, Ops, Plan
from tests.sim.run import Outcome, checks_every, run_seed
from zgen.core.cancel_words import CancelRequested
from zgen.core.effects import StartTask
from zgen.core.events import BodyBlocked, CountRef, TaskEnded, WantValues, Yielded
from zgen.core.process import ProcessMachine
from zgen.ids import (
    PUT_INDEX_FIRST,
    ObjectId,
    PeerId,
    TaskId,
    derive_puts_id,
    object_id,
    short,
    task_of,
)
from zgen.limits import MS, SECOND
from zgen.sim.faults import Faults, draw_hardship
from zgen.sim.oracle import Oracle
from zgen.sim.trace import Trace
from zgen.wire.task import OUTCOME_VALUE, STREAMING
from zgen.wire.value import Fault, FaultKind, NestedRef, Parcel, Value, refs_of

SAFETY_NS = 500 * MS
LIVENESS_NS_MAX = 60 * SECOND
REST_NS = 30 * SECOND
STROKES = {"cut": 80 * MS, "pause": 200 * MS, "blackout": 300 * MS, "worker": 60 * MS}
#: A user that waits longer than this gives up: tasks may wait for each other here.
PATIENCE_NS = 60 * MS
#: What is counted beside what every scenario counts: values got, and why others were not.
COUNTED = ("got", "owner died", "worker crashed")
#: Items of every stream.
ITEMS = 4
#: What a body does that ends when it is cancelled, and one that cancels what it was given for good.
STUCK: Ops = [["stuck", 0, 0]]
CANCELS: Ops = [["cancel", 0, 0]]


class ReferencesHold(Oracle):
    """P3, P4: an object that anybody refers to is there as long as its owner lives."""

    promise = "P4"

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.truth: dict[ObjectId, bytes] = {}
        self.counts: dict[str, int] = {}
        #: Tasks that somebody has cancelled.
        self.cancelled: dict[TaskId, None] = {}

    def look(self, user: Consumer) -> None:
        """Look at all that a user refers to."""
        for name in user.refs:
            self.look_at(user, name)

    def look_at(self, user: Consumer, name: ObjectId) -> None:
        """Look at one of them."""
        record = user.owner.refs.records.get(name)
        self.require(record is not None, f"{user.life.name} has lost {short(name)}")
        assert record is not None
        if record.borrow is not None:
            owner = self.machine_of(record.borrow.owner.peer)
            there = owner is None or name in owner.owner.refs.records
            self.require(there, f"{short(name)} is gone, which {user.life.name} borrows")

    def got(self, user: Consumer, name: ObjectId, value: Value) -> None:
        self.note("got")
        if name in self.truth and not isinstance(value, Fault):
            data = value.data if isinstance(value, Parcel) else value
            self.require(data == self.truth[name], f"{short(name)} is {value!r}")
        fault = value
        while isinstance(fault, Fault):
            self.note(fault.kind.value)
            story = f"{user.life.name} got {short(name)}: {fault!r}"
            if fault.kind is FaultKind.OWNER_DIED:
                borrow = user.owner.refs.records[name].borrow
                lives = borrow is not None and self.machine_of(borrow.owner.peer) is not None
                self.require(fault is not value or not lives, f"{story}, but its owner lives")
            elif fault.kind is FaultKind.CANCELLED:
                self.require(self.is_cancelled(bytes.fromhex(fault.reason)), story)
            else:
                known = (FaultKind.ARGUMENT, FaultKind.WORKER_CRASHED, FaultKind.REFUSED)
                self.require(fault.kind in known, story)
            fault = fault.cause  # type: ignore[assignment]  # the loop ends with it

    def is_settled(self, ref: NestedRef) -> bool:
        """Return whether an object has its value, or never will."""
        machine = self.machine_of(ref.owner.peer)
        return machine is None or machine.owner.refs.records[ref.object].value is not None

    def is_cancelled(self, task: bytes) -> bool:
        """Return whether anybody has cancelled a task, or one above it."""
        accounts, each = self.cluster.accounts, TaskId(task)
        while each in accounts and each not in self.cancelled:
            each, _ = accounts[each].parent
        return each in accounts

    def machine_of(self, peer: PeerId) -> ProcessMachine | None:
        """Return the machine of a process that lives."""
        for life in self.cluster.world.lives.values():
            if life.address.peer == peer and not life.dead:
                assert isinstance(life.machine, ProcessMachine)
                return life.machine
        return None

    def note(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1


class Hand:
    """What the code of one task, or of a driver, does with references."""

    def __init__(self, run: Run, user: Consumer, parent: tuple[TaskId, int]) -> None:
        self.run = run
        self.user = user
        self.random = run.cluster.world.random
        self.parent = parent
        task, attempt = parent
        self.puts_of = derive_puts_id(task, attempt)
        #: One entry for each reference that this code has.
        self.names: list[ObjectId] = []
        self.streams: list[TaskId] = []
        self.waits = 0
        self._submitted = self._puts = 0

    def take(self, value: Value) -> None:
        """Unpickle a value: its references are this code's from here on."""
        for ref in refs_of(value):
            self.user.post(CountRef(ref.object))
            self.user.refs[ref.object] = self.user.refs.get(ref.object, 0) + 1
            self.names.append(ref.object)

    def nested(self) -> tuple[NestedRef, ...]:
        """Return some of the references, to be put into a value."""
        count = min(len(self.names), self.random.choice((0, 1, 1, 2, 4)))
        refs = []
        for name in dict.fromkeys(self.random.sample(self.names, count)):
            borrow = self.user.owner.refs.records[name].borrow
            refs.append(NestedRef(name, borrow.owner if borrow else self.user.life.address))
        return tuple(refs)

    def packed(self, data: bytes) -> Value:
        """Return a value with references in it.

        What it refers to has its own value already: else two results might come to refer to each
        other, and counts never free a cycle.
        """
        refs = tuple([ref for ref in self.nested() if self.run.references.is_settled(ref)])
        return Parcel(data, (), False, refs) if refs else data

    def act(self, depth: int, then: Callable[[], None]) -> None:
        """Do something, and then what is given."""
        self.run.references.look(self.user)
        want = partial(self._want, then)
        acts: list[Callable[[], bool | None]] = [self._put, self._drop, want, want]
        if depth > 0:
            acts += [partial(self._submit, depth), partial(self._submit, depth), self._next]
        act = self.random.choice(acts)
        if self.names and self.run.cancels and self.run.cluster.dice.random() < 0.2:
            self.cancel(self.run.cluster.dice.choice(self.names))
        if act() is not True:
            then()

    def drop_all(self) -> None:
        names, self.names = self.names, []
        streams, self.streams = self.streams, []
        self.user.drop(names, tuple(streams))

    def _put(self) -> None:
        self._puts += 1
        name = object_id(self.puts_of, PUT_INDEX_FIRST + self._puts)
        data = b"put" + name
        self.run.references.truth[name] = data
        self.user.put(name, self.packed(data))
        self.names.append(name)

    def cancel(self, name: ObjectId) -> None:
        """Cancel the task of an object, which may be another process's."""
        task, dice = task_of(name), self.run.cluster.dice
        account = self.run.cluster.accounts.get(task)
        if account is not None and account.plan.ops == CANCELS:
            return  # what is stuck would never end
        self.run.references.note("cancels")
        self.run.references.cancelled[task] = None
        self.user.post(CancelRequested(task, dice.random() < 0.2, True, name))

    def _drop(self) -> None:
        count = self.random.choice((1, 2, len(self.names)))
        gone = self.random.sample(self.names, min(count, len(self.names)))
        for name in gone:
            self.names.remove(name)
        self.user.drop(gone)

    def _submit(self, depth: int) -> None:
        streaming = self.random.random() < 0.4
        plan = Plan(
            [["borrow", self.random.choice((1, 3, 6)), depth - 1]],
            STREAMING if streaming else 1,
            self.random.choice((0, 1, 3)),
            self.random.choice((0, 5_000, 10_000)),
        )
        slots: tuple[ObjectId, ...] = ()
        if self.names and self.random.random() < 0.4:
            slots = (self.random.choice(self.names),)
        index = self._submitted
        self._submitted += 1
        task = self.user.submit(plan, self.parent, index, slots, self.nested())
        if streaming:
            self.streams.append(task)
        else:
            self.names.append(object_id(task, 0))

    def give_stuck(self) -> None:
        """Submit what never ends by itself, and give somebody else its result, to cancel it."""
        index, user = self._submitted, self.user
        self._submitted += 2
        stuck = object_id(user.submit(Plan(STUCK, 1, 0, 0), self.parent, index), 0)
        given = (NestedRef(stuck, user.life.address),)
        task = user.submit(Plan(CANCELS, 1, -1, 0), self.parent, index + 1, (), given)
        self.names += [stuck, object_id(task, 0)]

    def _next(self) -> bool:
        """Look for items of a stream, and forget it at its end or for no reason."""
        if not self.streams:
            return False
        stream = self.random.choice(self.streams)
        if not self.user.owner.streams.is_ready(stream):
            if self.random.random() < 0.1:
                self._forget(stream)
            return False

        def took(names: list[ObjectId], ended: bool) -> None:
            for name in names:
                self.names.append(name)
                value = self.user.owner.refs.value_of(name)
                assert value is not None
                self.run.references.got(self.user, name, value)
                self.take(value)
            if ended:
                self._forget(stream)

        self.user.next(stream, 2, took)
        return False

    def _forget(self, stream: TaskId) -> None:
        self.streams.remove(stream)
        self.user.drop([], (stream,))

    def _want(self, then: Callable[[], None]) -> bool:
        """Wait for an object, for a while."""
        if not self.names:
            return False
        name = self.names.pop(self.random.randrange(len(self.names)))
        self.wait_for(name, then, PATIENCE_NS)
        return True

    def wait_for(self, name: ObjectId, then: Callable[[], None], patience_ns: int | None) -> None:
        """Wait for an object, whose reference is not among ``names`` meanwhile."""
        user, over = self.user, False

        def end(value: Value | None) -> None:
            nonlocal over
            if over:
                return
            over = True
            waiting = user.waiting_objects.get(name, [])
            if got in waiting:
                waiting.remove(got)
                if not waiting:
                    del user.waiting_objects[name]
            self.names.append(name)
            if value is not None:
                self.run.references.got(user, name, value)
                self.take(value)
            then()

        def got(value: Value) -> None:
            end(value)

        if user.owner.refs.value_of(name) is None:
            user.post(WantValues((name,)))
        user.get(name, got)
        if patience_ns is not None and not over:
            user.later(patience_ns, lambda: end(None))


class BorrowBody(Body):
    """A body that does with its references what comes to mind, and returns or yields some."""

    run: Run

    def __init__(self, run: Run, worker: Worker, start: StartTask) -> None:
        super().__init__(worker, start)
        self.run = run
        self.hand = Hand(run, self.user, (self.task, self.attempt))
        self.values = (start.arguments, *start.slots)
        self.resume: Callable[[], None] | None = None

    def go_on(self) -> None:
        resume, self.resume = self.resume, None
        if resume is not None:
            resume()
        elif self.worker.body is self:
            (what, steps, depth), *_ = self.ops
            for value in self.values:
                self.hand.take(value)
            if what == "stuck":
                return
            if what == "cancel":
                for name in self.hand.names:
                    self.hand.cancel(name)
            self.hand.names += self.run.kept.pop(self.user.life.number, [])
            self.user.post(BodyBlocked(True)) if self.hand.random.random() < 0.5 else None
            self._step(steps, depth, 0)

    def interrupt(self) -> None:
        """It was cancelled: what is stuck ends, all else goes on."""
        self.account.interrupts.append(self.attempt)
        if self.ops == STUCK:
            self.user.later(0, self._finish)
        elif self.waits_for_release:
            self.waits_for_release = False
            self.user.later(0, self.go_on)

    def _step(self, left: int, depth: int, yielded: int) -> None:
        if self.worker.body is not self:
            return
        if self.held:
            self.waits_for_release = True
            self.resume = partial(self._step, left, depth, yielded)
            return
        if left:
            then = partial(
                self.user.later,
                self.hand.random.randrange(2 * MS),
                partial(self._step, left - 1, depth, yielded),
            )
            self.hand.act(depth, then)
        elif self.pushed.returns_count == STREAMING and yielded < ITEMS:
            value = self.hand.packed(bytes([self.attempt, yielded]))
            self.user.post(Yielded(self.task, self.attempt, value))
            self.run.after_send(self.worker)
            wait_ns = self.hand.random.choice((0, 300_000, 3 * MS))
            self.user.later(wait_ns, partial(self._step, left, depth, yielded + 1))
        else:
            self._finish()

    def _finish(self) -> None:
        if self.worker.body is not self:
            return
        values: tuple[Value, ...] = ()
        if self.pushed.returns_count != STREAMING:
            values = (self.hand.packed(bytes([self.attempt])),)
        del self.worker.bodies[self.task]
        self.account.ends.append(self.attempt)
        hand, kept = self.hand, self.run.kept.setdefault(self.user.life.number, [])
        if hand.names and hand.random.random() < 0.3:
            kept.append(hand.names.pop())  # in a global of the worker
        self.user.post(TaskEnded(self.task, self.attempt, OUTCOME_VALUE, values))
        self.run.after_send(self.worker)
        self.user.later(hand.random.choice((0, 5 * MS)), hand.drop_all)


@dataclass(slots=True)
class Driver:
    """The program of a driver.

    Attributes:
        hand: Its references.
        left: What it has yet to do.
        busy: Whether it waits for something just now.
    """

    hand: Hand
    left: int
    busy: bool = False
    asked: list[ObjectId] = field(default_factory=list)

    def go_on(self) -> None:
        if self.left:
            self.left -= 1
            random = self.hand.random
            wait_ns = random.choice((0, 1, 5)) * MS + 100_000
            self.hand.act(2, partial(self.hand.user.later, wait_ns, self.go_on))


class Run:
    """One seed."""

    def __init__(self, seed: int, trace: Trace | None = None) -> None:
        random = Random(seed)
        settings = Settings(cpus=random.choice((20_000, 40_000)), drivers=random.choice((1, 1, 2)))
        hardship = draw_hardship(random, STROKES)
        self.cluster = Cluster(seed, settings, trace)
        self.cluster.make_body = partial(BorrowBody, self)
        self.cluster.begin_program = self._begin_program
        self.cluster.world.checks_every = checks_every(seed)
        self.references = ReferencesHold(self.cluster)
        self.faults = Faults(self.cluster.world, hardship, {"worker": self._worker})
        self.drivers: dict[int, Driver] = {}
        #: Process -> references in globals of it.
        self.kept: dict[int, list[ObjectId]] = {}
        self._actions = random.choice((20, 40)) // settings.drivers
        self._dramatic = seed % 2 == 1
        self.cancels = seed % 5 == 3
        self._looks = 0

    def run(self) -> None:
        """Suffer, heal, get everything, drop everything, rest.

        Raises:
            SimulationFailure: A promise was broken.
        """
        world, promises = self.cluster.world, self.cluster.promises
        self.cluster.begin()
        self.faults.begin()
        world.run(SAFETY_NS)
        self.faults.stop()
        self._cancel_stuck()
        world.run(world.now_ns + LIVENESS_NS_MAX, partial(self._now_and_then, self._at_end))
        promises.hangs.all_done(self._undone())
        for driver in self.drivers.values():
            names, driver.hand.names = driver.hand.names, []
            for name in names:
                driver.hand.waits += 1
                driver.hand.wait_for(name, partial(self._got, driver.hand), None)
        world.run(world.now_ns + LIVENESS_NS_MAX, partial(self._now_and_then, self._all_got))
        promises.hangs.all_done(
            [
                f"{driver.hand.waits} objects"
                for driver in self.drivers.values()
                if driver.hand.waits
            ]
        )
        for driver in self.drivers.values():
            self.references.look(driver.hand.user)
            driver.hand.drop_all()
        for worker in self.cluster.living_workers():
            self.references.look(worker.user)
            worker.user.drop(self.kept.pop(worker.life.number, []))
        world.run(world.now_ns + REST_NS)
        promises.leaks.at_rest()
        self.cluster.leave_all()
        world.run(world.now_ns + REST_NS)
        promises.leaks.at_rest()

    def _cancel_stuck(self) -> None:
        """Let others cancel by borrowed references what ends for that alone."""
        for driver in self.drivers.values() if self.cancels else ():
            driver.hand.give_stuck()

    @property
    def counts(self) -> Mapping[str, int]:
        return {what: self.references.counts.get(what, 0) for what in COUNTED}

    def look_back(self, marks: Mapping[str, int]) -> None:
        """Nobody had a reference that its owner let go of before it knew."""
        late = marks.get("borrow of what is gone", 0)
        self.references.require(not late, f"{late} times a borrower came too late")

    @staticmethod
    def _got(hand: Hand) -> None:
        hand.waits -= 1

    def _undone(self) -> list[str]:
        undone = [f"{driver.left} actions" for driver in self.drivers.values() if driver.left]
        if len(self.drivers) < self.cluster.settings.drivers:
            undone.append("a driver has no job")
        bodies = [worker for worker in self.cluster.living_workers() if worker.body is not None]
        undone += [f"a body in {worker.life.name}" for worker in bodies]
        for life in self.cluster.world.lives.values():
            machine = life.machine
            if isinstance(machine, ProcessMachine) and machine.owner.tasks.entries:
                undone.append(f"tasks of {life.name}")
        return undone

    def _at_end(self) -> bool:
        return not self._undone()

    def _all_got(self) -> bool:
        return not any(driver.hand.waits for driver in self.drivers.values())

    def _now_and_then(self, look: Callable[[], bool]) -> bool:
        self._looks += 1
        return self._looks % 16 == 0 and look()

    def _begin_program(self, user: Consumer) -> None:
        if user.life.number not in self.drivers:
            hand = Hand(self, user, (self.cluster.root_task_of(user.life), 0))
            driver = self.drivers[user.life.number] = Driver(hand, self._actions)
            user.later(0, driver.go_on)

    def after_send(self, worker: Worker) -> None:
        """A worker that has just passed on what is not its own may die while its borrower sleeps.

        That is the case of Ray's issue 9049: the owner hears of the death first.
        """
        world, random = self.cluster.world, self.cluster.world.random
        loans = worker.user.owner.borrowing.lent.loans
        if not self._dramatic or not loans or random.random() < 0.3:
            return
        borrower = random.choice(list(loans))
        for life in list(world.lives.values()):
            if life.address.peer == borrower and not life.paused and not life.dead:
                world.pause(life, random.randrange(30, 300) * MS)
        world.at(random.randrange(2 * MS), world.crash, (worker.life,))

    def _worker(self) -> bool:
        """A worker dies: one that lends, if there is one, or any other."""
        workers = self.cluster.living_workers()
        if not workers:
            return False
        random = self.cluster.world.random
        lenders = [worker for worker in workers if worker.user.owner.borrowing.lent.pinned()]
        self.cluster.world.crash(random.choice(lenders or workers).life)
        return True


def run_borrowing(seed: int, trace: Trace | None = None) -> Outcome:
    """Run one seed of this scenario."""
    return run_seed(seed, trace, Run)
