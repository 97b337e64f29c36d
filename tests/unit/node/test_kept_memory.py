"""That freed memory is used again instead of being made anew for every piece that comes."""

import subprocess
import sys

import pytest

_PROGRAM = """
import ctypes, resource, sys
from zgen_node.io import linux

MIB, ROUNDS = 1 << 20, 20
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = (ctypes.c_void_p,)
if sys.argv[1] == "kept":
    linux.keep_freed(4 * MIB, 64 * MIB)

def fill_and_free():
    pieces = [libc.malloc(MIB) for _ in range(16)]
    for piece in pieces:
        ctypes.memset(piece, 1, MIB)
    for piece in pieces:
        libc.free(piece)

fill_and_free()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(ROUNDS):
    fill_and_free()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / (16 * ROUNDS))
"""


def _faults_per_piece(how: str) -> float:
    """Return how many pages a piece of 1 MiB had made when it was filled."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, how], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def test_pieces_come_out_of_pages_that_are_there_once_freed_memory_is_kept() -> None:
    pages = 256
    if _faults_per_piece("given back") < pages / 4:
        pytest.skip("this machine's malloc keeps what is freed by itself")
    assert _faults_per_piece("kept") < pages / 16
