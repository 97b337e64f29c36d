"""``@slotted``: what its classes share with a dataclass, and what they do without."""

from dataclasses import field, fields, replace

import pytest

from zgen.slotted import slotted


@slotted
class Point:
    x: int
    y: list[int] = field(default_factory=list)


@slotted
class Other:
    """A point by another name."""

    x: int
    y: list[int]


def test_it_is_a_dataclass_with_slots() -> None:
    point = Point(1, y=[2])
    assert [each.name for each in fields(Point)] == ["x", "y"]
    assert replace(point, x=3) == Point(3, [2])
    assert Point(1).y is not Point(1).y
    with pytest.raises(AttributeError):
        point.z = 1  # type: ignore[attr-defined]


def test_it_is_equal_to_its_own_kind_field_by_field_and_to_nothing_else() -> None:
    assert Point(1, [2]) == Point(1, [2])
    assert Point(1, [2]) != Point(1, [3])
    assert Point(1, [2]) != Other(1, [2])  # type: ignore[comparison-overlap]
    assert Point(1, [2]).__eq__((1, [2])) is NotImplemented
    with pytest.raises(TypeError, match="unhashable"):
        hash(Point(1))


def test_it_is_shown_with_its_fields() -> None:
    assert repr(Point(1, [2])) == "Point(x=1, y=[2])"


def test_it_can_be_matched_by_position() -> None:
    match Point(1, [2]):
        case Point(x, [y]):
            assert (x, y) == (1, 2)
        case _:
            pytest.fail("no match")
