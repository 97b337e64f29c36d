"""What a body may ask of the stream that it feeds, and the answer; part of `Event` and `Effect`."""

from typing import TypeAlias

from zgen.ids import StreamId, TaskId
from zgen.slotted import slotted
from zgen.wire.value import Value


# -- events ----------------------------------------------------------------------------------------
@slotted
class AskPosition:
    """The running body asks which item it is to yield next; ``PositionIs`` follows.

    Attributes:
        task: The task that runs.
        attempt: Its execution.
    """

    task: TaskId
    attempt: int


@slotted
class SendRequested:
    """The user gives a two-way generator something; one more item follows, or its end.

    Attributes:
        stream: The stream.
        value: The value; it does not lie in shared memory.
        raises: Whether it is an exception to raise at the yield.
    """

    stream: StreamId
    value: Value
    raises: bool = False


@slotted
class AskRoom:
    """The running body is about to yield a large item: ``HoldBody`` follows if that has to wait.

    It is let in by the end of that, and counts from then on.

    Attributes:
        task: The task that runs.
        attempt: Its execution.
        size_bytes: Bytes of the item.
    """

    task: TaskId
    attempt: int
    size_bytes: int


@slotted
class YieldedTogether:
    """The running body yielded several values at once, each of which is an item.

    Attributes:
        task: The task that runs.
        attempt: Its execution.
        values: What it yielded; as many as each of its yields makes.
    """

    task: TaskId
    attempt: int
    values: tuple[Value, ...]


# -- effects ---------------------------------------------------------------------------------------
@slotted
class PositionIs:
    """Answer to ``AskPosition``.

    Attributes:
        task: The task that runs.
        index: What its next yield will be, from 0; -1 if it yields none.
    """

    task: TaskId
    index: int


@slotted
class GiveInput:
    """Give a two-way body this at its yield, or as it begins, behind what it was given before.

    Attributes:
        task: The task that runs, or is about to.
        attempt: Its execution.
        value: The value.
        raises: Whether it is an exception to raise there.
    """

    task: TaskId
    attempt: int
    value: Value
    raises: bool = False


StreamEvent: TypeAlias = AskPosition | AskRoom | SendRequested | YieldedTogether
StreamEffect: TypeAlias = PositionIs | GiveInput
