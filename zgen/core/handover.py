"""Generators handed over: both sides of it in one process, as the owner uses them.

Rules of this file: it hands on. Who may read a stream of this process is ``lending``'s, and what
this process reads of others ``far_streams``'.
"""

from collections.abc import Callable
from typing import Any

from zgen.core.borrowing import Borrowing
from zgen.core.cancel_words import CloseRequested
from zgen.core.effects import Effect
from zgen.core.events import TakeItems
from zgen.core.fans import Fans
from zgen.core.far_streams import FarStreams
from zgen.core.feeding import Taking
from zgen.core.handover_words import FanOut, HoldStream, LendStream, StreamHeld
from zgen.core.lending import Dropping, Lending
from zgen.core.placement import Placement
from zgen.core.ref_table import RefTable
from zgen.core.stream_in import StreamsIn
from zgen.ids import ObjectId, PeerId, StreamId, completion_object
from zgen.wire.handover import LeaveStream, StreamItems, StreamRefused, TakeStream
from zgen.wire.value import Fault, FaultKind


class Handover:
    """The generators that one process has handed over or has by a loan.

    Attributes:
        lending: Its own.
        far: Those of others.
        fans: Its own that have several readers.
        handlers: What to do about each class of message; each may raise ``RemoteProtocolError``.
        wishes: What to do about each class of event.
    """

    def __init__(
        self,
        me: PeerId,
        tables: tuple[RefTable, StreamsIn, Borrowing],
        lends: tuple[Placement, Taking, Dropping],
        close: Callable[[CloseRequested, int, list[Effect]], None],
    ) -> None:
        """Hand over streams of ``tables``.

        Args:
            me: This process.
            tables: Its references and streams, and who has which of them.
            lends: What ``Lending`` takes beside these.
            close: What is done about a generator of this process that is closed.
        """
        placement, take_out, drop = lends
        self._own_items, self._own_end = take_out, drop
        lending = self.lending = Lending(*tables, placement, self._take_out, self._drop)
        far = self.far = FarStreams(*tables)
        self.fans = Fans(me, *tables[:2], placement, lending, take_out)
        self._me = me
        self._close = close
        self.handlers: dict[type, Callable[[PeerId, Any, int, list[Effect]], None]] = {
            TakeStream: lending.on_take,
            LeaveStream: self._on_leave,
            StreamItems: far.on_items,
            StreamRefused: far.on_refused,
        }
        self.wishes: dict[type, Callable[[Any, int, list[Effect]], None]] = {
            LendStream: self._on_lend,
            HoldStream: self._on_hold,
            FanOut: self.fans.open,
            CloseRequested: self._on_close,
        }

    def take(self, event: TakeItems, out: list[Effect]) -> bool:
        """Answer who wants items; return False if that is nothing of here."""
        taken = self.far.take(event, out) or self.lending.take(event, out)
        return taken or self.fans.take(event, out)

    def dropped(self, stream: StreamId, out: list[Effect]) -> bool:
        """A generator is gone; return whether that is all that is to be done."""
        stays = self.far.dropped(stream, out) or self.lending.dropped(stream)
        return stays or self.fans.gone(stream)

    def completion(self, stream: StreamId) -> ObjectId:
        """Return the object that tells of the end of a stream, as this process calls that."""
        source = self.lending.branches.get(stream, stream)
        return self.far.completion(stream) or completion_object(source)

    def on_gone(self, gone: list[ObjectId], now_ns: int, out: list[Effect]) -> list[ObjectId]:
        """These watched objects are gone; return those that are none of here."""
        return self.lending.on_gone(gone, now_ns, out)

    def on_down(
        self, peer: PeerId, reason: str, is_node: bool, now_ns: int, out: list[Effect]
    ) -> None:
        """A process is dead and its line is quiet."""
        self.lending.on_down(peer, is_node, now_ns, out)
        self.far.on_down(peer, Fault(FaultKind.NODE_DIED, "", reason) if is_node else None, out)

    def tend(self, wanted: list[Effect], now_ns: int) -> None:
        """Do what follows from a step for what is lent and for what was passed on in it."""
        self.far.tend(wanted)
        self.lending.tend(wanted, now_ns)
        self.fans.tend(now_ns, wanted)

    def check(self) -> None:
        """Assert the invariants of both sides."""
        self.lending.check()
        self.fans.check()
        self.far.check()

    def _on_lend(self, event: LendStream, now_ns: int, out: list[Effect]) -> None:
        if not self.far.pass_on(event, out):
            self.lending.lend(event, now_ns, out)

    def _on_hold(self, event: HoldStream, now_ns: int, out: list[Effect]) -> None:
        is_mine = event.owner.peer == self._me
        if is_mine and self.lending.come_back(event, now_ns, out):
            out.append(StreamHeld(event.stream))
        else:
            self.far.hold(event, now_ns, out)

    def _on_close(self, event: CloseRequested, now_ns: int, out: list[Effect]) -> None:
        if not (self.far.close(event.stream, out) or self.fans.close(event.stream)):
            self._close(event, now_ns, out)
            self.lending.closed(event.stream)

    def _on_leave(
        self, sender: PeerId, message: LeaveStream, now_ns: int, out: list[Effect]
    ) -> None:
        closed = self.lending.on_leave(sender, message, now_ns, out)
        if closed is not None:
            if not self.fans.close(closed):
                self._close(CloseRequested(closed), now_ns, out)
            self.lending.over(closed, now_ns, out)

    def _take_out(
        self, stream: StreamId, count_max: int, now_ns: int
    ) -> tuple[tuple[ObjectId, ...], bool]:
        if stream in self.lending.branches:
            return self.fans.more(stream, count_max, now_ns), False
        return self._own_items(stream, count_max, now_ns)

    def _drop(self, stream: StreamId, now_ns: int, out: list[Effect]) -> None:
        if not self.fans.gone(stream):
            self._own_end(stream, now_ns, out)
