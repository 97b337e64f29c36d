import json

import pytest

from tests.unit.node.fakes import DRIVER, JOB, Bench, ask, peer
from tests.unit.node.store_bench import (
    MB,
    READER,
    WRITER,
    StoreBench,
    of,
    restores,
    spills,
    told,
)
from zgen.core.effects import (
    Send,
)
from zgen.core.events import Leave, ProcessExited
from zgen.core.store_effects import (
    CloseSlab,
    CreateSlab,
    ForgetSpilled,
    PunchRegion,
    SpillRegion,
)
from zgen.core.store_events import SlabPopulated
from zgen.ids import PeerId
from zgen.limits import DISK_AGAIN_NS, EVICT_AGAIN_NS, STORE_BYTES_MIN, STORE_FULL_NS
from zgen.wire.lease import EndJob, NodeReport, ProcessDown, QueryNode
from zgen.wire.store import (
    REFUSED_DISK,
    REFUSED_FULL,
    REFUSED_TOO_LARGE,
    AskEvict,
    Evict,
    RegionsHeld,
    RegionsLeased,
    RegionsOrphaned,
    RegionsRefused,
    UnholdRegions,
)

STRANGER = peer("stranger")


# -- room ------------------------------------------------------------------------------------------
def test_a_writer_gets_a_region_of_a_slab_that_exists() -> None:
    bench = StoreBench()
    done = bench.want(size_bytes=MB - 5)
    assert [type(effect) for effect in done] == [CreateSlab, Send]
    (leased,) = told(done, RegionsLeased, WRITER)
    (region,) = leased.regions
    assert leased.request == bench.request
    assert (region.region, region.place.room, region.place.is_warm) == (1, MB, False)
    assert bench.used_bytes == MB


def test_a_large_room_that_was_made_ahead_is_warm_once_it_has_its_pages() -> None:
    bench = StoreBench(store_bytes=64 * MB)
    assert not bench.lease(size_bytes=9 * MB).place.is_warm
    bench.step(SlabPopulated(2))
    assert bench.lease(size_bytes=9 * MB).place.is_warm


def test_more_is_leased_ahead_while_half_of_the_store_is_free() -> None:
    bench = StoreBench(store_bytes=8 * MB)
    (leased,) = told(bench.want(count=16), RegionsLeased)
    assert [region.region for region in leased.regions] == [1, 2, 3, 4]
    (leased,) = told(bench.want(count=16), RegionsLeased)
    assert len(leased.regions) == 1


def test_what_is_warm_is_leased_ahead_beyond_half() -> None:
    bench = StoreBench()
    regions = bench.fill()
    bench.release(DRIVER, *regions[:3])
    (leased,) = told(bench.want(count=3), RegionsLeased)
    assert [region.place.is_warm for region in leased.regions] == [True] * 3


def test_nothing_is_leased_ahead_while_others_wait() -> None:
    bench = StoreBench()
    regions = bench.fill()
    bench.want(count=2)
    bench.want(count=2)
    done = bench.release(DRIVER, *regions)
    assert [len(leased.regions) for leased in told(done, RegionsLeased)] == [1, 2]


def test_what_is_larger_than_the_store_is_refused_at_once() -> None:
    bench = StoreBench()
    (refused,) = told(bench.want(size_bytes=4 * MB + 1), RegionsRefused)
    assert (refused.reason, refused.holders) == (REFUSED_TOO_LARGE, ())
    assert "4194305" in refused.text


def test_strangers_get_no_room_and_no_hold() -> None:
    bench = StoreBench()
    bench.lease()
    bench.join(STRANGER)
    done = bench.want(STRANGER)
    assert told(done, RegionsRefused, STRANGER)[0].reason == REFUSED_FULL
    assert bench.held(STRANGER, 1).lost == (1,)
    assert bench.counts["room wanted by a stranger"] == bench.counts["hold by a stranger"] == 1


def test_nobody_writes_for_an_owner_that_is_gone() -> None:
    bench = StoreBench()
    (refused,) = told(bench.want(owner=peer("nobody")), RegionsRefused)
    assert refused.text == "the owner of the value is gone"


def test_the_report_tells_of_the_store() -> None:
    bench = StoreBench()
    bench.fill()
    bench.want()
    bench.join(STRANGER)
    (report,) = told(bench.say(STRANGER, QueryNode(1)), NodeReport)
    assert json.loads(report.state)["store"] == {
        "capacity_bytes": 4 * MB,
        "used_bytes": 4 * MB,
        "regions": 4,
        "spilled_bytes": 0,
        "spilled_regions": 0,
        "waiting": 1,
    }


# -- the end of regions ----------------------------------------------------------------------------
def test_a_released_region_is_warm_for_the_next_writer() -> None:
    bench = StoreBench()
    first = bench.lease()
    bench.release(DRIVER, first.region)
    again = bench.lease()
    assert again.region != first.region
    assert again.place.is_warm
    assert (again.place.slab, again.place.offset) == (first.place.slab, first.place.offset)


@pytest.mark.parametrize("who", [WRITER, DRIVER])
def test_an_unwritten_region_is_as_fresh_as_before(who: PeerId) -> None:
    bench = StoreBench()
    done = bench.release(who, bench.lease().region, unwritten=True)
    assert [type(effect) for effect in done] == [PunchRegion, CloseSlab]
    assert bench.used_bytes == 0


def test_a_region_that_a_reader_holds_stays_when_its_owner_releases_it() -> None:
    bench = StoreBench()
    region = bench.lease().region
    assert bench.held(READER, region).regions[0].region == region
    bench.release(DRIVER, region)
    assert bench.warm_bytes == 0
    assert bench.held(DRIVER, region).lost == (region,)
    assert bench.held(READER, region).lost == ()
    assert bench.release(DRIVER, region) == []
    bench.say(READER, UnholdRegions((region,)))
    assert bench.warm_bytes == MB


def test_a_second_release_and_a_second_end_of_a_hold_are_harmless() -> None:
    bench = StoreBench()
    region = bench.lease().region
    bench.say(READER, UnholdRegions((region,)))
    bench.release(DRIVER, region)
    bench.release(DRIVER, region)
    bench.say(READER, UnholdRegions((region,)))
    bench.say(DRIVER, Evict((region,), False))
    assert bench.counts == {}


def test_another_process_can_neither_release_nor_evict_a_region() -> None:
    bench = StoreBench()
    region = bench.lease().region
    bench.release(READER, region)
    bench.say(WRITER, Evict((region,), False))
    assert bench.counts == {"release of another's region": 1, "eviction of another's region": 1}
    assert bench.held(READER, region).lost == ()


def test_an_owner_gives_up_once_what_it_holds() -> None:
    bench = StoreBench()
    regions = bench.fill()
    bench.want(size_bytes=2 * MB)
    assert spills(bench.say(DRIVER, Evict((regions[0],), False))) == [regions[0]]
    assert told(bench.say(DRIVER, Evict((regions[0],), False)), AskEvict) == []


def test_a_region_that_was_never_there_is_lost() -> None:
    bench = StoreBench()
    region = bench.lease().region
    held = bench.held(READER, 7, region, region)
    assert (held.lost, held.reason) == ((7,), "its owner released it")
    assert [leased.region for leased in held.regions] == [region]


# -- disk ------------------------------------------------------------------------------------------
def spill_first(bench: StoreBench) -> int:
    """Fill the store, and have the first region spilled for one more."""
    first, *_ = bench.fill()
    bench.want()
    bench.say(DRIVER, Evict((first,), False))
    bench.spilled(first)
    return first


def test_a_region_that_is_held_while_it_is_spilled_stays() -> None:
    bench = StoreBench()
    first, second, *_ = bench.fill()
    bench.want()
    bench.say(DRIVER, Evict((first,), False))
    assert bench.held(READER, first).lost == ()
    done = bench.spilled(first)
    assert ForgetSpilled(first) in done
    assert told(done, RegionsLeased) == []
    assert spills(bench.say(DRIVER, Evict((second,), False))) == [second]


def test_a_region_that_is_released_while_it_is_spilled_is_freed_after_that() -> None:
    bench = StoreBench()
    first, *_ = bench.fill()
    bench.want()
    bench.say(DRIVER, Evict((first,), False))
    assert bench.release(DRIVER, first) == []
    done = bench.spilled(first)
    assert ForgetSpilled(first) in done
    assert len(told(done, RegionsLeased)) == 1
    assert bench.report()["spilled_regions"] == 0


def test_a_released_region_whose_spill_fails_is_freed_too() -> None:
    bench = StoreBench()
    first, *_ = bench.fill()
    bench.want()
    bench.say(DRIVER, Evict((first,), False))
    bench.release(DRIVER, first)
    done = bench.spilled(first, failure="no space", full=True)
    assert of(done, ForgetSpilled) == []
    assert len(told(done, RegionsLeased)) == 1


def test_no_more_is_spilled_than_is_lacking() -> None:
    bench = StoreBench()
    regions = bench.fill()
    bench.want()
    assert spills(bench.say(DRIVER, Evict(tuple(regions), False))) == regions[:1]
    bench.want()
    assert spills(bench.spilled(regions[0])) == regions[1:2]


def test_a_spilled_region_comes_back_for_its_reader_before_any_writer() -> None:
    bench = StoreBench()
    first = spill_first(bench)
    bench.want()
    assert of(bench.hold(READER, first, 2), Send) == []
    assert restores(bench.release(DRIVER, 3)) == [first]
    bench.release(DRIVER, 4)
    (held,) = told(bench.restored(first), RegionsHeld, READER)
    assert [leased.region for leased in held.regions] == [first, 2]
    assert held.regions[0].place.is_warm
    assert bench.report()["spilled_regions"] == 0


def test_all_who_want_a_spilled_region_get_it_with_one_restore() -> None:
    bench = StoreBench()
    first = spill_first(bench)
    bench.hold(READER, first)
    bench.hold(DRIVER, first)
    assert restores(bench.release(DRIVER, 2)) == [first]
    assert bench.hold(WRITER, first) == []
    assert len(told(bench.restored(first), RegionsHeld)) == 3


def test_a_reader_is_told_once_when_all_it_wants_is_back() -> None:
    bench = StoreBench(store_bytes=8 * MB)
    first, second, *rest = bench.fill(count=8)
    bench.want(size_bytes=2 * MB)
    bench.say(DRIVER, Evict((first, second), False))
    bench.spilled(first, second)
    bench.hold(READER, first, second)
    assert restores(bench.release(DRIVER, *rest[:2])) == [first, second]
    assert told(bench.restored(second), RegionsHeld) == []
    (held,) = told(bench.restored(first), RegionsHeld)
    assert [leased.region for leased in held.regions] == [first, second]


def test_a_spilled_region_without_room_is_lost_to_its_reader_after_a_while() -> None:
    bench = StoreBench()
    first = spill_first(bench)
    bench.hold(READER, first)
    (held,) = told(bench.advance(STORE_FULL_NS), RegionsHeld)
    assert held.lost == (first,)
    assert "no room" in held.reason
    assert held.is_full
    bench.hold(READER, first)
    assert restores(bench.release(DRIVER, 2)) == [first]


def test_a_region_that_cannot_be_read_back_is_lost_for_good() -> None:
    bench = StoreBench()
    first = spill_first(bench)
    bench.release(DRIVER, 2)
    bench.hold(READER, first)
    bench.hold(WRITER, first, 3)
    done = bench.restored(first, failure="checksum")
    assert ForgetSpilled(first) in done
    assert [held.lost for held in told(done, RegionsHeld)] == [(first,), (first,)]
    assert "checksum" in told(done, RegionsHeld)[0].reason
    assert bench.held(READER, first).lost == (first,)
    assert bench.lease().place.room == MB


def test_a_reader_that_lost_one_region_still_waits_for_the_others() -> None:
    bench = StoreBench(store_bytes=8 * MB)
    first, second, *rest = bench.fill(count=8)
    bench.want(size_bytes=2 * MB)
    bench.say(DRIVER, Evict((first, second), False))
    bench.spilled(first, second)
    bench.hold(READER, first, second)
    assert told(bench.release(DRIVER, first), RegionsHeld) == []
    bench.release(DRIVER, rest[0])
    (held,) = told(bench.restored(second), RegionsHeld)
    assert (held.lost, held.regions[0].region) == ((first,), second)


def test_a_spilled_region_is_forgotten_when_it_is_released_and_its_reader_told() -> None:
    bench = StoreBench()
    first = spill_first(bench)
    bench.hold(READER, first, 2)
    done = bench.release(DRIVER, first)
    assert ForgetSpilled(first) in done
    (held,) = told(done, RegionsHeld)
    assert (held.lost, held.reason) == ((first,), "its owner released it")
    assert [leased.region for leased in held.regions] == [2]


def test_a_region_that_is_released_while_it_comes_back_is_freed_and_its_reader_told() -> None:
    bench = StoreBench()
    first = spill_first(bench)
    bench.release(DRIVER, 2)
    assert restores(bench.hold(READER, first)) == [first]
    bench.release(DRIVER, first)
    (held,) = told(bench.restored(first), RegionsHeld)
    assert held.lost == (first,)
    assert bench.warm_bytes == MB


def test_a_full_disk_is_left_alone_for_a_while_and_named_in_the_end() -> None:
    bench = StoreBench()
    regions = bench.fill()
    bench.want()
    bench.say(DRIVER, Evict(tuple(regions[:2]), False))
    assert of(bench.spilled(regions[0], failure="no space", full=True), SpillRegion, Send) == []
    assert bench.held(DRIVER, regions[0]).lost == ()
    assert spills(bench.advance(DISK_AGAIN_NS - 1)) == []
    assert spills(bench.advance(1)) == regions[1:2]
    bench.spilled(regions[1], failure="no space", full=True)
    refused: list[RegionsRefused] = []
    for _ in range(2 * STORE_FULL_NS // DISK_AGAIN_NS):
        done = bench.advance(DISK_AGAIN_NS // 2)
        refused += told(done, RegionsRefused)
        bench.spilled(*spills(done), failure="no space", full=True)
    assert [each.reason for each in refused] == [REFUSED_DISK]
    assert "no space" in refused[0].text


def test_a_disk_that_works_again_is_no_longer_named() -> None:
    bench = StoreBench()
    regions = bench.fill()
    bench.want()
    bench.say(DRIVER, Evict((regions[0],), False))
    bench.spilled(regions[0], failure="broken")
    assert spills(bench.advance(DISK_AGAIN_NS)) == [regions[0]]
    assert len(told(bench.spilled(regions[0]), RegionsLeased)) == 1
    bench.want()
    (refused,) = told(bench.advance(STORE_FULL_NS), RegionsRefused)
    assert refused.reason == REFUSED_FULL
    assert "spilling" not in refused.text


def test_a_request_waits_for_a_spill_on_its_way_but_not_for_a_disk_that_hangs() -> None:
    bench = StoreBench()
    regions = bench.fill()
    bench.want()
    bench.advance(STORE_FULL_NS - 1)
    assert spills(bench.say(DRIVER, Evict((regions[0],), False))) == [regions[0]]
    assert told(bench.advance(STORE_FULL_NS - 1), RegionsRefused) == []
    assert len(told(bench.advance(EVICT_AGAIN_NS), RegionsRefused)) == 1
    bench.spilled(regions[0])


# -- deaths ----------------------------------------------------------------------------------------
def test_what_a_dead_process_put_is_free_at_once() -> None:
    bench = StoreBench()
    bench.lease(WRITER, WRITER)
    done = bench.die(WRITER)
    assert of(done, PunchRegion, CloseSlab) != []
    assert bench.used_bytes == 0


def test_a_dead_reader_holds_nothing_and_waits_for_nothing() -> None:
    bench = StoreBench()
    first = spill_first(bench)
    bench.hold(READER, first, 2)
    bench.hold(READER, first)
    bench.release(DRIVER, 3)
    assert bench.report()["waiting"] == 0
    bench.die(READER)
    assert told(bench.restored(first), RegionsHeld) == []
    bench.release(DRIVER, first)
    assert bench.warm_bytes == MB


def test_a_region_on_disk_that_only_the_dead_wanted_is_not_restored() -> None:
    bench = StoreBench()
    first = spill_first(bench)
    bench.hold(READER, first)
    assert bench.report()["waiting"] == 1
    bench.die(READER)
    assert bench.report()["waiting"] == 0
    assert restores(bench.release(DRIVER, 2)) == []


def test_a_region_that_two_want_is_restored_for_the_one_that_lives() -> None:
    bench = StoreBench()
    first = spill_first(bench)
    bench.hold(READER, first)
    bench.hold(WRITER, first)
    bench.die(READER)
    assert restores(bench.release(DRIVER, 2)) == [first]
    assert len(told(bench.restored(first), RegionsHeld, WRITER)) == 1


def test_a_request_of_the_dead_is_dropped_and_one_for_the_dead_is_refused() -> None:
    bench = StoreBench()
    bench.fill()
    bench.want(WRITER, DRIVER)
    bench.want(WRITER, READER)
    (refused,) = told(bench.die(READER), RegionsRefused, WRITER)
    assert refused.request == bench.request
    bench.die(WRITER)
    assert bench.report()["waiting"] == 0


def test_the_owner_is_told_of_what_a_dead_writer_left_just_before_its_down() -> None:
    bench = StoreBench()
    bench.say(DRIVER, ask("a"))
    worker = next(made.worker for made in bench.machine.pool.all() if made.lease is not None)
    regions = [bench.lease(worker).region for _ in range(3)]
    bench.release(DRIVER, regions[1])
    done = [effect for effect in bench.die(worker) if isinstance(effect, Send)]
    assert done[0] == Send(DRIVER, RegionsOrphaned(worker, (regions[0], regions[2])))
    assert isinstance(done[1].message, ProcessDown)
    assert told(bench.quiet(), RegionsOrphaned) == []
    bench.release(DRIVER, regions[2])
    assert bench.warm_bytes == MB, "what may be written in part was kept as written"
    bench.release(DRIVER, regions[0])
    assert bench.used_bytes == bench.warm_bytes == MB


def test_a_writer_without_a_line_is_told_of_at_once_and_in_order() -> None:
    bench = StoreBench()
    bench.say(DRIVER, ask("a"))
    worker = next(made.worker for made in bench.machine.pool.all() if made.lease is not None)
    region = bench.lease(worker).region
    bench.leave(worker)
    assert bench.used_bytes == MB
    done = [effect.message for effect in bench.die(worker) if isinstance(effect, Send)]
    assert [type(message) for message in done] == [RegionsOrphaned, ProcessDown]
    bench.release(DRIVER, region)
    assert bench.used_bytes == 0


def test_the_writer_is_told_at_once_of_what_a_dead_owner_left_and_releases_it() -> None:
    bench = StoreBench()
    regions = [bench.lease(WRITER, READER).region for _ in range(2)]
    bench.held(DRIVER, regions[0])
    done = bench.die(READER)
    assert told(done, RegionsOrphaned, WRITER) == [RegionsOrphaned(READER, tuple(regions))]
    assert bench.used_bytes == 2 * MB
    assert bench.held(WRITER, regions[1]).reason == "its owner died"
    bench.release(WRITER, *regions)
    assert bench.warm_bytes == MB
    bench.say(DRIVER, UnholdRegions((regions[0],)))
    assert bench.warm_bytes == 2 * MB


def test_what_a_dead_owner_left_is_not_spilled_while_it_may_be_written() -> None:
    bench = StoreBench()
    for _ in range(4):
        bench.lease(WRITER, READER)
    bench.want()
    assert spills(bench.die(READER)) == []


@pytest.mark.parametrize("order", [(WRITER, READER), (READER, WRITER)])
def test_a_region_whose_owner_and_writer_died_is_free_when_its_reader_lets_go(
    order: tuple[PeerId, PeerId],
) -> None:
    bench = StoreBench()
    region = bench.lease(WRITER, READER).region
    bench.held(DRIVER, region)
    for name in order:
        bench.die(name)
    assert bench.used_bytes == MB
    bench.say(DRIVER, UnholdRegions((region,)))
    assert bench.warm_bytes == MB
    assert told(bench.quiet(), RegionsOrphaned) == []


def test_a_spilled_region_of_a_dead_owner_is_forgotten_when_its_writer_answers() -> None:
    bench = StoreBench()
    regions = [bench.lease(WRITER, READER).region for _ in range(4)]
    bench.want(DRIVER, DRIVER)
    bench.say(READER, Evict((regions[0],), False))
    bench.spilled(regions[0])
    bench.die(READER)
    assert ForgetSpilled(regions[0]) in bench.release(WRITER, *regions)


def test_a_dead_owner_is_no_longer_asked_and_the_next_one_is() -> None:
    bench = StoreBench()
    bench.lease(READER, READER)
    bench.fill(count=3)
    bench.want(WRITER, READER, 2 * MB)
    bench.want(WRITER, DRIVER, 2 * MB)
    done = bench.die(READER)
    assert told(done, AskEvict, DRIVER) != []
    assert told(done, RegionsRefused, WRITER) != []


@pytest.mark.parametrize("how", ["exits", "leaves", "ends its job"])
def test_everything_is_free_when_the_driver_is_gone(how: str) -> None:
    bench = StoreBench()
    bench.lease(DRIVER, DRIVER)
    region = bench.lease().region
    if how == "exits":
        done = bench.step(ProcessExited(DRIVER, 1, "killed"))
    elif how == "leaves":
        done = bench.leave(DRIVER)
    else:
        done = bench.say(DRIVER, EndJob(JOB))
    assert told(done, RegionsOrphaned, WRITER) == [RegionsOrphaned(DRIVER, (region,))]
    bench.die(WRITER)
    assert bench.used_bytes == 0
    assert bench.report()["regions"] == 0


def test_a_driver_whose_job_is_over_gets_no_more_room() -> None:
    bench = StoreBench()
    bench.say(DRIVER, EndJob(JOB))
    assert told(bench.want(DRIVER, DRIVER), RegionsRefused) != []


def test_a_node_that_leaves_gives_no_room() -> None:
    bench = StoreBench()
    bench.step(Leave("over"))
    assert told(bench.want(), RegionsLeased) == []


def test_a_store_has_the_least_size_unless_told() -> None:
    assert Bench().machine.storage.report()["capacity_bytes"] == STORE_BYTES_MIN
