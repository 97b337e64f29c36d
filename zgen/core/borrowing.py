"""What the references inside values keep alive, here and at their owners.

Rules of this file: joins the references of a process with the count of those that it lent. What is
to be done about a value that arrives, and what a death means to those who wait, is not decided
here.

Theory of operation. A value that this process has, whoever made it, pins the objects that it refers
to from ``take_in`` or ``hold`` until it stands in ``dropped``. Sending it lends them: an object of
this process is pinned for each borrower; for one that was borrowed itself the loan is pinned until
its owner has counted it. What travels back to an owner needs no loan, since this process's own
credit is returned behind it on the same line.
"""

from collections.abc import Iterable
from typing import TypeVar

from zgen.core.effects import Effect, Send
from zgen.core.lent_refs import LentRefs
from zgen.core.marks import reached
from zgen.core.ref_table import Borrow, OwnedRef, RefTable
from zgen.core.session import Session
from zgen.exceptions import RemoteProtocolError
from zgen.ids import ObjectId, PeerId, StreamId, short
from zgen.limits import BORROWS_COUNT_MAX
from zgen.wire.object import (
    AddBorrowers,
    FaultSaid,
    KeepWorker,
    ObjectIs,
    ReturnBorrows,
    WantObjects,
    WatchProcess,
)
from zgen.wire.schema import Buffers
from zgen.wire.session import Address
from zgen.wire.value import (
    Fault,
    FaultKind,
    NestedRef,
    Parcel,
    Stored,
    Value,
    pack,
    refs_of,
)

T = TypeVar("T")

#: An object and the value that it gets.
Result = tuple[ObjectId, Value]


class Borrowing:
    """The references of one process that came from others or went to them.

    Attributes:
        me: This process.
        lent: Who has references of this process.
        askers: Object -> who waits for its value. Added by ``asked``; removed when it is told and
            by ``forget``.
        session: The lines, which know where peers are.
        node: The daemon, which tells of deaths; None before it is joined.
        lost: Why no further death will be heard of, once the node is gone.
        has_tasks: Whether tasks that this worker submitted had not ended when it last ran nothing.
        offers: Ticket of a stream that is being handed over -> what this process calls the stream.
            It has a local reference until the value is held that it was pickled for.
        accepted: Streams whose value is held, until what follows from that is done.
    """

    session: Session

    def __init__(self, me: PeerId, refs: RefTable) -> None:
        """Borrow and lend objects of ``refs``; ``session`` is set before anything comes in."""
        self.lent = LentRefs()
        self.askers: dict[ObjectId, dict[PeerId, None]] = {}
        self.node: PeerId | None = None
        self.lost: Fault | None = None
        self.has_tasks = False
        self.offers: dict[ObjectId, StreamId] = {}
        self.accepted: list[StreamId] = []
        self.me = me
        self._refs = refs
        #: Processes whose end the node was asked to tell. Removed by ``forget``.
        self._watched: dict[PeerId, None] = {}
        #: Whether the node was told last that this process is needed.
        self._is_lender = False
        #: Owners of which anything was ever borrowed. Removed by ``owner_died``.
        self._owners: dict[PeerId, None] = {}

    @property
    def is_borrower(self) -> bool:
        """Whether this process may have references to objects of others that live."""
        return bool(self._owners)

    # -- values ------------------------------------------------------------------------------------
    def hold(self, value: Value) -> None:
        """This process made a value: pin what it refers to."""
        for ref in refs_of(value):
            record = self._refs.records.get(ref.object)
            if record is not None:
                record.pins += 1
                if self.offers and ref.object in self.offers:
                    record.local -= 1
                    self.accepted.append(self.offers.pop(ref.object))
            else:
                reached("reference dropped while it was pickled")
                lost = Fault(FaultKind.OBJECT_LOST, ref.object.hex(), "it was dropped too early")
                borrow = Borrow(ref.owner, 0, True) if ref.owner.peer != self.me else None
                self._refs.records[ref.object] = OwnedRef(lost, 0, 1, borrow)

    def take_in(self, sender: PeerId, values: Iterable[Value], out: list[Effect]) -> None:
        """Values came from another process: pin what they refer to, and tell the owners.

        Raises:
            RemoteProtocolError: A reference names another owner than those before it.
        """
        loans: dict[PeerId, list[NestedRef]] = {}
        for value in values:
            for ref in refs_of(value):
                self._take(sender, ref, loans)
        for owner, refs in loans.items():
            address = refs[0].owner
            self.watch(address, out)
            lender = self.session.address_of(sender)
            parts = _parts([ref.object for ref in refs])
            out.extend([Send(owner, AddBorrowers(lender, p), address=address) for p in parts])

    def on_sent(self, send: Send, sent: bool) -> None:
        """A message with references left, or found nobody to go to."""
        if sent:
            for ref in send.refs:
                self._lend(send.peer, ref)
        if send.gives:
            self._refs.dropped.append(Parcel(b"", (), False, send.refs))

    def settle(self, out: list[Effect]) -> None:
        """Let go of what dropped values refer to, and of borrowed objects that nobody needs."""
        dropped = self._refs.dropped
        if dropped:
            for value in dropped:  # it grows: a value may be the last to refer to another one
                for ref in value.refs:
                    self._refs.unpin(ref.object)
            dropped[:] = [value for value in dropped if type(value) is Stored]
        if self._refs.returned:
            self._return(out)

    def tell_node(self, out: list[Effect]) -> None:
        """Tell the node of a worker when it is needed though it runs nothing, and when no more.

        It is from the first object that is lent until the last one is back, and while tasks have
        not ended that it submitted: they would end with it.
        """
        is_lender = self.lent.is_owner or self.has_tasks
        if is_lender is not self._is_lender and self.node is not None:
            self._is_lender = is_lender
            out.append(Send(self.node, KeepWorker(is_lender)))

    # -- borrowed objects --------------------------------------------------------------------------
    def want(self, names: Iterable[ObjectId], out: list[Effect]) -> None:
        """Ask for the values of the borrowed ones among ``names``, each once."""
        asked: dict[PeerId, list[ObjectId]] = {}
        for name in names:
            record = self._refs.records.get(name)
            borrow = record.borrow if record is not None and record.value is None else None
            if borrow is not None and not borrow.asked:
                borrow.asked = True
                asked.setdefault(borrow.owner.peer, []).append(name)
        for owner, wanted in asked.items():
            out.extend([Send(owner, WantObjects(part)) for part in _parts(wanted)])

    def owner_died(self, owner: PeerId | None, fault: Fault) -> list[Result]:
        """An owner is dead, or for None all of them; return what its objects get that are awaited.

        What is known already stays known, but for what lay in shared memory, which goes with it.
        """
        if owner is not None and self._owners.pop(owner, self) is self:
            return []
        results: list[Result] = []
        mine: dict[ObjectId, None] = {}
        for name, record in self._refs.records.items():
            borrow = record.borrow
            if borrow is None or (owner is not None and borrow.owner.peer != owner):
                continue
            mine[name] = None
            borrow.credits = 0
            borrow.asked = True
            if record.value is None:
                results.append((name, self._fault(name, fault)))
            elif type(record.value) is Stored and owner is not None:
                self._refs.dropped.append(Parcel(b"", (), False, record.value.refs))
                record.value = self._fault(name, fault)
        for peer, counts in list(self.lent.loans.items()):
            for name in [name for name in counts if name in mine]:
                reached("loan of what a dead owner had given up")
                self.lent.uncount(self.lent.loans, peer, name, counts[name])
                self._refs.unpin(name)
        return results

    # -- lent objects ------------------------------------------------------------------------------
    def count(self, borrower: PeerId, name: ObjectId) -> bool:
        """Count a credit that somebody else lent; return False if the object is not owned here."""
        record = self._refs.records.get(name)
        if record is None or record.borrow is not None:
            return False
        if self.lent.count(self.lent.borrowers, borrower, name):
            record.pins += 1
        return True

    def uncount(self, borrower: PeerId, name: ObjectId, count: int) -> None:
        """A borrower gives credits back; after its last one it awaits no value either."""
        if count > 0 and self.lent.uncount(self.lent.borrowers, borrower, name, count):
            askers = self.askers.get(name, {})
            if askers.pop(borrower, self) is None and not askers:
                reached("value wanted and not wanted any more")
                del self.askers[name]
            self._refs.unpin(name)

    def asked(self, borrower: PeerId, name: ObjectId, out: list[Effect]) -> bool:
        """Tell a value, now or when it is there; return False if the object is not owned here."""
        record = self._refs.records.get(name)
        if record is None or record.borrow is not None:
            return False
        if record.value is None:
            self.askers.setdefault(name, {})[borrower] = None
        else:
            self.tell(borrower, name, record.value, out)
        return True

    def answer(self, name: ObjectId, value: Value, out: list[Effect]) -> None:
        """Tell a value to those who wait for it."""
        for borrower in self.askers.pop(name, ()):
            self.tell(borrower, name, value, out)

    def tell(self, borrower: PeerId, name: ObjectId, value: Value, out: list[Effect]) -> None:
        """Say a value, and hold what it refers to until that has left: it may go in this step."""
        self.hold(value)
        out.append(Send(borrower, _said(name, value), refs=refs_of(value), gives=True))

    def watch(self, process: Address, out: list[Effect]) -> None:
        """Have the node tell when ``process`` dies."""
        peer = process.peer
        if peer not in self._watched and self.node is not None:
            self._watched[peer] = None
            out.append(Send(self.node, WatchProcess(peer, process.incarnation, process.node)))

    def watch_stranger(self, peer: PeerId, out: list[Effect]) -> None:
        """A connection is lost: its peer may have died before it had anybody watch it.

        So may who borrowed something, or calls an actor that it found by name.
        """
        if peer != self.node and self.session.knows(peer):
            self.watch(self.session.address_of(peer), out)

    def forget(self, peer: PeerId, now_ns: int) -> None:
        """A process is dead: what it borrowed is kept for its grace, and no value is told to it."""
        self._watched.pop(peer, None)
        self.lent.bury(peer, now_ns)
        for name, askers in list(self.askers.items()):
            askers.pop(peer, None)
            if not askers:
                del self.askers[name]

    def on_timer(self, now_ns: int) -> bool:
        """Let go of what the dead had borrowed, when its time has come; return whether it had."""
        due = self.lent.pop_due(now_ns)
        for name in due:
            reached("borrow of a dead process ended")
            self._refs.unpin(name)
        return bool(due)

    def check(self, needed: Iterable[ObjectId]) -> None:
        """Assert that each pin has its reason, and that nobody is owed more than is there.

        Args:
            needed: The objects that tasks take and values refer to, once for each that does.
        """
        self.lent.check()
        records = self._refs.records
        reasons: dict[ObjectId, int] = {}
        for name in (*needed, *self.lent.pinned()):
            reasons[name] = reasons.get(name, 0) + 1
        pins = {name: record.pins for name, record in records.items() if record.pins}
        assert reasons == pins, f"{_named(reasons)} are needed, {_named(pins)} pinned"
        for table, is_loan in ((self.lent.borrowers, False), (self.lent.loans, True)):
            for counts in table.values():
                for name in counts:
                    assert (records[name].borrow is not None) is is_loan, short(name)
        for name in self.askers:
            assert records[name].value is None, f"{short(name)} is not told"
        for name, record in records.items():
            borrow = record.borrow
            assert borrow is None or borrow.credits or record.value is not None, short(name)

    # -- inside ------------------------------------------------------------------------------------
    def _take(self, sender: PeerId, ref: NestedRef, loans: dict[PeerId, list[NestedRef]]) -> None:
        name, owner = ref.object, ref.owner.peer
        record = self._refs.records.get(name)
        if record is not None:
            known = record.borrow.owner.peer if record.borrow is not None else self.me
            if known != owner:
                raise RemoteProtocolError(f"two owners of object {short(name)}")
            record.pins += 1
        elif owner == self.me:
            reached("reference to what is gone came back to its owner")
            lost = Fault(FaultKind.OBJECT_LOST, name.hex(), "nothing referred to it any more")
            record = self._refs.records[name] = OwnedRef(lost, 0, 1)
        else:
            record = self._refs.records[name] = OwnedRef(None, 0, 1, Borrow(ref.owner))
            self._owners[owner] = None
        if record.borrow is None:
            if sender == self.me:  # who was lent it while it was on its way
                reached("reference sent to itself")
                self.uncount(sender, name, 1)
            return
        if self.session.is_fenced(owner, ref.owner.incarnation):
            reached("reference to an object of the dead")
            if record.value is None:
                died = Fault(FaultKind.OWNER_DIED, name.hex(), "before this process heard of it")
                record.value = died
            return
        if self.lost is not None and record.value is None:
            record.value = self._fault(name, self.lost)
        record.borrow.credits += 1
        if sender != owner:
            loans.setdefault(owner, []).append(ref)

    def _lend(self, peer: PeerId, ref: NestedRef) -> None:
        table = self.lent.borrowers
        if ref.owner.peer != self.me:
            borrow = self._refs.records[ref.object].borrow
            if ref.owner.peer == peer or borrow is None or not borrow.credits:
                return
            table = self.lent.loans
        if self.lent.count(table, peer, ref.object):
            self._refs.pin(ref.object)

    def _return(self, out: list[Effect]) -> None:
        by_owner: dict[PeerId, list[tuple[ObjectId, int]]] = {}
        for name, borrow in self._refs.returned:
            if borrow.credits:
                by_owner.setdefault(borrow.owner.peer, []).append((name, borrow.credits))
        self._refs.returned.clear()
        for owner, objects in by_owner.items():
            out.extend([Send(owner, ReturnBorrows(part)) for part in _parts(objects)])

    @staticmethod
    def _fault(name: ObjectId, fault: Fault) -> Fault:
        return Fault(fault.kind, name.hex(), fault.reason)


def _named(counts: dict[ObjectId, int]) -> str:
    return ", ".join([f"{count} x {short(name)}" for name, count in counts.items()]) or "none"


def _parts(items: list[T]) -> list[tuple[T, ...]]:
    """Return ``items`` in as many pieces as their number asks for."""
    return [
        tuple(items[first : first + BORROWS_COUNT_MAX])
        for first in range(0, len(items), BORROWS_COUNT_MAX)
    ]


def _said(name: ObjectId, value: Value) -> ObjectIs:
    faults: list[FaultSaid] = []
    entry: Value | None = value
    while isinstance(entry, Fault):
        faults.append(
            FaultSaid(
                entry.kind.value,
                entry.name,
                entry.reason,
                entry.pid,
                entry.exit_code,
                entry.signal,
                entry.attempts,
                entry.expected,
                entry.got,
                entry.may_have_run,
                entry.actor,
                entry.init_failed,
                entry.history,
                entry.rss_bytes,
                entry.limit_bytes,
                entry.why,
            )
        )
        entry = entry.cause
    buffers: list[bytes] = []
    entries = pack((entry,), buffers) if entry is not None else ()
    return ObjectIs(name, entries, tuple(faults), Buffers(tuple(buffers)))
