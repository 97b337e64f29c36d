"""What drivers do in a run: activities drawn from the seed, each a small program of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random

from tests.sim.cluster import Cluster
from tests.sim.fickle import Fickle
from tests.sim.programs import Consumer, Plan
from tests.sim.store_workloads import LargeValues
from tests.sim.windows import Windows
from zgen.ids import PUT_INDEX_FIRST, ObjectId, TaskId, object_id
from zgen.limits import MS, US
from zgen.wire.task import DYNAMIC, STREAMING
from zgen.wire.value import Value

#: Activities of one driver that run at a time.
ACTIVE_COUNT_MAX = 8


def draw_stream(random: Random, depth: int = 0) -> Plan:
    """Return a generator task: mostly yields, sometimes a crash or an error between them."""
    ops: list[list[object]] = []
    for _ in range(random.choice((1, 1, 2, 3))):
        count = random.choice((0, 1, 5, 20, 40, 80))
        delay_ns = random.choice((0, 50 * US, 400 * US, 1 * MS, 3 * MS))
        ops.append(["yield", count, delay_ns, random.choice((0, 0, 10, 300))])
        if random.random() < 0.2:
            ops.append(["die", random.choice((1, 1, 2))])
        if random.random() < 0.1:
            ops.append(["raise", random.choice((-1, 1, 2))])
    if depth == 0 and random.random() < 0.15:
        ops.insert(0, ["spawn", draw_task(random, 1).to_json()])
        ops.append(["gather"])
    return Plan(ops, STREAMING, draw_retries(random), draw_cpus(random))


def draw_task(random: Random, depth: int = 0) -> Plan:
    """Return a task with fixed results; sometimes it submits others and waits for them."""
    ops: list[list[object]] = []
    if random.random() < 0.5:
        ops.append(["sleep", random.choice((100 * US, 1 * MS, 3 * MS, 20 * MS))])
    if random.random() < 0.1:
        ops.append(["die", 1])
    if random.random() < 0.1:
        ops.append(["raise", random.choice((-1, 1, 4))])
    if depth < 2 and random.random() < 0.25:
        for _ in range(random.choice((1, 2))):
            child = (
                draw_task(random, depth + 1) if random.random() < 0.6 else draw_stream(random, 1)
            )
            ops.append(["spawn", child.to_json()])
        ops.append(["gather"])
    return Plan(ops, random.choice((1, 1, 1, 3)), draw_retries(random), draw_cpus(random))


def draw_retries(random: Random) -> int:
    return random.choice((0, 1, 3, 3, 3, -1))


def draw_cpus(random: Random) -> int:
    return random.choice((10_000, 10_000, 5_000, 0))


class Program:
    """One driver's user: begins activities one after another until told to stop."""

    def __init__(
        self,
        cluster: Cluster,
        user: Consumer,
        activities: int,
        large: int = 0,
        windows: Windows | None = None,
    ) -> None:
        self.cluster = cluster
        self.windows = windows
        self.gathers: Random | None = None
        self.user = user
        self.random = cluster.world.random
        self.parent = (cluster.root_task_of(user.life), 0)
        self.left = activities
        self.submitted = 0
        self.puts = 0
        #: What an activity waits for, by its number; removed when it is done.
        self.active: dict[str, str] = {}
        self._begun = 0
        #: References of finished activities that the user keeps for later arguments.
        self.kept: list[ObjectId] = []
        self.large = LargeValues(self, large)
        self.fickle: Fickle | None = None
        user.later(0, self._begin_more)

    def undone(self) -> list[str]:
        """Return what this driver still waits for; nothing if it is dead."""
        if self.user.life.dead:
            return []
        who = self.user.life.name
        return [f"{who}: {what}" for what in self.active.values()] + (
            [f"{who}: {self.left} activities to begin"] if self._to_begin() else []
        )

    def _to_begin(self) -> bool:
        fickle = self.fickle is not None and self.fickle.left
        return bool(self.left or self.large.left or fickle)

    def stop(self) -> None:
        """Begin nothing more."""
        self.left = self.large.left = 0
        if self.fickle is not None:
            self.fickle.left = 0

    def _begin_more(self) -> None:
        if self.left and len(self.active) < ACTIVE_COUNT_MAX:
            self.left -= 1
            self._begun += 1
            if self.windows is not None and self.windows.zips():
                self._zip(str(self._begun))
            elif self.gathers is not None and self.gathers.random() < 0.4:
                self._gather(str(self._begun), drops=self.gathers.random() < 0.3)
            else:
                self.random.choice(self.kinds())(str(self._begun))
        if self.large.left and self.random.random() < 0.5:
            self._begun += 1
            self.large.begin_one(str(self._begun))
        if self.left or self.large.left:
            self.user.later(self.random.randrange(8 * MS), self._begin_more)

    def kinds(self) -> tuple[Callable[[str], None], ...]:
        """Return what an activity may be."""
        return (self._stream, self._stream, self._stream, self._task, self._burst, self._chain)

    def submit(self, plan: Plan, slots: tuple[ObjectId, ...] = ()) -> TaskId:
        if self.windows is not None:
            self.windows.add_to(plan)
        task = self.user.submit(plan, self.parent, self.submitted, slots)
        self.submitted += 1
        return task

    def done(self, number: str) -> None:
        del self.active[number]

    # -- activities --------------------------------------------------------------------------------
    def _stream(self, number: str) -> None:
        """Read a stream: to its end, or until interest is lost; ``completed()`` sometimes."""
        stream = self.submit(draw_stream(self.random), self.slots())
        self.active[number] = f"stream {self.cluster.world.trace.show(stream)}"
        give_up = self.random.choice((None, None, None, 0, 3, 10))
        keep = self.random.random() < 0.3
        if self.random.random() < 0.2:
            name = self.user.complete(stream)
            key = f"{number} completed"
            self.active[key] = f"completion {self.cluster.world.trace.show(name)}"

            def completed(value: Value) -> None:
                self.cluster.promises.got(self.user, name, value)
                self.user.drop([name])
                self.done(key)

            if self.random.random() < 0.3:
                plan = draw_task(self.random, 2)
                after = self.submit(plan, (name, *self.slots()))
                self._results(f"{number} after", [(after, plan)])

            self.user.get(name, completed)
        seen = 0
        mine: list[ObjectId] = []

        def took(names: list[ObjectId], ended: bool) -> None:
            nonlocal seen
            self.cluster.promises.took(self.user, stream, names, ended)
            seen += len(names)
            mine.extend(names)
            gives_up = give_up is not None and seen >= give_up
            if not keep or ended or gives_up:
                self.user.drop(mine, (stream,) if ended or gives_up else ())
                mine.clear()
            if ended or gives_up:
                self.done(number)
                return
            self.user.later(self.random.choice((0, 200 * US, 2 * MS, 5 * MS)), read)

        def read() -> None:
            self.user.next(stream, self.random.choice((1, 1, 8, 64)), took)

        if give_up == 0:
            self.user.later(self.random.randrange(5 * MS), lambda: took([], False))
        else:
            read()

    def _zip(self, number: str) -> None:
        """Read two streams by turns, an item of each, to the end of both."""
        streams = [self.submit(draw_stream(self.random)) for _ in range(2)]
        self.active[number] = f"zip {self.cluster.world.trace.show(streams)}"

        def took(names: list[ObjectId], ended: bool) -> None:
            stream = streams[0]
            self.cluster.promises.took(self.user, stream, names, ended)
            self.user.drop(names, (stream,) if ended else ())
            streams.append(streams.pop(0))
            if ended:
                streams.remove(stream)
            if streams:
                self.user.next(streams[0], 1, took)
            else:
                self.done(number)

        self.user.next(streams[0], 1, took)

    def _gather(self, number: str, *, drops: bool) -> None:
        """Have all that a stream yields as one value, or lose interest in it."""
        plan = draw_stream(self.random)
        plan.returns = DYNAMIC
        name = object_id(self.submit(plan, self.slots()), 0)
        self.active[number] = f"gathered {self.cluster.world.trace.show(name)}"

        def forget() -> None:
            self.user.drop([name])
            self.done(number)

        def got(value: Value) -> None:
            self.cluster.promises.got(self.user, name, value)
            forget()

        if drops:
            self.user.later(self.random.randrange(20 * MS), forget)
        else:
            self.user.get(name, got)

    def _task(self, number: str) -> None:
        """Submit one task and get its results, or forget them."""
        plan = draw_task(self.random)
        self._results(number, [(self.submit(plan, self.slots()), plan)])

    def _burst(self, number: str) -> None:
        """Submit many short tasks at once and get all results."""
        plan = Plan([], 1, draw_retries(self.random), draw_cpus(self.random))
        tasks = [self.submit(plan) for _ in range(self.random.choice((5, 10, 20)))]
        self._results(number, [(task, plan) for task in tasks])

    def _chain(self, number: str) -> None:
        """Give a put, and the result of one task to the next, which may fail."""
        self.puts += 1
        put = object_id(self.parent[0], PUT_INDEX_FIRST + self.puts)
        self.user.put(put, b"put" + bytes(self.random.randrange(20)))
        before: tuple[ObjectId, ...] = (put, *self.slots())
        dropped: list[ObjectId] = [put]
        results: list[ObjectId] = []
        last: tuple[TaskId, Plan] | None = None
        for _ in range(self.random.choice((1, 2, 4))):
            plan = draw_task(self.random, 2)
            task = self.submit(plan, before)
            before = (*results[:1], object_id(task, plan.returns - 1), object_id(task, 0))
            dropped += results
            last = (task, plan)
            results = [object_id(task, index) for index in range(plan.returns)]
        assert last is not None
        self.user.drop(dropped)
        self._results(number, [last])

    def slots(self) -> tuple[ObjectId, ...]:
        """Return arguments for a task: results that the user still holds, sometimes."""
        if self.kept and self.random.random() < 0.3:
            return tuple(self.random.choices(self.kept, k=self.random.choice((1, 1, 2))))
        return ()

    def _results(self, number: str, tasks: list[tuple[TaskId, Plan]]) -> None:
        """Get the results of tasks; keep some and drop the others, or drop them all unseen."""
        names = [object_id(task, index) for task, plan in tasks for index in range(plan.returns)]
        if self.random.random() < 0.15:
            self.active[number] = "dropping"

            def forget() -> None:
                self.user.drop(names)
                self.done(number)

            self.user.later(self.random.randrange(10 * MS), forget)
            return
        waits = len(names)
        self.active[number] = f"results {self.cluster.world.trace.show(names[0])}"

        def got(name: ObjectId, value: Value) -> None:
            self.cluster.promises.got(self.user, name, value)
            self.user.store.read([name], 0, partial(read, name))

        def read(name: ObjectId) -> None:
            nonlocal waits
            waits -= 1
            if len(self.kept) < 4:
                self.kept.append(name)
            else:
                self.user.drop([name])
            if not waits:
                self.done(number)

        for name in names:
            self.user.get(name, partial(got, name))
