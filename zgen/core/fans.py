"""Streams with several readers: each gets every item, and none is too far ahead of the slowest.

Rules of this file: an item is let go when each reader has taken it or left. Which process reads for
a reader is `lending`'s to say: it is one stream of this process more, and may be lent like others.

Theory of operation. To fan a stream out is to lend it to its readers: its loan lasts until the last
of them has left. A reader is a record among the streams of this process, without a task; what was
taken out of the table waits in ``back`` of each, or with its loan where it is lent, with a local
reference for each. More is taken out when a reader has nothing and the slowest is near enough. One
that came back because who read it is gone is *spare* until somebody reads it here or lends it: it
holds nobody up, and is given up when the others get so far ahead that it would.
"""

from collections import deque
from collections.abc import Sequence

from zgen.core.effects import Effect, ItemsTaken, StreamAdvanced
from zgen.core.events import TakeItems
from zgen.core.feeding import Taking
from zgen.core.handover_words import FannedOut, FanOut, LendStream, StreamLent, StreamRefusal
from zgen.core.in_stream import InStream, count_taken
from zgen.core.lending import Lending
from zgen.core.marks import reached
from zgen.core.placement import Placement
from zgen.core.ref_table import RefTable
from zgen.core.stream_in import StreamsIn
from zgen.ids import ObjectId, PeerId, StreamId, completion_object, derive_branch_id, short
from zgen.slotted import slotted
from zgen.wire.value import Fault, FaultKind

#: Who reads a stream that is fanned out.
WHO = "zgen.streams.fan_out"
#: What those are told who come back to a reader that the others went on without.
GIVEN_UP = "who read it is gone, and the other readers of fan_out went on without it"


@slotted
class Fan:
    """One stream that is fanned out.

    Attributes:
        ticket: Object that keeps its loan.
        pending_max: How many items a reader may be behind the fastest.
        backlog: How many items were there for each reader at the beginning.
        readers: Those that have not left.
    """

    ticket: ObjectId
    pending_max: int
    backlog: int
    readers: dict[StreamId, None]


class Fans:
    """The streams of one process that have several readers.

    Attributes:
        fans: Stream -> what its readers share. Added by ``open``; removed when the last one left.
    """

    def __init__(
        self,
        me: PeerId,
        refs: RefTable,
        streams: StreamsIn,
        placement: Placement,
        lending: Lending,
        take_out: Taking,
    ) -> None:
        """Fan out streams of these tables, out of which ``take_out`` takes items."""
        self.fans: dict[StreamId, Fan] = {}
        #: Readers here that have got something to read in this step.
        self._advanced: dict[StreamId, None] = {}
        self._me = me
        self._refs = refs
        self._streams = streams
        self._placement = placement
        self._lending = lending
        self._branches, self._spare = lending.branches, lending.spare
        self._take_out = take_out

    # -- users -------------------------------------------------------------------------------------
    def open(self, event: FanOut, now_ns: int, out: list[Effect]) -> None:
        """A stream gets several readers, who take up where the one before them stopped."""
        source, lending = event.stream, self._lending
        answers: list[Effect] = []
        lending.lend(LendStream(source, event.ahead), now_ns, answers)
        (answer,) = answers
        if not isinstance(answer, StreamLent):
            out.append(answer)
            return
        del lending.offers[answer.ticket]  # whose local reference is kept here
        record, lent = self._streams.streams[source], lending.lent[source]
        items, lent.items = lent.items, deque()
        lent.holder, lent.who, lent.is_end_told = self._me, WHO, True  # so nothing is sent
        lent.position = lent.begun = lent.sent = record.taken
        completion = completion_object(source)
        readers: dict[StreamId, None] = {}
        for number in range(event.count):
            reader = derive_branch_id(source, record.epoch, number)
            readers[reader] = None
            branch = InStream(record.name, is_far=True, back=deque(items))
            branch.per_yield = record.per_yield
            branch.taken = branch.known = record.taken
            self._streams.streams[reader] = branch
            self._branches[reader], lending.handles[reader] = source, 1
            self._refs.add_local(completion)
            for name in items:
                self._refs.add_local(name)
        self._refs.drop_all(items)  # of the loan
        pending_max = event.pending_max * record.per_yield
        self.fans[source] = Fan(answer.ticket, pending_max, len(items), readers)
        lending.stirred[source] = None
        out.append(FannedOut(tuple(readers)))

    def take(self, event: TakeItems, out: list[Effect]) -> bool:
        """Give out the items of the next yield; return False if that is no reader's stream."""
        reader = event.stream
        source = self._branches.get(reader)
        if source is None:
            return False
        self._spare.pop(reader, None)
        record = self._streams.streams[reader]
        back = record.back
        if not back and record.refusal is not None:
            out.append(StreamRefusal(record.refusal))
            return True
        count = record.per_yield if back and event.count_max else 0
        names = tuple([back.popleft() for _ in range(count)]) if back else ()
        out.append(ItemsTaken(reader, names, record.ended and not back))
        self._stir(source)
        return True

    def close(self, reader: StreamId) -> bool:
        """Somebody closed a reader; return False if it is none."""
        if reader not in self._branches:
            return False
        self._leave(reader)
        self._advanced[reader] = None
        return True

    def gone(self, reader: StreamId) -> bool:
        """The last generator of a reader is gone; return False if it is none."""
        source = self._branches.get(reader)
        if source is None:
            return False
        self._leave(reader)
        del self._branches[reader], self._streams.streams[reader]
        self._spare.pop(reader, None)
        self._refs.drop_all([completion_object(source)])
        return True

    # -- what follows ------------------------------------------------------------------------------
    def more(self, reader: StreamId, count_max: int, now_ns: int) -> tuple[ObjectId, ...]:
        """Take items out of the table for a reader, and for the others; return the names."""
        source = self._branches[reader]
        fan = self.fans.get(source)
        if fan is None or reader not in fan.readers:
            return ()  # it has left, but somebody reads what it had
        record = self._streams.streams[source]
        if not record.unread and (record.ended or record.stays):
            self._end(fan, record)
            return ()
        room = min(fan.pending_max - self._behind(fan), count_max)
        step, record.step = record.step, 0
        names, ended = self._take_out(source, max(room - room % record.per_yield, 0), now_ns)
        record.step = step
        lent = self._lending.lent[source]
        lent.position = lent.sent = record.taken
        for other in list(fan.readers):
            self._streams.streams[other].taken = self._streams.streams[other].known = record.taken
            if other != reader and names:
                self._give(fan, other, names)
        if ended:
            self._end(fan, record)
        return names

    def tend(self, now_ns: int, out: list[Effect]) -> None:
        """Take out more where a reader has nothing, and tell those who wait."""
        stirred = self._lending.stirred
        while stirred:
            changed = [self._branches.get(each, each) for each in stirred]
            stirred.clear()
            for source in dict.fromkeys(changed):
                fan = self.fans.get(source)
                if fan is not None:
                    self._go_on(source, fan, now_ns, out)
        if self._advanced:
            streams = self._streams.streams
            out.extend([StreamAdvanced(each) for each in self._advanced if each in streams])
            self._advanced.clear()

    def slowest(self, reader: StreamId) -> StreamId | None:
        """Return a reader of this process's user that keeps this one from going on, if any."""
        fan = self.fans.get(self._branches.get(reader, reader))
        if fan is None:
            return None
        held = [(each, self._held(each)) for each in fan.readers if each not in self._spare]
        for each, count in held:
            if count + self._streams.streams[each].per_yield > fan.pending_max:
                return None if each in self._lending.lent else each
        return None

    def check(self) -> None:
        """Assert the invariants of every stream with several readers."""
        for source, fan in self.fans.items():
            assert source in self._lending.lent, short(source)
            assert fan.readers, f"{short(source)} is fanned out to nobody"
            for reader in fan.readers:
                record = self._streams.streams[reader]
                most = max(fan.pending_max, fan.backlog)
                assert self._held(reader) <= most, f"{short(reader)} is too far behind"
                assert self._branches[reader] == source, short(reader)
                assert record.taken == self._streams.streams[source].taken, short(reader)
        for reader in self._branches:
            assert reader in self._lending.handles, short(reader)
            assert self._streams.streams[reader].is_far, short(reader)
        for each in self._lending.stirred:
            source = self._branches.get(each, each)
            assert source not in self.fans, f"{short(source)} was to go on"

    # -- inside ------------------------------------------------------------------------------------
    def _go_on(self, source: StreamId, fan: Fan, now_ns: int, out: list[Effect]) -> None:
        for reader in list(fan.readers):
            record, lent = self._streams.streams[reader], self._lending.lent.get(reader)
            if lent is not None:
                self._lending.feeding.feed(reader, lent, now_ns, out)
            elif not (record.back or record.ended):
                names = self.more(reader, record.per_yield, now_ns)
                if names:
                    self._add(reader, record, names)
        record = self._streams.streams[source]
        if record.step and fan.readers:
            fastest = max([record.taken - self._held(reader) for reader in fan.readers])
            count_taken(record, fastest)
            self._placement.grant(source, out)

    def _stir(self, source: StreamId) -> None:
        if source in self.fans:
            self._lending.stirred[source] = None

    def _held(self, reader: StreamId) -> int:
        """Return how many items wait for a reader."""
        lent = self._lending.lent.get(reader)
        return len(lent.items if lent is not None else self._streams.streams[reader].back or ())

    def _behind(self, fan: Fan) -> int:
        """Return how far the slowest reader is behind, of those for which the others wait."""
        held = [self._held(reader) for reader in fan.readers if reader not in self._spare]
        return max(held, default=0)

    def _give(self, fan: Fan, reader: StreamId, names: Sequence[ObjectId]) -> None:
        """Another reader had these taken out."""
        record, lent = self._streams.streams[reader], self._lending.lent.get(reader)
        if reader in self._spare and self._held(reader) + len(names) > fan.pending_max:
            reached("readers went on without one that nobody reads")
            self._leave(reader)
            record.refusal = Fault(FaultKind.STREAM_LENT, record.name, GIVEN_UP)
            self._advanced[reader] = None
            return
        for name in names:
            self._refs.add_local(name)
        if lent is None:
            self._add(reader, record, names)
        else:
            lent.items.extend(names)
            self._lending.stirred[reader] = None

    def _add(self, reader: StreamId, record: InStream, names: Sequence[ObjectId]) -> None:
        if not record.back:
            record.back = deque()
            self._advanced[reader] = None
        record.back.extend(names)

    def _end(self, fan: Fan, source: InStream) -> None:
        """Nothing will follow what was taken out."""
        for reader in fan.readers:
            record = self._streams.streams[reader]
            if not record.ended:
                record.ended = True
                record.completion, record.returned = source.completion, source.returned
                is_lent = reader in self._lending.lent
                (self._lending.stirred if is_lent else self._advanced)[reader] = None

    def _leave(self, reader: StreamId) -> None:
        """A reader wants no more; the last one of a stream gives that back."""
        source = self._branches[reader]
        record, fan = self._streams.streams[reader], self.fans.get(source)
        record.ended = record.stays = True
        if reader not in self._lending.lent:
            self._refs.drop_all(record.back or ())
            record.back = None
        if fan is None or reader not in fan.readers:
            return
        del fan.readers[reader]
        self._lending.stirred[source] = None
        if not fan.readers:
            reached("last reader left")
            del self.fans[source]
            self._refs.drop_all([fan.ticket])
