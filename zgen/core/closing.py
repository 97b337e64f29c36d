"""Generators that their user closes: what runs stops at its yield, what waits never begins.

Rules of this file: what is closed is a cancelled task whose body is not interrupted, and which ends
without an error. How it ends is ``cancellation``'s and ``settlement``'s.
"""

from zgen.core.cancel_words import CloseRequested
from zgen.core.cancellation import Cancellation
from zgen.core.effects import Effect, Send, StreamAdvanced
from zgen.core.lineage_pins import LineagePins
from zgen.core.marks import reached
from zgen.core.stream_in import StreamsIn
from zgen.core.task_table import TaskEntry, TaskTable
from zgen.wire.stream import CloseStream


class Closing:
    """The generators of one owner that its user may close."""

    def __init__(
        self, tasks: TaskTable, streams: StreamsIn, pins: LineagePins, cancellation: Cancellation
    ) -> None:
        """Close streams of these tables."""
        self._tasks = tasks
        self._streams = streams
        self._pins = pins
        self._cancellation = cancellation

    def request(self, event: CloseRequested, now_ns: int, out: list[Effect]) -> None:
        """Free what was not taken, and let the body stop if it has not ended."""
        stream = event.stream
        if not self._streams.stop(stream):
            reached("closed again for nothing")
            return
        out.append(StreamAdvanced(stream))
        entry = self._tasks.entries.get(stream)
        if self._streams.streams[stream].ended or entry is None:
            if stream in self._pins.lineage.entries:
                self._pins.close(stream)
        else:
            self.stop(entry, now_ns, out)

    def stop(self, entry: TaskEntry, now_ns: int, out: list[Effect]) -> None:
        """Let a body stop that has not ended, and what waits never begin."""
        stream = entry.spec.task
        if entry.worker is None:
            entry.is_closing = True
            self._cancellation.cancel(stream, False, False, now_ns, out)
        else:
            if entry.cancel is None:
                reached("closed at a worker")
                entry.cancel, entry.is_closing = (False, False), True
            else:
                reached("closed under a cancel")  # which its body may have survived
            out.append(Send(entry.worker, CloseStream(stream, entry.attempt, True)))
