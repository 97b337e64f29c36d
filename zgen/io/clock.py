"""The one import of `time`."""

import time
from typing import Final

from zgen.limits import SECOND

#: The clock of this machine's processes, in ns; it never goes back.
now_ns: Final = time.monotonic_ns
#: What is longer than this, in s, is for ever: infinity too.
_FOREVER_S: Final = 1e9


def deadline_ns(timeout_s: float | None) -> int | None:
    """Return when ``timeout_s`` from now is over, or None if it is for ever.

    Raises:
        TypeError: It is no number.
        ValueError: It is negative, or not a number that can be compared.
    """
    if timeout_s is None:
        return None
    try:
        fits = timeout_s >= 0
    except TypeError:
        text = f"timeout must be a number of seconds or None, got {timeout_s!r}"
        raise TypeError(text) from None
    if not fits:
        raise ValueError(f"timeout must be at least 0, got {timeout_s}")
    return None if timeout_s > _FOREVER_S else now_ns() + int(timeout_s * SECOND)


#: Seconds since 1970, as the machine believes; for people only, since it may be set.
wall_s: Final = time.time


def adopt_timezone() -> None:
    """Read ``TZ`` from the environment again, after it was replaced."""
    time.tzset()
