"""Requests of processes of other nodes, and the jobs that they are of.

Rules of this file: what another node may ask of this one. Its leases lie beside this node's own,
and are met in the same order.

Theory of operation. A request of another node is met at once or handed back, unless it is to queue.
Its owner and the driver of its job are watched; their ends end it, as the end of that node does.
"""

from collections.abc import Callable
from typing import Any

from zgen.core.effects import Effect, Send
from zgen.core.marks import reached
from zgen.core.node_effects import JobKnown
from zgen.ids import PeerId, short
from zgen.limits import LEASES_COUNT_MAX
from zgen.wire.cluster import ForwardLease, JobPrinted, LeaseBack, ShareJob
from zgen.wire.lease import EndJob, LeaseRefused, LogLines
from zgen_node.core import scheduler
from zgen_node.core.far_monitors import FarMonitors
from zgen_node.core.jobs import Job
from zgen_node.core.lease_table import LeaseState
from zgen_node.core.peers import Peers
from zgen_node.core.resources import shape_fault
from zgen_node.core.scheduler import Candidate
from zgen_node.core.staffing import Staffing
from zgen_node.core.view import View


class Hosting:
    """What this node does for others.

    Attributes:
        touched: Whether another node asked for something since the last publication: it has counted
            that off, and hears what is free even if that is what it was.
        version: Number of the last state of this node that was published.
        messages: What to do about each class of message.
    """

    def __init__(
        self,
        me: PeerId,
        peers: Peers,
        staffing: Staffing,
        view: View,
        monitors: FarMonitors,
        here: Callable[[], Candidate],
    ) -> None:
        """Start with no guests; ``here`` says what this node is to the scheduler."""
        self._me = me
        self._peers = peers
        self._staffing = staffing
        self._leases = staffing.leases
        self._view = view
        self._monitors = monitors
        self._here = here
        self.touched = False
        self.version = 0
        self.messages: dict[type, Callable[[PeerId, Any, int, list[Effect]], None]] = {
            ShareJob: self._on_share_job,
            ForwardLease: self._on_forward_lease,
            JobPrinted: self._on_job_printed,
        }

    def check(self) -> None:
        """Assert that the owner of every guest is watched."""
        for lease in self._leases.all():
            if lease.via != lease.owner:
                assert self._monitors.far.get(lease.owner) is not None, lease.life.story()

    def drain(self, now_ns: int, out: list[Effect]) -> None:
        """Hand back what has no worker yet."""
        for lease in self._leases.unmet():
            if lease.via != lease.owner:
                self._leases.end(lease, "the node drains", now_ns)
                out.append(Send(lease.via, LeaseBack(lease.lease, (), self.version, True)))

    def _on_share_job(self, peer: PeerId, said: ShareJob, now_ns: int, out: list[Effect]) -> None:
        jobs, driver = self._staffing.jobs, said.driver
        is_node = self._monitors.is_node(peer)
        if is_node and (jobs.get(said.job) is not None or jobs.of_driver(driver.peer) is not None):
            reached("job told by two nodes")  # or to the node that it is of, by one that it told
            return
        if not is_node or driver.node == self._me:
            self._peers.refuse("job of a node that has none", short(peer), out)
            return
        if not self._monitors.watch(driver, now_ns, out):
            return
        known = JobKnown(said.job, said.sys_path, said.cwd, said.environment)
        job = Job(said.job, driver.peer, driver.incarnation, 0, now_ns, 0)
        job.known, job.far_driver = known, driver
        jobs.add(job)
        out.append(known)

    def on_end_job(self, peer: PeerId, said: EndJob, now_ns: int, out: list[Effect]) -> Job | None:
        """A node says that a job is over; return it unless that node could not have told it."""
        job = self._staffing.jobs.get(said.job)
        if job is None or job.far_driver is None or not self._monitors.is_node(peer):
            return None
        self._staffing.end_job(job, "job over", now_ns, out)
        return job

    def _on_forward_lease(
        self, peer: PeerId, said: ForwardLease, now_ns: int, out: list[Effect]
    ) -> None:
        asked, owner = said.asked, said.owner
        if not self._monitors.is_node(peer) or owner.node != peer:
            self._peers.refuse("request for a process of another node", short(peer), out)
            return
        if self._view.draining:
            reached("request handed back by a node that drains")
            out.append(Send(peer, LeaseBack(asked.lease, (), self.version, True)))
            return
        self.touched = True
        self._staffing.changed()
        refusal = shape_fault(asked.shape)
        if self._staffing.jobs.get(asked.job) is None:
            refusal = "this node does not know the job any more"
        elif len(self._leases) >= LEASES_COUNT_MAX:
            refusal = f"this node has {LEASES_COUNT_MAX} requests already"
        elif self._leases.get(asked.lease) is not None:
            refusal = "this node has that request already"
        elif not self._monitors.watch(owner, now_ns, out):
            refusal = "who asked is dead, as far as this node knows"
        if refusal:
            out.append(Send(peer, LeaseRefused(asked.lease, refusal)))
            return
        allowed = bool(scheduler.allowed([self._here()], asked.strategy))
        lease = self._leases.request(owner.peer, asked, now_ns, peer, allowed=allowed)
        if not said.queued or not lease.feasible:
            self._leases.reserve(now_ns)
            if lease.state is LeaseState.QUEUED:
                reached("request of another node handed back")
                self._leases.end(lease, "handed back", now_ns)
                free = self._leases.resources.free
                out.append(Send(peer, LeaseBack(asked.lease, free, self.version)))

    def _on_job_printed(
        self, peer: PeerId, said: JobPrinted, now_ns: int, out: list[Effect]
    ) -> None:
        job = self._staffing.jobs.get(said.job)
        if job is None or job.far_driver is not None or not self._monitors.is_node(peer):
            reached("lines of another node without a driver dropped")
            return
        size_bytes = sum(len(line) for line in said.lines)
        lines = LogLines(said.pid, said.is_error, said.lines, said.dropped)
        out.append(Send(job.driver, lines, item_bytes=size_bytes))
