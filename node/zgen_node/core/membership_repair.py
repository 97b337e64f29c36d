"""Joining, comparing what two members know, and which side of a healed cut stays.

Rules of this file: what is said at length, and rarely.

Theory of operation. What news missed is found by comparing: one member sends sums over its view,
the other answers with what it knows where the sums differ, and is answered likewise. Members of a
cluster too large to know all tell each other of samples instead. The dead are tried now and then,
since they may be alive behind a cut. When it heals, the two sides hold each other for dead, and one
must end: the smaller one. Each of its members is told by whoever tries it, and joins the other side
anew.
"""

from zgen.core.backoff import backoff_ns
from zgen.core.effects import Report
from zgen.core.marks import reached
from zgen.ids import PeerId, short
from zgen.wire.membership import (
    DEAD,
    DECLARED_DEAD,
    ID_TAKEN,
    NOBODY,
    OTHER_CLUSTER,
    OTHER_PYTHON,
    OTHER_RELEASE,
    WELCOME,
    Digest,
    Fence,
    JoinAnswer,
    JoinRequest,
    MemberAlive,
    MemberDoubt,
    PushPull,
)
from zgen_node.core.membership_profile import Candidate
from zgen_node.core.membership_standing import Due, Standing
from zgen_node.core.membership_view import bucket_of, buckets_that_differ
from zgen_node.core.membership_words import (
    Joined,
    JoinRefused,
    MemberBuried,
    MembershipEffect,
    SendProbe,
)
from zgen_node.limits import GRAVES_TRIED_COUNT, SAMPLE_COUNT


class Repair:
    """How one member comes in, and how its view is kept right.

    Attributes:
        joined: Whether it is in.
    """

    def __init__(self, standing: Standing, candidate: Candidate) -> None:
        """Start outside."""
        self.joined = False
        self._standing = standing
        self._candidate = candidate
        self._seeds: tuple[str, ...] = ()
        self._attempt = 0

    # -- joining -----------------------------------------------------------------------------------
    def join(self, seeds: tuple[str, ...], now_ns: int, out: list[MembershipEffect]) -> None:
        """Ask seeds to be let in, or be the first member if there are none."""
        self._seeds = tuple(seed for seed in seeds if seed != self._standing.me.endpoint)
        if not self._seeds:
            self._come_in(out)
        else:
            self.ask(now_ns, out)

    def ask(self, now_ns: int, out: list[MembershipEffect]) -> None:
        """Ask the next seed."""
        profile, candidate = self._standing.profile, self._candidate
        seed = self._seeds[self._attempt % len(self._seeds)]
        self._attempt += 1
        request = JoinRequest(
            self._standing.me, candidate.cluster, candidate.python, candidate.release
        )
        out.append(SendProbe(NOBODY, seed, request))
        rounds = 2 + (self._attempt - 1) // len(self._seeds)
        wait_ns = backoff_ns(
            rounds, profile.join_retry_first_ns, profile.join_retry_ns_max, candidate.seed
        )
        self._standing.deadlines.set((Due.JOIN, self._standing.me.node), now_ns + wait_ns)

    def on_request(self, said: JoinRequest, now_ns: int, out: list[MembershipEffect]) -> None:
        """Let a node in, or say why not; one that is in is answered again."""
        standing = self._standing
        node, endpoint = said.member.node, said.member.endpoint
        refusal, detail = self._refusal(said)
        if refusal:
            out.append(Report("warning", f"join of {short(node)} at {endpoint} refused: {detail}"))
            answer = JoinAnswer(standing.me.node, node, refusal, detail, (), ())
        else:
            standing.on_alive(said.member, now_ns, out)
            members = standing.view.members
            listed = [members[each].said for each in members if each != node]
            dead = tuple(standing.graves.told())
            answer = JoinAnswer(standing.me.node, node, WELCOME, "", (standing.me, *listed), dead)
        out.append(SendProbe(node, endpoint, answer))

    def on_answer(self, said: JoinAnswer, now_ns: int, out: list[MembershipEffect]) -> None:
        """Be in, or not; a second answer changes nothing."""
        standing = self._standing
        if self.joined:
            return
        if said.refusal == DECLARED_DEAD:
            standing.fenced(said.detail, self._seeds, out)
            return
        if said.refusal:
            standing.end()
            out.append(JoinRefused(said.refusal, said.detail))
            return
        standing.deadlines.clear((Due.JOIN, standing.me.node))
        self._take_in(said, False, now_ns, out)
        self._come_in(out)
        standing.tell(standing.me, now_ns)  # who let it in may be gone before it has told others

    # -- comparing ---------------------------------------------------------------------------------
    def compare(self, out: list[MembershipEffect]) -> None:
        """Ask one member to compare what both know."""
        standing = self._standing
        standing.view.widen()
        me = standing.me
        for node in standing.view.draw(1):
            digest = Digest(me.node, node, me.endpoint, standing.view.summary(me))
            out.append(SendProbe(node, standing.view.members[node].said.endpoint, digest))

    def on_digest(self, said: Digest, now_ns: int, out: list[MembershipEffect]) -> None:
        """Tell what is known here where the sums differ, if they do."""
        self._push(said.sender, said.endpoint, said.sums, False, out)

    def on_push_pull(self, said: PushPull, now_ns: int, out: list[MembershipEffect]) -> None:
        """Take in what another member knows, and tell it what it lacks."""
        if not said.answer:
            self._push(said.sender, said.endpoint, said.sums, True, out)
        self._take_in(said, not self._standing.view.partial, now_ns, out)

    # -- the dead ----------------------------------------------------------------------------------
    def try_the_dead(self, now_ns: int, out: list[MembershipEffect]) -> None:
        """Tell one of the dead that it is dead, if it can hear.

        Each member does so with the freshly dead, few of them with the others.
        """
        standing = self._standing
        tried = standing.graves.draw_fresh(now_ns, standing.dice.below)
        if tried is not None:
            self.fence_off(*tried, False, out)
        if standing.dice.below(standing.view.count_estimate) < GRAVES_TRIED_COUNT:
            tried = standing.graves.draw_old(standing.dice.below)
            if tried is not None:
                self.fence_off(*tried, False, out)

    def fence_off(
        self, node: PeerId, endpoint: str, answer: bool, out: list[MembershipEffect]
    ) -> None:
        """Tell a node that it is dead."""
        view, me = self._standing.view, self._standing.me
        fence = Fence(me.node, node, me.endpoint, view.count_estimate, view.lowest, answer)
        out.append(SendProbe(node, endpoint, fence))

    def on_fence(self, said: Fence, now_ns: int, out: list[MembershipEffect]) -> None:
        """End, unless the sender is dead here as well and on the smaller side."""
        standing = self._standing
        view = standing.view
        mine = (view.count_estimate, _inverted(view.lowest))
        stays = said.sender not in view.members and mine > (said.count, _inverted(said.lowest))
        if not stays:
            where = tuple(dict.fromkeys((said.endpoint, *standing.endpoints())))
            standing.fenced(f"declared dead by {short(said.sender)}", where, out)
            return
        reached("smaller side of a cut told to end")
        standing.graves.stir(said.sender, now_ns)
        if not said.answer:
            self.fence_off(said.sender, said.endpoint, True, out)

    # -- inside ------------------------------------------------------------------------------------
    def _come_in(self, out: list[MembershipEffect]) -> None:
        self.joined = True
        out.append(Joined(len(self._standing.view) + 1))

    def _refusal(self, said: JoinRequest) -> tuple[int, str]:
        mine, node = self._candidate, said.member.node
        if said.cluster != mine.cluster:
            return OTHER_CLUSTER, f"cluster {said.cluster!r} there, {mine.cluster!r} here"
        if said.release != mine.release:
            return OTHER_RELEASE, f"zgen {said.release} there, {mine.release} here"
        if said.python != mine.python:
            return OTHER_PYTHON, f"Python {said.python} there, {mine.python} here"
        if node in self._standing.graves:
            return DECLARED_DEAD, f"{short(node)} was declared dead"
        known = self._standing.view.members.get(node)
        at = self._standing.me.endpoint if node == mine.node else ""
        if known is not None:
            at = known.said.endpoint
        if at and at != said.member.endpoint:
            return ID_TAKEN, f"{short(node)} is at {at}"
        return WELCOME, ""

    def _take_in(
        self, said: JoinAnswer | PushPull, pass_on: bool, now_ns: int, out: list[MembershipEffect]
    ) -> None:
        """Learn what another member knows; what is news where all know all, others may lack too."""
        standing = self._standing
        for word in said.members:
            standing.on_alive(word, now_ns, out, pass_on)
        for each in said.dead:
            if each.node == standing.me.node:
                standing.fenced("declared dead", standing.endpoints(), out)
                return
            if each.node in standing.view.members:
                reached("death heard of late")
                doubt = MemberDoubt(each.node, 0, DEAD, standing.me.node)
                standing.dead(doubt, now_ns, out)
            elif each.node not in standing.graves:
                if each.endpoint:
                    standing.graves.bury(each.node, each.endpoint, now_ns)
                else:
                    standing.graves.fence(each.node)
                out.append(MemberBuried(each.node))

    def _push(
        self, node: PeerId, endpoint: str, sums: bytes, answer: bool, out: list[MembershipEffect]
    ) -> None:
        standing = self._standing
        me, view = standing.me, standing.view
        mine = view.summary(me)
        members: tuple[MemberAlive, ...]
        if mine and sums:
            differ = buckets_that_differ(mine, sums)
            if not differ:
                return
            chosen = dict.fromkeys(differ)
            everybody = (me, *(each.said for each in view.members.values()))
            members = tuple(said for said in everybody if bucket_of(said.node) in chosen)
            dead = tuple(
                each for each in standing.graves.listed() if bucket_of(each.node) in chosen
            )
        else:
            sample = view.draw(SAMPLE_COUNT - 1)
            members = (me, *(view.members[each].said for each in sample))
            dead = ()
        out.append(
            SendProbe(
                node, endpoint, PushPull(me.node, node, me.endpoint, mine, answer, members, dead)
            )
        )


def _inverted(node: PeerId) -> bytes:
    """Return what is greater for a lower id."""
    return bytes(255 - byte for byte in node)
