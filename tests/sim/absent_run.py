"""Large values that others borrow: the nodes where they lie go before who borrows them looks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tests.sim.bodies import Body
from tests.sim.cluster import Worker
from tests.sim.programs import Plan
from tests.sim.rebuild_run import LARGE_BYTES, RebuildRun, Rebuilds
from tests.sim.run import Outcome, run_seed
from zgen.core.effects import StartTask
from zgen.core.events import CountRef, WantValues
from zgen.ids import ObjectId, object_id
from zgen.limits import MS
from zgen.sim.trace import Trace
from zgen.wire.value import NestedRef, Parcel, Stored, Value

#: Who borrows values keeps them for so long before it looks.
BORROWED_NS = (0, 20 * MS, 100 * MS, 250 * MS)


class Borrowers(Rebuilds):
    """One driver's user, whose tasks borrow what it has made elsewhere, and look at it late."""

    def kinds(self) -> tuple[Callable[[str], None], ...]:
        return (self._lend, self._lend, self._lend, self._lend, self._items)

    def _lend(self, number: str) -> None:
        """Make values, wait until they are there, and have some tasks borrow them."""
        names = [
            object_id(self.submit(self._large()), 0) for _ in range(self.random.choice((1, 3)))
        ]
        if self.random.random() < 0.2:
            names += self._put()
        self.active[number] = f"makes {self.cluster.world.trace.show(names)}"
        left = list(names)

        def got(name: ObjectId, value: Value) -> None:
            self.cluster.promises.got(self.user, name, value)
            left.remove(name)
            if not left:
                self._borrow(number, names)

        for name in names:
            self.user.get(name, partial(got, name))

    def _large(self) -> Plan:
        return Plan([], 1, self._retries(), self._cpus(), LARGE_BYTES)

    def _borrow(self, number: str, names: list[ObjectId]) -> None:
        if self.user.life.dead or self.user.owner.placement.node is None:
            self.user.drop(names)
            self.done(number)
            return
        refs = tuple([NestedRef(name, self.user.life.address) for name in names])
        tasks = []
        for _ in range(self.random.choice((1, 2, 3))):
            look = ["look", self.random.choice(BORROWED_NS)]
            plan = Plan([look, *([look] * (self.random.random() < 0.3))], 1, 3, 10_000)
            task = self.user.submit(plan, self.parent, self.submitted, (), refs)
            self.submitted += 1
            tasks.append((task, plan))
        self.user.drop(names)  # who borrows them keeps them
        self._results(number, tasks)


class LookingBody(Body):
    """A body that looks at what its arguments refer to."""

    def __init__(self, worker: Worker, start: StartTask) -> None:
        super().__init__(worker, start)
        self.lent = start.arguments.refs if isinstance(start.arguments, Parcel) else ()

    def _do_look(self, wait_ns: int) -> object:
        """Unpickle references, wait for what they refer to, and look at it after a while."""
        self.at += 1
        names = [ref.object for ref in self.lent]
        for name in names:
            self.user.post(CountRef(name))
            self.user.refs[name] = self.user.refs.get(name, 0) + 1
        return -1, partial(
            self._wait, [partial(self._await_lent, names), *self._looks(names, wait_ns)]
        )

    def _looks(
        self, names: list[ObjectId], wait_ns: int
    ) -> list[Callable[[Callable[[], None]], None]]:
        def rest(then: Callable[[], None]) -> None:
            self.user.later(wait_ns, then)

        def drop(then: Callable[[], None]) -> None:
            self.user.drop(names)
            then()

        return [rest, *(partial(self._open, name) for name in names), drop]

    def _await_lent(self, names: list[ObjectId], then: Callable[[], None]) -> None:
        left = list(names)

        def got(name: ObjectId, value: Value) -> None:
            left.remove(name)
            if not left:
                then()

        missing = [name for name in names if self.user.owner.refs.value_of(name) is None]
        if missing:
            self.user.post(WantValues(tuple(missing)))
        for name in names:
            self.user.get(name, partial(got, name))

    def _open(self, name: ObjectId, then: Callable[[], None]) -> None:
        value = self.user.owner.refs.value_of(name)
        if value is not None and type(value) is not Stored:
            then()
            return

        def opened(region: int | None) -> None:
            if region is not None:
                self.user.store.close([region])
            then()

        self.user.store.open(name, opened)


class AbsentRun(RebuildRun):
    """Nodes that end while others borrow what lies there, under the hardship of one seed."""

    def __init__(self, seed: int, trace: Trace | None = None) -> None:
        super().__init__(seed, trace)
        self.cluster.differing = None
        self.cluster.places = True
        self.cluster.make_body = LookingBody
        self.program_class = Borrowers


def run_absent(seed: int, trace: Trace | None = None) -> Outcome:
    """Run one seed of this scenario."""
    return run_seed(seed, trace, AbsentRun)
