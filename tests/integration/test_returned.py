"""What a generator returns: by its completion and by ``StopIteration``, large or small."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest

import zgen
from zgen.exceptions import GetTimeoutError, TaskError

pytestmark = pytest.mark.usefixtures("runtime")


@zgen.remote
def returns(value: Any, count: int = 2) -> Any:
    yield from range(count)
    return value


class Methods:
    def returns(self, value: Any) -> Any:
        yield 0
        return value


class AsyncMethods(Methods):
    async def nothing(self) -> AsyncIterator[int]:
        yield 0


def drained(stream: Iterator[Any]) -> Any:
    """Take everything; return what ``StopIteration`` carries."""
    while True:
        try:
            next(stream)
        except StopIteration as stop:
            return stop.value


@pytest.mark.beside_ray("return_value")
def test_the_completion_and_every_stop_iteration_have_what_was_returned() -> None:
    stream = returns.remote({"total": 3})
    assert zgen.get(stream.completed()) == {"total": 3}
    assert drained(stream) == {"total": 3}
    assert drained(stream) == {"total": 3}


def test_yield_from_has_it_too() -> None:
    def whole() -> Any:
        return (yield from returns.remote("all"))

    assert drained(whole()) == "all"


def test_a_large_value_is_there_as_long_as_the_generator_or_its_reference() -> None:
    stream = returns.remote(np.arange(1 << 17))
    assert drained(stream).sum() == sum(range(1 << 17))
    done = stream.completed()
    del stream
    assert len(zgen.get(done)) == 1 << 17


def test_references_that_were_returned_can_be_read() -> None:
    @zgen.remote
    def makes() -> Any:
        yield 0
        return [zgen.put("inside")]

    (ref,) = drained(makes.remote())
    assert zgen.get(ref) == "inside"


def test_an_error_behind_the_items_leaves_none() -> None:
    @zgen.remote
    def fails() -> Any:
        yield 0
        raise LookupError("instead of a value")

    stream = fails.remote()
    assert zgen.get(next(stream)) == 0
    with pytest.raises(LookupError, match="instead of a value"):
        zgen.get(next(stream))
    assert drained(stream) is None
    assert zgen.get(stream.completed()) is None


def test_a_value_that_does_not_pickle_is_an_error_at_the_end() -> None:
    @zgen.remote
    def hands_out() -> Any:
        yield 0
        return (number for number in range(3))

    stream = hands_out.remote()
    next(stream)
    with pytest.raises(TaskError, match="cannot pickle 'generator' object"):
        zgen.get(next(stream))


def test_an_asynchronous_body_has_none() -> None:
    @zgen.remote
    async def numbers() -> AsyncIterator[int]:
        yield 0

    stream = numbers.remote()
    assert drained(stream) is None
    assert zgen.get(stream.completed()) is None


@pytest.mark.parametrize(
    ("cls", "options"), [(Methods, {}), (Methods, {"max_concurrency": 2}), (AsyncMethods, {})]
)
@pytest.mark.beside_ray("return_value")
def test_methods_of_every_kind_of_actor_return_values(cls: type, options: dict[str, Any]) -> None:
    actor: Any = zgen.remote(num_cpus=0, **options)(cls).remote()
    assert drained(actor.returns.options(num_returns="streaming").remote("small")) == "small"
    large = actor.returns.options(num_returns="streaming").remote(np.ones(1 << 17))
    assert drained(large).sum() == 1 << 17


def bounded(stream: Any) -> Any:
    while True:
        with contextlib.suppress(GetTimeoutError):
            stream.next(timeout=0.01)


def test_a_bounded_step_ends_with_it_too() -> None:
    stream = returns.remote("bounded", count=0)
    with pytest.raises(StopIteration) as stopped:
        bounded(stream)
    assert stopped.value.value == "bounded"
