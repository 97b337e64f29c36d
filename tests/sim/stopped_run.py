"""Streams that lose items while they run: parked, endless, or read by nobody any more."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.sim.ends_run import ENDLESS
from tests.sim.memory import Disk
from tests.sim.programs import Plan
from tests.sim.rebuild_run import KEPT_NS_MAX, LARGE_BYTES, RebuildRun, Rebuilds
from tests.sim.run import Outcome, run_seed
from zgen.ids import ActorId, ObjectId, TaskId, derive_task_id, handle_object
from zgen.limits import MS
from zgen.sim.trace import Trace
from zgen.wire.actor import ActorSettings
from zgen.wire.task import STREAMING


class Stopped(Rebuilds):
    """A user who reads items late, whose streams go on only when he has read them."""

    def kinds(self) -> tuple[Callable[[str], None], ...]:
        return (self._plain, self._plain, self._plain, self._of_actor, self._items)

    def _plain(self, number: str) -> None:
        is_endless = self._may_be_endless()
        stream = self.submit(self._draw(is_endless=is_endless))
        self._read_late(number, stream, [], is_endless=is_endless)

    def _of_actor(self, number: str) -> None:
        """The same by an actor, which may run other calls meanwhile."""
        is_endless = self._may_be_endless()
        self.submitted += 1
        actor = ActorId(derive_task_id(*self.parent, self.submitted - 1))
        settings = ActorSettings(-1, max_concurrency=self.random.choice((1, 1, 3)))
        self.user.create(settings, Plan([], 1, -1, 0), actor)
        plan = self._draw(is_endless=is_endless)
        plan.cpus = 0
        stream = self.user.call(actor, plan, self.parent, self.submitted)
        self.submitted += 1
        self._read_late(number, stream, [handle_object(actor)], is_endless=is_endless)

    def _may_be_endless(self) -> bool:
        """Draw whether a stream is; not where tasks are cancelled, whose bodies may go on."""
        return not self.cluster.cancels and self.random.random() < 0.5

    def _draw(self, *, is_endless: bool) -> Plan:
        random = self.random
        ops: list[list[object]] = [["resume"]] if random.random() < 0.3 else []
        ops.append(["yield", random.choice((2, 4, 6)), random.choice((0, 2 * MS)), LARGE_BYTES])
        if is_endless:
            ops.append(["yield", ENDLESS, random.choice((2 * MS, 10 * MS)), 10])
        else:
            ops.append(["yield", random.choice((0, 1, 8)), 1 * MS, 10])
        window = random.choice((0, 1, 1, 2, 3))
        return Plan(ops, STREAMING, random.choice((0, 1, 3, -1, -1)), self._cpus(), window=window)

    def _read_late(
        self, number: str, stream: TaskId, others: list[ObjectId], *, is_endless: bool
    ) -> None:
        """Take some items, and read them late, before any more of them; then go on, or close."""
        random = self.random
        self.active[number] = f"late items {self.cluster.world.trace.show(stream)}"
        left = random.choice((1, 2, 4))
        names: list[ObjectId] = []
        drops_handle = not is_endless and random.random() < 0.3
        is_over = False

        def took(taken: list[ObjectId], ended: bool) -> None:
            nonlocal is_over, left
            self.cluster.promises.took(self.user, stream, taken, ended)
            names.extend(taken)
            left -= len(taken)
            is_over = ended
            if ended or left <= 0:
                if drops_handle:
                    self.user.drop([], (stream,))
                self.user.later(random.randrange(KEPT_NS_MAX), look)
            else:
                self.user.next(stream, 1, took)

        def look() -> None:
            large = [name for name in names if self._lies(name)]
            self.user.store.read(large, random.choice((0, 1 * MS)), go_on)

        def go_on() -> None:
            if drops_handle:
                self.user.drop([*names, *others])
            elif is_over or is_endless or random.random() < 0.3:
                if not is_over:
                    self.user.close(stream)
                self.user.drop([*names, *others], (stream,))
            else:
                self.user.next(stream, 8, rest)
                return
            self.done(number)

        def rest(taken: list[ObjectId], ended: bool) -> None:
            nonlocal is_over
            self.cluster.promises.took(self.user, stream, taken, ended)
            names.extend(taken)
            is_over = ended
            go_on()

        self.user.next(stream, 1, took)


class StoppedRun(RebuildRun):
    """Disks that lose what they have, and nodes that cannot read what others want of them."""

    def __init__(self, seed: int, trace: Trace | None = None) -> None:
        super().__init__(seed, trace)
        dice = Random(f"stopped {seed}")
        settings = self.cluster.settings
        settings.store_bytes = dice.choice((1, 1, 4)) << 20
        settings.disk = Disk(corrupt=dice.choice((0.0, 0.5)))
        settings.disk.unsent = dice.choice((0.05, 0.2))
        self.cluster.differing = None
        self.cluster.cancels = dice.choice((0.0, 0.0, 0.1))
        self.program_class = Stopped
        if dice.random() < 0.7:
            for name in ("machine", "lost", "worker", "zombie"):
                self.hardship.every_ns.pop(name, None)


def run_stopped(seed: int, trace: Trace | None = None) -> Outcome:
    """Run one seed of this scenario."""
    return run_seed(seed, trace, StoppedRun)
