"""A node with its membership, by hand: what is passed to whom, and connections for probes."""

from __future__ import annotations

from typing import Any

from tests.unit.node.fakes import DRIVER, JOB, PYTHON, REGISTER, RELEASE, ask, cpu, peer
from tests.unit.node.members import word
from zgen.core.effects import CloseConnection, Effect, Left, OpenConnection, Report, Transmit
from zgen.core.events import Arrived, ConnectionLost, ConnectionUp, Event, Leave, TimerDue
from zgen.core.handshake_events import HandshakeFailed, Refusal
from zgen.core.identity import Identity
from zgen.core.node_effects import CheckDial, ClusterJoined, Drained, NodeFenced, NotJoined
from zgen.core.node_events import DialRefused, JoinCluster
from zgen.ids import PeerId, node_tag
from zgen.limits import MS, PUBLISH_NS, SECOND, STORE_BYTES_MIN
from zgen.wire.cluster import DrainNode, NodeState
from zgen.wire.codec import FLAG_BODY, FLAG_PROBE, FLAG_UNSEQUENCED, decode, encode, encode_header
from zgen.wire.membership import (
    DEAD,
    DRAINING,
    OTHER_RELEASE,
    SUSPECT,
    WELCOME,
    Fence,
    Gossip,
    IndirectAck,
    JoinAnswer,
    JoinRequest,
    MemberDoubt,
    Ping,
    PingAck,
)
from zgen.wire.schema import VERSION_MAX, VERSION_MIN
from zgen.wire.session import Address, Hello
from zgen_node.core.member_node import MemberNode
from zgen_node.core.membership import Membership
from zgen_node.core.membership_profile import Candidate, lan
from zgen_node.core.node import NodeMachine
from zgen_node.core.probe_lines import ProbeLines, is_probe_line, name_of
from zgen_node.limits import (
    LEAVE_PROBES_NS,
    LEAVE_WORD_NS,
    LINK_BROKEN_NS,
    PROBE_LINE_IDLE_NS,
    PROBE_LINES_COUNT_MAX,
    PROBES_WAITING_COUNT_MAX,
)

ME = peer("me")
THERE = "tcp://there"


class Hands:
    """A node whose connections come up at once, and what it sends on them."""

    def __init__(self) -> None:
        address = Address(ME, 1, "ipc://me", ME, "tcp://me", b"machine")
        node = NodeMachine(Identity(address, PYTHON, RELEASE), cpu(2), False, STORE_BYTES_MIN)
        candidate = Candidate(ME, "tcp://me", "zgen", PYTHON, RELEASE, b"seed")
        self.machine = MemberNode(node, Membership(candidate, lan()))
        self.now_ns = 1_000
        self.probes: list[Any] = []

    def step(self, event: Event) -> list[Effect]:
        """Step; keep probes, and return what else is done."""
        effects = self.machine.step(event, self.now_ns)
        self.machine.check()
        done: list[Effect] = []
        for effect in effects:
            if isinstance(effect, OpenConnection) and is_probe_line(effect.peer):
                done += self.step(ConnectionUp(effect.peer, effect.epoch))
            elif isinstance(effect, Transmit) and is_probe_line(effect.peer):
                self.probes.append(decode(effect.frames[1:]))
            else:
                done.append(effect)
        return done

    def hear(self, message: Any) -> list[Effect]:
        return self.step(probe(encode(message)))

    def membership_left(self) -> bool:
        """Return whether the members were told that this node leaves."""
        return self.machine.membership.standing.over

    def run(self, for_ns: int) -> list[Effect]:
        until_ns = self.now_ns + for_ns
        done: list[Effect] = []
        while (due_ns := self.machine.next_deadline_ns) is not None and due_ns <= until_ns:
            self.now_ns = max(self.now_ns, due_ns)
            done += self.step(TimerDue())
        self.now_ns = until_ns
        return done

    def last(self, kind: type) -> Any:
        return [each for each in self.probes if type(each) is kind][-1]

    def alone(self) -> Hands:
        assert self.step(JoinCluster(())) == [ClusterJoined(1)]
        return self

    def with_there(self) -> Hands:
        """Let another node join by this one."""
        self.alone()
        self.hear(JoinRequest(word("there", payload=payload()), "zgen", PYTHON, RELEASE))
        assert list(self.machine.node.cluster.view.members) == [peer("there")]
        return self


def payload(name: str = "there") -> bytes:
    address = Address(peer(name), 1, f"ipc://{name}", peer(name), f"tcp://{name}", b"other")
    return encode(NodeState(address, cpu(4), cpu(4), (), 0, 0))[0]


def probe(body: list[bytes]) -> Arrived:
    return Arrived(b"somebody", [encode_header(FLAG_BODY | FLAG_PROBE, 0, 0), *body])


def test_what_a_node_has_is_what_it_tells_as_it_joins() -> None:
    hands = Hands()
    assert hands.step(JoinCluster((THERE,))) == []
    said = hands.last(JoinRequest).member
    assert decode([said.payload]) == hands.machine.node.cluster.state()
    answer = JoinAnswer(peer("there"), ME, WELCOME, "", (word("there", payload=payload()),), ())
    assert hands.hear(answer) == [ClusterJoined(2)]
    assert hands.machine.node.cluster.view.members[peer("there")].free == {"CPU": 40_000}


def test_a_node_that_is_refused_or_dead_says_so_and_does_nothing_more() -> None:
    hands = Hands()
    hands.step(JoinCluster((THERE,)))
    assert hands.hear(JoinAnswer(peer("there"), ME, OTHER_RELEASE, "old", (), ())) == [
        NotJoined("old")
    ]
    assert hands.machine.next_deadline_ns is None
    assert hands.step(Leave("stopped")) == []

    hands = Hands().with_there()
    fence = Fence(peer("there"), ME, THERE, 9, peer("a"), False)
    (fenced,) = hands.hear(fence)
    assert isinstance(fenced, NodeFenced)
    assert fenced.endpoints == (THERE,)
    assert hands.step(TimerDue()) == []


def test_what_is_free_is_published_when_it_changes() -> None:
    hands = Hands().with_there()
    hands.run(1 * SECOND)
    address = Address(DRIVER, 1, "ipc://driver", ME)
    hello = Hello(address, ME, 1, 1, VERSION_MIN, VERSION_MAX, PYTHON, RELEASE)
    header = encode_header(FLAG_BODY | FLAG_UNSEQUENCED, 0, 0)
    hands.step(Arrived(b"driver", [header, *encode(hello)]))
    hands.step(ConnectionUp(DRIVER, 1))
    before = hands.machine.membership.standing.me.version
    for seq, said in enumerate((REGISTER, ask("a", of=JOB)), start=1):
        hands.step(Arrived(b"driver", [encode_header(FLAG_BODY, seq, 0), *encode(said)]))
    hands.run(PUBLISH_NS)
    me = hands.machine.membership.standing.me
    assert me.version > before
    assert decode([me.payload]).free == cpu(1)


def test_a_member_that_dies_is_gone_for_the_node() -> None:
    hands = Hands().with_there()
    hands.hear(JoinRequest(word("third", payload=payload("third")), "zgen", PYTHON, RELEASE))
    doubt = MemberDoubt(peer("third"), 0, DEAD, peer("there"))
    done = hands.hear(Gossip(peer("there"), ME, (), (doubt,)))
    assert [type(each) for each in done] == [Report]
    assert list(hands.machine.node.cluster.view.members) == [peer("there")]


def test_a_node_that_was_dead_before_this_one_came_is_not_waited_for() -> None:
    hands = Hands().with_there()
    view = hands.machine.node.cluster.view
    assert view.may_come(node_tag(peer("third")))
    doubt = MemberDoubt(peer("third"), 0, DEAD, peer("there"))
    assert [type(each) for each in hands.hear(Gossip(peer("there"), ME, (), (doubt,)))] == []
    assert view.is_gone(peer("third"))
    assert not view.may_come(node_tag(peer("third")))


def test_who_is_not_heard_of_and_who_is_again_is_reported() -> None:
    hands = Hands().with_there()
    hands.hear(JoinRequest(word("third", payload=payload("third")), "zgen", PYTHON, RELEASE))
    doubt = MemberDoubt(peer("third"), 1, SUSPECT, peer("there"))
    said = hands.hear(Gossip(peer("there"), ME, (), (doubt,)))
    alive = word("third", incarnation=2, payload=payload("third"))
    said += hands.hear(Gossip(peer("there"), ME, (alive,), ()))
    texts = [each.text for each in said if isinstance(each, Report)]
    assert [text.partition(" is ")[2] for text in texts] == ["not heard of", "heard of again"]


def test_a_refused_dial_of_the_only_other_member_is_its_death() -> None:
    hands = Hands().with_there()
    name = name_of(THERE)
    epoch = hands.machine.lines.lines[name].epoch
    assert hands.step(DialRefused(THERE)) == []  # nobody asked
    effects = hands.machine.step(ConnectionLost(name, epoch), hands.now_ns)
    epoch += 1
    assert effects == [OpenConnection(name, THERE, epoch)]
    assert hands.step(ConnectionLost(name, epoch)) == [
        CloseConnection(name, epoch),
        CheckDial(THERE),
    ]
    assert hands.step(ConnectionLost(name, epoch)) == []
    hands.step(DialRefused(THERE))
    assert not hands.machine.node.cluster.view.members


def test_malformed_probes_and_words_of_nobody_are_counted() -> None:
    hands = Hands().alone()
    assert [type(each) for each in hands.step(probe([b"\xff"]))] == [Report]
    hands.step(probe([b"\xff"]))
    assert hands.step(probe([b"\xff"])) == []
    assert hands.machine.counts == {"malformed probe": 3}
    assert [type(each) for each in hands.hear(REGISTER)] == [Report]
    assert hands.step(Arrived(b"x", [])) != []  # the session's to refuse


def test_connections_of_the_session_are_the_nodes() -> None:
    hands = Hands().alone()
    for event in (
        ConnectionUp(DRIVER, 1),
        ConnectionLost(DRIVER, 1),
        HandshakeFailed(DRIVER, 1, Refusal.OTHER_KEY),
        HandshakeFailed(name_of(THERE), 1, Refusal.OTHER_KEY),
    ):
        assert hands.step(event) == []


def test_a_link_that_works_for_others_only_is_reported() -> None:
    hands = Hands().with_there()
    hands.hear(JoinRequest(word("third", payload=payload("third")), "zgen", PYTHON, RELEASE))
    said: list[Effect] = []
    for _ in range(40):
        del hands.probes[:]
        said += hands.run(LINK_BROKEN_NS // 16)
        for each in list(hands.probes):
            if not isinstance(each, Ping):
                continue
            if each.to == peer("there"):
                hands.hear(PingAck(peer("there"), ME, each.number, (), ()))
            else:
                hands.hear(IndirectAck(peer("there"), ME, each.number, peer("third"), (), ()))
    assert any("lives, but not for this one" in e.text for e in said if isinstance(e, Report))
    byways = hands.machine.node.cluster.byways
    assert byways.hop_to(peer("third")) == peer("there")
    del hands.probes[:]
    hands.run(LINK_BROKEN_NS // 2)
    to_third = [e for e in hands.probes if isinstance(e, Ping) and e.to == peer("third")]
    hands.hear(PingAck(peer("third"), ME, to_third[-1].number, (), ()))
    assert not byways.is_cut(peer("third"))


def test_a_node_that_leaves_waits_until_others_can_have_heard() -> None:
    hands = Hands().with_there()
    assert Left() not in hands.step(Leave("stopped"))
    assert hands.last(Gossip).doubts
    assert hands.run(LEAVE_PROBES_NS) == [Left()]
    lonely = Hands().alone()
    assert Left() in lonely.step(Leave("stopped"))


def test_the_end_is_not_held_back_longer_than_that() -> None:
    """What is not acknowledged by then ends the node by its own deadline."""
    hands = Hands().with_there()
    address = Address(DRIVER, 1, "ipc://driver", ME)
    hello = Hello(address, ME, 1, 1, VERSION_MIN, VERSION_MAX, PYTHON, RELEASE)
    header = encode_header(FLAG_BODY | FLAG_UNSEQUENCED, 0, 0)
    hands.step(Arrived(b"driver", [header, *encode(hello)]))
    hands.step(ConnectionUp(DRIVER, 1))
    hands.step(Arrived(b"driver", [encode_header(FLAG_BODY, 1, 0), *encode(REGISTER)]))
    assert Left() not in hands.step(Leave("stopped"))
    assert not hands.membership_left()
    assert Left() not in hands.run(LEAVE_WORD_NS)
    assert hands.membership_left()  # it says so although its line is not flushed
    assert hands.step(Leave("stopped again")) == []
    assert Left() in hands.run(5 * SECOND)


def test_a_node_that_drains_says_so_to_members_too() -> None:
    hands = Hands().with_there()
    address = Address(peer("tool"), 1, "ipc://tool", ME)
    hello = Hello(address, ME, 1, 1, VERSION_MIN, VERSION_MAX, PYTHON, RELEASE)
    header = encode_header(FLAG_BODY | FLAG_UNSEQUENCED, 0, 0)
    hands.step(Arrived(b"tool", [header, *encode(hello)]))
    hands.step(ConnectionUp(peer("tool"), 1))
    hands.run(PUBLISH_NS)
    said = DrainNode(1, SECOND)
    done = hands.step(Arrived(b"tool", [encode_header(FLAG_BODY, 1, 0), *encode(said)]))
    assert Drained() in done
    assert hands.machine.membership.standing.me.phase == DRAINING


# -- connections ---------------------------------------------------------------------------------
PING = Ping(ME, peer("there"), 1, "tcp://me", b"", (), ())


def sent(lines: ProbeLines, endpoint: str, now_ns: int, node: bytes = b"") -> list[Effect]:
    out: list[Effect] = []
    lines.send(node, endpoint, PING, now_ns, out)
    lines.check()
    return out


def test_probes_wait_for_their_connection_up_to_a_bound() -> None:
    lines, name = ProbeLines(), name_of(THERE)
    assert sent(lines, THERE, 0) == [OpenConnection(name, THERE, 1)]
    for _ in range(PROBES_WAITING_COUNT_MAX + 3):
        assert sent(lines, THERE, 0) == []
    out: list[Effect] = []
    lines.on_up(name, 9, out)
    lines.on_up(PeerId(b"another name"), 1, out)
    assert out == []
    lines.on_up(name, 1, out)
    assert len(out) == PROBES_WAITING_COUNT_MAX
    assert [type(each) for each in sent(lines, THERE, 0)] == [Transmit]


def test_idle_connections_are_closed_and_used_ones_stay() -> None:
    lines = ProbeLines()
    sent(lines, "tcp://a", 0)
    sent(lines, "tcp://b", 1)
    sent(lines, "tcp://c", 2)
    sent(lines, "tcp://a", 5 * MS)
    out: list[Effect] = []
    lines.on_timer(PROBE_LINE_IDLE_NS - 1, out)
    assert out == []
    lines.on_timer(PROBE_LINE_IDLE_NS + 2, out)
    assert out == [CloseConnection(name_of("tcp://b"), 2), CloseConnection(name_of("tcp://c"), 3)]
    due_ns = lines.deadlines.next_ns
    assert due_ns == PROBE_LINE_IDLE_NS + 5 * MS
    lines.on_timer(due_ns, out)
    assert not lines.lines
    lines.on_timer(due_ns, out)
    assert len(out) == 3
    lines.check()


def test_there_are_so_many_connections_and_checks_and_no_more() -> None:
    lines = ProbeLines()
    for number in range(PROBE_LINES_COUNT_MAX):
        sent(lines, f"tcp://{number}", number, b"m")
    (closed, _) = sent(lines, "tcp://more", 1, b"m")
    assert closed == CloseConnection(name_of("tcp://0"), 1)
    out: list[Effect] = []
    for name, line in list(lines.lines.items()):
        lines.on_lost(name, line.epoch, out)
    sent(lines, "tcp://0", 1, b"m")
    lines.on_lost(name_of("tcp://0"), PROBE_LINES_COUNT_MAX + 2, out)
    assert lines.take_refused("tcp://1") is None  # the oldest went
    assert lines.take_refused("tcp://2") == PeerId(b"m")


def test_a_place_of_which_no_member_is_known_is_not_checked() -> None:
    lines, out = ProbeLines(), list[Effect]()
    sent(lines, THERE, 0)
    lines.on_lost(name_of(THERE), 1, out)
    assert out == [CloseConnection(name_of(THERE), 1)]
