"""Where the threads of a worker are in their code, asked by a signal, read out of its memory.

Theory of operation. A worker keeps a file in memory for nothing but this, a thread that waits for a
signal, and a handler for another one. On the first, which disturbs nothing since every thread
blocks it, the waiting thread writes all stacks into the file between two marks. It has the
interpreter then, so no stack moves meanwhile. If it does not get to that, C code keeps the
interpreter, and the second has the kernel run a handler that needs none: ``faulthandler`` writes
what it finds. Were threads to run Python meanwhile the worker might die of it (tried: after five
times or so); they do not while C code keeps the interpreter, which is why this comes second. Who
asks opens the file through ``/proc``, and empties it.

Nothing has a name on any disk, and the file goes with its worker. The signals are sent only to what
handles both and has the file still: another program in the worker's place would die of them.

The asker looks at short intervals: neither a file in memory nor the end of a handler is an event.
"""

import _thread
import contextlib
import faulthandler
import fcntl
import os
import select
import signal
import threading
from typing import Final

from zgen.io.clock import now_ns
from zgen.limits import MS, SECOND, STACK_BYTES_MAX, STACK_FORCED_NS, STACK_LOOK_NS
from zgen.slotted import slotted

#: Any signals that nobody else uses would do.
ASK_SIGNAL: Final = signal.SIGRTMIN + 11
FORCE_SIGNAL: Final = signal.SIGRTMIN + 12
#: Before the name of a thread, beside its stack.
NAME: Final = "name "
_BEGIN: Final = "zgen: stacks\n"
_END: Final = "zgen: that is all\n"

_FILE: Final = "zgen-stacks"
_LINK: Final = f"/memfd:{_FILE} (deleted)"

_ENDED: Final = "it has ended"
_STOPPED: Final = "it is stopped; SIGCONT lets it go on"
#: Why a process in a state of the kernel's says nothing.
_STATES: Final = {
    "T": _STOPPED,
    "t": _STOPPED,
    "Z": _ENDED,
    "X": _ENDED,
    "D": "it waits in the kernel, where no signal reaches it",
}


@slotted
class Told:
    """What was found out of one process.

    Attributes:
        text: Its stacks, as ``faulthandler`` writes them, then the names of threads; empty if they
            are not known.
        forced: Whether it could not tell by itself, since C code keeps the interpreter.
        silence: Why they are not known; empty if they are.
    """

    text: str = ""
    forced: bool = False
    silence: str = ""


def prepare() -> None:
    """Block the first signal, here and in the forks of this process, in all their threads."""
    # Should a thread not block it, which C code may have made, nothing happens.
    signal.signal(ASK_SIGNAL, lambda _number, _frame: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, (ASK_SIGNAL,))


def offer() -> int:
    """Let ``ask`` find out where this process is, which was prepared before it had threads.

    Returns:
        The file that it tells in.
    """
    file = os.memfd_create(_FILE, os.MFD_CLOEXEC)
    fcntl.fcntl(file, fcntl.F_SETFL, os.O_APPEND)  # others empty it
    faulthandler.register(FORCE_SIGNAL, file, all_threads=True, chain=False)
    _thread.start_new_thread(tell_when_asked, (file,))
    return file


def tell_when_asked(file: int) -> None:
    """Tell in ``file`` where the other threads are, whenever that is asked."""
    with contextlib.suppress(OSError):  # until the program closes it
        while True:
            signal.sigwait((ASK_SIGNAL,))
            os.write(file, _BEGIN.encode())
            faulthandler.dump_traceback(file)
            os.write(file, (_names() + _END).encode(errors="replace"))


def _names() -> str:
    """Return the names of the threads of this process, without waiting for a lock."""
    lines: list[str] = []
    known = threading._active.copy()  # type: ignore[attr-defined]  # noqa: SLF001
    for ident, thread in known.items():
        with contextlib.suppress(Exception):  # a program's class may say no name
            lines.append(f"{NAME}{ident:x} {' '.join(thread.name.split())}\n")
    return "".join(lines)


def ask(pids: list[int], patience_s: float) -> dict[int, Told]:
    """Return for each of ``pids`` where its threads are, or why that is not known.

    Args:
        pids: Processes of this machine; they are asked at once.
        patience_s: How long to wait for them.

    Raises:
        OSError: This process may not open so many files.
    """
    deadline_ns = now_ns() + round(patience_s * SECOND)
    with contextlib.ExitStack() as files:
        asked = {pid: _Asked(pid, files) for pid in dict.fromkeys(pids)}
        poll = select.poll()
        while waiting := [each for each in asked.values() if each.told is None]:
            for each in waiting:
                each.look(poll)
            if now_ns() >= deadline_ns:
                break
            poll.poll(STACK_LOOK_NS // MS)
        for each in asked.values():
            each.give_up(patience_s)
        return {pid: each.told for pid, each in asked.items() if each.told is not None}


class _Asked:
    """One process that is asked.

    Attributes:
        told: What was found out; None as long as that is not known.
    """

    def __init__(self, pid: int, files: contextlib.ExitStack) -> None:
        """Find the file of ``pid`` and keep it open as long as ``files``."""
        self.told: Told | None = None
        self._pid = pid
        self._pidfd = self._file = -1
        self._asked_ns = 0  # 0 until it was asked
        self._heard_ns = 0  # and until it has taken the signal
        self._forced = False
        #: Threads that never handle the second signal, so that none is taken for one that does.
        self._deaf: dict[str, None] = {}
        #: What stood in the file when it was last looked at, after the second signal.
        self._before = b""
        try:
            self._pidfd = os.pidfd_open(pid)
            files.callback(os.close, self._pidfd)
            if why := self._refusal():
                self.told = Told(silence=why)
            elif path := self._path():
                self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                files.callback(os.close, self._file)  # and so its lock is given up
            else:
                self.told = Told(silence="its program closed the file that it would tell in")
        except (FileNotFoundError, ProcessLookupError):
            self.told = Told(silence=_ENDED)
        except PermissionError:
            self.told = Told(silence="this user may not look into it")

    def look(self, poll: select.poll) -> None:
        """Ask it if it was not asked, and read what it says."""
        try:
            if _STATES.get(state := self._state(), "") in (_ENDED, _STOPPED):
                self.told = Told(silence=_STATES[state])
            elif not self._asked_ns:
                self._begin(poll)
            else:
                self.told = self._read()
                if self.told is None and not self._forced:
                    self._force()
        except (FileNotFoundError, ProcessLookupError):
            self.told = Told(silence=_ENDED)
        if self.told is not None:
            self._leave(poll)

    def give_up(self, patience_s: float) -> None:
        """Say why nothing is known of it, if nothing is."""
        if self.told is not None:
            return
        why = f"no answer within {patience_s:g} s" if self._asked_ns else "somebody else asks it"
        with contextlib.suppress(OSError):
            why = _STATES.get(self._state(), why)
        self.told = Told(silence=why)
        self._empty()

    def _refusal(self) -> str:
        """Return why it is not to be sent a signal; empty if it may be."""
        owner = os.stat(f"/proc/{self._pid}").st_uid
        if owner != os.geteuid():
            return f"it is a process of user {owner}"
        caught = int(_status(f"/proc/{self._pid}")["SigCgt"], 16)
        if not caught & _bit(ASK_SIGNAL) or not caught & _bit(FORCE_SIGNAL):
            return "it does not listen: it is no worker, or not yet"
        return ""

    def _path(self) -> str:
        """Return the path of the file that it tells in; empty if it has none."""
        folder = f"/proc/{self._pid}/fd"
        for name in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):  # just closed
                if os.readlink(path := f"{folder}/{name}") == _LINK:
                    return path
        return ""

    def _begin(self, poll: select.poll) -> None:
        """Send the first signal, unless somebody else asks at the moment."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        self._asked_ns = now_ns()
        self._empty()
        poll.register(self._pidfd, select.POLLIN)
        signal.pidfd_send_signal(self._pidfd, ASK_SIGNAL)

    def _force(self) -> None:
        """Send the second signal, if it took the first one and cannot get the interpreter."""
        threads = self._threads()
        if any(
            _has(each, ASK_SIGNAL, "ShdPnd") and not _has(each, ASK_SIGNAL, "SigBlk")
            for _, each in threads
        ):
            return  # the machine is busy: the thread that waits for it has not woken yet
        self._heard_ns = self._heard_ns or now_ns()
        begun = os.fstat(self._file).st_size > 0
        if begun or now_ns() - self._heard_ns < STACK_FORCED_NS:
            return
        self._deaf = {name: None for name, each in threads if _has(each, FORCE_SIGNAL, "SigBlk")}
        self._forced = True
        signal.pidfd_send_signal(self._pidfd, FORCE_SIGNAL)

    def _read(self) -> Told | None:
        """Return what it told, if that is all of it."""
        handles = self._forced and self._handles()
        told = os.pread(self._file, STACK_BYTES_MAX, 0)
        _, begun, rest = told.decode(errors="replace").rpartition(_BEGIN)
        text, ended, _ = rest.partition(_END)
        if begun:
            return Told(text) if ended else None
        is_whole = self._forced and not handles and told == self._before
        self._before = told
        return Told(text, forced=True) if text and is_whole else None

    def _handles(self) -> bool:
        """Return whether one of its threads handles the second signal, or will."""
        return any(
            _has(each, FORCE_SIGNAL, "SigPnd", "ShdPnd")
            or (_has(each, FORCE_SIGNAL, "SigBlk") and name not in self._deaf)
            for name, each in self._threads()
        )

    def _threads(self) -> list[tuple[str, dict[str, str]]]:
        """Return what the kernel says of each of its threads, by name."""
        folder = f"/proc/{self._pid}/task"
        found: list[tuple[str, dict[str, str]]] = []
        for name in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # just ended
                found.append((name, _status(f"{folder}/{name}")))
        return found

    def _state(self) -> str:
        return _status(f"/proc/{self._pid}")["State"][0]

    def _leave(self, poll: select.poll) -> None:
        """Nothing more is wanted of it."""
        if self._asked_ns:
            poll.unregister(self._pidfd)
            self._empty()

    def _empty(self) -> None:
        """Give the memory back that its stacks take, unless somebody else reads them."""
        if self._asked_ns:
            os.ftruncate(self._file, 0)


def _status(folder: str) -> dict[str, str]:
    """Return what the kernel says of a process or thread."""
    with open(f"{folder}/status", encoding="utf-8", errors="replace") as file:
        lines = [line.partition(":") for line in file]
    return {name: value.strip() for name, _, value in lines}


def _has(status: dict[str, str], number: int, *sets: str) -> bool:
    """Return whether one of some sets of signals has signal ``number``."""
    return any(int(status[name], 16) & _bit(number) for name in sets)


def _bit(number: int) -> int:
    return 1 << (number - 1)
