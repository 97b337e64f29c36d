"""Copies under way: parts, how many at a time, and what comes damaged."""

from __future__ import annotations

from tests.unit.node.clusters import EAST, WEST
from zgen.limits import CHUNK_BYTES, CHUNK_TRIES_COUNT_MAX, CHUNKS_COUNT_MAX
from zgen.wire.store import Place
from zgen_node.core.pulls import Pull, Pulls

SIZE = (CHUNKS_COUNT_MAX + 1) * CHUNK_BYTES + 5
PLACE = Place(1, 0, SIZE, SIZE, False)


def begun(size_bytes: int = SIZE) -> tuple[Pulls, Pull]:
    pulls = Pulls()
    pull = pulls.begin(7, EAST, PLACE)
    pull.size_bytes = size_bytes
    pulls.check()
    return pulls, pull


def test_nothing_is_asked_for_before_its_node_holds_it() -> None:
    pulls, pull = begun(0)
    assert list(pulls.next_parts(pull)) == []
    assert not pull.is_done


def test_only_so_many_parts_are_under_way() -> None:
    pulls, pull = begun()
    first = list(pulls.next_parts(pull))
    assert first == [index * CHUNK_BYTES for index in range(CHUNKS_COUNT_MAX)]
    pulls.check()
    pulls.written(pull, first[3])
    (more,) = pulls.next_parts(pull)
    assert (more, pull.part_bytes(more)) == (CHUNKS_COUNT_MAX * CHUNK_BYTES, CHUNK_BYTES)
    pulls.written(pull, first[0])
    (last,) = pulls.next_parts(pull)
    assert pull.part_bytes(last) == 5


def test_it_is_done_when_all_parts_are_here() -> None:
    pulls, pull = begun(CHUNK_BYTES + 1)
    for offset in list(pulls.next_parts(pull)):
        assert not pull.is_done
        pulls.written(pull, offset)
    assert pull.is_done
    pulls.end(pull)
    pulls.check()
    assert (len(pulls), pulls.get(pull.pull)) == (0, None)


def test_a_damaged_part_is_asked_for_a_few_times() -> None:
    pulls, pull = begun()
    (first, *_) = pulls.next_parts(pull)
    again = [pulls.again(pull, first) for _ in range(CHUNK_TRIES_COUNT_MAX)]
    assert again == [True] * (CHUNK_TRIES_COUNT_MAX - 1) + [False]


def test_a_second_copying_of_a_region_has_another_number() -> None:
    pulls, pull = begun()
    other = pulls.begin(8, WEST, PLACE)
    assert pulls.of_node(EAST) == [pull]
    assert pulls.of_node(WEST) == [other]
    pulls.end(pull)
    assert pulls.begin(7, EAST, PLACE).pull not in (pull.pull, other.pull)
    assert len(pulls.all()) == 2
