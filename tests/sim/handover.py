"""Generators that are handed over: lent, read elsewhere, passed on, given back, fought over, lost.

Drivers read streams of their own or such as a task made for them, and give them to tasks now and
then, sometimes to two at once. Who has one takes some items, drops it, closes it, returns it, or
passes it on. The network is bad and workers die, above all those that hold or own what is lent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from random import Random
from typing import Any

from tests.sim.bodies import Body
from tests.sim.cluster import Cluster, Settings, Worker
from tests.sim.hand_reader import Loan, Reader
from tests.sim.oracles_handover import EachItemOnce, LoansEnd
from tests.sim.programs import Consumer, Plan
from tests.sim.run import Outcome, checks_every, run_seed
from zgen.core.effects import StartTask
from zgen.core.events import (
    BodyBlocked,
    TakeItems,
    TaskEnded,
)
from zgen.core.handover_words import HoldStream, StreamHeld, StreamRefusal
from zgen.core.process import ProcessMachine
from zgen.ids import (
    ObjectId,
    PeerId,
    StreamId,
    TaskId,
    completion_object,
    object_id,
)
from zgen.limits import MS, SECOND, US
from zgen.sim.faults import Faults, draw_hardship
from zgen.sim.trace import Trace
from zgen.sim.world import Life
from zgen.wire.session import Address
from zgen.wire.task import OUTCOME_VALUE, STREAMING
from zgen.wire.value import Fault, Parcel, Value

SAFETY_NS = 500 * MS
LIVENESS_NS_MAX = 60 * SECOND
REST_NS = 30 * SECOND
STROKES = {"cut": 80 * MS, "pause": 200 * MS, "blackout": 300 * MS, "worker": 50 * MS}
COUNTED = (
    "taken",
    "taken again",
    "lent",
    "passed on",
    "came back",
    "refused",
    "owner died",
    "ends",
    "fanned out",
    "given up",
)


class HandBody(Body):
    """A body that makes a stream, or reads one and does with it what comes to mind."""

    run: HandRun

    def __init__(self, run: HandRun, worker: Worker, start: StartTask) -> None:
        super().__init__(worker, start)
        self.run = run
        self.random = worker.cluster.world.random
        said = start.arguments
        self.loans = said.refs if isinstance(said, Parcel) else ()
        self.reader: Reader | None = None

    def interrupt(self) -> None:
        """Nobody cancels here."""

    def go_on(self) -> None:
        if self.worker.body is not self:
            return
        (what, depth, loan), *_ = self.ops
        self.user.post(BodyBlocked(True))
        if what == "make":
            stream = self.run.submit_stream(self.user, (self.task, self.attempt), 0)
            reader = Reader(self.run, self.user, stream, stream)
            self._return(reader)
            return
        reader = self.run.hold(self.user, loan, self.loans[0].owner)
        self._read(reader, depth, self.random.choice((0, 1, 3, 8, 100)))

    def _read(self, reader: Reader, depth: int, left: int) -> None:
        if self.worker.body is not self:
            return
        if not left:
            self._decide(reader, depth)
            return

        def went(there: bool) -> None:
            if there:
                wait_ns = self.random.choice((0, 100 * US, 1 * MS))
                self.user.later(wait_ns, partial(self._read, reader, depth, left - 1))
            else:
                self._drop(reader)

        reader.take(went)

    def _decide(self, reader: Reader, depth: int) -> None:
        dice = self.random.random()
        if dice < 0.3:
            self._return(reader)
        elif dice < 0.6 and depth > 0:
            self._pass_on(reader, depth)
        elif dice < 0.65:
            reader.close()
            self._drop(reader)
        else:
            self._drop(reader)

    def _drop(self, reader: Reader) -> None:
        kept_ns = self.random.choice((0, 0, 5 * MS, 40 * MS))
        if kept_ns:
            self.user.later(kept_ns, reader.drop)
        else:
            reader.drop()
        self._finish(bytes([self.attempt]))

    def _return(self, reader: Reader) -> None:
        lent = reader.lend()
        if lent is None:
            self._drop(reader)
            return
        loan, refs = lent
        self._finish(Parcel(json.dumps(loan).encode(), (), False, refs))
        if self.random.random() < 0.3:
            self.run.must_be_refused(reader)
        reader.drop()

    def _pass_on(self, reader: Reader, depth: int) -> None:
        lent = reader.lend()
        if lent is None:
            self._drop(reader)
            return
        loan, refs = lent
        plan = Plan([["hand", depth - 1, loan]], 1, self.random.choice((0, 3)), 10_000)
        self.submitted += 1
        task = self.user.submit(plan, (self.task, self.attempt), self.submitted, (), refs)
        self.run.must_be_refused(reader)
        reader.drop()
        name = object_id(task, 0)
        if self.random.random() < 0.3:
            self.user.drop([name])
            self._finish(b"passed on")
            return

        def got(value: Value) -> None:
            if self.worker.body is not self:
                return
            back = self.run.came_back(self.user, value)
            self.user.drop([name])
            if back is None:
                self._finish(b"gone")
            else:
                self._read(back, depth, self.random.choice((0, 2, 100)))

        self.user.get(name, got)

    def _finish(self, value: Value) -> None:
        if self.worker.body is self:
            del self.worker.bodies[self.task]
            self.account.ends.append(self.attempt)
            self.user.post(TaskEnded(self.task, self.attempt, OUTCOME_VALUE, (value,)))


class Story:
    """What a driver does with one stream, from its call to its end."""

    def __init__(self, run: HandRun, user: Consumer, number: int) -> None:
        self.run = run
        self.user = user
        self.random = run.cluster.world.random
        self.parent = (run.cluster.root_task_of(user.life), number)
        self.submitted = 0
        self.doing = "begins"
        self.reader: Reader

    def begin(self) -> None:
        if self.random.random() < 0.75:
            stream = self.run.submit_stream(self.user, self.parent, 0)
            self.reader = Reader(self.run, self.user, stream, stream)
            self.go_on()
            return
        plan = Plan([["make", 0, None]], 1, self.random.choice((0, 3)), 0)
        name = object_id(self.user.submit(plan, self.parent, 0), 0)
        self.doing = "waits for a stream"

        def got(value: Value) -> None:
            reader = self.run.came_back(self.user, value)
            self.user.drop([name])
            if reader is None:
                self.doing = ""
            else:
                self.reader = reader
                self.go_on()

        self.user.get(name, got)

    def go_on(self) -> None:
        if self.user.life.dead:
            return
        self.doing = f"reads {self.run.cluster.world.trace.show(self.reader.stream)}"
        dice = self.random.random()
        if dice < 0.5:
            self._read(self.random.choice((1, 2, 5)))
        elif dice < 0.6 and self.reader.key == self.reader.stream:
            self._fan_out()
        else:
            self._lend()

    def _fan_out(self) -> None:
        """Have several readers of the stream, each with a story of its own."""
        counts = self.random.choice((1, 2, 3)), self.random.choice((1, 3, 8, 64))
        readers = self.reader.fan_out(*counts)
        if readers and self.random.random() < 0.4:
            self.run.must_be_refused(self.reader)
        self._end()
        for reader in readers:
            story = self.run.new_story(self.user)
            story.reader = reader
            self.user.later(self.random.choice((0, 1 * MS, 20 * MS)), story.go_on)

    def _read(self, left: int) -> None:
        if not left:
            self.user.later(self.random.choice((0, 1 * MS, 5 * MS)), self.go_on)
            return

        def went(there: bool) -> None:
            if there:
                wait_ns = self.random.choice((0, 100 * US, 1 * MS))
                self.user.later(wait_ns, partial(self._read, left - 1))
            else:
                self._end()

        self.reader.take(went)

    def _lend(self) -> None:
        lent = self.reader.lend()
        if lent is None:
            self._end()
            return
        loan, refs = lent
        names = []
        for _ in range(self.random.choice((1, 1, 1, 2, 4))):
            retries = self.random.choice((0, 0, 3))
            self.submitted += 1
            plan = Plan([["hand", 2, loan]], 1, retries, 10_000)
            task = self.user.submit(plan, self.parent, self.submitted, (), refs)
            names.append(object_id(task, 0))
        if self.random.random() < 0.4:
            self.run.must_be_refused(self.reader)
        drops = self.random.random() < 0.2
        if drops:
            self.run.once.closed[self.reader.line] = None  # nobody may read it out
            self.reader.drop()
        self.doing = f"has lent {self.run.cluster.world.trace.show(self.reader.stream)}"
        left = len(names)
        waits_for_count = self.random.choice((left, 1))

        def got(name: ObjectId, value: Value) -> None:
            nonlocal left
            left -= 1
            back = self.run.came_back(self.user, value)
            self.user.drop([name])
            if len(names) - left > waits_for_count:
                if back is not None:
                    back.drop()  # it came late: another one reads by now
                return
            if back is not None and back.key in self.user.owner.handover.far.held:
                self.reader.drop()  # which was passed on, as this one was
                self.reader = back
            elif back is not None and self.reader.is_gone:
                self.reader = back
            elif back is not None:
                back.drop()  # one process has one generator of a stream, which counts once
            if len(names) - left == waits_for_count:
                if self.reader.is_gone:
                    self.doing = ""
                else:
                    self._read(self.random.choice((1, 5)))

        for name in names:
            self.user.get(name, partial(got, name))

    def _end(self) -> None:
        self.reader.drop()
        self.doing = ""


class HandRun:
    """One seed."""

    def __init__(self, seed: int, trace: Trace | None = None) -> None:
        random = Random(seed)
        settings = Settings(cpus=random.choice((20_000, 40_000)), drivers=random.choice((1, 1, 2)))
        hardship = draw_hardship(random, STROKES)
        self.cluster = Cluster(seed, settings, trace)
        self.cluster.make_body = self._make_body
        self.cluster.begin_program = self._begin_program
        self.cluster.world.checks_every = checks_every(seed)
        vars(self.cluster.promises.leaks)["dropped"] = lambda user, event: None  # of what is lent
        # Likewise: nobody hears that a stream advances while it is lent.
        vars(self.cluster.promises.dead)["_advanced"] = lambda machine, stream: None
        self.once = EachItemOnce(self.cluster)
        self.loans = LoansEnd(self.cluster)
        self.faults = Faults(self.cluster.world, hardship, {"worker": self._worker})
        self.stories: dict[int, list[Story]] = {}
        #: Who waits for the end of which stream.
        self.listeners: list[tuple[Life, TaskId]] = []
        #: Process and stream -> readers of it there.
        self.readers: dict[tuple[int, StreamId], int] = {}
        self._count = random.choice((6, 12)) // settings.drivers
        self._dramatic = seed % 2 == 1
        self._looks = 0

    def run(self) -> None:
        """Suffer, heal, read everything out, rest.

        Raises:
            SimulationFailure: A promise was broken.
        """
        world, promises = self.cluster.world, self.cluster.promises
        self.cluster.begin()
        self.faults.begin()
        self._watch()
        world.run(SAFETY_NS)
        self.faults.stop()
        self._dramatic = False
        world.run(world.now_ns + LIVENESS_NS_MAX, self._now_and_then)
        promises.hangs.all_done(self._undone())
        world.run(world.now_ns + REST_NS)
        promises.leaks.at_rest()
        for user in self.cluster.users.values():
            if not user.life.dead:
                handover = user.owner.handover
                kept = (handover.lending.handles, user.owner.borrowing.offers)
                self.once.require(not any(kept), f"{user.life.name} keeps {kept}")
        self.cluster.leave_all()
        world.run(world.now_ns + REST_NS)
        promises.leaks.at_rest()

    @property
    def counts(self) -> Mapping[str, int]:
        return {what: self.once.counts.get(what, 0) for what in COUNTED}

    def look_back(self, marks: Mapping[str, int]) -> None:
        """No mark is a failure here."""

    # -- what users do -----------------------------------------------------------------------------
    def submit_stream(self, user: Consumer, parent: tuple[TaskId, int], index: int) -> TaskId:
        """Call a generator."""
        random = self.cluster.world.random
        count = random.choice((0, 3, 10, 30, 60))
        delay_ns = random.choice((0, 100 * US, 1 * MS))
        ops: list[list[Any]] = [["yield", count, delay_ns, random.choice((10, 300))]]
        if random.random() < 0.5:
            ops.append(["return", random.choice((10, 300))])
        return user.submit(Plan(ops, STREAMING, -1, 10_000), parent, index)

    def hold(self, user: Consumer, loan: Loan, owner: Address) -> Reader:
        """Unpickle a generator."""
        line, epoch, hop, upto, name, peers, stream = loan
        where = (owner, completion_object(TaskId(bytes.fromhex(stream))))
        chain = tuple([PeerId(bytes.fromhex(peer)) for peer in peers])
        user.on_refused = self._on_refused
        user.answers.clear()
        user.post(HoldStream(TaskId(bytes.fromhex(line)), epoch, hop, upto, name, *where, chain))
        (held,) = user.answers
        assert isinstance(held, StreamHeld), held
        names = [TaskId(bytes.fromhex(each)) for each in (stream, line)]
        reader = Reader(self, user, held.key, *names)
        if held.key != reader.line:
            reader.epoch = epoch
        self.loans.held(user, reader.line, epoch, is_owner=reader.epoch is None)
        if self.cluster.world.random.random() < 0.2:
            reader.listen()
        return reader

    def came_back(self, user: Consumer, value: Value) -> Reader | None:
        """Unpickle the generator in a result, if there is one."""
        if not isinstance(value, Parcel) or not value.refs:
            return None
        self.once.note("came back")
        return self.hold(user, json.loads(value.data), value.refs[0].owner)

    def must_be_refused(self, reader: Reader) -> None:
        """Who has handed a generator over and reads on gets an error, and nothing else."""
        user, key = reader.user, reader.key
        record = user.owner.streams.streams.get(key)
        if record is None or not (record.is_lent or record.is_far):
            return
        user.answers.clear()
        user.post(TakeItems(key, 1))
        good = len(user.answers) == 1 and isinstance(user.answers[0], StreamRefusal)
        self.once.require(good, f"{user.life.name} reads what it has handed over")

    def is_refused(self, reader: Reader) -> bool:
        """Return whether a reader has lost the right to read."""
        record = reader.user.owner.streams.streams[reader.key]
        return record.refusal is not None

    def refused(self, user: Consumer, fault: Fault, reader: Reader) -> None:
        self.once.refused(user.life, fault, self._life_of_owner(reader))

    def _on_refused(self, user: Consumer, key: StreamId, fault: Fault) -> bool:
        """A reader is refused; return whether it waits until the stream comes back."""
        record = user.owner.streams.streams[key]
        far = user.owner.handover.far.held.get(key)
        owner = self._life_at(far.owner) if far is not None else user.life
        self.once.refused(user.life, fault, owner)
        if far is not None:
            self.loans.refused(user, far, fault)
        return record.is_lent

    def owner_of(self, name: ObjectId, user: Consumer) -> Life | None:
        """Return who owns an object, if it lives."""
        borrow = user.owner.refs.records[name].borrow
        return self._life_at(borrow.owner) if borrow is not None else user.life

    def holds(self, reader: Reader) -> None:
        """Who takes an item of another process's stream does so by its newest loan."""
        owner = self._life_of_owner(reader)
        if reader.epoch is None or owner is None:
            return
        assert isinstance(owner.machine, ProcessMachine)
        record = owner.machine.owner.streams.streams.get(reader.line)
        good = record is None or record.epoch == reader.epoch
        self.once.require(good, f"{reader.user.life.name} reads by loan {reader.epoch}: {record}")

    def is_error(self, name: ObjectId, user: Consumer) -> bool:
        """Return whether an item is an error of its producer, as its owner knows."""
        owner = self.owner_of(name, user)
        if owner is None:
            return False
        assert isinstance(owner.machine, ProcessMachine)
        record = owner.machine.owner.refs.records.get(name)
        return record is not None and isinstance(record.value, Fault)

    def _life_of_owner(self, reader: Reader) -> Life | None:
        far = reader.user.owner.handover.far.held.get(reader.key)
        return self._life_at(far.owner) if far is not None else reader.user.life

    def _life_at(self, address: Address) -> Life | None:
        for life in self.cluster.world.lives.values():
            if life.address.peer == address.peer and not life.dead:
                return life
        return None

    # -- the run -----------------------------------------------------------------------------------
    def _make_body(self, worker: Worker, start: StartTask) -> Body:
        worker.user.on_refused = self._on_refused
        ops = self.cluster.accounts[start.task.task].plan.ops
        return (
            HandBody(self, worker, start) if ops[0][0] in ("hand", "make") else Body(worker, start)
        )

    def _begin_program(self, user: Consumer) -> None:
        if user.life.number in self.stories:
            return
        user.on_refused = self._on_refused
        self.stories[user.life.number] = []
        for _ in range(self._count):
            story = self.new_story(user)
            user.later(self.cluster.world.random.randrange(100 * MS), story.begin)

    def new_story(self, user: Consumer) -> Story:
        stories = self.stories[user.life.number]
        stories.append(Story(self, user, len(stories)))
        return stories[-1]

    def _watch(self) -> None:
        """Look now and then at what the dead hold."""
        self.loans.look()
        if self._undone():
            self.cluster.world.at(100 * MS, self._watch)

    def _undone(self) -> list[str]:
        undone = [story.doing for each in self.stories.values() for story in each if story.doing]
        if len(self.stories) < self.cluster.settings.drivers:
            undone.append("a driver has no job")
        undone += [f"{life.name} hears no end" for life, _ in self.listeners if not life.dead]
        bodies = [worker for worker in self.cluster.living_workers() if worker.body is not None]
        undone += [f"a body in {worker.life.name}" for worker in bodies]
        for life in self.cluster.world.lives.values():
            machine = life.machine
            if isinstance(machine, ProcessMachine) and machine.owner.tasks.entries:
                undone.append(f"tasks of {life.name}")
        return undone

    def _now_and_then(self) -> bool:
        self._looks += 1
        return self._looks % 16 == 0 and not self._undone()

    def after_item(self, user: Consumer) -> None:
        """A worker that has just taken an item may die before anybody hears of that."""
        world = self.cluster.world
        is_worker = user.life.number in self.cluster.workers
        if self._dramatic and is_worker and world.random.random() < 0.05:
            world.at(world.random.choice((0, 300 * US, 2 * MS)), world.crash, (user.life,))

    def _worker(self) -> bool:
        """A worker dies: one that holds or owns what is lent, if there is one, or any other."""
        workers = self.cluster.living_workers()
        if not workers:
            return False
        random = self.cluster.world.random
        involved = [
            worker
            for worker in workers
            if worker.user.owner.handover.far.held or worker.user.owner.handover.lending.lent
        ]
        self.cluster.world.crash(random.choice(involved or workers).life)
        return True


def run_handover(seed: int, trace: Trace | None = None) -> Outcome:
    """Run one seed of this scenario."""
    return run_seed(seed, trace, HandRun)
