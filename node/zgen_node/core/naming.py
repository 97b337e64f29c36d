"""Names of actors over the cluster: claimed, found and freed with those who keep each of them.

Rules of this file: what follows from the words of the keepers of a name. What these say is decided
in ``name_keeper``; who counts as one, and which side of a cut may give names away, in
``electorate``.

Theory of operation. Three nodes keep a name. The node of the creator, its home, asks all of them at
once to hold it; who lives of them must, and they must be more than half. When two homes ask at a
time, whoever has the first keeper waits for the others, and the other one gives way. A home has the
names that it claimed kept wherever they belong as members come and go; when it is gone, they are
free. A question ends with an answer, or after ``NAME_PATIENCE_NS`` with why there is none.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from zgen.core.deadlines import Deadlines
from zgen.core.effects import Effect, Send
from zgen.core.marks import reached
from zgen.ids import NO_ACTOR, ActorId, PeerId, short
from zgen.limits import NAMES_COUNT_MAX
from zgen.wire.actor import Charter, ClaimName, FindName, FreeName, NameAnswer
from zgen.wire.naming import (
    FREE,
    FULL,
    HELD,
    MINORITY,
    PENDING,
    TAKEN,
    DropName,
    HoldName,
    NameWord,
    SeekName,
    SettleName,
)
from zgen.wire.session import Address
from zgen_node.core.directory import Directory
from zgen_node.core.far_monitors import FarMonitors
from zgen_node.core.name_keeper import NameKeeper
from zgen_node.core.name_questions import BEYOND, BUSY, CUT_OFF, NO_KEEPERS, NO_QUERY, Asking
from zgen_node.core.names import Named, Names
from zgen_node.core.peers import Peers
from zgen_node.core.view import View
from zgen_node.limits import (
    NAME_AGAIN_NS,
    NAME_AGAIN_NS_MAX,
    NAME_PATIENCE_NS,
    NAME_QUESTIONS_COUNT_MAX,
    NAMES_SILENCE_NS,
)

#: The waits between rounds are up to half as long, in so many steps by the number of the round: of
#: two claims whose rounds met each time, one had two keepers and the other the third one, for ever.
_UNEVEN: Final = 8


class Naming:
    """Names as the processes of a node claim and find them, and as it keeps them for others.

    Attributes:
        keeper: What this node keeps for the cluster.
        electorate: Who counts.
        records: The names that this node keeps.
        names: What processes of this node claimed.
        completed: Adds to a claim what its process does not know.
        told: Hears what a process of this node is told.
        survives: Says of a name whose process is dead whether its actor is created again.
        freed: Hears which process gave up the name of which actor.
        messages: What to do about each class of message.
    """

    def __init__(
        self, me: Address, peers: Peers, view: View, monitors: FarMonitors, directory: Directory
    ) -> None:
        """Start alone, without names."""
        self.keeper = keeper = NameKeeper(me.peer, peers, view, monitors)
        self.electorate = keeper.electorate
        self.records = keeper.records
        self.names = Names()
        keeper.rehome, keeper.fell_silent = self._rehome, self._fell_silent
        self.completed: Callable[[PeerId, ClaimName], ClaimName] = lambda peer, claim: claim
        self.told: Callable[[PeerId, NameAnswer, int, list[Effect]], None] = (
            lambda peer, said, now_ns, out: None
        )
        self.survives: Callable[[Named, int, list[Effect]], bool] = lambda *named: False
        self.freed: Callable[[Named, int], None] = lambda named, now_ns: None
        #: Round of a question -> the question. Added by ``_ask``; removed with its last word.
        self._asking: dict[int, Asking] = {}
        self._rounds = 0
        #: When a round is asked again or given up.
        self._again: Deadlines[int] = Deadlines()
        #: When who fell silent counts no more.
        self._silence: Deadlines[PeerId] = Deadlines()
        self.deadlines: tuple[Deadlines[Any], ...] = (self._again, self._silence)
        self._me = me
        self._peers = peers
        self._directory = directory
        self.messages: dict[type, Callable[[PeerId, Any, int, list[Effect]], None]] = {
            ClaimName: self._on_claim_name,
            FindName: self._on_find_name,
            FreeName: self._on_free_name,
            NameWord: self._on_name_word,
            **keeper.messages,
        }

    def died(self, owner: PeerId, now_ns: int, out: list[Effect]) -> None:
        """A process of this node is dead: what it named is free."""
        for named in self.names.drop_owner(owner):
            if not self.survives(named, now_ns, out):
                self.release(named, out)
        for number in [n for n, one in self._asking.items() if one.asker == owner]:
            self._forget(number)

    def on_up(self, node: PeerId, now_ns: int, out: list[Effect]) -> None:
        """A node became a member."""
        self.keeper.on_up(node, out)
        self._changed(now_ns, out)

    def on_gone(self, node: PeerId, proven: bool, now_ns: int, out: list[Effect]) -> None:
        """A node is gone for good; ``proven`` if it cannot live behind a cut."""
        until_ns = self.keeper.on_gone(node, proven, now_ns)
        if until_ns is None:
            self._silence.clear(node)
        else:
            self._silence.set(node, until_ns)
        self._changed(now_ns, out)

    def on_timer(self, now_ns: int, out: list[Effect]) -> None:
        """Ask again, give up, and count those no more who were silent for long."""
        if self._silence.pop_due(now_ns):
            self.keeper.settle(now_ns)
            self._changed(now_ns, out)
        for number in self._again.pop_due(now_ns):
            one = self._asking.pop(number)
            if now_ns >= one.until_ns:
                self._refuse(one, NO_KEEPERS, now_ns, out)
            else:
                self._ask(one, now_ns, out)

    def check(self) -> None:
        """Assert that every question ends, and what each table keeps."""
        self.keeper.check()
        self.names.check()
        for number, one in self._asking.items():
            assert number in self._again, f"question {number} of {short(one.asker)} has no end"
        for named in self.names.all():
            keeps = self._me.peer in named.keepers
            record = self.records.get(named.key)
            held = record is not None and record.claim.actor == named.claim.actor
            assert held == keeps, f"{named.key} is kept here by halves"

    # -- processes of this node --------------------------------------------------------------------
    def _on_claim_name(self, peer: PeerId, said: ClaimName, now_ns: int, out: list[Effect]) -> None:
        if said.creator.peer != peer or not self._directory.is_there(peer):
            self._peers.refuse("name for another process", short(peer), out)
            return
        if self.names.get(said.actor) is not None:
            self._peers.refuse("second name for one actor", short(said.actor), out)
            return
        if len(self.names) >= NAMES_COUNT_MAX:
            self._peers.refuse("name beyond the bound", said.name, out)
            out.append(Send(peer, _none(said.query, self._me, BEYOND)))
            return
        named = self.names.claim(peer, self.completed(peer, said))
        self._begin(peer, said.query, named.key, named, now_ns, out)

    def _on_find_name(self, peer: PeerId, said: FindName, now_ns: int, out: list[Effect]) -> None:
        self._begin(peer, said.query, (said.namespace, said.name), None, now_ns, out)

    def _on_free_name(self, peer: PeerId, said: FreeName, now_ns: int, out: list[Effect]) -> None:
        named = self.names.free(peer, said.namespace, said.name, said.actor)
        if named is None:
            reached("name freed that is another's")
            return
        for number in [n for n, one in self._asking.items() if one.named is named]:
            reached("name freed before it was got")
            self._forget(number)
        self.release(named, out)
        self.freed(named, now_ns)

    def recharter(self, actor: ActorId, charter: Charter, out: list[Effect]) -> None:
        """Have all keepers know what it takes from now on to create an actor again."""
        named = self.names.get(actor)
        if named is None or not named.settled:
            return
        named.claim = replace(named.claim, charters=(charter,))
        group = self.electorate.keepers(named.key)
        for node in named.keepers:
            copy = HoldName(NO_QUERY, named.claim, group, True)
            if node != self._me.peer:
                self.keeper.say(node, copy, out)
            else:
                self.records.hold(node, named.claim, True, group)

    # -- asking ------------------------------------------------------------------------------------
    def _begin(
        self,
        asker: PeerId,
        query: int,
        key: tuple[str, str],
        named: Named | None,
        now_ns: int,
        out: list[Effect],
    ) -> None:
        one = Asking(asker, query, key, named, now_ns + NAME_PATIENCE_NS, (), {})
        if len(self._asking) >= NAME_QUESTIONS_COUNT_MAX:
            self._refuse(one, BUSY, now_ns, out)
        else:
            self._ask(one, now_ns, out)

    def _ask(self, one: Asking, now_ns: int, out: list[Effect]) -> None:
        """Begin a round: ask every keeper that lives, this node first if it is one."""
        if not self.electorate.has_majority:
            reached("name asked for on the smaller side of a cut")
            self.keeper.ask_who_votes(self.electorate.keepers(one.key), out)
            self._refuse(one, CUT_OFF, now_ns, out)
            return
        self._rounds += 1
        number = self._rounds
        one.group, one.words = self.electorate.keepers(one.key), {}
        self._asking[number] = one
        self._again.set(number, one.until_ns)
        message: HoldName | SeekName
        if one.named is not None:
            message = HoldName(number, one.named.claim, one.group, False)
        else:
            message = SeekName(number, *one.key, one.group)
        for node in self.keeper.living(one.group):
            if one.named is not None:
                one.named.keepers[node] = None
            if node != self._me.peer:
                self.keeper.say(node, message, out)
        if self._me.peer in one.group:
            one.words[self._me.peer] = self.keeper.answer(self._me.peer, message, out)
            if one.named is not None and one.words[self._me.peer].verdict != HELD:
                del one.named.keepers[self._me.peer]
        self._judge(number, one, now_ns, out)

    def _on_name_word(self, peer: PeerId, said: NameWord, now_ns: int, out: list[Effect]) -> None:
        if said.query == NO_QUERY:
            if said.verdict == TAKEN:
                self._peers.refuse("name held for two actors", short(peer), out)
            return
        one = self._asking.get(said.query)
        if one is None or peer not in one.group:
            reached("word of a keeper that came too late")
            return
        one.words[peer] = said
        self._judge(said.query, one, now_ns, out)

    def _judge(self, number: int, one: Asking, now_ns: int, out: list[Effect]) -> None:
        """Look whether the words are enough to answer."""
        cut_off = sum(word.verdict == MINORITY for word in one.words.values())
        if 2 * cut_off > len(one.group):
            reached("keepers of a name are on the smaller side of a cut")
            self._forget(number)
            self._refuse(one, CUT_OFF, now_ns, out)
        elif one.named is None:
            self._judge_find(number, one, now_ns, out)
        else:
            self._judge_claim(number, one, one.named, now_ns, out)

    def _judge_find(self, number: int, one: Asking, now_ns: int, out: list[Effect]) -> None:
        words = one.words.values()
        enough = 2 * sum(word.verdict != MINORITY for word in words) > len(one.group)
        found = {word.claims[0].actor: word.claims[0] for word in words if word.verdict == TAKEN}
        if enough and len(found) == 1:
            self._forget(number)
            (claim,) = found.values()
            self._tell(one, _answer(one.query, claim), now_ns, out)
        elif len(one.words) == len(self.keeper.living(one.group)):
            if enough and all(word.verdict == FREE for word in words):
                self._forget(number)
                self._tell(one, _none(one.query, self._me), now_ns, out)
            else:
                self._later(number, now_ns)

    def _judge_claim(
        self, number: int, one: Asking, named: Named, now_ns: int, out: list[Effect]
    ) -> None:
        for word in one.words.values():
            if word.verdict in (TAKEN, FULL):
                self._forget(number)
                self.release(self.names.give_up(named.claim.actor), out)
                none = _none(one.query, self._me, BEYOND)
                self._tell(
                    one, _answer(one.query, *word.claims) if word.claims else none, now_ns, out
                )
                return
        living = self.keeper.living(one.group)
        if len(one.words) < len(living):
            return
        if all(word.verdict == HELD for word in one.words.values()) and (
            2 * len(living) > len(one.group)
        ):
            self._forget(number)
            self._settle(named, out)
            self._tell(one, _answer(one.query, named.claim), now_ns, out)
            return
        if living and one.words[living[0]].verdict == PENDING:
            reached("gives way to who has the first keeper of a name")
            self.release(named, out)
        self._later(number, now_ns)

    def _settle(self, named: Named, out: list[Effect]) -> None:
        named.settled = True
        key, actor = named.key, named.claim.actor
        self.records.settle(self._me.peer, key, actor)
        for node in named.keepers:
            if node != self._me.peer:
                self.keeper.say(node, SettleName(*key, actor), out)
        if named.claim.instead_of != NO_ACTOR:
            self._replaced(key, named.claim.instead_of, out)
        self._balance(named, out)

    def _replaced(self, key: tuple[str, str], actor: ActorId, out: list[Effect]) -> None:
        """Have nobody wait to create an actor again that was: not who keeps its name no more."""
        self.records.replaced(key, actor)
        for node in self.keeper.members():
            self.keeper.say(node, DropName(*key, actor, True), out)

    def _later(self, number: int, now_ns: int) -> None:
        """Ask again soon."""
        one = self._asking[number]
        one.waits += 1
        wait_ns = min(NAME_AGAIN_NS << one.waits, NAME_AGAIN_NS_MAX)
        wait_ns -= wait_ns * (number % _UNEVEN) // (2 * _UNEVEN)
        at_ns = min(now_ns + wait_ns, one.until_ns)
        self._again.set(number, at_ns)

    def _forget(self, number: int) -> None:
        del self._asking[number]
        self._again.clear(number)

    def _refuse(self, one: Asking, reason: str, now_ns: int, out: list[Effect]) -> None:
        if one.named is not None:
            self.release(self.names.give_up(one.named.claim.actor), out)
        self._tell(one, _none(one.query, self._me, reason), now_ns, out)

    def _tell(self, one: Asking, message: NameAnswer, now_ns: int, out: list[Effect]) -> None:
        if self._peers.session.knows(one.asker):
            out.append(Send(one.asker, message))
        self.told(one.asker, message, now_ns, out)

    def release(self, named: Named, out: list[Effect]) -> None:
        """Have nobody keep a claim any more."""
        keepers, named.keepers = named.keepers, {}
        for node in keepers:
            self._drop(named, node, out)

    def _drop(self, named: Named, node: PeerId, out: list[Effect]) -> None:
        if node == self._me.peer:
            self.records.drop(node, named.key, named.claim.actor)
        else:
            self.keeper.say(node, DropName(*named.key, named.claim.actor), out)

    # -- members come and go -----------------------------------------------------------------------
    def _changed(self, now_ns: int, out: list[Effect]) -> None:
        """Have each name kept where it belongs now, and ask those who are keepers now."""
        self._rehome(out)
        for number in list(self._asking):
            one = self._asking[number]
            self._forget(number)
            self._ask(one, now_ns, out)

    def _rehome(self, out: list[Effect]) -> None:
        for named in self.names.all():
            self._balance(named, out)

    def _fell_silent(self, nodes: list[PeerId], now_ns: int) -> None:
        for node in nodes:
            self._silence.set(node, now_ns + NAMES_SILENCE_NS)

    def _balance(self, named: Named, out: list[Effect]) -> None:
        """Have a name of this node held by its keepers, and by nobody else."""
        for node in [each for each in named.keepers if self.keeper.is_gone(each)]:
            del named.keepers[node]
        if not named.settled:
            return
        group = self.electorate.keepers(named.key)
        for node in self.keeper.living(group):
            if node not in named.keepers:
                named.keepers[node] = None
                copy = HoldName(NO_QUERY, named.claim, group, True)
                if node != self._me.peer:
                    self.keeper.say(node, copy, out)
                elif self.keeper.answer(node, copy, out).verdict != HELD:
                    del named.keepers[node]  # this node is cut off, or holds all it can
        for node in [each for each in named.keepers if each not in group]:
            del named.keepers[node]
            self._drop(named, node, out)


def _answer(query: int, claim: ClaimName) -> NameAnswer:
    return NameAnswer(query, claim.actor, claim.creator, claim.description)


def _none(query: int, me: Address, refusal: str = "") -> NameAnswer:
    return NameAnswer(query, NO_ACTOR, me, b"", refusal)
