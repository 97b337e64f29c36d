"""What processes ask a node about others: who is still there, and which actor has a name.

Rules of this file: answers, and who may ask. What follows from a death is not decided here.

Theory of operation. A process that asks to watch another one is told of its end as if a lease had
joined them, and the other one of its: so both close their lines. One that is not known here is
dead, or never lived; whoever asks hears so at once.
"""

from collections.abc import Callable
from typing import Any, Final

from zgen.core.effects import Effect, Send
from zgen.core.marks import reached
from zgen.ids import ID_BYTES, NO_ACTOR, LeaseId, PeerId, short
from zgen.limits import NAMES_COUNT_MAX
from zgen.wire.actor import ClaimName, FindName, FreeName, NameAnswer
from zgen.wire.lease import ProcessDown
from zgen.wire.object import WatchProcess
from zgen.wire.session import Address
from zgen_node.core.names import Names
from zgen_node.core.peers import Peers
from zgen_node.core.staffing import Staffing
from zgen_node.core.worker_pool import WorkerState

_NO_LEASE: Final = LeaseId(bytes(ID_BYTES))


class Directory:
    """Answers about processes and names.

    Attributes:
        names: Names of actors.
        messages: What to do about each class of message.
    """

    def __init__(self, me: Address, peers: Peers, staffing: Staffing) -> None:
        """Start without names; ``me`` stands in answers that name nobody."""
        self.names = Names()
        self._me = me
        self._peers = peers
        self._staffing = staffing
        self.messages: dict[type, Callable[[PeerId, Any, int, list[Effect]], None]] = {
            ClaimName: self._on_claim_name,
            FindName: self._on_find_name,
            FreeName: self._on_free_name,
        }

    def died(self, peer: PeerId) -> None:
        """A process is dead: what it named is free."""
        self.names.drop_owner(peer)

    def check(self) -> None:
        """Assert the invariants of names."""
        self.names.check()

    def watch(
        self, peer: PeerId, said: WatchProcess, out: list[Effect], *, mutual: bool = True
    ) -> None:
        """Tell ``peer`` of the end of a process of this node, and if ``mutual`` that one of its."""
        reason = "it was dead already"
        dead = ProcessDown(said.peer, said.incarnation, 0, -1, 0, reason, _NO_LEASE, 0)
        job = self._staffing.jobs.of_driver(said.peer)
        is_older = job is not None and job.incarnation != said.incarnation
        lives = self.is_there(said.peer) and not is_older
        if mutual and lives and not self._peers.is_down(said.peer):
            self._peers.monitors.add(said.peer, peer)
        self._peers.watch(peer, said.peer, lives, dead, out)

    def is_there(self, peer: PeerId) -> bool:
        """Return whether ``peer`` is a worker or driver of this node that lives."""
        worker = self._staffing.pool.get(peer)
        if worker is not None:
            return worker.state is not WorkerState.DEAD
        job = self._staffing.jobs.of_driver(peer)
        return job is not None and job.far_driver is None

    def _on_claim_name(self, peer: PeerId, said: ClaimName, now_ns: int, out: list[Effect]) -> None:
        if said.creator.peer != peer or not self.is_there(peer):
            self._peers.refuse("name for another process", short(peer), out)
            return
        known = self.names.find(said.namespace, said.name)
        if known is None and len(self.names) >= NAMES_COUNT_MAX:
            self._peers.refuse("name beyond the bound", said.name, out)
            out.append(Send(peer, NameAnswer(said.query, NO_ACTOR, self._me, b"")))
            return
        out.append(Send(peer, _answer(said.query, self.names.claim(peer, said))))

    def _on_find_name(self, peer: PeerId, said: FindName, now_ns: int, out: list[Effect]) -> None:
        known = self.names.find(said.namespace, said.name)
        if known is None:
            out.append(Send(peer, NameAnswer(said.query, NO_ACTOR, self._me, b"")))
        else:
            out.append(Send(peer, _answer(said.query, known)))

    def _on_free_name(self, peer: PeerId, said: FreeName, now_ns: int, out: list[Effect]) -> None:
        if not self.names.free(peer, said.namespace, said.name, said.actor):
            reached("name freed that is another's")


def _answer(query: int, claim: ClaimName) -> NameAnswer:
    return NameAnswer(query, claim.actor, claim.creator, claim.description)
