"""What one member holds to be true of the others and of itself, and how news change that.

Rules of this file: joins the view, suspicions, graves and news. How a member comes to doubt another
is not known here.

Theory of operation. Of a live member the greater incarnation wins, and only the member itself
raises it, to refute. Death is final for the node id, whatever the incarnation: some have acted on
it already. Every change is passed on as news, by all, until it was sent often enough; what is known
already is not, and so news die out. A member that hears of its own death ends.
"""

from enum import IntEnum
from typing import Any

from zgen.core.deadlines import Deadlines
from zgen.core.marks import reached
from zgen.ids import PeerId
from zgen.wire.membership import (
    ACTIVE,
    DEAD,
    LEFT,
    REFUSED,
    SUSPECT,
    Gossip,
    MemberAlive,
    MemberDoubt,
)
from zgen_node.core.membership_dice import Dice
from zgen_node.core.membership_doubts import Doubts, Suspicion
from zgen_node.core.membership_graves import Graves
from zgen_node.core.membership_news import News, Words
from zgen_node.core.membership_probes import Probes
from zgen_node.core.membership_profile import Candidate, Profile
from zgen_node.core.membership_view import Member, View
from zgen_node.core.membership_words import (
    Fenced,
    MemberBuried,
    MemberChanged,
    MemberDown,
    MembershipEffect,
    MemberSuspected,
    MemberTrusted,
    MemberUnlisted,
    MemberUp,
    SendProbe,
)
from zgen_node.limits import (
    GOSSIP_FANOUT_COUNT,
    HEALTH_COUNT_MAX,
    HEARD_COUNT_MAX,
    MEMBERS_FULL_COUNT_MAX,
    MEMBERS_PARTIAL_COUNT,
)

NO_WORDS: Words = ((), ())
_ENDPOINTS_TOLD_COUNT = 8


class Due(IntEnum):
    """What a deadline is for."""

    PERIOD = 1
    GOSSIP = 2
    REPAIR = 3
    JOIN = 4
    PROBE = 5
    DEATH = 6
    AGAIN = 7


class Standing:
    """The view of one member.

    Attributes:
        me: What it says of itself.
        profile: How fast it is.
        over: Whether it was declared dead, has left, or was refused; then nothing happens any more.
        health: How far it is itself at fault: 0 for well, up to ``HEALTH_COUNT_MAX``.
        deadlines: What to do when, by member.
    """

    def __init__(
        self,
        candidate: Candidate,
        profile: Profile,
        full_count_max: int = MEMBERS_FULL_COUNT_MAX,
        partial_count: int = MEMBERS_PARTIAL_COUNT,
    ) -> None:
        """Start alone."""
        self.me = MemberAlive(candidate.node, 0, candidate.endpoint, ACTIVE, 0, b"")
        self.profile = profile
        self.over = False
        self.health = 0
        self.deadlines: Deadlines[tuple[Due, PeerId]] = Deadlines()
        self.dice = Dice(candidate.seed)
        self.view = View(candidate.node, self.dice, full_count_max, partial_count)
        self.news = News()
        self.doubts = Doubts(profile)
        self.graves = Graves(profile.grave_fresh_ns)
        self.probes = Probes()
        #: Node outside the view -> the last word on it. Added when it is passed on; the oldest go
        #: beyond the bound.
        self._heard: dict[PeerId, tuple[int, int, int]] = {}

    # -- telling -----------------------------------------------------------------------------------
    def words_for(self, node: PeerId, has_doubted_me: bool = False) -> Words:
        """Return the news for a message to ``node``; what concerns it most comes first."""
        suspicion = self.doubts.suspicions.get(node)
        first: MemberAlive | MemberDoubt | None = self.me if has_doubted_me else None
        if suspicion is not None:
            first = MemberDoubt(node, suspicion.incarnation, SUSPECT, self.me.node)
        if first is None and not self.news:
            return NO_WORDS
        return self.news.take(self.view.count_estimate, first)

    def tell(self, word: MemberAlive | MemberDoubt, now_ns: int) -> None:
        """Have this passed on."""
        self.news.put(word)
        at_ns = now_ns + self.profile.gossip_delay_ns
        self.deadlines.set_if_unset((Due.GOSSIP, self.me.node), at_ns)

    def gossip(self, now_ns: int, out: list[MembershipEffect]) -> None:
        """Tell some members the news, and again later if there are more."""
        for node in self.view.draw(GOSSIP_FANOUT_COUNT):
            alive, doubts = self.words_for(node)
            if alive or doubts:
                endpoint = self.view.members[node].said.endpoint
                message = Gossip(self.me.node, node, alive, doubts)
                out.append(SendProbe(node, endpoint, message))
        if not self.view.members:
            self.news.clear()
        elif self.news:
            at_ns = now_ns + self.profile.gossip_period_ns
            self.deadlines.set((Due.GOSSIP, self.me.node), at_ns)

    def say(self, phase: int, payload: bytes, now_ns: int) -> None:
        """Have others know this of me."""
        mine = self.me
        if (phase, payload) != (mine.phase, mine.payload):
            version = mine.version + 1
            self.me = MemberAlive(
                mine.node, mine.incarnation, mine.endpoint, phase, version, payload
            )
            self.tell(self.me, now_ns)

    # -- being told --------------------------------------------------------------------------------
    def absorb(self, said: Any, now_ns: int, out: list[MembershipEffect]) -> bool:
        """Take in the news of a message; return whether they doubt me.

        Who is no member of a view of all cannot know who is dead in it.
        """
        for word in said.alive:
            self.on_alive(word, now_ns, out)
        is_stranger = not self.view.partial and said.sender not in self.view.members
        has_doubted_me = False
        for doubt in said.doubts:
            if doubt.state >= DEAD and is_stranger:
                reached("death told by a stranger")
            elif not self.over:
                has_doubted_me |= doubt.node == self.me.node
                self.on_doubt(doubt, now_ns, out)
        return has_doubted_me

    def on_alive(
        self, said: MemberAlive, now_ns: int, out: list[MembershipEffect], pass_on: bool = True
    ) -> None:
        """Take in that a member lives."""
        node = said.node
        if node == self.me.node:
            return
        if node in self.graves:
            if not self.news.has(node, MemberDoubt):
                reached("news of the dead answered with its death")
                self.tell(MemberDoubt(node, said.incarnation, DEAD, self.me.node), now_ns)
            return
        member = self.view.members.get(node)
        if member is None:
            member, unlisted = self.view.add(said)
            for gone in unlisted:
                self._forget(gone)
                out.append(MemberUnlisted(gone))
            if member is not None:
                self._heard.pop(node, None)
                self.graves.settled(said.endpoint, now_ns)
                out.append(MemberUp(said))
            elif self._is_heard(node, (said.incarnation, 0, said.version)):
                return
        else:
            known = member.said
            if said.incarnation <= known.incarnation and said.version <= known.version:
                return
            said = _newer(known, said)
            self.view.change(member, said)
            suspicion = self.doubts.suspicions.get(node)
            if suspicion is not None and suspicion.incarnation < said.incarnation:
                self.trust(node, out)
            if said.version > known.version:
                out.append(MemberChanged(said))
        if pass_on:
            self.tell(said, now_ns)

    def on_doubt(self, doubt: MemberDoubt, now_ns: int, out: list[MembershipEffect]) -> None:
        """Take in what is said against a member."""
        node = doubt.node
        if node == self.me.node:
            if doubt.state >= DEAD:
                self.fenced("declared dead", self.endpoints(), out)
            elif doubt.incarnation >= self.me.incarnation:
                self._refute(doubt.incarnation, now_ns)
            return
        if node in self.graves:
            return
        if doubt.state >= DEAD:
            self.dead(doubt, now_ns, out)
            return
        member = self.view.members.get(node)
        if member is None:
            if not self._is_heard(node, (doubt.incarnation, 1, doubt.state)):
                self.tell(doubt, now_ns)
        elif doubt.incarnation >= member.said.incarnation:
            self.suspect(doubt, now_ns, out)

    def suspect(
        self, doubt: MemberDoubt, now_ns: int, out: list[MembershipEffect]
    ) -> Suspicion | None:
        """Suspect a member of the view; return why, or None if it was proof of its death."""
        node = doubt.node
        if node not in self.doubts.suspicions:
            out.append(MemberSuspected(node))
        others_count = max(0, self.view.count_estimate - 2)
        suspicion, is_news = self.doubts.suspect(
            node, doubt.incarnation, doubt.by, others_count, now_ns
        )
        if doubt.state == REFUSED and doubt.by not in suspicion.refused:
            if self.doubts.refused(suspicion, doubt.by, others_count == 0):
                reached("death proved by refused dials")
                self.dead(MemberDoubt(node, doubt.incarnation, DEAD, self.me.node), now_ns, out)
                return None
            self.tell(doubt, now_ns)
        elif is_news and not suspicion.refused:
            self.tell(doubt, now_ns)
        if is_news:
            self.deadlines.set((Due.DEATH, node), suspicion.due_ns)
        return suspicion

    def on_death_due(self, node: PeerId, now_ns: int, out: list[MembershipEffect]) -> None:
        """Hold a suspect for dead that has not refuted in time."""
        suspicion = self.doubts.suspicions.get(node)
        if suspicion is not None and suspicion.due_ns <= now_ns:
            doubt = MemberDoubt(node, suspicion.incarnation, DEAD, self.me.node)
            self.dead(doubt, now_ns, out)

    def dead(self, doubt: MemberDoubt, now_ns: int, out: list[MembershipEffect]) -> None:
        """Hold a node for dead, or gone, for good."""
        node = doubt.node
        member = self.view.members.get(node)
        if member is None:
            self.graves.fence(node)
            out.append(MemberBuried(node))
        else:
            suspicion = self.doubts.suspicions.get(node)
            proven = doubt.state == LEFT or (suspicion is not None and bool(suspicion.refused))
            self._forget(node)
            self.view.remove(node)
            if doubt.state == LEFT:
                self.graves.fence(node)
            else:
                self.graves.bury(node, member.said.endpoint, now_ns)
            reason = "left" if doubt.state == LEFT else "dead"
            out.append(MemberDown(node, reason, proven))
        self._heard.pop(node, None)
        self.news.drop(node, MemberAlive)
        self.tell(doubt, now_ns)

    def trust(self, node: PeerId, out: list[MembershipEffect]) -> None:
        """Suspect a member no more."""
        self.doubts.end(node)
        self.deadlines.clear((Due.DEATH, node))
        self.deadlines.clear((Due.AGAIN, node))
        self.news.drop(node, MemberDoubt)
        out.append(MemberTrusted(node))

    def watch(self, node: PeerId, endpoint: str, out: list[MembershipEffect]) -> None:
        """Keep a member whatever its hash, and know it if it is not known; tell of the dead."""
        member = self.view.members.get(node)
        if node in self.graves:
            out.append(MemberDown(node, "dead"))
        elif member is not None:
            self.view.watch(member)
        elif node != self.me.node:
            said = MemberAlive(node, 0, endpoint, ACTIVE, 0, b"")
            if self.view.add(said, watched=True)[0] is not None:
                self._heard.pop(node, None)
                out.append(MemberUp(said))

    def unwatch(self, member: Member, out: list[MembershipEffect]) -> None:
        """Keep a member no longer than its hash says."""
        for gone in self.view.unwatch(member):
            self._forget(gone)
            out.append(MemberUnlisted(gone))

    def fenced(self, reason: str, where: tuple[str, ...], out: list[MembershipEffect]) -> None:
        """Learn that I am dead to others."""
        self.end()
        out.append(Fenced(reason, where))

    def end(self) -> None:
        """Do nothing any more."""
        self.over = True
        self.deadlines.clear_all()

    # -- oneself -----------------------------------------------------------------------------------
    def ail(self) -> None:
        """Take it that the fault may be here, and be slower."""
        self.health = min(HEALTH_COUNT_MAX, self.health + 1)

    def recover(self) -> None:
        """Take it that all is well here."""
        self.health = max(0, self.health - 1)

    def endpoints(self) -> tuple[str, ...]:
        """Return where some are that were buried last, and some of the other members.

        For who was declared dead: those that it held for dead may be on the side that stays.
        """
        members = self.view.members
        living = [members[node].said.endpoint for node in self.view.draw(_ENDPOINTS_TOLD_COUNT)]
        buried = [each.endpoint for each in self.graves.listed()[-_ENDPOINTS_TOLD_COUNT:]]
        return tuple(dict.fromkeys((*reversed(buried), *living)))

    def check(self) -> None:
        """Assert every invariant, of each table and between them."""
        for table in (self.view, self.news, self.doubts, self.graves, self.probes):
            table.check()
        for node in self.view.members:
            assert node not in self.graves, "a dead member is in the view"
            assert node not in self._heard, "a member is taken for an outsider"
        if self.over:
            return
        for node, suspicion in self.doubts.suspicions.items():
            assert node in self.view.members, "a stranger is suspected"
            assert suspicion.incarnation >= self.view.members[node].said.incarnation
            assert (Due.DEATH, node) in self.deadlines, "a suspicion that never ends"
        for node in self.probes.pending:
            assert node in self.view.members, "a stranger is probed"
            assert (Due.PROBE, node) in self.deadlines, "a probe that never ends"
        for node in self.probes.strains:
            assert node in self.view.members, "a link to a stranger"
        if self.news:
            assert (Due.GOSSIP, self.me.node) in self.deadlines, "news that nobody tells"

    def _refute(self, incarnation: int, now_ns: int) -> None:
        reached("suspicion refuted")
        mine = self.me
        self.me = MemberAlive(
            mine.node, incarnation + 1, mine.endpoint, mine.phase, mine.version, mine.payload
        )
        self.ail()
        self.tell(self.me, now_ns)

    def _forget(self, node: PeerId) -> None:
        """Probe and suspect a member no more."""
        self.doubts.end(node)
        self.probes.end(node)
        self.probes.ease(node)
        for due in (Due.DEATH, Due.AGAIN, Due.PROBE):
            self.deadlines.clear((due, node))

    def _is_heard(self, node: PeerId, word: tuple[int, int, int]) -> bool:
        """Return whether this, or newer, of a node outside the view was heard; note it."""
        heard = self._heard.pop(node, None)
        if heard is None and len(self._heard) >= HEARD_COUNT_MAX:
            del self._heard[next(iter(self._heard))]
        self._heard[node] = word if heard is None else max(heard, word)
        return heard is not None and heard >= word


def _newer(known: MemberAlive, said: MemberAlive) -> MemberAlive:
    """Return what is newest of two words of one member on itself."""
    latest = said if said.version > known.version else known
    incarnation = max(said.incarnation, known.incarnation)
    return MemberAlive(
        known.node, incarnation, latest.endpoint, latest.phase, latest.version, latest.payload
    )
