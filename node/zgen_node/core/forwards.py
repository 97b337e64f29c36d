"""Requests of this node's processes that other nodes were asked to grant.

Rules of this file: which request is where, and how far. That a node is dead, or who is told, is not
known here.

Theory of operation. A request that was forwarded is here and in no queue of this node. It comes
back, or is granted there; then it stays here until it is returned or its worker, its owner or that
node is gone. What the other node says of a request counts only while it is noted here, under that
node: a line between two nodes keeps its order, so nothing said of an earlier forward can follow.
"""

from dataclasses import field

from zgen.ids import LeaseId, PeerId, short
from zgen.slotted import slotted
from zgen.wire.lease import RequestLease


@slotted
class Forward:
    """A request that another node has.

    Attributes:
        asked: The request.
        owner: Who asked.
        node: Where it is.
        backs: How often it came back before.
        worker: The worker that serves it there; None until it is granted.
        refusals: Nodes that will not meet it, and why.
    """

    asked: RequestLease
    owner: PeerId
    node: PeerId
    backs: int
    worker: PeerId | None = None
    refusals: dict[PeerId, str] = field(default_factory=dict)


class Forwards:
    """All of them."""

    def __init__(self) -> None:
        """Start with none."""
        #: Lease -> record. Added by ``add``; removed by ``end``.
        self._forwards: dict[LeaseId, Forward] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._forwards)

    def get(self, lease: LeaseId) -> Forward | None:
        """Return what is known of a request, or None."""
        return self._forwards.get(lease)

    def at(self, lease: LeaseId, node: PeerId) -> Forward | None:
        """Return a request if it is at ``node``, else None."""
        forward = self._forwards.get(lease)
        return forward if forward is not None and forward.node == node else None

    def add(self, forward: Forward) -> None:
        """Note a request that leaves for another node."""
        assert forward.asked.lease not in self._forwards, short(forward.asked.lease)
        self._forwards[forward.asked.lease] = forward

    def end(self, lease: LeaseId) -> Forward:
        """Forget a request and return it."""
        return self._forwards.pop(lease)

    def all(self) -> list[Forward]:
        """Return all, oldest first."""
        return list(self._forwards.values())

    def of_owner(self, owner: PeerId) -> list[Forward]:
        """Return those of one process."""
        return [one for one in self._forwards.values() if one.owner == owner]

    def has_of(self, owner: PeerId) -> bool:
        """Return whether one process has any."""
        return any(one.owner == owner for one in self._forwards.values())

    def of_worker(self, worker: PeerId) -> list[Forward]:
        """Return those that a worker serves."""
        return [one for one in self._forwards.values() if one.worker == worker]

    def of_node(self, node: PeerId) -> list[Forward]:
        """Return those at one node."""
        return [one for one in self._forwards.values() if one.node == node]
