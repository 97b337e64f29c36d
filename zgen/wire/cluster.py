"""What nodes say to each other: work of other nodes, its leases, and how each node fares."""

from zgen.ids import JobId, LeaseId, PeerId
from zgen.wire.lease import RequestLease, Shape
from zgen.wire.schema import message
from zgen.wire.session import Address


@message(0x90)
class ShareJob:
    """Node -> node: leases of this job follow; run its work under this environment.

    Attributes:
        job: The job.
        driver: Its driver, whose end is its end.
        sys_path: The driver's ``sys.path``.
        cwd: Its working directory.
        environment: Environment variables of the workers.
    """

    job: JobId
    driver: Address
    sys_path: tuple[str, ...]
    cwd: str
    environment: tuple[tuple[str, str], ...]


@message(0x91)
class ForwardLease:
    """Node -> node: grant this request of a process of mine, by way of me.

    Attributes:
        asked: What it asked for.
        owner: Who asked.
        queued: Whether it is to wait where there is no room now; else it comes back.
    """

    asked: RequestLease
    owner: Address
    queued: bool


@message(0x92)
class LeaseBack:
    """Node -> node: there is no room here for a request that you forwarded.

    Attributes:
        lease: The request.
        free: What is free here.
        version: Version of the last state that I published; what came after it is newer than this.
        draining: Whether I begin nothing new any more.
    """

    lease: LeaseId
    free: Shape
    version: int
    draining: bool = False


@message(0x93)
class JobPrinted:
    """Node -> node of a driver: a worker of its job printed.

    Attributes:
        job: The job.
        pid: Process id of the worker.
        is_error: True for its standard error.
        lines: Whole lines, without their ends.
        dropped: Lines lost before these, because they were too slow on their way.
    """

    job: JobId
    pid: int
    is_error: bool
    lines: tuple[str, ...]
    dropped: int


@message(0x95)
class WatchBack:
    """Node -> node: a process of mine watches one of yours; tell yours of the end of mine.

    Attributes:
        process: Your process.
        watcher: Mine.
    """

    process: PeerId
    watcher: Address


@message(0x94)
class NodeState:
    """Node -> all: where I am reached and what I have; the payload of my membership.

    Attributes:
        address: The node.
        total: All its resources.
        free: What of them is not held.
        labels: Its labels, sorted by name.
        queued_count: Requests that wait there.
        version: Number of this state, from 0.
        draining: Whether it begins nothing new and is about to leave.
    """

    address: Address
    total: Shape
    free: Shape
    labels: tuple[tuple[str, str], ...]
    queued_count: int
    version: int
    draining: bool = False


@message(0x96)
class DrainNode:
    """Tool -> node: begin nothing new, and leave the cluster when what you do has ended.

    A ``NodeReport`` answers. Said again, it changes how long the node waits.

    Attributes:
        query: Number to repeat in the answer.
        patience_ns: After how long what still runs is ended.
    """

    query: int
    patience_ns: int


@message(0x9A)
class ReloadKeys:
    """Tool -> node: read your key file again, and have all your processes do so.

    A ``NodeReport`` answers, which says what came of it.

    Attributes:
        query: Number to repeat in the answer.
    """

    query: int


@message(0x9B)
class KeysChanged:
    """Node -> process of it: the keys in my folder are others than you have read; read them again.

    Attributes:
        number: How often they have changed.
    """

    number: int
