"""SIGINT that tears nothing: noted inside zgen, delivered where nothing is half done.

Theory of operation. While this process uses zgen, its SIGINT handler wraps whatever is installed,
looked up again at each entry, since ``asyncio.run``, IPython and users install their own. Each
wrapping is an object of its own: a handler that calls the one before it, or puts it back, gets what
was wrapped then. If the interrupted code is zgen's, the interrupt is only noted and the waiting
thread is woken; the wrapped handler runs on the next entry or in a wait, with no lock held and
nothing taken. A call that has moved a cursor returns its item first. Where neither an entry nor a
wait follows, the I/O thread repeats the interrupt by a signal of its own until it meets code that
is not zgen's; so a noted interrupt is delivered once, whoever comes first, and a fresh SIGINT is
never mistaken for a repeated one. Between ``init`` and the first call that steps or waits the
wrapped handler is put back: ``asyncio.run`` installs its own only where it finds Python's.
"""

import signal
import threading
from _signal import getsignal  # type: ignore[import-not-found]  # without an enum conversion
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, Protocol

from zgen.exceptions import LocalProtocolError

#: Repeats a noted interrupt; any signal that nobody else uses would do.
REPEAT_SIGNAL: Final = signal.SIGRTMIN + 9
#: As a plain number, which costs less than the enumeration's at each call of zgen.
_SIGINT: Final = int(signal.SIGINT)
#: Modules of zgen that run foreign code; an interrupt in what they call is the user's own.
_FOREIGN: Final = (
    "zgen.io.serializer",
    "zgen.io.tracebacks",
    "zgen.io.runner",
    "zgen.io.async_bodies",
)


class Interrupting(Protocol):
    """What the main thread is interrupted for, and does not see inside zgen.

    Attributes:
        noted: Whether something waits to be delivered.
    """

    noted: bool

    def deliver(self) -> None:
        """Raise it, if this is its thread; nothing taken, no lock held."""

    def repeat(self) -> None:
        """Interrupt the main thread again; from another thread."""

    def close(self) -> None:
        """Interrupt nothing any more."""


class _Handler:
    """A SIGINT handler around another one."""

    __slots__ = ("interrupts", "wrapped")

    def __init__(self, interrupts: "Interrupts", wrapped: Any) -> None:
        self.interrupts = interrupts
        self.wrapped = wrapped

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        self.interrupts.take(self.wrapped, signum, frame)


class Interrupts:
    """The SIGINT handling of one runtime in one process.

    Attributes:
        noted: Whether an interrupt waits to be delivered.
        closed: Whether nothing is noted any more.
    """

    def __init__(self) -> None:
        """Wrap the installed handler if this is the main thread."""
        self.noted = False
        self._wake: Callable[[], None] = lambda: None
        #: The installed handler, around what a noted interrupt is delivered to; None before any.
        self._handler: _Handler | None = None
        self._main = threading.main_thread().ident
        self.closed = False
        self.enter()

    def wake_by(self, wake: Callable[[], None]) -> None:
        """Let ``wake`` make every wait of the main thread look around; safe in a signal handler."""
        self._wake = wake
        if self.noted:
            wake()

    def enter(self) -> None:
        """Deliver what is noted and wrap a handler that was installed since; at each entry."""
        if threading.get_ident() != self._main or self.closed:
            return
        if self.noted:
            self.deliver()
        if getsignal(_SIGINT) is not self._handler:
            self._wrap()

    def wrap(self) -> None:
        """Wrap the installed handler, unless that is done; delivers nothing."""
        if threading.get_ident() != self._main or self.closed:
            return
        if getsignal(_SIGINT) is not self._handler:
            self._wrap()

    def rest(self) -> None:
        """Put the wrapped handler back until the next entry, for those that look for their own."""
        if threading.get_ident() == self._main and self._handler is not None:
            self._put_back(self._handler)

    def deliver(self) -> None:
        """Call the wrapped handler for a noted interrupt; main thread, nothing taken, no lock held.

        Raises:
            KeyboardInterrupt: As a rule; whatever the wrapped handler raises.
        """
        if self.noted and threading.get_ident() == self._main:
            self.noted = False
            if self._handler is not None:
                self._handler.wrapped(signal.SIGINT, None)

    def repeat(self) -> None:
        """Interrupt the main thread again for what is noted; from another thread."""
        if self.noted and not self.closed and self._main is not None:
            signal.pthread_kill(self._main, REPEAT_SIGNAL)

    def close(self) -> None:
        """Put the wrapped handler back, if ours is still installed."""
        self.closed = True
        if self._handler is None or threading.get_ident() != self._main:
            return
        self._put_back(self._handler)
        signal.signal(REPEAT_SIGNAL, signal.SIG_IGN)
        if self.noted:
            self.deliver()

    def take(self, wrapped: Any, signum: int, frame: FrameType | None) -> None:
        """A SIGINT came: note it, or pass it on to what was wrapped."""
        if not self.closed and is_inside_zgen(frame):
            self.noted = True
            self._wake()
        else:
            wrapped(signum, frame)

    def _wrap(self) -> None:
        installed = getsignal(signal.SIGINT)
        while isinstance(installed, _Handler) and installed.interrupts.closed:
            installed = installed.wrapped  # left behind by a runtime that another thread ended
        if not callable(installed):
            return  # ignored, or handled outside Python: not ours to change
        if isinstance(installed, _Handler):
            if installed.interrupts is not self:
                raise LocalProtocolError("two runtimes wrap SIGINT")
            self._handler = installed  # put back by who had replaced it
            return
        handler = _Handler(self, installed)
        signal.signal(REPEAT_SIGNAL, self._on_repeat)
        self._handler = handler
        signal.signal(signal.SIGINT, handler)

    @staticmethod
    def _put_back(handler: _Handler) -> None:
        if getsignal(signal.SIGINT) is handler:
            signal.signal(signal.SIGINT, handler.wrapped)

    def _on_repeat(self, signum: int, frame: FrameType | None) -> None:
        if self.noted and self._handler is not None and not is_inside_zgen(frame):
            self.noted = False
            self._handler.wrapped(signal.SIGINT, frame)


def is_inside_zgen(frame: FrameType | None) -> bool:
    """Return whether the innermost zgen frame is one that must not be torn."""
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module == "zgen" or module.startswith("zgen."):
            return module not in _FOREIGN
        frame = frame.f_back
    return False
