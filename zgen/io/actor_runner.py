"""Run the actor of a worker: its constructor, then its methods, each where the actor's kind says.

Rules of this file: a regular actor runs everything in the main thread; a threaded one its methods
in pools of threads, one pool for itself and one for each of its concurrency groups; an async one
everything in its event loop. That a call may start, and how many at a time, is decided elsewhere:
here is always a thread for it.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, NoReturn

from zgen.core.actor_effects import ActorOver
from zgen.core.cancel_words import AbandonBody, InterruptBody
from zgen.core.effects import Effect, StartTask
from zgen.ids import ActorId, PeerId
from zgen.io import methods
from zgen.io.async_runner import AsyncRunner, Unwanted
from zgen.io.ending import Over
from zgen.io.task_context import TaskContext, running
from zgen.wire.actor import ActorSettings
from zgen.wire.task import OUTCOME_VALUE, STREAMING
from zgen.wire.value import NONE


class HostedActor:
    """The actor of this worker.

    Attributes:
        actor: Its id.
        creator: Who supervises it.
        life: Which life of it this is, from 0.
        settings: How it runs its calls.
        cls: Its class; None until that is unpickled.
    """

    __slots__ = ("actor", "cls", "creator", "life", "pools", "settings")

    def __init__(self, actor: ActorId, creator: PeerId, life: int, settings: ActorSettings) -> None:
        """Start without an instance."""
        self.actor = actor
        self.creator = creator
        self.life = life
        self.settings = settings
        self.cls: type | None = None
        #: Concurrency group -> its threads; empty for an actor that is not threaded.
        self.pools: dict[str, ThreadPool] = {}


class ThreadPool:
    """Threads that run calls; there is one for each that runs, made when it is first wanted."""

    def __init__(self, name: str, run: Callable[[StartTask], None]) -> None:
        """Start without threads."""
        self._name = name
        self._run = run
        #: Calls to run, and None for each thread that is to end.
        self._work: SimpleQueue[StartTask | None] = SimpleQueue()
        #: One permit for each thread that waits for work.
        self._idle = threading.Semaphore(0)
        self._count = 0

    def submit(self, start: StartTask) -> None:
        """Run a call in a thread that is free, or in a new one; by one thread at a time."""
        if not self._idle.acquire(blocking=False):
            self._count += 1
            name = f"{self._name}-{self._count}"
            threading.Thread(target=self._serve, name=name, daemon=True).start()
        self._work.put(start)

    def end(self) -> None:
        """Let each thread end when it is free; nothing may be submitted any more."""
        for _ in range(self._count):
            self._work.put(None)

    def _serve(self) -> None:
        while (start := self._work.get()) is not None:
            self._run(start)
            self._idle.release()


class ActorRunner(AsyncRunner):
    """The runner of a worker, which may become an actor's.

    Attributes:
        actor: The actor of this worker, or None.
        wake: Wakes the main thread if it waits. Set after the making, by the runtime.
    """

    actor: HostedActor | None = None

    def __init__(self, *args: Any) -> None:
        """As a runner of plain tasks."""
        super().__init__(*args)
        self.wake: Callable[[], None] = lambda: None

    def perform(self, effect: Effect) -> bool:
        """Do what the executor asks for, under the process lock; return False for other effects."""
        if type(effect) is StartTask and self.loop is not None:
            self.begin(effect)  # not by way of the main thread, which would have to be woken first
            return True
        if type(effect) is ActorOver:
            self.over = True
            self.ready.finish()
            return True
        if self.actor is not None and isinstance(effect, (AbandonBody, InterruptBody)):
            self.cancel_call(effect.task, effect.attempt)
            return True
        return super().perform(effect)

    def end(self) -> None:
        """Let the threads of the actor end, each when it is free: the actor is over."""
        for pool in self.actor.pools.values() if self.actor is not None else ():
            pool.end()

    def _run_call(self, start: StartTask) -> None:
        actor = self.actor
        if start.settings is not None:
            actor = self._prepare(start)
        assert actor is not None, "a call before its actor"
        if self.loop is not None:
            self.begin(start)
        elif actor.pools and start.settings is None:
            assert start.call is not None, "no call"
            actor.pools[start.call.group].submit(start)
        else:
            self.context = _context(start)
            try:
                self._run_body(start)
            finally:
                self.context = None

    def _prepare(self, start: StartTask) -> HostedActor:
        """Make the threads or the loop that the actor will run in."""
        assert start.call is not None, "no call"
        assert start.settings is not None, "no creation"
        assert self.actor is None, "a second actor in this worker"
        self._mark(start)
        settings = start.settings
        actor = self.actor = HostedActor(
            start.call.actor, start.owner, start.task.attempt, settings
        )
        if settings.is_async:
            self.start_loop()
        elif settings.max_concurrency > 1 or settings.groups:
            for group in ("", *[name for name, _ in settings.groups]):
                name = f"zgen-actor-{group}" if group else "zgen-actor"
                actor.pools[group] = ThreadPool(name, self._run_in_thread)
        return actor

    def _run_in_thread(self, start: StartTask) -> None:
        token = running.set(_context(start))
        try:
            self._run_body(start)
        finally:
            running.reset(token)

    def _run_body(self, start: StartTask) -> None:
        if self.cancels.flagged and self._skip(start):
            return
        try:
            if start.settings is not None:
                self._create(start)
            elif start.task.returns_count == STREAMING:
                self._run_generator(start)
            else:
                outcome, values = self._run_function(start)
                self._end(start, outcome, values)
        except Over:
            return
        except SystemExit as leaving:  # of the finally of a generator that was cancelled
            with suppress(Over):
                self._exit(leaving)
        finally:
            if self.cancels.flagged:
                self.cancels.forget(start)

    def _wait_for_release(self, start: StartTask) -> None:
        """Let a generator go on when it may.

        Raises:
            Unwanted: It may not, since it was cancelled.
            Closed: It may not, since its user closed it.
        """
        super()._wait_for_release(start)
        if self.cancels.flagged and self.cancels.is_asked(start):
            raise Unwanted

    def _create(self, start: StartTask) -> None:
        """Make the instance and find its methods."""
        assert self.actor is not None, "no actor"
        try:
            instance = self._call(start)
            cls = self._functions[start.task.function]
            assert isinstance(cls, type), "an actor of something that is no class"
            self.actor.cls = cls
            for name, method in self._methods(instance, cls):
                self._functions[methods.method_id(start.task.function, name)] = method
        except BaseException as error:
            outcome, values = self._failure(start, error)
            self._end(start, outcome, values)
        else:
            self._end(start, OUTCOME_VALUE, (NONE,))

    @staticmethod
    def _methods(instance: Any, cls: type) -> list[tuple[str, Callable[..., Any]]]:
        def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            return function(instance, *args, **kwargs)

        def ready() -> bool:
            return True

        own: list[tuple[str, Callable[..., Any]]] = [
            (methods.CALL, call),
            (methods.READY, ready),
            (methods.TERMINATE, exit_now),
        ]
        return [*own, *methods.bound_methods(instance, cls)]

    def _exit(self, leaving: SystemExit) -> NoReturn:
        """A method asked for the end of its actor, or a task for that of its process.

        A code that says that something went wrong is a crash of the actor, as of any program.
        """
        try:
            super()._exit(leaving)
        finally:
            self.ready.finish()
            self.wake()


def _context(start: StartTask) -> TaskContext:
    return TaskContext(start.task.task, start.task.attempt, start.task.task, start.task.name)


def exit_now() -> NoReturn:
    """End the actor whose method this thread runs.

    Raises:
        SystemExit: Always.
    """
    raise SystemExit(0)
