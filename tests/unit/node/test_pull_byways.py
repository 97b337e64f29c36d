"""Copies of regions of nodes that are not reached: of whom they are asked for, and when no more."""

from __future__ import annotations

from tests.unit.node.clusters import EAST, WEST, messages, state
from tests.unit.node.fakes import DRIVER, peer
from tests.unit.node.readers import FAR, THERE, Reading
from tests.unit.node.store_bench import MB, told
from tests.unit.node.test_byways import inner
from zgen.core.effects import Effect
from zgen.core.events import ConnectionUp
from zgen.core.node_events import LinkCut, LinkHealed
from zgen.core.store_events import ChunkWritten
from zgen.ids import PeerId
from zgen.wire.codec import FLAG_BODY, encode, encode_header
from zgen.wire.detour import Relayed
from zgen.wire.session import Hello
from zgen.wire.store import HoldRegions, LeasedRegion, RegionsHeld, ReleaseRegions, UnholdRegions
from zgen.wire.transfer import AskChunk, CopyMade

SOUTH = peer("south")
HELD = RegionsHeld(1, (LeasedRegion(FAR, THERE),), (), "")
ROUND = HoldRegions(1, (FAR,), (MB,))


class Parted(Reading):
    """A node that reads a region of another one, and others on the way there."""

    def __init__(self, *others: PeerId) -> None:
        super().__init__()
        for node in others or (WEST,):
            self.member(state(node))
        self._round = 0

    def cut(self, by: PeerId = WEST) -> list[Effect]:
        return self.step(LinkCut(EAST, by))

    def heal(self) -> list[Effect]:
        """Let the link be whole again, and what was waiting for that leave."""
        self.step(LinkHealed(EAST))
        return self.step(ConnectionUp(EAST, self._epochs[EAST]))

    def said(self, effects: list[Effect], hop: PeerId = WEST) -> list[object]:
        """Return what is said to the node that is cut off, without hellos."""
        relayed = [each for each in messages(effects, hop) if isinstance(each, Relayed)]
        return [said for each in relayed if not isinstance(said := inner(each), Hello)]

    def asked(self, effects: list[Effect], node: PeerId = WEST) -> list[object]:
        """Return what is said to another one for its own sake."""
        return [each for each in messages(effects, node) if not isinstance(each, Relayed)]

    def held_far(self, said: RegionsHeld = HELD) -> list[Effect]:
        """Let the node of the region answer, by the way that it has."""
        self._sent[EAST] += 1
        header = encode_header(FLAG_BODY, self._sent[EAST], 0)
        return self.step(self._arrived(EAST, [header, *encode(said)]))


def parted(*others: PeerId) -> Parted:
    """A copy that the node on the way was asked for."""
    bench = Parted(*others)
    bench.cut()
    bench.hold(FAR)
    assert bench.asked(bench.held_far()) == [ROUND]
    return bench


def test_the_node_on_the_way_is_asked_for_a_copy_once_the_region_is_held() -> None:
    bench = Parted()
    bench.cut()
    done = bench.hold(FAR)
    assert bench.said(done) == [HoldRegions(1, (FAR,))]
    assert bench.asked(done) == []
    done = bench.held_far()
    assert bench.asked(done) == [ROUND]
    assert bench.said(done) == []
    assert bench.asked(bench.say(WEST, HELD)) == [AskChunk(1, FAR, 0, MB)]
    done = bench.step(ChunkWritten(1, 0, "", False))
    assert len(told(done, RegionsHeld, DRIVER)) == 1
    assert bench.said(done) == [CopyMade(FAR), UnholdRegions((FAR,))]
    assert bench.asked(done) == [UnholdRegions((FAR,))]


def test_what_its_node_does_not_have_is_asked_of_nobody_else() -> None:
    bench = Parted()
    bench.cut()
    bench.hold(FAR)
    done = bench.held_far(RegionsHeld(1, (), (FAR,), "released"))
    assert told(done, RegionsHeld, DRIVER)[0].reason == "released"
    assert bench.asked(done) == []


def test_a_copying_goes_on_by_the_way_when_the_link_is_cut_under_it() -> None:
    bench = Parted()
    bench.hold(FAR)
    bench.held_there()
    assert bench.asked(bench.cut()) == [ROUND]
    assert bench.asked(bench.say(WEST, HELD)) == [AskChunk(1, FAR, 0, MB)]


def test_a_link_cut_before_the_answer_is_waited_for_first() -> None:
    bench = Parted()
    bench.hold(FAR)
    assert bench.asked(bench.cut()) == []
    assert bench.asked(bench.held_far()) == [ROUND]


def test_the_region_is_asked_of_its_node_again_once_the_link_is_whole() -> None:
    bench = parted()
    assert HoldRegions(1, (FAR,)) in bench.asked(bench.heal(), EAST)
    done = bench.held_far()
    assert messages(done, EAST) == [AskChunk(1, FAR, 0, MB)]


def test_what_was_not_answered_when_the_link_healed_is_not_asked_twice() -> None:
    bench = Parted()
    bench.cut()
    bench.hold(FAR)
    assert bench.asked(bench.heal(), EAST) == [HoldRegions(1, (FAR,))]


def test_another_cut_link_is_no_affair_of_a_copying() -> None:
    bench = Parted(WEST, SOUTH)
    bench.hold(FAR)
    bench.held_there()
    bench.step(LinkCut(SOUTH, WEST))
    bench.step(LinkHealed(SOUTH))
    assert messages(bench.step(ChunkWritten(1, 0, "", False)), EAST) == [
        CopyMade(FAR),
        UnholdRegions((FAR,)),
    ]


def test_a_node_on_the_way_that_has_no_copy_gives_way_to_the_next_and_then_to_a_loss() -> None:
    bench = parted(WEST, SOUTH)
    nothing = RegionsHeld(1, (), (FAR,), "no room", True)
    assert bench.asked(bench.say(WEST, nothing), SOUTH) == [ROUND]
    done = bench.say(SOUTH, nothing)
    assert told(done, RegionsHeld, DRIVER) == [
        RegionsHeld(1, (), (FAR,), "no room", True),
    ]
    assert bench.said(done) == [UnholdRegions((FAR,))]
    assert bench.regions() == []


def test_who_had_no_copy_is_not_asked_for_the_same_one_again() -> None:
    bench = parted(WEST, SOUTH)
    bench.say(WEST, RegionsHeld(1, (), (FAR,), "no room", True))
    bench.heal()
    assert bench.asked(bench.cut()) == []


def test_the_next_node_makes_the_copy_when_the_one_on_the_way_is_gone() -> None:
    bench = parted(WEST, SOUTH)
    assert ROUND in bench.asked(bench.gone(WEST), SOUTH)
    assert bench.asked(bench.say(SOUTH, HELD), SOUTH) == [AskChunk(1, FAR, 0, MB)]


def test_a_copy_that_comes_too_late_is_let_go() -> None:
    bench = parted()
    bench.heal()
    bench.held_far()
    bench.step(ChunkWritten(1, 0, "", False))
    assert bench.asked(bench.say(WEST, HELD)) == [UnholdRegions((FAR,))]
    assert bench.asked(bench.say(WEST, HELD)) == []


def test_a_copy_that_comes_too_late_stays_held_for_another_copying_that_wants_it() -> None:
    bench = parted()
    bench.heal()
    bench.held_far()
    bench.step(ChunkWritten(1, 0, "damaged in vain", False))
    assert bench.regions() == []
    bench.cut()
    bench.hold(FAR)
    bench.held_far(RegionsHeld(2, HELD.regions, (), ""))
    assert bench.asked(bench.say(WEST, HELD)) == []
    done = bench.say(WEST, RegionsHeld(2, HELD.regions, (), ""))
    assert bench.asked(done) == [AskChunk(2, FAR, 0, MB)]


def test_a_node_makes_a_copy_for_another_one_that_asks_for_it() -> None:
    bench = Parted()
    done = bench.say(WEST, HoldRegions(9, (FAR,), (MB,)))
    assert messages(done) == [HoldRegions(1, (FAR,))]
    assert messages(bench.hold(FAR)) == []
    bench.held_there()
    done = bench.step(ChunkWritten(1, 0, "", False))
    (held,) = told(done, RegionsHeld, WEST)
    assert (held.request, held.regions[0].region) == (9, FAR)
    region = bench.machine.storage.rooms.objects.get(FAR)
    assert region is not None
    assert region.copied_to == {}
    assert list(region.holders) == [WEST, DRIVER]
    again = bench.say(WEST, HoldRegions(10, (FAR,), (MB,)))
    assert told(again, RegionsHeld, WEST)[0].regions == held.regions
    bench.say(WEST, UnholdRegions((FAR,)))
    bench.say(EAST, ReleaseRegions((FAR,)))
    assert list(region.holders) == [DRIVER]


def test_a_node_that_does_not_reach_the_region_makes_no_copy_for_others() -> None:
    bench = Parted()
    bench.cut()
    done = bench.say(WEST, HoldRegions(9, (FAR,), (MB,)))
    (held,) = told(done, RegionsHeld, WEST)
    assert (held.regions, held.lost) == ((), (FAR,))
    assert bench.regions() == []


def test_another_source_is_left_when_its_link_is_cut_and_none_is_asked_that_is_cut_off() -> None:
    bench = Parted(WEST, SOUTH)
    bench.step(LinkCut(SOUTH, EAST))
    bench.hold(FAR)
    done = bench.held_far(RegionsHeld(1, HELD.regions, (), "", copies=(WEST, SOUTH)))
    assert bench.asked(done, SOUTH) == []
    assert HoldRegions(1, (FAR,)) in bench.asked(done)
    bench.say(WEST, HELD)
    done = bench.step(LinkCut(WEST, EAST))
    to_west = [inner(each) for each in messages(done, EAST) if isinstance(each, Relayed)]
    assert UnholdRegions((FAR,)) in to_west
    assert told(bench.gone(EAST), RegionsHeld, DRIVER)[0].regions == ()


def test_what_a_gone_node_had_is_lost_when_the_last_copy_is_behind_a_cut_link() -> None:
    bench = Parted(WEST, SOUTH)
    bench.hold(FAR)
    bench.held_far(RegionsHeld(1, HELD.regions, (), "", copies=(WEST,)))
    bench.say(WEST, HELD)
    bench.gone(EAST)
    bench.say(SOUTH, RegionsHeld(1, (), (FAR,), "it has none"))
    done = bench.step(LinkCut(WEST, SOUTH))
    assert "link" in told(done, RegionsHeld, DRIVER)[0].reason
    assert bench.regions() == []


def test_a_copy_made_too_late_for_a_copying_that_goes_on_is_let_go() -> None:
    bench = parted(WEST, SOUTH)
    done = bench.step(LinkCut(WEST, SOUTH))
    assert ROUND in bench.asked(done, SOUTH)
    bench.say(SOUTH, HELD)
    bench.step(LinkHealed(WEST))
    bench.step(ConnectionUp(WEST, bench._epochs[WEST]))
    assert bench.asked(bench.say(WEST, HELD)) == [UnholdRegions((FAR,))]
