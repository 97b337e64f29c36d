"""Streams of this process that others may read: who does, and what they have not taken yet.

Rules of this file: a stream is read by one process at a time, and no item is given out twice that
is known to be taken. What an item is worth, and how its body ends, is not known here.

Theory of operation. A loan begins as the generator is pickled, and has a *ticket*: an object of
this process that the pickle refers to, so that it lives as long as anybody may still come with the
generator. Who unpickles it claims the stream and says with each item that it takes how far it is;
items that it was sent and has not taken stay here, each with a local reference. The loan ends when
its holder gives it back, when it dies after it had taken something, or when the ticket is gone;
then these items stand before all others for who reads the stream here. A holder that dies before it
has taken anything leaves the loan to whoever comes with the generator again, as its task's next
attempt does.

Fences. A loan has an epoch; words of an older one find no loan. As a generator is passed on its hop
grows: a claim of a later hop ends the right of the holder before, whose words are dropped from then
on; and it says how far that one was, since its own word may still be on its way.
"""

from collections import deque
from collections.abc import Callable

from zgen.core import owner_audit
from zgen.core.borrowing import Borrowing
from zgen.core.effects import Effect, ItemsTaken, Send, StreamAdvanced
from zgen.core.events import TakeItems
from zgen.core.feeding import Feeding, Taking
from zgen.core.handover_words import HoldStream, LendStream, StreamLent, StreamRefusal
from zgen.core.in_stream import InStream, count_taken, whole_yields
from zgen.core.lent_stream import (
    OVER,
    PASSED,
    UNCLAIMED,
    LentStream,
    may_claim,
)
from zgen.core.marks import reached
from zgen.core.placement import Placement
from zgen.core.ref_table import OwnedRef, RefTable
from zgen.core.stream_in import StreamsIn
from zgen.ids import (
    ObjectId,
    PeerId,
    StreamId,
    completion_object,
    short,
    ticket_object,
)
from zgen.wire.handover import (
    CLOSED,
    PASSED_ON,
    LeaveStream,
    StreamRefused,
    TakeStream,
)
from zgen.wire.value import Fault, FaultKind, NestedRef, Parcel

#: Nobody reads a stream any more.
Dropping = Callable[[StreamId, int, list[Effect]], None]


class Lending:
    """The streams of one owner that others may read.

    Attributes:
        lent: The streams.
        handles: Stream that is or was lent -> generators of it that its owner's process has. Added
            with its first loan; removed when the last one is gone, or the last loan behind it.
        tickets: Ticket -> its stream, as ``lent``.
        feeding: Sends their items to who reads them.
        branches: As ``feeding``'s.
        spare: Of them, those whose loan has ended and that nobody reads.
        stirred: As ``feeding``'s.
    """

    def __init__(
        self,
        refs: RefTable,
        streams: StreamsIn,
        borrowing: Borrowing,
        placement: Placement,
        take_out: Taking,
        drop: Dropping,
    ) -> None:
        """Lend streams of these tables; ``drop`` is what becomes of one that nobody reads."""
        #: Added by ``lend``; removed when the loan ends.
        self.lent: dict[StreamId, LentStream] = {}
        self.handles: dict[StreamId, int] = {}
        self.tickets: dict[ObjectId, StreamId] = {}
        feeding = self.feeding = Feeding(refs, streams, borrowing, placement, take_out)
        self.branches, self.stirred = feeding.branches, feeding.stirred
        self.spare: dict[StreamId, None] = {}
        #: Streams whose holder died before it took anything, until somebody claims them.
        self._orphans: dict[StreamId, None] = {}
        self._refs = refs
        self._streams = streams
        self._borrowing, self.offers = borrowing, borrowing.offers
        self._placement = placement
        self._drop = drop

    # -- the owner's own user ----------------------------------------------------------------------
    def lend(self, event: LendStream, now_ns: int, out: list[Effect]) -> None:
        """A generator is being pickled."""
        stream = event.stream
        record = self._streams.streams[stream]
        before = self.lent.get(stream)
        if before is not None:
            if before.ticket not in self.offers:
                out.append(StreamRefusal(self.refusal(stream)))
                return
            reached("stream pickled again for nothing")
            self._end(stream)
        if record.refusal is not None:
            out.append(StreamRefusal(record.refusal))
            return
        self.spare.pop(stream, None)
        record.epoch += 1
        ticket = ticket_object(stream, record.epoch)
        completion = completion_object(self.branches.get(stream, stream))
        self._refs.create(ticket, self._keeping(completion, record))
        self._refs.watched[ticket] = None
        self.tickets[ticket] = self.offers[ticket] = stream
        items = deque(event.ahead)
        for name in event.ahead:
            self._refs.add_local(name)
        items.extend(record.back or ())
        record.back, record.is_lent = None, True
        position = record.taken - len(items)
        self.lent[stream] = LentStream(ticket, record.epoch, position, items=items)
        self.handles.setdefault(stream, 1)
        words = (stream, record.epoch, 0, position, record.name, ticket, completion)
        out.append(StreamLent(*words, None))

    def take(self, event: TakeItems, out: list[Effect]) -> bool:
        """Answer who wants items here; return False if they come out of the table as ever."""
        stream = event.stream
        lent = self.lent.get(stream)
        if lent is not None:
            if lent.ticket not in self.offers:
                out.append(StreamRefusal(self.refusal(stream)))
                return True
            reached("stream taken back that was pickled for nothing")
            self._end(stream)
        record = self._streams.streams[stream]
        back = record.back
        if back is None or record.is_far:
            return False
        position = record.taken - len(back)
        count_max = event.count_max
        if record.step:
            count_max = min(whole_yields(record, count_max), record.step)
            count_taken(record, position + (record.per_yield if count_max else 0))
        names = tuple([back.popleft() for _ in range(min(count_max, len(back)))])
        if not back:
            record.back = None
        is_end = not (back or record.unread) and (record.ended or record.stays)
        out.append(ItemsTaken(stream, names, is_end))
        if record.step:
            self._placement.grant(stream, out)
        return True

    def come_back(self, event: HoldStream, now_ns: int, out: list[Effect]) -> bool:
        """A generator was unpickled by its owner; return False if there is nothing to be read."""
        stream = event.stream
        lent = self.lent.get(stream)
        if stream not in self._streams.streams or not (lent or self.handles.get(stream)):
            reached("stream came back for nothing")
            return False
        self.handles[stream] += 1
        is_now = lent is not None and lent.epoch == event.epoch
        if is_now and may_claim(self.lent[stream], event.hop, event.chain):
            self.over(stream, now_ns, out)
            self.spare.pop(stream, None)
        return True

    def dropped(self, stream: StreamId) -> bool:
        """A generator of the owner's process is gone; return whether the stream stays."""
        count = self.handles.get(stream)
        if count is None:
            return False
        self.handles[stream] = count - 1
        if count > 1:
            return True
        lent = self.lent.get(stream)
        if lent is not None and lent.ticket not in self.offers:
            reached("lent stream outlives its owner's generator")
            return True
        if lent is not None:
            self._end(stream)
        self._let_go(stream)
        return False

    def refusal(self, stream: StreamId) -> Fault:
        """Return what somebody gets who wants to read a stream that is lent."""
        lent = self.lent[stream]
        who = f"{lent.who or short(lent.holder)} reads it" if lent.holder else UNCLAIMED
        return Fault(FaultKind.STREAM_LENT, self._streams.streams[stream].name, who)

    # -- holders -----------------------------------------------------------------------------------
    def on_take(self, sender: PeerId, message: TakeStream, now_ns: int, out: list[Effect]) -> None:
        """A holder wants items, or somebody wants to hold the stream."""
        lent = self.lent.get(message.stream)
        if lent is None or message.epoch != lent.epoch:
            self._refuse(sender, message, OVER, out)
            return
        if message.hop < lent.hop:
            self._refuse(sender, message, PASSED, out)
            return
        if message.hop > lent.hop or lent.holder != sender:
            if not may_claim(lent, message.hop, message.chain):
                self._refuse(sender, message, self.refusal(message.stream).reason, out)
                return
            self._borrowing.watch(self._borrowing.session.address_of(sender), out)
            self.feeding.consume(message.stream, lent, message.upto, out)
            self._orphans.pop(message.stream, None)
            lent.hop, lent.holder = message.hop, sender
            lent.claim, lent.who = message.claim, message.who
            lent.begun = lent.sent = lent.position
            lent.is_end_told = False
        else:
            self.feeding.consume(message.stream, lent, message.upto, out)
        lent.wanted = lent.position + message.room_count
        self.feeding.feed(message.stream, lent, now_ns, out)

    def on_leave(
        self, sender: PeerId, message: LeaveStream, now_ns: int, out: list[Effect]
    ) -> StreamId | None:
        """A holder goes; return the stream if its generator is to be closed."""
        stream = message.stream
        lent = self.lent.get(stream)
        if lent is None or message.epoch != lent.epoch or message.hop != lent.hop:
            reached("word of an earlier holder")
            return None
        if lent.holder != sender:
            reached("word of no holder")
            return None
        self.feeding.consume(stream, lent, message.upto, out)
        lent.holder = None
        if message.how == PASSED_ON:
            reached("stream passed on")
            lent.hop += 1
            return None
        if message.how == CLOSED:
            return stream
        reached("stream given back")
        self.over(stream, now_ns, out)
        return None

    def on_down(self, peer: PeerId, is_node: bool, now_ns: int, out: list[Effect]) -> None:
        """A process is dead: what it held comes back, or waits for who comes with it again.

        With the node goes everybody, or is not heard of any more.
        """
        for stream, lent in list(self.lent.items()):
            if (lent.holder == peer or is_node) and lent.holder != self._borrowing.me:
                lent.holder = None
                if lent.position == lent.begun and not is_node:
                    self._orphans[stream] = None
                else:
                    reached("stream came back from the dead")
                    self.over(stream, now_ns, out)

    def on_gone(self, gone: list[ObjectId], now_ns: int, out: list[Effect]) -> list[ObjectId]:
        """These watched objects are gone; return those that are no tickets."""
        others: list[ObjectId] = []
        for name in gone:
            stream = self.tickets.get(name)
            if stream is None:
                others.append(name)
            else:
                reached("nobody can come with a lent stream any more")
                self.over(stream, now_ns, out)
        return others

    def tend(self, wanted: list[Effect], now_ns: int) -> None:
        """Send on what a step has brought, and take back what the dead alone could come with."""
        advanced = {
            effect.stream: None
            for effect in wanted
            if type(effect) is StreamAdvanced and effect.stream in self.lent
        }
        if advanced:
            wanted[:] = [
                effect
                for effect in wanted
                if not (type(effect) is StreamAdvanced and effect.stream in advanced)
            ]
            self.stirred.update(advanced)
            for stream in advanced:
                self.feeding.feed(stream, self.lent[stream], now_ns, wanted)
        for stream in list(self._orphans):
            ticket = self.lent[stream].ticket
            mourned = self._borrowing.lent.mourned().count(ticket)
            if self._refs.records[ticket].pins == mourned:
                reached("nobody living can come with a lent stream")
                self.over(stream, now_ns, wanted)

    def closed(self, stream: StreamId) -> None:
        """The owner's user has closed a generator: nobody will take what had come back."""
        if stream in self.handles and stream not in self.lent:
            self._free(stream)

    def check(self) -> None:
        """Assert the invariants of every loan."""
        loans = (self.lent, self.tickets, self.handles)
        owner_audit.check_loans(self._refs, self._streams, *loans)

    # -- inside ------------------------------------------------------------------------------------
    def _keeping(self, completion: ObjectId, record: InStream) -> Parcel:
        """Return what a ticket holds: it keeps the object that tells of the end of its stream."""
        if completion not in self._refs.records:
            self._refs.records[completion] = OwnedRef(record.completion, 0)
        me = self._borrowing.session.identity.address
        kept = Parcel(b"", (), False, (NestedRef(completion, me),))
        self._borrowing.hold(kept)
        return kept

    def _refuse(self, sender: PeerId, message: TakeStream, reason: str, out: list[Effect]) -> None:
        reached("stream refused to a second reader")
        words = (message.stream, message.epoch, message.hop, message.claim, reason)
        out.append(Send(sender, StreamRefused(*words)))

    def _end(self, stream: StreamId) -> None:
        """A loan is over: what its holder has not taken comes first for who reads the stream."""
        lent = self.lent.pop(stream)
        del self.tickets[lent.ticket]
        self._orphans.pop(stream, None)
        self._refs.watched.pop(lent.ticket, None)
        if self.offers.pop(lent.ticket, None) is not None:
            self._refs.drop_all([lent.ticket])
        record = self._streams.streams[stream]
        record.is_lent = False
        record.back = lent.items or None

    def over(self, stream: StreamId, now_ns: int, out: list[Effect]) -> None:
        """A loan has ended: the owner's user goes on, unless there is none any more."""
        self._end(stream)
        if not self.handles[stream]:
            self._let_go(stream)
            self._drop(stream, now_ns, out)
        else:
            if stream in self.branches:
                self.spare[stream] = self.stirred[stream] = None
            if self._streams.streams[stream].stays:
                self._free(stream)
            if self._streams.is_ready(stream):
                out.append(StreamAdvanced(stream))

    def _let_go(self, stream: StreamId) -> None:
        """Nobody reads a stream any more."""
        del self.handles[stream]
        self._free(stream)

    def _free(self, stream: StreamId) -> None:
        record = self._streams.streams[stream]
        self._refs.drop_all(record.back or ())
        record.back = None
