"""What a two-way generator was sent: kept in order, so that another attempt is given the same.

Rules of this file: it counts and packs. When what is kept is too much is not decided here.
"""

from collections.abc import Callable, Sequence
from dataclasses import field

from zgen.core.effects import Effect, Send
from zgen.ids import ObjectId, PeerId, StreamId
from zgen.limits import BATCH_BYTES_MAX, BATCH_COUNT_MAX, INPUT_BYTES
from zgen.slotted import slotted
from zgen.wire.schema import Buffers
from zgen.wire.stream import Inputs
from zgen.wire.value import Value, pack, refs_in, size_bytes


@slotted
class Input:
    """One value that a body is given.

    Attributes:
        value: The value.
        raises: Whether it is an exception to raise.
    """

    value: Value
    raises: bool = False


@slotted
class InputLog:
    """What one two-way generator was sent.

    Attributes:
        count: How much it was sent.
        inputs: All of that in order, the first one first; nothing once it is lost.
        size_bytes: Bytes that these count for.
        is_lost: Whether nothing is kept any more.
        is_missed: Whether the generator could run again if it were.
    """

    count: int = 0
    inputs: list[Input] = field(default_factory=list)
    size_bytes: int = 0
    is_lost: bool = False
    is_missed: bool = False

    def add(self, given: Input) -> None:
        """Keep one more."""
        self.count += 1
        self.inputs.append(given)
        self.size_bytes += size_bytes(given.value) + INPUT_BYTES

    def lose(self) -> None:
        """Keep nothing, from now on."""
        self.inputs, self.size_bytes, self.is_lost = [], 0, True

    def values(self) -> list[Value]:
        """Return the values that are kept."""
        return [given.value for given in self.inputs]


def feed(
    worker: PeerId,
    where: tuple[StreamId, int, int],
    inputs: Sequence[Input],
    pin: Callable[[ObjectId], None],
    out: list[Effect],
) -> None:
    """Send inputs, in as many messages as their bytes ask for.

    Args:
        worker: Who runs the body.
        where: The stream, the attempt, and the position of the first of them.
        inputs: What the body is given.
        pin: Keeps an object that a value refers to until the message has left.
        out: Effects are added here.
    """
    stream, attempt, first = where
    at = 0
    while at < len(inputs):
        part: list[Input] = []
        size = 0
        while at < len(inputs) and len(part) < BATCH_COUNT_MAX and size < BATCH_BYTES_MAX:
            part.append(inputs[at])
            size += size_bytes(inputs[at].value)
            at += 1
        buffers: list[bytes] = []
        values = [given.value for given in part]
        refs = refs_in(values)
        for ref in refs:
            pin(ref.object)
        raises = tuple([index for index, given in enumerate(part) if given.raises])
        entries = pack(values, buffers)
        message = Inputs(stream, attempt, first, raises, entries, Buffers(tuple(buffers)))
        out.append(Send(worker, message, None, 0, refs, refs != ()))
        first += len(part)
