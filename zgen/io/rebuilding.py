"""Run a task again for some of its objects: what else it makes is not even pickled."""

from collections.abc import Generator, Iterable
from typing import Any

from zgen.core.effects import StartTask
from zgen.ids import COMPLETION_INDEX


def only(made: Iterable[Any], start: StartTask, first: int = 0) -> Iterable[Any]:
    """Return what a body makes, with None in place of what nobody wants of it.

    Args:
        made: What it returns or yields.
        start: The task.
        first: Index of the object that the first one becomes.
    """
    wanted = start.task.wanted
    return _with_gaps(made, dict.fromkeys(wanted), first) if wanted else made


def _with_gaps(
    made: Iterable[Any], wanted: dict[int, None], first: int
) -> Generator[Any, None, Any]:
    each, index = iter(made), first
    while True:
        try:
            value = next(each)
        except StopIteration as stop:
            return stop.value if COMPLETION_INDEX in wanted else None
        yield value if index in wanted else None
        index += 1
