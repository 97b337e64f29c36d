"""Worker output to files and drivers.

Reads the workers' pipes, cuts them into lines, hands those on, notes them in the node's log, and
keeps the last ones of each worker for the error that tells of its death. What has no end yet waits
for it until somebody asks for everything, as a driver does before it leaves.
"""

import os
from collections import deque
from collections.abc import Callable
from dataclasses import field
from functools import partial
from typing import Final

from zgen.core.events import WorkerPrinted
from zgen.ids import PeerId
from zgen.limits import LOG_LINE_BYTES_MAX, LOG_TAIL_LINES
from zgen.slotted import slotted
from zgen_node.io.log_file import LogFile
from zgen_node.io.processes import Watcher

_READ_BYTES: Final = 64 << 10
#: Reads of one pipe in a row, so that one worker's flood does not silence the others.
_READS_MAX: Final = 4
#: Reads of a dead worker's pipe; a pipe holds less, unless something of the worker still writes.
_LAST_READS_MAX: Final = 64


@slotted
class _Pipe:
    """One output of one worker.

    Attributes:
        descriptor: Where it is read; -1 once it is closed.
        is_error: True for standard error.
        partial: Bytes of a line whose end has not come.
    """

    descriptor: int
    is_error: bool
    partial: bytearray = field(default_factory=bytearray)


@slotted
class _Output:
    """Both outputs of one worker.

    Attributes:
        pipes: Standard output and standard error.
        pid: Process id of the worker; 0 until the zygote has said it.
        unnoted: Whether each was an error, and the lines, that the log lacks until then.
        tail: The last lines of both, in the order in which they were read.
    """

    pipes: tuple[_Pipe, _Pipe]
    pid: int = 0
    unnoted: list[tuple[bool, list[str]]] = field(default_factory=list)
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=LOG_TAIL_LINES))


class Logs:
    """The output of this node's workers."""

    def __init__(
        self, watcher: Watcher, post: Callable[[WorkerPrinted], None], file: LogFile | None = None
    ) -> None:
        """Read when ``watcher`` says so; hand lines to ``post``, and note them in ``file``."""
        self._watcher = watcher
        self._post = post
        self._file = file
        #: Worker -> its pipes. Added by ``attach``; removed by ``finish``.
        self._outputs: dict[PeerId, _Output] = {}

    def attach(self, worker: PeerId, stdout: int, stderr: int) -> None:
        """Read a worker's pipes from now on, and close them in the end."""
        output = self._outputs[worker] = _Output((_Pipe(stdout, False), _Pipe(stderr, True)))
        for pipe in output.pipes:
            os.set_blocking(pipe.descriptor, False)
            self._watcher.watch(pipe.descriptor, partial(self._on_readable, worker, pipe))

    def started(self, worker: PeerId, pid: int) -> None:
        """Know the process id of a worker from now on."""
        output = self._outputs.get(worker)
        if output is not None:
            output.pid = pid
            self._note(worker, output)

    def flush(self, worker: PeerId) -> None:
        """Hand on what a worker has written until now; an unfinished line counts as a line."""
        output = self._outputs.get(worker)
        if output is None:
            return
        for pipe in output.pipes:
            self._read(worker, output, pipe, _READS_MAX)
            self._hand_on(worker, output, pipe, _lines(pipe.partial, at_end=True))

    def finish(self, worker: PeerId) -> str:
        """Take what is left in a dead worker's pipes, forget them, and return its last lines."""
        output = self._outputs.get(worker)
        if output is None:
            return ""
        for pipe in output.pipes:
            self._read(worker, output, pipe, _LAST_READS_MAX)
            self._close(pipe)
            self._hand_on(worker, output, pipe, _lines(pipe.partial, at_end=True))
        self._note(worker, output)
        del self._outputs[worker]
        return "\n".join(output.tail)

    def _on_readable(self, worker: PeerId, pipe: _Pipe) -> None:
        output = self._outputs.get(worker)
        if output is not None:
            self._read(worker, output, pipe, _READS_MAX)

    def _read(self, worker: PeerId, output: _Output, pipe: _Pipe, reads_max: int) -> None:
        for _ in range(reads_max):
            if pipe.descriptor < 0:
                return
            try:
                data = os.read(pipe.descriptor, _READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                self._close(pipe)  # the worker closed it; it lives on without
                return
            pipe.partial += data
            self._hand_on(worker, output, pipe, _lines(pipe.partial, at_end=False))

    def _hand_on(self, worker: PeerId, output: _Output, pipe: _Pipe, lines: list[str]) -> None:
        if lines:
            output.tail.extend(lines)
            if self._file is not None:
                output.unnoted.append((pipe.is_error, lines))
                if output.pid:
                    self._note(worker, output)
            self._post(WorkerPrinted(worker, pipe.is_error, tuple(lines), 0))

    def _note(self, worker: PeerId, output: _Output) -> None:
        """Write down what the log lacks."""
        for is_error, lines in output.unnoted:
            assert self._file is not None
            self._file.printed(worker.hex(), output.pid, is_error, lines)
        output.unnoted.clear()

    def _close(self, pipe: _Pipe) -> None:
        if pipe.descriptor >= 0:
            self._watcher.unwatch(pipe.descriptor)
            os.close(pipe.descriptor)
            pipe.descriptor = -1


def _lines(partial: bytearray, at_end: bool) -> list[str]:
    """Take whole lines out of ``partial``; too long ones in pieces, and at the end what is left."""
    *whole, rest = bytes(partial).split(b"\n")
    pieces: list[bytes] = []
    for line in whole:
        pieces.extend(_cut(line))
        pieces[-1] = pieces[-1].removesuffix(b"\r")
    last = _cut(rest)
    rest = b"" if at_end else last.pop()
    if at_end and last == [b""]:
        last = []
    partial[:] = rest
    return [piece.decode("utf-8", "replace") for piece in [*pieces, *last]]


def _cut(line: bytes) -> list[bytes]:
    """Cut a line into pieces of at most ``LOG_LINE_BYTES_MAX``, between characters."""
    pieces: list[bytes] = []
    start = 0
    while len(line) - start > LOG_LINE_BYTES_MAX:
        end = start + LOG_LINE_BYTES_MAX
        while end > start + LOG_LINE_BYTES_MAX - 4 and line[end] & 0xC0 == 0x80:
            end -= 1
        pieces.append(line[start:end])
        start = end
    return [*pieces, line[start:]]
