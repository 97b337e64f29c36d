"""Processes of other nodes that somebody here wants to hear the end of.

Rules of this file: which process is of which node, and whether that node was asked. Who wants to
know is in the monitors; what a death means is decided above.

Theory of operation. A node is asked about each process once, however many watch it here, and says
so once. A process stands here from the first watch to its end; so each watcher is told once, also
if the node tells and dies. A node that membership has not spoken of yet may be about to join: it is
asked when it comes, and its processes are dead if it does not come in time.
"""

from zgen.core.deadlines import Deadlines
from zgen.ids import PeerId
from zgen.slotted import slotted


@slotted
class Far:
    """A process of another node.

    Attributes:
        process: Its name.
        incarnation: Its life.
        node: The node that will tell of its end.
        asked: Whether that node knows that it is to tell.
    """

    process: PeerId
    incarnation: int
    node: PeerId
    asked: bool


class FarProcesses:
    """All of them.

    Attributes:
        deadlines: When a node should be known whose processes are watched already.
    """

    def __init__(self) -> None:
        """Start with none."""
        self.deadlines: Deadlines[PeerId] = Deadlines()
        #: Process -> record. Added by ``add``; removed by ``remove``.
        self._far: dict[PeerId, Far] = {}
        #: Node -> its processes. Reverse of ``Far.node``.
        self._of_node: dict[PeerId, dict[PeerId, None]] = {}

    def get(self, process: PeerId) -> Far | None:
        """Return what is known of a process, or None."""
        return self._far.get(process)

    def add(self, far: Far) -> None:
        """Note a process."""
        assert far.process not in self._far
        self._far[far.process] = far
        self._of_node.setdefault(far.node, {})[far.process] = None

    def remove(self, process: PeerId) -> None:
        """Forget a process whose end is being told."""
        far = self._far.pop(process)
        of_node = self._of_node[far.node]
        del of_node[process]
        if not of_node:
            del self._of_node[far.node]
            self.deadlines.clear(far.node)

    def of_node(self, node: PeerId) -> list[Far]:
        """Return the processes of one node, longest watched first."""
        return [self._far[process] for process in self._of_node.get(node, {})]

    def check(self) -> None:
        """Assert that both directions say the same."""
        assert sum(map(len, self._of_node.values())) == len(self._far)
        for process, far in self._far.items():
            assert process in self._of_node[far.node]
