"""Run the methods of an async actor in one event loop, in a thread of its own.

Rules of this file: nothing here blocks the loop. Shared memory is written and opened in other
threads, a held generator waits for a future, and one that never waits by itself lets the others in
between its items. Sync methods and sync generators run in the loop's thread too, as in Ray.
"""

import asyncio
import inspect
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import suppress
from types import CoroutineType
from typing import Any

from zgen.core.effects import StartTask
from zgen.core.stream_words import YieldedTogether
from zgen.exceptions import TaskCancelledError
from zgen.ids import NO_STREAM, StreamId, TaskId
from zgen.io import serializer
from zgen.io.async_bodies import aclose
from zgen.io.ending import Closed, Over
from zgen.io.room import room_for
from zgen.io.runner import Runner
from zgen.io.serializer import Large
from zgen.io.stepping import answers
from zgen.io.task_context import TaskContext, running
from zgen.io.together import SERIALIZE, YIELDED, as_it_is, packed_async_yields
from zgen.io.waiter import NOTHING, Waiter
from zgen.limits import ITEMS_AT_ONCE_COUNT_MAX, ITEMS_COUNT_MAX, REGION_SOON_NS, SECOND
from zgen.wire.task import OUTCOME_CANCELLED, OUTCOME_VALUE, STREAMING
from zgen.wire.value import NONE, Parcel, Stored, Value


class Unwanted(BaseException):
    """A cancelled generator does not go on after the item that it has just yielded."""


class LoopWaiter(Waiter):
    """What a coroutine waits for, made happen by another thread."""

    __slots__ = ("_future", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start unhappened."""
        super().__init__()
        self._loop = loop
        self._future: asyncio.Future[None] | None = None

    def finish(self) -> None:
        """It has happened; under the process lock."""
        self.done = True
        if self._future is not None:
            self._loop.call_soon_threadsafe(_resolve, self._future)

    async def come(self) -> None:
        """Wait until it has happened."""
        self._future = self._loop.create_future()
        if not self.done:  # else who finished it may have seen no future
            await self._future


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


class AsyncRunner(Runner):
    """A runner whose actor may have an event loop.

    Attributes:
        loop: The event loop of the actor's methods, or None.
        tasks: What runs in it, by call.
        give_away: Gives the resources of the running call away; returns what takes them back. Set
            after the making, by the runtime.
    """

    loop: asyncio.AbstractEventLoop | None = None
    ends_by = (KeyboardInterrupt, TaskCancelledError, asyncio.CancelledError, Unwanted)
    give_away: Callable[[], Callable[[], None]] = staticmethod(lambda: lambda: None)

    def __init__(self, *args: Any) -> None:
        """As a runner of plain tasks."""
        super().__init__(*args)
        #: Calls that begin when the loop comes round to it, and whether that was asked to.
        self._begun: deque[StartTask] = deque()
        self._is_called = False

    def cancel_call(self, task: TaskId, attempt: int) -> None:
        """Cancel a running call in the loop; one outside of it finds out; under the process lock.

        Either way a generator does not go on after its next item.
        """
        self.cancels.flag(task, attempt)
        self._held.setdefault(task, NOTHING)  # so that an item is followed by a look
        if self.loop is not None:
            self.loop.call_soon_threadsafe(self._cancel_begun, task)

    def _cancel_begun(self, task: TaskId) -> None:
        """Cancel what runs in the loop once it has made its first step."""
        asyncio.get_running_loop().call_soon(self._cancel_running, task)

    def _cancel_running(self, task: TaskId) -> None:
        """Cancel what runs; what was not spawned yet, or ends already, is not there."""
        running = self.tasks.get(task)
        if running is not None:
            running.cancel()

    def start_loop(self) -> None:
        """Start the event loop in a thread of its own."""
        self.tasks: dict[TaskId, asyncio.Task[None]] = {}
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self._run_loop, name="zgen-actor-loop", daemon=True).start()

    def begin(self, start: StartTask) -> None:
        """Run a call in the loop; the first of a burst wakes that."""
        assert self.loop is not None, "no loop"
        self._begun.append(start)
        if not self._is_called:
            self._is_called = True
            self.loop.call_soon_threadsafe(self._spawn_all)

    def _run_loop(self) -> None:
        assert self.loop is not None, "no loop"
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        except SystemExit as leaving:  # of a task that the user's code made
            try:
                self._exit(leaving)
            except Over:
                return

    def _spawn_all(self) -> None:
        self._is_called = False  # first: what is begun from here on calls again
        while self._begun:
            self._spawn(self._begun.popleft())

    def _spawn(self, start: StartTask) -> None:
        assert self.loop is not None, "no loop"
        if self.cancels.flagged and self._skip(start):
            return
        self.tasks[start.task.task] = self.loop.create_task(
            self._run_in_loop(start), name=start.task.name
        )

    async def _run_in_loop(self, start: StartTask) -> None:
        task = start.task
        running.set(TaskContext(task.task, task.attempt, task.task, task.name))
        try:
            if start.settings is not None:
                self._create(start)
            elif task.returns_count == STREAMING:
                await self._stream(start)
            else:
                outcome, values = await self._return(start)
                self._end(start, outcome, values)
        except Over:
            return
        finally:
            self.tasks.pop(task.task, None)
            if self.cancels.flagged:
                self.cancels.forget(start)

    def _skip(self, start: StartTask) -> bool:
        """End a call that was cancelled before its first line; return whether it was."""
        if not self.cancels.is_asked(start):
            return False
        self._give_back(start.slots)
        self._end(start, OUTCOME_CANCELLED, ())
        self.cancels.forget(start)
        return True

    def _create(self, start: StartTask) -> None:
        """Make the instance."""
        raise NotImplementedError

    def _new_hold(self) -> Waiter:
        return Waiter() if self.loop is None else LoopWaiter(self.loop)

    async def _in_thread(self, function: Any, *args: Any) -> Any:
        """Run what would block the loop; a cancel that comes meanwhile is put off until after it.

        Else what the thread brings would be lost, and with it what it stands for.
        """
        future = asyncio.get_running_loop().run_in_executor(None, function, *args)
        is_put_off = False
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError:
                is_put_off = True
        if is_put_off:
            task = asyncio.current_task()
            assert task is not None, "no task"
            task.uncancel()
            task.cancel()
        return future.result()

    def _called_at_once(self, start: StartTask) -> Any:
        """Call the method, none of whose arguments lies in shared memory."""
        function = self._functions.get(start.task.function)
        if function is None:
            function = self._load(start)
        if start.arguments == b"":
            return function()
        args, kwargs = self._arguments_of(start)
        return function(*args, **kwargs)

    async def _called(self, start: StartTask) -> Any:
        """Call the method; a coroutine or a generator is returned as it is."""
        if not any(isinstance(slot, Stored) for slot in start.slots):
            return self._called_at_once(start)
        function = self._functions.get(start.task.function)
        if function is None:
            function = self._load(start)
        args, kwargs = await self._in_thread(self._arguments_of, start)
        if self.cancels.flagged and self.cancels.is_asked(start):
            raise Unwanted
        return function(*args, **kwargs)

    async def _return(self, start: StartTask) -> tuple[int, tuple[Value, ...]]:
        try:
            result = await self._called(start) if start.slots else self._called_at_once(start)
            if isinstance(result, CoroutineType):
                result = await result
            elif isinstance(result, AsyncGenerator):
                return self._yields(start, again(*await _taken(result, start.task.returns_count)))
            elif isinstance(result, Generator) and inspect.isgeneratorfunction(
                self._functions[start.task.function]
            ):
                return self._yields(start, result)
            if result is None and start.task.returns_count == 1:
                return OUTCOME_VALUE, (NONE,)
            if start.task.returns_count == 1:
                return OUTCOME_VALUE, (await self._packed(start, result, NO_STREAM),)
            return OUTCOME_VALUE, await self._in_thread(self._results, start, result)
        except SystemExit as leaving:
            self._exit(leaving)
        except Over:
            raise
        except BaseException as error:
            return self._failure(start, error)

    async def _packed(self, start: StartTask, value: Any, stream: StreamId) -> Value:
        if value is None:
            return NONE
        packed = serializer.serialize(value)
        if isinstance(packed, (Parcel, Large)) and packed.refs:
            self._kept[start.task.task] = [value]
        if type(packed) is Large:
            stored: Stored = await self._in_thread(self._objects.store, packed, start.owner, stream)
            return stored
        return packed

    async def _stream(self, start: StartTask) -> None:
        task, attempt = start.task.task, start.task.attempt
        post, serialize, yielded = self._post, SERIALIZE, YIELDED
        body: AsyncGenerator[Any, Any] | None = None
        count, count_max = 0, ITEMS_COUNT_MAX // start.task.per_yield
        returned: list[Any] = []
        values: tuple[Value, ...] = ()
        try:
            body = self._steps(start, await self._called(start), returned)
            if start.task.per_yield > 1:
                how = (self._objects, self._make_room, self._in_thread)
                body = packed_async_yields(body, start, *how)
                serialize, yielded = as_it_is, YieldedTogether
            async for item in body:
                if count == count_max:
                    text = f"yielded more than {count_max} items"
                    raise ValueError(f"{start.task.name}() {text}")
                count += 1
                packed = serialize(item)
                if type(packed) is Large:
                    if start.task.window_bytes:
                        await self._make_room(start, packed)
                    packed = await self._in_thread(self._objects.store, packed, start.owner, task)
                post(yielded(task, attempt, packed))
                if self._held or count % ITEMS_AT_ONCE_COUNT_MAX == 0:
                    await self._pause(start)
            if returned:
                values = (await self._packed(start, returned[0], NO_STREAM),)
        except SystemExit as leaving:
            self._exit(leaving)
        except Over:
            raise
        except BaseException as error:
            outcome, values = self._failure(start, error)
            if self.cancels.flagged and self.cancels.is_asked(start):
                await self._be_cancelled_no_more(start)
            await aclose(body)
            self._end(start, outcome, values)
        else:
            self._end(start, OUTCOME_VALUE, values)

    async def _be_cancelled_no_more(self, start: StartTask) -> None:
        """Let nothing interrupt what a generator that was cancelled does in its ``finally``."""
        del self.tasks[start.task.task]
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)  # takes the cancel that has come and was not met yet

    async def _make_room(self, start: StartTask, *values: Value | Large) -> None:
        """Wait until what is large fits into what may wait for its consumer, before storing it."""
        self._post(room_for(start, *values))
        if self._held:
            await self._pause(start)

    def _steps(self, start: StartTask, body: Any, returned: list[Any]) -> AsyncGenerator[Any, Any]:
        if start.task.window < 0 and isinstance(body, (AsyncGenerator, Generator)):
            return answers(body, start, self._given, self._pause, returned)
        if isinstance(body, AsyncGenerator):
            return body
        if isinstance(body, Generator):
            return self._stepped(body, returned)
        if inspect.iscoroutine(body):
            body.close()
        text = f"{start.task.name}() returned {type(body).__name__}, not a generator"
        raise ValueError(f'num_returns="streaming", but {text}')

    async def _stepped(
        self, body: Generator[Any, None, Any], returned: list[Any]
    ) -> AsyncGenerator[Any, Any]:
        """Yield what ``body`` yields; what it returns, if that is not None, goes to a list."""
        try:
            while True:
                try:
                    item = next(body)
                except StopIteration as stop:
                    if stop.value is not None:
                        returned.append(stop.value)
                    return
                yield item
                if len(self.tasks) > 1:
                    await asyncio.sleep(0)
        finally:
            body.close()

    async def _pause(self, start: StartTask) -> None:
        """Let others run; where the body is held, until it may go on.

        Raises:
            Unwanted: It may not, since it was cancelled.
            Closed: It may not, since its user closed it.
        """
        held = self._held.get(start.task.task)
        if isinstance(held, LoopWaiter):
            try:
                await self._held_back(held)
            finally:
                del self._held[start.task.task]
        else:
            await asyncio.sleep(0)
        if start.task.task in self._closed:
            raise Closed
        if self.cancels.flagged and self.cancels.is_asked(start):
            raise Unwanted

    async def _held_back(self, held: LoopWaiter) -> None:
        """Wait until a generator may go on; give the actor's resources away if that takes long.

        Who is to take its items may wait for tasks that want a CPU.
        """
        given: list[Callable[[], None]] = []
        soon = self.give_away
        later = asyncio.get_running_loop().call_later(
            REGION_SOON_NS / SECOND, lambda: given.append(soon())
        )
        try:
            await held.come()
        finally:
            later.cancel()
            for take_back in given:
                take_back()


async def _taken(
    body: AsyncGenerator[Any, Any], count: int
) -> tuple[list[Any], BaseException | None]:
    """Return what an async generator yields first, one more than ``count``, and what it raises."""
    items: list[Any] = []
    try:
        async for item in body:
            items.append(item)
            if len(items) > count:
                break
    except BaseException as error:
        return items, error
    await aclose(body)
    return items, None


def again(items: list[Any], failure: BaseException | None) -> Generator[Any, None, None]:
    """Yield ``items``, then raise ``failure`` if there is one."""
    yield from items
    if failure is not None:
        raise failure
