"""Run a task again for some of its objects: what else it makes is not even pickled."""

from collections.abc import Iterable, Iterator
from typing import Any

from zgen.core.effects import StartTask


def only(made: Iterable[Any], start: StartTask, first: int = 0) -> Iterable[Any]:
    """Return what a body makes, with None in place of what nobody wants of it.

    Args:
        made: What it returns or yields.
        start: The task.
        first: Index of the object that the first one becomes.
    """
    wanted = start.task.wanted
    return _with_gaps(made, dict.fromkeys(wanted), first) if wanted else made


def _with_gaps(made: Iterable[Any], wanted: dict[int, None], first: int) -> Iterator[Any]:
    for index, each in enumerate(made, first):
        yield each if index in wanted else None
