"""Declarations: what may be declared, how fields are checked, what may grow."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest

from zgen.exceptions import RemoteProtocolError
from zgen.ids import ObjectId, PeerId
from zgen.wire.codec import decode, encode
from zgen.wire.schema import (
    KINDS,
    LAYOUTS,
    NO_BUFFERS,
    Buffers,
    Entry,
    from_array,
    message,
    record,
    to_array,
)

KIND, OTHER_KIND = 0x7001, 0x7002
PEER = PeerId(b"p" * 16)
OBJECT = ObjectId(b"o" * 20)


@record
class Point:
    """A record.

    Attributes:
        x: One.
        y: Two.
    """

    x: int
    y: int = 7


@record
class Everything:
    """A record with a field of every sort."""

    peer: PeerId
    object: ObjectId
    count: int
    name: str
    payload: bytes
    wanted: bool
    point: Point
    entry: Entry
    names: tuple[str, ...]
    pair: tuple[str, int]
    entries: tuple[Entry, ...]


@record
class Path:
    """A record with an array of records."""

    name: str
    points: tuple[Point, ...]


@dataclasses.dataclass
class Undeclared:
    """What the wire does not know."""


GOOD: dict[str, Any] = {
    "peer": PEER,
    "object": OBJECT,
    "count": 1,
    "name": "n",
    "payload": b"p",
    "wanted": True,
    "point": (1, 2),
    "entry": b"e",
    "names": ("a", "b"),
    "pair": ("a", 1),
    "entries": (b"e", (1, b"d", 0)),
}


@pytest.fixture(autouse=True)
def own_kinds() -> Iterator[None]:
    """Forget what a test declares."""
    kinds, layouts = dict(KINDS), dict(LAYOUTS)
    yield
    KINDS.clear()
    KINDS.update(kinds)
    LAYOUTS.clear()
    LAYOUTS.update(layouts)


def path(*points: Any) -> Any:
    return Path(*from_array(LAYOUTS[Path], ("p", points), 0))


def test_equal_records_in_a_row_become_one_object() -> None:
    points = path((1, 2), (1, 2), (3,), (1, 2)).points
    assert points == (Point(1, 2), Point(1, 2), Point(3, 7), Point(1, 2))
    assert points[0] is points[1]
    assert path().points == ()


@pytest.mark.parametrize("points", [5, (5,), ((1, 2), 5), ((b"1", 2),), ((),)])
def test_an_array_of_records_takes_nothing_else(points: Any) -> None:
    with pytest.raises(RemoteProtocolError, match="Path: "):
        from_array(LAYOUTS[Path], ("p", points), 0)


def everything(**changed: Any) -> Any:
    layout = LAYOUTS[Everything]
    array = tuple({**GOOD, **changed}.values())
    return Everything(*from_array(layout, array, 0))


def test_fields_come_out_as_they_are_declared() -> None:
    assert everything() == Everything(
        PEER,
        OBJECT,
        1,
        "n",
        b"p",
        True,
        Point(1, 2),
        b"e",
        ("a", "b"),
        ("a", 1),
        (b"e", (1, b"d", 0)),
    )
    assert everything(entry=(1, b"d", 0)).entry == (1, b"d", 0)
    assert everything(names=()).names == ()


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("peer", b"p" * 15, "id of 16"),
        ("peer", "p" * 16, "id of 16"),
        ("object", b"o" * 16, "id of 20"),
        ("count", True, "expected int, got bool"),
        ("count", 1.0, "expected int, got float"),
        ("count", None, "expected int, got NoneType"),
        ("name", b"n", "expected str"),
        ("payload", "p", "expected bytes"),
        ("wanted", 1, "expected bool"),
        ("point", 5, "array for Point"),
        ("point", (), "Point needs 1 fields, got 0"),
        ("point", ("x",), "Point: expected int"),
        ("entry", 5, "an entry"),
        ("entry", (1, b"d"), "an entry"),
        ("entry", (1, "d", 0), "an entry"),
        ("entry", (True, b"d", 0), "an entry"),
        ("entry", (1, b"d", -1), "an entry"),
        ("names", "ab", "an array, got str"),
        ("entries", [b"e"], "an array, got list"),
        ("entries", (b"e", "f"), "an entry"),
        ("names", ("a", 1), "expected str"),
        ("pair", ("a",), "array of 2"),
        ("pair", ("a", 1, 2), "array of 2"),
        ("pair", b"ab", "array of 2"),
    ],
)
def test_a_field_that_is_not_what_it_is_declared_to_be_is_refused(
    field: str, value: object, says: str
) -> None:
    with pytest.raises(RemoteProtocolError, match=says) as caught:
        everything(**{field: value})
    assert str(caught.value).startswith("Everything: ")


def test_a_record_lies_in_an_array_in_the_order_of_its_fields() -> None:
    assert to_array(Point(3, 4)) == (3, 4)
    with pytest.raises(LookupError):
        to_array(Undeclared())


def test_messages_are_frozen_in_development_mode_and_nowhere_else() -> None:
    point: Any = Point(1, 2)
    frozen = pytest.raises(dataclasses.FrozenInstanceError)
    with frozen if sys.flags.dev_mode else nullcontext():
        point.x = 3
    assert point.x == (1 if sys.flags.dev_mode else 3)


def test_a_kind_is_used_once() -> None:
    @message(KIND)
    class First:
        """A -> B: one."""

    with pytest.raises(ValueError, match=f"kind {KIND:#x} is taken by First"):

        @message(KIND)
        class Second:
            """A -> B: two."""

    assert KINDS[KIND].cls is First


@pytest.mark.parametrize("hint", [float, dict, list[int], int | None])
def test_a_field_that_the_wire_cannot_carry_is_refused_where_it_is_declared(hint: Any) -> None:
    plain = type("Odd", (), {"__annotations__": {"field": hint}})
    with pytest.raises(TypeError, match="cannot be declared"):
        record(plain)


def test_a_peer_that_knows_fewer_fields_is_understood_and_so_is_one_that_knows_more() -> None:
    layout = LAYOUTS[Point]
    assert Point(*from_array(layout, (1,), 0)) == Point(1, 7)
    assert Point(*from_array(layout, (1, 2, "unknown"), 0)) == Point(1, 2)
    with pytest.raises(RemoteProtocolError, match="needs 1 fields, got 0"):
        from_array(layout, (), 0)


def test_a_field_appended_before_the_buffers_may_be_missing_too() -> None:
    @message(KIND)
    class Grown:
        """A -> B: with buffers."""

        first: int
        appended: int = 5
        buffers: Buffers = NO_BUFFERS

    @message(OTHER_KIND)
    class Young:
        """A -> B: with buffers."""

        first: int
        buffers: Buffers = NO_BUFFERS

    old_body = encode(Young(1))[0].replace(OTHER_KIND.to_bytes(2, "big"), KIND.to_bytes(2, "big"))
    assert decode([old_body, b"raw"]) == Grown(1, 5, Buffers((b"raw",)))
    assert KINDS[KIND].names == ("first", "appended")
    assert (KINDS[KIND].required, KINDS[KIND].buffered) == (1, True)


def test_a_message_without_fields_travels() -> None:
    @message(KIND)
    class Bare:
        """A -> B: nothing more."""

    assert decode(encode(Bare())) == Bare()
    assert (KINDS[KIND].names, KINDS[KIND].required, KINDS[KIND].buffered) == ((), 0, False)
