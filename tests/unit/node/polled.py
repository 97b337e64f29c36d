"""A watcher on an epoll, for what the daemon's loop would tell of."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
_TURN_S = 10.0


class Polled:
    """Calls what is watched when it is readable, on the thread of the test."""

    def __init__(self) -> None:
        self.readable: dict[int, Callable[[], None]] = {}
        self._epoll = select.epoll()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.watch(self._wake_fd, lambda: None)

    def watch(self, fd: int, on_readable: Callable[[], None]) -> None:
        self.readable[fd] = on_readable
        self._epoll.register(fd, select.EPOLLIN)

    def unwatch(self, fd: int) -> None:
        del self.readable[fd]
        self._epoll.unregister(fd)

    def turn(self, timeout_s: float = _TURN_S) -> bool:
        """Tell of what is readable; return whether anything was."""
        told = self._epoll.poll(timeout_s)
        for fd, _ in told:
            self.readable.get(fd, lambda: None)()
        return bool(told)

    def settle(self) -> None:
        """Tell until nothing is readable."""
        while self.turn(0):
            pass

    def result_of(self, future: Future[T]) -> T:
        """Turn until another thread is done."""
        future.add_done_callback(lambda _: os.eventfd_write(self._wake_fd, 1))
        while not future.done():
            assert self.turn(), "nothing happens"
        self._drain()
        return future.result()

    def until(self, reached: Callable[[], bool]) -> None:
        while not reached():
            assert self.turn(), "nothing happens"

    def close(self) -> None:
        self._epoll.close()
        os.close(self._wake_fd)

    def _drain(self) -> None:
        try:
            os.eventfd_read(self._wake_fd)
        except BlockingIOError:
            return


def open_fds() -> dict[int, str]:
    """Return what this process has open."""
    found: dict[int, str] = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue  # that of the listing itself
    return found


@contextmanager
def nothing_left_open() -> Iterator[None]:
    """Fail if the block leaves a descriptor open."""
    before = open_fds()
    yield
    left = {fd: what for fd, what in open_fds().items() if before.get(fd) != what}
    assert left == {}
