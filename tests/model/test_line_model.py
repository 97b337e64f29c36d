"""Two sessions over a wire that loses, repeats, reorders and breaks, against what was sent."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.unit.core.pair import Packet, Pair, Side
from zgen.limits import MS, SECOND

#: With nothing lost any more, everything has arrived and is acknowledged after this long.
HEALED_NS = 10 * SECOND

ways = st.sampled_from(["a", "b"])


class LineMachine(RuleBasedStateMachine):
    """Both sides send, and the wire does what it likes; at the end it behaves."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair().joined()
        self.sent: dict[str, list[bytes]] = {"a": [], "b": []}
        #: What was on the wire once and may come again.
        self.past: list[Packet] = []

    def side(self, name: str) -> Side:
        return self.pair.a if name == "a" else self.pair.b

    def connected(self, name: str) -> bool:
        who = self.side(name)
        return self.pair.other(who).address.peer in who.open

    def take(self, data: st.DataObject) -> Packet:
        packet = self.pair.wire.pop(data.draw(st.integers(0, len(self.pair.wire) - 1)))
        self.past = [*self.past[-20:], packet]
        return packet

    # -- what happens ------------------------------------------------------------------------------
    @rule(name=ways, count=st.integers(1, 4))
    def send(self, name: str, count: int) -> None:
        who = self.side(name)
        for _ in range(count):
            body = b"%s %d" % (name.encode(), len(self.sent[name]))
            self.sent[name].append(body)
            assert self.pair.send(who, body, item_bytes=1)

    @precondition(lambda self: self.pair.wire)
    @rule(data=st.data(), count=st.integers(1, 6))
    def deliver(self, data: st.DataObject, count: int) -> None:
        for _ in range(min(count, len(self.pair.wire))):
            self.pair.arrive(self.take(data))

    @precondition(lambda self: self.pair.wire)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        self.take(data)

    @precondition(lambda self: self.past)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        self.pair.arrive(data.draw(st.sampled_from(self.past)))

    @rule()
    def deliver_everything(self) -> None:
        self.pair.deliver_all()

    @rule()
    def connect_both(self) -> None:
        for name in ("a", "b"):
            self.connect(name)

    @rule(name=ways)
    def connect(self, name: str) -> None:
        who = self.side(name)
        if self.connected(name) and not who.session._lines[self.pair.other(who).address.peer].up:
            self.pair.up(who)

    @rule(name=ways, with_wire=st.booleans())
    def cut(self, name: str, with_wire: bool) -> None:
        if self.connected(name):
            self.pair.cut(self.side(name), with_wire=with_wire)

    @rule(by_ns=st.sampled_from([MS, 21 * MS, 260 * MS, SECOND]))
    def advance(self, by_ns: int) -> None:
        self.pair.advance(by_ns)

    # -- promises ----------------------------------------------------------------------------------
    @invariant()
    def what_arrived_is_what_was_sent_first_in_order_and_once(self) -> None:
        for name, other in (("a", self.pair.b), ("b", self.pair.a)):
            assert other.got == self.sent[name][: len(other.got)]

    @invariant()
    def what_was_not_delivered_is_kept(self) -> None:
        for name in ("a", "b"):
            who = self.side(name)
            other = self.pair.other(who)
            unacked = who.session.item_bytes_unacked(other.address.peer)
            assert unacked >= len(self.sent[name]) - len(other.got)

    @invariant()
    def nobody_is_taken_for_dead_or_refused(self) -> None:
        for who in self.pair.sides:
            assert (who.gone, who.refused) == ([], [])

    def teardown(self) -> None:
        """Let everything through from now on."""
        self.pair.drop_all()
        for _ in range(HEALED_NS // (20 * MS)):
            for name in ("a", "b"):
                self.connect(name)
            self.pair.deliver_all()
            self.pair.advance(20 * MS)
        for name, other in (("a", self.pair.b), ("b", self.pair.a)):
            assert other.got == self.sent[name], "not everything arrived"
        for who in self.pair.sides:
            peer = self.pair.other(who).address.peer
            assert who.session.item_bytes_unacked(peer) == 0, "something is never acknowledged"
        assert self.pair.wire == [], "it never falls silent"


LineMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=50)
TestLine = LineMachine.TestCase
