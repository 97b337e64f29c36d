"""Questions about state that are put to the other nodes of the cluster too.

Rules of this file: each other node is told of once in answer to a question, by what it says or by
why it said nothing. What a node answers is its own affair.

Theory of operation. The node that is asked asks every member the same, under a number of its own,
and hands on what comes, as it comes, under the number of who asked. A node that is gone, or that
has not answered when its own processes should have and some more time has passed, is named as
silent.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from zgen.core.deadlines import Deadlines
from zgen.core.effects import Effect, Send
from zgen.core.marks import reached
from zgen.ids import PeerId, short
from zgen.limits import (
    SECOND,
    STATE_FAR_NS,
    STATE_PATIENCE_NS_MAX,
    STATE_QUESTIONS_COUNT_MAX,
)
from zgen.slotted import slotted
from zgen.wire.state import ListState, StateRows, StateTold
from zgen_node.core.census import BUSY, Census
from zgen_node.core.far_monitors import FarMonitors
from zgen_node.core.peers import Peers
from zgen_node.core.view import View

GONE: Final = "it is gone"


@slotted
class Asked:
    """One question that other nodes are asked.

    Attributes:
        asker: Who asked.
        query: Its number there.
        wait_ns: How long they may take.
        count: How many nodes are told of, this one among them.
        waiting: Those that have not answered.
    """

    asker: PeerId
    query: int
    wait_ns: int
    count: int
    waiting: dict[PeerId, None]


class Poll:
    """The questions of this node that others are asked.

    Attributes:
        deadlines: When who did not answer is too late.
        messages: What to do about each class of message.
    """

    def __init__(self, peers: Peers, census: Census, view: View, monitors: FarMonitors) -> None:
        """Start without questions; ask whoever is in the view."""
        self.deadlines: Deadlines[int] = Deadlines()
        #: Number -> question. Added by ``ask``; removed by its last answer.
        self.asked: dict[int, Asked] = {}
        self._asked_count = 0
        self._peers = peers
        self._census = census
        self._view = view
        self._monitors = monitors
        census.ask_others = self.ask
        self.messages: dict[type, Callable[[PeerId, Any, int, list[Effect]], None]] = {
            StateRows: self._on_state_rows,
            StateTold: self._on_state_told,
        }

    def ask(self, asker: PeerId, said: ListState, now_ns: int, out: list[Effect]) -> int:
        """Ask all other nodes what ``asker`` asks; return how many those are."""
        if self._monitors.is_node(asker) or not self._view.members:
            return 0
        patience_ns = max(0, min(said.patience_ns, STATE_PATIENCE_NS_MAX))
        nodes = dict.fromkeys(self._view.members)
        count = len(nodes)
        one = Asked(asker, said.query, patience_ns + STATE_FAR_NS, count + 1, nodes)
        if len(self.asked) >= STATE_QUESTIONS_COUNT_MAX:
            for node in nodes:
                self._tell(one, StateTold(0, node, (), 1, BUSY), out)
            return count
        self._asked_count += 1
        number = self._asked_count
        self.asked[number] = one
        self.deadlines.set(number, now_ns + one.wait_ns)
        for node in nodes:
            self._monitors.dial(node, out)
            out.append(Send(node, ListState(number, said.what, said.limit, patience_ns)))
        return count

    def on_gone(self, node: PeerId, out: list[Effect]) -> None:
        """A node is gone: nobody waits for it."""
        for number in list(self.asked):
            self._end(number, StateTold(0, node, (), 1, GONE), out)

    def on_timer(self, now_ns: int, out: list[Effect]) -> None:
        """Wait no longer for those that are too late."""
        for number in self.deadlines.pop_due(now_ns):
            one = self.asked[number]
            silence = f"no answer within {one.wait_ns / SECOND:g} s"
            for node in list(one.waiting):
                reached("node that did not say what its processes own")
                self._end(number, StateTold(0, node, (), 1, silence), out)

    def check(self) -> None:
        """Assert that each question waits for a live node, and not for ever."""
        assert len(self.asked) <= STATE_QUESTIONS_COUNT_MAX
        for number, one in self.asked.items():
            assert one.waiting, f"question {number} of {short(one.asker)} is over"
            assert number in self.deadlines, f"question {number} has no end"
            assert all(node in self._view.members for node in one.waiting), number

    # -- messages ----------------------------------------------------------------------------------
    def _on_state_rows(self, peer: PeerId, said: StateRows, now_ns: int, out: list[Effect]) -> None:
        if not self._monitors.is_node(peer):
            self._census.on_state_rows(peer, said, now_ns, out)
            return
        one = self.asked.get(said.query)
        if one is None or peer not in one.waiting:
            reached("rows of another node that came too late")
        elif self._peers.session.knows(one.asker):
            out.append(Send(one.asker, replace(said, query=one.query)))

    def _on_state_told(self, peer: PeerId, said: StateTold, now_ns: int, out: list[Effect]) -> None:
        if said.node != peer or not self._monitors.is_node(peer):
            self._peers.refuse("state of another node", short(peer), out)
        else:
            self._end(said.query, said, out)

    # -- inside ------------------------------------------------------------------------------------
    def _end(self, number: int, said: StateTold, out: list[Effect]) -> None:
        """Tell of one node, if that is still to be told."""
        one = self.asked.get(number)
        if one is None or said.node not in one.waiting:
            reached("answer of another node that nobody waits for")
            return
        del one.waiting[said.node]
        self._tell(one, said, out)
        if not one.waiting:
            del self.asked[number]
            self.deadlines.clear(number)

    def _tell(self, one: Asked, said: StateTold, out: list[Effect]) -> None:
        if self._peers.session.knows(one.asker):
            out.append(Send(one.asker, replace(said, query=one.query, nodes_count=one.count)))
