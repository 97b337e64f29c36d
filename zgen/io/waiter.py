"""What one thread waits for, and the gate that it sleeps at."""

import threading
from typing import Final


class Gate:
    """A binary semaphore: a wake before the sleep is not lost. Safe in signal handlers."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        """Start closed."""
        self._lock = threading.Lock()
        self._lock.acquire()

    def open(self) -> None:
        """Let one ``pass_through`` return."""
        try:
            self._lock.release()
        except RuntimeError:
            return  # it is open already

    def pass_through(self, timeout_s: float) -> bool:
        """Sleep until opened, at most ``timeout_s``; return whether it was."""
        return self._lock.acquire(timeout=timeout_s)


class Waiter:
    """Something one thread waits for.

    Attributes:
        done: Whether it has happened; set under the process lock.
    """

    __slots__ = ("_gate", "done")

    def __init__(self) -> None:
        """Start unhappened."""
        self.done = False
        self._gate: Gate | None = None

    def finish(self) -> None:
        """It has happened; under the process lock."""
        self.done = True
        self.wake()

    def wake(self) -> None:
        """Let the thread that is parked on this look again; safe in signal handlers."""
        if self._gate is not None:
            self._gate.open()

    def park(self, timeout_s: float) -> None:
        """Sleep until woken, at most ``timeout_s``."""
        if self._gate is None:
            self._gate = Gate()
        if not self.done:
            self._gate.pass_through(timeout_s)


#: What nobody has to wait for.
NOTHING: Final = Waiter()
NOTHING.done = True
