"""Keys of a node that are replaced while it runs: who asked for that, and who is told of it.

Rules of this file: which process hears of it. What keys are in the file is not known here but for
what people tell them by.

Theory of operation. A node reads its key file when a tool asks for it, and puts what it found into
its folder before it tells of it; so whoever hears ``KeysChanged`` finds them there. Each process of
the node is told once a change. One that began to start before a change may have read the keys of
before, so it is told when it is first heard of, too; to read them once more changes nothing.
"""

from collections.abc import Callable
from typing import Any

from zgen.core.effects import Effect, Report, Send
from zgen.core.marks import reached
from zgen.core.node_effects import ReadKeyFile
from zgen.core.node_events import KeysRead
from zgen.ids import PeerId
from zgen.wire.cluster import KeysChanged, ReloadKeys
from zgen_node.core.output import Output
from zgen_node.core.peers import Peers
from zgen_node.core.staffing import Staffing


class Rekeying:
    """The keys of one node, as its machine knows them.

    Attributes:
        handlers: What to do about the events that concern it.
        messages: What to do about each class of message.
        prints: What people tell the keys by, the one that is shown first.
        changes_count: How often they have changed.
    """

    def __init__(self, peers: Peers, staffing: Staffing, output: Output) -> None:
        """Start without keys; ``output`` tells tools of them."""
        self.handlers: dict[type, Callable[[Any, int, list[Effect]], None]] = {
            KeysRead: self._on_keys_read
        }
        self.messages: dict[type, Callable[[PeerId, Any, int, list[Effect]], None]] = {
            ReloadKeys: self._on_reload_keys
        }
        self.prints: tuple[str, ...] = ()
        self.changes_count = 0
        self._peers = peers
        self._staffing = staffing
        self._output = output
        #: Why the file could not be read when it was last tried; empty if it could.
        self._failure = ""
        output.keys = self._told

    def welcome(self, peer: PeerId, out: list[Effect]) -> None:
        """Tell a process that just started of changes that it may have missed."""
        if self.changes_count:
            reached("process that started told of other keys")
            out.append(Send(peer, KeysChanged(self.changes_count)))

    def _told(self) -> dict[str, Any]:
        return {"prints": list(self.prints), "failure": self._failure}

    def _on_reload_keys(
        self, peer: PeerId, said: ReloadKeys, now_ns: int, out: list[Effect]
    ) -> None:
        out.append(ReadKeyFile(peer, said.query))

    def _on_keys_read(self, event: KeysRead, now_ns: int, out: list[Effect]) -> None:
        self._failure = event.failure
        if event.failure:
            out.append(Report("error", f"keys stay as they are: {event.failure}"))
        elif self.prints and event.prints != self.prints:
            self._change(event.prints, out)
        self.prints = self.prints if event.failure else event.prints
        if event.peer is not None and self._peers.session.knows(event.peer):
            self._output.answer(event.peer, event.query, now_ns, out)

    def _change(self, prints: tuple[str, ...], out: list[Effect]) -> None:
        """Have the processes of this node read the keys again."""
        self.changes_count += 1
        shown, *others = prints
        told = f", accepts {', '.join(others)} too" if others else ""
        out.append(Report("info", f"shows key {shown}{told}"))
        workers = [worker.worker for worker in self._staffing.pool.all()]
        drivers = [job.driver for job in self._staffing.jobs if job.far_driver is None]
        said = KeysChanged(self.changes_count)
        knows = self._peers.session.knows
        out.extend([Send(peer, said) for peer in (*workers, *drivers) if knows(peer)])
