"""Queue, grant, revoke.

Rules of this file: which request holds which resources, and in what order they are met. Workers are
known by name only; whether one is idle, and how one is started, is not known here.

Theory of operation. A request is QUEUED until its shape is free, RESERVED (resources held, no
worker yet) until a worker of its job is idle, then GRANTED. While its task waits for others it is
BLOCKED and holds nothing; when the wait is over its resources are taken back at once, even where
that holds more than there is: a body that runs cannot be asked to wait, and nothing is reserved
until the balance is even.

Order. Requests are met in order of arrival, and one that does not fit is overtaken by younger ones
that do. So that it is not overtaken for ever, the eldest that waits for a resource counts who
overtook it to that resource; at ``LEASE_PASSED_MAX`` nobody may any more. What shares no resource
with it never waits for it, and what this node can never meet stands in nobody's way.

Fences. A lease is named by its owner and never reused; a worker's word about a lease counts only
while it serves that lease.
"""

from collections.abc import Callable
from enum import Enum
from typing import Final

from zgen.core.deadlines import Deadlines
from zgen.core.effects import Effect, Send
from zgen.core.lifecycle import Lifecycle
from zgen.core.marks import reached
from zgen.ids import JobId, LeaseId, PeerId, short
from zgen.limits import LEASE_PASSED_MAX, LEASE_WAIT_NOTICE_NS
from zgen.slotted import slotted
from zgen.wire.lease import LeaseWaiting, LeaseWanted, RequestLease, Shape
from zgen_node.core.resources import CPU, Resources, amount_of


class LeaseState(Enum):
    """How far a request is met."""

    QUEUED = "queued"  #: its resources are not free
    RESERVED = "reserved"  #: it holds its resources and waits for a worker
    GRANTED = "granted"  #: its owner uses a worker
    BLOCKED = "blocked"  #: the worker's task waits for others; the resources are given away
    OVER = "over"  #: returned, refused or revoked


LEGAL: Final[dict[LeaseState, tuple[LeaseState, ...]]] = {
    LeaseState.QUEUED: (LeaseState.RESERVED, LeaseState.OVER),
    LeaseState.RESERVED: (LeaseState.GRANTED, LeaseState.OVER),
    LeaseState.GRANTED: (LeaseState.BLOCKED, LeaseState.OVER),
    LeaseState.BLOCKED: (LeaseState.GRANTED, LeaseState.OVER),
    LeaseState.OVER: (),
}
_HOLDING: Final = (LeaseState.RESERVED, LeaseState.GRANTED)
_UNMET: Final = (LeaseState.QUEUED, LeaseState.RESERVED)


@slotted
class Lease:
    """One request and what became of it.

    Attributes:
        lease: Its name, given by its owner.
        owner: Who asked.
        job: Whose work it is for.
        shape: Resources that it holds while RESERVED or GRANTED.
        what: Name of the work, for people.
        asked_ns: When it arrived.
        feasible: Whether this node could ever meet it, and may.
        life: Its state.
        asked: The request as it came.
        via: Who is told of it: its owner, or the node that its owner asked.
        backs: How often another node handed it back.
        notice_ns: Wait before its next notice.
        passed_count: Younger requests that overtook it while it was the eldest of a resource.
        worker: The worker that serves it; None before it is granted.
        refusals: Other nodes that will not meet it, and why; None if there are none.
        granted_ns: When it was granted.
    """

    lease: LeaseId
    owner: PeerId
    job: JobId
    shape: Shape
    what: str
    asked_ns: int
    feasible: bool
    life: Lifecycle[LeaseState]
    asked: RequestLease
    via: PeerId
    backs: int = 0
    notice_ns: int = LEASE_WAIT_NOTICE_NS
    passed_count: int = 0
    worker: PeerId | None = None
    refusals: dict[PeerId, str] | None = None
    granted_ns: int = 0

    @property
    def state(self) -> LeaseState:
        """How far it is met."""
        return self.life.state

    @property
    def zero_cpu(self) -> bool:
        """Whether CPUs do not bound how many of its kind are met at a time."""
        return amount_of(self.shape, CPU) == 0


class LeaseTable:
    """All requests of a node that are not over.

    Attributes:
        resources: What the node has and what of it is free.
        deadlines: When an unmet request says what it waits for.
        elsewhere: Says of a request that this node cannot meet whether another one could, and what
            it waits for; None if there is no other node.
    """

    def __init__(self, total: Shape) -> None:
        """Start without requests, with ``total`` free."""
        self.resources = Resources(total)
        self.deadlines: Deadlines[LeaseId] = Deadlines()
        self.elsewhere: Callable[[Lease], tuple[bool, str] | None] = lambda lease: None
        #: Name -> record. Added by ``request``; removed by ``end``.
        self._leases: dict[LeaseId, Lease] = {}
        #: QUEUED ones in order of arrival.
        self._queue: dict[LeaseId, Lease] = {}
        #: RESERVED ones in order of reservation.
        self._reserved: dict[LeaseId, Lease] = {}
        #: Owner -> its requests. Reverse of ``Lease.owner``.
        self._by_owner: dict[PeerId, dict[LeaseId, None]] = {}
        #: Granted leases whose owner knows that others wait. Added by ``ask_back``; removed by
        #: ``request``, since who has just come may need another shape, and by ``end``.
        self._asked: dict[LeaseId, None] = {}

    def __len__(self) -> int:
        """Return how many requests are not over."""
        return len(self._leases)

    def get(self, lease: LeaseId) -> Lease | None:
        """Return a request that is not over, or None."""
        return self._leases.get(lease)

    def all(self) -> list[Lease]:
        """Return all requests that are not over, in order of arrival."""
        return list(self._leases.values())

    def of_owner(self, owner: PeerId) -> list[Lease]:
        """Return the requests of ``owner``, in order of arrival."""
        return [self._leases[lease] for lease in self._by_owner.get(owner, {})]

    def of_job(self, job: JobId) -> list[Lease]:
        """Return the requests for work of ``job``, in order of arrival."""
        return [lease for lease in self._leases.values() if lease.job == job]

    def unmet(self) -> list[Lease]:
        """Return the requests that have no worker, those with resources first."""
        return [*self._reserved.values(), *self._queue.values()]

    def queued(self) -> list[Lease]:
        """Return the requests that wait for resources, in order of arrival."""
        return list(self._queue.values())

    def reserved(self) -> list[Lease]:
        """Return the requests that wait for a worker only, in order of reservation."""
        return list(self._reserved.values())

    def request(
        self,
        owner: PeerId,
        asked: RequestLease,
        now_ns: int,
        via: PeerId | None = None,
        *,
        allowed: bool = True,
    ) -> Lease:
        """Queue a new request; its lease must not be known.

        Args:
            owner: Who asked.
            asked: For what.
            now_ns: The time.
            via: The node that its owner asked, if that is not this one.
            allowed: Whether this node may meet it.
        """
        assert asked.lease not in self._leases
        life = Lifecycle(f"lease {short(asked.lease)}", LEGAL, LeaseState.QUEUED)
        feasible = allowed and self.resources.feasible(asked.shape)
        lease = Lease(
            asked.lease,
            owner,
            asked.job,
            asked.shape,
            asked.what,
            now_ns,
            feasible,
            life,
            asked,
            via or owner,
        )
        self._leases[asked.lease] = self._queue[asked.lease] = lease
        self._by_owner.setdefault(owner, {})[asked.lease] = None
        self._asked.clear()
        self.deadlines.set(asked.lease, now_ns + LEASE_WAIT_NOTICE_NS)
        return lease

    def reserve(self, now_ns: int) -> None:
        """Hold resources for every queued request that fits and whose turn it is."""
        eldest: dict[str, Lease] = {}  # the eldest request that waits, by resource it wants
        stuck: dict[Shape, None] = {}  # what did not fit does not later: nothing is given here
        for lease in list(self._queue.values()):
            if lease.shape in stuck or not lease.feasible:
                continue
            passed = {e.lease: e for name, _ in lease.shape if (e := eldest.get(name)) is not None}
            barred = any(e.passed_count >= LEASE_PASSED_MAX for e in passed.values())
            if barred or not self.resources.fits(lease.shape):
                if barred:
                    reached("request waits behind one that was passed too often")
                stuck[lease.shape] = None
                for name, _ in lease.shape:
                    eldest.setdefault(name, lease)
                continue
            for elder in passed.values():
                elder.passed_count += 1
            del self._queue[lease.lease]
            self._reserved[lease.lease] = lease
            self.resources.take(lease.shape)
            lease.life.move(LeaseState.RESERVED, now_ns, "fits")

    def grant(self, lease: Lease, worker: PeerId, now_ns: int) -> None:
        """Have a reserved request served by ``worker``."""
        del self._reserved[lease.lease]
        self.deadlines.clear(lease.lease)
        lease.worker, lease.granted_ns = worker, now_ns
        lease.life.move(LeaseState.GRANTED, now_ns, f"worker {short(worker)}")

    def set_blocked(self, lease: Lease, blocked: bool, now_ns: int) -> bool:
        """Give a lease's resources away or take them back; return False if nothing changes."""
        state = LeaseState.BLOCKED if blocked else LeaseState.GRANTED
        if lease.state is state:
            reached("repeated word of a blocked worker ignored")
            return False
        lease.life.move(state, now_ns, "task waits" if blocked else "task goes on")
        if blocked:
            self.resources.give(lease.shape)
        else:
            self.resources.take(lease.shape)
        return True

    def end(self, lease: Lease, cause: str, now_ns: int) -> None:
        """Forget a request or lease and let go of what it holds."""
        if lease.state in _HOLDING:
            self.resources.give(lease.shape)
        lease.life.move(LeaseState.OVER, now_ns, cause)
        del self._leases[lease.lease]
        self._queue.pop(lease.lease, None)
        self._reserved.pop(lease.lease, None)
        self.deadlines.clear(lease.lease)
        self._asked.pop(lease.lease, None)
        owned = self._by_owner[lease.owner]
        del owned[lease.lease]
        if not owned:
            del self._by_owner[lease.owner]

    def ask_back(self, out: list[Effect]) -> None:
        """Ask owners to return what idles, if a request waits that they cannot serve themselves.

        An owner hears of each of its leases once, until a new request arrives; what it is told of
        one holds for all that it has by then.
        """
        waiting = (lease for lease in self._queue.values() if lease.feasible)
        first = next(waiting, None)
        if first is None:
            return
        mixed = any(e.shape != first.shape or e.owner != first.owner for e in waiting)
        told: dict[PeerId, None] = {}
        for lease in self._leases.values():
            if lease.worker is None or lease.lease in self._asked:
                continue
            if lease.state is not LeaseState.GRANTED:
                continue
            if mixed or (lease.owner, lease.shape) != (first.owner, first.shape):
                self._asked[lease.lease] = None
                if lease.owner not in told:
                    told[lease.owner] = None
                    out.append(Send(lease.via, LeaseWanted(lease.lease)))

    def waits_for(self, lease: Lease) -> str:
        """Say what an unmet request waits for."""
        if not lease.feasible:
            return self._verdict(lease)[1]
        if lease.state is LeaseState.RESERVED:
            return "waits for a worker to start"
        return self.resources.busy_text(lease.shape) or "waits behind an earlier request"

    def on_timer(self, now_ns: int, out: list[Effect]) -> None:
        """Send the notices that are due; each next one takes twice as long."""
        for name in self.deadlines.pop_due(now_ns):
            self.notify(self._leases[name], now_ns, out)

    def notify(self, lease: Lease, now_ns: int, out: list[Effect]) -> None:
        """Tell the owner of an unmet request what it waits for, and again later."""
        feasible = lease.feasible or self._verdict(lease)[0]
        out.append(Send(lease.via, LeaseWaiting(lease.lease, feasible, self.waits_for(lease))))
        self.deadlines.set(lease.lease, now_ns + lease.notice_ns)
        lease.notice_ns *= 2

    def _verdict(self, lease: Lease) -> tuple[bool, str]:
        """Return whether another node could meet what this one cannot, and what it waits for."""
        return self.elsewhere(lease) or (False, self.resources.infeasible_text(lease.shape))

    def check(self) -> None:
        """Assert the invariants of every request; what is held and what is free make the total."""
        held: dict[str, int] = {}
        for name, lease in self._leases.items():
            assert lease.state is not LeaseState.OVER, lease.life.story()
            assert (name in self._queue) is (lease.state is LeaseState.QUEUED), lease.life.story()
            assert (name in self._reserved) is (lease.state is LeaseState.RESERVED), (
                lease.life.story()
            )
            assert (lease.worker is None) is (lease.state in _UNMET), lease.life.story()
            assert (name in self.deadlines) is (lease.state in _UNMET), lease.life.story()
            assert name in self._by_owner[lease.owner], lease.life.story()
            if lease.state in _HOLDING:
                for resource, amount in lease.shape:
                    held[resource] = held.get(resource, 0) + amount
        total = self.resources.total
        free = tuple(sorted((name, amount - held.pop(name, 0)) for name, amount in total))
        assert not held, f"held, but not there: {held}"
        assert free == self.resources.free, f"free is {self.resources.free}, should be {free}"
        assert len(self._queue) + len(self._reserved) <= len(self._leases)
        assert sum(len(owned) for owned in self._by_owner.values()) == len(self._leases)
        assert all(lease in self._leases for lease in self._asked), "asked for a lease that is over"
