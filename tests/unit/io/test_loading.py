"""Large values unpickled in pieces are what they are unpickled at once."""

from __future__ import annotations

import pickle
from typing import Any

import numpy
import pytest

from zgen.io import serializer
from zgen.io.loading import bytes_to_load, load_in_turns
from zgen.io.serializer import Large
from zgen.limits import LOAD_PIECE_BYTES


class Point:
    def __init__(self, x: int, data: bytes) -> None:
        self.x = x
        self.data = data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  # not needed


def large(value: Any) -> Large:
    packed = serializer.serialize(value)
    assert isinstance(packed, Large)
    return packed


def parts_of(packed: Large) -> list[memoryview]:
    return [part.cast("B").toreadonly() for part in packed.parts]


VALUES: list[Any] = [
    list(range(200_000)),
    {str(n): [n, None, (n, 1.5)] for n in range(20_000)},
    b"x" * (3 * LOAD_PIECE_BYTES + 1),
    bytearray(b"y" * (2 * LOAD_PIECE_BYTES)),
    ["text" * LOAD_PIECE_BYTES, b"z" * (LOAD_PIECE_BYTES + 5), bytearray(b"w" * LOAD_PIECE_BYTES)],
    [Point(n, bytes(200)) for n in range(2_000)],
    [numpy.arange(50_000), "beside it", list(range(60_000))],
    "ä" * 200_000,
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_loaded_in_pieces_is_the_same(value: Any) -> None:
    packed = large(value)
    loaded = load_in_turns(packed.data, parts_of(packed))
    assert type(loaded) is type(value)
    assert repr(loaded) == repr(value) if "Point" not in repr(value) else loaded == value


def test_arrays_share_what_they_lie_in() -> None:
    packed = large(numpy.arange(100_000))
    (part,) = parts_of(packed)
    loaded = load_in_turns(packed.data, [part])
    assert not loaded.flags.writeable
    assert numpy.shares_memory(loaded, numpy.frombuffer(part, numpy.uint8))


def test_old_pickles_with_lines_are_read_as_well() -> None:
    data = pickle.dumps([1, 2**70, "text", LOAD_PIECE_BYTES, Point], 0)
    assert load_in_turns(b"", [memoryview(data)]) == pickle.loads(data)


def test_a_pickle_that_ends_too_early_is_an_error() -> None:
    packed = large(list(range(200_000)))
    (part,) = parts_of(packed)
    with pytest.raises((pickle.UnpicklingError, EOFError)):
        load_in_turns(packed.data, [part[:100_000]])


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (numpy.zeros(1 << 20), False),
        (b"b" * (1 << 20), True),
        (bytearray(1 << 20), True),
        (list(range(500_000)), True),
        ("s" * (1 << 20), True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_what_is_read_counts_not_what_is_shared(value: Any, read: bool) -> None:
    packed = large(value)
    size_bytes = bytes_to_load(packed.data, packed.sizes)
    assert (size_bytes >= 1 << 20) == read
    assert size_bytes <= sum(packed.sizes) + len(packed.data)
