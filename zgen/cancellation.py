"""`cancel`: end the task behind a reference or a generator."""

from typing import Any

from zgen.core.cancel_words import CancelRequested
from zgen.handles import ObjectRef, ObjectRefGenerator
from zgen.ids import ObjectId, TaskId
from zgen.runtime import process


def cancel(
    ref: ObjectRef[Any] | ObjectRefGenerator[Any], *, force: bool = False, recursive: bool = True
) -> None:
    """Cancel the task or the actor's call behind a reference or a generator; return at once.

    Its references raise ``TaskCancelledError``. A generator hands out what was reported before,
    then one reference that raises, then it is exhausted. What has not begun never does. In a task
    that runs, ``KeyboardInterrupt`` is raised once, in the main thread of its worker, and in a call
    of an async actor ``asyncio.CancelledError``; if it goes on nonetheless, what it returns or
    yields is dropped. A running method of a regular or threaded actor is not interrupted: it is
    over for its caller at once, and can learn of that by ``get_runtime_context().is_canceled()``; a
    generator method ends at its next ``yield``. What has ended keeps its result, and what raises
    something of its own before its caller was told its error. Nothing cancelled runs again.

    Args:
        ref: A result or an item of the task, its ``completed()``, or its generator, also one that
            another process submitted and that came from there; for an object that was put nothing
            happens.
        force: Kill the worker that runs the task, which then ends in ``WorkerCrashedError``. Not
            for calls of actors; of one that another process submitted it is ignored.
        recursive: Cancel what it has submitted too, and so on; calls of actors never by force.

    Raises:
        TypeError: ``ref`` is neither.
        ValueError: By force, for a call of an actor that has not ended.
    """
    if not isinstance(ref, (ObjectRef, ObjectRefGenerator)):
        raise TypeError(
            f"zgen.cancel() takes an ObjectRef or an ObjectRefGenerator, got {type(ref).__name__}"
        )
    if process.forked:
        process.require()
    runtime = process.current
    if runtime is not None:  # else it has ended
        runtime.enter()
        task = TaskId(ref.task_id())
        with runtime.loop.lock:
            entry = runtime.machine.owner.tasks.entries.get(task)
        if force and entry is not None and entry.spec.method:
            raise ValueError("force=True is not for calls of actors; zgen.kill() ends the actor")
        name = ObjectId(ref.binary()) if isinstance(ref, ObjectRef) else ref.completion
        runtime.loop.post(CancelRequested(task, force, recursive, name))
