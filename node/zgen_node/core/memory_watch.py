"""Memory of the node: which worker ends when it runs out.

Rules of this file: how soon to look again, and whom to end. What is read, and how, is not known
here; that a worker ends is as any death of a worker.

Theory of operation. As long as a worker serves somebody, the memory in use is looked at; the more
of it is free, the later the next look, since it cannot be filled sooner. Once there is too much in
use, the workers are measured, and one of them ends: among those whose work may run again the one
whose lease is the youngest, since it loses least; the others only when there is none of those. The
next one ends only when that one is dead and there is still too much in use.
"""

from collections.abc import Callable
from typing import Any, Final

from zgen.core.deadlines import Deadlines
from zgen.core.effects import Effect, Report
from zgen.core.marks import reached
from zgen.core.node_effects import ReadMemory
from zgen.core.node_events import MemoryRead
from zgen.ids import PeerId
from zgen.limits import MEMORY_FILL_BYTES_PER_MS, MEMORY_LOOK_NS_MAX, MEMORY_LOOK_NS_MIN, MS
from zgen_node.core.staffing import Staffing
from zgen_node.core.worker_pool import Worker, WorkerState

#: Unit of the threshold.
WHOLE_PPM: Final = 1_000_000


class MemoryWatch:
    """The memory of one node.

    Attributes:
        deadlines: When to look; there is one key.
        handlers: What to do about the events that concern it.
    """

    def __init__(self, staffing: Staffing, threshold_ppm: int) -> None:
        """End workers where more than this part of the memory is in use; never for 0."""
        self.deadlines: Deadlines[None] = Deadlines()
        self.handlers: dict[type, Callable[[Any, int, list[Effect]], None]] = {
            MemoryRead: self._on_read
        }
        self._pool = staffing.pool
        self._leases = staffing.leases
        self._threshold_ppm = threshold_ppm
        #: The worker that was ended last.
        self._victim: PeerId | None = None
        #: Whether the next answer measures workers; there may be none left of them by then.
        self._measures = False

    def changed(self, now_ns: int) -> None:
        """A lease was granted or ended: look soon, unless that is due anyway."""
        if self._threshold_ppm and self._pool.leased_count:
            self.deadlines.set_if_unset(None, now_ns + MEMORY_LOOK_NS_MIN)

    def on_timer(self, now_ns: int, out: list[Effect]) -> None:
        """Look, if that is due and anybody works."""
        if self.deadlines.pop_due(now_ns) and self._pool.leased_count:
            out.append(ReadMemory(()))

    def _on_read(self, event: MemoryRead, now_ns: int, out: list[Effect]) -> None:
        measures, self._measures = self._measures, False
        limit_bytes = event.total_bytes * self._threshold_ppm // WHOLE_PPM
        spare_bytes = limit_bytes - event.used_bytes
        if spare_bytes >= 0:
            fill_ns = spare_bytes // MEMORY_FILL_BYTES_PER_MS * MS
            pause_ns = max(MEMORY_LOOK_NS_MIN, min(fill_ns, MEMORY_LOOK_NS_MAX))
            self.deadlines.set(None, now_ns + pause_ns)
            return
        self.deadlines.set(None, now_ns + MEMORY_LOOK_NS_MIN)
        last = self._pool.get(self._victim) if self._victim is not None else None
        if last is not None and last.state is not WorkerState.DEAD:
            reached("memory still full while a worker dies for it")
            return
        if not measures:
            asked = [(worker.worker, worker.pid) for worker in self._by_turn()]
            if asked:
                self._measures = True
                out.append(ReadMemory(tuple(asked)))
            return
        measured = dict(event.workers)
        for worker in self._by_turn():
            if worker.worker in measured:
                self._end(worker, measured[worker.worker], limit_bytes, event.used_bytes, out)
                return

    def _by_turn(self) -> list[Worker]:
        """Return the workers that serve somebody, the first to end first."""
        found: list[tuple[bool, int, int, Worker]] = []
        for place, worker in enumerate(self._pool.all()):
            lease = self._leases.get(worker.lease) if worker.lease is not None else None
            if lease is not None and not worker.ending and worker.pid:
                found.append((not lease.asked.retriable, -lease.granted_ns, -place, worker))
        return [worker for *_, worker in sorted(found, key=lambda each: each[:3])]

    def _end(
        self, worker: Worker, rss_bytes: int, limit_bytes: int, used_bytes: int, out: list[Effect]
    ) -> None:
        lease = self._leases.get(worker.lease) if worker.lease is not None else None
        assert lease is not None, worker.life.story()
        reached("worker ended for memory" if lease.asked.retriable else "last resort for memory")
        worker.rss_bytes, worker.limit_bytes = rss_bytes, limit_bytes
        self._victim = worker.worker
        self._pool.kill(worker, "memory ran out", out)
        text = (
            f"worker pid={worker.pid} is ended, as memory runs out: {used_bytes} bytes are in use "
            f"here, the limit is {limit_bytes}; it has {rss_bytes} and runs {lease.what}()"
        )
        out.append(Report("warning", text))
