"""Objects become values and back: what is inline, what is large, and who pickles it."""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable
from typing import Any

import cloudpickle
import numpy
import pytest

from zgen.exceptions import ObjectLostError, TaskCancelledError, TaskError
from zgen.io import serializer
from zgen.io.serializer import Large, deserialize, deserialize_parts, serialize
from zgen.limits import INLINE_BYTES_MAX
from zgen.wire.value import Fault, FaultKind, Parcel


class Column:
    """Has one buffer, as Arrow's arrays have some."""

    def __init__(self, content: Any, label: str = "") -> None:
        self.content = content
        self.label = label

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return Column, (pickle.PickleBuffer(self.content), self.label)


def large(value: Any) -> Large:
    packed = serialize(value)
    assert isinstance(packed, Large), type(packed)
    return packed


def loaded(packed: Large) -> Any:
    """Load it as it comes from shared memory: from read-only memory that others may see."""
    parts = [memoryview(bytearray(part)).toreadonly() for part in packed.parts]
    return deserialize_parts(packed.data, parts)


def overhead(value: Any) -> int:
    return len(pickle.dumps(value, 5)) - len(value)


# -- what is large ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("make", "spare"),
    [
        (lambda size: "t" * size, overhead("t" * INLINE_BYTES_MAX)),
        (lambda size: b"b" * size, overhead(b"b" * INLINE_BYTES_MAX)),
        (lambda size: bytearray(size), overhead(bytearray(INLINE_BYTES_MAX))),
    ],
    ids=["str", "bytes", "bytearray"],
)
def test_a_value_is_large_from_one_byte_above_the_bound_on(
    make: Callable[[int], Any], spare: int
) -> None:
    fits, exceeds = make(INLINE_BYTES_MAX - spare), make(INLINE_BYTES_MAX - spare + 1)
    packed = serialize(fits)
    assert isinstance(packed, bytes)
    assert len(packed) == INLINE_BYTES_MAX
    assert deserialize(packed) == fits
    assert loaded(large(exceeds)) == exceeds


def test_the_pickle_and_its_buffers_are_counted_together() -> None:
    def packed(size: int) -> Any:
        return serialize(numpy.zeros(size, numpy.uint8))

    start = INLINE_BYTES_MAX - 1000
    first = next(size for size in range(start, start + 1000) if type(packed(size)) is Large)
    below, above = packed(first - 1), packed(first)
    assert isinstance(below, Parcel)
    assert len(below.data) + sum(len(buffer) for buffer in below.buffers) == INLINE_BYTES_MAX
    assert len(above.data) + sum(above.sizes) == INLINE_BYTES_MAX + 1


def test_a_small_pickle_of_large_buffers_stays_inline() -> None:
    packed = large([numpy.arange(50_000), numpy.ones(20_000)])
    assert packed.data
    assert packed.sizes == (400_000, 160_000)
    first, second = loaded(packed)
    assert (first == numpy.arange(50_000)).all()
    assert (second == 1).all()


def test_a_large_pickle_is_the_first_part_itself() -> None:
    value = {"text": "x" * 200_000, "array": numpy.arange(10_000)}
    packed = large(value)
    assert packed.data == b""
    assert packed.sizes[0] > 200_000
    assert packed.sizes[1:] == (80_000,)
    back = loaded(packed)
    assert back["text"] == value["text"]
    assert (back["array"] == value["array"]).all()


def test_many_small_parts_of_a_large_value_come_back() -> None:
    value = [numpy.full(1000, n) for n in range(300)]
    back = loaded(large(value))
    assert all((array == n).all() for n, array in enumerate(back))
    assert len(back) == 300


@pytest.mark.parametrize("value", [list(range(100_000)), {"k": "v" * 200_000}, ("é" * 90_000,)])
def test_large_builtin_values_come_back(value: Any) -> None:
    packed = large(value)
    assert packed.data == b""
    assert loaded(packed) == value


# -- copies ----------------------------------------------------------------------------------------
def test_what_is_large_is_not_copied() -> None:
    array = numpy.zeros(100_000)
    content = bytes(200_000)
    changing = bytearray(200_000)
    packed = large(array)
    array[0] = 1.5
    assert bytes(packed.parts[0][:8]) == numpy.float64(1.5).tobytes()
    assert large(content).parts[0].obj is content
    assert large(changing).parts[0].obj is changing


def test_small_buffers_are_copied() -> None:
    array = numpy.zeros(1000)
    packed = serialize(array)
    array[0] = 1.5
    assert deserialize(packed)[0] == 0  # type: ignore[arg-type]  # it is no Large


def test_bytes_come_back_as_bytes_of_their_own() -> None:
    for value in (b"b" * 200_000, bytearray(b"b") * 200_000):
        packed = large(value)
        memory = bytearray(packed.parts[0])
        back = deserialize_parts(packed.data, [memoryview(memory).toreadonly()])
        memory[0] = 0
        assert type(back) is type(value)
        assert back == value


def test_arrays_look_at_the_memory_and_cannot_change_it() -> None:
    for value in (numpy.arange(100_000), Column(bytearray(200_000), "c")):
        packed = large(value)
        memory = bytearray(packed.parts[0])
        back = deserialize_parts(packed.data, [memoryview(memory).toreadonly()])
        seen = memoryview(back.content if isinstance(back, Column) else back).cast("B")
        assert seen.readonly
        memory[0] = 77
        assert seen[0] == 77


def test_a_copy_of_a_large_value_is_the_value() -> None:
    for value in (numpy.arange(100_000), b"b" * 200_000, "s" * 200_000, ["s" * 200_000]):
        assert numpy.array_equal(deserialize(large(value).copied()), value)
    both = large(["s" * 200_000, numpy.arange(100_000)]).copied()
    assert deserialize(both)[0] == "s" * 200_000


def test_layouts_of_arrays_are_kept() -> None:
    square = numpy.arange(90_000.0).reshape(300, 300)
    for array in (square, square.T, square[::2, ::2], square.astype(">f4"), square[:0]):
        packed = serialize(array)
        back = loaded(packed) if isinstance(packed, Large) else deserialize(packed)
        assert (back == array).all()
        assert back.dtype == array.dtype


# -- who pickles -----------------------------------------------------------------------------------
class Counted:
    """Counts what goes through cloudpickle."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        made = cloudpickle.Pickler

        def pickler(file: io.BytesIO, **options: Any) -> Any:
            self.count += 1
            return made(file, **options)

        monkeypatch.setattr(cloudpickle, "Pickler", pickler)


@pytest.mark.parametrize(
    "value",
    [
        1,
        "s",
        [1, 2.5, "s", None, True, 2j, b"b"],
        {"k": [1, {"inner": ()}]},
        ((1, "a"), {"k": 2}),
        {1, 2},
        frozenset({"a"}),
        ((serializer.Slot(0),), {"k": serializer.Slot(1)}),
        numpy.arange(10),
        numpy.array(["a", "b"]),
    ],
    ids=repr,
)
def test_plain_values_need_no_cloudpickle(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    packed = serialize(value)
    assert not isinstance(packed, Large)
    back = deserialize(packed)
    assert type(back) is type(value)
    assert repr(back) == repr(value) or "Slot" in repr(value)
    assert counted.count == 0


class Text(str):
    """Looks like a builtin, and is a class that workers may not have."""


def made_here() -> None:
    """A function that workers may not have."""


@pytest.mark.parametrize(
    "value",
    [
        made_here,
        Text("t"),
        [made_here],
        {"k": Text("t")},
        {Text("k"): 1},
        (1, (2, [made_here])),
        {made_here},
        [[[[[[[1]]]]]]],
        list(range(1000)),
        numpy.array([made_here], dtype=object),
        numpy.zeros(3, dtype=numpy.dtype([("a", "i4")])),
        numpy.zeros(3, dtype=numpy.dtype("i4", metadata={"f": made_here})),
    ],
    ids=lambda value: repr(value)[:20],
)
@pytest.mark.filterwarnings("ignore:.*metadata")
def test_what_may_hold_anything_else_goes_through_cloudpickle(
    value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(monkeypatch)
    serialize(value)
    assert counted.count == 1


def test_functions_of_main_inside_containers_travel_by_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def made(x: int) -> int:
        return x + 1

    made.__module__, made.__qualname__ = "__main__", "made"
    monkeypatch.setattr(sys.modules["__main__"], "made", made, raising=False)
    packed = serialize({"f": [made]})
    monkeypatch.delattr(sys.modules["__main__"], "made")
    assert deserialize(packed)["f"][0](1) == 2  # type: ignore[arg-type]  # it is no Large


def test_a_container_that_holds_itself_comes_back() -> None:
    value: list[Any] = [1]
    value.append(value)
    back = deserialize(serialize(value))  # type: ignore[arg-type]  # it is no Large
    assert back[1] is back


def test_one_object_in_a_container_twice_stays_one() -> None:
    inner = [1]
    back = deserialize(serialize((inner, inner)))  # type: ignore[arg-type]  # it is no Large
    assert back[0] is back[1]


# -- errors ----------------------------------------------------------------------------------------
def test_an_error_of_any_size_is_inline() -> None:
    error = serializer.serialize_error(ValueError("x" * 300_000), "work", 1, 0)
    assert isinstance(error, Parcel)
    assert error.is_error


def test_a_lost_object_is_an_error_that_says_why() -> None:
    error = serializer.error_of(Fault(FaultKind.OBJECT_LOST, "ab12", "its disk died"))
    assert isinstance(error, ObjectLostError)
    assert (error.object_id, error.story) == ("ab12", "its disk died")


@pytest.mark.parametrize("ran", [False, True])
def test_a_cancel_is_an_error_that_names_its_task_and_pickles(ran: bool) -> None:
    fault = Fault(FaultKind.CANCELLED, "work", "0123456789abcdef" * 2, may_have_run=ran)
    error = pickle.loads(pickle.dumps(serializer.error_of(fault)))
    assert isinstance(error, TaskCancelledError)
    assert str(error) == "work(), task 01234567, was cancelled"
    assert (error.task_id, error.may_have_run) == ("0123456789abcdef" * 2, ran)
    assert isinstance(error, TaskError) is ran
