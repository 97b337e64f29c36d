"""Executor side: bodies that wait for their consumers, and what these hear of that.

Rules of this file: a body is held for as long as its stream is parked. What fits is decided by the
tables of reports.

Theory of operation. A stream with a window in items parks when that is full. One that is metered
parks when its next item does not fit; it says so, since its consumer tells what he took by parts,
and none of them may be too small to be told when all is taken. Whatever is counted out may let
others go on: first who waits longest. A body that goes on finds its line busy, so that it does not
wake its consumer, who has items left, for the first item of what fits.
"""

from zgen.core.effects import Effect, Send
from zgen.core.holds import Holds, Reason
from zgen.core.stream_out import StreamsOut
from zgen.core.stream_words import AskRoom
from zgen.ids import PeerId, TaskId
from zgen.wire.stream import CloseStream, Consumed, StreamParked


class Parking:
    """The parked bodies of one worker, which stand in the tables of others."""

    def __init__(self, reports: StreamsOut, holds: Holds) -> None:
        """Speak by ``reports``, and hold bodies by ``holds``."""
        self._reports = reports
        self._holds = holds

    def park(self, stream: TaskId, out: list[Effect]) -> None:
        """Hold a body until its consumer has taken something."""
        record = self._reports.streams[stream]
        if not record.is_metered:
            self._holds.hold(stream, record.owner, Reason.WINDOW, out)
            return
        self._holds.hold(stream, record.owner, Reason.ROOM, out)
        parked_by = self._reports.metering.meters[stream].parked_by
        out.append(Send(record.owner, StreamParked(stream, record.attempt, parked_by)))

    def on_ask(self, event: AskRoom, now_ns: int, out: list[Effect]) -> None:
        """A body is about to yield a large item, which is written when there is room for it."""
        reports, stream = self._reports, event.task
        record = reports.streams.get(stream)
        if record is None or not record.is_metered:
            return
        position = record.count // record.per_yield
        if not reports.metering.admit(stream, position, event.size_bytes):
            reports.flush_stream(stream, now_ns, out)
            self.park(stream, out)

    def on_consumed(self, message: Consumed, now_ns: int, out: list[Effect]) -> None:
        """Items of a stream that runs were taken."""
        stream = message.stream
        if self._reports.grant(stream, message.attempt, message.upto):
            if self._holds.is_held(stream, Reason.WINDOW):
                owner = self._reports.streams[stream].owner
                self._reports.lines[owner].flushed_ns = now_ns  # what it yields now leaves together
            self._holds.release(stream, Reason.WINDOW, out)
        metering = self._reports.metering
        if metering.items_max or metering.bytes_max:
            self.go_on(now_ns, out)
        elif stream in metering.parked and metering.may_go_on(stream):
            self._let_in(stream, now_ns, out)

    def close(self, message: CloseStream, now_ns: int, out: list[Effect]) -> None:
        """Nobody takes items of a stream that runs any more: its body does not wait for that."""
        stream = message.stream
        self._reports.close(stream, message.attempt)
        if not self._reports.streams[stream].closed:
            return
        self._holds.release(stream, Reason.WINDOW, out)
        self._holds.release(stream, Reason.ROOM, out)
        self.go_on(now_ns, out)

    def free(self, stream: TaskId, now_ns: int, out: list[Effect]) -> None:
        """Let a body go on whatever it waits for: nothing that it yields counts any more."""
        self._holds.free(stream, out)
        self.go_on(now_ns, out)

    def free_of(self, owner: PeerId, now_ns: int, out: list[Effect]) -> None:
        """Nobody reads what is yielded for this owner any more."""
        self._holds.free_of(owner, out)
        self.go_on(now_ns, out)

    def go_on(self, now_ns: int, out: list[Effect]) -> None:
        """Let those parked streams go on whose next item fits now."""
        metering = self._reports.metering
        for stream in list(metering.parked):
            if metering.may_go_on(stream):
                self._let_in(stream, now_ns, out)

    def check(self) -> None:
        """Assert that those bodies are held whose streams are parked."""
        for stream, record in self._reports.streams.items():
            is_parked = self._holds.is_held(stream, Reason.WINDOW)
            assert is_parked == (record.count >= record.limit), f"parked: {is_parked}, {record}"
            is_parked = self._holds.is_held(stream, Reason.ROOM)
            assert is_parked == (stream in self._reports.metering.parked), f"{record}"

    def _let_in(self, stream: TaskId, now_ns: int, out: list[Effect]) -> None:
        meter = self._reports.metering.meters[stream]
        values, meter.values = meter.values, ()
        if values:
            attempt = self._reports.streams[stream].attempt
            if self._reports.add_yield(stream, attempt, values, now_ns, out):
                self.park(stream, out)  # that one fitted, and no other one does
                return
        self._holds.release(stream, Reason.ROOM, out)
