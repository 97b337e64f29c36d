"""Copies whose nodes are gone: kept for their owners, found by who asks, and ended in time."""

from __future__ import annotations

from tests.unit.node.clusters import EAST, FAR_DRIVER, WEST, far, messages, state
from tests.unit.node.fakes import DRIVER, NO_LEASE, NODE
from tests.unit.node.readers import FAR, FAR_TOO, THERE, WESTERN, Reading
from tests.unit.node.store_bench import MB, WRITER, of, told
from zgen.core.store_effects import SendChunks
from zgen.core.store_events import ChunkWritten
from zgen.ids import PeerId
from zgen.limits import STORE_FULL_NS
from zgen.wire.lease import ProcessDown
from zgen.wire.object import WatchProcess
from zgen.wire.session import Address
from zgen.wire.store import (
    Evict,
    HoldRegions,
    LeasedRegion,
    RegionsHeld,
    RegionsOrphaned,
    ReleaseRegions,
    UnholdRegions,
)
from zgen.wire.transfer import AskChunk, FarOrphaned, FarRelease

GONE = "its node is gone"
HERE = Address(DRIVER, 1, "", NODE)
THEIRS = far(FAR_DRIVER, WEST)


class Left(Reading):
    """A node that has copied a region of another one, and a third node."""

    def __init__(self, owner: Address | None = HERE) -> None:
        super().__init__()
        self.member(state(WEST))
        self.copy(owner)

    def copy(self, owner: Address | None, region: int = FAR, pull: int = 1) -> None:
        self.hold(region)
        said = () if owner is None else (owner,)
        leased = (LeasedRegion(region, THERE),)
        self.say(EAST, RegionsHeld(pull, leased, (), "", owner=said))
        self.step(ChunkWritten(pull, 0, "", False))
        self.say(DRIVER, UnholdRegions((region,)))
        assert region in self.regions()


# -- who keeps -------------------------------------------------------------------------------------
def test_a_copy_outlives_its_node_and_goes_at_the_word_of_its_owner() -> None:
    bench = Left()
    assert told(bench.gone(), RegionsOrphaned, DRIVER) == [RegionsOrphaned(EAST, (FAR,))]
    assert bench.held(bench.hold(FAR, by=WRITER), WRITER) == [FAR]
    bench.say(WRITER, UnholdRegions((FAR,)))
    bench.say(DRIVER, ReleaseRegions((FAR,)))
    assert bench.regions() == []


def test_an_owner_on_another_node_is_told_and_watched() -> None:
    bench = Left(THEIRS)
    done = bench.gone()
    assert messages(done, WEST) == [
        WatchProcess(FAR_DRIVER, 1, WEST),
        FarOrphaned(FAR_DRIVER, EAST, (FAR,)),
    ]
    bench.say(WEST, FarRelease(FAR_DRIVER, (FAR,), False))
    assert bench.regions() == []


def test_what_is_kept_goes_with_its_owner_and_with_its_owners_node() -> None:
    bench = Left(THEIRS)
    bench.gone()
    bench.say(WEST, ProcessDown(FAR_DRIVER, 1, 9, -1, 9, "", NO_LEASE, 0))
    assert bench.regions() == []
    bench = Left(THEIRS)
    bench.gone()
    bench.gone(WEST)
    assert bench.regions() == []
    bench = Left(Address(WRITER, 1, "", NODE))
    bench.gone()
    bench.die(WRITER, 101)
    assert bench.regions() == []


def test_nothing_is_kept_for_who_is_gone_or_not_known() -> None:
    for owner in (far(FAR_DRIVER), None, far(FAR_DRIVER, PeerId(b"nobody".ljust(16)))):
        bench = Left(owner)
        bench.gone()
        assert bench.regions() == []
    bench = Left(THEIRS)
    bench.gone()
    bench.say(WEST, ProcessDown(FAR_DRIVER, 1, 9, -1, 9, "", NO_LEASE, 0))
    bench.member(state(PeerId(b"north".ljust(16))))
    bench.hold(WESTERN)
    bench.say(WEST, RegionsHeld(2, (LeasedRegion(WESTERN, THERE),), (), "", owner=(THEIRS,)))
    bench.step(ChunkWritten(2, 0, "", False))
    bench.gone(WEST)
    assert bench.regions() == [WESTERN], "somebody looks at it"
    bench.say(DRIVER, UnholdRegions((WESTERN,)))
    assert bench.regions() == []


def test_a_kept_copy_is_given_to_nodes_that_ask_with_its_owner() -> None:
    bench = Left(THEIRS)
    bench.gone()
    (held,) = told(bench.say(WEST, HoldRegions(3, (FAR,))), RegionsHeld, WEST)
    assert ([leased.region for leased in held.regions], held.owner) == ([FAR], (THEIRS,))
    assert of(bench.say(WEST, AskChunk(3, FAR, 0, 10)), SendChunks) != []


def test_who_copies_hears_whose_the_value_is() -> None:
    bench = Reading()
    bench.guest()
    mine, theirs = bench.leased(), bench.leased(owner=FAR_DRIVER)
    (held,) = told(bench.say(EAST, HoldRegions(1, (mine,))), RegionsHeld, EAST)
    assert held.owner == (HERE,)
    (held,) = told(bench.say(EAST, HoldRegions(2, (theirs,))), RegionsHeld, EAST)
    assert held.owner == (Address(FAR_DRIVER, 1, "", EAST),)
    bench.copied()
    bench.member(state(WEST))
    (held,) = told(bench.say(WEST, HoldRegions(3, (FAR,))), RegionsHeld, WEST)
    assert held.owner == (), "nobody has said"
    bench.say(WEST, HoldRegions(4, (theirs,)))
    bench.say(EAST, ProcessDown(FAR_DRIVER, 1, 9, -1, 9, "", NO_LEASE, 0))
    (held,) = told(bench.say(WEST, HoldRegions(5, (theirs,))), RegionsHeld, WEST)
    assert (held.lost, held.owner) == ((), ()), "it is dead"


def test_a_copy_that_is_looked_at_is_given_to_others_too_when_its_node_is_gone() -> None:
    bench = Left(None)
    bench.hold(FAR)
    bench.gone()
    assert bench.held(bench.hold(FAR, by=WRITER), WRITER) == [FAR]
    bench.say(WRITER, UnholdRegions((FAR,)))
    bench.say(DRIVER, UnholdRegions((FAR,)))
    assert bench.regions() == []


# -- the node of the owner -------------------------------------------------------------------------
def test_the_words_of_an_owner_go_to_who_keeps_something_for_it() -> None:
    bench = Reading()
    bench.member(state(WEST))
    bench.gone()
    done = bench.say(WEST, FarOrphaned(DRIVER, EAST, (FAR, FAR_TOO)))
    assert told(done, RegionsOrphaned, DRIVER) == [RegionsOrphaned(EAST, (FAR, FAR_TOO))]
    done = bench.say(DRIVER, ReleaseRegions((FAR,)))
    assert messages(done, WEST) == [FarRelease(DRIVER, (FAR,), False)]
    assert messages(bench.say(DRIVER, ReleaseRegions((FAR,))), WEST) == []
    done = bench.say(DRIVER, ReleaseRegions((FAR_TOO, WESTERN)))
    assert messages(done, WEST) == [
        FarRelease(DRIVER, (WESTERN,), False),
        FarRelease(DRIVER, (FAR_TOO,), False),
    ]
    bench.say(WEST, FarOrphaned(DRIVER, FAR_DRIVER, (WESTERN,)))
    done = bench.say(DRIVER, ReleaseRegions((WESTERN,)))
    assert messages(done, WEST) == [FarRelease(DRIVER, (WESTERN,), False)], "its own, once"


def test_nobody_keeps_anything_for_the_dead_and_the_dead_keep_nothing() -> None:
    north = PeerId(b"north".ljust(16))
    bench = Reading()
    bench.member(state(WEST))
    bench.member(state(north))
    bench.gone()
    for keeper in (WEST, north):
        bench.say(keeper, FarOrphaned(DRIVER, EAST, (FAR,)))
    bench.say(WEST, FarOrphaned(WRITER, EAST, (FAR_TOO,)))
    bench.gone(WEST)
    done = bench.say(WRITER, ReleaseRegions((FAR_TOO,)))
    assert messages(done) == []
    done = bench.say(DRIVER, ReleaseRegions((FAR,)))
    assert messages(done) == [FarRelease(DRIVER, (FAR,), False)]


# -- who asks --------------------------------------------------------------------------------------
def test_what_lay_on_a_node_that_is_gone_is_asked_for_of_all_others() -> None:
    north = PeerId(b"north".ljust(16))
    bench = Reading()
    bench.member(state(WEST))
    bench.member(state(north))
    bench.gone()
    done = bench.hold(FAR)
    assert messages(done, WEST) == messages(done, north) == [HoldRegions(1, (FAR,))]
    assert bench.say(WEST, RegionsHeld(1, (), (FAR,), "never heard of it")) == []
    done = bench.say(north, RegionsHeld(1, (LeasedRegion(FAR, THERE),), (), ""))
    assert messages(done, north) == [AskChunk(1, FAR, 0, MB)]
    assert bench.held(bench.step(ChunkWritten(1, 0, "", False))) == [FAR]
    bench.say(DRIVER, UnholdRegions((FAR,)))
    assert bench.regions() == [], "it is kept elsewhere"


def test_it_is_lost_with_its_node_if_nobody_has_it() -> None:
    bench = Reading()
    bench.member(state(WEST))
    bench.gone()
    bench.hold(FAR)
    done = bench.say(WEST, RegionsHeld(1, (), (FAR,), "its owner released it"))
    (held,) = told(done, RegionsHeld, DRIVER)
    assert (held.lost, held.reason, bench.regions()) == ((FAR,), GONE, [])
    bench.hold(FAR)
    (held,) = told(bench.gone(WEST), RegionsHeld, DRIVER)
    assert held.reason == GONE
    (held,) = told(bench.hold(FAR), RegionsHeld, DRIVER)
    assert (held.reason, bench.regions()) == (GONE, [])


def test_a_copy_that_waits_for_room_is_asked_for_elsewhere_when_its_node_goes() -> None:
    bench = Reading()
    bench.member(state(WEST))
    mine = [bench.leased() for _ in range(4)]
    bench.hold(FAR)
    bench.gone()
    done = bench.say(DRIVER, ReleaseRegions((mine[0],)), Evict((), False))
    assert messages(done, WEST) == [HoldRegions(1, (FAR,))]
    bench.hold(FAR_TOO)
    (one, two) = told(bench.gone(WEST), RegionsHeld, DRIVER)
    assert (one.lost, two.lost) == ((FAR,), (FAR_TOO,))
    assert bench.regions() == mine[1:]
    bench.advance(STORE_FULL_NS)


def test_a_copy_under_way_is_asked_for_of_all_others_when_its_node_goes() -> None:
    bench = Reading()
    bench.member(state(WEST))
    bench.hold(FAR)
    bench.held_there()
    assert messages(bench.gone(), WEST) == [HoldRegions(1, (FAR,))]
    done = bench.say(WEST, RegionsHeld(1, (LeasedRegion(FAR, THERE),), (), ""))
    assert messages(done, WEST) == [AskChunk(1, FAR, 0, MB)]
    assert bench.held(bench.step(ChunkWritten(1, 0, "", False))) == [FAR]
