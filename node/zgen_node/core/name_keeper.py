"""Names that this node keeps for the cluster, and the words that others hear of them.

Rules of this file: what a keeper holds, and when it may say that a name is free. What a node does
with the words of keepers is decided in ``naming``.

Theory of operation. A keeper holds nothing for who counts other keepers than it does itself: so of
two that want one name, and know different members, one at most gets it from all. A node that is
asked as a keeper for the first time has every other member count it and say what it is to hold; it
does not say that a name is free before all have, or are gone. Nodes for which others hold names are
asked as well, when they become known.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from zgen.core.effects import Effect, Send
from zgen.core.marks import reached
from zgen.ids import PeerId, short
from zgen.limits import NAMES_COUNT_MAX
from zgen.wire.naming import (
    FREE,
    FULL,
    HELD,
    LATER,
    MINORITY,
    PENDING,
    TAKEN,
    AskNames,
    DropName,
    HoldName,
    NamesTold,
    NameWord,
    SeekName,
    SettleName,
)
from zgen_node.core.electorate import Electorate
from zgen_node.core.far_monitors import FarMonitors
from zgen_node.core.name_records import NameRecord, NameRecords
from zgen_node.core.peers import Peers
from zgen_node.core.view import View


class NameKeeper:
    """What one node keeps.

    Attributes:
        electorate: Who counts.
        records: The names.
        rehome: Has every name that was claimed from here kept where it belongs.
        fell_silent: Told of members that count as silent from now on.
        messages: What to do about each class of message.
    """

    def __init__(self, me: PeerId, peers: Peers, view: View, monitors: FarMonitors) -> None:
        """Start alone, with nothing to keep."""
        self.electorate = Electorate(me)
        self.records = NameRecords()
        self.rehome: Callable[[list[Effect]], None] = lambda out: None
        self.fell_silent: Callable[[list[PeerId], int], None] = lambda nodes, now_ns: None
        #: Whether this node says that names are free; from when all whom it asked have answered.
        self._keeps = False
        #: Node -> whether it is asked to count this one, or is to be again; None before any is.
        #: Removed by its answer and its end.
        self._counted_by: dict[PeerId, bool] | None = None
        #: Who asked to be counted before it was a member. Removed when it is, or is gone.
        self._early: dict[PeerId, None] = {}
        self._me = me
        self._peers = peers
        self._view = view
        self._monitors = monitors
        self.messages: dict[type, Callable[[PeerId, Any, int, list[Effect]], None]] = {
            HoldName: self._on_asked,
            SeekName: self._on_asked,
            SettleName: self._on_settle_name,
            DropName: self._on_drop_name,
            AskNames: self._on_ask_names,
            NamesTold: self._on_names_told,
        }

    def on_up(self, node: PeerId, out: list[Effect]) -> None:
        """A node became a member."""
        self.electorate.up(node)
        if self._early.pop(node, 0) is None:
            reached("keeper counted when it became a member")
            self._tell_names(node, out)

    def on_gone(self, node: PeerId, proven: bool, now_ns: int) -> int | None:
        """A node is gone for good; return when it counts no more, or None if that is at once."""
        self._early.pop(node, None)
        until_ns = self.electorate.gone(node, proven, now_ns)
        if until_ns is None:
            self.records.drop_home(node)
        self._answered(node)
        return until_ns

    def settle(self, now_ns: int) -> list[PeerId]:
        """Count those no more who were silent for long, and return them."""
        over = self.electorate.settle(now_ns)
        for node in over:
            self.records.drop_home(node)
        return over

    def is_gone(self, node: PeerId) -> bool:
        """Return whether a node is not there."""
        return node != self._me and node not in self._view.members

    def members(self) -> tuple[PeerId, ...]:
        """Return all other nodes."""
        return tuple(self._view.members)

    def living(self, group: tuple[PeerId, ...]) -> list[PeerId]:
        """Return those of ``group`` that are there."""
        return [node for node in group if not self.is_gone(node)]

    def say(self, node: PeerId, message: Any, out: list[Effect]) -> None:
        """Say something to another node, if it is a member."""
        if node in self._view.members:
            self._monitors.dial(node, out)
            out.append(Send(node, message))

    def ask_who_votes(self, nodes: tuple[PeerId, ...], out: list[Effect]) -> None:
        """Ask whether they count others than this node does, which is cut off."""
        for node in nodes:
            self.say(node, AskNames(True), out)

    def check(self) -> None:
        """Assert what each table keeps."""
        self.electorate.check()
        self.records.check()
        for node in self._early:
            assert node not in self._view.members, f"{short(node)} waits to be counted"

    def answer(self, home: PeerId, said: HoldName | SeekName, out: list[Effect]) -> NameWord:
        """Return the word of this node as a keeper, and hold what it is to hold."""
        seeks = type(said) is SeekName
        asked: Any = said if seeks else said.claim  # type: ignore[union-attr]
        key = (asked.namespace, asked.name)
        if not self.electorate.has_majority:
            self.ask_who_votes((home,), out)
            return NameWord(said.query, MINORITY)
        record = self.records.get(key)
        settled = not seeks and said.settled  # type: ignore[union-attr]
        if record is not None and (
            seeks
            or (record.claim.actor != asked.actor and not record.replaced_by(home, asked, settled))
        ):
            return _word_of(said, record)
        if not settled and (not self._is_ready(out) or said.group != self.electorate.keepers(key)):
            reached("keeper that counts other keepers asked")
            return NameWord(said.query, LATER)
        if seeks:
            return NameWord(said.query, FREE)
        if record is None and len(self.records) >= NAMES_COUNT_MAX:
            return NameWord(said.query, FULL)
        self.records.hold(home, asked, settled, said.group)
        return NameWord(said.query, HELD)

    def _on_asked(
        self, peer: PeerId, said: HoldName | SeekName, now_ns: int, out: list[Effect]
    ) -> None:
        if peer in self._view.members:
            out.append(Send(peer, self.answer(peer, said, out)))
        elif self._monitors.is_node(peer):
            reached("keeper asked by a node that is not a member yet")
            out.append(Send(peer, NameWord(said.query, LATER)))
        else:
            self._peers.refuse("name kept for no node", short(peer), out)

    def _on_settle_name(
        self, peer: PeerId, said: SettleName, now_ns: int, out: list[Effect]
    ) -> None:
        if not self.records.settle(peer, (said.namespace, said.name), said.actor):
            reached("name settled that is not held")

    def _on_drop_name(self, peer: PeerId, said: DropName, now_ns: int, out: list[Effect]) -> None:
        key = (said.namespace, said.name)
        if said.replaced and self._monitors.is_node(peer):
            if self.records.replaced(key, said.actor):
                reached("keeper that was passed over hears that a detached actor was replaced")
        elif not self.records.drop(peer, key, said.actor):
            reached("name dropped that is not held")

    def _is_ready(self, out: list[Effect]) -> bool:
        """Return whether this node keeps names; the first time, ask all others to count it."""
        if self._counted_by is None:
            self._counted_by = dict.fromkeys(self._view.members, False)
        for node in [node for node, asked in self._counted_by.items() if not asked]:
            self._counted_by[node] = True
            self.say(node, AskNames(False), out)
        self._keeps = self._keeps or not self._counted_by
        return self._keeps

    def _on_ask_names(self, peer: PeerId, said: AskNames, now_ns: int, out: list[Effect]) -> None:
        if said.is_cut_off:
            if self._keeps and self.electorate.has_majority:
                electors = self.electorate
                self.say(peer, NamesTold((), electors.voters, electors.newcomers), out)
        elif peer in self._view.members:
            self._tell_names(peer, out)
        elif self._monitors.is_node(peer) and not self._view.is_gone(peer):
            self._early[peer] = None

    def _tell_names(self, node: PeerId, out: list[Effect]) -> None:
        """Count a node, and have it hold what it should: that was said when it became a member."""
        self.rehome(out)
        voters = self.electorate.voters if self.electorate.silent else ()
        homes = [home for home in self.records.homes() if not self.is_gone(home)]
        self.say(node, NamesTold(tuple(homes), voters), out)

    def _on_names_told(self, peer: PeerId, said: NamesTold, now_ns: int, out: list[Effect]) -> None:
        if self._counted_by is None or peer not in self._counted_by:
            if said.voters and not self.electorate.has_majority:
                reached("counts as the larger side of a cut does")
                for node in self.electorate.follow(said.voters, said.newcomers, now_ns):
                    self.records.drop_home(node)
                self.fell_silent(self.electorate.silent, now_ns)
            return
        self.fell_silent(self.electorate.adopt(said.voters, now_ns), now_ns)
        if any(self.is_gone(home) and not self._view.is_gone(home) for home in said.homes):
            reached("keeper told of a node that it does not know")
            self._counted_by[peer] = False  # it may hold names that nobody else can tell of
            return
        self._answered(peer)

    def _answered(self, node: PeerId) -> None:
        if self._counted_by is not None:
            self._counted_by.pop(node, None)


def _word_of(said: HoldName | SeekName, record: NameRecord) -> NameWord:
    """Return the word about a name that is held for another actor than is asked about."""
    if type(said) is HoldName and said.claim.instead_of == record.claim.actor:
        reached("keeper knows not yet that the home of a detached actor is gone")
        return NameWord(said.query, LATER)
    if type(said) is SeekName and record.orphaned:
        reached("detached actor looked for that is about to be created again")
        return NameWord(said.query, LATER)
    claim = replace(record.claim, charters=())  # which nobody who asks needs
    return NameWord(said.query, TAKEN if record.settled else PENDING, (claim,))
