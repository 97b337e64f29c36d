"""Streams of other processes that this one has by a loan, and reads.

Rules of this file: an item is given out once and in order, and its owner is told of each as it is.
Who may hold a stream is its owner's to say.

Theory of operation. What a holder was sent waits in ``back`` of a record among the streams of this
process, under a name of the loan's own; a reader finds it as he finds the items of any stream. Each
one that he takes is told to the owner, which says how much further it may send. To pass it on ends
the right here, once a value is held that its generator was pickled for: what was not taken is let
go, since its owner has it too.
"""

from collections import deque

from zgen.core.borrowing import Borrowing
from zgen.core.effects import Effect, ItemsTaken, Send, StreamAdvanced
from zgen.core.events import TakeItems
from zgen.core.handover_words import HoldStream, LendStream, StreamHeld, StreamLent, StreamRefusal
from zgen.core.in_stream import InStream
from zgen.core.marks import reached
from zgen.core.ref_table import RefTable
from zgen.core.stream_in import StreamsIn
from zgen.exceptions import RemoteProtocolError
from zgen.ids import (
    NO_STREAM,
    ObjectId,
    PeerId,
    StreamId,
    derive_loan_id,
    item_ids,
    short,
    ticket_object,
)
from zgen.limits import (
    ITEMS_COUNT_MAX,
    LOAN_HOPS_COUNT_MAX,
    LOAN_ROOM_COUNT,
    PER_YIELD_COUNT_MAX,
)
from zgen.slotted import slotted
from zgen.wire.handover import (
    CLOSED,
    GIVEN_BACK,
    PASSED_ON,
    LeaveStream,
    StreamItems,
    StreamRefused,
    TakeStream,
)
from zgen.wire.session import Address
from zgen.wire.value import Fault, FaultKind, NestedRef, Parcel

#: What those are told who read on where they have passed it on.
PASSED = "this process has passed it on"
#: And those that would hand on what went through too many hands.
TOO_FAR = "it was passed on too often, and has to go back to its owner"
#: What a ticket holds whose owner is dead, or of whose death nobody will tell.
DEATHS = (FaultKind.OWNER_DIED, FaultKind.NODE_DIED)


@slotted
class FarStream:
    """One stream of another process that a generator here reads.

    Attributes:
        owner: Whose it is.
        stream: Its name there.
        epoch: Which loan.
        hop: How often it was passed on.
        taken: Items that were taken, whoever did.
        ticket: Object that keeps the loan; it has a local reference until it is passed on.
        completion: Object that tells of the end; it has a local reference.
        chain: Who passed it on, from hop 0 on.
        who: What this process is, for people.
        claim: Number of the claim: what answers an earlier one changes nothing.
        handles: Generators of it here.
        is_held: Whether the owner was asked for it, has not refused it, and was not told otherwise.
        is_begun: Whether anything came from there yet.
        is_passed: Whether a value is held here that a generator was pickled for.
        per_yield: Items that each yield makes, which are given out together.
    """

    owner: Address
    stream: StreamId
    epoch: int
    hop: int
    taken: int
    ticket: ObjectId
    completion: ObjectId
    chain: tuple[PeerId, ...]
    who: str
    claim: int
    handles: int = 1
    is_held: bool = False
    is_begun: bool = False
    is_passed: bool = False
    per_yield: int = 1


class FarStreams:
    """The streams of others that one process reads.

    Attributes:
        held: Name of a stream here -> what is known of it. Added by ``hold``; removed when the last
            generator of it is gone.
    """

    def __init__(self, refs: RefTable, streams: StreamsIn, borrowing: Borrowing) -> None:
        """Read with records of these tables."""
        self.held: dict[StreamId, FarStream] = {}
        self._claims_count = 0
        self._refs = refs
        self._streams = streams
        self._borrowing = borrowing
        self._offers = borrowing.offers

    # -- the user ----------------------------------------------------------------------------------
    def hold(self, event: HoldStream, now_ns: int, out: list[Effect]) -> None:
        """A generator was unpickled: claim its stream, or count one handle more."""
        key = derive_loan_id(event.stream, event.epoch, event.hop)
        out.append(StreamHeld(key))
        far = self.held.get(key)
        if far is not None:
            reached("stream unpickled twice in one process")
            far.handles += 1
            return
        ticket = ticket_object(event.stream, event.epoch)
        self._refs.add_local(ticket)
        self._refs.add_local(event.completion)
        self._claims_count += 1
        far = self.held[key] = FarStream(
            event.owner,
            event.stream,
            event.epoch,
            event.hop,
            event.upto,
            ticket,
            event.completion,
            event.chain,
            event.who,
            self._claims_count,
            per_yield=event.per_yield,
        )
        record = InStream(event.name, is_far=True, back=deque(), per_yield=event.per_yield)
        self._streams.streams[key] = record
        value = self._refs.records[ticket].value
        if event.owner.peer == self._borrowing.me:
            self._end(record, Fault(FaultKind.STREAM_LENT, event.name, "its owner has it no more"))
        elif isinstance(value, Fault) and value.kind in DEATHS:
            self._end(record, value)
        else:
            self._claim(far, out)

    def take(self, event: TakeItems, out: list[Effect]) -> bool:
        """Give out the items of the next yield; return False if the stream is none of here."""
        key = event.stream
        far = self.held.get(key)
        if far is None:
            return False
        record = self._streams.streams[key]
        if self._is_offered(far, key):
            reached("far stream read on that was pickled for nothing")
            del self._offers[far.ticket]
        back = record.back
        if back:
            names = tuple([back.popleft() for _ in range(far.per_yield)])
            far.taken += far.per_yield
            is_end = record.ended and not back and record.refusal is None
            out.append(ItemsTaken(key, names, is_end))
            if far.is_held:
                self._ask(far, out)
        elif record.refusal is not None:
            out.append(StreamRefusal(record.refusal))
        else:
            out.append(ItemsTaken(key, (), record.ended))
        return True

    def pass_on(self, event: LendStream, out: list[Effect]) -> bool:
        """A generator is being pickled; return False if its stream is none of here."""
        key = event.stream
        far = self.held.get(key)
        if far is None:
            return False
        record = self._streams.streams[key]
        if record.refusal is not None:
            out.append(StreamRefusal(record.refusal))
            return True
        if far.hop >= LOAN_HOPS_COUNT_MAX:
            out.append(StreamRefusal(Fault(FaultKind.STREAM_LENT, record.name, TOO_FAR)))
            return True
        self._offers[far.ticket] = key
        lent = (far.stream, far.epoch, far.hop + 1, far.taken, record.name, far.ticket)
        chain = (*far.chain, self._borrowing.me)
        out.append(StreamLent(*lent, far.completion, far.owner, chain))
        return True

    def close(self, key: StreamId, out: list[Effect]) -> bool:
        """The user closed a generator; return False if its stream is none of here."""
        far = self.held.get(key)
        if far is None:
            return False
        record = self._streams.streams[key]
        if self._is_offered(far, key):
            del self._offers[far.ticket]
        self._leave(far, record, CLOSED, out)
        record.ended = True
        out.append(StreamAdvanced(key))
        return True

    def dropped(self, key: StreamId, out: list[Effect]) -> bool:
        """A generator is gone; return False if its stream is none of here."""
        far = self.held.get(key)
        if far is None:
            return False
        far.handles -= 1
        if not far.handles:
            record = self._streams.streams.pop(key)
            del self.held[key]
            self._leave(far, record, GIVEN_BACK, out)
            if self._is_offered(far, key):
                del self._offers[far.ticket]
            self._refs.drop_all([far.completion])
            if not far.is_passed:
                self._refs.drop_all([far.ticket])
        return True

    def completion(self, key: StreamId) -> ObjectId | None:
        """Return the object that tells of the end of a stream; None if it is none of here."""
        far = self.held.get(key)
        return far.completion if far is not None else None

    def tend(self, out: list[Effect]) -> None:
        """Values are held that streams were pickled for: those are passed on now."""
        accepted = self._borrowing.accepted
        for key in accepted:
            far = self.held.get(key)
            if far is not None:
                record = self._streams.streams[key]
                far.is_passed = True
                self._leave(far, record, PASSED_ON, out)
                self._end(record, Fault(FaultKind.STREAM_LENT, record.name, PASSED))
                out.append(StreamAdvanced(key))  # who waits for an item here is told so
        accepted.clear()

    # -- owners ------------------------------------------------------------------------------------
    def on_items(
        self, sender: PeerId, message: StreamItems, now_ns: int, out: list[Effect]
    ) -> None:
        """Items came, or the end."""
        key = _named_here(message)
        first, count = message.first_index, message.count
        far = self.held.get(key)
        room_count = _room_count(far.per_yield if far is not None else PER_YIELD_COUNT_MAX)
        is_whole = far is None or count % far.per_yield == 0
        if not (0 <= count <= room_count and 0 <= first <= ITEMS_COUNT_MAX and is_whole):
            raise RemoteProtocolError(f"{count} items of a lent stream from {first} on")
        owner = self._borrowing.session.address_of(sender)
        source = message.stream if message.source == NO_STREAM else message.source
        names = item_ids(source, message.first_index, message.count)
        parcel = Parcel(b"", (), False, tuple([NestedRef(name, owner) for name in names]))
        self._borrowing.take_in(sender, (parcel,), out)
        self._refs.dropped.append(parcel)
        if far is None or not far.is_held or far.claim != message.claim:
            reached("items for who holds the stream no more")
            return
        record = self._streams.streams[key]
        back = record.back
        assert back is not None, key
        if not far.is_begun:
            far.is_begun, far.taken = True, message.first_index
        if message.first_index != far.taken + len(back) or record.ended:
            raise RemoteProtocolError(f"item {message.first_index} behind {far.taken}, {len(back)}")
        for name in names:
            ref = self._refs.records[name]
            ref.local += 1
            if ref.value is None:
                assert ref.borrow is not None, f"{short(name)} is its sender's"
                ref.borrow.asked = True  # the value comes behind
        back.extend(names)
        record.ended, record.returned = message.is_end, message.is_end and message.returns
        if record.returned:
            borrow = self._refs.records[far.completion].borrow
            assert borrow is not None, short(key)
            borrow.asked = True  # as above
        out.append(StreamAdvanced(key))

    def on_refused(
        self, sender: PeerId, message: StreamRefused, now_ns: int, out: list[Effect]
    ) -> None:
        """Somebody else holds a stream."""
        key = _named_here(message)
        far = self.held.get(key)
        if far is None or not far.is_held or far.claim != message.claim:
            reached("refusal for who holds the stream no more")
            return
        record = self._streams.streams[key]
        far.is_held = False  # first, so that nobody is told
        self._leave(far, record, GIVEN_BACK, out)
        self._end(record, Fault(FaultKind.STREAM_LENT, record.name, message.reason))
        out.append(StreamAdvanced(key))

    def on_down(self, peer: PeerId, fault: Fault | None, out: list[Effect]) -> None:
        """A process is dead, or with ``fault`` no death will be heard of any more."""
        for key, far in self.held.items():
            record = self._streams.streams[key]
            if (fault is not None or far.owner.peer == peer) and record.refusal is None:
                reached("owner of a far stream died")
                far.is_held = False
                if not record.ended:
                    died = Fault(FaultKind.OWNER_DIED, far.stream.hex(), "it was reading on")
                    self._end(record, fault or died)
                    out.append(StreamAdvanced(key))

    def check(self) -> None:
        """Assert the invariants of every stream that is read here."""
        for key, far in self.held.items():
            record = self._streams.streams[key]
            assert record.is_far, short(key)
            assert record.back is not None, short(key)
            assert far.handles > 0, short(key)
            assert not (far.is_held and record.refusal), f"{short(key)}: {far}"
            assert self._refs.records[far.completion].local > 0, f"{short(key)} has no end"
            if not far.is_passed:
                assert self._refs.records[far.ticket].local > 0, f"{short(key)} has no ticket"

    # -- inside ------------------------------------------------------------------------------------
    def _is_offered(self, far: FarStream, key: StreamId) -> bool:
        """Return whether no value is held yet that a generator was pickled for."""
        return self._offers.get(far.ticket) == key

    def _claim(self, far: FarStream, out: list[Effect]) -> None:
        far.is_held, far.is_begun = True, False
        self._borrowing.watch(far.owner, out)
        self._ask(far, out)

    def _ask(self, far: FarStream, out: list[Effect]) -> None:
        room_count = _room_count(far.per_yield)
        words = (far.stream, far.epoch, far.hop, far.taken, room_count, far.claim)
        take = TakeStream(*words) if far.is_begun else TakeStream(*words, far.who, far.chain)
        out.append(Send(far.owner.peer, take, address=far.owner))

    def _leave(self, far: FarStream, record: InStream, how: int, out: list[Effect]) -> None:
        """Let go of what was not taken, and tell the owner, if it thinks that this one holds it."""
        assert record.back is not None, record
        self._refs.drop_all(record.back)
        record.back.clear()
        if far.is_held:
            far.is_held = False
            left = LeaveStream(far.stream, far.epoch, far.hop, far.taken, how)
            out.append(Send(far.owner.peer, left, address=far.owner))

    @staticmethod
    def _end(record: InStream, fault: Fault) -> None:
        record.ended, record.refusal = True, fault


def _room_count(per_yield: int) -> int:
    """Return how many items a holder has room for: whole yields, one at least."""
    return max(LOAN_ROOM_COUNT - LOAN_ROOM_COUNT % per_yield, per_yield)


def _named_here(message: StreamItems | StreamRefused) -> StreamId:
    """Return what a stream is called here that an owner speaks of.

    Raises:
        RemoteProtocolError: It names a loan that there cannot be.
    """
    if not (0 <= message.epoch < 1 << 63 and 0 <= message.hop <= LOAN_HOPS_COUNT_MAX):
        raise RemoteProtocolError(f"loan {message.epoch}, passed on {message.hop} times")
    return derive_loan_id(message.stream, message.epoch, message.hop)
