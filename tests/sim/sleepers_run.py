"""References lent to who falls asleep, by who dies: when it wakes, their owner has given them up.

A driver gives an actor a reference and lets go of its own. A task asks the actor for it; the actor
dies as it answers, and the task's process sleeps, mostly for longer than an owner holds what the
dead may have passed on.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from tests.sim.bodies import Body
from tests.sim.borrowing import Driver, Hand, ReferencesHold, Run
from tests.sim.cluster import Worker
from tests.sim.programs import Consumer, Plan
from tests.sim.run import Outcome, run_seed
from zgen.core.effects import StartTask
from zgen.core.events import BodyBlocked, TaskEnded
from zgen.ids import (
    PUT_INDEX_FIRST,
    ActorId,
    ObjectId,
    derive_puts_id,
    derive_task_id,
    handle_object,
    object_id,
    short,
)
from zgen.limits import BORROW_GRACE_NS, MS
from zgen.sim.trace import Trace
from zgen.wire.actor import ActorSettings
from zgen.wire.task import OUTCOME_VALUE
from zgen.wire.value import Fault, FaultKind, NestedRef, Parcel, Value

STORIES_COUNT = 6
#: How long a task sleeps to which something was lent.
SLEEPS_NS = (1 * MS, BORROW_GRACE_NS - 500 * MS, BORROW_GRACE_NS + 100 * MS, BORROW_GRACE_NS * 2)


class GivenUp(ReferencesHold):
    """P2, P4: what a sleeper was lent by one that died is there, or it hears that it is gone."""

    def __init__(self, run: Sleepers) -> None:
        super().__init__(run.cluster)
        #: What was lent to who then slept for longer than the owner has patience.
        self.late: dict[ObjectId, None] = {}

    def look(self, user: Consumer) -> None:
        for name in user.refs:
            if name not in self.late:
                self.look_at(user, name)

    def got(self, user: Consumer, name: ObjectId, value: Value) -> None:
        """What came late may be gone, and nothing else."""
        if not isinstance(value, Fault) or value.kind is not FaultKind.OBJECT_LOST:
            super().got(user, name, value)
            return
        story = f"{user.life.name} hears of {short(name)}: {value!r}"
        self.require(value.name == name.hex() and name in self.late, story)
        self.note("gone")


class SleepyBody(Body):
    """A body that keeps what it is given, gives what it has kept, or asks for that and looks."""

    run: Sleepers

    def __init__(self, run: Sleepers, worker: Worker, start: StartTask) -> None:
        super().__init__(worker, start)
        self.run = run
        self.hand = Hand(run, self.user, (self.task, self.attempt))
        self.said = start.arguments

    def go_on(self) -> None:
        if self.worker.bodies.get(self.task) is not self:
            return
        (what, *given), *_ = self.ops
        kept = self.run.kept.setdefault(self.user.life.number, [])
        if what == "keep":
            self.hand.take(self.said)
            kept += self.hand.names
            self._finish(b"kept")
        elif what == "give":
            records = self.user.owner.refs.records
            borrows = [(name, records[name].borrow) for name in kept]
            refs = tuple([NestedRef(name, borrow.owner) for name, borrow in borrows if borrow])
            self._finish(Parcel(b"given", (), False, refs))
            self.run.gave(self.worker, kept)
        else:
            self.user.post(BodyBlocked(True))
            self.run.askers[given[0]] = self.worker
            actor, plan = ActorId(bytes.fromhex(given[0])), Plan([["give"]], 1, 0, 0)
            name = object_id(self.user.call(actor, plan, (self.task, self.attempt), 0), 0)
            self.user.get(name, partial(self._got, name))

    def interrupt(self) -> None:
        """Nobody cancels here."""

    def _got(self, answer: ObjectId, value: Value) -> None:
        if not isinstance(value, Fault):
            self.hand.take(value)
        self.user.drop([answer])
        self._look()

    def _look(self) -> None:
        if self.hand.names:
            self.hand.wait_for(self.hand.names.pop(), self._over, None)
        else:
            self._over()

    def _over(self) -> None:
        self.hand.drop_all()
        self._finish(b"seen")

    def _finish(self, value: Value) -> None:
        if self.worker.bodies.get(self.task) is self:
            del self.worker.bodies[self.task]
            self.account.ends.append(self.attempt)
            self.user.post(TaskEnded(self.task, self.attempt, OUTCOME_VALUE, (value,)))


class Story:
    """What a driver does with one reference."""

    def __init__(self, run: Sleepers, user: Consumer, number: int) -> None:
        self.run = run
        self.user = user
        self.parent = (run.cluster.root_task_of(user.life), 0)
        self.first = number * 4
        self.put = object_id(derive_puts_id(*self.parent), PUT_INDEX_FIRST + number)
        self.actor = ActorId(derive_task_id(*self.parent, self.first))
        self.doing = "begins"

    def begin(self) -> None:
        data = self.run.references.truth[self.put] = b"put" + self.put
        self.user.put(self.put, data)
        self.user.create(ActorSettings(0), Plan([], 1, 0, 0), self.actor)
        self.run.put_of[self.actor.hex()] = self.put
        given = (NestedRef(self.put, self.user.life.address),)
        plan = Plan([["keep"]], 1, 0, 0)
        kept = self.user.call(self.actor, plan, self.parent, self.first + 1, (), given)
        self.doing = "waits for the actor"
        self.user.get(object_id(kept, 0), partial(self._kept, object_id(kept, 0)))

    def _kept(self, answer: ObjectId, value: Value) -> None:
        self.user.drop([answer, self.put])
        plan = Plan([["ask", self.actor.hex()]], 1, 0, 10_000)
        asked = object_id(self.user.submit(plan, self.parent, self.first + 2), 0)
        self.doing = "waits for who asks the actor"
        self.user.get(asked, partial(self._asked, asked))

    def _asked(self, answer: ObjectId, value: Value) -> None:
        self.user.drop([answer, handle_object(self.actor)])
        self.doing = ""


class Sleepers(Run):
    """One seed."""

    references: GivenUp

    def __init__(self, seed: int, trace: Trace | None = None) -> None:
        super().__init__(seed, trace)
        self.references = GivenUp(self)
        self.cancels = False
        self.cluster.make_body = self._make_body
        self.stories: list[Story] = []
        #: Actor -> the worker whose task asks it, and what it was given.
        self.askers: dict[str, Worker] = {}
        self.put_of: dict[str, ObjectId] = {}

    @property
    def counts(self) -> Mapping[str, int]:
        return {**super().counts, "gone": self.references.counts.get("gone", 0)}

    def look_back(self, marks: Mapping[str, int]) -> None:
        """Nobody came too late who had not slept for long."""
        late = marks.get("borrow of what is gone", 0)
        self.references.require(not late or bool(self.references.late), "nobody slept")

    def gave(self, worker: Worker, names: list[ObjectId]) -> None:
        """An actor has just answered: it dies, mostly, and who asked it sleeps."""
        world = self.cluster.world
        if not names or world.random.random() < 0.1:
            return
        assert worker.actor is not None
        asker = self.askers[worker.actor.hex()].life
        sleep_ns = world.random.choice(SLEEPS_NS)
        if sleep_ns > BORROW_GRACE_NS // 2:
            self.references.late.update(dict.fromkeys(names))
        world.pause(asker, sleep_ns)
        world.at(world.random.randrange(4 * MS), world.crash, (worker.life,))

    def _make_body(self, worker: Worker, start: StartTask) -> Body:
        ops = self.cluster.accounts[start.task.task].plan.ops
        return SleepyBody(self, worker, start) if ops else Body(worker, start)

    def _begin_program(self, user: Consumer) -> None:
        if user.life.number in self.drivers:
            return
        parent = (self.cluster.root_task_of(user.life), 0)
        self.drivers[user.life.number] = Driver(Hand(self, user, parent), 0)
        for number in range(STORIES_COUNT):
            self.stories.append(Story(self, user, number))
            user.later(self.cluster.world.random.randrange(200 * MS), self.stories[-1].begin)

    def _undone(self) -> list[str]:
        return super()._undone() + [story.doing for story in self.stories if story.doing]


def run_sleepers(seed: int, trace: Trace | None = None) -> Outcome:
    """Run one seed of this scenario."""
    return run_seed(seed, trace, Sleepers)
