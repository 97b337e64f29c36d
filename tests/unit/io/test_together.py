"""Bodies that yield several values at a time: what is checked, written and given back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.io.test_runner import OWNER, SIZE, TASK, Memory
from zgen.core.effects import StartTask
from zgen.exceptions import ObjectStoreFullError, YieldCountError
from zgen.ids import COMPLETION_INDEX, FunctionId, LeaseId
from zgen.io import serializer
from zgen.io.room import room_for
from zgen.io.together import packed, packed_async_yields, packed_yields
from zgen.wire.task import STREAMING, PushedTask
from zgen.wire.value import NONE, Stored


def start_of(per_yield: int, **flow: Any) -> StartTask:
    plain = PushedTask(TASK, 0, FunctionId(b"f" * 16), "work", STREAMING, b"", (), b"")
    task = replace(plain, per_yield=per_yield, **flow)
    return StartTask(task, OWNER, b"", (), LeaseId(b"l" * 16), 0)


def nothing(*values: Any) -> None:
    return None


def read(values: Any) -> list[Any]:
    return [serializer.deserialize(value) for value in values]


@pytest.mark.parametrize("item", [(1, 2), [1, 2]])
def test_a_tuple_and_a_list_are_packed_value_by_value(item: Any) -> None:
    assert read(packed(item, start_of(2))) == [1, 2]


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ((1,), "yielded a tuple of 1, and num_objects_per_yield=2"),
        ([1, 2, 3], "yielded a list of 3"),
        (5, "yielded a int, and"),
        ("ab", "yielded a str, and"),
        (None, "yielded a NoneType, and"),
    ],
)
def test_what_has_not_as_many_values_as_promised_is_refused(item: Any, text: str) -> None:
    with pytest.raises(YieldCountError, match=text):
        packed(item, start_of(2))


def test_of_a_body_that_runs_again_only_what_is_wanted_is_packed() -> None:
    def work() -> Generator[Any, None, str]:
        yield object, "a"
        yield "b", object
        return "end"

    start = start_of(2, wanted=(2, 3))
    steps = packed_yields(work(), start, Memory(), nothing)
    first, second = next(steps), next(steps)
    assert (first[0], read(first[1:])) == (NONE, ["a"])
    assert (read(second[:1]), second[1]) == (["b"], NONE)
    with pytest.raises(StopIteration) as stop:
        next(steps)
    assert stop.value.value is None
    wanted = packed_yields(work(), start_of(2, wanted=(COMPLETION_INDEX,)), Memory(), nothing)
    assert [next(wanted), next(wanted)] == [(NONE, NONE)] * 2
    with pytest.raises(StopIteration) as stop:
        next(wanted)
    assert stop.value.value == "end"


def test_what_was_written_of_a_yield_is_given_back_if_the_rest_has_no_room() -> None:
    memory = Memory(room=1)

    def work() -> Iterator[Any]:
        yield "x" * SIZE, 1, "y" * SIZE

    with pytest.raises(ObjectStoreFullError):
        next(packed_yields(work(), start_of(3), memory, nothing))
    assert memory.values == {}


def test_nothing_is_written_of_a_yield_of_which_a_part_does_not_pickle() -> None:
    memory = Memory()

    def work() -> Iterator[Any]:
        yield "x" * SIZE, (number for number in range(3))

    with pytest.raises(TypeError):
        next(packed_yields(work(), start_of(2), memory, nothing))
    assert memory.written == []


def test_room_is_asked_for_once_a_yield_where_the_window_has_bytes() -> None:
    start = start_of(3, window_bytes=5)
    asked: list[int] = []

    def work() -> Iterator[Any]:
        yield "x" * SIZE, b"", "y" * SIZE
        yield 1, 2, 3

    def ask(start: StartTask, *values: Any) -> None:
        asked.append(room_for(start, *values).size_bytes)

    first, second = packed_yields(work(), start, Memory(), ask)
    assert [isinstance(value, Stored) for value in first] == [True, False, True]
    assert read(second) == [1, 2, 3]
    (size_bytes,) = asked
    assert 2 * SIZE < size_bytes < 2 * SIZE + 200


@pytest.mark.parametrize("window_bytes", [0, 5])
def test_an_asynchronous_body_is_packed_the_same_and_closed(window_bytes: int) -> None:
    told: list[str] = []

    async def work() -> AsyncIterator[Any]:
        try:
            yield "x" * SIZE, 1
            yield 2, 3
            yield 4
        finally:
            told.append("closed")

    async def ask(*values: Any) -> None:
        told.append("asked")

    async def in_thread(function: Any, *args: Any) -> Any:
        return function(*args)

    async def run() -> list[Any]:
        body: Any = work()
        start = start_of(2, window_bytes=window_bytes)
        steps = packed_async_yields(body, start, Memory(), ask, in_thread)
        found = [await anext(steps), await anext(steps)]
        with pytest.raises(YieldCountError):
            await anext(steps)
        return found

    step = run()
    with pytest.raises(StopIteration) as stop:
        step.send(None)
    first, second = stop.value.value
    assert isinstance(first[0], Stored)
    assert read(second) == [2, 3]
    assert told == (["asked"] if window_bytes else []) + ["closed"]
