"""Members for tests, and hands that carry what they send."""

from __future__ import annotations

from typing import Any, TypeVar

from tests.unit.node.fakes import peer
from zgen.core.events import TimerDue
from zgen.ids import PeerId
from zgen.wire.codec import decode, encode
from zgen.wire.membership import ACTIVE, MemberAlive
from zgen_node.core.membership import Membership
from zgen_node.core.membership_profile import Candidate, lan
from zgen_node.core.membership_words import Join, MembershipEvent, ProbeReceived, SendProbe

T = TypeVar("T")


def word(name: str, incarnation: int = 0, version: int = 0, payload: bytes = b"") -> MemberAlive:
    """Return what a member of this name says of itself."""
    return MemberAlive(peer(name), incarnation, f"tcp://{name}", ACTIVE, version, payload)


class Few:
    """A few members whose messages go where they should, at once, unless they are cut off.

    Attributes:
        cut: (from, to) of messages that get lost, by name.
        other: What members did beside sending, by name.
    """

    def __init__(self, names: str, full_count_max: int = 1000, partial_count: int = 256) -> None:
        self.now_ns = 0
        self.members: dict[str, Membership] = {}
        self.cut: dict[tuple[str, str], None] = {}
        self.other: dict[str, list[Any]] = {}
        self.sent: list[tuple[str, Any]] = []
        self.bounds = full_count_max, partial_count
        for name in names:
            self.add(name)
            self.step(name, Join(("tcp://a",)))

    def add(self, name: str, **said: str) -> Membership:
        words = {"cluster": "c", "python": "3.11", "release": "0.1", **said}
        candidate = Candidate(peer(name), f"tcp://{name}", seed=name.encode(), **words)
        machine = self.members[name] = Membership(candidate, lan(), *self.bounds)
        self.other[name] = []
        return machine

    def step(self, name: str, event: MembershipEvent) -> None:
        member = self.members.get(name)
        if member is None:
            return
        effects = member.step(event, self.now_ns)
        member.check()
        for effect in effects:
            if type(effect) is not SendProbe:
                self.other[name].append(effect)
        for effect in effects:
            if type(effect) is SendProbe:
                to = effect.endpoint.removeprefix("tcp://")
                self.sent.append((to, effect.message))
                if (name, to) not in self.cut:
                    self.step(to, ProbeReceived(decode(encode(effect.message))))

    def hear(self, name: str, message: Any) -> None:
        self.step(name, ProbeReceived(message))

    def isolate(self, name: str, others: str) -> None:
        for other in others:
            self.cut[name, other] = self.cut[other, name] = None

    def run(self, for_ns: int) -> None:
        end_ns = self.now_ns + for_ns
        while True:
            due = [
                (member.next_deadline_ns, name)
                for name, member in self.members.items()
                if member.next_deadline_ns is not None
            ]
            if not due or min(due)[0] > end_ns:
                self.now_ns = end_ns
                return
            at_ns, name = min(due)
            self.now_ns = max(self.now_ns, at_ns)
            self.step(name, TimerDue())

    def of(self, name: str, kind: type[T]) -> list[T]:
        return [effect for effect in self.other[name] if type(effect) is kind]

    def last(self, kind: type[T]) -> T:
        return [message for _, message in self.sent if type(message) is kind][-1]

    def knows(self, name: str) -> list[PeerId]:
        return sorted(self.members[name].standing.view.members)
