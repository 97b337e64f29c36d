"""What a node's workers print and what its daemon says, in one file that `zgen logs` reads.

A line of it is a JSON object; see `zgen/io/log_files.py`, which reads it.
"""

import json
from collections.abc import Sequence

from zgen.exceptions import NodeStartError
from zgen.io.clock import wall_s
from zgen.io.rotating import RotatingFile
from zgen_node.limits import OUTPUT_LOG_BYTES_MAX


class LogFile:
    """The log of one node."""

    def __init__(self, path: str) -> None:
        """Append to the file at ``path``.

        Raises:
            OSError: It cannot be made.
        """
        self._file = RotatingFile(path, OUTPUT_LOG_BYTES_MAX)

    def printed(self, worker: str, pid: int, is_error: bool, lines: Sequence[str]) -> None:
        """Note lines of a worker: its id in hex and its process id; 0 if it has none."""
        self._write(lines, process="worker", pid=pid, worker=worker, error=is_error)

    def said(self, pid: int, text: str) -> None:
        """Note what the daemon says."""
        self._write(text.splitlines(), process="daemon", pid=pid, worker=None, error=True)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, lines: Sequence[str], error: bool, **who: str | int | None) -> None:
        row = {"at": round(wall_s(), 6), **who, "stream": "stderr" if error else "stdout"}
        told = [{**row, "line": line} for line in lines]
        if lost := self._file.lost:
            self._file.lost = 0
            told.insert(0, {**row, "line": f"(writes that failed before this: {lost})"})
        self._file.write("".join(json.dumps(each) + "\n" for each in told).encode())


def log_file_at(path: str) -> LogFile:
    """Begin the log of a node.

    Raises:
        NodeStartError: It cannot be made.
    """
    try:
        return LogFile(path)
    except OSError as error:
        raise NodeStartError(f"no log can be kept at {path}: {error.strerror}") from error
