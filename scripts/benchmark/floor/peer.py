"""The floor's worker: a bare process that runs bodies for the caller that started it.

It has one inbox and one outbox, as every peer of a runtime has, and no thread but its main one.
Started as `python -m scripts.benchmark.floor.peer CALLER_ENDPOINT OWN_ENDPOINT`.
"""

import os
import pickle
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import zmq

#: Items the caller may not have consumed yet, where nothing else is asked for.
WINDOW: Final = 8192
#: Entries that one message carries at most; no more than a quarter of the window.
BATCH_MAX: Final = 64
#: A line that has been quiet for this long gets the next entry at once.
IDLE_NS: Final = 300_000

Message = tuple[Any, ...]


class Peer:
    """Runs streams and tasks one after the other and reports to the caller."""

    def __init__(self, caller: str, endpoint: str) -> None:
        context = zmq.Context()
        self._inbox = context.socket(zmq.ROUTER)
        self._inbox.bind(endpoint)
        self._outbox = context.socket(zmq.DEALER)
        self._outbox.connect(caller)
        self._credit = 0
        self.send(("hello", os.getpid(), endpoint))

    def serve(self) -> None:
        """Do what the caller asks for until it kills this process."""
        while True:
            match self._receive():
                case ("task", task):
                    self.send(("done", task, pickle.dumps(None, 5)))
                case ("stream", stream, body, count, window):
                    self._stream(stream, BODIES[body](count), window)
                case ("credit", _):
                    pass  # for a stream that has ended
                case unknown:
                    raise RuntimeError(f"the caller sent {unknown!r}")

    def send(self, message: Message) -> None:
        """Send one message to the caller."""
        self._outbox.send(pickle.dumps(message, 5), copy=True)

    def _receive(self, flags: int = 0) -> Message:
        message: Message = pickle.loads(self._inbox.recv_multipart(flags)[1])
        if message[0] == "credit":
            self._credit += message[1]
        return message

    def _stream(self, stream: int, body: Iterator[object], window: int) -> None:
        self._credit = window
        batch_max = min(BATCH_MAX, window // 4)
        entries: list[bytes] = []
        flushed_ns = 0
        for value in body:
            entries.append(pickle.dumps(value, 5))
            now_ns = time.monotonic_ns()
            if len(entries) >= batch_max or now_ns - flushed_ns > IDLE_NS:
                self._flush(stream, entries)
                entries = []
                flushed_ns = now_ns
        if entries:
            self._flush(stream, entries)
        self.send(("end", stream))

    def _flush(self, stream: int, entries: list[bytes]) -> None:
        while self._credit < len(entries):
            self._receive()
        self._credit -= len(entries)
        self.send(("items", stream, entries))


def _numbers(count: int) -> Iterator[object]:
    yield from range(count)


def _kilobytes(count: int) -> Iterator[object]:
    text = os.urandom(2048)
    for index in range(count):
        start = index % 1024
        yield text[start : start + 1024]


def _stamps(count: int) -> Iterator[object]:
    for _ in range(count):
        time.sleep(0.002)
        yield time.monotonic_ns()


def _paced(count: int) -> Iterator[object]:
    for index in range(count):
        if index > 100:
            time.sleep(0.01)
        yield index, os.getpid()


BODIES: Final[dict[str, Callable[[int], Iterator[object]]]] = {
    "numbers": _numbers,
    "kilobytes": _kilobytes,
    "stamps": _stamps,
    "paced": _paced,
}


if __name__ == "__main__":
    Peer(sys.argv[1], sys.argv[2]).serve()
