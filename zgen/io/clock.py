"""The one import of `time`."""

import time
from typing import Final

#: The clock of this machine's processes, in ns; it never goes back.
now_ns: Final = time.monotonic_ns

#: Seconds since 1970, as the machine believes; for people only, since it may be set.
wall_s: Final = time.time


def adopt_timezone() -> None:
    """Read ``TZ`` from the environment again, after it was replaced."""
    time.tzset()
