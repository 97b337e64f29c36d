"""Regions between nodes: copies, their ends, and words of owners that go by their own node."""

from __future__ import annotations

import pytest

from tests.unit.node.clusters import EAST, FAR_DRIVER, WEST, far, messages, state
from tests.unit.node.fakes import DRIVER, job, peer
from tests.unit.node.readers import FAR, FAR_TOO, READER, THERE, WESTERN, Reading
from tests.unit.node.store_bench import MB, WRITER, of, told
from zgen.core.store_effects import (
    CloseCopy,
    ForgetLine,
    OpenCopy,
    RestoreRegion,
    SendChunks,
    SpillRegion,
)
from zgen.core.store_events import ChunksUnsent, ChunkWritten, RegionRestored, RegionSpilled
from zgen.ids import NO_STREAM, node_tag, region_number
from zgen.limits import (
    CHUNK_BYTES,
    CHUNK_TRIES_COUNT_MAX,
    CHUNKS_ASKED_COUNT_MAX,
    CHUNKS_COUNT_MAX,
    CHUNKS_OF_NODE_COUNT_MAX,
    CHUNKS_STALLED_NS,
    NODE_UNKNOWN_NS,
    STORE_FULL_NS,
)
from zgen.wire.cluster import ShareJob
from zgen.wire.lease import EndJob
from zgen.wire.object import WatchProcess
from zgen.wire.store import (
    AskEvict,
    Evict,
    HoldRegions,
    LeasedRegion,
    Place,
    RegionsHeld,
    RegionsLeased,
    RegionsOrphaned,
    RegionsRefused,
    ReleaseRegions,
    UnholdRegions,
    WantRegions,
)
from zgen.wire.transfer import AskChunk, CopyMade, FarEvict, FarOrphaned, FarRelease, NoChunk
from zgen_node.core import early_words


# -- copies ----------------------------------------------------------------------------------------
def test_a_copy_is_made_part_by_part_and_given_to_who_asked() -> None:
    bench = Reading()
    assert messages(bench.hold(FAR), EAST) == [HoldRegions(1, (FAR,))]
    done = bench.held_there()
    assert messages(done, EAST) == [AskChunk(1, FAR, 0, MB)]
    (opened,) = of(done, OpenCopy)
    assert (opened.pull, opened.region, opened.size_bytes) == (1, FAR, MB)
    done = bench.step(ChunkWritten(1, 0, "", False))
    assert of(done, CloseCopy) == [CloseCopy(1)]
    assert messages(done, EAST) == [CopyMade(FAR), UnholdRegions((FAR,))]
    (held,) = told(done, RegionsHeld, DRIVER)
    (leased,) = held.regions
    assert (leased.region, leased.place.room, leased.place.is_warm) == (FAR, MB, True)


def test_it_is_made_once_however_many_ask() -> None:
    bench = Reading()
    bench.hold(FAR)
    assert bench.hold(FAR, by=WRITER) == []
    bench.held_there()
    done = bench.step(ChunkWritten(1, 0, "", False))
    assert len(told(done, RegionsHeld)) == 2
    assert len(told(bench.hold(FAR), RegionsHeld, DRIVER)) == 1


def test_what_came_damaged_is_asked_for_again_and_then_lost() -> None:
    bench = Reading()
    bench.hold(FAR)
    bench.held_there()
    for _ in range(CHUNK_TRIES_COUNT_MAX - 1):
        done = bench.step(ChunkWritten(1, 0, "damaged", True))
        assert messages(done, EAST) == [AskChunk(1, FAR, 0, MB)]
    done = bench.step(ChunkWritten(1, 0, "damaged", True))
    assert told(done, RegionsHeld, DRIVER)[0].reason == "damaged"
    assert messages(done, EAST) == [UnholdRegions((FAR,))]
    assert bench.regions() == []
    assert bench.step(ChunkWritten(1, 0, "", False)) == []


def test_what_cannot_be_copied_is_lost_with_its_reason() -> None:
    bench = Reading()
    bench.hold(FAR)
    done = bench.say(EAST, RegionsHeld(1, (), (FAR,), "its owner released it", False))
    assert told(done, RegionsHeld, DRIVER)[0].reason == "its owner released it"
    bench.hold(FAR)
    done = bench.say(EAST, RegionsHeld(2, (), (FAR,), "no room", True))
    assert told(done, RegionsHeld, DRIVER)[0].is_full
    bench.hold(FAR)
    done = bench.held_there(3, place=Place(4, 0, 9 * MB, 9 * MB, True))
    assert "9437184 bytes" in told(done, RegionsHeld, DRIVER)[0].reason
    bench.hold(FAR)
    bench.held_there(4)
    done = bench.say(EAST, NoChunk(4, FAR, "no memory"))
    assert told(done, RegionsHeld, DRIVER)[0].reason == "its node cannot read it: no memory"
    assert bench.say(EAST, NoChunk(4, FAR, "no memory")) == []
    bench.hold(FAR)
    bench.held_there(5)
    done = bench.step(ChunkWritten(5, 0, "no memory", False))
    assert told(done, RegionsHeld, DRIVER)[0].reason == "no memory"


def test_what_nobody_asked_for_is_refused() -> None:
    bench = Reading()
    bench.hold(FAR)
    bench.held_there()
    bench.held_there()
    bench.held_there(9)
    bench.say(DRIVER, RegionsHeld(1, (), (FAR,), ""))
    assert bench.counts["regions held that nobody copies"] == 2


def test_what_is_larger_than_the_store_is_lost() -> None:
    bench = Reading()
    (held,) = told(bench.hold(FAR, room=5 * MB), RegionsHeld, DRIVER)
    assert held.lost == (FAR,)


def test_another_copy_is_asked_for_while_one_is_held() -> None:
    bench = Reading()
    bench.copied()
    bench.hold(FAR_TOO)
    bench.held_there(2, FAR_TOO)
    bench.step(ChunkWritten(2, 0, "", False))
    bench.say(DRIVER, UnholdRegions((FAR,)))
    assert bench.regions() == [FAR, FAR_TOO]


def test_a_large_copy_is_asked_for_in_parts() -> None:
    bench = Reading(store_bytes=6 * CHUNK_BYTES)
    size_bytes = 5 * CHUNK_BYTES
    bench.hold(FAR, room=size_bytes)
    bench.held_there(place=Place(4, 0, size_bytes, size_bytes, True))
    for index in range(4):
        assert told(bench.step(ChunkWritten(1, index * CHUNK_BYTES, "", False)), RegionsHeld) == []
    done = bench.step(ChunkWritten(1, 4 * CHUNK_BYTES, "", False))
    assert told(done, RegionsHeld, DRIVER) != []


def test_a_copy_that_may_not_ask_yet_asks_when_another_one_is_here() -> None:
    count = CHUNKS_OF_NODE_COUNT_MAX // CHUNKS_COUNT_MAX + 1
    size_bytes = CHUNKS_COUNT_MAX * CHUNK_BYTES
    bench = Reading(store_bytes=count * size_bytes)
    region = 0
    for number in range(count):
        region = region_number(node_tag(EAST), number)
        bench.hold(region, room=size_bytes)
        bench.held_there(number + 1, region, Place(4, 0, size_bytes, size_bytes, True))
    last = messages(bench.step(ChunkWritten(1, 0, "", False)), EAST)
    assert last == [AskChunk(count, region, 0, CHUNK_BYTES)]


def test_what_does_not_come_is_asked_for_again() -> None:
    bench = Reading()
    bench.hold(FAR)
    bench.held_there()
    again = bench.advance(CHUNKS_STALLED_NS)
    assert messages(again, EAST) == [AskChunk(1, FAR, 0, MB)]


# -- several sources -------------------------------------------------------------------------------
def two_sources(bench: Reading) -> None:
    """Copy ``FAR`` from its node and from another one that has a copy."""
    bench.member(state(WEST))
    bench.hold(FAR)
    leased = (LeasedRegion(FAR, THERE),)
    done = bench.say(EAST, RegionsHeld(1, leased, (), "", copies=(WEST, READER)))
    assert messages(done, WEST) == [HoldRegions(1, (FAR,))]
    assert bench.say(WEST, RegionsHeld(1, leased, (), "")) == [], "all is asked for"


def test_a_source_that_dies_is_replaced_by_another_one() -> None:
    bench = Reading()
    two_sources(bench)
    done = bench.gone(EAST)
    assert messages(done, WEST) == [AskChunk(1, FAR, 0, MB)]
    bench.hold(FAR, by=WRITER)
    done = bench.step(ChunkWritten(1, 0, "", False))
    assert messages(done, WEST) == [UnholdRegions((FAR,))]
    assert len(told(done, RegionsHeld)) == 2
    bench.say(DRIVER, UnholdRegions((FAR,)))
    assert bench.regions() == [FAR]
    bench.say(WRITER, UnholdRegions((FAR,)))
    assert bench.regions() == [], "nobody would tell of its end"


def test_nodes_that_have_nothing_to_do_with_it_may_go() -> None:
    bench = Reading()
    two_sources(bench)
    bench.advance(CHUNKS_STALLED_NS)
    bench.say(EAST, ReleaseRegions((FAR,)))
    bench.gone(EAST)
    bench.member(state(READER))
    assert of(bench.gone(READER), ForgetLine) == []
    done = bench.step(ChunkWritten(1, 0, "", False))
    assert told(done, RegionsHeld, DRIVER)[0].reason == "its owner released it"


def test_without_any_source_it_is_lost() -> None:
    bench = Reading()
    two_sources(bench)
    bench.gone(EAST)
    lost = told(bench.gone(WEST), RegionsHeld, DRIVER)
    assert [each.reason for each in lost] == ["its node is gone"]
    assert bench.regions() == []


def test_a_node_that_has_no_copy_any_more_is_not_counted_on() -> None:
    bench = Reading()
    bench.member(state(WEST))
    bench.hold(FAR)
    bench.say(EAST, RegionsHeld(1, (LeasedRegion(FAR, THERE),), (), "", copies=(WEST,)))
    assert bench.say(WEST, RegionsHeld(1, (), (FAR,), "")) == []
    done = bench.step(ChunkWritten(1, 0, "", False))
    assert messages(done, WEST) == []
    assert bench.say(WEST, RegionsHeld(1, (LeasedRegion(FAR, THERE),), (), "")) == []


def test_a_source_that_is_slow_or_cannot_read_is_left_for_another_one() -> None:
    bench = Reading()
    two_sources(bench)
    done = bench.advance(CHUNKS_STALLED_NS)
    assert messages(done, EAST) == [UnholdRegions((FAR,))]
    assert messages(done, WEST) == [AskChunk(1, FAR, 0, MB)]
    done = bench.step(ChunkWritten(1, 0, "", False))
    assert messages(done, EAST) == [CopyMade(FAR)]
    bench = Reading()
    two_sources(bench)
    done = bench.say(EAST, NoChunk(1, FAR, "no memory"))
    assert messages(done, EAST) == [UnholdRegions((FAR,))]
    assert messages(done, WEST) == [AskChunk(1, FAR, 0, MB)]


def test_strangers_get_no_copies() -> None:
    bench = Reading()
    bench.join(READER)
    (held,) = told(bench.hold(FAR, by=READER), RegionsHeld, READER)
    assert (held.lost, bench.regions()) == ((FAR,), [])


def test_a_copy_goes_when_its_region_does() -> None:
    bench = Reading()
    bench.copied()
    bench.say(EAST, ReleaseRegions((FAR,)))
    assert bench.regions() == [FAR], "the driver looks at it"
    assert told(bench.hold(FAR, by=WRITER), RegionsHeld)[0].lost == (FAR,)
    bench.say(DRIVER, UnholdRegions((FAR,)))
    assert bench.regions() == []


def test_a_copy_that_nobody_holds_goes_before_anything_is_spilled() -> None:
    bench = Reading()
    bench.copied()
    mine = [bench.leased() for _ in range(3)]
    bench.say(DRIVER, UnholdRegions((FAR,)))
    bench.say(DRIVER, Evict((mine[0],), False))
    done = bench.want()
    assert told(done, RegionsLeased, WRITER) != []
    assert of(done, SpillRegion) == []
    assert FAR not in bench.regions()


def test_who_holds_copies_is_asked_for_them() -> None:
    bench = Reading()
    bench.copied()
    for _ in range(3):
        bench.leased(owner=WRITER)
    done = bench.want(owner=WRITER)
    assert told(done, AskEvict, WRITER) != []
    done = bench.say(WRITER, Evict((), False))
    assert told(done, AskEvict, DRIVER) != []
    done = bench.say(DRIVER, Evict((FAR,), False))
    assert told(done, RegionsLeased, WRITER) != []
    assert messages(done, EAST) == []


def test_a_copy_that_finds_no_room_is_an_error_in_the_end() -> None:
    bench = Reading()
    for _ in range(4):
        bench.leased()
    assert bench.hold(FAR) != [], "the owner is asked"
    done = bench.advance(STORE_FULL_NS + 1)
    (held,) = told(done, RegionsHeld, DRIVER)
    assert (held.lost, held.is_full) == ((FAR,), True)
    assert FAR not in bench.regions()


def test_a_copy_that_waits_for_room_goes_with_who_wants_it_and_with_its_region() -> None:
    bench = Reading()
    for _ in range(4):
        bench.leased()
    bench.hold(FAR, by=WRITER)
    bench.die(WRITER, 101)
    assert FAR not in bench.regions()
    bench.hold(FAR)
    done = bench.say(EAST, ReleaseRegions((FAR,)))
    assert told(done, RegionsHeld, DRIVER)[0].lost == (FAR,)


# -- the node of the region ------------------------------------------------------------------------
def test_another_node_holds_a_region_while_it_copies_it_and_hears_of_its_end() -> None:
    bench = Reading()
    mine = bench.leased()
    (held,) = told(bench.say(EAST, HoldRegions(3, (mine,))), RegionsHeld, EAST)
    place = held.regions[0].place
    (sent,) = of(bench.say(EAST, AskChunk(3, mine, 0, 10)), SendChunks)
    assert sent == SendChunks(EAST, "", 3, mine, place, 0, 10, is_checked=False)
    unsent = bench.step(ChunksUnsent(EAST, 3, mine, "no memory"))
    assert messages(unsent, EAST) == [NoChunk(3, mine, "no memory")]
    done = bench.say(DRIVER, ReleaseRegions((mine,)))
    assert messages(done, EAST) == [ReleaseRegions((mine,))]
    assert bench.regions() == [mine], "it is copied still"
    bench.say(EAST, UnholdRegions((mine,)))
    assert bench.regions() == []
    (held,) = told(bench.say(EAST, HoldRegions(4, (mine, FAR_TOO))), RegionsHeld, EAST)
    assert held.reason == "its owner released it"


def test_parts_are_given_to_holders_and_within_the_region() -> None:
    bench = Reading()
    mine = bench.leased()
    bench.say(EAST, AskChunk(3, mine, 0, 10), AskChunk(3, mine + 1, 0, 10))
    assert bench.counts["part of a region that is not held"] == 2
    bench.say(EAST, HoldRegions(3, (mine,)))
    wrong = [(0, 0), (0, CHUNKS_ASKED_COUNT_MAX * CHUNK_BYTES + 1), (MB - 5, 10), (-1, 10)]
    for offset, size_bytes in wrong:
        done = bench.say(EAST, AskChunk(3, mine, offset, size_bytes))
        assert of(done, SendChunks) == []
    assert bench.counts["part that a region has not"] == len(wrong)


def test_a_node_that_is_gone_holds_nothing_and_is_told_nothing() -> None:
    bench = Reading()
    mine = bench.leased()
    bench.say(EAST, HoldRegions(3, (mine,)))
    bench.say(EAST, AskChunk(3, mine, 0, 10))
    assert of(bench.gone(), ForgetLine) == [ForgetLine(EAST)]
    assert bench.step(ChunksUnsent(EAST, 3, mine, "no memory")) == []
    assert bench.say(DRIVER, ReleaseRegions((mine,))) == []
    assert bench.regions() == []


def test_what_is_on_disk_is_brought_back_for_another_node_or_its_copies_are_over() -> None:
    bench = Reading()
    bench.member(state(WEST))
    mine = [bench.leased() for _ in range(4)]
    bench.say(WEST, HoldRegions(3, (mine[0],)))
    bench.say(WEST, CopyMade(mine[0]), UnholdRegions((mine[0],)))
    bench.say(DRIVER, Evict((mine[0],), False))
    bench.want()
    bench.step(RegionSpilled(mine[0], "", False))
    bench.say(DRIVER, ReleaseRegions((mine[1],)))
    done = bench.say(EAST, HoldRegions(3, (mine[0],)))
    assert [effect.region for effect in of(done, RestoreRegion)] == [mine[0]]
    done = bench.step(RegionRestored(mine[0], "checksum"))
    assert messages(done, WEST) == [ReleaseRegions((mine[0],))]


def test_a_finished_copy_is_copied_and_no_other() -> None:
    bench = Reading()
    bench.member(state(WEST))
    bench.hold(FAR)
    bench.held_there()
    (held,) = told(bench.say(WEST, HoldRegions(3, (FAR,))), RegionsHeld, WEST)
    assert held.lost == (FAR,)
    bench.step(ChunkWritten(1, 0, "", False))
    (held,) = told(bench.say(WEST, HoldRegions(4, (FAR,))), RegionsHeld, WEST)
    assert [leased.region for leased in held.regions] == [FAR]
    assert of(bench.say(WEST, AskChunk(4, FAR, 0, 10)), SendChunks) != []
    bench.say(DRIVER, UnholdRegions((FAR,)))
    done = bench.say(EAST, ReleaseRegions((FAR,)))
    assert messages(done, WEST) == [], "it hears that of the region's node"
    assert bench.regions() == [FAR]
    bench.say(WEST, UnholdRegions((FAR,)))
    assert bench.regions() == []


def test_who_wants_a_copy_is_told_of_others_that_have_one() -> None:
    bench = Reading()
    bench.member(state(WEST))
    mine = bench.leased()
    bench.say(EAST, HoldRegions(3, (mine,)))
    bench.say(EAST, CopyMade(mine), CopyMade(mine + 1), UnholdRegions((mine,)))
    (held,) = told(bench.say(WEST, HoldRegions(4, (mine,))), RegionsHeld, WEST)
    assert held.copies == (EAST,)
    (held,) = told(bench.say(EAST, HoldRegions(5, (mine,))), RegionsHeld, EAST)
    assert held.copies == ()
    (held,) = told(bench.hold(mine), RegionsHeld, DRIVER)
    assert held.copies == ()
    bench.gone(EAST)
    (held,) = told(bench.say(WEST, HoldRegions(6, (mine,))), RegionsHeld, WEST)
    assert held.copies == ()


def test_a_node_that_is_no_member_yet_is_sent_nothing() -> None:
    bench = Reading(knows=False)
    mine = bench.leased()
    bench.join(EAST, 1, EAST)
    bench.say(EAST, HoldRegions(3, (mine,)))
    assert bench.say(EAST, AskChunk(3, mine, 0, 10)) == []


# -- words of owners -------------------------------------------------------------------------------
def test_what_an_owner_says_of_far_regions_goes_to_their_node() -> None:
    bench = Reading()
    bench.member(state(WEST))
    mine = bench.leased()
    done = bench.say(DRIVER, Evict((FAR, WESTERN), False))
    assert messages(done, EAST) == [FarEvict(DRIVER, (FAR,))]
    assert messages(done, WEST) == [FarEvict(DRIVER, (WESTERN,))]
    bench.copied()
    done = bench.say(DRIVER, ReleaseRegions((FAR, FAR_TOO, mine), True))
    assert messages(done, EAST) == [FarRelease(DRIVER, (FAR, FAR_TOO), True)]
    assert bench.regions() == [FAR], "its node says when it is over"
    bench.say(DRIVER, ReleaseRegions((WESTERN,)), UnholdRegions((FAR,)))


def test_a_far_owner_gives_up_and_releases_what_was_written_for_it() -> None:
    bench = Reading()
    bench.guest()
    mine = bench.leased(owner=FAR_DRIVER)
    bench.say(EAST, FarEvict(FAR_DRIVER, (mine,)))
    region = bench.machine.storage.rooms.objects.get(mine)
    assert region is not None
    assert not region.holders
    bench.say(EAST, FarRelease(FAR_DRIVER, (mine,), False))
    assert bench.regions() == []


def test_nobody_speaks_for_processes_of_other_nodes() -> None:
    bench = Reading()
    bench.member(state(WEST))
    bench.guest()
    mine = bench.leased(owner=FAR_DRIVER)
    bench.say(WEST, FarRelease(FAR_DRIVER, (mine,), False), FarEvict(FAR_DRIVER, (mine,)))
    bench.say(DRIVER, FarRelease(FAR_DRIVER, (mine,), False))
    assert bench.counts["word for a process of another node"] == 3
    assert bench.regions() == [mine]


def test_a_far_owner_is_not_asked_for_room() -> None:
    bench = Reading()
    bench.guest()
    for _ in range(4):
        bench.leased(owner=FAR_DRIVER)
    assert told(bench.want(owner=FAR_DRIVER), AskEvict) == []
    (refused,) = told(bench.advance(STORE_FULL_NS + 1), RegionsRefused)
    assert refused.holders[0].name.startswith("process of another node")


def test_the_refusal_names_nodes_that_copy() -> None:
    bench = Reading()
    for _ in range(4):
        mine = bench.leased()
        bench.say(EAST, HoldRegions(3, (mine,)))
        bench.say(DRIVER, Evict((mine,), False))
    bench.want()
    (refused,) = told(bench.advance(STORE_FULL_NS + 1), RegionsRefused)
    assert refused.holders[0].name.startswith("node")


def test_an_owner_whose_node_has_not_told_of_it_is_watched() -> None:
    bench = Reading()
    said = WantRegions(1, FAR_DRIVER, NO_STREAM, MB, 1, 1, EAST)
    done = bench.say(WRITER, said)
    assert messages(done, EAST) == [WatchProcess(FAR_DRIVER, 1, EAST)]
    assert told(done, RegionsLeased, WRITER) != []
    bench.gone()
    done = bench.say(WRITER, WantRegions(2, peer("later"), NO_STREAM, MB, 1, 1, EAST))
    assert told(done, RegionsRefused)[0].text == "the owner of the value is gone"


def test_what_a_dead_writer_left_is_told_to_a_far_owner_by_its_node() -> None:
    bench = Reading()
    bench.guest()
    mine = bench.leased(owner=FAR_DRIVER)
    done = bench.die(WRITER, 101) + bench.quiet()
    assert FarOrphaned(FAR_DRIVER, WRITER, (mine,)) in messages(done, EAST)
    there = Reading()
    done = there.say(EAST, FarOrphaned(DRIVER, peer("dead"), (FAR,)))
    assert messages(done, DRIVER) == [RegionsOrphaned(peer("dead"), (FAR,))]
    assert there.say(EAST, FarOrphaned(peer("nobody"), peer("dead"), (FAR,))) == []
    there.say(WRITER, FarOrphaned(DRIVER, peer("dead"), (FAR,)))
    assert there.counts["regions of a process that is no node"] == 1


def test_what_a_far_driver_owns_goes_with_its_job() -> None:
    bench = Reading()
    theirs = job("theirs")
    bench.say(EAST, ShareJob(theirs, far(FAR_DRIVER), ("lib",), "folder", ()))
    mine = bench.leased(owner=FAR_DRIVER)
    bench.say(WRITER, ReleaseRegions((mine,)))
    mine = bench.leased(owner=FAR_DRIVER)
    bench.say(EAST, EndJob(theirs))
    done = bench.say(WRITER, ReleaseRegions((mine,)))
    assert done == []
    assert bench.regions() == []


# -- members ---------------------------------------------------------------------------------------
def test_what_is_not_copied_yet_is_lost_with_its_node_and_what_is_stays() -> None:
    bench = Reading()
    bench.copied()
    bench.hold(FAR_TOO)
    for _ in range(2):
        bench.leased()
    bench.hold(region_number(node_tag(EAST), 9))
    done = bench.gone()
    lost = told(done, RegionsHeld, DRIVER)
    assert [each.reason for each in lost] == ["its node is gone"] * 2
    assert FAR in bench.regions()
    assert told(bench.hold(FAR_TOO), RegionsHeld, DRIVER)[0].reason == "its node is gone"
    assert bench.say(DRIVER, ReleaseRegions((FAR,))) == []
    assert FAR not in bench.regions()


def test_words_about_a_node_that_is_not_known_wait_for_it() -> None:
    bench = Reading(knows=False)
    assert bench.say(DRIVER, Evict((FAR,), False)) == []
    assert bench.hold(FAR) == []
    assert bench.say(DRIVER, ReleaseRegions((FAR_TOO,))) == []
    bench.hold(FAR_TOO, by=WRITER)
    bench.die(WRITER, 101)
    done = bench.member()
    assert messages(done, EAST) == [
        FarEvict(DRIVER, (FAR,)),
        FarRelease(DRIVER, (FAR_TOO,), False),
        HoldRegions(1, (FAR,)),
    ]


def test_a_node_that_nobody_knows_is_not_waited_for_for_ever() -> None:
    bench = Reading(knows=False)
    bench.hold(FAR)
    bench.hold(WESTERN)
    assert bench.due_ns is not None
    done = bench.advance(NODE_UNKNOWN_NS + 1)
    lost = told(done, RegionsHeld, DRIVER)
    assert [each.reason for each in lost] == ["its node is gone"] * 2


def test_two_nodes_that_nobody_knows_are_waited_for_once_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Reading(knows=False)
    bench.hold(FAR, WESTERN)
    (lost,) = told(bench.advance(2 * NODE_UNKNOWN_NS + 2), RegionsHeld, DRIVER)
    assert lost.lost == (FAR, WESTERN)
    (lost,) = told(bench.hold(WESTERN), RegionsHeld, DRIVER)
    assert lost.reason == "its node is gone"
    bench.member()
    assert messages(bench.hold(FAR), EAST) == [HoldRegions(1, (FAR,))]
    monkeypatch.setattr(early_words, "NODES_GONE_COUNT_MAX", 0)
    alone = Reading(knows=False)
    alone.hold(FAR)
    alone.advance(NODE_UNKNOWN_NS + 1)
    assert told(alone.hold(FAR), RegionsHeld, DRIVER) == [], "it waits once more"
    alone.advance(NODE_UNKNOWN_NS + 1)
