"""Make pages of 2 MiB under a map, for as long as they come quickly.

Rules of this file: addresses and times; what will be written there is known elsewhere.

Theory of operation. A large page costs little more to make than a small one, of which it takes the
place of 512. But where a machine has given its free memory back to a host, or has it in pieces,
each one costs milliseconds, while small ones may be at hand. So they are made one by one, by a few
threads, until one is slow; what is left has to be written in a way that makes small ones.
"""

import ctypes
import itertools
import os
import threading
from contextlib import suppress
from functools import cache
from typing import Final

from zgen.io import clock
from zgen.limits import SECOND

LARGE_BYTES: Final = 2 << 20
#: Who found one slow asks for none for this long.
PAUSE_NS: Final = 10 * SECOND
#: A page that takes longer is slow; one that is at hand takes about 100 us, most of it for zeroes.
_SLOW_NS: Final = 1_000_000
_THREADS_COUNT_MAX: Final = 4
_MADV_HUGEPAGE: Final = 14
_MADV_POPULATE_WRITE: Final = 23  # where there is no memory it fails, and kills nobody

_madvise: Final = ctypes.CDLL(None, use_errno=True).madvise
_madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_madvise.restype = ctypes.c_int


@cache
def _device_of_memfds() -> int:
    descriptor = os.memfd_create("zgen-device", os.MFD_CLOEXEC)
    try:
        return os.fstat(descriptor).st_dev
    finally:
        os.close(descriptor)


def ask_for(fd: int, address: int, size_bytes: int) -> bool:
    """Ask for large pages under a map of the whole of ``fd``; return whether it may have them.

    Those of memfds are for the owner of the machine to allow, who rarely does.
    """
    if address % LARGE_BYTES or os.fstat(fd).st_dev == _device_of_memfds():
        return False
    answer: int = _madvise(address, size_bytes, _MADV_HUGEPAGE)
    return answer == 0


def make(address: int, size_bytes: int) -> int:
    """Make pages from ``address`` on, a multiple of ``LARGE_BYTES``, for ``size_bytes`` at most.

    Returns:
        Bytes from there on that have their pages now, a multiple of ``LARGE_BYTES``. Others may
        have them too.
    """
    total = size_bytes // LARGE_BYTES
    turns = itertools.count()
    enough = threading.Event()
    made: list[int] = []

    def make_some() -> None:
        while not enough.is_set() and (turn := next(turns)) < total:
            began_ns = clock.now_ns()
            place = address + turn * LARGE_BYTES
            if _madvise(place, LARGE_BYTES, _MADV_POPULATE_WRITE) == 0:
                made.append(turn)
                if clock.now_ns() - began_ns <= _SLOW_NS:
                    continue
            enough.set()

    helpers: list[threading.Thread] = []
    try:
        with suppress(RuntimeError):  # if no thread can be started, this one makes all
            for _ in range(min(len(os.sched_getaffinity(0)), _THREADS_COUNT_MAX, total) - 1):
                helper = threading.Thread(target=make_some, name="zgen-pages")
                helper.start()
                helpers.append(helper)
        make_some()
    finally:
        for helper in helpers:
            helper.join()
    made.sort()
    return LARGE_BYTES * next((at for at, turn in enumerate(made) if at != turn), len(made))
