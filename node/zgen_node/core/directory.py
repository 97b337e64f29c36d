"""What processes ask a node about others: who is still there.

Rules of this file: answers, and who may ask. What follows from a death is not decided here.

Theory of operation. A process that asks to watch another one is told of its end as if a lease had
joined them, and the other one of its: so both close their lines. One that is not known here is
dead, or never lived; whoever asks hears so at once.
"""

from typing import Final

from zgen.core.effects import Effect
from zgen.ids import ID_BYTES, LeaseId, PeerId
from zgen.wire.lease import ProcessDown
from zgen.wire.object import WatchProcess
from zgen_node.core.peers import Peers
from zgen_node.core.staffing import Staffing
from zgen_node.core.worker_pool import WorkerState

_NO_LEASE: Final = LeaseId(bytes(ID_BYTES))


class Directory:
    """Answers about processes."""

    def __init__(self, peers: Peers, staffing: Staffing) -> None:
        """Answer about the processes of these tables."""
        self._peers = peers
        self._staffing = staffing

    def watch(
        self, peer: PeerId, said: WatchProcess, out: list[Effect], *, mutual: bool = True
    ) -> None:
        """Tell ``peer`` of the end of a process of this node, and if ``mutual`` that one of its."""
        reason = "it was dead already"
        dead = ProcessDown(said.peer, said.incarnation, 0, -1, 0, reason, _NO_LEASE, 0)
        job = self._staffing.jobs.of_driver(said.peer)
        is_older = job is not None and job.incarnation != said.incarnation
        lives = self.is_there(said.peer) and not is_older
        if mutual and lives and not self._peers.is_down(said.peer):
            self._peers.monitors.add(said.peer, peer)
        self._peers.watch(peer, said.peer, lives, dead, out)

    def is_there(self, peer: PeerId) -> bool:
        """Return whether ``peer`` is a worker or driver of this node that lives."""
        worker = self._staffing.pool.get(peer)
        if worker is not None:
            return worker.state is not WorkerState.DEAD
        job = self._staffing.jobs.of_driver(peer)
        return job is not None and job.far_driver is None
