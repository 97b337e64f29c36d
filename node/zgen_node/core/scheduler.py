"""Which node a request goes to.

Rules of this file: arithmetic on what is known of nodes; nothing here remembers or sends anything.

Theory of operation. A strategy leaves some nodes; of those that have the resources free the request
takes the best. Without a strategy that is the node that was asked while less than half of what is
wanted is used there and nobody has more bytes of the arguments; else whoever has most bytes, then
the least used, this node first where they are even. ``SPREAD`` takes the node that was longest not
chosen.
"""

from collections.abc import Sequence
from typing import Final

from zgen.ids import PeerId
from zgen.slotted import slotted
from zgen.wire.lease import ABSENT, EXISTS, IN, NOT_IN, ON_NODE, SPREAD, Labels, Shape, Strategy
from zgen_node.core.resources import amount_text, option_text

#: All of a resource, in the unit of ``used_ppm``.
WHOLE_PPM: Final = 1_000_000


@slotted
class Candidate:
    """A node as the scheduler sees it.

    Attributes:
        node: Which one.
        total: Resource -> how much it has.
        free: Resource -> how much of it is not held.
        labels: Its labels.
        queued_count: Requests that wait there.
        chosen: Number of the choice that fell on it last, or 0.
        closed: Whether it takes in nothing new.
    """

    node: PeerId
    total: dict[str, int]
    free: dict[str, int]
    labels: dict[str, str]
    queued_count: int = 0
    chosen: int = 0
    closed: bool = False

    def takes(self, shape: Shape) -> bool:
        """Return whether it would hold ``shape`` if nothing else were there."""
        return not self.closed and self.has(shape)

    def has(self, shape: Shape) -> bool:
        """Return whether it has ``shape``, in use or not."""
        return all(self.total.get(name, 0) >= amount for name, amount in shape)

    def fits(self, shape: Shape) -> bool:
        """Return whether ``shape`` is free."""
        return all(self.free.get(name, 0) >= amount for name, amount in shape)

    def used_ppm(self, shape: Shape) -> int:
        """Return how much is used of what ``shape`` wants, of the resource used most."""
        return max(
            (
                (self.total[name] - self.free.get(name, 0)) * WHOLE_PPM // self.total[name]
                for name, _ in shape
            ),
            default=0,
        )


def allowed(nodes: Sequence[Candidate], strategy: Strategy) -> list[Candidate]:
    """Return the nodes that a strategy allows, whatever they have."""
    kind, node, soft, hard, _ = strategy
    left = [one for one in nodes if _meets(one.labels, hard)]
    if kind != ON_NODE:
        return left
    there = [one for one in left if one.node == node]
    return there if there or not soft else left


def feasible(nodes: Sequence[Candidate], shape: Shape, strategy: Strategy) -> list[Candidate]:
    """Return the nodes that could ever meet a request."""
    kind, node, soft, hard, _ = strategy
    able = [one for one in nodes if one.takes(shape)]
    return allowed(able, (kind, node, soft, hard, ()))


def choose(
    nodes: Sequence[Candidate],
    shape: Shape,
    strategy: Strategy,
    locality: dict[PeerId, int],
) -> Candidate | None:
    """Return the node that a request is to go to now, or None if it has to wait.

    Args:
        nodes: All live nodes, the one that was asked first.
        shape: Resources that are wanted.
        strategy: Where it may run.
        locality: Node -> bytes of the arguments that lie there.
    """
    fitting = [one for one in feasible(nodes, shape, strategy) if one.fits(shape)]
    if strategy[4]:
        fitting = [one for one in fitting if _meets(one.labels, strategy[4])] or fitting
    if not fitting:
        return None
    if strategy[0] == SPREAD:
        return min(fitting, key=lambda one: one.chosen)
    here = nodes[0]
    most_bytes = max(locality.get(one.node, 0) for one in fitting)
    if (
        here in fitting
        and here.used_ppm(shape) < WHOLE_PPM // 2
        and locality.get(here.node, 0) == most_bytes
    ):
        return here
    return min(
        fitting,
        key=lambda one: (-locality.get(one.node, 0), one.used_ppm(shape), one is not here),
    )


def shortest_queue(
    nodes: Sequence[Candidate], shape: Shape, strategy: Strategy
) -> Candidate | None:
    """Return where a request that fits nowhere now is to wait, or None if it fits nowhere ever."""
    able = feasible(nodes, shape, strategy)
    return min(able, key=lambda one: (one.queued_count, one.used_ppm(shape)), default=None)


def infeasible_text(nodes: Sequence[Candidate], shape: Shape, strategy: Strategy) -> str:
    """Say why no node could ever meet a request."""
    kind, node, _, hard, _ = strategy
    if not allowed(nodes, strategy):
        if kind == ON_NODE and not any(one.node == node for one in nodes):
            return f"wants node {node.hex()}, which is not there"
        return f"wants a node with {labels_text(hard)}, no node of {len(nodes)} is one"
    left = allowed(nodes, strategy)
    wanted = ", ".join(option_text(name, amount) for name, amount in shape)
    if any(one.closed and one.has(shape) for one in left):
        return f"needs {wanted or 'a node'}: where that is, the node drains"
    lacking = [
        f"needs {option_text(name, amount)}, no node of {len(nodes)} has that"
        if len(left) == len(nodes)
        else f"needs {option_text(name, amount)}, no node that it may run on has that"
        for name, amount in shape
        if all(one.total.get(name, 0) < amount for one in left)
    ]
    if lacking:
        return "; ".join(lacking)
    return f"needs {wanted}, no node of {len(nodes)} has all of that"


def busy_text(nodes: Sequence[Candidate], shape: Shape, strategy: Strategy) -> str:
    """Say what a request waits for that some node could meet."""
    able = feasible(nodes, shape, strategy)
    wanted = ", ".join(option_text(name, amount) for name, amount in shape)
    free = "; ".join(
        f"{amount_text(max(0, max(one.free.get(name, 0) for one in able)))} free of {name}"
        for name, _ in shape
    )
    return f"needs {wanted}: of {len(able)} nodes that have it, at most {free}"


def labels_text(labels: Labels) -> str:
    """Return conditions on labels for people."""
    return ", ".join(f"{name} {how} {'|'.join(values)}".rstrip() for name, how, values in labels)


def _meets(labels: dict[str, str], conditions: Labels) -> bool:
    return all(_holds(labels.get(name), how, values) for name, how, values in conditions)


def _holds(value: str | None, how: str, values: tuple[str, ...]) -> bool:
    if how == IN:
        return value in values
    if how == NOT_IN:
        return value not in values
    if how == EXISTS:
        return value is not None
    return how == ABSENT and value is None
