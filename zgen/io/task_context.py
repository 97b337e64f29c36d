"""Which task the code of a thread or of an asyncio task runs for."""

import itertools
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Final

from zgen.ids import NO_STREAM, TaskId, derive_puts_id


class TaskContext:
    """Which task the code of this process runs for, and how many names it has given out.

    Attributes:
        task: The task, or the root of a driver.
        attempt: Which execution of it.
        submits: Numbers for the tasks it submits.
        puts: Numbers for the objects it puts.
        puts_of: The task after which they are named: another one for each attempt, since each has
            an owner of its own.
        call: The task where it is a call of an actor, else zeroes.
        name: What messages call it; empty for a driver.
        waits: How many of its threads wait for objects or items. Process lock.
    """

    __slots__ = ("attempt", "call", "name", "puts", "puts_of", "submits", "task", "waits")

    def __init__(
        self, task: TaskId, attempt: int, call: TaskId = NO_STREAM, name: str = ""
    ) -> None:
        """Start counting at 0."""
        self.call = call
        self.name = name
        self.task = task
        self.attempt = attempt
        self.submits: Iterator[int] = itertools.count()
        self.puts: Iterator[int] = itertools.count()
        self.puts_of = derive_puts_id(task, attempt)
        self.waits = 0


#: What a thread or an asyncio task of an actor runs. Plain tasks have the main thread, and the
#: runner's ``context``.
running: Final[ContextVar[TaskContext | None]] = ContextVar("zgen task", default=None)
