"""What is done when a body has ended, whoever ran it."""

import sys
from collections.abc import Generator
from typing import Any


def flush_output() -> None:
    """Let go what the body printed without an end of line; it may have replaced the streams."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except Exception:
        return


def close_body(body: Generator[Any, None, Any] | None) -> None:
    """Let a body that will not be resumed run its ``finally``."""
    if body is None:
        return
    try:
        body.close()
    except Exception as error:
        print(f"closing a generator raised {error!r}", file=sys.stderr)  # noqa: T201  # for the worker's log
