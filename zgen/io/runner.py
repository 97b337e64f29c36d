"""Run functions and generators for the executor; yields become events.

Rules of this file: it calls user code and reports what it did, in order. Whether something is
retried, and where it goes, is decided elsewhere.
"""

import inspect
import itertools
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from types import AsyncGeneratorType, GeneratorType
from typing import Any, NoReturn

from zgen.core.actor_events import ExitActor
from zgen.core.cancel_words import InterruptBody, KillSelf, StopBody
from zgen.core.effects import Effect, HoldBody, LearnFunction, ReleaseBody, StartTask
from zgen.core.events import Event, TaskEnded
from zgen.core.stream_words import YieldedTogether
from zgen.exceptions import TaskCancelledError
from zgen.ids import ITEM_INDEX_FIRST as FIRST
from zgen.ids import NO_STREAM, FunctionId, StreamId, TaskId, hash_function
from zgen.io import serializer
from zgen.io.cancels import Cancels
from zgen.io.ending import Closed, Over, close, exit_code, flush_output, is_retriable, last_of
from zgen.io.rebuilding import only
from zgen.io.room import Objects, room_for
from zgen.io.serializer import Large
from zgen.io.started_marks import started_marks
from zgen.io.stepping import Given, answering, stepped
from zgen.io.task_context import TaskContext
from zgen.io.together import SERIALIZE, YIELDED, as_it_is, packed_yields
from zgen.io.waiter import NOTHING, Waiter
from zgen.limits import ITEMS_COUNT_MAX, RETURNS_COUNT_MAX
from zgen.wire.task import (
    OUTCOME_CANCELLED,
    OUTCOME_ERROR,
    OUTCOME_RETRY,
    OUTCOME_VALUE,
    STREAMING,
)
from zgen.wire.value import NONE, Parcel, Stored, Value


class Runner:
    """The main thread of a worker between and during tasks.

    Attributes:
        context: The task that runs, or None.
        started: Tasks handed over by the executor and not begun; a plain worker has one at most.
        ready: Finished when ``started`` is not empty, or when it is over.
        over: Whether nothing is to be run any more.
        exit_code: With which code the process ends then.
        cancels: What may be interrupted; it hears of nothing before it is installed.
        ends_by: What a cancelled body may raise for that; all else is an error of its own.
    """

    exit_code: int = 0
    ends_by: tuple[type[BaseException], ...] = (KeyboardInterrupt, TaskCancelledError)

    def __init__(
        self,
        post: Callable[[Event], list[Effect]],
        wait: Callable[[Waiter], bool],
        marks_fd: int,
        objects: Objects,
        wait_held: Callable[[Waiter], bool] | None = None,
    ) -> None:
        """Report to ``post``, and ``wait`` for tasks, in another way while a body is held.

        ``marks_fd`` is memory that outlives this process, or -1; ``objects`` is shared memory.
        """
        #: Streams of others that bodies here read, and what tells of those that they have dropped.
        self.far: Mapping[TaskId, object] = {}
        self.tell_drops: Callable[[], None] = lambda: None
        self.context: TaskContext | None = None
        self.started: deque[StartTask] = deque()
        self.ready = Waiter()
        self.over = False
        self._post = post
        self._wait = wait
        self._wait_held = wait_held or wait
        self._objects = objects
        #: Held generator -> what it waits for. Added by ``HoldBody``; removed by who runs it.
        self._held: dict[TaskId, Waiter] = {}
        #: Generators that are to stop at their yield. Added by ``StopBody``; removed at their end.
        self._closed: dict[TaskId, None] = {}
        self._given = Given()
        self.cancels = Cancels()
        self.cancels.entry = Runner._call.__code__
        #: Call -> results with references inside, kept until its end is stepped.
        self._kept: dict[TaskId, list[Any]] = {}
        #: Function -> its pickle, until it is first called. Added by ``LearnFunction``.
        self._payloads: dict[FunctionId, bytes] = {}
        self._functions: dict[FunctionId, Callable[..., Any]] = {}
        self._mark = started_marks(marks_fd)
        self._pid = os.getpid()

    def perform(self, effect: Effect) -> bool:
        """Do what the executor asks for, under the process lock; return False for other effects."""
        if type(effect) is StartTask:
            self.started.append(effect)
            if not self.ready.done:
                self.ready.finish()
        elif type(effect) is HoldBody:
            self._held[effect.task] = self._new_hold()
        elif type(effect) is ReleaseBody:
            held = self._held.get(effect.task)
            if held is not None:
                held.finish()
        elif type(effect) is InterruptBody:
            self._held.setdefault(effect.task, NOTHING)  # so that an item is followed by a look
            self.cancels.ask(effect.task, effect.attempt)
        elif type(effect) is StopBody:
            self._held.setdefault(effect.task, NOTHING)
            self._closed[effect.task] = None
        elif type(effect) is KillSelf:
            os.kill(self._pid, signal.SIGKILL)
        elif type(effect) is LearnFunction:
            self._payloads[effect.function] = effect.payload
        else:
            return self._given.perform(effect)
        return True

    def run_next(self) -> None:
        """Run the next task, waiting for one if there is none."""
        if not self.started and self.ready.done:
            self.ready = Waiter()
        if not (self.started or self.over):  # looked at again, since the new one was not told
            self._wait(self.ready)
        if not self.started:
            return
        start = self.started.popleft()
        task = start.task
        if start.call is not None:
            self._run_call(start)
            return
        self._mark(start)
        self.context = TaskContext(task.task, task.attempt, NO_STREAM, task.name)
        try:
            if task.returns_count == STREAMING:
                self._run_generator(start)
            else:
                self._end(start, *self._run_function(start))
        except Over:
            return
        finally:
            self.context = None

    def _run_call(self, start: StartTask) -> None:
        """Create the actor of this worker, or run one of its methods."""
        raise AssertionError("a call of an actor, for a runner of plain tasks")

    def _new_hold(self) -> Waiter:
        """Return what a held generator waits for."""
        return Waiter()

    def _end(self, start: StartTask, outcome: int, values: tuple[Value, ...]) -> None:
        if self.far:
            self.tell_drops()  # what it read comes back before its end is known
        flush_output()  # before its owner hears of the end, and leaves perhaps
        self._post(TaskEnded(start.task.task, start.task.attempt, outcome, values))
        if self._held or self._kept or self._closed or self._given.inputs:
            self._held.pop(start.task.task, None)
            self._closed.pop(start.task.task, None)
            self._given.forget(start.task.task)
            self._kept.pop(start.task.task, None)

    def _call(self, start: StartTask) -> Any:
        function = self._functions.get(start.task.function)
        if function is None:
            function = self._load(start)
        cancels = self.cancels
        args, kwargs = ((), {}) if start.arguments == b"" else self._arguments_of(start)
        cancels.running = start
        if cancels.pending:
            cancels.deliver()
        return function(*args, **kwargs)

    def _arguments_of(self, start: StartTask) -> tuple[tuple[Any, ...], dict[str, Any]]:
        values = self._values_of(start.slots) if start.slots else None
        args, kwargs = serializer.deserialize(start.arguments)
        if values is not None:
            args = tuple([values[a.index] if type(a) is serializer.Slot else a for a in args])
            kwargs = {
                k: values[v.index] if type(v) is serializer.Slot else v for k, v in kwargs.items()
            }
        return args, kwargs

    def _load(self, start: StartTask) -> Callable[..., Any]:
        task = start.task
        try:
            payload = self._payloads[task.function]
            assert hash_function(payload) == task.function, "a function unlike its hash"
            function = self._functions[task.function] = serializer.load_function(payload)
        except BaseException:
            self._give_back(start.slots)
            raise
        del self._payloads[task.function]
        return function

    def _values_of(self, slots: tuple[Value, ...]) -> list[Any]:
        """Return the objects of referenced arguments: one view of each that is in shared memory."""
        values: list[Any] = []
        for index, value in enumerate(slots):
            try:
                if isinstance(value, Stored):
                    values.append(self._objects.view(value))
                else:
                    values.append(serializer.deserialize(value))
            except BaseException:
                self._give_back(slots[index + 1 :])
                raise
        return values

    def _give_back(self, slots: tuple[Value, ...]) -> None:
        """Take back the views that are counted for arguments and will not be made."""
        for value in slots:
            if isinstance(value, Stored):
                self._objects.give_back(value.region)

    def _pack(self, start: StartTask, result: Any, stream: StreamId = NO_STREAM) -> Value:
        """Return what is reported of a result or an item, large ones from shared memory."""
        packed = serializer.serialize(result)
        if isinstance(packed, (Parcel, Large)) and packed.refs:
            self._kept.setdefault(start.task.task, []).append(result)
        if type(packed) is Large:
            return self._objects.store(packed, start.owner, stream)
        return packed

    def _discard(self, values: list[Value]) -> None:
        """Give back the regions of results that will not be reported."""
        for value in values:
            if isinstance(value, Stored):
                self._objects.unused(value.region)

    def _run_function(self, start: StartTask) -> tuple[int, tuple[Value, ...]]:
        try:
            try:
                result = self._call(start)
                function = self._functions[start.task.function]
                if isinstance(result, AsyncGeneratorType) and inspect.isasyncgenfunction(function):
                    return self._yields(start, stepped(start, result))
                if isinstance(result, GeneratorType) and inspect.isgeneratorfunction(function):
                    return self._yields(start, result)
                return OUTCOME_VALUE, self._results(start, result)
            finally:
                self.cancels.running = None
                self.cancels.noted = False
        except SystemExit as leaving:
            self._exit(leaving)
        except Over:
            raise
        except BaseException as error:
            return self._failure(start, error)

    def _yields(
        self, start: StartTask, body: Generator[Any, None, Any]
    ) -> tuple[int, tuple[Value, ...]]:
        """Run a generator with a fixed number of results; an error stands for what is missing.

        Also where it may run again: if its owner has spent its retries, what was yielded stands.
        """
        count, name = start.task.returns_count, start.task.name
        values: list[Value] = []
        try:
            for item in itertools.islice(only(body, start), count):
                values.append(self._pack(start, item))
                if self._held:  # a cancel stops calls between their items
                    self._wait_for_release(start)
            if len(values) < count:
                raise ValueError(f"num_returns={count}, but {name}() yielded {len(values)} values")
            for _ in body:
                print(f"{name}() yielded more than num_returns={count} values", file=sys.stderr)  # noqa: T201  # for the worker's log
                break
        except SystemExit as leaving:
            self._exit(leaving)
        except BaseException as error:
            outcome, failure = self._failure(start, error)
            if self.cancels.is_asked(start):
                self._discard(values)
                return outcome, failure
            values += failure * (count - len(values))
            return OUTCOME_RETRY if outcome == OUTCOME_RETRY else OUTCOME_VALUE, tuple(values)
        finally:
            close(body)
        return OUTCOME_VALUE, tuple(values)

    def _results(self, start: StartTask, result: Any) -> tuple[Value, ...]:
        count = start.task.returns_count
        if count == 1:
            return (NONE if result is None else self._pack(start, result),)
        if count == 0:
            return ()
        try:
            results = list(itertools.islice(only(result, start), RETURNS_COUNT_MAX + 1))
        except TypeError:
            text = f"{start.task.name}() returned {type(result).__name__}"
            raise TypeError(f"num_returns={count}, but {text}") from None
        if len(results) != count:
            text = f"{start.task.name}() returned {len(results)} values"
            raise ValueError(f"num_returns={count}, but {text}")
        values: list[Value] = []
        try:
            for result in results:
                values.append(self._pack(start, result))  # noqa: PERF401  # given back if it raises
        except BaseException:
            self._discard(values)
            raise
        return tuple(values)

    def _run_generator(self, start: StartTask) -> None:
        task, attempt = start.task.task, start.task.attempt
        post, serialize, yielded = self._post, SERIALIZE, YIELDED
        body: Generator[Any, None, Any] | None = None
        values: tuple[Value, ...] = ()
        try:
            try:
                body = self._call(start)
                if isinstance(body, AsyncGenerator):
                    body = stepped(start, body)
                if not isinstance(body, Generator):
                    kind, body = type(body).__name__, None
                    text = f"{start.task.name}() returned {kind}, not a generator"
                    raise ValueError(f'num_returns="streaming", but {text}')
                if start.task.window < 0:
                    step = answering(body, start, self._given, self._wait_for_release)
                elif start.task.per_yield > 1:
                    step = packed_yields(body, start, self._objects, self._await_room).__next__
                    serialize, yielded = as_it_is, YieldedTogether
                else:
                    step = iter(only(body, start, FIRST)).__next__
                for _ in itertools.repeat(None, ITEMS_COUNT_MAX // start.task.per_yield):
                    try:
                        item = step()
                    except StopIteration as stop:
                        returned = stop.value
                        break
                    packed = serialize(item)
                    if type(packed) is Large:
                        if start.task.window_bytes:
                            self._await_room(start, packed)
                        packed = self._objects.store(packed, start.owner, task)
                    post(yielded(task, attempt, packed))
                    if self._held:
                        self._wait_for_release(start)
                else:
                    returned = last_of(body, start.task.name)
                if returned is not None:
                    values = (self._pack(start, returned),)
            finally:
                self.cancels.running = None
                self.cancels.noted = False
        except SystemExit as leaving:
            self._exit(leaving)
        except BaseException as error:
            outcome, values = self._failure(start, error)
            close(body)
            self._end(start, outcome, values)
        else:
            self._end(start, OUTCOME_VALUE, values)

    def _await_room(self, start: StartTask, *values: Value | Large) -> None:
        """Wait until what is large fits into what may wait for its consumer, before storing it."""
        self._post(room_for(start, *values))
        if self._held:
            self._wait_for_release(start)

    def _wait_for_release(self, start: StartTask) -> None:
        held = self._held.get(start.task.task)
        if held is not None:
            try:
                self._wait_held(held)
                if self.cancels.pending:  # a cancel lets go of what is held, too
                    self.cancels.deliver()
            finally:  # only this thread makes another one, with its next item
                del self._held[start.task.task]
            if start.task.task in self._closed:
                raise Closed

    def _failure(self, start: StartTask, error: BaseException) -> tuple[int, tuple[Value, ...]]:
        task = start.task
        is_cut = isinstance(error, self.ends_by) and self.cancels.is_asked(start)
        if is_cut or type(error) is Closed:
            return OUTCOME_CANCELLED, ()
        retriable = is_retriable(task.retry_exceptions, error)
        outcome = OUTCOME_RETRY if retriable else OUTCOME_ERROR
        return outcome, (serializer.serialize_error(error, task.name, self._pid, task.attempt),)

    def _exit(self, leaving: SystemExit) -> NoReturn:
        """The body asked the process to end: it raises ``Over``; what was yielded leaves first."""
        if not self.over:
            self.exit_code = exit_code(leaving)
            self._post(ExitActor(self.exit_code != 0))
            self.over = True
        raise Over
