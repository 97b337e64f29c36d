"""Generators that are handed over, from outside: each item is read once, whoever reads it."""

from __future__ import annotations

from tests.sim.cluster import Cluster
from tests.sim.programs import Consumer, item_value, result_value, same
from zgen.core.fans import GIVEN_UP
from zgen.core.far_streams import FarStream
from zgen.core.lent_stream import OVER
from zgen.ids import ITEM_INDEX_FIRST, ObjectId, PeerId, StreamId, TaskId, index_of, short, task_of
from zgen.limits import SECOND
from zgen.sim.oracle import Kind, Oracle
from zgen.sim.world import Life
from zgen.wire.value import NONE, Fault, FaultKind, Value


class EachItemOnce(Oracle):
    """P1: over all who read a stream, each item once and in order; none lost, none for the dead.

    What a process took that died may be taken again: nobody can know what it did with that.
    """

    promise = "P1"

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.counts: dict[str, int] = {}
        #: Stream, or one of its several readers -> who took each item of it last.
        self._takers: dict[StreamId, list[Life]] = {}
        #: Those that somebody closed, or that ended early.
        self.closed: dict[StreamId, None] = {}

    def took(self, life: Life, name: ObjectId, line: StreamId) -> None:
        index = index_of(name) - ITEM_INDEX_FIRST
        takers = self._takers.setdefault(line, [])
        story = f"{life.name} takes item {index} of {short(line)}"
        self.require(index <= len(takers), f"{story}, {len(takers)} were taken")
        for before in takers[index:]:
            self.require(before.dead, f"{story}, which {before.name} took")
            self.note("taken again")
        del takers[index:]
        takers.append(life)
        self.note("taken")

    def fanned(self, stream: TaskId, line: StreamId, readers: tuple[StreamId, ...]) -> None:
        """A stream has several readers, each of which takes up where the one before them was."""
        self.note("fanned out")
        for reader in readers:
            self._takers[reader] = list(self._takers.get(line, ()))

    def read_out(self, life: Life, stream: TaskId, line: StreamId) -> None:
        """Somebody found a stream, or one of its readers, at its end."""
        count = len(self._takers.get(line, ()))
        items = self.cluster.accounts[stream].plan.items
        story = f"{life.name} finds the end of {short(line)} after {count} of {items} items"
        self.require(count == items or self._is_closed(stream, line), story)

    def _is_closed(self, stream: TaskId, line: StreamId) -> bool:
        return stream in self.closed or line in self.closed

    def carries(self, life: Life, stream: TaskId, line: StreamId, *, is_value: bool) -> None:
        """``StopIteration`` was raised for somebody, with a value or without one."""
        returns = self.cluster.accounts[stream].plan.returned_bytes >= 0
        story = f"{life.name} is told at the end of {short(stream)}: a value? {is_value}"
        self.require(is_value == returns or self._is_closed(stream, line), story)

    def heard_end(self, life: Life, stream: TaskId, owner: Life | None, value: Value) -> None:
        """``completed()`` has its value for somebody."""
        self.note("ends")
        size = self.cluster.accounts[stream].plan.returned_bytes
        story = f"{life.name} hears of the end of {short(stream)}: {value!r}"
        if isinstance(value, Fault):
            died = value.kind is FaultKind.OWNER_DIED and (owner is None or owner.dead)
            no_start = value.kind is FaultKind.REFUSED and "do not start" in value.reason
            self.require(died or no_start, story)
        elif value == NONE:
            self.require(size < 0 or stream in self.closed, story)
        else:
            self.require(size >= 0 and same(value, result_value(stream, 0, 0, size)), story)

    def got(self, life: Life, name: ObjectId, owner: Life | None, value: Value) -> None:
        """The value of an item came."""
        stream, index = task_of(name), index_of(name) - ITEM_INDEX_FIRST
        story = f"item {index} of {short(stream)} is {value!r} for {life.name}"
        if isinstance(value, Fault):
            died = value.kind is FaultKind.OWNER_DIED and (owner is None or owner.dead)
            no_start = value.kind is FaultKind.REFUSED and "do not start" in value.reason
            self.require(died or no_start, story)
            return
        size = self.cluster.accounts[stream].plan.ops[0][3]
        self.require(same(value, item_value(stream, index, 0, size)), story)

    def refused(self, life: Life, fault: Fault, owner: Life | None) -> None:
        """Somebody may not read."""
        self.note("refused")
        if fault.kind is FaultKind.OWNER_DIED:
            self.note("owner died")
            self.require(owner is None or owner.dead, f"{life.name}: {fault!r}, but it lives")
        else:
            self.require(fault.kind is FaultKind.STREAM_LENT, f"{life.name}: {fault!r}")
            if fault.reason == GIVEN_UP:
                self.note("given up")

    def note(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1


#: Within this long a stream comes back that the dead had: sooner than who may have passed it on is
#: waited for.
BACK_NS_MAX = 2 * SECOND


class LoansEnd(Oracle):
    """P1, P2: a loan ends with its holder, not before, and holders of another one end nothing."""

    promise = "P2"

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        #: Stream and loan -> nothing, once somebody took an item by it, let go, or passed it on.
        self.ended: dict[tuple[TaskId, int], None] = {}
        #: The same -> lives that came with it.
        self._holders: dict[tuple[TaskId, int], dict[int, None]] = {}
        #: Loans that the dead hold, as their owner believes, and since when.
        self._stuck: dict[tuple[int, TaskId, int, int], int] = {}
        #: Loans of which a holder was seen at that hop.
        self._claimed: dict[tuple[int, TaskId, int, int], None] = {}

    def held(self, user: Consumer, stream: TaskId, epoch: int, *, is_owner: bool) -> None:
        """Somebody has unpickled a generator."""
        self._holders.setdefault((stream, epoch), {})[user.life.number] = None
        if is_owner:
            self.ended[stream, epoch] = None

    def refused(self, user: Consumer, far: FarStream, fault: Fault) -> None:
        """Somebody may not read, for that reason."""
        loan = far.stream, far.epoch
        story = f"{user.life.name} may not read {short(far.stream)} by loan {far.epoch}: {fault!r}"
        if fault.reason == OVER:
            self.require(loan in self.ended, story)
        elif fault.reason.endswith(" reads it"):
            others = [each for each in self._holders[loan] if each != user.life.number]
            self.require(bool(others), story)

    def look(self) -> None:
        """Look at all loans: none is held by the dead for long."""
        now_ns = self.cluster.world.now_ns
        living = {life.address.peer for life in self.cluster.world.lives.values()}
        stuck, self._stuck = self._stuck, {}
        for user in self.cluster.users.values():
            if user.life.dead or user.life.paused:
                continue
            for stream, lent in user.owner.handover.lending.lent.items():
                key = user.life.number, stream, lent.epoch, lent.hop
                if lent.holder is not None:
                    self._claimed[key] = None
                if self._is_stuck(user, key, lent.holder, lent.ticket, living):
                    since_ns = self._stuck[key] = stuck.get(key, now_ns)
                    story = f"{short(stream)} of {user.life.name} does not come back: {lent}"
                    self.require(now_ns - since_ns <= BACK_NS_MAX, story, Kind.LIVENESS)

    def _is_stuck(
        self,
        user: Consumer,
        key: tuple[int, TaskId, int, int],
        holder: PeerId | None,
        ticket: ObjectId,
        living: set[PeerId],
    ) -> bool:
        """Return whether only the dead have a loan that was claimed, as far as is known."""
        if holder is not None:
            return holder not in living
        mourned = user.owner.borrowing.lent.mourned().count(ticket)
        return key in self._claimed and user.owner.refs.records[ticket].pins == mourned
