import pytest

from zgen.core.effects import (
    Effect,
)
from zgen.core.store_effects import (
    CloseSlab,
    CreateSlab,
    PopulateSlab,
    PunchRegion,
)
from zgen.limits import (
    COOL_STEP_BYTES,
    INLINE_BYTES_MAX,
    POPULATE_BYTES_MAX,
    REGION_SHARED_BYTES_MAX,
    REGION_WARM_NS,
    SLAB_BYTES,
)
from zgen.wire.store import Place
from zgen_node.core.slab_table import PAGE_BYTES, SlabTable, size_class

KB, MB = 1 << 10, 1 << 20


class Rooms(SlabTable):
    """A table that is checked after every call and remembers what it asked for."""

    def __init__(self, capacity_bytes: int) -> None:
        super().__init__(capacity_bytes)
        self.out: list[Effect] = []
        self.now_ns = 0

    def get(self, room_bytes: int) -> Place:
        place = self.take(room_bytes, self.now_ns, self.out)
        self.check()
        assert place is not None
        return place

    def put(self, place: Place, is_written: bool = True, now_ns: int = 0) -> None:
        self.free(place, is_written, now_ns, self.out)
        self.check()

    def due_ns(self) -> int | None:
        return self.next_deadline_ns

    def done(self) -> list[Effect]:
        done, self.out = self.out, []
        return done


@pytest.mark.parametrize("size_bytes", [INLINE_BYTES_MAX + 1, 1_000_003, 8 * MB, 8 * MB + 1, 10**9])
def test_a_size_class_wastes_little_and_is_its_own_class(size_bytes: int) -> None:
    room_bytes = size_class(size_bytes)
    steps = 8 if size_bytes <= REGION_SHARED_BYTES_MAX else 16
    assert size_bytes <= room_bytes <= size_bytes + max(size_bytes // steps, PAGE_BYTES)
    assert room_bytes % PAGE_BYTES == 0
    assert size_class(room_bytes) == room_bytes


def test_the_smallest_class_is_a_page() -> None:
    assert [size_class(size_bytes) for size_bytes in (-1, 0, 1, 4096, 4097)] == [
        *[4096] * 4,
        8192,
    ]


def test_rooms_of_one_class_share_a_slab() -> None:
    rooms = Rooms(64 * MB)
    first, second = rooms.get(MB), rooms.get(MB)
    assert first == Place(1, 0, MB, SLAB_BYTES, False)
    assert second == Place(1, MB, MB, SLAB_BYTES, False)
    assert rooms.done() == [CreateSlab(1, SLAB_BYTES, is_shared=True)]
    assert rooms.used_bytes == 2 * MB


def test_a_full_slab_is_followed_by_another() -> None:
    rooms = Rooms(64 * MB)
    places = [rooms.get(8 * MB) for _ in range(5)]
    assert [place.slab for place in places] == [1, 1, 1, 1, 2]
    rooms.put(places[1], is_written=False)
    assert rooms.get(8 * MB).slab == 2


def test_a_large_room_has_a_slab_of_its_own() -> None:
    rooms = Rooms(64 * MB)
    assert rooms.get(9 * MB) == Place(1, 0, 9 * MB, 9 * MB, False)
    assert rooms.get(9 * MB).slab == 2


def test_what_is_larger_than_the_capacity_has_no_class() -> None:
    rooms = Rooms(10 * MB + 100)
    assert rooms.room_bytes(10 * MB + 1) is None
    assert rooms.room_bytes(MB + 1) == 9 * MB // 8


def test_what_just_fits_gets_a_room_of_the_whole_capacity() -> None:
    rooms = Rooms(10 * MB + 8192)
    assert rooms.room_bytes(10 * MB + 1) == 10 * MB + 8192
    rooms.get(10 * MB + 8192)


def test_a_written_room_is_used_again_warm_the_last_one_first() -> None:
    rooms = Rooms(64 * MB)
    places = [rooms.get(MB) for _ in range(3)]
    for place in places:
        rooms.put(place)
    assert rooms.used_bytes == rooms.warm_bytes == 3 * MB
    again = [rooms.get(MB) for _ in range(3)]
    assert [place.offset for place in again] == [2 * MB, MB, 0]
    assert all(place.is_warm for place in again)
    assert rooms.warm_bytes == 0


def test_a_fresh_room_that_was_not_written_as_a_whole_is_punched_and_fresh() -> None:
    rooms = Rooms(64 * MB)
    kept, place = rooms.get(MB), rooms.get(MB)
    rooms.put(place, is_written=False)
    assert rooms.done() == [CreateSlab(1, SLAB_BYTES, is_shared=True), PunchRegion(1, MB, MB)]
    assert rooms.used_bytes == MB
    assert rooms.get(MB) == place
    rooms.put(kept)
    assert rooms.done() == []


def test_a_warm_room_stays_warm_whether_it_was_written_or_not() -> None:
    rooms = Rooms(64 * MB)
    rooms.put(rooms.get(MB))
    rooms.put(rooms.get(MB), is_written=False)
    assert rooms.has_warm(MB)


def test_a_slab_of_fresh_rooms_only_is_closed_and_never_used_again() -> None:
    rooms = Rooms(64 * MB)
    rooms.put(rooms.get(MB), is_written=False)
    assert rooms.done() == [
        CreateSlab(1, SLAB_BYTES, is_shared=True),
        PunchRegion(1, 0, SLAB_BYTES),
        CloseSlab(1),
    ]
    assert rooms.get(MB).slab == 2


def test_the_last_room_of_a_full_slab_closes_it_too() -> None:
    rooms = Rooms(64 * MB)
    rooms.put(rooms.get(40 * MB), is_written=False)
    assert rooms.done()[1:] == [PunchRegion(1, 0, 40 * MB), CloseSlab(1)]


def test_a_room_that_is_free_for_long_is_cooled() -> None:
    rooms = Rooms(64 * MB)
    kept, early, late = (rooms.get(MB) for _ in range(3))
    assert rooms.due_ns() is None
    rooms.put(early, now_ns=10)
    rooms.put(late, now_ns=20)
    rooms.done()
    assert rooms.due_ns() == 10 + REGION_WARM_NS
    rooms.on_timer(10 + REGION_WARM_NS, rooms.out)
    rooms.check()
    assert rooms.done() == [PunchRegion(1, early.offset, MB)]
    assert (rooms.used_bytes, rooms.warm_bytes) == (2 * MB, MB)
    rooms.put(kept, now_ns=30)
    rooms.on_timer(30 + REGION_WARM_NS, rooms.out)
    rooms.check()
    assert rooms.done() == [PunchRegion(1, 0, SLAB_BYTES), CloseSlab(1)]
    assert rooms.used_bytes == 0


def test_much_that_is_free_for_long_is_cooled_in_steps() -> None:
    rooms = Rooms(256 * MB)
    count = 2 * COOL_STEP_BYTES // (8 * MB) + 1
    for place in [rooms.get(8 * MB) for _ in range(count)]:
        rooms.put(place)
    left: list[int] = []
    while rooms.due_ns() is not None:
        rooms.on_timer(REGION_WARM_NS, rooms.out)
        rooms.check()
        left.append(rooms.used_bytes)
    assert left == [COOL_STEP_BYTES + 8 * MB, 8 * MB, 0]


def test_nothing_is_taken_beyond_the_capacity() -> None:
    rooms = Rooms(2 * MB)
    first = rooms.get(MB)
    rooms.get(MB)
    assert rooms.short_bytes(MB) == MB
    assert rooms.take(MB, 0, rooms.out) is None
    assert rooms.take(PAGE_BYTES, 0, rooms.out) is None
    rooms.put(first)
    assert rooms.short_bytes(MB) == 0
    assert rooms.short_bytes(2 * MB) == MB


def test_other_classes_give_their_warm_rooms_the_longest_free_first() -> None:
    rooms = Rooms(4 * MB)
    small = [rooms.get(MB) for _ in range(4)]
    for now_ns, place in enumerate(small):
        rooms.put(place, now_ns=now_ns)
    rooms.done()
    big = rooms.get(3 * MB // 2)
    assert rooms.done() == [
        PunchRegion(1, 0, MB),
        PunchRegion(1, MB, MB),
        CreateSlab(2, SLAB_BYTES, is_shared=True),
    ]
    assert big.slab == 2
    assert rooms.used_bytes == 3 * MB // 2 + 2 * MB


def test_warm_rooms_give_no_more_than_is_lacking() -> None:
    rooms = Rooms(4 * MB)
    places = [rooms.get(MB) for _ in range(3)]
    for place in places:
        rooms.put(place)
    rooms.done()
    rooms.get(2 * MB)
    assert rooms.done()[:1] == [PunchRegion(1, 0, MB)]
    assert rooms.warm_bytes == 2 * MB


def test_a_slab_closes_while_another_of_its_class_is_open() -> None:
    rooms = Rooms(128 * MB)
    places = [rooms.get(8 * MB) for _ in range(6)]
    rooms.put(places[0], is_written=False)
    for place in places[4:]:
        rooms.put(place, is_written=False)
    assert rooms.done()[-1] == CloseSlab(2)
    assert rooms.get(8 * MB).slab == 1


def test_the_next_large_room_is_made_ahead_and_warm_once_it_has_its_pages() -> None:
    rooms = Rooms(128 * MB)
    assert not rooms.get(9 * MB).is_warm
    assert rooms.done() == [
        CreateSlab(1, 9 * MB),
        CreateSlab(2, 9 * MB),
        PopulateSlab(2, 9 * MB),
    ]
    assert (rooms.used_bytes, rooms.warm_bytes) == (18 * MB, 9 * MB)
    rooms.populated(2)
    assert rooms.get(9 * MB) == Place(2, 0, 9 * MB, 9 * MB, True)
    assert rooms.done() == [CreateSlab(3, 9 * MB), PopulateSlab(3, 9 * MB)]


def test_a_room_that_is_taken_before_it_has_its_pages_is_fresh_to_its_writer() -> None:
    rooms = Rooms(128 * MB)
    rooms.get(9 * MB)
    early = rooms.get(9 * MB)
    assert early == Place(2, 0, 9 * MB, 9 * MB, False)
    rooms.populated(2)
    rooms.put(early, is_written=False)  # punched, since nobody knows what it has
    assert PunchRegion(2, 0, 9 * MB) in rooms.done()


def test_what_was_used_before_makes_nothing_ahead() -> None:
    rooms = Rooms(128 * MB)
    first = rooms.get(9 * MB)
    second = rooms.get(9 * MB)
    for place in (first, second):
        rooms.put(place)
    rooms.done()
    assert rooms.get(9 * MB) == Place(2, 0, 9 * MB, 9 * MB, True)
    assert rooms.done() == []


@pytest.mark.parametrize(
    ("capacity_bytes", "room_bytes"),
    [(64 * MB, 17 * MB), (64 * MB, 8 * MB), (2048 * MB, POPULATE_BYTES_MAX + 16 * MB)],
    ids=["more than half of the store", "shares a slab", "very large"],
)
def test_nothing_is_made_ahead_of_what_is(capacity_bytes: int, room_bytes: int) -> None:
    rooms = Rooms(capacity_bytes)
    rooms.get(room_bytes)
    assert [type(effect) for effect in rooms.done()] == [CreateSlab]


def test_what_was_made_ahead_and_not_taken_goes_like_all_that_is_warm() -> None:
    rooms = Rooms(64 * MB)
    rooms.now_ns = 5
    rooms.get(9 * MB)
    assert rooms.due_ns() == 5 + REGION_WARM_NS
    rooms.on_timer(5 + REGION_WARM_NS, rooms.out)
    rooms.check()
    assert rooms.done()[-2:] == [PunchRegion(2, 0, 9 * MB), CloseSlab(2)]
    rooms.populated(2)
    rooms.check()
    assert (rooms.used_bytes, rooms.warm_bytes) == (9 * MB, 0)


@pytest.mark.parametrize("part", ["_slabs", "_open", "_warm", "_warm_of"])
def test_a_one_sided_entry_is_found_by_the_check(part: str) -> None:
    rooms = Rooms(64 * MB)
    rooms.get(2 * MB)
    rooms.put(rooms.get(MB))
    getattr(rooms, part).clear()
    with pytest.raises((AssertionError, KeyError)):
        rooms.check()
