"""Asynchronous generators as bodies of plain tasks, which run one step at a time.

Rules of this file: between two steps the body's event loop stands still. What becomes of what it
yields is not known here.
"""

import asyncio
import contextvars
from collections.abc import AsyncGenerator, Generator
from typing import Any


def stepped(body: AsyncGenerator[Any, None], name: str) -> Generator[Any, None, None]:
    """Yield what ``body`` yields, in an event loop of its own that runs while a step does.

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
        while True:
            try:
                item = run(_next(body))
            except StopAsyncIteration:
                return
            yield item
    finally:
        try:
            run(_close(body))
            _cancel_others(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            loop.close()


async def _next(body: AsyncGenerator[Any, None]) -> Any:
    return await anext(body)


async def _close(body: AsyncGenerator[Any, None]) -> None:
    await body.aclose()


def _cancel_others(loop: asyncio.AbstractEventLoop) -> None:
    """End the tasks that the body has started and left behind, as ``asyncio.run`` does."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
