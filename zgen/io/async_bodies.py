"""Asynchronous generators as bodies: closed, and of plain tasks, which run one step at a time.

Rules of this file: between two steps the body's event loop stands still. What becomes of what it
yields is not known here.
"""

import asyncio
import contextvars
import sys
from collections.abc import AsyncGenerator, Generator
from typing import Any


def stepped(body: AsyncGenerator[Any, Any], name: str) -> Generator[Any, Any, None]:
    """Yield what ``body`` yields, in an event loop of its own that runs while a step does.

    What is sent into this, or raised in it, is sent into ``body`` and raised there.

    Args:
        body: The asynchronous generator.
        name: Name of the event loop's task, the same for each step.

    Raises:
        Exception: Whatever the body raises.
    """
    loop = asyncio.new_event_loop()
    context = contextvars.copy_context()

    def run(step: Any) -> Any:
        task = loop.create_task(step, name=name, context=context)
        try:
            return loop.run_until_complete(task)
        except KeyboardInterrupt:  # the task was cancelled while its body waited
            if not task.done():
                task.cancel()
                loop.run_until_complete(asyncio.wait([task]))
            raise

    try:
        step = _next(body)
        while True:
            try:
                item = run(step)
            except StopAsyncIteration:
                return
            try:
                sent = yield item
            except GeneratorExit:
                raise
            except BaseException as error:
                step = _throw(body, error)
            else:
                step = _next(body) if sent is None else _send(body, sent)
    finally:
        try:
            run(_close(body))
            _cancel_others(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            loop.close()


async def _next(body: AsyncGenerator[Any, Any]) -> Any:
    return await anext(body)


async def _send(body: AsyncGenerator[Any, Any], sent: Any) -> Any:
    return await body.asend(sent)


async def _throw(body: AsyncGenerator[Any, Any], error: BaseException) -> Any:
    return await body.athrow(error)


async def _close(body: AsyncGenerator[Any, Any]) -> None:
    await body.aclose()


def _cancel_others(loop: asyncio.AbstractEventLoop) -> None:
    """End the tasks that the body has started and left behind, as ``asyncio.run`` does."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))


async def aclose(body: AsyncGenerator[Any, Any] | None) -> None:
    """Let a body that will not be resumed run its ``finally``."""
    if body is None:
        return
    try:
        await body.aclose()
    except (Exception, asyncio.CancelledError) as error:
        print(f"closing a generator raised {error!r}", file=sys.stderr)  # noqa: T201  # for the worker's log
