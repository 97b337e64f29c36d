"""Bodies that yield several values at a time: each yield checked, and packed as one.

Rules of this file: nothing of a yield is written into shared memory before all of it is there and
pickles; and what was written is given back if the rest cannot be.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable
from typing import Any, Final, TypeAlias

from zgen.core.effects import StartTask
from zgen.core.events import Event, Yielded
from zgen.exceptions import YieldCountError
from zgen.ids import COMPLETION_INDEX, ITEM_INDEX_FIRST
from zgen.io import serializer
from zgen.io.room import Objects
from zgen.io.serializer import Large
from zgen.wire.value import Stored, Value

#: How items are pickled and reported, where each yield makes one.
SERIALIZE: Final[Callable[[Any], Any]] = serializer.serialize
YIELDED: Final[Callable[..., Event]] = Yielded
#: All of one yield, large ones still to be written.
Packed: TypeAlias = list[Value | Large]


def as_it_is(values: Any) -> Any:
    """Return what is packed already."""
    return values


def packed(item: Any, start: StartTask, index: int = ITEM_INDEX_FIRST) -> Packed:
    """Return what a body yielded, pickled; None in place of what nobody wants.

    Args:
        item: What it yielded.
        start: The task.
        index: Index of the object that the first of them becomes.

    Raises:
        YieldCountError: It is no tuple or list of as many values as was promised.
        Exception: What pickling one of them raises.
    """
    task, wanted = start.task, start.task.wanted
    if not isinstance(item, (tuple, list)) or len(item) != task.per_yield:
        got = len(item) if isinstance(item, (tuple, list)) else -1
        raise YieldCountError(task.name, task.per_yield, got, type(item).__name__)
    if wanted:
        item = [value if at in wanted else None for at, value in enumerate(item, index)]
    return [serializer.serialize(value) for value in item]


def is_large(values: Packed) -> bool:
    """Return whether any of them is to be written into shared memory."""
    return Large in map(type, values)


def stored(values: Packed, start: StartTask, objects: Objects) -> tuple[Value, ...]:
    """Write those that are large into shared memory; return all of them.

    Raises:
        Exception: There is no room for one of them; the others are given back.
    """
    done: list[Value] = []
    try:
        for value in values:
            if type(value) is Large:
                done.append(objects.store(value, start.owner, start.task.task))
            else:
                done.append(value)
    except BaseException:
        for value in done:
            if isinstance(value, Stored):
                objects.unused(value.region)
        raise
    return tuple(done)


def packed_yields(
    body: Iterable[Any], start: StartTask, objects: Objects, make_room: Callable[..., None]
) -> Generator[tuple[Value, ...], None, Any]:
    """Yield what each yield of a body is reported as, and return what the body returns.

    Args:
        body: The body.
        start: The task.
        objects: Shared memory.
        make_room: Returns when its consumer has room for values one of which is large.

    Raises:
        Exception: As ``packed`` and ``stored``, and what the body raises.
    """
    task, each, index = start.task, iter(body), ITEM_INDEX_FIRST
    while True:
        try:
            item = next(each)
        except StopIteration as stop:
            is_wanted = not task.wanted or COMPLETION_INDEX in task.wanted
            return stop.value if is_wanted else None
        values = packed(item, start, index)
        if task.window_bytes and is_large(values):
            make_room(start, *values)
        yield stored(values, start, objects)
        index += task.per_yield


async def packed_async_yields(
    body: AsyncGenerator[Any, Any],
    start: StartTask,
    objects: Objects,
    make_room: Callable[..., Awaitable[None]],
    in_thread: Callable[..., Awaitable[Any]],
) -> AsyncGenerator[tuple[Value, ...], None]:
    """As ``packed_yields``, of a body in an event loop, which ``in_thread`` does not block."""
    try:
        async for item in body:
            values = packed(item, start)
            if start.task.window_bytes and is_large(values):
                await make_room(start, *values)
            if is_large(values):
                yield await in_thread(stored, values, start, objects)
            else:
                yield tuple(values)  # type: ignore[arg-type]  # none is large
    finally:
        await body.aclose()
