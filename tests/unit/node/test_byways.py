"""Ways round cut links: when they are taken, by whom, who is told, and what passes here."""

from __future__ import annotations

from tests.unit.node.clusters import EAST, FAR_DRIVER, WEST, Among, messages, state
from tests.unit.node.fakes import DRIVER, JOB, NODE, peer
from zgen.core.effects import CloseConnection, Effect, OpenConnection, Send
from zgen.core.node_events import LinkCut, LinkHealed
from zgen.ids import NO_PEER, PeerId
from zgen.limits import DETOUR_TRY_NS
from zgen.wire.codec import FLAG_BODY, decode, encode, encode_header
from zgen.wire.detour import EndDetour, NoDetour, Relayed, TakeDetour
from zgen.wire.object import WatchProcess
from zgen.wire.schema import Buffers
from zgen.wire.session import Hello

SOUTH = peer("south")


def relay(
    source: PeerId, source_node: PeerId, to: PeerId, to_node: PeerId, frame: bytes = b"frame"
) -> Relayed:
    return Relayed(source, source_node, 1, 5, to, to_node, (len(frame),), Buffers((frame,)))


def inner(said: object) -> object:
    """Return the message that a relayed one carries."""
    assert isinstance(said, Relayed)
    (joined,) = said.buffers
    return decode([joined[said.sizes[0] : said.sizes[0] + said.sizes[1]]])


class Linked(Among):
    """A node with a driver beside two others."""

    def __init__(self, *others: PeerId) -> None:
        super().__init__(cpus=2)
        self.join(DRIVER, 1, NODE)
        self.drive_again(DRIVER, JOB)
        for node in others or (EAST, WEST):
            self.member(state(node))

    def cut(self, node: PeerId = EAST, by: PeerId = WEST) -> list[Effect]:
        return self.step(LinkCut(node, by))

    def hop(self, node: PeerId = EAST) -> PeerId | None:
        return self.machine.cluster.byways.hop_to(node)


def test_a_cut_link_is_gone_round_by_this_node_and_its_processes() -> None:
    bench = Linked()
    done = bench.cut()
    assert CloseConnection(EAST, 1) in done
    assert messages(done, DRIVER) == [TakeDetour(EAST, 1)]
    (hello,) = messages(done, WEST)
    assert isinstance(inner(hello), Hello)
    assert bench.hop() == WEST
    assert bench.cut() == []


def test_what_this_node_says_goes_the_same_way() -> None:
    bench = Linked()
    bench.cut()
    done = bench.say(DRIVER, WatchProcess(FAR_DRIVER, 1, EAST))
    assert messages(done, EAST) == []
    assert WatchProcess(FAR_DRIVER, 1, EAST) in [inner(said) for said in messages(done, WEST)]


def test_a_process_that_connects_later_is_told_too_and_nobody_else_is() -> None:
    bench = Linked()
    bench.cut()
    assert messages(bench.join(peer("late"), 1, NODE)) == [TakeDetour(EAST, 1)]
    assert messages(bench.join(peer("tool"))) == []
    bench.step(LinkHealed(EAST))
    assert messages(bench.join(peer("later"), 1, NODE)) == []


def test_a_healed_link_is_taken_again_and_an_unknown_one_is_no_news() -> None:
    bench = Linked()
    bench.cut()
    done = bench.step(LinkHealed(EAST))
    assert messages(done, DRIVER) == [EndDetour(EAST)]
    assert OpenConnection(EAST, f"ipc://{EAST.decode()}", 3) in done
    assert bench.hop() is None
    assert bench.step(LinkHealed(EAST)) == []
    assert bench.cut(SOUTH) == []


def test_who_cannot_relay_is_not_chosen_though_it_was_named() -> None:
    bench = Linked(EAST, WEST, SOUTH)
    bench.cut(EAST, SOUTH)
    done = bench.cut(SOUTH, EAST)
    assert (bench.hop(EAST), bench.hop(SOUTH)) == (WEST, WEST)
    assert messages(done, DRIVER) == [TakeDetour(SOUTH, 2), TakeDetour(EAST, 3)]
    bench.step(LinkHealed(SOUTH))
    assert bench.hop(EAST) == WEST


def test_without_a_third_node_there_is_no_way_until_one_joins_or_is_reached() -> None:
    bench = Linked(EAST)
    bench.cut(EAST, SOUTH)
    assert bench.hop() is None
    assert bench.machine.cluster.byways.is_cut(EAST)
    assert bench.say(DRIVER, relay(DRIVER, NODE, FAR_DRIVER, EAST)) == []
    done = bench.member(state(SOUTH))
    assert bench.hop() == SOUTH
    assert TakeDetour(EAST, 2) in messages(done, DRIVER)
    bench.cut(SOUTH, EAST)
    assert bench.hop() is None
    bench.step(LinkHealed(SOUTH))
    assert bench.hop() == SOUTH


def test_the_next_node_is_taken_when_the_one_on_the_way_is_gone() -> None:
    bench = Linked(EAST, WEST, SOUTH)
    bench.cut()
    done = bench.gone(WEST)
    assert bench.hop() == SOUTH
    assert messages(done, DRIVER) == [TakeDetour(EAST, 2)]
    assert isinstance(inner(messages(done, SOUTH)[0]), Hello)


def test_a_node_that_is_gone_needs_no_way() -> None:
    bench = Linked(EAST, WEST, SOUTH)
    bench.cut()
    bench.cut(SOUTH)
    assert messages(bench.gone(EAST), DRIVER) == [EndDetour(EAST)]
    assert bench.hop(SOUTH) == WEST
    assert list(bench.machine.cluster.byways.ways) == [SOUTH]


def test_a_node_that_has_no_line_yet_is_dialled_to_be_the_way() -> None:
    bench = Linked(EAST)
    bench.member(state(SOUTH), speaks=False)
    assert any(isinstance(e, OpenConnection) and e.peer == SOUTH for e in bench.cut(EAST, SOUTH))


def test_a_word_against_a_way_counts_once_it_was_tried_for_long_enough() -> None:
    bench = Linked(EAST, WEST, SOUTH)
    bench.cut()
    assert bench.say(WEST, NoDetour(EAST)) == []
    bench.now_ns += DETOUR_TRY_NS
    assert bench.say(SOUTH, NoDetour(EAST)) == []
    assert bench.say(WEST, NoDetour(SOUTH)) == []
    assert bench.hop() == WEST
    assert TakeDetour(EAST, 2) in messages(bench.say(WEST, NoDetour(EAST)), DRIVER)
    assert bench.hop() == SOUTH


def test_what_its_processes_send_goes_on_to_the_third_node_and_unrelayed_once_healed() -> None:
    bench = Linked()
    bench.cut()
    said = relay(DRIVER, NODE, FAR_DRIVER, EAST)
    assert bench.say(DRIVER, said) == [Send(WEST, said)]
    bench.step(LinkHealed(EAST))
    assert bench.machine.session.item_bytes_unacked(WEST) == 0


def test_what_is_for_a_node_that_is_gone_is_dropped() -> None:
    bench = Linked()
    assert bench.say(DRIVER, relay(DRIVER, NODE, FAR_DRIVER, SOUTH)) == []


def test_what_others_relay_is_passed_on_to_the_target_itself() -> None:
    bench = Linked()
    said = relay(FAR_DRIVER, EAST, peer("theirs"), WEST)
    assert bench.say(EAST, said) == [Send(WEST, said)]


def test_who_does_not_reach_the_target_says_so_and_passes_nothing_on() -> None:
    bench = Linked(EAST, WEST, SOUTH)
    bench.cut(WEST, SOUTH)
    said = relay(FAR_DRIVER, EAST, peer("theirs"), WEST)
    assert bench.say(EAST, said) == [Send(EAST, NoDetour(WEST))]
    unknown = relay(FAR_DRIVER, EAST, peer("theirs"), peer("nowhere"))
    assert bench.say(EAST, unknown) == [Send(EAST, NoDetour(peer("nowhere")))]


def test_nothing_is_relayed_twice_or_for_strangers_or_in_the_name_of_others() -> None:
    bench = Linked()
    bench.join(peer("tool"))
    assert messages(bench.say(EAST, relay(peer("theirs"), WEST, peer("x"), WEST))) == []
    assert bench.counts["relayed twice"] == 1
    for sender, said in (
        (peer("tool"), relay(peer("tool"), NODE, FAR_DRIVER, EAST)),
        (DRIVER, relay(peer("other"), NODE, FAR_DRIVER, EAST)),
        (DRIVER, relay(FAR_DRIVER, EAST, DRIVER, NODE)),
        (EAST, relay(DRIVER, NODE, FAR_DRIVER, WEST)),
    ):
        assert messages(bench.say(sender, said)) == []
    assert bench.counts["relayed by who may not"] == 4


def test_what_has_come_is_handed_to_whom_it_is_for() -> None:
    bench = Linked()
    said = relay(FAR_DRIVER, EAST, DRIVER, NODE)
    assert bench.say(WEST, said) == [Send(DRIVER, said)]
    assert bench.say(WEST, relay(FAR_DRIVER, EAST, peer("gone"), NODE)) == []
    assert bench.say(WEST, relay(FAR_DRIVER, EAST, EAST, NODE)) == []


def test_what_is_for_the_node_itself_is_taken_in_as_from_a_connection() -> None:
    bench = Linked()
    watch = encode(WatchProcess(DRIVER, 1, NODE))
    frames = [encode_header(FLAG_BODY, 1, 0), *watch]
    said = Relayed(
        EAST, EAST, 1, 5, NODE, NODE, tuple(map(len, frames)), Buffers((b"".join(frames),))
    )
    assert bench.say(WEST, said) == []
    assert bench.machine.session.counts["data before hello"] == 1
    assert messages(bench.say(WEST, relay(EAST, EAST, NODE, NODE, b"no header"))) == []
    assert bench.counts["frames refused"] == 1


def test_no_peer_is_no_way() -> None:
    bench = Linked(EAST)
    bench.cut(EAST, NO_PEER)
    assert bench.machine.cluster.byways.hops_to(EAST) == []
    bench.member(state(WEST))
    bench.member(state(SOUTH))
    assert bench.machine.cluster.byways.hops_to(EAST) == [WEST, SOUTH]
