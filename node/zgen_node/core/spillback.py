"""Requests of this node's processes, where they go, and what other nodes say of them.

Rules of this file: a process asks its own node and hears from it; what passes between nodes
for that is arranged here. Which node is best is the scheduler's to say.

Theory of operation. A request that waits here goes to another node when the view says that it fits
there; from then on that node answers, and this one passes its words on to the owner. The other
node has the last word: what does not fit comes back, and after some turns it queues where it goes.
What only others can meet queues at one of them after a while. Before the first request of a job
goes to a node, that node is told the job.
"""

from collections.abc import Callable
from typing import Any

from zgen.core.deadlines import Deadlines
from zgen.core.effects import Effect, Send
from zgen.core.marks import reached
from zgen.ids import LeaseId, PeerId, short
from zgen.limits import LEASE_BACKS_COUNT_MAX, QUEUE_ELSEWHERE_NS
from zgen.wire.cluster import ForwardLease, LeaseBack, ShareJob
from zgen.wire.lease import (
    ON_NODE,
    EndJob,
    LeaseGranted,
    LeaseRefused,
    LeaseWaiting,
    LeaseWanted,
    RequestLease,
    ReturnLease,
    Shape,
    Strategy,
)
from zgen_node.core import scheduler
from zgen_node.core.far_monitors import FarMonitors
from zgen_node.core.forwards import Forward, Forwards
from zgen_node.core.jobs import Job
from zgen_node.core.lease_table import Lease
from zgen_node.core.peers import Peers
from zgen_node.core.scheduler import Candidate
from zgen_node.core.staffing import Staffing
from zgen_node.core.view import View


class Spillback:
    """Requests of this node's processes beyond this node.

    Attributes:
        forwards: Those that other nodes have.
        labels: Labels of this node, sorted by name.
        deadlines: When to look again at requests that wait here and only others can meet.
        closed: Whether it begins nothing new at all.
        messages: What to do about each class of message.
    """

    def __init__(
        self,
        me: PeerId,
        labels: tuple[tuple[str, str], ...],
        peers: Peers,
        staffing: Staffing,
        view: View,
        monitors: FarMonitors,
    ) -> None:
        """Start with nothing elsewhere."""
        self.forwards = Forwards()
        self.labels = labels
        self.deadlines: Deadlines[LeaseId] = Deadlines()
        self.closed = False
        self._me = me
        self._peers = peers
        self._staffing = staffing
        self._leases = staffing.leases
        self._view = view
        self._monitors = monitors
        #: Whether something changed that may let a request go elsewhere.
        self._look = False
        #: Node -> number of the last choice that fell on it. Removed with the node.
        self._chosen: dict[PeerId, int] = {}
        self._choices = 0
        self._leases.elsewhere = self._elsewhere
        staffing.uses_others = self.forwards.has_of
        self.messages: dict[type, Callable[[PeerId, Any, int, list[Effect]], None]] = {
            LeaseBack: self._on_lease_back,
            LeaseGranted: self._on_granted,
            LeaseRefused: self._on_refused,
            LeaseWaiting: self._on_passed_on,
            LeaseWanted: self._on_passed_on,
        }

    def changed(self) -> None:
        """Have the next ``place`` look again."""
        self._look = True

    def drain(self, now_ns: int) -> None:
        """Begin nothing new that another node could: what has no worker yet waits for those."""
        for lease in self._leases.unmet():
            self._leases.end(lease, "the node drains", now_ns)
            self._queue(lease.owner, lease.asked, now_ns, lease.backs)
        self.changed()

    def close(self, now_ns: int) -> None:
        """Begin nothing new at all."""
        self.closed = True
        self.drain(now_ns)

    def on_timer(self, now_ns: int) -> None:
        """Look again at what waited here long enough."""
        if self.deadlines.pop_due(now_ns):
            self._look = True

    def on_gone(self, node: PeerId) -> list[Forward]:
        """A node is gone; return what it had not granted, which ``queue_again`` takes back."""
        self._chosen.pop(node, None)
        waiting: list[Forward] = []
        for forward in self.forwards.of_node(node):
            self.forwards.end(forward.asked.lease)
            if forward.worker is None:
                waiting.append(forward)
        return waiting

    def refuse_hopeless(self, now_ns: int, out: list[Effect]) -> None:
        """Refuse what may run on a node alone that is gone."""
        for lease in self._leases.queued():
            self._refuse_if_hopeless(lease, now_ns, out)

    def on_worker_gone(self, worker: PeerId) -> None:
        """A process of another node is dead: so are the leases that it served."""
        for forward in self.forwards.of_worker(worker):
            self.forwards.end(forward.asked.lease)

    def check(self) -> None:
        """Assert the invariants of what is elsewhere."""
        for forward in self.forwards.all():
            lease = forward.asked.lease
            assert self._leases.get(lease) is None, f"{short(lease)} is here and elsewhere"
            assert forward.node in self._view.members, f"{short(lease)} is at no node"
            if forward.worker is not None:
                assert self._monitors.far.get(forward.worker) is not None, short(lease)

    # -- processes of this node --------------------------------------------------------------------
    def request(self, owner: PeerId, asked: RequestLease, now_ns: int, out: list[Effect]) -> None:
        """Queue a request of a process of this node; ``place`` sends it where it fits."""
        lease = self._queue(owner, asked, now_ns)
        if self._refuse_if_hopeless(lease, now_ns, out):
            return
        if not lease.feasible and not self._could_go(lease):
            self._leases.notify(lease, now_ns, out)

    def on_returned(self, peer: PeerId, said: ReturnLease, out: list[Effect]) -> None:
        """A process of this node returns a lease that it has elsewhere."""
        forward = self.forwards.get(said.lease)
        if forward is None:
            reached("return of a lease that is over")
        elif forward.owner != peer:
            self._peers.refuse("return of another's lease", short(peer), out)
        else:
            self._end(forward, said.reusable, out)

    def on_owner_gone(self, owner: PeerId) -> None:
        """A process of this node is dead: nodes that have its requests hear so, and end them."""
        for forward in self.forwards.of_owner(owner):
            self.forwards.end(forward.asked.lease)

    def on_job_over(self, job: Job, out: list[Effect]) -> None:
        """A job of this node is over."""
        for forward in self.forwards.all():
            if forward.asked.job == job.job:
                self._end(forward, False, out)
        shared = [node for node in job.shared if node in self._view.members]
        out.extend([Send(node, EndJob(job.job)) for node in shared])

    def place(self, now_ns: int, out: list[Effect]) -> None:
        """Send what waits here to nodes where it fits; what fits best here is left for this one."""
        if self._look and self._view.draining:
            self._settle()
        if not self._look or not self._view.members:
            return
        self._look = False
        nodes: list[Candidate] = []
        stuck: dict[tuple[Shape, Strategy], None] = {}
        for lease in self._leases.queued():
            asked = lease.asked
            kind = (asked.shape, asked.strategy)
            if lease.via != lease.owner or kind in stuck:
                continue
            nodes = nodes or self._candidates()
            able = _without(nodes, lease)
            chosen = scheduler.choose(able, *kind, dict(asked.locality))
            queued = lease.backs >= LEASE_BACKS_COUNT_MAX
            if chosen is None:
                queued, chosen = True, self._shortest_queue(lease, able, now_ns)
            if chosen is None:
                if able is nodes:
                    stuck[kind] = None
                continue
            self._choices += 1
            chosen.chosen = self._chosen[chosen.node] = self._choices
            for name, amount in asked.shape:
                chosen.free[name] = chosen.free.get(name, 0) - amount
            if chosen is not nodes[0]:
                chosen.queued_count += queued
                self._forward(lease, chosen.node, queued, now_ns, out)

    def _shortest_queue(
        self, lease: Lease, nodes: list[Candidate], now_ns: int
    ) -> Candidate | None:
        """Return where a request is to wait that only others can meet, when it has waited here."""
        if lease.feasible:
            return None
        asked = lease.asked
        due_ns = lease.asked_ns + QUEUE_ELSEWHERE_NS
        if now_ns < due_ns:
            self.deadlines.set_if_unset(asked.lease, due_ns)
            return None
        return scheduler.shortest_queue(nodes[1:], asked.shape, asked.strategy)

    def _forward(
        self, lease: Lease, node: PeerId, queued: bool, now_ns: int, out: list[Effect]
    ) -> None:
        asked, owner = lease.asked, self._peers.session.address_of(lease.owner)
        job = self._staffing.jobs.get(asked.job)
        assert job is not None
        assert job.known is not None
        self._monitors.dial(node, out)
        if node not in job.shared:
            job.shared[node] = None
            known = job.known
            driver = job.far_driver or self._peers.session.address_of(job.driver)
            share = ShareJob(job.job, driver, known.sys_path, known.cwd, known.environment)
            out.append(Send(node, share))
        self._leases.end(lease, f"forwarded to {short(node)}", now_ns)
        refusals = lease.refusals or {}
        self.forwards.add(Forward(asked, lease.owner, node, lease.backs, refusals=refusals))
        self._view.take(node, asked.shape, queued=queued)
        out.append(Send(node, ForwardLease(asked, owner, queued)))

    def _queue(self, owner: PeerId, asked: RequestLease, now_ns: int, backs: int = 0) -> Lease:
        here = self.here()
        allowed = bool(scheduler.allowed([here], asked.strategy)) and self._may_begin(asked)
        lease = self._leases.request(owner, asked, now_ns, allowed=allowed)
        lease.backs = backs
        self._staffing.changed()
        self._look = True
        return lease

    def queue_again(self, forward: Forward, backs: int, now_ns: int, out: list[Effect]) -> None:
        """Queue a request here that is elsewhere no more."""
        if self._staffing.jobs.get(forward.asked.job) is None:
            reached("request of a job that is over came back")
            return
        lease = self._queue(forward.owner, forward.asked, now_ns, backs)
        lease.refusals = forward.refusals or None
        if self._refuse_if_hopeless(lease, now_ns, out):
            return
        if not lease.feasible and not self._could_go(lease):
            reached("request can be met by no node any more")
            self._leases.notify(lease, now_ns, out)

    def _refuse_if_hopeless(self, lease: Lease, now_ns: int, out: list[Effect]) -> bool:
        kind, node, soft, _, _ = lease.asked.strategy
        if kind == ON_NODE and not soft and self._view.is_gone(node):
            reached("request for a node that is gone refused")
            reason = f"it may run on node {node.hex()} alone, which is gone"
        elif lease.refusals and not self._could_go(lease):
            reached("request refused by every node that could meet it")
            reason = "; ".join(lease.refusals.values())
        else:
            return False
        self._leases.end(lease, reason, now_ns)
        out.append(Send(lease.via, LeaseRefused(lease.lease, reason)))
        return True

    def _end(self, forward: Forward, reusable: bool, out: list[Effect]) -> None:
        self.forwards.end(forward.asked.lease)
        out.append(Send(forward.node, ReturnLease(forward.asked.lease, reusable)))

    def _may_begin(self, asked: RequestLease) -> bool:
        """Return whether this node may meet a request, since it stays or nobody else could."""
        if not self._view.draining or self.closed:
            return not self.closed
        return not scheduler.feasible(self._candidates(), asked.shape, asked.strategy)

    def _settle(self) -> None:
        """Judge anew which requests this node meets itself while it drains."""
        here = self.here()
        for lease in self._leases.queued():
            asked = lease.asked
            able = here.has(asked.shape) and bool(scheduler.allowed([here], asked.strategy))
            feasible = able and self._may_begin(asked)
            if feasible is not lease.feasible:
                lease.feasible = feasible
                self._staffing.changed()

    # -- words of the node that has a request ------------------------------------------------------
    def _on_lease_back(self, peer: PeerId, said: LeaseBack, now_ns: int, out: list[Effect]) -> None:
        forward = self.forwards.at(said.lease, peer)
        self._view.correct(peer, said.free, said.version)
        if said.draining:
            self._view.drains(peer)
        self._look = True
        if forward is None or forward.worker is not None:
            reached("request handed back that nobody wants any more")
            return
        self.forwards.end(said.lease)
        self.queue_again(forward, forward.backs + 1, now_ns, out)

    def _on_granted(self, peer: PeerId, said: LeaseGranted, now_ns: int, out: list[Effect]) -> None:
        forward = self.forwards.at(said.lease, peer)
        worker = said.worker
        if forward is None or forward.worker is not None or worker.node != peer:
            reached("grant of another node that nobody wants any more")
            return
        if not self._monitors.note(worker):
            # As one of a node that took too long to become known: its owner would wait for ever.
            reached("grant of a worker of another node that is dead")
            self._end(forward, False, out)
            self.queue_again(forward, forward.backs, now_ns, out)
            return
        forward.worker = worker.peer
        self._peers.monitors.add(forward.owner, worker.peer)
        out.append(Send(forward.owner, said))

    def _on_refused(self, peer: PeerId, said: LeaseRefused, now_ns: int, out: list[Effect]) -> None:
        """Another node will not meet a request: try elsewhere, as long as there is a node left."""
        forward = self.forwards.at(said.lease, peer)
        if forward is None or forward.worker is not None:
            reached("refusal by another node that concerns nobody any more")
            return
        self.forwards.end(said.lease)
        forward.refusals[peer] = said.reason
        job = self._staffing.jobs.get(forward.asked.job)
        if job is not None:
            job.shared.pop(peer, None)  # it may be that it has forgotten the job
        self.queue_again(forward, forward.backs, now_ns, out)

    def _on_passed_on(
        self, peer: PeerId, said: LeaseWaiting | LeaseWanted, now_ns: int, out: list[Effect]
    ) -> None:
        forward = self.forwards.at(said.lease, peer)
        if forward is not None:
            out.append(Send(forward.owner, said))

    # -- what is where -----------------------------------------------------------------------------
    def here(self) -> Candidate:
        """Return this node as the scheduler sees it."""
        resources = self._leases.resources
        me = self._me
        return Candidate(
            me,
            dict(resources.total),
            dict(resources.free),
            dict(self.labels),
            len(self._leases.queued()),
            self._chosen.get(me, 0),
            self._view.draining,
        )

    def _candidates(self) -> list[Candidate]:
        """Return every live node, this one first."""
        nodes = [self.here()]
        for node, member in self._view.members.items():
            said = member.state
            chosen = self._chosen.get(node, 0)
            nodes.append(
                Candidate(
                    node,
                    dict(said.total),
                    dict(member.free),
                    dict(said.labels),
                    member.queued_count,
                    chosen,
                    member.draining,
                )
            )
        return nodes

    def _could_go(self, lease: Lease) -> bool:
        asked = lease.asked
        nodes = _without(self._candidates(), lease)
        return bool(scheduler.feasible(nodes, asked.shape, asked.strategy))

    def _elsewhere(self, lease: Lease) -> tuple[bool, str] | None:
        """Say what a request waits for that this node cannot meet."""
        kind = (lease.asked.shape, lease.asked.strategy)
        nodes = _without(self._candidates(), lease)
        if scheduler.feasible(nodes, *kind):
            return True, scheduler.busy_text(nodes, *kind)
        if len(nodes) == 1 and scheduler.allowed(nodes, lease.asked.strategy):
            return None
        return False, scheduler.infeasible_text(nodes, *kind)


def _without(nodes: list[Candidate], lease: Lease) -> list[Candidate]:
    """Return those of ``nodes`` that have not refused a request."""
    if lease.refusals is None:
        return nodes
    return [each for each in nodes if each.node not in lease.refusals]
