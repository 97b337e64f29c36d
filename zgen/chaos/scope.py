"""Which nodes of this machine faults may befall: those of one cluster, or those that were named.

Theory of operation. A cluster is known by the ids of its members: a node is of it that was seen in
it, or that knows one of them when it is asked. So what joins later is of it, and one that is
stopped and answers nobody stays of it.
"""

from typing import Final

from zgen.exceptions import NodeStartError
from zgen.io.inquiry import query_node
from zgen.io.spawn import NodeFacts, started_nodes

#: How long a node is waited for that is to say whom it knows, in seconds.
_ASK_S: Final = 2.0


class Scope:
    """The nodes that faults may befall."""

    def __init__(
        self, place: str | None = None, named: tuple[str, ...] = (), everything: bool = False
    ) -> None:
        """Take what was said of them.

        Args:
            place: A node of the cluster that is meant: its folder, an endpoint of it or the first
                digits of its id; None for the only cluster that is here.
            named: The nodes that are meant, likewise; empty for all of the cluster.
            everything: Whether all nodes of this user on this machine are meant.
        """
        self._place = place
        self._named = named
        self._everything = everything
        #: Ids of members of the cluster, and folders of its nodes here; they only grow.
        self._members: dict[str, None] = {}
        self._folders: dict[str, None] = {}

    def nodes(self) -> list[NodeFacts]:
        """Return those that are there now.

        Raises:
            NodeStartError: A node that was named is not there, or several clusters are.
        """
        if self._named and not self._folders:
            self._folders.update((_node_at(each).folder, None) for each in self._named)
        found = sorted(started_nodes(embedded=True), key=lambda node: node.folder)
        if self._everything:
            return found
        if not self._named:
            self._look(found)
        return [node for node in found if node.folder in self._folders]

    def _look(self, found: list[NodeFacts]) -> None:
        """Find out which of these nodes are of the cluster; choose it first."""
        fresh = [node for node in found if node.folder not in self._folders]
        known = {node.folder: _known_to(node) for node in fresh}
        if not self._members and found:
            self._choose(found, known)
        for node in fresh:
            ids = known[node.folder]
            if any(id_ in self._members for id_ in ids):
                self._folders[node.folder] = None
                self._members.update(ids)

    def _choose(self, found: list[NodeFacts], known: dict[str, dict[str, None]]) -> None:
        if self._place is not None:
            node = _node_at(self._place)
            self._members.update(known.get(node.folder) or {node.address.peer.hex(): None})
            return
        clusters: list[dict[str, None]] = []
        for node in found:
            ids = known[node.folder]
            joined = [each for each in clusters if any(id_ in each for id_ in ids)]
            clusters = [each for each in clusters if each not in joined]
            clusters.append({id_: None for each in [*joined, ids] for id_ in each})
        if len(clusters) > 1:
            lines = [
                "  " + " ".join(n.folder for n in found if n.address.peer.hex() in each)
                for each in clusters
            ]
            raise NodeStartError(
                f"{len(clusters)} clusters of this user run here; name a node of the one that is "
                "meant with --address, or say --all:\n" + "\n".join(lines)
            )
        self._members.update(clusters[0])


def _node_at(place: str) -> NodeFacts:
    for node in started_nodes(embedded=True):
        ids = (node.folder, node.address.endpoint, node.address.tcp)
        if place and (place in ids or node.address.peer.hex().startswith(place)):
            return node
    raise NodeStartError(f"no node of this user runs here at {place!r}; see `zgen node status`")


def _known_to(node: NodeFacts) -> dict[str, None]:
    """Return the ids of the members of a node's cluster as far as it knows, its own first."""
    mine = node.address.peer.hex()
    try:
        rows = query_node(node.address, node.folder, _ASK_S)["nodes"]
    except NodeStartError:
        rows = []  # it is stopped, or ends
    return {mine: None, **{row["node"]: None for row in rows}}
