"""Actors: what a creator tells its actor's worker and its callers, and names on a node."""

from typing import Final

from zgen.ids import NO_ACTOR, ActorId
from zgen.wire.schema import NO_BUFFERS, Buffers, Entry, message, record
from zgen.wire.session import Address

#: Class, options and arguments of a detached actor, pickled: three nodes keep them.
CHARTER_BYTES_MAX: Final = 512 << 10


@record
class ActorSettings:
    """What was chosen when an actor was created.

    Attributes:
        max_restarts: How often it may run again after its worker's death; -1 for ever.
        max_task_retries: How often its calls may run again, unless they say; -1 for ever.
        max_concurrency: Calls that run at a time, outside of groups.
        groups: Names of concurrency groups, and how many calls of each run at a time.
        is_async: Whether its methods run in an event loop.
        name: Name in the cluster; empty for none.
        namespace: Where the name counts.
        description: What a handle needs to know of the class; the daemon never looks into it.
        class_name: Name of the class.
        max_pending_items: Items of all its streams that may be there without being taken; 0 for any
            number.
        max_pending_bytes: Bytes likewise.
        detached: Whether the node of its creator counts its restarts.
    """

    max_restarts: int = 0
    max_task_retries: int = 0
    max_concurrency: int = 1
    groups: tuple[tuple[str, int], ...] = ()
    is_async: bool = False
    name: str = ""
    namespace: str = ""
    description: bytes = b""
    class_name: str = ""
    max_pending_items: int = 0
    max_pending_bytes: int = 0
    detached: bool = False


@record
class Charter:
    """All that it takes to create a detached actor, on any node and as often as it may be.

    Attributes:
        payload: Its class, options and arguments, pickled; no daemon looks into it.
        max_restarts: How often it may be created again; -1 for ever.
        restarts: How often it was.
        sys_path: Search path of the job that asked for it.
        cwd: Working directory of that job.
        environment: Its environment variables.
    """

    payload: bytes
    max_restarts: int
    restarts: int = 0
    sys_path: tuple[str, ...] = ()
    cwd: str = ""
    environment: tuple[tuple[str, str], ...] = ()

    @property
    def may_restart(self) -> bool:
        """Whether the actor may be created once more."""
        return self.max_restarts < 0 or self.restarts < self.max_restarts


@message(0x60)
class HostActor:
    """Creator -> worker: the creation task that follows makes you this actor's worker.

    Attributes:
        actor: The actor.
        life: Which life of it, from 0.
        settings: How it runs its calls.
        holds: Whether it holds resources of its node, to be given away while all its calls wait.
    """

    actor: ActorId
    life: int
    settings: ActorSettings
    holds: bool = True


@message(0x61)
class WatchActor:
    """Caller -> creator: tell me where this actor is, and what becomes of it.

    Attributes:
        actor: The actor.
    """

    actor: ActorId


@message(0x62)
class UnwatchActor:
    """Caller -> creator: I need not know any more.

    Attributes:
        actor: The actor.
    """

    actor: ActorId


@message(0x63)
class ActorAt:
    """Creator -> caller: this actor takes calls.

    Attributes:
        actor: The actor.
        life: Which life of it, from 0.
        worker: Where it lives.
        in_order: Whether it runs one call at a time, in the order of each caller.
    """

    actor: ActorId
    life: int
    worker: Address
    in_order: bool


@message(0x64)
class ActorLost:
    """Creator -> caller: this life of an actor is over.

    Attributes:
        actor: The actor.
        life: The life that ended.
        is_dead: Whether it was the last one; else another one begins.
        reason: Why, for people.
        pid: Process id of its worker, or 0.
        exit_code: The worker's exit code, or -1.
        signal: The signal that ended it, or 0.
        init_failed: Whether ``__init__`` raised.
        entries: Empty, or the error of ``__init__``.
        buffers: Buffers of the error.
    """

    actor: ActorId
    life: int
    is_dead: bool
    reason: str
    pid: int
    exit_code: int
    signal: int
    init_failed: bool
    entries: tuple[Entry, ...]
    buffers: Buffers = NO_BUFFERS


@message(0x65)
class KillActor:
    """Caller -> creator: end this life of an actor at once.

    Attributes:
        actor: The actor.
        no_restart: Whether that is its end; else it counts as a crash.
    """

    actor: ActorId
    no_restart: bool


@message(0x66)
class EndActor:
    """Creator -> worker: run what you were given, then end.

    Attributes:
        actor: The actor.
    """

    actor: ActorId


@message(0x67)
class ActorExits:
    """Worker -> creator: the actor ends on its own wish, and this process with it.

    Attributes:
        actor: The actor.
        life: Its life.
    """

    actor: ActorId
    life: int


@message(0x68)
class ClaimName:
    """Creator -> node: call this actor by this name, if no other one has it.

    Attributes:
        query: Number to repeat in the answer.
        namespace: Where the name counts.
        name: The name.
        actor: The actor, which need not exist yet.
        creator: Where its creator is reached.
        description: What a handle needs to know of it.
        charters: What it takes to create it again, if it is detached; its node adds that.
        instead_of: The actor of that name that is dead and that it replaces, or zeroes.
    """

    query: int
    namespace: str
    name: str
    actor: ActorId
    creator: Address
    description: bytes
    charters: tuple[Charter, ...] = ()
    instead_of: ActorId = NO_ACTOR


@message(0x69)
class FindName:
    """Any -> node: tell me which actor has this name.

    Attributes:
        query: Number to repeat in the answer.
        namespace: Where the name counts.
        name: The name.
    """

    query: int
    namespace: str
    name: str


@message(0x6A)
class NameAnswer:
    """Node -> who asked: the actor that has the name, or none.

    Attributes:
        query: Number of the question.
        actor: The actor; zeroes if none has the name.
        creator: Where its creator is reached; of no meaning if there is none.
        description: What a handle needs to know of it.
        refusal: Why it cannot be told, or the name not be given; else empty.
        is_new: Whether it is the detached actor that was asked for.
    """

    query: int
    actor: ActorId
    creator: Address
    description: bytes
    refusal: str = ""
    is_new: bool = False


@message(0x6B)
class FreeName:
    """Creator -> node: this actor is dead; its name is free.

    Attributes:
        namespace: Where the name counts.
        name: The name.
        actor: The actor.
    """

    namespace: str
    name: str
    actor: ActorId


@message(0x6C)
class DetachActor:
    """Any -> node: have a process create this actor that lives as long as you do.

    ``NameAnswer`` follows.

    Attributes:
        query: Number to repeat in the answer.
        namespace: Where its name counts.
        name: Its name.
        charter: What it takes; a creator's node adds what it knows of the job.
        instead_of: The actor that it replaces, whose home is dead; else zeroes.
    """

    query: int
    namespace: str
    name: str
    charter: Charter
    instead_of: ActorId = NO_ACTOR


@message(0x6D)
class AskCharter:
    """Keeper -> node: tell me which detached actor I am to create.

    Attributes:
        query: Number to repeat in the answer.
    """

    query: int


@message(0x6E)
class KeepActor:
    """Node -> keeper: create this detached actor.

    Attributes:
        query: Number of the question.
        payload: Class, options and arguments, pickled.
        restarts: How often it was created again before.
    """

    query: int
    payload: bytes
    restarts: int


@message(0x6F)
class ActorRestarted:
    """Keeper -> node: my detached actor is created, or is created once more.

    Attributes:
        actor: The actor.
        life: Which life of it begins, from 0, as its keeper counts them.
    """

    actor: ActorId
    life: int
