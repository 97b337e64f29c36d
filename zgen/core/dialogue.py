"""Two-way generators: what their users send reaches the body in order, each input once an attempt.

Rules of this file: an input is an answer's price: the body goes on to its next item for each, and
for nothing else. Whether it runs again when its worker dies is not decided here, but for what
cannot be repeated.

Theory of operation. Item number n answers input number n. Its owner keeps all that was sent, as
long as the task may run again: each push is followed by it. To the worker a two-way stream has a
window that every input makes wider by one, so that the body is held at its start and at each yield
until there is an input for it.
"""

from collections.abc import Callable, Iterable

from zgen.core.admission import Waiting
from zgen.core.borrowing import Borrowing
from zgen.core.effects import Effect
from zgen.core.holds import Holds, Reason
from zgen.core.input_log import Input, InputLog, feed
from zgen.core.marks import reached
from zgen.core.ref_table import RefTable
from zgen.core.stream_in import StreamsIn
from zgen.core.stream_out import UNLIMITED, StreamsOut
from zgen.core.stream_words import GiveInput, SendRequested
from zgen.core.task_table import TaskTable
from zgen.exceptions import RemoteProtocolError
from zgen.ids import PeerId, TaskId
from zgen.limits import INPUT_LOG_BYTES_MAX
from zgen.wire.stream import Inputs
from zgen.wire.task import LOCK_STEP
from zgen.wire.value import Parcel, Stored, Value, is_error, keeping, unpack


class Speaking:
    """The two-way generators of one owner."""

    def __init__(
        self, tasks: TaskTable, streams: StreamsIn, refs: RefTable, borrowing: Borrowing
    ) -> None:
        """Send into streams of these tables."""
        self._tasks = tasks
        self._streams = streams
        self._refs = refs
        self._borrowing = borrowing

    def request(self, event: SendRequested, now_ns: int, out: list[Effect]) -> None:
        """Keep an input, and hand it to the body where that has a worker."""
        entry = self._tasks.entries.get(event.stream)
        if entry is None or entry.cancel is not None:
            reached("sent into what has ended")
            return
        log = entry.log
        if log is None:
            log = entry.log = InputLog()
        given = Input(event.value, event.raises)
        self._borrowing.hold(event.value)
        log.add(given)
        if entry.worker is not None:
            where = (event.stream, entry.attempt, log.count - 1)
            feed(entry.worker, where, (given,), self._refs.pin, out)
        most = INPUT_LOG_BYTES_MAX if entry.retries_left else 0
        # An attempt that has said something has begun: it is not pushed again as it is. One that is
        # stopped runs again in any case.
        has_begun = self._streams.streams[event.stream].position and not entry.is_stopping
        if log.size_bytes > most and has_begun:
            reached("log of inputs let go")
            self._refs.dropped.extend(keeping(log.values()))
            log.lose()
            log.is_missed = log.is_missed or entry.retries_left != 0
            entry.retries_left = 0


class Listening:
    """The two-way bodies of one worker.

    Attributes:
        kept: Running body -> inputs with references that it may not have read yet. Added by
            ``on_inputs`` and ``begin``; removed by ``let_go``.
    """

    def __init__(
        self,
        reports: StreamsOut,
        holds: Holds,
        borrowing: Borrowing,
        queued: Callable[[], Iterable[Waiting]],
    ) -> None:
        """Feed the bodies of these streams; ``queued`` returns what has not started."""
        self.kept: dict[TaskId, list[Parcel | Stored]] = {}
        self._reports = reports
        self._holds = holds
        self._borrowing = borrowing
        self._queued = queued
        self._dropped = reports.dropped

    def on_inputs(self, sender: PeerId, message: Inputs, now_ns: int, out: list[Effect]) -> None:
        """Give a body what it is sent, or keep that until it starts.

        Raises:
            RemoteProtocolError: It does not follow what the body was given before, or cannot be
                given to it.
        """
        values, _ = unpack(message.entries, message.buffers)
        if any(type(value) is Stored or is_error(value) for value in values):
            raise RemoteProtocolError("an input that is no plain value")
        self._borrowing.take_in(sender, values, out)
        try:
            if self._give(sender, message, values, out):
                values = []
        finally:
            self._dropped.extend(keeping(values))

    def begin(self, waiting: Waiting, out: list[Effect]) -> None:
        """A two-way body is about to start: it goes on as far as it has inputs."""
        task, inputs = waiting.task.task, waiting.inputs
        waiting.inputs = ()
        self._reports.streams[task].limit = len(inputs)
        self._hand_over(task, waiting.task.attempt, inputs, out)
        if not (inputs or waiting.closed):
            self._holds.hold(task, waiting.owner, Reason.WINDOW, out)

    def let_go(self, task: TaskId) -> None:
        """A body has read all its inputs, or has ended."""
        self._dropped.extend(self.kept.pop(task, ()))

    def values(self) -> list[Value]:
        """Return the inputs that running bodies may not have read."""
        return [value for values in self.kept.values() for value in values]

    def _give(
        self,
        sender: PeerId,
        message: Inputs,
        values: list[Value],
        out: list[Effect],
    ) -> bool:
        """Return whether what came is given to a body, or will be."""
        stream, which = message.stream, (sender, message.stream, message.attempt)
        raises = dict.fromkeys(message.raises)
        inputs = tuple([Input(value, at in raises) for at, value in enumerate(values)])
        record = self._reports.streams.get(stream)
        if record is None:
            for waiting in self._queued():
                if (waiting.owner, waiting.task.task, waiting.task.attempt) == which:
                    _check(waiting.task.window, len(waiting.inputs), message)
                    waiting.inputs += inputs
                    return True
        elif (record.owner, stream, record.attempt) == which and record.limit < UNLIMITED:
            _check(record.window, record.limit, message)
            record.limit += len(inputs)
            self._hand_over(stream, record.attempt, inputs, out)
            self._holds.release(stream, Reason.WINDOW, out)
            return True
        reached("inputs of what does not listen")
        return False

    def _hand_over(
        self, task: TaskId, attempt: int, inputs: Iterable[Input], out: list[Effect]
    ) -> None:
        for given in inputs:
            out.append(GiveInput(task, attempt, given.value, given.raises))
            if isinstance(given.value, Parcel) and given.value.refs:
                self.kept.setdefault(task, []).append(given.value)


def _check(window: int, count: int, message: Inputs) -> None:
    if window != LOCK_STEP or message.first_index != count:
        raise RemoteProtocolError(f"input {message.first_index}, expected {count}")
