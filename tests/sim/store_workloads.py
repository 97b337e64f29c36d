"""What drivers do with large values: streams, results, puts and arguments in shared memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from tests.sim.programs import NOWHERE, Plan
from tests.sim.store_user import NO_STREAM
from zgen.ids import PUT_INDEX_FIRST, ObjectId, PeerId, TaskId, object_id
from zgen.limits import INLINE_BYTES_MAX, MS, SECOND, US
from zgen.wire.task import STREAMING
from zgen.wire.value import Stored, Value

if TYPE_CHECKING:
    from tests.sim.workloads import Program

#: Puts of large values have indexes of their own.
LARGE_PUT_INDEX_FIRST = PUT_INDEX_FIRST + 10_000
#: Activities with large values that run at a time.
LARGE_COUNT_MAX = 4


def draw_size(random: Random, capacity_bytes: int) -> int:
    """Return the bytes of a large value; very rarely it is too large for the whole store."""
    if random.random() < 0.03:
        return capacity_bytes + 1
    if capacity_bytes >= 64 << 20 and random.random() < 0.2:
        return random.choice((9, 9, 12)) << 20  # a slab of its own
    few = max(INLINE_BYTES_MAX + 1, capacity_bytes // random.choice((3, 4, 6)))
    return random.choice((110_000, 110_000, 130_000, 200_000, min(few, 1 << 20)))


def draw_large_stream(random: Random, capacity_bytes: int) -> Plan:
    """Return a generator of large items, with small ones and deaths between them."""
    size = draw_size(random, capacity_bytes)
    ops: list[list[object]] = []
    for _ in range(random.choice((1, 1, 2))):
        delay_ns = random.choice((0, 0, 400 * US, 2 * MS))
        ops.append(["yield", random.choice((1, 4, 8, 16)), delay_ns, size])
        if random.random() < 0.2:
            ops.append(["yield", 3, 0, 10])
        if random.random() < 0.2:
            ops.append(["waste", size])
        if random.random() < 0.25:
            ops.append(["die", random.choice((1, 1, 2))])
        if random.random() < 0.1:
            ops.append(["raise", random.choice((-1, 1, 2))])
    retries = random.choice((0, 1, 3, 3, -1))
    return Plan(ops, STREAMING, retries, random.choice((10_000, 5_000, 0)))


def draw_large_task(random: Random, capacity_bytes: int, depth: int = 0) -> Plan:
    """Return a task with large results; sometimes it reads those of others."""
    ops: list[list[object]] = []
    if random.random() < 0.5:
        ops.append(["sleep", random.choice((100 * US, 1 * MS, 10 * MS))])
    if random.random() < 0.15:
        ops.append(["die", 1])
    if not depth and random.random() < 0.4:
        for draw in random.choices((draw_large_stream, draw_large_task), k=random.choice((1, 2))):
            args = (
                (random, capacity_bytes)
                if draw is draw_large_stream
                else (random, capacity_bytes, 1)
            )
            ops.append(["spawn", draw(*args).to_json()])
        ops.append(["gather"])
    retries, cpus = random.choice((0, 1, 3, -1)), random.choice((10_000, 5_000, 0))
    size = draw_size(random, capacity_bytes)
    return Plan(ops, random.choice((1, 1, 2)), retries, cpus, size)


class LargeValues:
    """One driver's use of large values."""

    def __init__(self, program: Program, activities: int) -> None:
        self.program = program
        self.user = program.user
        self.store = program.user.store
        self.random = program.random
        self.left = activities
        self.active = 0
        self.puts = 0
        self.capacity_bytes = program.cluster.settings.store_bytes

    def begin_one(self, number: str) -> None:
        """Begin an activity, if there is one to begin and not too many run."""
        if not self.left or self.active >= LARGE_COUNT_MAX:
            return
        self.left -= 1
        self.active += 1
        self.random.choice((self._stream, self._stream, self._tasks, self._put, self._put))(number)

    def _done(self, number: str) -> None:
        self.active -= 1
        self.program.done(number)

    # -- streams -----------------------------------------------------------------------------------
    def _stream(self, number: str) -> None:
        """Read a stream with some views open behind the cursor; slowly, late, or not to its end."""
        plan = draw_large_stream(self.random, self.capacity_bytes)
        stream = self.program.submit(plan, self.program.slots())
        self.program.active[number] = f"large {self.program.cluster.world.trace.show(stream)}"
        reader = Reader(self, stream, plan, partial(self._done, number))
        how = self.random.randrange(8)
        is_wide = not (plan.window or plan.window_bytes)
        if how == 0 and is_wide:  # wait for the end before anything is taken
            name = self.user.complete(stream)

            def completed(value: Value) -> None:
                self.program.cluster.promises.got(self.user, name, value)
                self.user.drop([name])
                reader.begin()

            self.user.get(name, completed)
        elif how == 1:  # take nothing for very long
            self.user.later(self.random.randrange(12 * SECOND), reader.begin)
        else:
            reader.begin()

    # -- results and arguments ---------------------------------------------------------------------
    def _tasks(self, number: str) -> None:
        """Submit tasks with large results, and give them to others."""
        random = self.random
        plan = draw_large_task(random, self.capacity_bytes)
        task = self.program.submit(plan, self.program.slots())
        names = [object_id(task, index) for index in range(plan.returns)]
        self.program.active[number] = f"large {self.program.cluster.world.trace.show(task)}"
        self._use(number, names)

    def _put(self, number: str) -> None:
        """Put a value and give it to several tasks."""
        self.puts += 1
        name = object_id(self.program.parent[0], LARGE_PUT_INDEX_FIRST + self.puts)
        size = draw_size(self.random, self.capacity_bytes)
        template = Stored(PeerId(b""), 0, NOWHERE, b"put" + name[-4:], (size,))
        self.program.active[number] = f"put of {size} bytes"

        def written(value: Stored | None) -> None:
            if value is None:
                self._done(number)
            elif self.random.random() < 0.1:
                self.store.unused([value])
                self._done(number)
            else:
                self.store.reported((value,))
                self.user.put(name, value)
                self._use(number, [name])

        me = self.user.life
        self.store.write(me, me.address.peer, NO_STREAM, template, written)

    def _use(self, number: str, names: list[ObjectId]) -> None:
        """Give objects to tasks, read them, and drop them, before or after their views go."""
        random, results = self.random, []  # type: tuple[Random, list[ObjectId]]
        for _ in range(random.choice((0, 1, 2, 4))):
            plan = Plan([["sleep", random.randrange(1, 4 * MS)]], 1, 3, random.choice((5_000, 0)))
            slots = tuple(random.choices(names, k=random.choice((1, 1, 2))))
            results.append(object_id(self.program.submit(plan, slots), 0))
        self._await([*names, *results] if random.random() < 0.8 else results, number, names)

    def _await(self, waits: list[ObjectId], number: str, names: list[ObjectId]) -> None:
        left = list(waits)
        early = self.random.random() < 0.3

        def next_one() -> None:
            if left:
                self.user.get(left[-1], got)
                return
            if early:  # the views of what is dropped here have gone or have yet to go
                self._drop([name for name in waits if name not in names])
            else:
                self._drop(list(dict.fromkeys([*names, *waits])))
            self._done(number)

        def got(value: Value) -> None:
            name = left.pop()
            self.program.cluster.promises.got(self.user, name, value)
            hold_ns = self.random.choice((0, 1 * MS, 10 * MS))
            if early and name in names:
                self._read_and_drop(name, hold_ns, next_one)
            else:
                self.store.read([name], hold_ns, next_one)

        if early:
            self._drop([name for name in names if name not in waits])
        next_one()

    def _read_and_drop(self, name: ObjectId, hold_ns: int, then: Callable[[], None]) -> None:
        """Open a view, drop the object, and close the view later."""
        if type(self.user.owner.refs.value_of(name)) is not Stored:
            self._drop([name])
            then()
            return

        def opened(region: int | None) -> None:
            self._drop([name])
            if region is None:
                then()
            else:
                self.user.later(hold_ns, partial(closed, region))

        def closed(region: int) -> None:
            self.store.close([region])
            then()

        self.store.open(name, opened)

    def _drop(self, names: list[ObjectId]) -> None:
        """Drop objects, or keep one as an argument of other tasks."""
        kept = self.program.kept
        if names and len(kept) < 2 and self.random.random() < 0.2:
            kept.append(names.pop())
        if names:
            self.user.drop(names)


class Reader:
    """Reads one stream of large items."""

    def __init__(
        self, large: LargeValues, stream: TaskId, plan: Plan, done: Callable[[], None]
    ) -> None:
        random = large.random
        self.large = large
        self.user = large.user
        self.stream = stream
        self.done = done
        self.pace_ns = random.choice((0, 0, 500 * US, 5 * MS, 20 * MS))
        self.at_a_time = random.choice((1, 1, 8))
        self.gives_up = random.choice((None, None, None, 1, 3))
        sizes = [int(op[3]) for op in plan.ops if op[0] == "yield"]
        fits = large.capacity_bytes // 6 // max(sizes)
        #: Views kept open behind the cursor.
        self.window = min(fits, random.choice((0, 1, 3)))
        #: Whether the references of what is read are kept up to the end.
        self.keeps = random.random() < 0.4
        self.views: deque[int] = deque()
        self.refs: list[ObjectId] = []
        self.seen = 0

    def begin(self) -> None:
        self.user.next(self.stream, self.at_a_time, self._took)

    def _took(self, names: list[ObjectId], ended: bool) -> None:
        self.large.program.cluster.promises.took(self.user, self.stream, names, ended)
        self.seen += len(names)
        self._read(deque(names), ended)

    def _read(self, names: deque[ObjectId], ended: bool) -> None:
        """Open a view of each, one after the other, then go on."""
        if names:
            name = names.popleft()
            then = partial(self._opened, name, names, ended)
            if type(self.user.owner.refs.value_of(name)) is Stored:
                self.large.store.open(name, then)
            else:
                then(None)
        elif ended or (self.gives_up is not None and self.seen >= self.gives_up):
            self._end()
        else:
            self.user.later(self.pace_ns, self.begin)

    def _opened(
        self, name: ObjectId, names: deque[ObjectId], ended: bool, region: int | None
    ) -> None:
        if self.keeps:
            self.refs.append(name)
        else:
            self.user.drop([name])
        if region is not None:
            self.views.append(region)
        while len(self.views) > self.window:
            self.large.store.close([self.views.popleft()])
        self._read(names, ended)

    def _end(self) -> None:
        """Let go of everything, the views first or last."""
        views_first = self.large.random.random() < 0.5
        if views_first:
            self.large.store.close(list(self.views))
        self.user.drop(self.refs, (self.stream,))
        if views_first or not self.views:
            self.done()
            return

        def close() -> None:
            self.large.store.close(list(self.views))
            self.done()

        self.user.later(self.large.random.randrange(10 * MS), close)
