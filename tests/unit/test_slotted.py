"""``@slotted``: what its classes share with a dataclass, and what they do without."""

from dataclasses import field, fields, replace
from typing import Any

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


@slotted
class Made:
    """One whose making says what it was given."""

    a: int
    b: int = 2
    c: int = field(default=3, init=False)
    d: list[int] = field(default_factory=list, init=False)
    e: int = field(init=False)

    def __post_init__(self) -> None:
        self.e = self.a + self.b


def test_its_init_takes_what_its_fields_say_and_runs_what_comes_after() -> None:
    for _ in range(2):  # compiled by the first
        made = Made(1)
        assert (made.a, made.b, made.c, made.d, made.e) == (1, 2, 3, [], 3)
        assert Made(1, b=5).e == 6
    made_by: Any = Made.__init__
    assert made_by.__globals__["__name__"] == __name__
    with pytest.raises(TypeError, match=r"Made.__init__\(\) missing 1 required .* 'a'"):
        Made()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'c'"):
        Made(1, c=2)


def test_a_class_below_another_has_the_fields_of_both() -> None:
    @slotted
    class Below(Other):
        """One more field."""

        z: int = 0

    assert Other(1, []).x == 1
    assert Below(1, [], 2) == Below(x=1, y=[], z=2)


def test_a_frozen_one_can_be_made_and_not_changed() -> None:
    def declare(cls: type[Point]) -> type[Point]:
        return slotted(cls, frozen=True)

    class Still:
        """As frozen as messages are while tests run."""

        x: int
        y: list[int] = field(default_factory=list)

    made = declare(Still)(1)  # type: ignore[arg-type]
    assert (made.x, made.y) == (1, [])
    with pytest.raises(AttributeError):
        made.x = 2
