"""`cancel`: end the task behind a reference or a generator."""

from typing import Any

from zgen.core.cancel_words import CancelRequested
from zgen.handles import ObjectRef, ObjectRefGenerator
from zgen.ids import TaskId
from zgen.runtime import process


def cancel(
    ref: ObjectRef[Any] | ObjectRefGenerator[Any], *, force: bool = False, recursive: bool = True
) -> None:
    """Cancel the task behind a reference or a generator; return at once.

    Its references raise ``TaskCancelledError``. A generator hands out what was reported before,
    then one reference that raises, then it is exhausted. A task that has not begun never does. In
    one that runs, ``KeyboardInterrupt`` is raised once, in the main thread of its worker; if it
    goes on nonetheless, what it returns or yields is dropped. A task that has ended keeps its
    result, and one that raises something of its own its error. Nothing cancelled runs again.

    Args:
        ref: A result or an item of the task, its ``completed()``, or its generator; for an object
            that was put nothing happens.
        force: Kill the worker that runs the task, which then ends in ``WorkerCrashedError``.
        recursive: Cancel what the running task has submitted too, and so on.

    Raises:
        TypeError: ``ref`` is neither.
        ValueError: By force, for a call of an actor.
        NotImplementedError: It is a call of an actor, or the reference is borrowed from the process
            that made the call: zgen cannot cancel these yet.
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
        if entry is not None and entry.spec.method:
            if force:
                raise ValueError(
                    "force=True is not for calls of actors; zgen.kill() ends the actor"
                )
            raise NotImplementedError("zgen.cancel() of a call of an actor is not built yet")
        if isinstance(ref, ObjectRef) and ref.record.borrow is not None:
            if ref.record.value is not None:
                return  # it has ended
            raise NotImplementedError(
                "zgen.cancel() of a borrowed reference is not built yet; cancel the task in the "
                "process that submitted it"
            )
        runtime.loop.post(CancelRequested(task, force, recursive))
