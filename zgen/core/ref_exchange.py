"""References between this process and others: what peers say of borrows, and the deaths of peers.

Rules of this file: translates messages and deaths into what is borrowed and lent, and values that
come into settled objects. What a count keeps alive is decided there.
"""

from collections.abc import Callable
from typing import Any

from zgen.core.borrowing import Borrowing
from zgen.core.effects import Effect, Send
from zgen.core.marks import reached
from zgen.core.ref_table import RefTable
from zgen.core.session import Session
from zgen.core.settlement import Settlement
from zgen.exceptions import RemoteProtocolError
from zgen.ids import ObjectId, PeerId
from zgen.wire.object import (
    AddBorrowers,
    FaultSaid,
    LoansTaken,
    ObjectIs,
    ObjectsGone,
    ReturnBorrows,
    WantObjects,
)
from zgen.wire.value import Fault, FaultKind, Parcel, Value, refs_of, unpack

#: What a borrower is told of an object that its owner does not know.
GONE = "its owner does not have it any more"


class RefExchange:
    """What one process and its peers say to each other of references.

    Attributes:
        handlers: What to do about each class of message; each may raise ``RemoteProtocolError``.
        changed: Whether ``flush`` has something to do.
    """

    def __init__(
        self,
        session: Session,
        refs: RefTable,
        borrowing: Borrowing,
        settlement: Settlement,
        *,
        executes: bool,
    ) -> None:
        """Speak for these tables; ``executes`` for a worker, whose node may end it."""
        self._lends_for_node = executes
        self._session = session
        self._refs = refs
        self._borrowing = borrowing
        self._settlement = settlement
        self.changed = False
        self.handlers: dict[type, Callable[[PeerId, Any, int, list[Effect]], None]] = {
            AddBorrowers: self._on_add_borrowers,
            LoansTaken: self._on_loans_taken,
            ReturnBorrows: self._on_return_borrows,
            WantObjects: self._on_want_objects,
            ObjectIs: self._on_object_is,
            ObjectsGone: self._on_objects_gone,
        }

    def on_sent(self, send: Send, sent: bool) -> None:
        """A message with references left, or found nobody to go to."""
        self._borrowing.on_sent(send, sent)
        self.changed = True

    def flush(self, out: list[Effect]) -> None:
        """Tell the node what has changed for it."""
        self.changed = False
        if self._lends_for_node:
            self._borrowing.tell_node(out)

    def note_tasks(self, has_tasks: bool) -> None:
        """A worker runs nothing: have tasks that it submitted not ended?"""
        if has_tasks is not self._borrowing.has_tasks:
            self._borrowing.has_tasks = has_tasks
            self.changed = True

    def on_timer(self, now_ns: int) -> None:
        """Let go of what the dead had borrowed, when its time has come."""
        if self._borrowing.on_timer(now_ns):
            self.changed = True

    def on_down(self, peer: PeerId, reason: str, now_ns: int, out: list[Effect]) -> None:
        """A process is dead and its line is quiet."""
        borrowing = self._borrowing
        borrowing.forget(peer, now_ns)
        self.changed = True
        if peer != borrowing.node:
            fault = Fault(FaultKind.OWNER_DIED, "", reason)
            self._settlement.settle(borrowing.owner_died(peer, fault), now_ns, out)
            return
        borrowing.node = None
        borrowing.lost = Fault(FaultKind.NODE_DIED, "", reason)
        self._settlement.settle(borrowing.owner_died(None, borrowing.lost), now_ns, out)

    # -- owners ------------------------------------------------------------------------------------
    def _on_add_borrowers(
        self, sender: PeerId, message: AddBorrowers, now_ns: int, out: list[Effect]
    ) -> None:
        self._watch(sender, out)
        gone = [name for name in message.objects if not self._borrowing.count(sender, name)]
        taken = LoansTaken(sender, message.objects)
        lender = message.lender
        self._borrowing.watch(lender, out)
        out.append(Send(lender.peer, taken, address=lender))
        self.changed = True
        if gone:
            reached("borrow of what is gone")
            out.append(Send(sender, ObjectsGone(tuple(gone), GONE)))

    def _on_return_borrows(
        self, sender: PeerId, message: ReturnBorrows, now_ns: int, out: list[Effect]
    ) -> None:
        for name, count in message.objects:
            self._borrowing.uncount(sender, name, count)
        self.changed = True

    def _on_want_objects(
        self, sender: PeerId, message: WantObjects, now_ns: int, out: list[Effect]
    ) -> None:
        self._watch(sender, out)
        borrowing = self._borrowing
        gone = [name for name in message.objects if not borrowing.asked(sender, name, out)]
        if gone:
            out.append(Send(sender, ObjectsGone(tuple(gone), GONE)))

    def _watch(self, peer: PeerId, out: list[Effect]) -> None:
        self._borrowing.watch(self._session.address_of(peer), out)

    # -- borrowers ---------------------------------------------------------------------------------
    def _on_loans_taken(
        self, sender: PeerId, message: LoansTaken, now_ns: int, out: list[Effect]
    ) -> None:
        lent = self._borrowing.lent
        for name in message.objects:
            if lent.uncount(lent.loans, message.borrower, name, 1):
                self._refs.unpin(name)

    def _on_object_is(
        self, sender: PeerId, message: ObjectIs, now_ns: int, out: list[Effect]
    ) -> None:
        values, _ = unpack(message.entries, message.buffers)
        value = _value_of(values, message.faults)
        self._borrowing.take_in(sender, (value,), out)
        if self._is_awaited(sender, message.object):
            self._settlement.settle([(message.object, value)], now_ns, out)
        else:
            reached("value that nobody awaits any more")
            self._refs.dropped.append(Parcel(b"", (), False, refs_of(value)))

    def _on_objects_gone(
        self, sender: PeerId, message: ObjectsGone, now_ns: int, out: list[Effect]
    ) -> None:
        lost = [
            (name, Fault(FaultKind.OBJECT_LOST, name.hex(), message.reason))
            for name in dict.fromkeys(message.objects)
            if self._is_awaited(sender, name)
        ]
        self._settlement.settle(lost, now_ns, out)

    def _is_awaited(self, owner: PeerId, name: ObjectId) -> bool:
        record = self._refs.records.get(name)
        if record is None or record.borrow is None or record.value is not None:
            return False
        return record.borrow.owner.peer == owner


def _value_of(values: list[Value], faults: tuple[FaultSaid, ...]) -> Value:
    """Return the value that a message says, or the fault over it.

    Raises:
        RemoteProtocolError: It says nothing or too much.
    """
    if len(values) > 1 or not (values or faults):
        raise RemoteProtocolError("an object that is not one value")
    value: Value | None = values[0] if values else None
    for said in reversed(faults):
        try:
            kind = FaultKind(said.kind)
        except ValueError:
            raise RemoteProtocolError(f"an unknown fault {said.kind!r}") from None
        value = Fault(
            kind,
            said.name,
            said.reason,
            said.pid,
            said.exit_code,
            said.signal,
            said.attempts,
            said.expected,
            said.got,
            said.may_have_run,
            value,
            said.actor,
            said.init_failed,
            said.history,
            said.rss_bytes,
            said.limit_bytes,
            said.why,
        )
    assert value is not None
    return value
