"""How a node leaves when it is told to drain: it begins nothing new, ends what runs, and goes.

Rules of this file: when the node has nothing left to do, and when it waits no longer. What is not
begun any more, and where it goes instead, is the affair of those who place it.

Theory of operation. From the first word on, requests that wait here go to other nodes, guests go
back, owners return what they hold as it becomes idle, and idle workers end. The node stays while
anything here is of use to others: a lease, a worker whose objects are borrowed, a program, a value
in shared memory that its owner has not released. When nothing is, or the time is over and the
workers were ended, it leaves the cluster by a word. It never changes its mind: a program that comes
when it waits for nobody any more is not let in, or it would lose its node soon after.
"""

from enum import Enum
from typing import Final

from zgen.core.deadlines import Deadlines
from zgen.core.effects import Effect, Report
from zgen.core.events import WorkerExited
from zgen.core.lifecycle import Lifecycle
from zgen.core.marks import reached
from zgen.core.node_effects import Drained
from zgen.ids import PeerId
from zgen.limits import DRAIN_END_NS, DRAIN_SECONDS_COUNT_MAX, SECOND
from zgen.wire.cluster import DrainNode
from zgen_node.core.cluster import Cluster
from zgen_node.core.output import Output
from zgen_node.core.staffing import Staffing
from zgen_node.core.storage import Storage
from zgen_node.core.worker_pool import Worker, WorkerState

#: Told of a worker that had to end.
OVERDUE: Final = "its node drained, and waited for it no longer"


class Phase(Enum):
    """How far a node is with leaving."""

    STAYING = "staying"  #: nobody said that it is to leave
    DRAINING = "draining"  #: it begins nothing new and waits for what runs
    ENDING = "ending"  #: its time is over, and it waits for the ends of its workers
    DRAINED = "drained"  #: it was said that nothing is left


LEGAL: Final[dict[Phase, tuple[Phase, ...]]] = {
    Phase.STAYING: (Phase.DRAINING,),
    Phase.DRAINING: (Phase.ENDING, Phase.DRAINED),
    Phase.ENDING: (Phase.DRAINED,),
    Phase.DRAINED: (),
}


class Draining:
    """The leave of one node.

    Attributes:
        deadlines: When it waits no longer; there is one key.
        begun: Whether it was told to drain.
        life: How far it is.
    """

    def __init__(
        self,
        staffing: Staffing,
        storage: Storage,
        cluster: Cluster,
        output: Output,
    ) -> None:
        """Stay; ``output`` tells tools how the node fares."""
        self.deadlines: Deadlines[None] = Deadlines()
        self.begun = False
        self.life = Lifecycle("drain", LEGAL, Phase.STAYING)
        self._staffing = staffing
        self._storage = storage
        self._cluster = cluster
        self._output = output
        output.draining = self.told

    @property
    def is_closed(self) -> bool:
        """Whether it waits for nobody who comes now."""
        return self.life.state in (Phase.ENDING, Phase.DRAINED)

    def on_drain_node(self, peer: PeerId, said: DrainNode, now_ns: int, out: list[Effect]) -> None:
        """Begin to drain, or wait for another time than before."""
        if self.life.state is Phase.STAYING:
            self._begin(now_ns, out)
        if self.life.state is Phase.DRAINING:
            patience_ns = max(0, min(said.patience_ns, DRAIN_SECONDS_COUNT_MAX * SECOND))
            self.deadlines.set(None, now_ns + patience_ns)
        else:
            reached("told to drain when it had")
        self._output.answer(peer, said.query, now_ns, out)

    def on_timer(self, now_ns: int, out: list[Effect]) -> None:
        """Wait no longer: end the workers, or leave without their ends."""
        if not self.deadlines.pop_due(now_ns):
            return
        if self.life.state is Phase.ENDING:
            reached("node leaves before its workers are dead")
            self._finish(now_ns, out)
            return
        self.life.move(Phase.ENDING, now_ns, self.waits_for())
        out.append(Report("warning", f"drained long enough, ends: {self.waits_for() or 'nothing'}"))
        self._cluster.close(now_ns)
        for worker in self._staffing.pool.all():
            self._staffing.pool.kill(worker, OVERDUE, out)
        self.deadlines.set(None, now_ns + DRAIN_END_NS)

    def look(self, now_ns: int, out: list[Effect]) -> None:
        """Leave if nothing is left to wait for.

        What was killed is not waited for once it is dead: under load its line is quiet much later.
        """
        if not self.begun:
            return
        state = self.life.state
        workers = self._staffing.pool.all()
        lives = any(worker.state is not WorkerState.DEAD for worker in workers)
        if (state is Phase.ENDING and not lives) or (
            state is Phase.DRAINING and not workers and not self.waits_for()
        ):
            self._finish(now_ns, out)

    def waits_for(self) -> str:
        """Say what keeps the node, for people; nothing if that is nothing."""
        staffing = self._staffing
        served = sum(1 for lease in staffing.leases.all() if lease.worker is not None)
        programs = sum(1 for job in staffing.jobs if job.far_driver is None)
        lenders = sum(1 for worker in staffing.pool.all() if worker.is_lender)
        values = sum(1 for region in self._storage.rooms.objects.all() if not region.is_copy)
        counted = (
            (served, "leases of workers"),
            (lenders, "workers whose objects others use"),
            (programs, "programs"),
            (values, "values in shared memory"),
        )
        return ", ".join(f"{count} {what}" for count, what in counted if count)

    def told(self, now_ns: int) -> tuple[str, int] | None:
        """Return what keeps the node and for how many ns at most; None if it does not drain."""
        if not self.begun:
            return None
        return self.waits_for(), max(0, (self.deadlines.next_ns or now_ns) - now_ns)

    def last_words(self, worker: Worker, event: WorkerExited) -> str:
        """Return what is told of the end of a worker beside how it ended."""
        if worker.ending != OVERDUE:
            return event.log_tail
        return f"{OVERDUE}\n{event.log_tail}".rstrip()

    def check(self) -> None:
        """Assert that nothing new is begun once it was told, and that it waits not for ever."""
        state = self.life.state
        waits = state in (Phase.DRAINING, Phase.ENDING)
        assert (None in self.deadlines) is waits, self.life.story()
        assert self.begun is (state is not Phase.STAYING), self.life.story()
        assert self.begun is self._cluster.view.draining is self._staffing.draining

    def _begin(self, now_ns: int, out: list[Effect]) -> None:
        self.begun = True
        self.life.move(Phase.DRAINING, now_ns, "told to")
        self._cluster.drain(now_ns, out)
        self._staffing.drain(now_ns, out)
        out.append(Report("info", "drains: it begins nothing new"))

    def _finish(self, now_ns: int, out: list[Effect]) -> None:
        self.deadlines.clear(None)
        self.life.move(Phase.DRAINED, now_ns, "nothing is left")
        out.append(Drained())
