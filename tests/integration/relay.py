"""A TCP relay on loopback that cuts its connections after so many bytes, with what they hold."""

from __future__ import annotations

import selectors
import socket
import struct
import threading
from types import TracebackType
from typing import Final

#: ``SO_LINGER`` on with a time of 0: closing resets the connection instead of flushing it.
_RESET: Final = struct.pack("ii", 1, 0)
_CHUNK_BYTES: Final = 16 << 10


class Relay:
    """Forwards connections to another port until it cuts them.

    Attributes:
        endpoint: Where to connect instead of at the target.
        cuts: Connections cut so far while they carried data.
    """

    def __init__(self, target: str, cut_after_bytes: int = 0, cuts_max: int = 0) -> None:
        """Relay to ``target``, a ``tcp://`` endpoint.

        Args:
            target: Where the connections go on to.
            cut_after_bytes: A connection is cut when it has carried so many towards the target.
            cuts_max: How many connections are cut before the rest is left alone.
        """
        host, _, port = target.removeprefix("tcp://").rpartition(":")
        self._target = (host, int(port))
        self._cut_after_bytes = cut_after_bytes
        self._cuts_max = cuts_max
        self._listener = socket.create_server((host, 0), backlog=64)
        self.endpoint = f"tcp://{host}:{self._listener.getsockname()[1]}"
        self.cuts = 0
        self._selector = selectors.DefaultSelector()
        self._stop_reader, self._stop_writer = socket.socketpair()
        #: Socket -> (other end of its connection, bytes carried so far, towards the target?).
        self._pairs: dict[socket.socket, tuple[socket.socket, list[int], bool]] = {}
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._stop_reader, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="relay")
        self._thread.start()

    def __enter__(self) -> Relay:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop_writer.send(b"x")
        self._thread.join()
        for each in [*self._pairs, self._listener, self._stop_reader, self._stop_writer]:
            each.close()
        self._selector.close()

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                ready = key.fileobj
                assert isinstance(ready, socket.socket)
                if ready is self._stop_reader:
                    return
                if ready is self._listener:
                    self._accept()
                elif ready in self._pairs:
                    self._forward(ready)

    def _accept(self) -> None:
        inner, _ = self._listener.accept()
        try:
            outer = socket.create_connection(self._target)
        except OSError:
            inner.close()
            return
        carried = [0]
        for here, there, to_target in ((inner, outer, True), (outer, inner, False)):
            self._pairs[here] = (there, carried, to_target)
            self._selector.register(here, selectors.EVENT_READ)

    def _forward(self, here: socket.socket) -> None:
        there, carried, to_target = self._pairs[here]
        try:
            data = here.recv(_CHUNK_BYTES)
            if data:
                there.sendall(data)
        except OSError:
            data = b""
        if not data:
            self._drop(here, there)
            return
        carried[0] += len(data) if to_target else 0
        if self.cuts < self._cuts_max and carried[0] >= self._cut_after_bytes:
            self.cuts += 1
            self._drop(here, there)

    def _drop(self, here: socket.socket, there: socket.socket) -> None:
        """Close both ends hard: what is in their buffers is lost."""
        for each in (here, there):
            del self._pairs[each]
            self._selector.unregister(each)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            each.close()
