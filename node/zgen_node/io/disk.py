"""Spill regions to disk and restore them, in a thread of its own.

Theory of operation. Orders come on the loop's thread and wait in a queue; the thread, started by
the first one, performs them in order, and its answers come back through an eventfd that the loop
watches. Each order keeps a descriptor of its slab, so that a slab may be closed meanwhile. Whatever
goes wrong is the text of an answer. A clean end waits for the piece that is being copied, not for
the region, and for that no longer than a bound, since a disk may hang.
"""

import errno
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from zgen.core.store_effects import (
    ForgetSpilled,
    RestoreRegion,
    SpillRegion,
)
from zgen.core.store_events import (
    RegionRestored,
    RegionSpilled,
)
from zgen.limits import SECOND, SPILL_STOP_NS
from zgen_node.io.processes import Watcher

if TYPE_CHECKING:
    from zgen_node.io.spill_files import SpillFiles

Order = SpillRegion | RestoreRegion | ForgetSpilled
Answer = RegionSpilled | RegionRestored

#: What says that there is no room: on the disk, for this user, in one file.
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
#: Stands for the descriptor of the slab where none is needed.
_NONE: Final = -1


class Disk:
    """The disk of a node, as its loop sees it."""

    def __init__(
        self,
        folder: str | None,
        watcher: Watcher,
        post: Callable[[Answer], None],
        copy_of: Callable[[int], int],
    ) -> None:
        """Nothing is made before the first order.

        Args:
            folder: Where files go; None stands for that of temporary files.
            watcher: Tells when there are answers.
            post: Takes answers, on the loop's thread.
            copy_of: Returns a new descriptor of a slab.
        """
        self._folder = folder
        self._watcher = watcher
        self._post = post
        self._copy_of = copy_of
        #: Made by the first order, and loaded with it: most nodes never spill.
        self._files: SpillFiles | None = None
        #: With the descriptor of its slab. Added by ``order``; removed by the thread.
        self._orders: deque[tuple[Order, int]] = deque()
        #: Added by the thread; removed by the loop.
        self._answers: deque[Answer] = deque()
        self._changed = threading.Condition()
        self._ending = False
        self._thread: threading.Thread | None = None
        self._answers_fd = _NONE

    def order(self, order: Order) -> None:
        """Do this after what was ordered before; ``RegionSpilled`` or ``RegionRestored`` follows.

        Nothing follows a ``ForgetSpilled``.
        """
        slab = _NONE
        try:
            if self._thread is None:
                self._start()
            if not isinstance(order, ForgetSpilled):
                slab = self._copy_of(order.place.slab)
        except (OSError, RuntimeError) as error:  # no descriptor, or no thread
            answer = self._refusal(order, error)
            if answer is not None:
                self._post(answer)
            return
        with self._changed:
            self._orders.append((order, slab))
            self._changed.notify()

    def end(self) -> None:
        """Stop, and let go of everything that was spilled."""
        thread = self._thread
        if thread is None:
            return
        with self._changed:
            self._ending = True
            self._changed.notify()
        thread.join(SPILL_STOP_NS / SECOND)
        if thread.is_alive():
            return  # the disk hangs; what the thread has ends with the process
        self._thread = None
        self._watcher.unwatch(self._answers_fd)
        os.close(self._answers_fd)
        while self._orders:
            _close(self._orders.popleft()[1])
        if self._files is not None:
            self._files.close()

    # -- the loop's thread -------------------------------------------------------------------------
    def _start(self) -> None:
        from zgen_node.io.spill_files import SpillFiles

        self._files = SpillFiles(self._folder, self._look)
        if self._answers_fd == _NONE:
            self._answers_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._watcher.watch(self._answers_fd, self._on_answers)
        thread = threading.Thread(target=self._run, name="zgen-disk", daemon=True)
        thread.start()
        self._thread = thread

    def _on_answers(self) -> None:
        try:
            os.eventfd_read(self._answers_fd)
        except BlockingIOError:
            return
        while self._answers:
            self._post(self._answers.popleft())

    # -- the disk's thread -------------------------------------------------------------------------
    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._orders or self._ending):
                    self._changed.wait()
                if self._ending:
                    return
                order, slab = self._orders.popleft()
            try:
                answer = self._perform(order, slab)
            except _EndingError:
                return
            finally:
                _close(slab)
            if answer is not None:
                self._answers.append(answer)
                os.eventfd_write(self._answers_fd, 1)

    def _perform(self, order: Order, slab: int) -> Answer | None:
        files = self._files
        assert files is not None
        try:
            match order:
                case SpillRegion(region, place):
                    files.write(region, slab, place)
                    return RegionSpilled(region, "", False)
                case RestoreRegion(region, place):
                    files.read(region, slab, place)
                    return RegionRestored(region, "")
                case ForgetSpilled(region):
                    files.forget(region)
                    return None
        except _EndingError:
            raise
        except Exception as error:  # without this thread nobody would ever be answered
            return self._refusal(order, error)

    def _refusal(self, order: Order, error: Exception) -> Answer | None:
        """Return the answer to an order that failed."""
        number, told = None, repr(error)
        if isinstance(error, OSError):
            number, told = error.errno, error.strerror or str(error)
        where = self._folder if self._files is None else self._files.where
        match order:
            case SpillRegion(region):
                failure = f"it cannot be written to {where}: {told}"
                return RegionSpilled(region, failure, number in _FULL)
            case RestoreRegion(region):
                failure = f"it did not come back from {where}: {told}"
                return RegionRestored(region, failure)
            case ForgetSpilled():
                return None

    def _look(self) -> None:
        if self._ending:
            raise _EndingError


class _EndingError(Exception):
    """The node ends while a region is copied."""


def _close(slab: int) -> None:
    if slab != _NONE:
        os.close(slab)
