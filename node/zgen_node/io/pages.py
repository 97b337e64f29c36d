"""Make the pages of slabs ahead of time, each in a thread of its own.

Theory of operation. A thread keeps a descriptor of its slab, so that the slab may be closed
meanwhile, and makes the pages in steps, between which it looks whether the node ends. Whoever
writes into the slab before it is done waits for a step at most. What cannot be made is no fault:
who writes then finds that out.
"""

import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from zgen.core.store_events import SlabPopulated
from zgen_node.io import linux
from zgen_node.io.processes import Watcher

_STEP_BYTES: Final = 4 << 20
#: Stands for the descriptor of answers before it is needed.
_NONE: Final = -1


class Pages:
    """Slabs that get their pages, as the loop sees them."""

    def __init__(
        self,
        watcher: Watcher,
        post: Callable[[SlabPopulated], None],
        copy_of: Callable[[int], int],
    ) -> None:
        """Nothing is made before the first order.

        Args:
            watcher: Tells when there are answers.
            post: Takes answers, on the loop's thread.
            copy_of: Returns a new descriptor of a slab.
        """
        self._watcher = watcher
        self._post = post
        self._copy_of = copy_of
        self._answers_fd = _NONE
        self._ending = False
        #: Those that run, and those whose answer was not taken. Removed with it.
        self._threads: dict[int, threading.Thread] = {}
        #: Slab and whether it has its pages. Added by the threads; removed by the loop.
        self._answers: deque[tuple[int, bool]] = deque()

    def populate(self, slab: int, size_bytes: int) -> None:
        """Begin to make the pages of a slab; ``SlabPopulated`` follows if that can be."""
        try:
            if self._answers_fd == _NONE:
                self._answers_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
                self._watcher.watch(self._answers_fd, self._on_answers)
            descriptor = self._copy_of(slab)
        except OSError:  # no descriptor is left
            return
        run = (slab, descriptor, size_bytes)
        thread = threading.Thread(target=self._run, args=run, name="zgen-pages", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread is left
            os.close(descriptor)
            return
        self._threads[slab] = thread

    @property
    def busy(self) -> bool:
        """Whether pages are being made."""
        return bool(self._threads)

    def stop(self) -> None:
        """Make no further step; from any thread."""
        self._ending = True

    def end(self) -> None:
        """Stop and wait for the steps under way; harmless twice."""
        self.stop()
        for thread in self._threads.values():
            thread.join()
        self._threads.clear()
        if self._answers_fd != _NONE:
            self._watcher.unwatch(self._answers_fd)
            os.close(self._answers_fd)
            self._answers_fd = _NONE

    def _on_answers(self) -> None:
        try:
            os.eventfd_read(self._answers_fd)
        except BlockingIOError:
            return
        while self._answers:
            slab, is_done = self._answers.popleft()
            self._threads.pop(slab).join()
            if is_done:
                self._post(SlabPopulated(slab))

    def _run(self, slab: int, descriptor: int, size_bytes: int) -> None:
        is_done = False
        try:
            for offset in range(0, size_bytes, _STEP_BYTES):
                if self._ending:
                    break
                linux.reserve(descriptor, offset, min(_STEP_BYTES, size_bytes - offset))
            else:
                is_done = True
        except OSError:
            is_done = False  # memory has no room: who writes is told, and by which errno
        finally:
            os.close(descriptor)
        self._answers.append((slab, is_done))
        os.eventfd_write(self._answers_fd, 1)
