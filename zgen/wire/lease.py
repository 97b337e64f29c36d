"""`RequestLease LeaseGranted LeaseWaiting ReturnLease` and what they need of a node."""

from typing import Final, NamedTuple, TypeAlias

from zgen.ids import NO_PEER, JobId, LeaseId, PeerId
from zgen.wire.schema import message
from zgen.wire.session import Address

#: A resource shape: names and amounts in ten-thousandths, sorted by name, zeroes left out.
Shape: TypeAlias = tuple[tuple[str, int], ...]
#: Conditions on the labels of a node: name, one of the operators below, and values.
Labels: TypeAlias = tuple[tuple[str, str, tuple[str, ...]], ...]
#: Where work may run: one of the kinds below, a node for ``ON_NODE``, whether another node may
#: stand in if that one is gone, conditions that the node must meet, and those that it had better.
Strategy: TypeAlias = tuple[str, PeerId, bool, Labels, Labels]

BY_DEFAULT: Final = ""
SPREAD: Final = "SPREAD"
ON_NODE: Final = "NODE"
IN: Final = "in"
NOT_IN: Final = "!in"
EXISTS: Final = "exists"
ABSENT: Final = "!exists"
ANYWHERE: Final[Strategy] = (BY_DEFAULT, NO_PEER, False, (), ())


class PlacedShape(NamedTuple):
    """Resources, and where they are to be held if that matters."""

    shape: Shape
    strategy: Strategy


#: What a task holds while it runs. Tasks with equal ones may use each other's workers.
Demand: TypeAlias = Shape | PlacedShape


def shape_of(demand: Demand) -> Shape:
    """Return the resources of a demand."""
    return demand.shape if isinstance(demand, PlacedShape) else demand


def strategy_of(demand: Demand) -> Strategy:
    """Return where a demand is to be met."""
    return demand.strategy if isinstance(demand, PlacedShape) else ANYWHERE


@message(0x10)
class RegisterJob:
    """Driver -> node: I am a driver; run my job's work under this environment.

    Attributes:
        job: The job.
        pid: Process id of the driver, to be watched.
        sys_path: The driver's ``sys.path``.
        cwd: Its working directory.
        environment: Environment variables of the workers.
    """

    job: JobId
    pid: int
    sys_path: tuple[str, ...]
    cwd: str
    environment: tuple[tuple[str, str], ...]


@message(0x11)
class JobRegistered:
    """Node -> driver: your job is known here.

    Attributes:
        job: The job.
        total: All resources of this node, used or not.
    """

    job: JobId
    total: Shape


@message(0x12)
class RequestLease:
    """Owner -> node: I want a worker of this job with these resources.

    Attributes:
        lease: Names the request, so that a repeated one changes nothing.
        job: Job whose work it is.
        shape: Resources to hold while the lease lasts.
        what: Name of the work, for people.
        strategy: Where it may run.
        locality: Nodes that have its arguments, and how many bytes of them.
        retriable: Whether the work that it was asked for may run again.
    """

    lease: LeaseId
    job: JobId
    shape: Shape
    what: str
    strategy: Strategy = ANYWHERE
    locality: tuple[tuple[PeerId, int], ...] = ()
    retriable: bool = True


@message(0x13)
class LeaseGranted:
    """Node -> owner: this worker is yours until you return the lease.

    Attributes:
        lease: The request that is met.
        worker: Where the worker is reached.
        pid: Its process id.
    """

    lease: LeaseId
    worker: Address
    pid: int


@message(0x14)
class LeaseWaiting:
    """Node -> owner: your request is not met yet, and this is why.

    Attributes:
        lease: The request.
        feasible: Whether this node could ever meet it.
        reason: What is wanted and what is there, for people.
    """

    lease: LeaseId
    feasible: bool
    reason: str


@message(0x15)
class LeaseRefused:
    """Node -> owner: your request will not be met.

    Attributes:
        lease: The request.
        reason: Why, for people, with the last lines of the workers that failed to start.
    """

    lease: LeaseId
    reason: str


@message(0x16)
class ReturnLease:
    """Owner -> node: I no longer want this lease, granted or not.

    Attributes:
        lease: The lease.
        reusable: False if the worker must not serve anyone else.
    """

    lease: LeaseId
    reusable: bool


@message(0x17)
class LeaseWanted:
    """Node -> owner: others wait; return what idles.

    Attributes:
        lease: A lease of yours, for reference.
        closing: Whether it is this lease alone that is to get nothing more, as its node drains.
    """

    lease: LeaseId
    closing: bool = False


@message(0x18)
class WorkerReady:
    """Worker -> node: I run and take work.

    Attributes:
        pid: My process id.
    """

    pid: int


@message(0x19)
class WorkerBlocked:
    """Worker -> node: my task waits for others; give my resources away meanwhile.

    Attributes:
        lease: Lease under which the task runs.
        blocked: True when the wait begins, False when it is over.
    """

    lease: LeaseId
    blocked: bool


@message(0x1A)
class ProcessDown:
    """Node -> any who hold a lease on it or monitor it: this process is dead.

    Attributes:
        peer: The dead process.
        incarnation: Its life.
        pid: Its process id.
        exit_code: Exit code, or -1 if a signal ended it.
        signal: The signal, or 0.
        log_tail: Its last lines of output.
        lease: Lease under which it last started work; zeroes if none.
        started: Pushes that it had started under that lease; -1 if nobody can know.
        rss_bytes: Its memory, if its node ended it because that ran out; else 0.
        limit_bytes: What the node may use, in that case.
    """

    peer: PeerId
    incarnation: int
    pid: int
    exit_code: int
    signal: int
    log_tail: str
    lease: LeaseId
    started: int
    rss_bytes: int = 0
    limit_bytes: int = 0


def memory_text(down: ProcessDown) -> str:
    """Say that a worker was ended because memory ran out, if it was; else nothing."""
    if not down.limit_bytes:
        return ""
    sizes = f"it was ended at {down.rss_bytes} bytes, the limit there is {down.limit_bytes}"
    return f"memory ran out on its node; {sizes}"


@message(0x1B)
class EndJob:
    """Driver -> node: my job is over; end its workers.

    Attributes:
        job: The job.
    """

    job: JobId


@message(0x1C)
class LogLines:
    """Node -> driver: your worker printed.

    Attributes:
        pid: Process id of the worker.
        is_error: True for its standard error.
        lines: Whole lines, without their ends.
        dropped: Lines lost before these, because the driver was too slow.
    """

    pid: int
    is_error: bool
    lines: tuple[str, ...]
    dropped: int


@message(0x1D)
class QueryNode:
    """Tool -> node: tell me your state.

    Attributes:
        query: Number to repeat in the answer.
    """

    query: int


@message(0x1E)
class NodeReport:
    """Node -> tool: my state.

    Attributes:
        query: Number of the question.
        state: JSON object.
    """

    query: int
    state: str
