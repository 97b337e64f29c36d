"""Membership of one node: who is in the cluster, who is suspected, who is dead.

Rules of this file: what happens when; who may say what. What follows is decided below.

Theory of operation. SWIM with Lifeguard: each period a member pings its successor round the ring of
ids and the next of all others in turn (``membership_prober``); what it learns travels on whatever
is sent anyway, and in messages of its own while there are news (``membership_news``). A suspected
member refutes or is dead (``membership_doubts``, ``membership_standing``), for good. Views are
compared now and then, and a cut that heals ends one of its sides (``membership_repair``). Time in
which this machine was not stepped counts as nobody's silence.

Who drives it sends each ``SendProbe`` outside the session, steps ``ProbeReceived`` for each message
of ``zgen.wire.membership`` that comes in, and ``TimerDue`` at ``next_deadline_ns``.
"""

from collections.abc import Callable
from typing import Any

from zgen.core.effects import Report
from zgen.core.events import Leave, TimerDue
from zgen.core.marks import reached
from zgen.ids import PeerId, short
from zgen.limits import MEMBER_PAYLOAD_BYTES_MAX
from zgen.wire.membership import (
    DRAINING,
    LEFT,
    Digest,
    Fence,
    Gossip,
    IndirectAck,
    JoinAnswer,
    JoinRequest,
    MemberAlive,
    MemberDoubt,
    Ping,
    PingAck,
    PingRequest,
    PushPull,
)
from zgen_node.core.membership_prober import Prober
from zgen_node.core.membership_profile import Candidate, Profile, lan
from zgen_node.core.membership_repair import Repair
from zgen_node.core.membership_standing import Due, Standing
from zgen_node.core.membership_words import (
    Drain,
    Join,
    LeftCluster,
    MembershipEffect,
    MembershipEvent,
    PeerRefused,
    ProbeReceived,
    Publish,
    SendProbe,
    UnwatchMember,
    WatchMember,
)
from zgen_node.limits import (
    ENDPOINT_BYTES_MAX,
    LEAVE_FANOUT_COUNT,
    LEAVE_REPEATS_COUNT,
    MEMBERS_FULL_COUNT_MAX,
    MEMBERS_PARTIAL_COUNT,
)


class Membership:
    """One member of one cluster.

    Attributes:
        next_deadline_ns: When ``TimerDue`` is wanted, or None.
        standing: What it holds to be true.
        counts: How often what was dropped, by reason.
    """

    def __init__(
        self,
        candidate: Candidate,
        profile: Profile | None = None,
        full_count_max: int = MEMBERS_FULL_COUNT_MAX,
        partial_count: int = MEMBERS_PARTIAL_COUNT,
    ) -> None:
        """Start outside; ``Join`` is the first event."""
        self.next_deadline_ns: int | None = None
        self.standing = Standing(candidate, profile or lan(), full_count_max, partial_count)
        self.counts: dict[str, int] = {}
        self._prober = Prober(self.standing)
        self._repair = Repair(self.standing, candidate)
        self._handlers: dict[type, Callable[[Any, int, list[MembershipEffect]], None]] = {
            ProbeReceived: self._on_probe_received,
            TimerDue: self._on_timer_due,
            Join: self._on_join,
            PeerRefused: self._on_peer_refused,
            Publish: self._on_publish,
            Drain: self._on_drain,
            WatchMember: self._on_watch,
            UnwatchMember: self._on_unwatch,
            Leave: self._on_leave,
        }
        self._messages: dict[type, Callable[[Any, int, list[MembershipEffect]], None]] = {
            Ping: self._prober.on_ping,
            PingAck: self._prober.on_ack,
            PingRequest: self._prober.on_ping_request,
            IndirectAck: self._prober.on_indirect_ack,
            Gossip: self._on_gossip,
            Digest: self._repair.on_digest,
            PushPull: self._repair.on_push_pull,
            JoinAnswer: self._on_join_answer,
            Fence: self._repair.on_fence,
        }

    @property
    def joined(self) -> bool:
        """Whether this node is a member."""
        return self._repair.joined and not self.standing.over

    def step(self, event: MembershipEvent, now_ns: int) -> list[MembershipEffect]:
        """Absorb one event and return what is to be done, in order."""
        out: list[MembershipEffect] = []
        if not self.standing.over:
            handler = self._handlers.get(type(event))
            assert handler is not None, f"a member is never told {event}"
            handler(event, now_ns, out)
        self.next_deadline_ns = self.standing.deadlines.next_ns
        return out

    def check(self) -> None:
        """Assert every invariant."""
        self.standing.check()
        if self.joined:
            assert (Due.PERIOD, self.standing.me.node) in self.standing.deadlines

    # -- oneself -----------------------------------------------------------------------------------
    def _on_join(self, event: Join, now_ns: int, out: list[MembershipEffect]) -> None:
        self._repair.join(event.seeds, now_ns, out)
        self._begin(now_ns)

    def _begin(self, now_ns: int) -> None:
        """Begin the periods once this node is in, each at a moment of its own."""
        standing, me = self.standing, self.standing.me.node
        if self.joined and (Due.PERIOD, me) not in standing.deadlines:
            profile = standing.profile
            standing.deadlines.set(
                (Due.PERIOD, me), now_ns + standing.dice.below(profile.period_ns)
            )
            standing.deadlines.set(
                (Due.REPAIR, me), now_ns + standing.dice.below(profile.repair_period_ns)
            )

    def _on_publish(self, event: Publish, now_ns: int, out: list[MembershipEffect]) -> None:
        assert len(event.payload) <= MEMBER_PAYLOAD_BYTES_MAX
        self.standing.say(self.standing.me.phase, event.payload, now_ns)

    def _on_drain(self, event: Drain, now_ns: int, out: list[MembershipEffect]) -> None:
        self.standing.say(DRAINING, self.standing.me.payload, now_ns)

    def _on_leave(self, event: Leave, now_ns: int, out: list[MembershipEffect]) -> None:
        """Tell some members that this one goes, and end; they tell the others."""
        standing, me = self.standing, self.standing.me
        gone = (MemberDoubt(me.node, me.incarnation, LEFT, me.node),)
        for node in standing.view.draw(LEAVE_FANOUT_COUNT) * LEAVE_REPEATS_COUNT:
            endpoint = standing.view.members[node].said.endpoint
            out.append(SendProbe(node, endpoint, Gossip(me.node, node, (), gone)))
        standing.end()
        out.append(LeftCluster())

    # -- others ------------------------------------------------------------------------------------
    def _on_watch(self, event: WatchMember, now_ns: int, out: list[MembershipEffect]) -> None:
        self.standing.watch(event.node, event.endpoint, out)

    def _on_unwatch(self, event: UnwatchMember, now_ns: int, out: list[MembershipEffect]) -> None:
        member = self.standing.view.members.get(event.node)
        if member is not None:
            self.standing.unwatch(member, out)

    def _on_peer_refused(
        self, event: PeerRefused, now_ns: int, out: list[MembershipEffect]
    ) -> None:
        self._prober.on_refused(event, now_ns, out)

    # -- messages ----------------------------------------------------------------------------------
    def _on_probe_received(
        self, event: ProbeReceived, now_ns: int, out: list[MembershipEffect]
    ) -> None:
        message = event.message
        if type(message) is JoinRequest:
            if not _is_sound((message.member,)):
                self._refuse("unsound word of a member", short(message.member.node), out)
            elif self.joined:
                self._repair.on_request(message, now_ns, out)
            return
        handler = self._messages.get(type(message))
        if handler is None:
            self._refuse("unexpected message", type(message).__name__, out)
        elif message.to != self.standing.me.node:
            reached("message to whom was here before")
        elif not _is_sound(_words_in(message)):
            self._refuse("unsound word of a member", short(message.sender), out)
        elif not self.joined and type(message) is not JoinAnswer:
            reached("message before being in")
        elif message.sender in self.standing.graves and type(message) is not Fence:
            self._on_word_of_the_dead(message, now_ns, out)
        else:
            handler(message, now_ns, out)

    def _on_word_of_the_dead(self, message: Any, now_ns: int, out: list[MembershipEffect]) -> None:
        reached("word of the dead dropped")
        if type(message) in (Ping, PingRequest, Digest, PushPull):
            self.standing.graves.stir(message.sender, now_ns)
            self._repair.fence_off(message.sender, message.endpoint, False, out)

    def _on_join_answer(self, said: JoinAnswer, now_ns: int, out: list[MembershipEffect]) -> None:
        self._repair.on_answer(said, now_ns, out)
        self._begin(now_ns)

    def _on_gossip(self, said: Gossip, now_ns: int, out: list[MembershipEffect]) -> None:
        if self.standing.absorb(said, now_ns, out) and not self.standing.over:
            self.standing.tell(self.standing.me, now_ns)

    def _refuse(self, reason: str, detail: str, out: list[MembershipEffect]) -> None:
        """Count what a member may not say, and report it the 1st, 2nd, 4th, 8th ... time."""
        count = self.counts[reason] = self.counts.get(reason, 0) + 1
        if count & (count - 1) == 0:
            out.append(Report("warning", f"{reason} ({count}): {detail}"))

    # -- time --------------------------------------------------------------------------------------
    def _on_timer_due(self, event: TimerDue, now_ns: int, out: list[MembershipEffect]) -> None:
        standing = self.standing
        due_ns = standing.deadlines.next_ns
        if due_ns is None:
            return
        if now_ns - due_ns > standing.profile.try_ns // 2:
            reached("time not stepped is nobody's silence")
            self._excuse(now_ns - due_ns)
        for due, node in standing.deadlines.pop_due(now_ns):
            self._on_due(due, node, now_ns, out)

    def _excuse(self, late_ns: int) -> None:
        """Let everybody have the time in which nothing was heard here."""
        standing = self.standing
        standing.ail()
        for node, suspicion in standing.doubts.shift(late_ns):
            standing.deadlines.set((Due.DEATH, node), suspicion.due_ns)
        for node, probe in standing.probes.shift(late_ns):
            standing.deadlines.set((Due.PROBE, node), probe.due_ns)

    def _on_due(self, due: Due, node: PeerId, now_ns: int, out: list[MembershipEffect]) -> None:
        standing, profile = self.standing, self.standing.profile
        match due:
            case Due.PERIOD:
                standing.deadlines.set((due, node), now_ns + profile.period_ns)
                self._prober.on_period(now_ns, out)
                self._repair.try_the_dead(now_ns, out)
            case Due.GOSSIP:
                standing.gossip(now_ns, out)
            case Due.REPAIR:
                standing.deadlines.set((due, node), now_ns + profile.repair_period_ns)
                self._repair.compare(out)
            case Due.JOIN:
                self._repair.ask(now_ns, out)
            case Due.PROBE:
                self._prober.on_try(node, now_ns, out)
            case Due.AGAIN:
                self._prober.on_again(node, now_ns, out)
            case _:
                assert due is Due.DEATH
                standing.on_death_due(node, now_ns, out)


def _words_in(message: Any) -> tuple[MemberAlive, ...]:
    words: tuple[MemberAlive, ...] = getattr(message, "alive", ())
    return words or getattr(message, "members", ())


def _is_sound(words: tuple[MemberAlive, ...]) -> bool:
    """Return whether what members say of themselves is within bounds."""
    return all(
        len(said.payload) <= MEMBER_PAYLOAD_BYTES_MAX and len(said.endpoint) <= ENDPOINT_BYTES_MAX
        for said in words
    )
