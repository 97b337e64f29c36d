"""A runner of its own, without a process around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from zgen.core.effects import Effect, LearnFunction, StartTask
from zgen.core.events import Event, TaskEnded, Yielded
from zgen.exceptions import ObjectLostError, ObjectStoreFullError
from zgen.ids import (
    NO_STREAM,
    FunctionId,
    LeaseId,
    PeerId,
    StreamId,
    TaskId,
    hash_function,
)
from zgen.io import ending, runner, serializer
from zgen.io.serializer import Large
from zgen.wire.store import Place
from zgen.wire.task import (
    OUTCOME_ERROR,
    OUTCOME_RETRY,
    OUTCOME_VALUE,
    STREAMING,
    PushedTask,
)
from zgen.wire.value import Stored, Value

TASK = TaskId(b"t" * 16)
OWNER = PeerId(b"o" * 16)
NODE = PeerId(b"n" * 16)
PLACE = Place(1, 0, 1 << 20, 1 << 20, False)
SIZE = 200_000


def numbers(count: int) -> Iterator[int]:
    yield from range(count)


class Memory:
    """Shared memory that keeps what is written in it as it is."""

    def __init__(self, room: int = 100) -> None:
        self.room = room
        self.values: dict[int, Large] = {}
        self.written: list[tuple[PeerId, StreamId]] = []
        #: Views that are counted: made, or given back.
        self.viewed: list[int] = []
        self.given_back: list[int] = []

    def store(self, large: Large, owner: PeerId, stream: StreamId) -> Stored:
        if len(self.written) >= self.room:
            raise ObjectStoreFullError("all of it")
        region = len(self.written)
        self.written.append((owner, stream))
        self.values[region] = large
        return Stored(NODE, region, PLACE, large.data, large.sizes)

    def unused(self, region: int) -> None:
        del self.values[region]

    def view(self, value: Stored) -> Any:
        self.viewed.append(value.region)
        if value.region not in self.values:
            raise ObjectLostError("", "gone")
        large = self.values[value.region]
        return serializer.deserialize_parts(large.data, large.parts)

    def give_back(self, region: int) -> None:
        self.given_back.append(region)


def run_task(
    function: Callable[..., Any],
    args: tuple[Any, ...] = (),
    returns_count: int = STREAMING,
    memory: Memory | None = None,
    slots: tuple[Value, ...] = (),
    retry_exceptions: bytes = b"",
) -> list[Event]:
    """Run a task and return what was reported."""
    events: list[Event] = []

    def post(event: Event) -> list[Effect]:
        events.append(event)
        return []

    payload = serializer.dump_function(function)
    named = FunctionId(hash_function(payload))
    subject = runner.Runner(post, lambda waiter: True, -1, memory or Memory())
    subject.perform(LearnFunction(named, payload))
    arguments = serializer.serialize((args, {}))
    assert not isinstance(arguments, Large)
    task = PushedTask(TASK, 0, named, "work", returns_count, b"", (), retry_exceptions)
    subject.perform(StartTask(task, OWNER, arguments, slots, LeaseId(b"l" * 16), 0))
    subject.run_next()
    return events


def run(count: int) -> list[Event]:
    """Run ``numbers`` and return what was reported."""
    return run_task(numbers, (count,))


@pytest.mark.parametrize(("count", "outcome"), [(3, OUTCOME_VALUE), (4, OUTCOME_ERROR)])
def test_a_stream_of_more_items_than_may_be_ends_with_an_error(
    count: int, outcome: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "ITEMS_COUNT_MAX", 3)
    monkeypatch.setattr(ending, "ITEMS_COUNT_MAX", 3)
    *items, end = run(count)
    assert [type(item) for item in items] == [Yielded] * 3
    assert isinstance(end, TaskEnded)
    assert end.outcome == outcome
    if outcome == OUTCOME_ERROR:
        with pytest.raises(ValueError, match="yielded more than 3 items"):
            serializer.deserialize(end.values[0])


# -- large values ----------------------------------------------------------------------------------
def ended(events: list[Event]) -> TaskEnded:
    end = events[-1]
    assert isinstance(end, TaskEnded)
    return end


def texts(count: int) -> Iterator[str]:
    for number in range(count):
        yield str(number) * SIZE


def stored(memory: Memory, value: Any) -> Stored:
    large = serializer.serialize(value)
    assert isinstance(large, Large)
    return memory.store(large, OWNER, NO_STREAM)


def test_large_items_are_written_for_the_owner_of_the_stream() -> None:
    memory = Memory()
    first, second, end = run_task(texts, (2,), memory=memory)
    assert memory.written == [(OWNER, TASK)] * 2
    for item, text in ((first, "0"), (second, "1")):
        assert isinstance(item, Yielded)
        assert isinstance(item.value, Stored)
        assert memory.view(item.value) == text * SIZE
    assert isinstance(end, TaskEnded)
    assert end.outcome == OUTCOME_VALUE


def test_a_full_store_closes_the_body_and_is_the_error_of_the_stream() -> None:
    def work() -> Iterator[str]:
        try:
            for _ in range(3):
                yield "x" * SIZE
        finally:
            print("closed")

    item, end = run_task(work, memory=Memory(room=1))
    assert isinstance(item, Yielded)
    assert isinstance(end, TaskEnded)
    assert end.outcome == OUTCOME_ERROR
    with pytest.raises(ObjectStoreFullError, match="all of it"):
        serializer.deserialize(end.values[0])


@pytest.mark.parametrize("function", [lambda: "x" * SIZE, lambda: ["y" * SIZE]])
def test_a_large_result_is_written_for_the_owner(function: Callable[[], Any]) -> None:
    memory = Memory()
    end = ended(run_task(function, returns_count=1, memory=memory))
    (value,) = end.values
    assert isinstance(value, Stored)
    assert memory.view(value) == function()
    assert memory.written == [(OWNER, NO_STREAM)]


def test_of_several_results_the_large_ones_are_written() -> None:
    memory = Memory()
    end = ended(run_task(lambda: ("x" * SIZE, 1, b"y" * SIZE), returns_count=3, memory=memory))
    assert [isinstance(value, Stored) for value in end.values] == [True, False, True]


def test_results_that_are_not_reported_leave_no_region() -> None:
    memory = Memory(room=1)
    end = ended(run_task(lambda: ("x" * SIZE, "y" * SIZE), returns_count=2, memory=memory))
    assert end.outcome == OUTCOME_ERROR
    assert memory.written
    assert not memory.values


def test_yields_of_a_fixed_number_are_written_and_kept_beside_an_error() -> None:
    memory = Memory(room=2)
    end = ended(run_task(texts, (3,), returns_count=3, memory=memory))
    assert end.outcome == OUTCOME_VALUE
    assert [isinstance(value, Stored) for value in end.values] == [True, True, False]
    assert list(memory.values) == [0, 1]
    with pytest.raises(ObjectStoreFullError):
        serializer.deserialize(end.values[2])


def test_yields_of_a_fixed_number_that_may_run_again_are_sent_in_case_they_do_not() -> None:
    def work() -> Iterator[str]:
        yield "x" * SIZE
        raise KeyError("again")

    memory = Memory()
    again = serializer.dump_plain((KeyError,))
    end = ended(run_task(work, (), 3, memory, retry_exceptions=again))
    assert end.outcome == OUTCOME_RETRY
    assert [isinstance(value, Stored) for value in end.values] == [True, False, False]
    assert list(memory.values) == [0]
    for value in end.values[1:]:
        with pytest.raises(KeyError, match="again"):
            serializer.deserialize(value)


def lengths(*values: Any) -> list[int]:
    return [len(value) for value in values]


def slot_args(count: int) -> tuple[Any, ...]:
    return tuple(serializer.Slot(index) for index in range(count))


def test_each_large_argument_is_viewed_once() -> None:
    memory = Memory()
    slots = (stored(memory, "x" * SIZE), b"\x80\x05C\x02ab.", stored(memory, b"y" * (SIZE + 1)))
    end = ended(run_task(lengths, slot_args(3), 1, memory, slots))
    assert serializer.deserialize(end.values[0]) == [SIZE, 2, SIZE + 1]
    assert (memory.viewed, memory.given_back) == ([0, 1], [])


def test_a_view_that_is_counted_and_not_made_is_given_back() -> None:
    memory = Memory()
    slots = tuple(stored(memory, "x" * SIZE) for _ in range(4))
    del memory.values[1]
    end = ended(run_task(lengths, slot_args(4), 1, memory, slots))
    assert end.outcome == OUTCOME_ERROR
    assert (memory.viewed, memory.given_back) == ([0, 1], [2, 3])


def test_a_function_that_cannot_be_loaded_gives_all_views_back() -> None:
    class Unloadable:
        def __reduce__(self) -> tuple[Any, ...]:
            return _raise, ()

        def __call__(self) -> None:
            """Never comes to this."""

    memory = Memory()
    slots = tuple(stored(memory, "x" * SIZE) for _ in range(2))
    end = ended(run_task(Unloadable(), slot_args(2), 1, memory, slots))
    assert end.outcome == OUTCOME_ERROR
    assert (memory.viewed, memory.given_back) == ([], [0, 1])


def _raise() -> None:
    raise ImportError("not here")
