"""How bodies end: with their process, with what they printed, with their generators closed."""

import sys
from collections.abc import Generator
from typing import Any

from zgen.io import serializer
from zgen.limits import ITEMS_COUNT_MAX


def exit_code(leaving: SystemExit) -> int:
    """Return with which code a program ends by this; what is no number it prints, and fails."""
    code = leaving.code
    if isinstance(code, str):
        print(code, file=sys.stderr)  # noqa: T201  # what the interpreter does with such a code
    return code if isinstance(code, int) else 0 if code is None else 1


def flush_output() -> None:
    """Let go what the body printed without an end of line; it may have replaced the streams."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except Exception:
        return


def last_of(body: Generator[Any, None, Any], name: str) -> Any:
    """Return what a generator returns that is to yield no further item.

    Args:
        body: The generator.
        name: Of the task, for people.

    Raises:
        ValueError: It yields one.
        Exception: Whatever it raises.
    """
    try:
        next(body)
    except StopIteration as stop:
        return stop.value
    raise ValueError(f"{name}() yielded more than {ITEMS_COUNT_MAX} items")


class Over(BaseException):
    """This worker is over, or its actor: no end of what runs is reported any more."""


class Closed(BaseException):
    """A generator does not go on after the item that it has just yielded: its user closed it."""


def is_retriable(retry_exceptions: bytes, error: BaseException) -> bool:
    """Return whether a task may run again for what it raised.

    Args:
        retry_exceptions: As in ``PushedTask``.
        error: What it raised.
    """
    if not retry_exceptions or not isinstance(error, Exception):
        return False
    allowed = serializer.load_plain(retry_exceptions)
    return allowed is True or isinstance(error, allowed)


def close(body: Generator[Any, None, Any] | None) -> None:
    """Let a body that will not be resumed run its ``finally``."""
    if body is None:
        return
    try:
        body.close()
    except Exception as error:
        print(f"closing a generator raised {error!r}", file=sys.stderr)  # noqa: T201  # for the worker's log
