"""Real memory in one process: what is written is seen, and nothing goes under a view."""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import pickle
import threading
from collections.abc import Iterator

import numpy
import pytest

from tests.unit.io.slabs import Slabs, make_memory, slabs
from zgen.exceptions import NodeDiedError, StreamClosedError
from zgen.io import copying, shared_memory
from zgen.limits import SLABS_UNUSED_COUNT_MAX
from zgen.wire.store import Place
from zgen.wire.value import ALIGNMENT, room_bytes

PAGE = 4096


@pytest.fixture
def node() -> Iterator[Slabs]:
    with slabs() as made:
        yield made


def views_of(*parts: bytes) -> list[memoryview]:
    return [memoryview(part) for part in parts]


def maps_of_memfds() -> int:
    with open("/proc/self/maps") as maps:
        return sum("memfd:slab" in line for line in maps)


PARTS = [
    (b"a" * 100_000,),
    (b"x" * ALIGNMENT, b"y" * (ALIGNMENT + 1)),
    (b"a", b"", b"b" * 70_001, b"c" * 63),
    tuple(bytes([i]) * (i * 40) for i in range(1, 256)),
]


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("parts", PARTS, ids=["one", "two", "odd", "many"])
def test_what_was_written_is_viewed(node: Slabs, parts: tuple[bytes, ...], warm: bool) -> None:
    sizes = [len(part) for part in parts]
    room = -room_bytes(sizes) // PAGE * -PAGE + PAGE
    place = node.make(4 * room, offset=room, room=room, warm=warm)
    memory = make_memory(node)
    memory.write(place, views_of(*parts))
    views = memory.views(7, place, sizes)
    assert tuple(bytes(view) for view in views) == parts
    assert all(view.readonly and view.format == "B" for view in views)


def test_the_whole_room_of_a_fresh_region_is_written_and_nothing_beside_it(node: Slabs) -> None:
    size = 5 * len(copying._ZEROES)
    place = node.make(3 * size, offset=size, room=size)
    make_memory(node).write(place, views_of(b"v" * 100, b"w"))
    written = b"v" * 100 + bytes(28) + b"w"
    assert node.content(place) == written + bytes(size - len(written))
    assert os.stat(node.files[place.slab]).st_blocks * 512 == size


def test_writing_a_warm_region_touches_nothing_behind_the_value(node: Slabs) -> None:
    place = node.make(3 * PAGE, offset=PAGE, room=PAGE, warm=True)
    memory = make_memory(node)
    for value in (b"v", b"w"):  # first by ``pwrite``, then through the map
        memory.write(place, views_of(value * ALIGNMENT))
        around = os.pread(node.files[place.slab], 3 * PAGE, 0)
        assert around == b"\xaa" * PAGE + value * ALIGNMENT + b"\xaa" * (2 * PAGE - ALIGNMENT)


def test_a_warm_region_is_written_through_the_map_from_the_second_time_on(
    node: Slabs, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, place = make_memory(node), node.make(2 * PAGE, warm=True)
    mapped: list[int] = []
    monkeypatch.setattr(copying, "copy", lambda _address, part: mapped.append(part.nbytes))
    for _ in range(3):
        memory.write(place, views_of(b"v" * 10))
    assert mapped == [10, 10]


def test_a_system_that_takes_little_at_a_time_is_asked_until_all_is_written(
    node: Slabs, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [os.urandom(size) for size in (1, 5000, 64, 999)]
    calls = []

    def little(fd: int, batch: list[memoryview], offset: int) -> int:
        calls.append(offset)
        return os.pwrite(fd, b"".join(batch)[:777], offset)

    monkeypatch.setattr(copying, "_pwritev", little)
    place = node.make(4 * PAGE, offset=PAGE, room=2 * PAGE)
    memory = make_memory(node)
    memory.write(place, views_of(*parts))
    assert len(calls) == -(-2 * PAGE // 777)
    assert [bytes(v) for v in memory.views(1, place, [len(p) for p in parts])] == parts
    assert os.pread(node.files[place.slab], PAGE, 3 * PAGE) == bytes(PAGE)


@pytest.mark.parametrize("failure", [errno.ENOSPC, errno.ENOMEM])
def test_memory_that_ends_is_an_error_and_not_a_signal(
    node: Slabs, failure: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, batch: list[memoryview], offset: int) -> int:
        raise OSError(failure, os.strerror(failure))

    monkeypatch.setattr(copying, "_pwritev", full)
    with pytest.raises(OSError, match=os.strerror(failure)):
        make_memory(node).write(node.make(PAGE), views_of(b"v"))


def test_a_system_that_takes_nothing_is_not_asked_for_ever(
    node: Slabs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "_pwritev", lambda fd, batch, offset: 0)
    with pytest.raises(OSError, match="takes no more"):
        make_memory(node).write(node.make(PAGE), views_of(b"v"))


def test_a_view_cannot_be_written_through(node: Slabs) -> None:
    place = node.make(PAGE, warm=True)
    (view,) = make_memory(node).views(1, place, [PAGE])
    with pytest.raises(TypeError):
        view[0] = 1
    array = numpy.frombuffer(view, numpy.uint8)
    assert not array.flags.writeable
    with pytest.raises(ValueError, match="WRITEABLE"):
        array.flags.writeable = True


@pytest.mark.parametrize("warm", [False, True])
def test_arrays_come_out_as_they_went_in_without_a_copy_and_read_only(
    node: Slabs, warm: bool
) -> None:
    array = numpy.arange(100_000, dtype=numpy.float64).reshape(100, -1)
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(array, 5, buffer_callback=buffers.append)
    parts = [buffer.raw() for buffer in buffers]
    place = node.make(1 << 20, warm=warm)
    memory = make_memory(node)
    memory.write(place, parts)
    back = pickle.loads(data, buffers=memory.views(1, place, [part.nbytes for part in parts]))
    assert (back == array).all()
    assert not back.flags.writeable
    assert not back.flags.owndata
    os.pwrite(node.files[place.slab], numpy.float64(-1).tobytes(), 0)
    assert back[0, 0] == -1, "it was copied"


def test_what_cannot_be_written_can_be_stored(node: Slabs) -> None:
    array = numpy.arange(10_000)
    array.flags.writeable = False
    place = node.make(1 << 20, warm=True)
    make_memory(node).write(place, [array.data.cast("B")])
    assert node.content(place)[: array.nbytes] == array.tobytes()


def test_a_view_is_told_once_when_the_last_that_looks_at_it_goes(node: Slabs) -> None:
    kicks: list[int] = []
    memory = make_memory(node)
    memory._kick = lambda: kicks.append(1)
    place = node.make(PAGE, warm=True)
    first, second = memory.views(5, place, [100, 200])
    array = numpy.frombuffer(second, numpy.uint8)[10:20]
    del first, second
    assert not memory.dropped
    inner = array[2:3]
    del array
    assert not memory.dropped
    del inner
    assert list(memory.dropped) == [5]
    memory.views(6, place, [1])
    assert list(memory.dropped) == [5, 6]
    assert kicks == [1], "one wake-up a burst"


def test_each_view_of_a_region_is_told_for_itself(node: Slabs) -> None:
    memory = make_memory(node)
    place = node.make(PAGE, warm=True)
    views = [memory.views(3, place, [8]) for _ in range(4)]
    del views[1:3]
    assert list(memory.dropped) == [3, 3]
    views.clear()
    assert list(memory.dropped) == [3] * 4


def test_a_view_that_cannot_be_made_is_dropped_at_once(node: Slabs) -> None:
    memory = make_memory(node)
    place = node.make(PAGE)
    node.is_dead = True
    with pytest.raises(NodeDiedError):
        memory.views(9, place, [8])
    assert list(memory.dropped) == [9]


def test_a_slab_is_fetched_once_for_each_direction(node: Slabs) -> None:
    memory = make_memory(node)
    place = node.make(8 * PAGE, room=PAGE, warm=True)
    regions = [Place(place.slab, i * PAGE, PAGE, 8 * PAGE, True) for i in range(8)]
    for number, region in enumerate(regions):
        memory.write(region, views_of(bytes([number])))
        assert bytes(memory.views(number, region, [1])[0]) == bytes([number])
    assert sorted(node.asked) == [(place.slab, False), (place.slab, True)]


def test_after_the_death_of_the_node_what_is_mapped_stays_readable(node: Slabs) -> None:
    memory = make_memory(node)
    seen, kept, unseen = (node.make(PAGE, warm=True) for _ in range(3))
    memory.views(1, seen, [1])
    memory.keep(kept)
    node.is_dead = True
    assert bytes(memory.views(1, seen, [1])[0]) == b"\xaa"
    assert bytes(memory.views(2, kept, [1])[0]) == b"\xaa"
    with pytest.raises(NodeDiedError):
        memory.views(3, unseen, [1])


def test_few_slabs_that_nobody_looks_at_stay_mapped_and_all_others_do(node: Slabs) -> None:
    before = maps_of_memfds()
    memory = make_memory(node)
    places = [node.make(PAGE, warm=True) for _ in range(3 * SLABS_UNUSED_COUNT_MAX)]
    looked_at = memory.views(0, places[0], [4])
    memory.keep(places[1])
    for number, place in enumerate(places[2:], 2):
        memory.views(number, place, [4])
    assert maps_of_memfds() - before == memory.mapped_count() == SLABS_UNUSED_COUNT_MAX + 2
    memory.let_go(places[1].slab)
    assert memory.mapped_count() == SLABS_UNUSED_COUNT_MAX + 1
    assert bytes(looked_at[0]) == b"\xaa" * 4
    memory.close()
    assert maps_of_memfds() - before == memory.mapped_count() == 1
    assert bytes(looked_at[0]) == b"\xaa" * 4, "it went under a view"
    looked_at.clear()
    assert maps_of_memfds() == before


def test_a_view_that_is_detached_no_longer_changes_with_the_memory(node: Slabs) -> None:
    before = maps_of_memfds()
    memory = make_memory(node)
    place = node.make(8 * PAGE, offset=2 * PAGE, room=2 * PAGE, warm=True)
    other = Place(place.slab, 5 * PAGE, PAGE, 8 * PAGE, True)
    views = [*memory.views(1, place, [2 * PAGE]), *memory.views(1, place, [PAGE, 10])]
    memory.views(2, other, [4])
    memory.detach()
    os.pwrite(node.files[place.slab], b"\xbb" * (8 * PAGE), 0)
    assert [view[0] for view in views] == [0xAA] * 3
    assert bytes(views[0]) == b"\xaa" * 2 * PAGE
    slab = memory._map(other, write=False)
    assert ctypes.string_at(slab.address + other.offset, 4) == b"\xbb" * 4, "that was not viewed"
    del slab
    memory.close()
    assert bytes(views[0]) == b"\xaa" * 2 * PAGE
    views.clear()
    assert maps_of_memfds() == before
    assert not memory._open


def test_who_leaves_waits_for_writes_under_way_and_nothing_begins_after(
    node: Slabs, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, left = threading.Event(), threading.Event(), threading.Event()

    def slow(address: int, part: memoryview) -> None:
        begun.set()
        assert go_on.wait(10)

    monkeypatch.setattr(copying, "copy", slow)
    memory = make_memory(node)
    place = node.make(PAGE, warm=True)
    memory.write(place, views_of(b"v"))  # the first time by ``pwrite``
    writer = threading.Thread(target=memory.write, args=(place, views_of(b"v")))
    writer.start()
    assert begun.wait(10)

    def leave() -> None:
        memory.detach()
        left.set()

    leaver = threading.Thread(target=leave)
    leaver.start()
    assert not left.wait(0.05), "its region is used again while it is written"
    go_on.set()
    assert left.wait(10)
    writer.join()
    leaver.join()
    with pytest.raises(StreamClosedError, match="shut down"):
        memory.write(place, views_of(b"v"))
    with pytest.raises(StreamClosedError, match="shut down"):
        memory.views(5, place, [1])
    assert list(memory.dropped) == [5]


def test_a_view_that_goes_while_all_are_detached_does_not_take_its_map_along(
    node: Slabs, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = make_memory(node)
    views = memory.views(1, node.make(PAGE, warm=True), [PAGE])
    mapped: list[int] = []

    def no_memory(*_: object) -> int | None:
        views.clear()
        memory.close()
        mapped.append(maps_of_memfds())
        return shared_memory._FAILED

    before = maps_of_memfds()
    monkeypatch.setattr(shared_memory, "_mmap", no_memory)
    with pytest.raises(OSError, match="no copy"):
        memory.detach()
    assert mapped == [before], "what is to be copied was unmapped"


def test_nothing_is_left_open(node: Slabs) -> None:
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    memory = make_memory(node)
    places = [node.make(PAGE) for _ in range(3)]
    for place in places:
        memory.write(place, views_of(b"v"))
        memory.views(1, place, [1])
    memory.close()
    del memory
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before + len(places)


def test_views_may_go_anywhere_also_under_the_lock_of_the_tables(node: Slabs) -> None:
    memory = make_memory(node)
    views = memory.views(4, node.make(PAGE, warm=True), [1])
    done = threading.Event()

    def drop() -> None:
        with memory._lock:
            views.clear()
        done.set()

    threading.Thread(target=drop, daemon=True).start()
    assert done.wait(10), "a destructor took the lock"
    assert list(memory.dropped) == [4]


def test_threads_may_use_the_same_slabs_at_once(node: Slabs) -> None:
    memory = make_memory(node)
    places = [node.make(16 * PAGE, warm=True) for _ in range(2 * SLABS_UNUSED_COUNT_MAX)]
    failures: list[str] = []

    def work(seed: int) -> None:
        for turn in range(200):
            slab = places[(seed * 7 + turn) % len(places)]
            place = Place(slab.slab, seed * PAGE, PAGE, 16 * PAGE, True)
            memory.write(place, views_of(bytes([turn]) * PAGE))
            if bytes(memory.views(seed, place, [PAGE])[0]) != bytes([turn]) * PAGE:
                failures.append(f"thread {seed}, turn {turn}")

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not failures
    assert sorted(memory.dropped) == [seed for seed in range(4) for _ in range(200)]


def test_a_child_that_drops_views_leaves_the_maps_of_its_parent(node: Slabs) -> None:
    memory = make_memory(node)
    views = memory.views(2, node.make(PAGE, warm=True), [4])
    pid = os.fork()
    if not pid:
        views.clear()
        memory.close()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert bytes(views[0]) == b"\xaa" * 4
    assert not memory.dropped
