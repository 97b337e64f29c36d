"""What rows are made of: clusters, logs of nodes as they are written, work that notes its runs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import zgen
from scripts.faults.bodies import note
from scripts.faults.row import SkippedError
from tests.integration.remote_class import RemoteClass
from zgen.exceptions import NamespaceError
from zgen.testing import Cluster, Node

_LOOK_S: Final = 0.01


@contextmanager
def cluster(count: int, *, profile: str = "lan", namespaces: bool = True) -> Iterator[Cluster]:
    """Run nodes of one CPU each that know each other, and make this program their driver.

    Node ``i`` has a resource ``n<i>``, so that work can be sent to it.

    Raises:
        SkippedError: Links are to be cut and cannot be.
    """
    try:
        made = Cluster(profile=profile, namespaces=namespaces)
    except NamespaceError as error:
        raise SkippedError(error.reason) from None
    with made as nodes:
        for i in range(count):
            nodes.add_node(num_cpus=2, resources={f"n{i}": 100})
        zgen.init(address=nodes.address, key=nodes.key, log_to_driver=False)
        try:
            wait_until(lambda: len(zgen.nodes()) == count + 1, 30, "the driver knows all")
            nodes.wait_for_nodes()
            yield nodes
        finally:
            nodes.heal()
            zgen.shutdown()


def soft(node: Node) -> Any:
    """Return the strategy of work that prefers a node and may run elsewhere."""
    strategy = zgen.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    return strategy(node.node_id, soft=True)


def wait_until(happened: Callable[[], bool], within_s: float, what: str) -> float:
    """Wait until ``happened``; return the seconds that it took.

    Raises:
        TimeoutError: It did not within ``within_s``.
    """
    began = time.monotonic()
    while not happened():
        if time.monotonic() - began > within_s:
            raise TimeoutError(f"not within {within_s:g} s: {what}")
        time.sleep(_LOOK_S)
    return time.monotonic() - began


class Logs:
    """Reads the logs of nodes as they are written, and notes when each line was seen."""

    def __init__(self, nodes: list[Node]) -> None:
        """Read from now on; a folder that goes away is read no more."""
        self._paths = {node: Path(node.folder) / "node.log" for node in nodes}
        self._read = {node: path.stat().st_size for node, path in self._paths.items()}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="logs")
        #: Node, when, line.
        self.lines: list[tuple[Node, float, str]] = []

    def __enter__(self) -> Logs:
        """Start to read."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Read no more."""
        self._stop.set()
        self._thread.join()

    def when(self, node: Node, *words: str) -> float | None:
        """Return when a node first wrote a line with all ``words``; None if it has not."""
        for who, at, line in self.lines:
            if who is node and all(word in line for word in words):
                return at
        return None

    def seen(self, nodes: list[Node], words: tuple[str, ...], within_s: float) -> list[float]:
        """Wait until all ``nodes`` have written such a line; return when each did."""
        wait_until(lambda: all(self.when(n, *words) for n in nodes), within_s, " ".join(words))
        return [at for node in nodes if (at := self.when(node, *words)) is not None]

    def count(self, *words: str) -> int:
        """Return how many lines have all ``words``."""
        return sum(all(word in line for word in words) for _, _, line in self.lines)

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_S):
            now = time.monotonic()
            for node, path in self._paths.items():
                try:
                    with path.open("rb") as file:
                        file.seek(self._read[node])
                        text = file.read()
                except OSError:
                    continue
                whole = text[: text.rfind(b"\n") + 1]
                self._read[node] += len(whole)
                for line in whole.decode(errors="replace").splitlines():
                    self.lines.append((node, now, line))


@zgen.remote(num_cpus=0, max_retries=10)
def ticks(runs: str, name: str, count: int, pause_s: float) -> Iterator[tuple[int, int]]:
    """Yield index and process id at a steady pace; note each run of the body."""
    note(runs, name)
    for i in range(count):
        yield i, os.getpid()
        time.sleep(pause_s)


@zgen.remote(num_cpus=0, max_restarts=10, max_task_retries=10)
class Teller(RemoteClass):
    """Says who it is."""

    def tell(self) -> int:
        """Return the process id."""
        return os.getpid()


class Consumer:
    """Reads a stream of ``ticks`` in a thread.

    Attributes:
        items: Index, process id and when it was read.
        error: What ended the stream but its end.
    """

    def __init__(self, stream: Any) -> None:
        """Start to read."""
        self.items: list[tuple[int, int, float]] = []
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(stream,), name="consumer")
        self._thread.start()

    def join(self, within_s: float) -> None:
        """Wait for the end of the stream.

        Raises:
            TimeoutError: It did not end within ``within_s``.
        """
        self._thread.join(within_s)
        if self._thread.is_alive():
            raise TimeoutError(f"a stream still runs after {within_s:g} s")

    def is_whole(self, count: int) -> bool:
        """Return whether every index came once and in order."""
        return self.error is None and [i for i, _, _ in self.items] == list(range(count))

    def stall_s(self, since: float = 0.0) -> float:
        """Return the longest time without an item after ``since``, or between two of them."""
        times = [at for _, _, at in self.items if at >= since]
        if since and times:
            times.insert(0, since)
        return max((b - a for a, b in pairwise(times)), default=0.0)

    def _run(self, stream: Any) -> None:
        try:
            for ref in stream:
                index, pid = zgen.get(ref)
                self.items.append((index, pid, time.monotonic()))
        except Exception as error:
            self.error = error
