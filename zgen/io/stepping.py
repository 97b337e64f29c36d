"""Resume generators: each step of a two-way one with what its user sent, asynchronous ones too.

Rules of this file: it takes what is there and never waits. That a body may go on is found out
before each step, by who runs it.
"""

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any

from zgen.core.effects import Effect, StartTask
from zgen.core.stream_words import GiveInput
from zgen.ids import TaskId
from zgen.io import serializer
from zgen.io.ending import Closed


class Given:
    """What the two-way bodies of one worker are given and have not taken.

    Attributes:
        inputs: Body -> that, in order. Added by ``perform``; removed by ``forget``.
    """

    def __init__(self) -> None:
        """Start with nothing."""
        self.inputs: dict[TaskId, deque[GiveInput]] = {}

    def perform(self, effect: Effect) -> bool:
        """Keep an input until its body takes it; return False for other effects."""
        if type(effect) is not GiveInput:
            return False
        self.inputs.setdefault(effect.task, deque()).append(effect)
        return True

    def take(self, task: TaskId) -> tuple[Any, bool]:
        """Return what a body is given next, and whether that is an exception to raise in it.

        Raises:
            Closed: There is nothing, and never will be: the body was let go all the same.
            Exception: What unpickling it raises.
        """
        inputs = self.inputs.get(task)
        if not inputs:
            raise Closed
        given = inputs.popleft()
        return serializer.deserialize(given.value), given.raises

    def forget(self, task: TaskId) -> None:
        """A body has ended."""
        self.inputs.pop(task, None)


def answering(
    body: Generator[Any, Any, Any],
    start: StartTask,
    given: Given,
    wait: Callable[[StartTask], None],
) -> Callable[[], Any]:
    """Return what makes a two-way body yield its next item.

    Args:
        body: The body.
        start: The task.
        given: Where its inputs are.
        wait: Returns when it may go on.
    """
    task = start.task.task

    def step() -> Any:
        wait(start)
        value, raises = given.take(task)
        return body.throw(value) if raises else body.send(value)

    return step


async def answers(
    body: AsyncGenerator[Any, Any] | Generator[Any, Any, Any],
    start: StartTask,
    given: Given,
    wait: Callable[[StartTask], Awaitable[None]],
    returned: list[Any],
) -> AsyncGenerator[Any, Any]:
    """Yield what a two-way body of an async actor yields.

    Args:
        body: The body.
        start: The task.
        given: Where its inputs are.
        wait: Returns when it may begin; at its yields this is waited for outside.
        returned: What it returns, if that is not None, is put in here.
    """
    task = start.task.task
    try:
        await wait(start)
        while True:
            value, raises = given.take(task)
            if isinstance(body, Generator):
                try:
                    item = body.throw(value) if raises else body.send(value)
                except StopIteration as stop:
                    if stop.value is not None:
                        returned.append(stop.value)
                    return
            else:
                try:
                    item = await (body.athrow(value) if raises else body.asend(value))
                except StopAsyncIteration:
                    return
            yield item
    finally:
        if isinstance(body, Generator):
            body.close()
        else:
            await body.aclose()


def stepped(start: StartTask, body: AsyncGenerator[Any, Any]) -> Generator[Any, Any, Any]:
    """Return the steps of an asynchronous body of a plain task, as a generator."""
    from zgen.io.async_bodies import stepped  # asyncio is loaded by who needs it

    return stepped(body, start.task.name)
