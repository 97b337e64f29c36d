"""Who is told of the end of a process of another node.

Rules of this file: asks the nodes of such processes and tells who watches here. What else follows
from a death is decided above.

Theory of operation. A process asks its own node to watch any other one; this node asks the node of
that one, once, and passes its word on. As on one node, whoever is watched is told of the end of its
watcher too, so that both close their lines. When a node is gone, so are its processes, and whether
they had begun what they were given is not known. What a dead process is, its fence remembers. A
node that is not known in time counts as gone; if it comes after all, those of its processes are
heard again of which nobody here was told that they are dead.
"""

from collections.abc import Callable
from typing import Any, Final

from zgen.core.effects import Effect, Send
from zgen.core.marks import reached
from zgen.ids import ID_BYTES, NO_PEER, LeaseId, PeerId, short
from zgen.limits import NODE_UNKNOWN_NS, NODES_GONE_COUNT_MAX
from zgen.wire.cluster import WatchBack
from zgen.wire.lease import ProcessDown
from zgen.wire.object import WatchProcess
from zgen.wire.session import Address
from zgen_node.core.directory import Directory
from zgen_node.core.far_processes import Far, FarProcesses
from zgen_node.core.peers import Peers
from zgen_node.core.view import View

_NO_LEASE: Final = LeaseId(bytes(ID_BYTES))
#: Acts on the end of a process of another node, and tells its watchers.
Died = Callable[[ProcessDown, int, list[Effect]], None]


class FarMonitors:
    """Watches over processes of other nodes.

    Attributes:
        far: The processes.
        messages: What to do about each class of message.
    """

    def __init__(
        self, me: PeerId, peers: Peers, view: View, directory: Directory, died: Died
    ) -> None:
        """Watch nobody; ``died`` is called once for each process that was watched."""
        self.far = FarProcesses()
        self._me = me
        self._peers = peers
        self._view = view
        self._directory = directory
        self._died = died
        #: Node that was not known in time -> its processes that are held for dead for that, and of
        #: whose end nobody was told. The oldest go beyond the bound.
        self._late: dict[PeerId, list[PeerId]] = {}
        self.messages: dict[type, Callable[[PeerId, Any, int, list[Effect]], None]] = {
            WatchProcess: self._on_watch_process,
            WatchBack: self._on_watch_back,
            ProcessDown: self._on_process_down,
        }

    def is_node(self, peer: PeerId) -> bool:
        """Return whether a peer is another node: a member, or one that says so of itself."""
        if peer in self._view.members:
            return True
        session = self._peers.session
        return session.knows(peer) and session.address_of(peer).node == peer

    def is_awaited(self, node: PeerId) -> bool:
        """Return whether processes of a node that is not a member yet are watched here."""
        return node in self.far.deadlines

    def dial(self, node: PeerId, out: list[Effect]) -> None:
        """Have a line to a member."""
        if not self._peers.session.knows(node):
            self._peers.session.dial(self._view.members[node].state.address, out)

    def watch(self, process: Address, now_ns: int, out: list[Effect]) -> bool:
        """Have the end of a process of another node told; return False if it is dead already."""
        node, session = process.node, self._peers.session
        if session.is_fenced(process.peer, process.incarnation) or self._view.is_gone(node):
            reached("watch of a process of another node that is dead")
            return False
        if self.far.get(process.peer) is None:
            far = Far(process.peer, process.incarnation, node, False)
            self.far.add(far)
            if node in self._view.members:
                self._ask(far, out)
            else:
                reached("process of a node that is not known yet")
                self.far.deadlines.set_if_unset(node, now_ns + NODE_UNKNOWN_NS)
        return True

    def note(self, process: Address) -> bool:
        """Note that the node of a process will tell of its end anyway; False if it is dead."""
        if self._peers.session.is_fenced(process.peer, process.incarnation):
            return False
        far = self.far.get(process.peer)
        if far is None:
            self.far.add(Far(process.peer, process.incarnation, process.node, True))
        return True

    def on_up(self, node: PeerId, out: list[Effect]) -> None:
        """A node became a member: ask it what waited for that, or waited in vain."""
        for process in self._late.pop(node, ()):
            reached("process heard again whose node was not known in time")
            self._peers.session.unfence(process)
        self.far.deadlines.clear(node)
        for far in self.far.of_node(node):
            self._ask(far, out)
            for watcher in self._peers.monitors.watchers_of(far.process):
                self._watch_back(far, watcher, out)

    def on_gone(self, node: PeerId, reason: str, now_ns: int, out: list[Effect]) -> None:
        """A node is gone: so are its processes."""
        self._late.pop(node, None)
        self._peers.monitors.forget_watcher(node)
        for far in self.far.of_node(node):
            story = f"its node is gone: {reason}"
            down = ProcessDown(far.process, far.incarnation, 0, -1, 0, story, _NO_LEASE, -1)
            self._end(down, now_ns, out)

    def on_timer(self, now_ns: int, out: list[Effect]) -> None:
        """Give up nodes that did not become known in time."""
        for node in self.far.deadlines.pop_due(now_ns):
            reached("node that never became known")
            watchers_of = self._peers.monitors.watchers_of
            untold = [far.process for far in self.far.of_node(node) if not watchers_of(far.process)]
            self.on_gone(node, "nobody knows it", now_ns, out)
            self._late[node] = untold  # who is told of a death fences the dead as well
            if len(self._late) > NODES_GONE_COUNT_MAX:
                del self._late[next(iter(self._late))]

    def check(self) -> None:
        """Assert that of a member everything is asked."""
        self.far.check()
        for node in self._view.members:
            assert all(far.asked for far in self.far.of_node(node)), short(node)
            assert node not in self.far.deadlines, short(node)

    # -- messages ----------------------------------------------------------------------------------
    def _on_watch_process(
        self, peer: PeerId, said: WatchProcess, now_ns: int, out: list[Effect]
    ) -> None:
        if self.is_node(peer):
            self._directory.watch(peer, said, out, mutual=False)
        elif not self._directory.is_there(peer):
            self._peers.refuse("watch by a stranger", short(peer), out)
        elif said.node in (NO_PEER, self._me):
            self._directory.watch(peer, said, out)
        else:
            self._watch_for(peer, Address(said.peer, said.incarnation, "", said.node), now_ns, out)

    def _watch_for(self, watcher: PeerId, process: Address, now_ns: int, out: list[Effect]) -> None:
        """Have a process of this node told of the end of one of another node."""
        if not self.watch(process, now_ns, out):
            reason = "it was dead already"
            down = ProcessDown(process.peer, process.incarnation, 0, -1, 0, reason, _NO_LEASE, -1)
            out.append(Send(watcher, down))
            return
        if watcher in self._peers.monitors.watchers_of(process.peer):
            return
        self._peers.monitors.add(watcher, process.peer)
        far = self.far.get(process.peer)
        if far is not None and far.asked:
            self._watch_back(far, watcher, out)

    def _on_watch_back(self, peer: PeerId, said: WatchBack, now_ns: int, out: list[Effect]) -> None:
        watcher = said.watcher
        if not self.is_node(peer) or watcher.node != peer:
            self._peers.refuse("watch for a process of another node", short(peer), out)
        elif self._directory.is_there(said.process):
            self._watch_for(said.process, watcher, now_ns, out)

    def _on_process_down(
        self, peer: PeerId, said: ProcessDown, now_ns: int, out: list[Effect]
    ) -> None:
        far = self.far.get(said.peer)
        if far is None or far.node != peer or far.incarnation != said.incarnation:
            reached("end of a process of another node that nobody watches")
            return
        self._end(said, now_ns, out)

    # -- inside ------------------------------------------------------------------------------------
    def _ask(self, far: Far, out: list[Effect]) -> None:
        far.asked = True
        self.dial(far.node, out)
        out.append(Send(far.node, WatchProcess(far.process, far.incarnation, far.node)))

    def _watch_back(self, far: Far, watcher: PeerId, out: list[Effect]) -> None:
        if self._peers.session.knows(watcher):
            address = self._peers.session.address_of(watcher)
            out.append(Send(far.node, WatchBack(far.process, address)))

    def _end(self, down: ProcessDown, now_ns: int, out: list[Effect]) -> None:
        self.far.remove(down.peer)
        self._died(down, now_ns, out)
