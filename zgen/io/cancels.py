"""Raise in the body that is cancelled, and in nothing else.

Theory of operation. The thread that hears of it sends the main thread a signal of its own. What the
handler interrupts decides: in code of the body it raises ``KeyboardInterrupt`` at once, so that a
sleep ends; inside zgen it is only noted and delivered at the entry of the body's next call or in a
wait, with no lock held and nothing taken, or repeated by the I/O thread until it meets code that is
not zgen's, as with SIGINT in a driver. Only the runner says what may be interrupted: from the call
of the function, whose arguments are unpacked by then, until its output is packed. It is raised once
in an execution; what comes too late is forgotten.
"""

import signal
import threading
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Final

from zgen.core.effects import StartTask
from zgen.ids import TaskId
from zgen.io.interrupts import is_inside_zgen
from zgen.limits import CANCEL_AGAIN_NS

#: Any signal that nobody else uses would do.
CANCEL_SIGNAL: Final = signal.SIGRTMIN + 10


class Cancels:
    """What may be interrupted in the main thread of one worker, and what is to be.

    Attributes:
        running: The execution whose body runs, or None. Main thread.
        pending: Whether something was asked for and not raised; it stays so if it came too late.
        noted: Whether the main thread met it inside zgen, in that body.
        asked: The last execution that was asked for: task and attempt.
        flagged: Calls of an actor that run and were cancelled: task and attempt. Nothing is raised
            in them from here. Added by ``flag``; removed by ``forget``.
        entry: Code that calls the body, once ``running`` is set, and does nothing else.
    """

    def __init__(self) -> None:
        """Start with nothing to interrupt."""
        self.running: StartTask | None = None
        self.pending = False
        self.noted = False
        self.asked: tuple[TaskId, int] | None = None
        self.flagged: dict[tuple[TaskId, int], None] = {}
        self.entry: CodeType | None = None
        #: When a signal that seems not to have been seen is sent again.
        self._again_ns = 0
        self._wake: Callable[[], None] = lambda: None
        self._main: int | None = None

    def install(self, wake: Callable[[], None]) -> None:
        """Listen from now on, in the main thread.

        Args:
            wake: Makes every wait of the main thread look around; safe in a signal handler.
        """
        self._wake = wake
        self._main = threading.main_thread().ident
        signal.signal(CANCEL_SIGNAL, self._on_signal)

    def ask(self, task: TaskId, attempt: int) -> None:
        """Raise in that execution if its body runs, or when it begins."""
        self.asked = (task, attempt)
        self.pending = True
        self._signal()

    def is_asked(self, start: StartTask) -> bool:
        """Return whether this execution was to be interrupted, also if it was not in time."""
        return self.is_cancelled(start.task.task, start.task.attempt)

    def is_cancelled(self, task: TaskId, attempt: int) -> bool:
        """Return whether an execution that has not ended was cancelled, in whatever thread."""
        return self.asked == (task, attempt) or (task, attempt) in self.flagged

    def flag(self, task: TaskId, attempt: int) -> None:
        """Let a call of an actor find out that it is cancelled; under the process lock."""
        self.flagged[task, attempt] = None

    def forget(self, start: StartTask) -> None:
        """A call has ended that may have been flagged."""
        self.flagged.pop((start.task.task, start.task.attempt), None)

    def deliver(self) -> None:
        """Raise what is pending for the running body; nothing taken, no lock held.

        Raises:
            KeyboardInterrupt: It is to be interrupted, and this is its thread.
        """
        if threading.get_ident() != self._main or not self.pending:
            return
        if self.running is not None and self.is_asked(self.running):
            self._raise()

    def repeat(self) -> None:
        """Interrupt the main thread again for what is noted; from another thread."""
        if self.noted:
            self._signal()

    def nudge(self, now_ns: int) -> int | None:
        """Send the signal again if it has not been seen for a while; return when to look again.

        One that comes just before a system call does not interrupt it.
        """
        running = self.running
        if not self.pending or running is None or not self.is_asked(running):
            return None
        if now_ns >= self._again_ns:
            self._again_ns = now_ns + CANCEL_AGAIN_NS
            self._signal()
        return self._again_ns

    def close(self) -> None:
        """Interrupt nothing any more: this is a forked child."""
        self._main = None
        self.pending = self.noted = False

    def _signal(self) -> None:
        if self._main is not None:
            signal.pthread_kill(self._main, CANCEL_SIGNAL)

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        running = self.running
        if not self.pending or running is None or not self.is_asked(running):
            return
        if frame is not None and self._is_torn_by(frame):
            self.noted = True
            self._wake()
        else:
            self._raise()

    def _is_torn_by(self, frame: FrameType) -> bool:
        """Return whether what is interrupted is zgen's, or called by zgen for itself."""
        if frame.f_code is self.entry:
            return False  # a body without a frame of its own, such as a builtin function
        return frame.f_globals.get("__name__", "").startswith("zgen.") or is_inside_zgen(frame)

    def _raise(self) -> None:
        self.pending = self.noted = False
        raise KeyboardInterrupt
