"""Pings, the answers to them, and what their absence means.

Rules of this file: what is sent to whom to learn whether a member lives.

Theory of operation. A ping without an answer is repeated, then others are asked to ping as well,
and only after four tries is the member suspected: two lost messages in a hundred then make next to
no suspicions, so that a quiet cluster has nothing to gossip about, however large. Whoever suspects
goes on telling the suspect, which refutes as soon as it hears. A member that only others hear is
reported as a broken link, by both ends, since the asked one learns who asked and tries for itself.
"""

from zgen.core.marks import reached
from zgen.ids import PeerId
from zgen.wire.membership import (
    NOBODY,
    REFUSED,
    SUSPECT,
    IndirectAck,
    MemberDoubt,
    Ping,
    PingAck,
    PingRequest,
)
from zgen_node.core.membership_probes import Relay
from zgen_node.core.membership_standing import Due, Standing
from zgen_node.core.membership_words import (
    LinkBroken,
    LinkRestored,
    MembershipEffect,
    PeerRefused,
    SendProbe,
)
from zgen_node.limits import (
    INDIRECT_PROBES_COUNT,
    PROBE_TRIES_COUNT,
    PROBES_MORE_COUNT,
    PROBES_SKIPPED_COUNT_MAX,
)


class Prober:
    """Who is pinged and what follows from it."""

    def __init__(self, standing: Standing) -> None:
        """Probe the members of ``standing``."""
        self._standing = standing
        self._probes = standing.probes

    # -- asking ------------------------------------------------------------------------------------
    def on_period(self, now_ns: int, out: list[MembershipEffect]) -> None:
        """Begin the probes of one period."""
        standing = self._standing
        view = standing.view
        successor = view.successor()
        in_turn = view.next_in_turn()
        for _ in range(PROBES_SKIPPED_COUNT_MAX):
            if in_turn is None or (in_turn != successor and not self._is_asked(in_turn)):
                break
            in_turn = view.next_in_turn()
        for node in (successor, in_turn, *self._probes.strains):
            if node is not None and not self._is_asked(node):
                self.probe(node, now_ns, out)
        for node, strain in self._probes.strains.items():
            silent_ns = now_ns - strain.since_ns
            if not strain.broken and silent_ns >= standing.profile.link_broken_ns:
                strain.broken = True
                out.append(LinkBroken(node, strain.by))

    def probe(self, node: PeerId, now_ns: int, out: list[MembershipEffect]) -> None:
        """Begin to probe a member that is not asked already."""
        standing = self._standing
        probe = self._probes.begin(node, now_ns, self._try_ns())
        standing.deadlines.set((Due.PROBE, node), probe.due_ns)
        self._ping(node, probe.number, out)

    def on_try(self, node: PeerId, now_ns: int, out: list[MembershipEffect]) -> None:
        """Go on with a probe that has no answer yet."""
        probe = self._probes.pending.get(node)
        if probe is None:
            return
        if probe.tries_count >= PROBE_TRIES_COUNT:
            self._probes.end(node)
            self._standing.ail()
            self._suspect(node, SUSPECT, now_ns, out)
            self._look_round(now_ns, out)
            return
        probe.tries_count += 1
        probe.due_ns = now_ns + self._try_ns()
        self._standing.deadlines.set((Due.PROBE, node), probe.due_ns)
        self._ping(node, probe.number, out)
        if probe.tries_count > PROBE_TRIES_COUNT - 2:
            self._ask_others(node, probe.number, out)

    def on_again(self, node: PeerId, now_ns: int, out: list[MembershipEffect]) -> None:
        """Tell a suspect once more that it is suspected."""
        if node in self._standing.doubts.suspicions:
            again_ns = now_ns + self._standing.profile.suspect_again_ns
            self._standing.deadlines.set((Due.AGAIN, node), again_ns)
            self._ping(node, self._probes.number(), out)

    def on_refused(self, event: PeerRefused, now_ns: int, out: list[MembershipEffect]) -> None:
        """Take a refused dial for a sign of death, and have others dial."""
        node = event.node
        if node not in self._standing.view.members:
            return
        probe = self._probes.end(node)
        if probe is not None:
            self._standing.deadlines.clear((Due.PROBE, node))
        self._suspect(node, REFUSED, now_ns, out)

    # -- answering ---------------------------------------------------------------------------------
    def on_ping(self, said: Ping, now_ns: int, out: list[MembershipEffect]) -> None:
        """Answer; and look for oneself at a member that could not reach this one."""
        standing = self._standing
        doubted = standing.absorb(said, now_ns, out)
        if standing.over:
            return
        words = standing.words_for(said.sender, doubted)
        answer = PingAck(standing.me.node, said.sender, said.number, *words)
        out.append(SendProbe(said.sender, said.endpoint, answer))
        asker = PeerId(said.asked_by)
        if asker in standing.view.members and not self._is_asked(asker):
            self.probe(asker, now_ns, out)

    def on_ack(self, said: PingAck, now_ns: int, out: list[MembershipEffect]) -> None:
        """End the probe that this answers, or pass the answer on."""
        standing = self._standing
        node = said.sender
        standing.absorb(said, now_ns, out)
        if standing.over:
            return
        relay = self._probes.relayed(node, said.number)
        if relay is not None:
            words = standing.words_for(relay.asker)
            answer = IndirectAck(standing.me.node, relay.asker, relay.number, node, *words)
            out.append(SendProbe(relay.asker, relay.endpoint, answer))
        elif self._probes.answered(node, said.number):
            self._end(node)
        if self._probes.ease(node):
            reached("broken link restored")
            out.append(LinkRestored(node))

    def on_ping_request(self, said: PingRequest, now_ns: int, out: list[MembershipEffect]) -> None:
        """Ping for another member."""
        standing = self._standing
        standing.absorb(said, now_ns, out)
        target = said.target
        if standing.over or target in standing.graves:
            return
        relay = Relay(said.sender, said.endpoint, said.number, target)
        number = self._probes.relay(relay)
        self._ping(target, number, out, said.target_endpoint, said.sender)

    def on_indirect_ack(self, said: IndirectAck, now_ns: int, out: list[MembershipEffect]) -> None:
        """End a probe that another member answers for; the link there is strained."""
        self._standing.absorb(said, now_ns, out)
        probe = self._probes.pending.get(said.target)
        if probe is not None and probe.number == said.number:
            reached("probe answered through another member")
            self._end(said.target)
            self._probes.strain(said.target, probe.began_ns, said.sender)

    # -- inside ------------------------------------------------------------------------------------
    def _look_round(self, now_ns: int, out: list[MembershipEffect]) -> None:
        """Probe others as well, since many may have gone with one that does not answer."""
        for _ in range(PROBES_MORE_COUNT):
            node = self._standing.view.next_in_turn()
            if node is not None and not self._is_asked(node):
                self.probe(node, now_ns, out)

    def _try_ns(self) -> int:
        return self._standing.profile.try_ns * (1 + self._standing.health)

    def _is_asked(self, node: PeerId) -> bool:
        """Return whether a member is being probed, or suspected for a reason of one's own."""
        return node in self._probes.pending or (Due.AGAIN, node) in self._standing.deadlines

    def _end(self, node: PeerId) -> None:
        self._probes.end(node)
        self._standing.deadlines.clear((Due.PROBE, node))
        self._standing.recover()

    def _suspect(self, node: PeerId, state: int, now_ns: int, out: list[MembershipEffect]) -> None:
        """Suspect a member for a reason of one's own, and see to it that it hears."""
        standing = self._standing
        incarnation = standing.view.members[node].said.incarnation
        doubt = MemberDoubt(node, incarnation, state, standing.me.node)
        suspicion = standing.suspect(doubt, now_ns, out)
        if suspicion is None:
            return
        if state == REFUSED and now_ns - suspicion.asked_ns >= standing.profile.try_ns:
            suspicion.asked_ns = now_ns
            self._ask_others(node, self._probes.number(), out, doubt)
        if (Due.AGAIN, node) not in standing.deadlines:
            again_ns = now_ns + standing.profile.suspect_again_ns
            standing.deadlines.set((Due.AGAIN, node), again_ns)

    def _ping(
        self,
        node: PeerId,
        number: int,
        out: list[MembershipEffect],
        endpoint: str = "",
        asked_by: bytes = NOBODY,
    ) -> None:
        standing = self._standing
        member = standing.view.members.get(node)
        where = endpoint if member is None else member.said.endpoint
        words = standing.words_for(node)
        me = standing.me
        out.append(
            SendProbe(node, where, Ping(me.node, node, number, me.endpoint, asked_by, *words))
        )

    def _ask_others(
        self,
        node: PeerId,
        number: int,
        out: list[MembershipEffect],
        doubt: MemberDoubt | None = None,
    ) -> None:
        """Have others ping a member."""
        standing = self._standing
        me, members = standing.me, standing.view.members
        for helper in standing.view.draw(INDIRECT_PROBES_COUNT, node):
            alive, doubts = standing.words_for(helper)
            if doubt is not None and doubt not in doubts:
                doubts = (doubt, *doubts)
            request = PingRequest(
                me.node,
                helper,
                number,
                me.endpoint,
                node,
                members[node].said.endpoint,
                alive,
                doubts,
            )
            out.append(SendProbe(helper, members[helper].said.endpoint, request))
