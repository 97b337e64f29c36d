"""One seed from its dice to its verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from time import process_time
from typing import Protocol

from tests.sim.cluster import Cluster, Settings
from tests.sim.fickle import Fickle
from tests.sim.memory import Disk
from tests.sim.programs import Consumer
from tests.sim.windows import Windows
from tests.sim.workloads import Program
from zgen.core import executor
from zgen.limits import MS, SECOND
from zgen.sim.faults import Faults, draw_hardship
from zgen.sim.oracle import Kind, Marks, SimulationFailure
from zgen.sim.trace import Trace
from zgen.sim.world import Life

#: Faults last this long; then everything must end within the bound, and be empty after the rest.
SAFETY_NS = 600 * MS
LIVENESS_NS_MAX = 60 * SECOND
REST_NS = 25 * SECOND
#: Mean time between two strokes, at the mildest.
STROKES = {
    "cut": 60 * MS,
    "pause": 200 * MS,
    "blackout": 300 * MS,
    "worker": 150 * MS,
    "driver": 1000 * MS,
    "node": 1500 * MS,
    "zombie": 200 * MS,
}


#: The same for those who write into shared memory just now, have views of it, or are written for.
STORE_STROKES = {"writer": 150 * MS, "reader": 200 * MS, "owner": 300 * MS}


#: Activities of fickle users, in every fourth seed.
FICKLE_COUNT = 12


def checks_every(seed: int) -> int:
    """Return after how many steps of a process its invariants are checked, beside those at rest.

    What is broken stays broken for some steps: looking less often buys more seeds.
    """
    return 1 if seed % 12 == 0 else 16


def draw_disk(random: Random) -> Disk:
    """Return a good disk, or one that fails sometimes or always."""
    disk = Disk(order_ns_max=random.choice((1, 5, 60)) * MS)
    if random.random() < 0.15:
        disk.full = random.choice((0.3, 1.0))
    if random.random() < 0.1:
        disk.broken = 0.2
    if random.random() < 0.25:
        disk.corrupt = 0.5
    return disk


@dataclass(slots=True)
class Outcome:
    """What one seed did.

    Attributes:
        seed: Which one.
        digest: Hash of its whole trace.
        failure: What went wrong, or None.
        lines: The last lines of the trace of a failed run.
        totals: Numbers for the summary.
        marks: Marks reached, with how often.
        seconds: CPU time used.
    """

    seed: int
    digest: str = ""
    failure: SimulationFailure | None = None
    lines: list[str] = field(default_factory=list)
    totals: dict[str, int] = field(default_factory=dict)
    marks: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


class Scenario(Protocol):
    """What one seed runs.

    Attributes:
        cluster: Where it happens.
        counts: Numbers of its own for the summary.
    """

    @property
    def cluster(self) -> Cluster: ...

    @property
    def counts(self) -> Mapping[str, int]: ...

    def run(self) -> None:
        """Suffer, heal, end, rest; raise ``SimulationFailure`` if a promise was broken."""

    def look_back(self, marks: Mapping[str, int]) -> None:
        """Judge by the marks that were reached."""


class Run:
    """A cluster under the hardship of one seed.

    Attributes:
        program_class: What its drivers do.
    """

    program_class: type[Program] = Program

    def __init__(self, seed: int, trace: Trace | None = None) -> None:
        self.seed = seed
        random = Random(seed)
        settings = Settings(
            cpus=random.choice((10_000, 20_000, 20_000, 40_000)),
            drivers=random.choice((1, 1, 2)),
            prestart=random.random() < 0.8,
            spawn_ns_max=random.choice((1, 3, 30)) * MS,
            spawn_failure=random.choice((0.0, 0.0, 0.0, 0.3)),
            exit_ns_max=random.choice((1, 5, 60)) * MS,
        )
        self.hardship = draw_hardship(random, STROKES)
        if random.random() < 0.7:
            self.hardship.every_ns.pop("node", None)
        self.hardship.every_ns.setdefault("worker", STROKES["worker"])
        self.activities = random.choice((14, 20, 26)) // settings.drivers
        self.window_bytes = random.choice((2_000, 64 << 20, 64 << 20))
        self.large = self._draw_store(Random(~seed), settings)
        # Dice of their own, as above: streams of every third seed have windows.
        self.windows = Windows(Random(f"windows of {seed}")) if seed % 3 == 1 else None
        # Likewise: in every twelfth seed, other ones, what streams yield is gathered.
        self.gathers = Random(f"gathers of {seed}") if seed % 12 == 5 else None
        self.cluster = Cluster(seed, settings, trace)
        self.cluster.cancels = Random(f"cancels {seed}").choice((0.0, 0.0, 0.05, 0.3))
        self.cluster.world.checks_every = checks_every(seed)
        self.cluster.begin_program = self._begin_program
        self.faults = Faults(
            self.cluster.world,
            self.hardship,
            {
                "worker": self._worker,
                "driver": self._driver,
                "node": self._node,
                "zombie": self._zombie,
                "writer": lambda: self._one_of(self.cluster.memory.writers()),
                "owner": self._owner,
                "reader": lambda: self._one_of(self.cluster.memory.readers()),
            },
        )
        self.programs: list[Program] = []
        self._looks = 0

    def _draw_store(self, random: Random, settings: Settings) -> int:
        """Draw shared memory and its hardship; return how many activities use it.

        These dice are others, so that a run differs from one without only by what it does there.
        """
        settings.store_bytes = random.choice((1, 1, 1, 1, 2, 64)) << 20
        settings.disk = draw_disk(random)
        for name, mean_ns in STORE_STROKES.items():
            if random.random() < 0.4:
                self.hardship.every_ns[name] = mean_ns
        if random.random() < 0.2:  # writers that outlive their owners, and write meanwhile
            settings.kill_ns_max, settings.write_ns_max = 150 * MS, 60 * MS
            self.hardship.every_ns["owner"] = STORE_STROKES["owner"] // 3
        return random.choice((2, 4, 6)) // settings.drivers

    def run(self) -> None:
        """Suffer, heal, end, rest.

        Raises:
            SimulationFailure: A promise was broken.
        """
        # A window that fills here too; limits.py's is 64 MiB.
        vars(executor)["ITEM_BYTES_UNACKED_MAX"] = self.window_bytes
        world, promises = self.cluster.world, self.cluster.promises
        self.cluster.begin()
        self.faults.begin()
        world.run(SAFETY_NS)
        self.faults.stop()
        healed = Disk(corrupt=self.cluster.settings.disk.corrupt)  # what it took is not healed
        self.cluster.settings.disk = self.cluster.memory.disk = healed
        self._revive()
        healed_ns = world.now_ns
        world.run(healed_ns + LIVENESS_NS_MAX, self._all_done)
        promises.hangs.all_done(self._undone())
        for program in self.programs:
            if not program.user.life.dead:
                program.user.drop_all()
        world.run(world.now_ns + REST_NS)
        promises.leaks.at_rest()
        promises.regions.at_rest()
        self.cluster.leave_all()
        world.run(world.now_ns + REST_NS)
        promises.leaks.at_rest()
        promises.regions.at_rest()
        promises.leaks.require(not self.cluster.living_workers(), "workers outlive their drivers")

    def _undone(self) -> list[str]:
        undone = [what for program in self.programs for what in program.undone()]
        if self.cluster.node is None or self.cluster.node.dead:
            undone.append("the node is dead")
        living = sum(1 for user in self.cluster.drivers.values() if not user.life.dead)
        if living < self.cluster.settings.drivers:
            undone.append("a driver has not come back")
        ready = {program.user.life.number for program in self.programs}
        undone += [
            f"{user.life.name} has no job"
            for user in self.cluster.drivers.values()
            if not user.life.dead and user.life.number not in ready
        ]
        return undone

    def _all_done(self) -> bool:
        self._looks += 1  # looking is dear, and nothing is lost by looking a little later
        return self._looks % 16 == 0 and not self._undone()

    def _begin_program(self, user: Consumer) -> None:
        if not any(program.user is user for program in self.programs):
            windows = self.windows
            program = self.program_class(self.cluster, user, self.activities, self.large, windows)
            program.gathers = self.gathers
            self.programs.append(program)
            if self.seed % 4 == 2:
                dice = Random(f"fickle {self.seed} {len(self.programs)}")
                count = FICKLE_COUNT // self.cluster.settings.drivers
                program.fickle = Fickle(program, dice, count)

    @property
    def counts(self) -> Mapping[str, int]:
        return {}

    def look_back(self, marks: Mapping[str, int]) -> None:
        """No mark is a failure here."""

    # -- strokes -----------------------------------------------------------------------------------
    def _worker(self) -> bool:
        workers = self.cluster.living_workers()
        if not workers:
            return False
        self.cluster.world.crash(self.cluster.world.random.choice(workers).life)
        return True

    def _one_of(self, lives: list[Life]) -> bool:
        """A worker among them dies."""
        workers = [life for life in lives if life.number in self.cluster.workers]
        if workers:
            self.cluster.world.crash(self.cluster.world.random.choice(workers))
        return bool(workers)

    def _zombie(self) -> bool:
        """Hold what a worker says, let it die, and let that arrive long afterwards."""
        world, random = self.cluster.world, self.cluster.world.random
        workers = [worker for worker in self.cluster.living_workers() if worker.body is not None]
        if not workers:
            return False
        life = random.choice(workers).life
        world.network.mute(life)
        world.at(random.randrange(50 * MS, 400 * MS), world.network.unmute, (life,))
        if random.random() < 0.5:
            world.network.cut(life)  # it dials again, and its hello is held too
        world.at(random.randrange(60 * MS), world.crash, (life,))
        return True

    def _owner(self) -> bool:
        """Somebody for whom another process writes just now dies."""
        lives = [life for life in self.cluster.memory.owners() if not life.dead]
        workers = [life for life in lives if life.number in self.cluster.workers]
        return self._one_of(workers) if workers else self._driver(lives)

    def _driver(self, lives: list[Life] | None = None) -> bool:
        if lives is None:
            lives = [user.life for user in self.cluster.drivers.values() if not user.life.dead]
        if not lives:
            return False
        life = self.cluster.world.random.choice(lives)
        self.cluster.world.crash(life)
        delay_ns = self.cluster.world.random.randrange(30 * MS)
        self.cluster.world.at(delay_ns, self._begin_driver_again, (life,))
        return True

    def _begin_driver_again(self, life: Life) -> None:
        if life.name not in self.cluster.world.lives:
            self.cluster.begin_driver(life.name)

    def _node(self) -> bool:
        """The node dies; its drivers must see everything end; then all begin again."""
        node = self.cluster.node
        if node is None or node.dead:
            return False
        self.cluster.world.crash(node)
        self.cluster.world.at(20 * MS, self._revive)
        return True

    def _revive(self) -> None:
        """Start everything again once the drivers of a dead node are done with it."""
        node, world = self.cluster.node, self.cluster.world
        if node is None or not node.dead:
            return
        for user in self.cluster.drivers.values():
            if user.life.dead:
                continue
            mine = [program for program in self.programs if program.user is user]
            for program in mine:
                program.stop()
            if any(program.undone() for program in mine):
                world.at(20 * MS, self._revive)
                return
            if mine:
                user.drop_all()
            world.end(user.life, "its node died")
        if not self.cluster.living_workers():
            self.cluster.begin()
        else:
            world.at(20 * MS, self._revive)


def run_seed(
    seed: int, trace: Trace | None = None, make: Callable[[int, Trace | None], Scenario] = Run
) -> Outcome:
    """Run one seed of a scenario and return what happened."""
    outcome = Outcome(seed)
    began = process_time()
    with Marks() as marks:
        run = make(seed, trace)
        world = run.cluster.world
        try:
            run.run()
            run.look_back(marks.counts)
        except SimulationFailure as failure:
            outcome.failure = failure
            outcome.lines = world.trace.lines()
        except (AssertionError, LookupError) as error:
            outcome.failure = SimulationFailure(Kind.CORRECTNESS, f"the test's own: {error!r}")
            outcome.lines = world.trace.lines()
    counts = world.network.counts
    outcome.digest = world.trace.digest()
    outcome.marks = marks.counts
    outcome.totals = {
        "processes": world.started_count,
        "deliveries": counts.delivered,
        "lost": counts.lost,
        "repeated": counts.repeated,
        "cuts": counts.cuts,
        "crashes": world.crashes_count,
        "pauses": world.pauses_count,
        "tasks": len(run.cluster.accounts),
        "calls": run.cluster.promises.actors.calls,
        "actors": len(run.cluster.actors),
        "starts": run.cluster.promises.executions.starts,
        "items": run.cluster.promises.items.items,
        "errors": sum(run.cluster.promises.errors.kinds.values()),
        "parked": run.cluster.promises.windows.parked,
        "regions given": run.cluster.counts.get("regions given", 0),
        "views": run.cluster.counts.get("views opened", 0),
        "spilled": run.cluster.counts.get("spilled", 0),
        "restored": run.cluster.counts.get("restored", 0),
        "copied": run.cluster.counts.get("copied", 0),
        "regions refused": run.cluster.promises.store.refusals,
        "regions lost": run.cluster.promises.store.losses,
        "cancelled": run.cluster.promises.cancels.ended,
        "far grants": getattr(getattr(run, "agree", None), "far_grants", 0),
        "refused from the dead": run.cluster.promises.dead.refused,
        **run.counts,
    }
    outcome.seconds = process_time() - began
    return outcome
