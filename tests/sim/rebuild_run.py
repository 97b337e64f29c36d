"""Nodes that go with what lies there: chains, diamonds, streams and calls that are made again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random

from tests.sim.copies_run import CopiesRun
from tests.sim.memory import Disk
from tests.sim.nodes_run import Placed
from tests.sim.programs import Plan
from tests.sim.run import Outcome, run_seed
from zgen.ids import (
    PUT_INDEX_FIRST,
    ActorId,
    ObjectId,
    TaskId,
    derive_task_id,
    handle_object,
    object_id,
    task_of,
)
from zgen.limits import MS, US
from zgen.sim.trace import Trace
from zgen.sim.world import Life
from zgen.wire.actor import ActorSettings
from zgen.wire.task import DYNAMIC, STREAMING
from zgen.wire.value import Stored, Value

LARGE_BYTES = 110_000
#: Puts of this scenario have indexes of their own.
PUTS_FIRST = PUT_INDEX_FIRST + 50_000
#: Who has made something looks at it after at most this long: meanwhile a node may go.
KEPT_NS_MAX = 300 * MS


class Rebuilds(Placed):
    """One driver's user, who keeps references to large values and reads them late."""

    def kinds(self) -> tuple[Callable[[str], None], ...]:
        if self.cluster.differing is not None:
            return (*(self._items,) * 4, self._links)
        usual = (self._links, self._links, self._diamond, self._items, self._items)
        return (*usual, self._gathered, self._calls, self._nested)

    # -- activities --------------------------------------------------------------------------------
    def _links(self, number: str) -> None:
        """Each task takes the result of the one before, and perhaps a put; most results go."""
        before: tuple[ObjectId, ...] = self._put() if self.random.random() < 0.4 else ()
        dropped = list(before)
        held: list[ObjectId] = []
        for _ in range(self.random.choice((1, 2, 3, 5))):
            plan = self._plan(self.random.choice((1, 1, 2)))
            task = self.submit(plan, before)
            names = [object_id(task, index) for index in range(plan.returns)]
            before = (names[-1],)
            (held if self.random.random() < 0.5 else dropped).extend(names)
        if not held:
            held, dropped = dropped[-1:], dropped[:-1]
        self._keep(number, held, dropped)

    def _diamond(self, number: str) -> None:
        """Two tasks take one result, and a fourth one both of theirs."""
        top = object_id(self.submit(self._plan(1)), 0)
        sides = [object_id(self.submit(self._plan(1), (top,)), 0) for _ in range(2)]
        bottom = object_id(self.submit(self._plan(1), tuple(sides)), 0)
        self._keep(number, [bottom], [top, *sides])

    def _items(self, number: str) -> None:
        """All items of a stream are kept; its handle goes at its end, or before."""
        count = self.random.choice((1, 3, 6))
        delay_ns = self.random.choice((0, 2 * MS, 40 * MS))
        ops: list[list[object]] = [["yield", count, delay_ns, LARGE_BYTES]]
        eager = self.random.random() < 0.5
        if self.random.random() < 0.5:
            ops.append(["yield", 2, 0, 10])
        if self.random.random() < 0.3:
            ops.append(["sleep", 30 * MS])
        if self.random.random() < 0.1:
            ops.append(["raise", -1])
        differing = self.cluster.differing
        if differing is not None and differing.random() < 0.7:
            self._differ(ops, differing)
        plan = Plan(ops, STREAMING, self._retries(), self._cpus())
        stream = self.submit(plan)
        self.active[number] = f"items {self.cluster.world.trace.show(stream)}"
        names: list[ObjectId] = []
        last = self.random.choice((None, None, 1, 4))

        def took(taken: list[ObjectId], ended: bool) -> None:
            self.cluster.promises.took(self.user, stream, taken, ended)
            names.extend(taken)
            if ended or (last is not None and len(names) >= last):
                self.user.drop([], (stream,))
                self._late(number, names)
            elif eager and self._lies(names[0]):  # it may go while its stream runs
                self.user.store.read(names[:1], 0, partial(self.user.later, 2 * MS, read))
            else:
                self.user.later(self.random.choice((0, 200 * US, 20 * MS)), read)

        def read() -> None:
            self.user.next(stream, self.random.choice((1, 8)), took)

        self.user.later(self.random.choice((0, 0, 80 * MS)), read)

    @staticmethod
    def _differ(ops: list[list[object]], dice: Random) -> None:
        """Let a stream do otherwise where it runs again for items that were lost."""
        how = dice.choice(("more", "more", "raise", "early", "small"))
        if how == "early":
            ops += [["differ", how], ["yield", 1, 0, 10]]
        elif how == "small":
            ops.insert(0, ["differ", how])
        else:
            ops.append(["differ", how])

    def _gathered(self, number: str) -> None:
        """All that a task yields is one value, which keeps its items."""
        plan = Plan([["yield", 3, 0, LARGE_BYTES]], DYNAMIC, self._retries(), self._cpus())
        self._keep(number, [object_id(self.submit(plan), 0)], [])

    def _calls(self, number: str) -> None:
        """Calls of an actor that may be repeated, each of which takes the result of the one before.

        Its handle goes last.
        """
        self.submitted += 1
        actor = ActorId(derive_task_id(*self.parent, self.submitted - 1))
        concurrency = self.random.choice((1, 1, 3))
        settings = ActorSettings(-1, max_concurrency=concurrency)
        self.user.create(settings, Plan([], 1, -1, 0), actor)
        before: tuple[ObjectId, ...] = ()
        held: list[ObjectId] = [handle_object(actor)]
        dropped: list[ObjectId] = []
        for _ in range(self.random.choice((1, 2, 4))):
            retries = self.random.choice((0, 3, -1, -1))
            plan = Plan([], 1, retries, 0, LARGE_BYTES)
            call = self.user.call(actor, plan, self.parent, self.submitted, before)
            self.submitted += 1
            before = (object_id(call, 0),)
            (held if self.random.random() < 0.6 else dropped).extend(before)
        self._keep(number, held, dropped)

    def _nested(self, number: str) -> None:
        """A worker makes what may be lost, and reads it late."""
        children = [["spawn", self._plan(1).to_json()] for _ in range(3)]
        late = ["sleep", self.random.choice((10, 60, 150)) * MS]
        plan = Plan([*children, late, ["gather"]], 1, 3, self._cpus())
        self._keep(number, [object_id(self.submit(plan), 0)], [])

    # -- inside ------------------------------------------------------------------------------------
    def _plan(self, returns: int) -> Plan:
        sleep = ["sleep", self.random.choice((100 * US, 1 * MS, 10 * MS))]
        size = LARGE_BYTES if self.random.random() < 0.8 else 10
        return Plan([sleep], returns, self._retries(), self._cpus(), size)

    def _retries(self) -> int:
        return self.random.choice((0, 1, 3, 3, 3, -1))

    def _cpus(self) -> int:
        return self.random.choice((10_000, 5_000, 0))

    def _put(self) -> tuple[ObjectId, ...]:
        self.puts += 1
        put = object_id(self.parent[0], PUTS_FIRST + self.puts)
        self.user.put(put, b"put" + bytes(self.random.randrange(20)))
        return (put,)

    def _keep(self, number: str, held: list[ObjectId], dropped: list[ObjectId]) -> None:
        """Wait for what is held, drop the rest, and read it late."""
        self.active[number] = f"kept {self.cluster.world.trace.show(held)}"
        left = list(held)

        def got(name: ObjectId, value: Value) -> None:
            if not self._is_handle(name):
                self.cluster.promises.got(self.user, name, value)
            left.remove(name)
            if not left:
                self.user.drop(dropped)
                self._late(number, held)

        for name in held:
            self.user.get(name, partial(got, name))

    def _is_handle(self, name: ObjectId) -> bool:
        return ActorId(task_of(name)) in self.cluster.actors

    def _late(self, number: str, names: list[ObjectId]) -> None:
        """After a while read what is held, all at once or one by one, or give it to a task."""
        self.active[number] = f"late {self.cluster.world.trace.show(names)}"
        self.user.later(self.random.randrange(KEPT_NS_MAX), partial(self._read, number, names))

    def _read(self, number: str, names: list[ObjectId]) -> None:
        how = self.random.random()
        after: list[tuple[TaskId, Plan]] = []
        if how < 0.4:
            plan = self._plan(1)
            slots = [name for name in names if not self._is_handle(name)]
            after.append((self.submit(plan, tuple(slots[:4])), plan))
        left = [name for name in names if self._lies(name)]
        twice = how > 0.8 and bool(left)
        open_count = len(left) + twice

        def closed() -> None:
            if self.cluster.differing is None:
                drop()
            else:  # look again when what was lost may have come and gone
                again = partial(self.user.store.read, names, 0, drop)
                self.user.later(40 * MS, again)

        def drop() -> None:
            self.user.drop(names)
            if after:
                self._results(number, after)
            else:
                self.done(number)

        def read() -> None:
            nonlocal open_count
            open_count -= 1
            if not open_count:
                closed()

        if twice:  # two look at once
            self.user.store.read(left, 0, read)
        if not left:
            closed()
        elif twice or self.random.random() < 0.5:
            for name in left:
                self._look(name, read)
        else:
            self.user.store.read(left, self.random.choice((0, 1 * MS)), closed)

    def _lies(self, name: ObjectId) -> bool:
        value = self.user.owner.refs.value_of(name)
        return value is None or type(value) is Stored

    def _look(self, name: ObjectId, then: Callable[[], None]) -> None:
        def opened(region: int | None) -> None:
            if region is not None:
                self.user.store.close([region])
            then()

        self.user.store.open(name, opened)


class RebuildRun(CopiesRun):
    """Nodes that end while their results are needed, under the hardship of one seed."""

    def __init__(self, seed: int, trace: Trace | None = None) -> None:
        super().__init__(seed, trace)
        random = Random(f"rebuild {seed}")
        settings = self.cluster.settings
        self.count = random.choice((3, 3, 4))
        settings.drivers = 1
        settings.store_bytes = random.choice((4, 16, 64)) << 20
        if random.random() < 0.7:
            settings.disk = Disk()
        self.cluster.cancels = 0.0
        if seed % 5 == 4:
            self.cluster.differing = Random(f"differing {seed}")
        self.program_class = Rebuilds
        self.activities = random.choice((10, 16, 24))
        self.large = 0
        every_ns = self.hardship.every_ns
        every_ns.pop("driver", None)
        if random.random() < 0.6:
            every_ns.pop("worker", None)
            every_ns.pop("zombie", None)
        every_ns.pop("node", None)
        every_ns[random.choice(("machine", "machine", "lost"))] = 120 * MS

    def _any_node(self) -> Life | None:
        """Rather not the driver's own: with that goes all that is to be looked at."""
        node = super()._any_node()
        mine = node is not None and self.cluster.drivers_of(node)
        return None if mine and self.cluster.world.random.random() < 0.9 else node

    @property
    def counts(self) -> dict[str, int]:
        lost = self.cluster.promises.lost
        differed = sum(len(account.differed) for account in self.cluster.accounts.values())
        return {"rebuilt": lost.rebuilt, "not rebuilt": lost.named, "differed": differed}


def run_rebuild(seed: int, trace: Trace | None = None) -> Outcome:
    """Run one seed of this scenario."""
    return run_seed(seed, trace, RebuildRun)
