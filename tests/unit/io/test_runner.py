"""A runner of its own, without a process around it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from zgen.core.effects import Effect, LearnFunction, StartTask
from zgen.core.events import Event, TaskEnded, Yielded
from zgen.ids import FunctionId, LeaseId, TaskId, hash_function
from zgen.io import runner, serializer
from zgen.wire.task import OUTCOME_ERROR, OUTCOME_VALUE, STREAMING, PushedTask

TASK = TaskId(b"t" * 16)


def numbers(count: int) -> Iterator[int]:
    yield from range(count)


def run(count: int) -> list[Event]:
    """Run ``numbers`` and return what was reported."""
    events: list[Event] = []

    def post(event: Event) -> list[Effect]:
        events.append(event)
        return []

    payload = serializer.dump_function(numbers)
    function = FunctionId(hash_function(payload))
    subject = runner.Runner(post, lambda waiter: True, -1)
    subject.perform(LearnFunction(function, payload))
    arguments = serializer.serialize(((count,), {}))
    task = PushedTask(TASK, 0, function, "numbers", STREAMING, b"", (), b"")
    subject.perform(StartTask(task, arguments, (), LeaseId(b"l" * 16), 0))
    subject.run_next()
    return events


@pytest.mark.parametrize(("count", "outcome"), [(3, OUTCOME_VALUE), (4, OUTCOME_ERROR)])
def test_a_stream_of_more_items_than_may_be_ends_with_an_error(
    count: int, outcome: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "ITEMS_COUNT_MAX", 3)
    *items, end = run(count)
    assert [type(item) for item in items] == [Yielded] * 3
    assert isinstance(end, TaskEnded)
    assert end.outcome == outcome
    if outcome == OUTCOME_ERROR:
        with pytest.raises(ValueError, match="yielded more than 3 items"):
            serializer.deserialize(end.values[0])
