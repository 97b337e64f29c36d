"""What workers say of themselves, and what is said of their starts.

Rules of this file: words that change one record of a worker or lease. Its end is not among them.
"""

from collections.abc import Callable
from typing import Any

from zgen.core.effects import Effect
from zgen.core.events import WorkerSpawned
from zgen.core.marks import reached
from zgen.ids import PeerId, short
from zgen.wire.lease import WorkerBlocked, WorkerReady
from zgen.wire.object import KeepWorker
from zgen_node.core.peers import Peers
from zgen_node.core.staffing import Staffing


class WorkerWords:
    """Routes words of workers to their records.

    Attributes:
        handlers: What to do about the events that concern it.
        messages: What to do about each class of message.
    """

    def __init__(
        self, peers: Peers, staffing: Staffing, welcome: Callable[[PeerId, list[Effect]], None]
    ) -> None:
        """Change these records; ``welcome`` is told of each worker that is ready."""
        self._peers = peers
        self._staffing = staffing
        self._welcome = welcome
        self.handlers: dict[type, Callable[[Any, int, list[Effect]], None]] = {
            WorkerSpawned: self._on_worker_spawned
        }
        self.messages: dict[type, Callable[[PeerId, Any, int, list[Effect]], None]] = {
            WorkerReady: self._on_worker_ready,
            WorkerBlocked: self._on_worker_blocked,
            KeepWorker: self._on_keep_worker,
        }

    def _on_worker_spawned(self, event: WorkerSpawned, now_ns: int, out: list[Effect]) -> None:
        self._staffing.pool.note_pid(event.worker, event.pid)

    def _on_worker_ready(
        self, peer: PeerId, said: WorkerReady, now_ns: int, out: list[Effect]
    ) -> None:
        worker = self._staffing.pool.get(peer)
        if worker is None:
            self._peers.refuse("word of a worker that nobody started", short(peer), out)
        else:
            self._staffing.worker_ready(worker, said.pid, now_ns)
            self._welcome(peer, out)

    def _on_worker_blocked(
        self, peer: PeerId, said: WorkerBlocked, now_ns: int, out: list[Effect]
    ) -> None:
        lease = self._staffing.leases.get(said.lease)
        if self._staffing.pool.get(peer) is None:
            self._peers.refuse("word of a worker that nobody started", short(peer), out)
        elif lease is None or lease.worker != peer:
            reached("word about an older lease ignored")
        elif self._staffing.leases.set_blocked(lease, said.blocked, now_ns):
            self._staffing.changed()

    def _on_keep_worker(
        self, peer: PeerId, said: KeepWorker, now_ns: int, out: list[Effect]
    ) -> None:
        worker = self._staffing.pool.get(peer)
        if worker is not None:
            worker.is_lender = said.needed
