"""Show what workers print to the user of a driver."""

import sys
import threading

from zgen.core.effects import PrintLines


class Printer:
    """Writes whole lines, one message at a time."""

    def __init__(self) -> None:
        """Print nothing yet."""
        self._lock = threading.Lock()

    def show(self, effect: PrintLines) -> None:
        """Write lines under the process id of their worker, and how many were lost before them."""
        stream = sys.stderr if effect.is_error else sys.stdout
        prefix = f"(worker pid={effect.pid}) "
        lost = [f"{prefix}… {effect.dropped} lines lost\n"] if effect.dropped else []
        text = "".join([*lost, *(f"{prefix}{line}\n" for line in effect.lines)])
        with self._lock:
            try:
                stream.write(text)
                stream.flush()
            except Exception:
                return  # the program closed its output, or put something of its own in its place
