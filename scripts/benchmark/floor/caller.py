"""The floor's caller: the least an owner of streams must do for each item.

One inbox, one outbox for each peer, one I/O thread, an object table with an entry and a ref for
each item, and credit that follows what was consumed.
"""

import itertools
import pickle
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, Final

import zmq

from scripts.benchmark.floor.peer import WINDOW, Message

Key = tuple[int, int]

#: Credit follows by this part of the window.
_CREDIT_PARTS: Final = 4


class Ref:
    """A handle whose end frees its entry."""

    __slots__ = ("key", "table")

    def __init__(self, key: Key, table: dict[Key, bytes]) -> None:
        self.key = key
        self.table = table

    def get(self) -> Any:
        """Unpickle the value."""
        return pickle.loads(self.table[self.key])

    def __await__(self) -> Generator[Any, None, Any]:
        yield from ()
        return self.get()

    def __del__(self) -> None:
        self.table.pop(self.key, None)


class Stream:
    """Items of one stream, in order, as they arrive."""

    def __init__(self, caller: "Caller", peer: int, number: int, window: int) -> None:
        self._step = window // _CREDIT_PARTS
        self._caller = caller
        self._peer = peer
        self.number = number
        self.arrived = 0
        self.ended = False
        self.changed = threading.Condition()
        self.waiting = False
        #: Called by the I/O thread when something came, for who does not wait in a thread.
        self.on_change: Callable[[], None] | None = None
        self._taken = 0

    @property
    def is_ready(self) -> bool:
        """Whether `next` would not block."""
        return self._taken != self.arrived or self.ended

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> Ref:
        if self._taken == self.arrived:
            self._wait()
            if self._taken == self.arrived:
                raise StopIteration
        ref = Ref((self.number, self._taken), self._caller.objects)
        self._taken += 1
        if not self._taken % self._step:
            self._caller.send(self._peer, ("credit", self._step))
        return ref

    def _wait(self) -> None:
        if not self._caller.threaded:
            while self._taken == self.arrived and not self.ended:
                self._caller.receive()
            return
        with self.changed:
            self.waiting = True
            while self._taken == self.arrived and not self.ended:
                self.changed.wait()
            self.waiting = False


class Caller:
    """Starts peers, sends them work and takes what they report.

    Args:
        peers: how many peers to start at once; `start_peer` starts more.
        threaded: whether an I/O thread receives; otherwise the caller does when it waits.
    """

    def __init__(self, peers: int, threaded: bool) -> None:
        self.objects: dict[Key, bytes] = {}
        self.done: dict[int, bytes] = {}
        self.threaded = threaded
        self.pids: list[int] = []
        self._streams: dict[int, Stream] = {}
        self._numbers = itertools.count()
        self._context = zmq.Context()
        self._folder = tempfile.TemporaryDirectory(prefix="zf-")
        self.endpoint = f"ipc://{self._folder.name}/c"
        self._inbox = self._context.socket(zmq.ROUTER)
        self._inbox.bind(self.endpoint)
        self._outboxes: list[zmq.Socket[bytes]] = []
        self._children: list[subprocess.Popen[bytes]] = []
        self._hellos: deque[Message] = deque()
        for _ in range(peers):
            self.start_peer()
        for _ in range(peers):
            self.await_peer()
        if threaded:
            sys.setswitchinterval(0.0005)
            threading.Thread(target=self._lead, daemon=True).start()

    def start_peer(self) -> None:
        """Start the process of one more peer."""
        endpoint = f"ipc://{self._folder.name}/{len(self._children)}"
        module = "scripts.benchmark.floor.peer"
        command = [sys.executable, "-m", module, self.endpoint, endpoint]
        self._children.append(subprocess.Popen(command))

    def await_peer(self) -> int:
        """Wait until one more peer has said hello, connect to it, and tell its number."""
        while not self._hellos:
            self.receive()
        _, pid, endpoint = self._hellos.popleft()
        outbox = self._context.socket(zmq.DEALER)
        outbox.connect(endpoint)
        self._outboxes.append(outbox)
        self.pids.append(pid)
        return len(self._outboxes) - 1

    def open(self, body: str, count: int, peer: int = 0, window: int = WINDOW) -> Stream:
        """Ask a peer for a stream that is ahead by no more than ``window`` items."""
        stream = Stream(self, peer, next(self._numbers), window)
        self._streams[stream.number] = stream
        self.send(peer, ("stream", stream.number, body, count, window))
        return stream

    def send(self, peer: int, message: Message) -> None:
        """Send one message to a peer."""
        self._outboxes[peer].send(pickle.dumps(message, 5))

    def receive(self) -> None:
        """Take one message and enter what it brings."""
        message: Message = pickle.loads(self._inbox.recv_multipart()[1])
        match message[0]:
            case "items":
                self._enter(self._streams[message[1]], message[2])
            case "end":
                self._end(self._streams.pop(message[1]))
            case "done":
                self.done[message[1]] = message[2]
            case "hello":
                self._hellos.append(message)
            case unknown:
                raise RuntimeError(f"a peer sent {unknown!r}")

    def close(self) -> None:
        """End all peers that were started here and free what they used."""
        for child in self._children:
            child.kill()
            child.wait()
        self._folder.cleanup()

    def _enter(self, stream: Stream, entries: list[bytes]) -> None:
        number, index, objects = stream.number, stream.arrived, self.objects
        for payload in entries:
            objects[number, index] = payload
            index += 1
        stream.arrived = index
        self._wake(stream)

    def _end(self, stream: Stream) -> None:
        stream.ended = True
        self._wake(stream)

    def _wake(self, stream: Stream) -> None:
        if stream.on_change is not None:
            stream.on_change()
        elif self.threaded:
            with stream.changed:
                if stream.waiting:
                    stream.changed.notify()

    def _lead(self) -> None:
        while True:
            self.receive()
