"""P2, P3 and P4 of shared memory: answers that name their cause, and nothing that is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim.programs import Account, item_size, item_value, result_value, same
from zgen.core.process import ProcessMachine
from zgen.core.store_effects import (
    RegionRefused,
)
from zgen.ids import ITEM_INDEX_FIRST, ObjectId, TaskId, index_of, short, task_of
from zgen.limits import STORE_FULL_NS
from zgen.sim.oracle import Kind, Oracle
from zgen.sim.world import Life
from zgen.wire.store import REFUSED_TOO_LARGE, Place
from zgen.wire.task import DYNAMIC, STREAMING
from zgen.wire.value import Fault, FaultKind, Stored, Value, is_error
from zgen_node.core.node import NodeMachine

if TYPE_CHECKING:
    from tests.sim.cluster import Cluster
    from tests.sim.memory import Memory
    from tests.sim.programs import Consumer
    from tests.sim.store_user import Want

#: A room is larger than what it is for by at most this share of it, and by a page.
ROOM_SHARE = 8
PAGE_BYTES = 4096


def value_expected(task: TaskId, index: int, account: Account) -> Value:
    """Return what an object of a task is, whichever attempt makes it."""
    if account.plan.returns in (STREAMING, DYNAMIC):
        item = index - ITEM_INDEX_FIRST
        if item < 0:
            return result_value(task, 0, 0, account.plan.returned_bytes)
        return item_value(task, item, 0, item_size(account, item))
    return result_value(task, index, 0, account.plan.result_bytes)


class StoreAnswers(Oracle):
    """What shared memory refuses is refused for a cause that the world knows, and late enough."""

    promise = "P2"

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.refusals = 0
        self.losses = 0

    def refused(self, user: Consumer, effect: RegionRefused, size_bytes: int, want: Want) -> None:
        """Somebody is told that there is no room."""
        self.refusals += 1
        memory, now_ns = self.cluster.memory_of(user.life), self.cluster.world.now_ns
        if memory.node.dead or want.owns.dead or self.is_lost(user, want.owns):
            return
        story = f"{user.life.name} is refused {size_bytes} bytes: {effect}"
        if effect.reason == REFUSED_TOO_LARGE:
            largest = size_bytes + size_bytes // ROOM_SHARE + PAGE_BYTES
            self.require(largest > memory.capacity_bytes, story)
            return
        self.require(size_bytes <= memory.capacity_bytes, story)
        waited_ns = now_ns - want.asked_ns
        self.require(waited_ns >= STORE_FULL_NS, f"{story} after {waited_ns} ns")
        spills = "spilling failed" not in effect.text  # else idle regions stay where they are
        self.require(bool(effect.holders) or not spills, f"{story}: who holds it?")

    def lost(self, user: Consumer, name: ObjectId, fault: Fault, asked_ns: int) -> None:
        """Somebody is told that what he wants to read is gone."""
        self.losses += 1
        value = user.owner.refs.value_of(name)
        assert isinstance(value, Stored), f"{short(name)} is {value!r}"
        story = f"{user.life.name} cannot read {short(name)}, region {value.region}: {fault}"
        memory, now_ns = self.cluster.memory_of(user.life), self.cluster.world.now_ns
        late = now_ns - asked_ns >= STORE_FULL_NS
        is_full = late and fault.kind is FaultKind.STORE_FULL
        is_alone = memory.node.dead and fault.kind is FaultKind.NODE_DIED
        self.require(fault.kind is FaultKind.OBJECT_LOST or is_full or is_alone, story)
        gone = memory.node.dead or value.region in memory.lost
        self.require(gone or late or self.is_gone(user, value), story)

    def read(self, user: Consumer, name: ObjectId, value: Stored) -> None:
        """Somebody reads an object, which may have been made anew since he got it."""
        expected = self.cluster.puts.get(name)
        account = self.cluster.accounts.get(task_of(name))
        if expected is None and account is not None:
            expected = value_expected(task_of(name), index_of(name), account)
        good = expected is None or same(value, expected)
        self.require(good, f"{user.life.name} reads {value!r} as {short(name)}, not {expected!r}")

    def instead(self, user: Consumer, name: ObjectId, value: Value) -> None:
        """Somebody is told something else than where an object lies that was lost."""
        self.losses += 1
        self.require(is_error(value), f"{short(name)} lay in shared memory and is {value!r}")
        account = self.cluster.accounts.get(task_of(name))
        if account is not None:
            self.cluster.promises.errors.allowed(task_of(name), account, value, None)

    def is_lost(self, user: Consumer, owner: Life) -> bool:
        """Return whether a writer's node may hold the owner for dead though it lives."""
        return False

    def is_gone(self, user: Consumer, value: Stored) -> bool:
        """Return whether a value was lost with another node."""
        return False

    def excused(self) -> bool:
        """Return whether anything in shared memory was lost so far."""
        memory = self.cluster.memory
        return memory.node.dead or bool(memory.lost) or self.losses > 0


class RegionsKept(Oracle):
    """P3: what anybody alive needs is not freed, and what nobody needs is."""

    promise = "P3"

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.of: Memory | None = None
        #: Region -> its place; None while it is on disk. As of the node's last step.
        self._known: dict[int, Place | None] = {}

    @property
    def memory(self) -> Memory:
        return self.of or self.cluster.memory

    def _lives(self) -> list[Life]:
        """Return the node and its processes."""
        lives = self.cluster.world.lives.values()
        return [life for life in lives if self.cluster.memory_of(life) is self.memory]

    def begin(self) -> None:
        """A node begins; its regions have numbers of their own."""
        self._known = {}

    def after_node_step(self, machine: NodeMachine) -> None:
        """Poison what was freed in this step, and look at who would need it."""
        regions = machine.storage.rooms.objects._regions
        known = self._known
        for number in [number for number in known if number not in regions]:
            place = known.pop(number)
            self._unheld(number, "freed", lost=number in self.memory.lost)
            if place is not None:
                self.memory.free(number, place)
        for number, region in regions.items():
            if number not in known or known[number] is not region.place:
                if known.get(number) is not None:
                    self._moved(number, known[number], region.place)
                known[number] = region.place

    def _moved(self, number: int, before: Place | None, place: Place | None) -> None:
        assert before is not None
        if place is not None and (place.slab, place.offset) == (before.slab, before.offset):
            return
        self._unheld(number, "moved", lost=False)
        self.memory.free(number, before)

    def _unheld(self, number: int, what: str, *, lost: bool) -> None:
        """Require that no living process believes that it may look at a region."""
        for life in self._lives():
            if isinstance(life.machine, ProcessMachine) and not lost:
                region = life.machine.store.regions.regions.get(number)
                held = region is not None and region.place is not None
                self.require(not held, f"region {number} is {what}, {life.name} holds it: {region}")

    def at_rest(self) -> None:
        """Nobody refers to anything any more."""
        memory = self.memory
        for life in self._lives():
            if isinstance(life.machine, ProcessMachine):
                self._process(life, life.machine)
                self._answered(self.cluster.user_of(life))
            elif isinstance(life.machine, NodeMachine):
                objects = life.machine.storage.rooms.objects
                self.require(not len(objects), f"the node keeps regions: {objects._regions}")
                story = f"{memory.slabs} {memory.disk_content}"
                self.require(memory.is_empty(), f"memory or disk is kept: {story}")
        self.require(not memory.claims, f"views are kept: {memory.claims}")

    def _process(self, life: Life, machine: ProcessMachine) -> None:
        store = machine.store
        for what, table in (
            ("regions", store.regions.regions),
            ("regions leased ahead", store.stock.ahead),
            ("regions to write", store.stock.writing),
            ("requests for regions", store.stock._asked),
            ("orphans", store._orphans),
        ):
            self.require(not table, f"{life.name} keeps {what}: {table}")

    def _answered(self, user: Consumer | None) -> None:
        """Everything that this process asked for was answered."""
        assert user is not None
        open_requests = {**user.store.wants, **user.store.openings}
        story = f"{user.life.name} was never answered: {open_requests}"
        self.require(not open_requests, story, Kind.LIVENESS)
