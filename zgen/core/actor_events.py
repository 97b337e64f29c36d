"""What may happen to a process about actors; part of ``Event``."""

from typing import TypeAlias

from zgen.core.task_spec import TaskSpec
from zgen.ids import ActorId
from zgen.slotted import slotted
from zgen.wire.actor import ActorSettings
from zgen.wire.session import Address


@slotted
class CreateActor:
    """The user called ``Class.remote()``; the handle object starts with one local reference.

    Attributes:
        spec: The task that creates it: its only result is the handle object, and ``retries_max``
            says how often the actor may be restarted.
        settings: How the actor runs its calls.
    """

    spec: TaskSpec
    settings: ActorSettings


@slotted
class CallActor:
    """The user called ``handle.method.remote()``. Each result starts with one local reference.

    Attributes:
        spec: The call.
        creator: Who supervises the actor.
    """

    spec: TaskSpec
    creator: Address


@slotted
class KillActorNow:
    """The user called ``kill``.

    Attributes:
        actor: The actor.
        creator: Who supervises it.
        no_restart: Whether that is its end; else it counts as a crash.
    """

    actor: ActorId
    creator: Address
    no_restart: bool


@slotted
class NameActor:
    """An actor that will be created wants a name; ``NameAnswered`` follows.

    Attributes:
        query: Number to be repeated in the answer.
        namespace: Where the name counts.
        name: The name.
        actor: The actor.
        description: What a handle needs to know of it.
    """

    query: int
    namespace: str
    name: str
    actor: ActorId
    description: bytes


@slotted
class FindActor:
    """The user looks for an actor by its name; ``NameAnswered`` follows.

    Attributes:
        query: Number to be repeated in the answer.
        namespace: Where the name counts.
        name: The name.
    """

    query: int
    namespace: str
    name: str


@slotted
class DetachNow:
    """The user wants a detached actor; ``NameAnswered`` follows.

    Attributes:
        query: Number to be repeated in the answer.
        namespace: Where its name counts.
        name: The name.
        payload: Class, options and arguments, pickled.
        max_restarts: How often it may be created again; -1 for ever.
    """

    query: int
    namespace: str
    name: str
    payload: bytes
    max_restarts: int


@slotted
class WantCharter:
    """This process keeps a detached actor and knows not which; ``CharterCame`` follows.

    Attributes:
        query: Number to be repeated in the answer.
    """

    query: int


@slotted
class ExitActor:
    """The actor of this worker asked for its end, or a task did; the process is about to leave.

    No end of what runs is reported any more.

    Attributes:
        is_crash: Whether it failed, so that its creator may make it anew once this process is gone.
    """

    is_crash: bool = False


ActorEvent: TypeAlias = (
    CreateActor
    | CallActor
    | KillActorNow
    | NameActor
    | FindActor
    | DetachNow
    | WantCharter
    | ExitActor
)
