"""Items of streams that are lent, sent to who reads them as far as there is room.

Rules of this file: what a reader was sent and has not taken stays with its loan. Who may read is
not known here.
"""

from collections.abc import Callable
from itertools import islice

from zgen.core.borrowing import Borrowing
from zgen.core.effects import Effect, Send
from zgen.core.in_stream import InStream, count_taken, has_returned
from zgen.core.lent_stream import LentStream
from zgen.core.placement import Placement
from zgen.core.ref_table import RefTable
from zgen.core.stream_in import StreamsIn
from zgen.exceptions import RemoteProtocolError
from zgen.ids import NO_STREAM, ObjectId, StreamId, completion_object
from zgen.wire.handover import StreamItems
from zgen.wire.value import NestedRef, Stored

#: Takes up to so many items out of the table; returns their names, and whether none will follow.
Taking = Callable[[StreamId, int, int], tuple[tuple[ObjectId, ...], bool]]


class Feeding:
    """What the readers of lent streams are sent.

    Attributes:
        branches: Reader of a stream that has several -> that stream. Kept by ``fans``.
        stirred: Readers, and streams with several, for which something has changed in this step.
    """

    def __init__(
        self,
        refs: RefTable,
        streams: StreamsIn,
        borrowing: Borrowing,
        placement: Placement,
        take_out: Taking,
    ) -> None:
        """Send items of these tables."""
        self.branches: dict[StreamId, StreamId] = {}
        self.stirred: dict[StreamId, None] = {}
        self._refs = refs
        self._streams = streams
        self._borrowing = borrowing
        self._placement = placement
        self._take_out = take_out

    def consume(self, stream: StreamId, lent: LentStream, upto: int, out: list[Effect]) -> None:
        """A holder has taken everything before ``upto``."""
        count = upto - lent.position
        record = self._streams.streams[stream]
        if count <= 0:
            return
        if count > len(lent.items) or count % record.per_yield:
            raise RemoteProtocolError(f"{upto} items taken, {lent.position} and {lent.items} given")
        self._refs.drop_all([lent.items.popleft() for _ in range(count)])
        lent.position = upto
        if record.is_far:
            self.stirred[stream] = None
        if record.step:
            count_taken(record, upto)
            self._placement.grant(stream, out)

    def feed(self, stream: StreamId, lent: LentStream, now_ns: int, out: list[Effect]) -> None:
        """Send a holder what is there and it has room for."""
        holder = lent.holder
        if holder is None:
            return
        record = self._streams.streams[stream]
        limit = lent.wanted - lent.wanted % record.per_yield
        if record.step:
            limit = min(limit, lent.position + record.step)
        have = lent.position + len(lent.items)
        while have < limit and lent.position >= lent.large:
            names = self._more(stream, record, limit - have, now_ns)
            lent.items.extend(names)
            have += len(names)
            if Stored in [type(self._refs.records[name].value) for name in names]:
                lent.large = have
            if not names:
                break
        upto = min(have, max(limit, lent.sent))
        is_end = upto == have and not record.unread and (record.ended or record.stays)
        if lent.sent == upto and (lent.is_end_told or not is_end):
            return
        first, lent.sent, lent.is_end_told = lent.sent, upto, is_end
        names = tuple(islice(lent.items, first - lent.position, upto - lent.position))
        refs = tuple([NestedRef(name, self._borrowing.session.identity.address) for name in names])
        words = (stream, lent.epoch, lent.hop, lent.claim, first, len(names), is_end)
        returns, source = is_end and has_returned(record), self.branches.get(stream, NO_STREAM)
        out.append(Send(holder, StreamItems(*words, returns, source), refs=refs, gives=True))
        for name in names:
            self._refs.pin(name)  # until they have left: the loan may end in this step
            self._borrowing.asked(holder, name, out)
        if returns:
            completion = completion_object(self.branches.get(stream, stream))
            self._borrowing.asked(holder, completion, out)

    def _more(
        self, stream: StreamId, record: InStream, count_max: int, now_ns: int
    ) -> tuple[ObjectId, ...]:
        """Take items out of the table for a holder, of which none counts as taken by the user."""
        step, record.step = record.step, 0
        names, _ = self._take_out(stream, count_max, now_ns)
        record.step = step
        return names
