"""Live members of the cluster: what each has, what of it is free, and its labels.

Rules of this file: what is said of other nodes, kept by node. Who is alive is decided by
membership; what goes where is decided by the scheduler.

Theory of operation. What is known of a node's free resources is late by nature. So what is sent
there is counted off at once, and the next word of the node itself replaces all guesses. A node that
left is remembered for a while, so that nobody waits for it.
"""

from zgen.core.marks import reached
from zgen.ids import PeerId, node_tag, short
from zgen.limits import NODES_GONE_COUNT_MAX
from zgen.slotted import slotted
from zgen.wire.cluster import NodeState
from zgen.wire.lease import Shape


@slotted
class Member:
    """Another live node.

    Attributes:
        state: What it said last.
        free: Resource -> what of it should be free there, with what was sent there since.
        queued_count: Requests that should wait there.
        draining: Whether it takes in nothing new; that stays so.
    """

    state: NodeState
    free: dict[str, int]
    queued_count: int
    draining: bool


class View:
    """The other live nodes of the cluster.

    Attributes:
        members: Node -> what is known of it. Added by ``hear``; removed by ``down``.
        tags: What begins the numbers of a node's regions -> the node, of members.
        draining: Whether this node itself begins nothing new that another one could.
    """

    def __init__(self) -> None:
        """Start alone."""
        self.members: dict[PeerId, Member] = {}
        self.tags: dict[int, PeerId] = {}
        self.draining = False
        #: Nodes that are gone; the oldest go beyond the bound.
        self._gone: dict[PeerId, None] = {}

    def hear(self, state: NodeState) -> bool:
        """Take in what a live node says of itself; return whether it is new."""
        node = state.address.peer
        if node in self._gone:
            reached("word of a node that is gone")
            return False
        known = self.members.get(node)
        draining = state.draining or (known is not None and known.draining)
        self.tags[node_tag(node)] = node
        self.members[node] = Member(state, dict(state.free), state.queued_count, draining)
        return known is None

    def down(self, node: PeerId) -> Member | None:
        """Forget a node for good; return what was known of it."""
        self._gone[node] = None
        if len(self._gone) > NODES_GONE_COUNT_MAX:
            del self._gone[next(iter(self._gone))]
        if self.tags.get(node_tag(node)) == node:
            del self.tags[node_tag(node)]
        return self.members.pop(node, None)

    def is_gone(self, node: PeerId) -> bool:
        """Return whether a node is known to be gone."""
        return node in self._gone

    def may_come(self, tag: int) -> bool:
        """Return whether the node with a tag is none that is known, or was."""
        return tag not in self.tags and all(node_tag(node) != tag for node in self._gone)

    def take(self, node: PeerId, shape: Shape, *, queued: bool) -> None:
        """Count off what was sent to a node."""
        member = self.members[node]
        member.queued_count += queued
        for name, amount in shape:
            member.free[name] = member.free.get(name, 0) - amount

    def drains(self, node: PeerId) -> None:
        """Note that a node takes in nothing new, before its state says so."""
        member = self.members.get(node)
        if member is not None:
            member.draining = True

    def correct(self, node: PeerId, free: Shape, version: int) -> None:
        """Take in what a node says is free there as it hands something back, unless that is old.

        Args:
            node: Who says so.
            free: What is free there.
            version: Of the last state that it had published before.
        """
        member = self.members.get(node)
        if member is not None and member.state.version <= version:
            member.free = dict(free)

    def check(self) -> None:
        """Assert that nobody is here and gone."""
        for node in self.members:
            assert node not in self._gone, short(node)
        for tag, node in self.tags.items():
            assert node_tag(node) == tag
            assert node in self.members, short(node)
        assert len(self._gone) <= NODES_GONE_COUNT_MAX
