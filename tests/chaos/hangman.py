"""SIGKILL for workers that ask for it, and what outlives them: marks in files."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from types import TracebackType

from tests.integration.watching import wait_until


class Hangman:
    """Kills who writes a process id into its FIFO.

    Attributes:
        fifo: Where to write.
        killed: Process ids killed so far, in order.
    """

    def __init__(self, folder: Path) -> None:
        self.fifo = str(folder / "victims")
        self.killed: list[int] = []
        os.mkfifo(self.fifo)
        self._fd = os.open(self.fifo, os.O_RDWR)  # never at its end
        self._thread = threading.Thread(target=self._run, name="hangman")

    def __enter__(self) -> Hangman:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.write(self._fd, b"0\n")
        self._thread.join()
        os.close(self._fd)

    def _run(self) -> None:
        with open(self._fd, closefd=False) as victims:
            for line in iter(victims.readline, "0\n"):
                self.killed.append(int(line))
                os.kill(int(line), signal.SIGKILL)


def await_kill(fifo: str) -> None:
    """Have the calling process killed and do nothing more until that has happened."""
    with open(fifo, "w") as victims:
        victims.write(f"{os.getpid()}\n")
    time.sleep(60)
    raise AssertionError("nobody killed this process")


def marks(path: Path) -> list[str]:
    """The lines that `mark` has written whole; a file that is there may still be empty."""
    return path.read_text().split("\n")[:-1] if path.exists() else []


def await_mark(path: Path, what: str) -> str:
    """Wait until a file has its first line, and return it."""
    wait_until(lambda: marks(path) != [], 20, what)
    return marks(path)[0]


def mark(path: str, text: str) -> int:
    """Append a line to a file; return how many such lines are in it now."""
    with open(path, "a+") as file:
        file.write(f"{text}\n")
        file.flush()
        file.seek(0)
        return file.read().split("\n").count(text)
