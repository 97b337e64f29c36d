"""Actors under hardship: created, called from several processes, killed, restarted, let go of."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.sim.programs import Plan
from tests.sim.run import Outcome, Run, run_seed
from tests.sim.workloads import Program, draw_stream, draw_task
from zgen.core.actor_events import NameActor
from zgen.ids import NO_ACTOR, ActorId, ObjectId, TaskId, derive_task_id, handle_object, object_id
from zgen.limits import MS, US
from zgen.sim.trace import Trace
from zgen.wire.actor import ActorSettings
from zgen.wire.task import STREAMING

#: Mean time between two deaths of workers that actors live in.
ACTOR_STROKE_NS = 60 * MS
NAMES = ("one", "two")


def draw_settings(random: Random, name: str) -> ActorSettings:
    restarts = random.choice((0, 0, 1, 3, -1))
    how = random.random()
    if how < 0.5:
        return ActorSettings(restarts, name=name)
    if how < 0.7:
        return ActorSettings(restarts, max_concurrency=3, name=name)
    if how < 0.85:
        return ActorSettings(restarts, max_concurrency=8, is_async=True, name=name)
    return ActorSettings(restarts, max_concurrency=1, groups=(("io", 2),), name=name)


def draw_init(random: Random, restarts: int) -> Plan:
    ops: list[list[object]] = []
    if random.random() < 0.5:
        ops.append(["sleep", random.choice((100 * US, 3 * MS, 20 * MS))])
    if random.random() < 0.1:
        ops.append(["die", 1])
    if random.random() < 0.1:
        ops.append(["raise", -1])
    return Plan(ops, 1, restarts, random.choice((0, 0, 0, 10_000)))


def draw_call(random: Random) -> Plan:
    retries = random.choice((0, 0, 0, 1, 3, -1))
    if random.random() < 0.4:
        plan = draw_stream(random, 1)
    else:
        plan = draw_task(random, random.choice((2, 2, 1)))
    if random.random() < 0.04:
        plan.ops.append(["exit"])
    return Plan(plan.ops, plan.returns, retries, 0)


class ActorProgram(Program):
    """One driver's user, most of whose activities have to do with actors."""

    #: Questions asked so far.
    queries = 0

    def kinds(self) -> tuple[Callable[[str], None], ...]:
        return (self._actor, self._actor, self._actor, self._named, self._stream, self._task)

    def settings(self, name: str) -> ActorSettings:
        """Return how an actor is to run."""
        return draw_settings(self.random, name)

    def call_plan(self) -> Plan:
        """Return a call of one."""
        return draw_call(self.random)

    # -- activities --------------------------------------------------------------------------------
    def _actor(self, number: str) -> None:
        self._create(number, ActorId(self._next()), "")

    def _named(self, number: str) -> None:
        """Create an actor under a name, or call the one that has it."""
        name = self.random.choice(NAMES)
        mine = ActorId(self._next())
        self.queries += 1
        self.active[number] = f"the name {name}"

        def answered(actor: ActorId) -> None:
            if actor == mine:
                self._create(number, mine, name)
            elif actor == NO_ACTOR or actor not in self.cluster.actors:
                self.done(number)  # its node died, or its creator has not got so far
            else:
                self._drive(number, actor, self.random.choice((1, 3)), is_mine=False)

        self.user.ask_name(NameActor(self.queries, "", name, mine, b""), answered)

    def _next(self) -> TaskId:
        """Name what is submitted next, and leave that name to it."""
        self.submitted += 1
        return derive_task_id(*self.parent, self.submitted - 1)

    def _create(self, number: str, actor: ActorId, name: str) -> None:
        settings = self.settings(name)
        init = draw_init(self.random, settings.max_restarts)
        self.user.create(settings, init, actor, self.slots())
        self._drive(number, actor, self.random.choice((0, 2, 5, 12)), is_mine=True)

    def _drive(self, number: str, actor: ActorId, steps: int, *, is_mine: bool) -> None:
        """Call an actor some times, and do worse; then let go of it, if it is ours."""
        self.active[number] = f"actor {self.cluster.world.trace.show(actor)}"
        left = steps
        hasty = self.random.random() < 0.3

        def step() -> None:
            nonlocal left
            if left:
                left -= 1
                self._one(f"{number}.{left}", actor)
                self.user.later(self.random.choice((0, 0, 300 * US, 3 * MS)), step)
            elif hasty or not is_mine or not self.user.owner.actors.pending_count(actor):
                if is_mine:
                    self.user.drop([handle_object(actor)])
                self.done(number)
            else:
                self.user.later(2 * MS, step)

        step()

    def _one(self, number: str, actor: ActorId) -> None:
        how = self.random.random()
        if how < 0.04:
            self.user.kill(actor, no_restart=self.random.random() < 0.5)
        elif how < 0.16:
            calls: list[list[object]] = [
                ["call", actor.hex(), draw_call(self.random).to_json()]
                for _ in range(self.random.choice((1, 3)))
            ]
            if self.random.random() < 0.1:
                calls.append(["kill", actor.hex(), self.random.random() < 0.5])
            task = Plan([*calls, ["gather"]], 1, 1, self.random.choice((0, 10_000)))
            self._results(number, [(self.submit(task), task)])
        else:
            plan, slots = self.call_plan(), self._there(actor, self.slots())
            source = Plan([["sleep", self.random.choice((1, 10)) * MS]], 1, -1, 0)
            made: TaskId | None = None
            if self.random.random() < 0.2:  # an argument that is not there yet
                made = self.submit(source)
                slots = (*slots, object_id(made, 0))
            if self.windows is not None:
                self.windows.add_to(plan)
            call = self.user.call(actor, plan, self.parent, self.submitted, slots)
            self.submitted += 1
            if made is not None:
                self._results(f"{number} argument", [(made, source)])
            if plan.returns == STREAMING:
                self._read(number, call)
            else:
                self._results(number, [(call, plan)])

    def _there(self, actor: ActorId, slots: tuple[ObjectId, ...]) -> tuple[ObjectId, ...]:
        """Return the arguments that a call may have: what waits for a CPU must not hold one.

        An actor keeps its CPU while its calls wait for arguments, here and in Ray; where it is the
        last one, what makes them would never run.
        """
        if not self.cluster.accounts[TaskId(actor)].plan.cpus:
            return slots
        return tuple([name for name in slots if self.user.owner.refs.value_of(name) is not None])

    def _read(self, number: str, stream: TaskId) -> None:
        """Read a stream to its end, or until interest is lost."""
        self.active[number] = f"stream {self.cluster.world.trace.show(stream)}"
        give_up = self.random.choice((None, None, None, 3, 10))
        seen = 0

        def took(names: list[ObjectId], ended: bool) -> None:
            nonlocal seen
            self.cluster.promises.took(self.user, stream, names, ended)
            seen += len(names)
            over = ended or (give_up is not None and seen >= give_up)
            self.user.drop(names, (stream,) if over else ())
            if over:
                self.done(number)
            else:
                self.user.later(self.random.choice((0, 200 * US, 2 * MS)), read)

        def read() -> None:
            self.user.next(stream, self.random.choice((1, 8, 64)), took)

        read()


class ActorRun(Run):
    """A cluster whose drivers use actors."""

    program_class = ActorProgram

    def __init__(self, seed: int, trace: Trace | None = None) -> None:
        super().__init__(seed, trace)
        self.hardship.every_ns["actor"] = ACTOR_STROKE_NS
        self.faults.strokes["actor"] = self._actor_worker

    def _actor_worker(self) -> bool:
        """A worker dies that an actor lives in, or is being created in."""
        lives = [worker.life for worker in self.cluster.living_workers() if worker.actor]
        return self._one_of(lives)


def run_actors(seed: int, trace: Trace | None = None) -> Outcome:
    """Run one seed of this scenario."""
    return run_seed(seed, trace, ActorRun)
