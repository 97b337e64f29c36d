"""Floors of the rows PN*: frames as zgen's, from one process to another, and nothing else."""

import mmap
import statistics
import subprocess
import sys
import time
from typing import Any, Final

import zmq

from scripts.benchmark.rows.objects import LARGE_BYTES

Figures = dict[str, float]

#: Bytes of a frame, and frames of a message.
FRAME_BYTES: Final = 1 << 20
FRAMES: Final = 4
_HOST: Final = "tcp://127.0.0.1"


def pn1() -> Figures:
    """Send 100 MB from a DEALER to a ROUTER over loopback, uncopied on either side."""
    return {"plain": _gbytes(None), "locked": _gbytes(zmq.curve_keypair())}


def lock(socket: "zmq.Socket[bytes]", pair: tuple[bytes, bytes] | None, *, server: bool) -> None:
    """Have a socket encrypt, if there is a pair of keys."""
    if pair is not None:
        socket.curve_publickey, socket.curve_secretkey = pair
        if server:
            socket.curve_server = 1
        else:
            socket.curve_serverkey = pair[0]


def _gbytes(pair: tuple[bytes, bytes] | None) -> float:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    inbox = context.socket(zmq.ROUTER)
    lock(inbox, pair, server=True)
    port = inbox.bind_to_random_port(_HOST)
    keys = [] if pair is None else [each.decode() for each in pair]
    command = [sys.executable, "-m", "scripts.benchmark.floor.nodes", f"{_HOST}:{port}", *keys]
    sender = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)
    assert sender.stdin is not None
    took_s = []
    for _ in range(12):
        began = time.perf_counter()
        print(file=sender.stdin, flush=True)
        missing = LARGE_BYTES
        while missing:
            frame: Any = inbox.recv(copy=False)
            if len(frame.buffer) > 64:  # else the name of the connection, or the header
                missing -= len(frame.buffer)
        took_s.append(time.perf_counter() - began)
        time.sleep(0.1)
    sender.stdin.close()
    sender.wait()
    context.destroy(0)
    return LARGE_BYTES / statistics.median(took_s[2:]) / 1e9


def _send_all(endpoint: str, pair: tuple[bytes, bytes] | None) -> None:
    """Send everything whenever a line comes in."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    outbox = context.socket(zmq.DEALER)
    lock(outbox, pair, server=False)
    outbox.connect(endpoint)
    value = mmap.mmap(-1, LARGE_BYTES)
    value[:] = b"1" * LARGE_BYTES
    frames = [
        memoryview(value)[start : start + FRAME_BYTES]
        for start in range(0, LARGE_BYTES, FRAME_BYTES)
    ]
    for _ in sys.stdin:
        for start in range(0, len(frames), FRAMES):
            outbox.send_multipart([b"header", *frames[start : start + FRAMES]], copy=False)
    context.destroy()


if __name__ == "__main__":
    pair = (sys.argv[2].encode(), sys.argv[3].encode()) if len(sys.argv) > 2 else None
    _send_all(sys.argv[1], pair)
