"""What a body may ask of the stream that it feeds, and the answer; part of `Event` and `Effect`."""

from zgen.ids import TaskId
from zgen.slotted import slotted


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


# -- effects ---------------------------------------------------------------------------------------
@slotted
class PositionIs:
    """Answer to ``AskPosition``.

    Attributes:
        task: The task that runs.
        index: What its next item will be, from 0; -1 if it yields none.
    """

    task: TaskId
    index: int
