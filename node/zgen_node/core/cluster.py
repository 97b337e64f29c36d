"""The part of a node that deals with other nodes, as one.

Rules of this file: joins the view, the watches over far processes, and the requests that go from
node to node; turns what membership says into their calls.

Theory of operation. Membership says who joined, what it has, and who is gone for good. When a node
is gone, what it had not granted queues here again, and its processes are dead, of which everybody
is told as of any death. What is free here is published when it changes, and not too often.
"""

from collections.abc import Callable
from typing import Any

from zgen.core.deadlines import Deadlines, earliest
from zgen.core.effects import Effect
from zgen.core.marks import reached
from zgen.core.node_effects import PublishState
from zgen.core.node_events import MemberGone, MemberSaid
from zgen.exceptions import RemoteProtocolError
from zgen.ids import PeerId
from zgen.limits import PUBLISH_NS
from zgen.wire.cluster import NodeState
from zgen.wire.codec import decode, encode
from zgen.wire.lease import EndJob, ProcessDown, Shape
from zgen.wire.session import Address
from zgen_node.core.byways import Byways
from zgen_node.core.census import Census
from zgen_node.core.copies import Copies
from zgen_node.core.detached import Detached
from zgen_node.core.directory import Directory
from zgen_node.core.far_monitors import FarMonitors
from zgen_node.core.hosting import Hosting
from zgen_node.core.naming import Naming
from zgen_node.core.peers import Peers
from zgen_node.core.poll import Poll
from zgen_node.core.spillback import Spillback
from zgen_node.core.staffing import Staffing
from zgen_node.core.storage import Storage
from zgen_node.core.view import View

Labels = tuple[tuple[str, str], ...]
#: Notes the end of a process of another node where it matters beside leases, and tells who watches.
Tell = Callable[[ProcessDown, int, list[Effect]], bool]


class Cluster:
    """A node among others.

    Attributes:
        view: The other live nodes.
        byways: Ways round cut links to them.
        monitors: Watches over processes of other nodes.
        spillback: Requests of this node's processes.
        hosting: Requests of processes of other nodes.
        copies: Their regions.
        poll: Questions that they are asked.
        naming: Names of actors.
        detached: Actors that live as long as nodes do.
        publishes: Whether others are to know what is free here.
        handlers: What to do about the events that concern it.
        messages: What to do about each class of message.
    """

    def __init__(
        self,
        me: Address,
        peers: Peers,
        staffing: Staffing,
        directory: Directory,
        storage: Storage,
        census: Census,
        tell: Tell,
        labels: Labels = (),
    ) -> None:
        """Start as the only node."""
        self.view = View()
        self.monitors = FarMonitors(me.peer, peers, self.view, directory, self._on_far_death)
        self.spillback = Spillback(me.peer, labels, peers, staffing, self.view, self.monitors)
        self.publishes = False
        self.hosting = Hosting(
            me.peer, peers, staffing, self.view, self.monitors, self.spillback.here
        )
        self.byways = Byways(me, peers, self.view, self.monitors)
        self.copies = Copies(me.peer, peers, storage, self.view, self.monitors, self.byways)
        self.poll = Poll(peers, census, self.view, self.monitors)
        self.naming = Naming(me, peers, self.view, self.monitors, directory)
        parts = (peers, staffing, self.view, self.monitors, directory)
        self.detached = Detached(me, *parts, self.naming)
        self._me = me
        self._peers = peers
        self._staffing = staffing
        self._storage = storage
        self._tell = tell
        #: When to publish; there is one key.
        self._deadlines: Deadlines[None] = Deadlines()
        copies, others = self.copies, (self.monitors.far, self.spillback, self.poll)
        tables = (*others, copies.early, copies.pulls)
        self._all_deadlines: tuple[Deadlines[Any], ...] = (
            self._deadlines,
            *[table.deadlines for table in tables],
            *self.naming.deadlines,
            *self.detached.deadlines,
        )
        self._published: tuple[Shape, int, bool] | None = None
        self._published_ns = -PUBLISH_NS
        self.handlers: dict[type, Callable[[Any, int, list[Effect]], None]] = {
            MemberSaid: self._on_member_said,
            MemberGone: lambda e, now, out: self.on_gone(
                e.node, e.reason, now, out, proven=e.proven
            ),
            **self.copies.handlers,
            **self.byways.handlers,
        }
        self.messages: dict[type, Callable[[PeerId, Any, int, list[Effect]], None]] = {
            **self.monitors.messages,
            **self.spillback.messages,
            **self.hosting.messages,
            **self.copies.messages,
            **self.byways.messages,
            **self.poll.messages,
            **self.naming.messages,
            **self.detached.messages,
        }

    @property
    def next_deadline_ns(self) -> int | None:
        """When ``on_timer`` is wanted."""
        return earliest(self._all_deadlines)

    def on_timer(self, now_ns: int, out: list[Effect]) -> None:
        """Do what is due."""
        self.monitors.on_timer(now_ns, out)
        self.spillback.on_timer(now_ns)
        self.copies.on_timer(now_ns, out)
        self.poll.on_timer(now_ns, out)
        self.naming.on_timer(now_ns, out)
        self.detached.on_timer(now_ns, out)
        if self._deadlines.pop_due(now_ns):
            self.publish(now_ns, out)

    def drain(self, now_ns: int, out: list[Effect]) -> None:
        """Begin nothing new here that another node could; hand on what waits."""
        self.view.draining = True
        self.hosting.drain(now_ns, out)
        self.spillback.drain(now_ns)

    def close(self, now_ns: int) -> None:
        """Begin nothing new here at all."""
        self.spillback.close(now_ns)

    def is_node(self, peer: PeerId) -> bool:
        """Return whether membership tells of a peer's end."""
        return peer in self.view.members or self.monitors.is_awaited(peer)

    def on_end_job(self, peer: PeerId, said: EndJob, now_ns: int, out: list[Effect]) -> bool:
        """A node says that a job is over; return False if it is not one that it could have told."""
        job = self.hosting.on_end_job(peer, said, now_ns, out)
        if job is not None:
            self.spillback.on_job_over(job, out)
            self._storage.died(job.driver, now_ns, out)  # it is done with everything here
        return job is not None

    def check(self) -> None:
        """Assert every invariant of what is elsewhere."""
        self.view.check()
        self.monitors.check()
        self.spillback.check()
        self.hosting.check()
        self.copies.check()
        self.byways.check()
        self.poll.check()
        self.naming.check()
        self.detached.check()

    # -- membership --------------------------------------------------------------------------------
    def _on_member_said(self, event: MemberSaid, now_ns: int, out: list[Effect]) -> None:
        try:
            state = decode([event.payload])
        except RemoteProtocolError as error:
            self._peers.refuse("malformed word of a member", str(error), out)
            return
        if not isinstance(state, NodeState) or state.address.peer == self._me.peer:
            return
        if self.view.hear(state):
            self.monitors.on_up(state.address.peer, out)
            self.copies.on_up(state.address.peer, now_ns, out)
            self.byways.on_up(now_ns, out)
            self.naming.on_up(state.address.peer, now_ns, out)
        self.spillback.changed()

    def on_gone(
        self, node: PeerId, reason: str, now_ns: int, out: list[Effect], *, proven: bool = False
    ) -> None:
        """A node left or is dead: take back what it had not granted, bury its processes."""
        member = self.view.down(node)
        waiting = self.spillback.on_gone(node)
        self.monitors.on_gone(node, reason, now_ns, out)
        self.copies.on_gone(node, now_ns, out)
        self.poll.on_gone(node, out)
        self._peers.watched(node)
        self._peers.session.forget(node, reason, out)
        if member is not None:
            self._peers.session.fence(node, member.state.address.incarnation)
        self.byways.on_gone(node, now_ns, out)
        self.naming.on_gone(node, proven, now_ns, out)
        self.detached.on_gone(node, now_ns, out)
        for forward in waiting:
            reached("request of a node that is gone queues again")
            self.spillback.queue_again(forward, forward.backs, now_ns, out)
        self.spillback.refuse_hopeless(now_ns, out)
        self.spillback.changed()

    def state(self) -> NodeState:
        """Return how this node fares."""
        leases = self._staffing.leases
        queued = len(leases.queued())
        labels = self.spillback.labels
        return NodeState(
            self._me,
            leases.resources.total,
            leases.resources.free,
            labels,
            queued,
            self.hosting.version,
            self.view.draining,
        )

    def states(self) -> list[NodeState]:
        """Return how all live nodes fare, this one first."""
        return [self.state(), *(member.state for member in self.view.members.values())]

    def publish(self, now_ns: int, out: list[Effect]) -> None:
        """Have others know what is free here, if that has changed, and not too often."""
        if not self.publishes:
            return
        state = self.state()
        news = (state.free, state.queued_count, state.draining)
        if news == self._published and not self.hosting.touched:
            return
        if now_ns - self._published_ns < PUBLISH_NS:
            self._deadlines.set_if_unset(None, self._published_ns + PUBLISH_NS)
            return
        self._published, self._published_ns = news, now_ns
        self.hosting.touched = False
        self.hosting.version += 1
        out.append(PublishState(encode(self.state())[0]))

    # -- ends --------------------------------------------------------------------------------------
    def _on_far_death(self, down: ProcessDown, now_ns: int, out: list[Effect]) -> None:
        self.spillback.on_worker_gone(down.peer)
        job = self._staffing.jobs.of_driver(down.peer)
        if job is not None:
            self._staffing.end_job(job, f"driver gone: {down.log_tail}", now_ns, out, died=True)
        self._staffing.end_owner(down.peer, down.log_tail, now_ns, out)
        self._tell(down, now_ns, out)
