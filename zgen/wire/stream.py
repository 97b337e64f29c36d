"""`ReportItems ReportEnd CloseStream Consumed Inputs`: one report per yield, many to a message."""

from typing import Final

from zgen.ids import StreamId
from zgen.wire.schema import NO_BUFFERS, Buffers, Entry, message

#: Why the body of a stream waits for its consumer: as many items wait as may,
PARKED_BY_ITEMS: Final = 1
#: as many bytes,
PARKED_BY_BYTES: Final = 2
#: or as many of either of all streams of its actor.
PARKED_BY_ACTOR: Final = 3


@message(0x30)
class ReportItems:
    """Executor -> owner: the generator yielded once or several times since the last report.

    Attributes:
        stream: The stream.
        attempt: Execution of the task, from 0.
        first_index: Position of the first entry, from 0; the others follow without gaps.
        entries: One for each item.
        buffers: Buffers of the entries, in order.
    """

    stream: StreamId
    attempt: int
    first_index: int
    entries: tuple[Entry, ...]
    buffers: Buffers = NO_BUFFERS


@message(0x31)
class ReportEnd:
    """Executor -> owner: the generator ended.

    Attributes:
        stream: The stream.
        attempt: Execution of the task, from 0.
        count: Items that this attempt yielded; an error is not one of them.
        outcome: One of ``wire.task``'s ``OUTCOME_`` numbers.
        run_ns: How long its body ran.
        entries: Empty; one error that stands at position ``count``; or what the generator returned,
            if that is not None.
        buffers: Buffers of the entry.
    """

    stream: StreamId
    attempt: int
    count: int
    outcome: int
    run_ns: int
    entries: tuple[Entry, ...]
    buffers: Buffers = NO_BUFFERS


@message(0x32)
class CloseStream:
    """Owner -> executor: nobody will read further items; drop them where you are.

    Attributes:
        stream: The stream.
        attempt: Execution that is meant.
        stop: Whether the body is to get ``GeneratorExit`` at its ``yield``, or never to begin;
            otherwise it runs on to its end, as in Ray.
    """

    stream: StreamId
    attempt: int
    stop: bool = False

    @property
    def task(self) -> StreamId:
        """The stream, as who cancels names it."""
        return self.stream


@message(0x33)
class Consumed:
    """Owner -> executor: items of a stream with a window were taken, so that others may follow.

    Attributes:
        stream: The stream.
        attempt: Execution that is meant.
        upto: How many of its items were taken so far, whichever attempt yielded them.
    """

    stream: StreamId
    attempt: int
    upto: int


@message(0x38)
class Inputs:
    """Owner -> executor: what a two-way body is given at its next yields, after its push.

    Attributes:
        stream: The stream.
        attempt: Execution that is meant.
        first_index: Position of the first entry among all that the attempt is given, from 0; that
            of the item which answers it.
        raises: Which of the entries, counted from 0, are exceptions to raise.
        entries: The values.
        buffers: Buffers of the entries, in order.
    """

    stream: StreamId
    attempt: int
    first_index: int
    raises: tuple[int, ...]
    entries: tuple[Entry, ...]
    buffers: Buffers = NO_BUFFERS


@message(0x39)
class StreamParked:
    """Executor -> owner: the body waits for its consumer; tell it at the latest when all is taken.

    Attributes:
        stream: The stream.
        attempt: Execution that is meant.
        parked_by: Why, one of the ``PARKED_BY_`` numbers.
    """

    stream: StreamId
    attempt: int
    parked_by: int
