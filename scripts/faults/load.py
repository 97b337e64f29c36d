"""Work of every kind that goes on until it is told to stop, and counts what came of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import zgen
from scripts.faults.bodies import note, noted
from scripts.faults.row import PATIENCE_S
from tests.integration.remote_class import RemoteClass

#: Items of one stream, and the pause before each.
ITEMS_COUNT: Final = 60
PAUSE_S: Final = 0.02
#: Bytes of a value that lies in shared memory.
LARGE_BYTES: Final = 400_000


@zgen.remote(num_cpus=0, max_retries=5)
def ticking(runs: str, name: str) -> Iterator[int]:
    """Yield indexes at a steady pace; note the run."""
    note(runs, name)
    for i in range(ITEMS_COUNT):
        time.sleep(PAUSE_S)
        yield i


@zgen.remote(num_cpus=0, max_retries=5)
def large_ticking(runs: str, name: str) -> Iterator[bytes]:
    """Yield large values, each of its index."""
    note(runs, name)
    for i in range(ITEMS_COUNT // 6):
        time.sleep(6 * PAUSE_S)
        yield bytes([i]) * LARGE_BYTES


@zgen.remote(num_cpus=0, max_retries=5)
def large(runs: str, name: str, fill: int) -> bytes:
    """Return a large value."""
    note(runs, name)
    return bytes([fill]) * LARGE_BYTES


@zgen.remote(num_cpus=0, max_retries=5)
def measured(runs: str, name: str, value: bytes) -> tuple[int, int]:
    """Return the length of what was lent, and its first byte."""
    note(runs, name)
    time.sleep(0.05)
    return len(value), value[0]


@zgen.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
class Adder(RemoteClass):
    """Adds."""

    def add(self, runs: str, name: str, number: int) -> int:
        """Return the number that follows."""
        note(runs, name)
        time.sleep(0.01)
        return number + 1


class Load:
    """Streams, tasks, large values and actors on nodes, all the time.

    Attributes:
        wrong: What failed or was not right, and how.
        done: Kind of work -> how often it came right.
        gap_s: The longest time between two items of a stream.
    """

    def __init__(self, folder: Path, wheres: list[Any]) -> None:
        """Begin on each of ``wheres``: options that say where work goes."""
        self.wrong: list[str] = []
        self.done: dict[str, int] = {}
        self.gap_s = 0.0
        self._path = folder / "runs"
        self._stop = threading.Event()
        self._count = 0
        self._lock = threading.Lock()
        kinds = (self._stream, self._large_stream, self._values, self._calls)
        self._threads = [
            threading.Thread(target=self._run, args=(kind, where), name="load")
            for where in wheres
            for kind in kinds
        ]
        self._actors = {id(where): Adder.options(**where).remote() for where in wheres}
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Load:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let all that runs end."""
        self._stop.set()
        for thread in self._threads:
            thread.join(3 * PATIENCE_S)
            if thread.is_alive():
                self.wrong.append(f"{thread.name} hangs")

    @property
    def again_count(self) -> int:
        """How many bodies ran more than once."""
        runs = noted(self._path)
        return len(runs) - len(dict.fromkeys(runs))

    def told(self) -> str:
        """Return what was done, for people."""
        return ", ".join(f"{count} {kind}" for kind, count in sorted(self.done.items()))

    def _run(self, kind: Callable[[Any], str], where: Any) -> None:
        while not self._stop.is_set():
            try:
                done = kind(where)
            except Exception as error:
                self.wrong.append(f"{kind.__name__}: {type(error).__name__}: {error}"[:500])
                continue
            with self._lock:
                self.done[done] = self.done.get(done, 0) + 1

    def _name(self) -> tuple[str, str]:
        with self._lock:
            self._count += 1
            return str(self._path), f"work{self._count}"

    def _stream(self, where: Any) -> str:
        last = time.monotonic()
        got: list[int] = []
        for ref in ticking.options(**where).remote(*self._name()):
            got.append(zgen.get(ref, timeout=PATIENCE_S))
            now = time.monotonic()
            self.gap_s, last = max(self.gap_s, now - last if len(got) > 1 else 0.0), now
        self._expect(got, list(range(ITEMS_COUNT)))
        return "streams"

    def _large_stream(self, where: Any) -> str:
        got: list[tuple[int, int]] = []
        for ref in large_ticking.options(**where).remote(*self._name()):
            value = zgen.get(ref, timeout=PATIENCE_S)
            got.append((value[0], value.count(value[0])))
        self._expect(got, [(i, LARGE_BYTES) for i in range(ITEMS_COUNT // 6)])
        return "streams of large items"

    def _values(self, where: Any) -> str:
        fill = self._count % 256
        value = large.options(**where).remote(*self._name(), fill)
        told = [measured.remote(*self._name(), value) for _ in range(3)]
        self._expect(zgen.get(told, timeout=PATIENCE_S), [(LARGE_BYTES, fill)] * 3)
        self._expect(zgen.get(value, timeout=PATIENCE_S)[:1], bytes([fill]))
        return "large values with 3 readers each"

    def _calls(self, where: Any) -> str:
        actor = self._actors[id(where)]
        told = [actor.add.remote(*self._name(), number) for number in range(20)]
        self._expect(zgen.get(told, timeout=PATIENCE_S), list(range(1, 21)))
        return "rounds of 20 calls"

    def _expect(self, got: Any, wanted: Any) -> None:
        if got != wanted:
            raise AssertionError(f"{str(got)[:100]} instead of {str(wanted)[:100]}")
