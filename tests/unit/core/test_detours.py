"""Detours of one process: what leaves over a link that is cut, and what comes round it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.core.names import peer
from zgen.core.detours import Detours
from zgen.core.effects import CloseConnection, Effect, OpenConnection, Report, Transmit
from zgen.core.events import Arrived, ConnectionLost, ConnectionUp, Join
from zgen.core.identity import Identity
from zgen.core.line import Due
from zgen.core.process import ProcessMachine
from zgen.core.session import Session
from zgen.exceptions import RemoteProtocolError
from zgen.ids import JobId, PeerId
from zgen.limits import RELAYED_BYTES_MAX
from zgen.wire.codec import FLAG_UNSEQUENCED, decode, decode_header, encode
from zgen.wire.detour import EndDetour, Relayed, TakeDetour
from zgen.wire.schema import Buffers
from zgen.wire.session import Address, Hello

NODE, OTHER, THIRD = peer("node"), peer("other"), peer("third")


def at(name: str, node: PeerId) -> Address:
    return Address(peer(name), 1, f"ipc://{name}", node)


class Process:
    """A process with a line to its node and one to a process of another node.

    Attributes:
        came: What came by a detour.
    """

    def __init__(self) -> None:
        self.session = Session(Identity(at("me", NODE), "3.11", "0"))
        self.came: list[Arrived] = []
        self.detours = Detours(self.session, lambda event, now, out: self.came.append(event))
        for address in (at("node", NODE), at("far", OTHER)):
            out: list[Effect] = []
            self.session.dial(address, out)
            self.session.on_connection_up(address.peer, 1, 1, out)

    def hear(self, message: Any, sender: PeerId = NODE) -> list[Effect]:
        out: list[Effect] = []
        self.detours.handlers[type(message)](sender, message, 1, out)
        return self.detours.reroute(out, 1)

    def send(self, body: bytes, to: str = "far") -> list[Effect]:
        out: list[Effect] = []
        assert self.session.send(peer(to), [body, b"more"], 1, out)
        return self.detours.reroute(out, 1)


def relayed(effects: list[Effect]) -> list[Relayed]:
    """Return what is relayed by the node, and require that nothing goes to anybody else."""
    found: list[Relayed] = []
    for effect in effects:
        if isinstance(effect, Transmit):
            assert effect.peer == NODE
            found.append(decode(effect.frames[1:]))
    return found


def frames_of(said: Relayed) -> list[bytes]:
    frames, at_byte = [], 0
    for size in said.sizes:
        frames.append(said.buffers[0][at_byte : at_byte + size])
        at_byte += size
    return frames


def test_what_was_not_acknowledged_goes_by_the_node_behind_a_hello() -> None:
    process = Process()
    process.send(b"first")
    done = process.hear(TakeDetour(OTHER, 1))
    assert done[0] == CloseConnection(peer("far"), 1)
    hello, first = relayed(done[1:])
    assert (hello.source, hello.source_node, hello.to, hello.to_node) == (
        peer("me"),
        NODE,
        peer("far"),
        OTHER,
    )
    assert (hello.incarnation, hello.epoch) == (1, 2)
    header = decode_header(frames_of(hello)[0])
    assert header.flags & FLAG_UNSEQUENCED
    assert isinstance(decode(frames_of(hello)[1:]), Hello)
    assert frames_of(first)[1:] == [b"first", b"more"]
    (second,) = relayed(process.send(b"second"))
    assert frames_of(second)[1] == b"second"


def test_lines_of_which_the_link_is_whole_stay_as_they_are() -> None:
    process = Process()
    assert process.hear(TakeDetour(THIRD, 1)) == []
    (sent,) = process.send(b"first")
    assert isinstance(sent, Transmit)
    assert sent.peer == peer("far")
    (to_node,) = process.send(b"plain", "node")
    assert isinstance(to_node, Transmit)
    assert to_node.frames[1:] == [b"plain", b"more"]


def test_what_is_no_message_and_who_has_no_line_pass_a_detour_unchanged() -> None:
    process = Process()
    process.hear(TakeDetour(OTHER, 1))
    others: list[Effect] = [
        Report("info", "nothing"),
        OpenConnection(peer("nobody"), "ipc://nobody", 1),
    ]
    assert process.detours.reroute(others, 1) == others


def test_a_line_that_is_dialled_during_a_detour_takes_it_from_the_first_hello_on() -> None:
    process = Process()
    process.hear(TakeDetour(OTHER, 1))
    out: list[Effect] = []
    process.session.dial(at("late", OTHER), out)
    (hello,) = relayed(process.detours.reroute(out, 1))
    assert (hello.to, hello.epoch) == (peer("late"), 1)


def test_a_turn_that_is_known_changes_nothing_and_a_new_one_sends_everything_again() -> None:
    process = Process()
    process.send(b"first")
    process.hear(TakeDetour(OTHER, 3))
    assert process.hear(TakeDetour(OTHER, 3)) == []
    assert process.hear(TakeDetour(OTHER, 2)) == []
    hello, first = relayed(process.hear(TakeDetour(OTHER, 4)))
    assert (hello.epoch, first.epoch) == (3, 3)


def test_the_end_of_a_detour_dials_again_and_one_that_was_not_taken_has_none() -> None:
    process = Process()
    process.hear(TakeDetour(OTHER, 1))
    assert process.hear(EndDetour(OTHER)) == [
        CloseConnection(peer("far"), 2),
        OpenConnection(peer("far"), "ipc://far", 3),
    ]
    assert process.hear(EndDetour(OTHER)) == []
    assert relayed(process.hear(TakeDetour(OTHER, 1)))


def test_the_dead_are_not_reached_by_a_detour() -> None:
    process = Process()
    assert process.session.hold_down(peer("far"), 1)
    assert process.hear(TakeDetour(OTHER, 1)) == []


def test_a_redial_is_not_waited_for() -> None:
    process = Process()
    out: list[Effect] = []
    process.session.on_connection_lost(peer("far"), 1, 1, out)
    assert (peer("far"), Due.REDIAL) in process.session.deadlines
    assert relayed(process.hear(TakeDetour(OTHER, 1))[1:])
    assert (peer("far"), Due.REDIAL) not in process.session.deadlines


def test_what_comes_by_a_detour_comes_on_a_connection_of_its_source() -> None:
    process = Process()
    there = (peer("far"), OTHER, 1, 5, peer("me"), NODE)
    process.hear(Relayed(*there, (3, 0, 2), Buffers((b"onetw",))))
    process.hear(Relayed(*there, ()))
    assert [event.frames for event in process.came] == [[b"one", b"", b"tw"], []]
    assert process.came[0].connection == b"detour %b 1 5" % peer("far")


@pytest.mark.parametrize("sizes", [(4,), (7, -2), ()])
def test_frames_of_other_sizes_than_said_are_counted_and_dropped(sizes: tuple[int, ...]) -> None:
    process = Process()
    there = (peer("far"), OTHER, 1, 5, peer("me"), NODE)
    assert process.hear(Relayed(*there, sizes, Buffers((b"5byte",)))) == []
    assert not process.came
    assert process.session.counts == {"relayed frames of other sizes than said": 1}


def test_only_the_own_node_may_speak_of_detours_and_for_this_process_alone() -> None:
    process = Process()
    there = (peer("far"), OTHER, 1, 5)
    for message in (TakeDetour(OTHER, 1), EndDetour(OTHER), Relayed(*there, peer("me"), NODE, ())):
        with pytest.raises(RemoteProtocolError, match="stranger"):
            process.hear(message, peer("far"))
    with pytest.raises(RemoteProtocolError, match="somebody else"):
        process.hear(Relayed(*there, peer("you"), NODE, ()))
    assert process.hear(TakeDetour(NODE, 1)) == []
    assert not process.detours.hops


def test_one_message_is_relayed_however_large_and_none_while_too_much_is_under_way() -> None:
    process = Process()
    ways = (peer("far"), OTHER, 1, 5, peer("me"), NODE)
    large = Relayed(*ways, (RELAYED_BYTES_MAX + 1,), Buffers((bytes(RELAYED_BYTES_MAX + 1),)))
    out: list[Effect] = []
    process.detours.send(NODE, large, 1, out)
    assert len(out) == 1
    process.detours.send(NODE, Relayed(*ways, ()), 1, out)
    assert len(out) == 1
    assert process.session.counts == {"relayed too much": 1}


def test_a_process_goes_round_a_cut_link_and_hears_what_comes_round() -> None:
    process = ProcessMachine(Identity(at("me", NODE), "3.11", "0"), executes=False)
    process.step(Join(at("node", NODE), JobId(bytes(16)), 7), 1)
    process.step(ConnectionUp(NODE, 1), 1)
    out: list[Effect] = []
    process.session.dial(at("far", OTHER), out)
    there = Session(Identity(at("node", NODE), "3.11", "0"))

    def told(message: Any) -> list[Effect]:
        said: list[Effect] = []
        there.send(peer("me"), encode(message), 1, said)
        (sent,) = said
        assert isinstance(sent, Transmit)
        return process.step(Arrived(b"node", sent.frames), 1)

    there.dial(at("me", NODE), out)
    there.on_connection_up(peer("me"), 1, 1, out)
    hello = out[-1]
    assert isinstance(hello, Transmit)
    process.step(Arrived(b"node", hello.frames), 1)
    process.step(ConnectionLost(peer("far"), 1), 1)
    assert relayed(told(TakeDetour(OTHER, 1))[1:])[0].to == peer("far")
    process.check()
    far = Session(Identity(at("far", OTHER), "3.11", "0"))
    heard: list[Effect] = []
    far.dial(at("me", NODE), heard)
    far.on_connection_up(peer("me"), 1, 1, heard)
    hi = heard[-1]
    assert isinstance(hi, Transmit)
    way = (peer("far"), OTHER, 1, 1, peer("me"), NODE)
    told(Relayed(*way, tuple(map(len, hi.frames)), Buffers((b"".join(hi.frames),))))
    assert process.session._connections[b"detour %b 1 1" % peer("far")] == peer("far")
    told(Relayed(*way, (99,)))
    assert process.session.counts["relayed frames of other sizes than said"] == 1
