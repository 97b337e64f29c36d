"""What the machine of a node may ask for beside what any process may; part of `Effect`."""

from typing import TypeAlias

from zgen.ids import JobId, PeerId
from zgen.slotted import slotted


@slotted
class SpawnWorker:
    """Fork a worker for a job; ``WorkerSpawned`` follows, or ``WorkerExited`` with pid 0.

    Attributes:
        worker: Name to give it.
        job: Whose work it will do.
    """

    worker: PeerId
    job: JobId


@slotted
class KillWorker:
    """Kill a worker and what it started; ``WorkerExited`` follows.

    Attributes:
        worker: Which one.
    """

    worker: PeerId


@slotted
class WatchProcess:
    """Step ``ProcessExited`` when this process of another parent dies, at once if it is dead.

    Attributes:
        peer: The process.
        incarnation: Its life.
        pid: Its process id.
    """

    peer: PeerId
    incarnation: int
    pid: int


@slotted
class UnwatchProcess:
    """Stop watching a process; harmless if it is not watched. Not promised: that no exit comes.

    Attributes:
        peer: The process.
        incarnation: Its life.
    """

    peer: PeerId
    incarnation: int


@slotted
class JobKnown:
    """Remember a job's environment for the workers to come.

    Attributes:
        job: The job.
        sys_path: Module search path.
        cwd: Working directory.
        environment: Environment variables.
    """

    job: JobId
    sys_path: tuple[str, ...]
    cwd: str
    environment: tuple[tuple[str, str], ...]


@slotted
class JobOver:
    """Forget a job's environment.

    Attributes:
        job: The job.
    """

    job: JobId


@slotted
class FlushLines:
    """Hand on all that workers have printed, unfinished lines too; ``LinesFlushed`` follows.

    Attributes:
        workers: Whose output.
        peer: Who asked.
        query: Number of the question.
    """

    workers: tuple[PeerId, ...]
    peer: PeerId
    query: int


@slotted
class PublishState:
    """Have every other member know this of the node; a later one takes its place.

    Attributes:
        payload: A ``NodeState`` as one frame.
    """

    payload: bytes


@slotted
class CheckDial:
    """Find out whether anybody listens at an endpoint; ``DialRefused`` follows if not.

    Not promised: any word if somebody does, or if the machine does not answer.

    Attributes:
        endpoint: Where, as ZeroMQ names it.
    """

    endpoint: str


@slotted
class ClusterJoined:
    """This node is a member of the cluster.

    Attributes:
        count: Members that it knows, itself among them.
    """

    count: int


@slotted
class NotJoined:
    """This node may not become a member; nothing more happens.

    Attributes:
        detail: Why, for people.
    """

    detail: str


@slotted
class NodeFenced:
    """This node was declared dead: end it with all its processes, and start another one.

    Attributes:
        reason: Who said so, for people.
        endpoints: Members to join by.
    """

    reason: str
    endpoints: tuple[str, ...]


@slotted
class ReadMemory:
    """Find out how much memory is in use; ``MemoryRead`` follows.

    Attributes:
        workers: Workers that are to be measured, and their process ids.
    """

    workers: tuple[tuple[PeerId, int], ...]


@slotted
class Drained:
    """Nothing is left to do at this node, which was told to drain: leave, and end."""


@slotted
class ReadKeyFile:
    """Read the key file of this node again and use it; ``KeysRead`` follows.

    Attributes:
        peer: Who asked for that.
        query: Its number there.
    """

    peer: PeerId
    query: int


NodeEffect: TypeAlias = (
    SpawnWorker
    | KillWorker
    | WatchProcess
    | UnwatchProcess
    | JobKnown
    | JobOver
    | FlushLines
    | PublishState
    | CheckDial
    | ClusterJoined
    | NotJoined
    | NodeFenced
    | ReadMemory
    | Drained
    | ReadKeyFile
)
