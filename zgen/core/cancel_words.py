"""What may happen to a process, and be asked of it, about cancels; part of `Event` and `Effect`."""

from zgen.ids import ObjectId, StreamId, TaskId
from zgen.slotted import slotted


# -- events ----------------------------------------------------------------------------------------
@slotted
class CancelRequested:
    """The user called ``cancel``; a task that has ended stays so.

    Attributes:
        task: The task.
        force: Whether the process that runs it is to die.
        recursive: Whether what it has submitted is to be cancelled too.
        object: The reference that it was asked for by, which may be borrowed; None for a generator.
    """

    task: TaskId
    force: bool
    recursive: bool
    object: ObjectId | None = None


@slotted
class CloseRequested:
    """The user wants nothing more of a generator, which he still holds.

    Attributes:
        stream: The stream.
    """

    stream: StreamId


# -- effects ---------------------------------------------------------------------------------------
@slotted
class InterruptBody:
    """Raise in a body, once, if it still runs. Not promised: that it ends for that.

    Attributes:
        task: The task that runs.
        attempt: Its execution.
    """

    task: TaskId
    attempt: int


@slotted
class AbandonBody:
    """Nobody will ever read what a generator yields: it is not to go on after its next item.

    Attributes:
        task: The task that runs.
        attempt: Its execution.
    """

    task: TaskId
    attempt: int


@slotted
class StopBody:
    """Raise ``GeneratorExit`` in a generator at its next ``yield``, or at that which it stands at.

    Attributes:
        task: The task that runs.
        attempt: Its execution.
    """

    task: TaskId
    attempt: int


@slotted
class KillSelf:
    """Kill this process at once, as its node would; what it runs was cancelled by force."""
