import pytest

from tests.unit.node.fakes import peer
from zgen.ids import PeerId
from zgen.wire.store import Place
from zgen_node.core.object_table import LEGAL, ObjectTable, Region, RegionState

OWNER, WRITER, READER = peer("owner"), peer("writer"), peer("reader")
ROOM = 4096


class Objects(ObjectTable):
    """A table with regions that lie one behind the other."""

    def make(self, owner: PeerId = OWNER, writer: PeerId = WRITER) -> Region:
        region = self.lease(Place(1, len(self) * ROOM, ROOM, 1 << 20, False), owner, writer)
        self.check()
        return region

    def spill(self, region: Region) -> None:
        self.evict(region)
        self.check()
        self.move(region, RegionState.SPILLING, region.place, "test", 0)
        self.check()
        self.move(region, RegionState.SPILLED, None, "test", 0)
        self.check()


def test_the_owner_holds_a_region_from_its_grant_on() -> None:
    table = Objects()
    first, second = table.make(), table.make()
    assert (first.region, second.region) == (1, 2)
    assert table.owners() == [(OWNER, 2 * ROOM)]
    assert table.get(1) is first
    assert table.all() == [first, second]
    assert table.idle() is None


def test_a_number_is_never_used_again() -> None:
    table = Objects()
    first = table.make()
    table.release(first, False)
    table.end(first, "test", 0)
    table.check()
    assert table.get(1) is None
    assert table.make().region == 2


def test_a_process_holds_a_region_once() -> None:
    table = Objects()
    region = table.make()
    table.hold(region, READER)
    table.hold(region, READER)
    table.check()
    assert table.unhold(region, READER)
    assert not table.unhold(region, READER)
    assert table.holders(5) == [(OWNER, ROOM, 1)]


def test_what_its_owner_gave_up_is_idle_in_that_order_until_somebody_holds_it() -> None:
    table = Objects()
    first, second = table.make(), table.make()
    assert table.evict(second)
    assert table.evict(first)
    assert not table.evict(first)
    table.check()
    assert table.idle() is second
    assert table.owners() == []
    table.hold(second, READER)
    table.check()
    assert table.idle() is first


def test_what_a_reader_holds_is_not_idle() -> None:
    table = Objects()
    region = table.make()
    table.hold(region, READER)
    table.evict(region)
    table.check()
    assert table.idle() is None
    table.unhold(region, READER)
    table.check()
    assert table.idle() is region


def test_the_largest_holders_come_first() -> None:
    table = Objects()
    regions = [table.make(), table.make(WRITER, WRITER)]
    for region in regions:
        table.hold(region, READER)
    assert table.holders(2) == [(READER, 2 * ROOM, 2), (OWNER, ROOM, 1)]


def test_a_region_is_over_when_it_is_released_and_nobody_holds_it() -> None:
    table = Objects()
    region = table.make()
    table.hold(region, READER)
    table.release(region, False)
    table.check()
    assert (region.is_released, region.is_over) == (True, False)
    table.unhold(region, READER)
    assert region.is_over
    assert table.idle() is None


@pytest.mark.parametrize("unwritten", [True, False])
def test_a_release_says_whether_the_region_was_written(unwritten: bool) -> None:
    table = Objects()
    region = table.make()
    table.release(region, unwritten)
    assert region.is_written is not unwritten


def test_what_was_learned_of_is_written_whatever_its_release_says() -> None:
    table = Objects()
    region = table.make()
    table.hold(region, READER)
    table.release(region, True)
    assert region.is_written


def test_what_the_dead_wrote_is_not_written_at_the_word_of_others() -> None:
    table = Objects()
    region = table.make()
    table.died(WRITER)
    table.check()
    table.release(region, False)
    assert not region.is_written


def test_a_region_on_disk_is_counted_and_nobody_holds_it() -> None:
    table = Objects()
    region = table.make()
    table.spill(region)
    assert (table.spilled_bytes, table.spilled_count) == (ROOM, 1)
    assert table.idle() is None
    table.move(region, RegionState.RESTORING, Place(2, 0, ROOM, ROOM, False), "test", 0)
    table.check()
    assert (table.spilled_bytes, table.spilled_count) == (0, 0)
    table.move(region, RegionState.MEMORY, region.place, "test", 0)
    table.check()
    assert table.idle() is region


def test_a_region_ends_on_disk() -> None:
    table = Objects()
    region = table.make()
    table.spill(region)
    table.release(region, False)
    assert region.is_over
    table.end(region, "test", 0)
    table.check()
    assert table.spilled_count == 0


def test_a_region_that_the_disk_is_at_is_not_over() -> None:
    table = Objects()
    region = table.make()
    table.evict(region)
    table.move(region, RegionState.SPILLING, region.place, "test", 0)
    table.release(region, False)
    table.check()
    assert not region.is_over


def test_a_dead_owner_leaves_regions_to_their_living_writers() -> None:
    table = Objects()
    left, own, held = table.make(), table.make(OWNER, OWNER), table.make(READER, READER)
    table.hold(held, OWNER)
    touched, orphans = table.died(OWNER)
    assert orphans == {WRITER: [left.region]}
    assert sorted(region.region for region in touched) == [1, 2, 3]
    assert [region.is_over for region in (left, own, held)] == [False, True, False]
    table.end(own, "test", 0)
    table.check()
    assert table.idle() is None
    assert table.told(OWNER) == {}


def test_a_dead_writer_leaves_to_its_owners_what_they_have_not_released_when_told() -> None:
    table = Objects()
    kept, released, other = table.make(), table.make(), table.make(READER)
    assert table.died(WRITER)[1] == {}
    table.check()
    table.release(released, False)
    table.end(released, "test", 0)
    assert table.told(WRITER) == {OWNER: [kept.region], READER: [other.region]}
    table.check()
    assert table.told(WRITER) == {}
    touched, orphans = table.died(OWNER)
    assert (touched, orphans) == ([kept], {})
    assert kept.is_over


def test_the_second_death_releases_what_the_first_left() -> None:
    table = Objects()
    region = table.make()
    assert table.died(OWNER)[1] == {WRITER: [region.region]}
    touched, orphans = table.died(WRITER)
    assert (touched, orphans) == ([region], {})
    assert region.is_over
    assert table.told(WRITER) == {}


def test_a_region_that_was_reported_is_not_idle_for_nobody() -> None:
    table = Objects()
    region = table.make()
    table.evict(region)
    table.died(WRITER)
    assert table.idle() is region
    table.died(OWNER)
    assert table.idle() is None


def test_an_illegal_move_tells_the_story() -> None:
    table = Objects()
    region = table.make()
    table.spill(region)
    with pytest.raises(AssertionError, match="SPILLING -> SPILLED"):
        table.move(region, RegionState.SPILLING, None, "test", 0)


def test_every_state_but_the_last_can_be_left() -> None:
    assert [state for state, moves in LEGAL.items() if not moves] == [RegionState.OVER]


@pytest.mark.parametrize("part", ["_owned", "_written", "_held", "_held_bytes", "_idle"])
def test_a_one_sided_entry_is_found_by_the_check(part: str) -> None:
    table = Objects()
    table.make()
    table.evict(table.make())
    getattr(table, part).clear()
    with pytest.raises((AssertionError, KeyError)):
        table.check()
