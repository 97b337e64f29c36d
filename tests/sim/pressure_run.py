"""Streams whose consumers hold them back: by items, by bytes, and by all streams of an actor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from tests.sim.actor_run import ActorProgram, ActorRun, draw_settings
from tests.sim.oracles_flow import WindowsKept
from tests.sim.programs import Consumer, Plan
from tests.sim.rebuild_run import LARGE_BYTES
from tests.sim.run import Outcome, run_seed
from tests.sim.together import CHOICES
from tests.sim.windows import Windows
from tests.sim.workloads import draw_retries
from zgen.core.effects import Effect, ItemsTaken
from zgen.core.events import Event, TakeItems, Yielded
from zgen.core.stream_words import YieldedTogether
from zgen.ids import ActorId, TaskId, handle_object
from zgen.limits import MS, US
from zgen.sim.trace import Trace
from zgen.sim.world import Life
from zgen.wire.actor import ActorSettings
from zgen.wire.task import STREAMING
from zgen.wire.value import whole_bytes

if TYPE_CHECKING:
    from tests.sim.cluster import Cluster, Worker

#: Windows in bytes: narrower than any item, as wide as some, as one large one, as several.
CHOICES_BYTES = (0, 1, 30, 100, 1_000, LARGE_BYTES, 3 * LARGE_BYTES)
SIZES_BYTES = (0, 0, 10, 50, 300, LARGE_BYTES)


class Pressure(Windows):
    """Windows of both kinds."""

    def add_to(self, plan: Plan) -> None:
        """Give a task and those that it submits windows, where they are streams."""
        super().add_to(plan)
        plan.window_bytes = self._bytes_of(plan.returns)
        self._add_bytes_to_children(plan.ops)
        if plan.returns == STREAMING:
            plan.per_yield = self.random.choice(CHOICES)
            for op in plan.ops:
                if op[0] == "yield":
                    op[1] *= plan.per_yield

    def _add_bytes_to_children(self, ops: list[list[Any]]) -> None:
        for op in ops:
            if op[0] in ("spawn", "call"):
                ops_of_child, returns = op[-1][:2]
                op[-1][5:] = [self._of(returns), op[-1][6], self._bytes_of(returns)]
                self._add_bytes_to_children(ops_of_child)

    def _bytes_of(self, returns: int) -> int:
        return self.random.choice(CHOICES_BYTES) if returns == STREAMING else 0


class PressureKept(WindowsKept):
    """Never more bytes than the window wait that the consumer has not taken, or one item alone.

    Of an actor never more of all its streams than it may have, beside the oldest of each.
    """

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        #: Stream -> bytes of items that were handed over, but not certainly taken.
        self._handed: dict[TaskId, list[int]] = {}
        #: Looks at streams that had a window in bytes and more than one item waiting.
        self.looks = 0
        #: Looks at actors with a limit that had several streams waiting.
        self.looks_at_actors = 0

    def after_step(self, life: Life, event: Event, effects: list[Effect]) -> None:
        if type(event) is TakeItems:
            for effect in effects:
                if type(effect) is ItemsTaken:
                    self._look_at_owner(life, effect)
        super().after_step(life, event, effects)
        is_yield = isinstance(event, (Yielded, YieldedTogether))
        if is_yield and life.number in self.cluster.workers:
            self._look_at_actor(self.cluster.workers[life.number])

    def _look_at_owner(self, life: Life, taken: ItemsTaken) -> None:
        stream = taken.stream
        user = self.cluster.users[life.number]
        now = [whole_bytes(user.owner.refs.records[name].value or b"") for name in taken.objects]
        now = self._yields(stream, now)
        sizes = [*self._handed.get(stream, []), *now, *self._unread(user, stream)]
        self._handed[stream] = now[1:]
        window_bytes = self.cluster.accounts[stream].plan.window_bytes
        if not window_bytes or user.owner.streams.streams[stream].ended:
            return  # an error may stand behind the items
        self.looks += len(sizes) > 1
        self.require(
            sum(sizes) <= window_bytes or len(sizes) == 1,
            f"items of {sizes} bytes wait, of a window of {window_bytes}",
        )

    def _look_at_actor(self, worker: Worker) -> None:
        actor = worker.actor
        if actor is None or actor not in self.cluster.actors:
            return
        settings = self.cluster.actors[actor].settings
        if not (settings.max_pending_items or settings.max_pending_bytes):
            return
        waiting = [self._waiting(worker, stream) for stream in worker.bodies]
        waiting = [sizes for sizes in waiting if sizes]
        self.looks_at_actors += len(waiting) > 1
        most, most_bytes = settings.max_pending_items, settings.max_pending_bytes
        more = [size for sizes in waiting for size in sizes[1:]]
        count = sum(map(len, waiting))
        self.require(
            not most or count <= max(most, 1) + len(waiting),
            f"{count} items of {len(waiting)} streams of an actor wait, which may have {most}",
        )
        self.require(
            not most_bytes or sum(more) <= most_bytes,
            f"{sum(more)} bytes of an actor wait beside the first items, it may have {most_bytes}",
        )

    def _waiting(self, worker: Worker, stream: TaskId) -> list[int]:
        """Return the sizes of what waits of a stream, as far as its owner has it."""
        body, account = worker.bodies[stream], self.cluster.accounts[stream]
        user = self.cluster.user_of(account.owner)
        if account.owner.dead or user is None or stream not in user.handles:
            return []
        record = user.owner.streams.streams.get(stream)
        cut = body.attempt in account.interrupts or body.pushed.wanted
        if cut or record is None or record.ended or record.attempt != body.attempt:
            return []
        return [*self._handed.get(stream, []), *self._unread(user, stream)]

    def _unread(self, user: Consumer, stream: TaskId) -> list[int]:
        unread = user.owner.streams.streams[stream].unread
        return self._yields(stream, list(map(whole_bytes, unread)))

    def _yields(self, stream: TaskId, sizes: list[int]) -> list[int]:
        """Return the bytes of each yield, of sizes of items."""
        each = self.cluster.accounts[stream].plan.per_yield
        return [sum(sizes[at : at + each]) for at in range(0, len(sizes), each)]


class PressureProgram(ActorProgram):
    """A user of streams and actors that are held back."""

    def kinds(self) -> Any:
        return (self._heavy, self._heavy, self._heavy, self._actor, self._actor, self._stream)

    def _heavy(self, number: str) -> None:
        """Read a stream whose items differ much in size, at any pace, sometimes late."""
        stream = self.submit(self._draw(), self.slots())
        if self.random.random() < 0.4:
            self.active[number] = f"late {self.cluster.world.trace.show(stream)}"
            self.user.later(
                self.random.choice((5, 40, 150)) * MS, lambda: self._read(number, stream)
            )
        else:
            self._read(number, stream)

    def _draw(self) -> Plan:
        random = self.random
        ops: list[list[object]] = [["resume"]] if random.random() < 0.4 else []
        for _ in range(random.choice((1, 2, 4, 6))):
            delay_ns = random.choice((0, 0, 50 * US, 1 * MS))
            ops.append(
                ["yield", random.choice((1, 2, 5, 20)), delay_ns, random.choice(SIZES_BYTES)]
            )
            if random.random() < 0.15:
                ops.append([random.choice(("die", "raise")), random.choice((1, 2))])
        return Plan(ops, STREAMING, draw_retries(random), random.choice((0, 0, 10_000)))

    def settings(self, name: str) -> ActorSettings:
        random = self.random
        settings = draw_settings(random, name)
        if settings.max_concurrency == 1 and random.random() < 0.5:
            settings = replace(settings, max_concurrency=4)
        return replace(
            settings,
            max_pending_items=random.choice((0, 0, 1, 2, 5, 20)),
            max_pending_bytes=random.choice(CHOICES_BYTES),
        )

    def call_plan(self) -> Plan:
        plan = self._draw() if self.random.random() < 0.7 else super().call_plan()
        plan.cpus = 0
        return plan


class CrowdProgram(PressureProgram):
    """A user of actors with many streams at a time, and of streams that die full, all read late."""

    def kinds(self) -> Any:
        return (*super().kinds(), *(self._crowd, self._die_full) * 3)

    def _crowd(self, number: str) -> None:
        """Call an actor for some streams that share what may wait of them."""
        random = self.random
        most, most_bytes = random.choice(((2, 0), (5, 0), (0, 100), (0, 1_000), (5, 1_000)))
        settings = ActorSettings(
            0, max_concurrency=4, max_pending_items=most, max_pending_bytes=most_bytes
        )
        actor = ActorId(self._next())
        self.user.create(settings, Plan([], 1, 0, 0), actor)
        late_ns = random.choice((40, 100)) * MS
        for each in range(4):
            plan = Plan([["yield", 20, 0, random.choice((0, 50))]], STREAMING, 0, 0)
            stream = self.user.call(actor, plan, self.parent, self.submitted)
            self.submitted += 1
            name = f"{number}.{each}"
            self.active[name] = f"crowd {self.cluster.world.trace.show(stream)}"
            self.user.later(late_ns, partial(self._read, name, stream))
        self.active[number] = f"actor {self.cluster.world.trace.show(actor)}"
        self.user.later(late_ns, partial(self._let_go, number, actor))

    def _let_go(self, number: str, actor: ActorId) -> None:
        if self.user.owner.actors.pending_count(actor):
            self.user.later(4 * MS, partial(self._let_go, number, actor))
        else:
            self.user.drop([handle_object(actor)])
            self.done(number)

    def _die_full(self, number: str) -> None:
        """Read a stream late whose worker dies with as much unread as may be, and which goes on."""
        count, size = self.random.choice((2, 5, 10)), self.random.choice((50, 300))
        part: list[Any] = ["yield", count, 0, size]
        ops: list[list[Any]] = [["resume"], part, ["sleep", 5 * MS], ["die", 1], part]
        plan = Plan(ops, STREAMING, 3, 0, window_bytes=count * size + 8 * count)
        stream = self.user.submit(plan, self.parent, self.submitted)
        self.submitted += 1
        self.active[number] = f"full {self.cluster.world.trace.show(stream)}"
        self.user.later(self.random.choice((60, 200)) * MS, partial(self._read, number, stream))


class PressureRun(ActorRun):
    """A cluster whose users hold back what they read."""

    program_class = PressureProgram

    def __init__(self, seed: int, trace: Trace | None = None) -> None:
        super().__init__(seed, trace)
        if seed % 3 == 2:
            self.program_class = CrowdProgram
        self.windows = Pressure(Random(f"pressure {seed}"))
        self.gathers = None
        self.kept = self.cluster.promises.windows = PressureKept(self.cluster)

    @property
    def counts(self) -> Mapping[str, int]:
        return {
            "looks at bytes": self.kept.looks,
            "looks at actors": self.kept.looks_at_actors,
            "resumed": self.kept.resumptions,
            "yields of several items": self.cluster.promises.whole.yields,
            "failures beside them": self.cluster.promises.whole.failures,
        }


def run_pressure(seed: int, trace: Trace | None = None) -> Outcome:
    """Run one seed of this scenario."""
    return run_seed(seed, trace, PressureRun)
