"""What a task is: everything needed to execute it again."""

from typing import Final

from zgen.ids import NO_ACTOR, NO_TASK, ActorId, FunctionId, ObjectId, TaskId
from zgen.slotted import slotted
from zgen.wire.lease import Demand
from zgen.wire.value import Value

#: ``method`` of the task that creates an actor.
CREATION: Final = "__init__"


@slotted
class TaskSpec:
    """Everything needed to execute a task again.

    Attributes:
        task: The task.
        function: Hash of the function, defined before.
        name: For people.
        returns_count: Number of results, or ``STREAMING`` or ``DYNAMIC``.
        arguments: Pickle of (args, kwargs), references replaced by positions.
        slots: Objects that the arguments refer to, in order of their positions.
        shape: Resources that it holds while it runs, and where if that matters.
        retries_max: How often it may run again after a failure; -1 for ever.
        retry_exceptions: Pickle of what may be retried; empty for nothing.
        window: Items of a stream that may be there without being taken; 0 for any number.
        actor: Actor that it is a call of.
        method: Name of the method; ``CREATION`` for the task that creates the actor.
        group: Concurrency group that it runs in; empty for the actor's own.
        parent: Task that submitted it, or the root of its process; zeroes if it creates an actor.
        parent_attempt: Which execution of that.
        window_bytes: Bytes of a stream that may be there without being taken; 0 for any number.
        per_yield: Items that each yield of a stream makes, which come and go together; a window
            counts them as one.
    """

    task: TaskId
    function: FunctionId
    name: str
    returns_count: int
    arguments: Value
    slots: tuple[ObjectId, ...]
    shape: Demand
    retries_max: int
    retry_exceptions: bytes
    window: int = 0
    actor: ActorId = NO_ACTOR
    method: str = ""
    group: str = ""
    parent: TaskId = NO_TASK
    parent_attempt: int = 0
    window_bytes: int = 0
    per_yield: int = 1

    @property
    def creates_actor(self) -> bool:
        """Whether it is the task that creates its actor, and no call."""
        return self.method == CREATION
