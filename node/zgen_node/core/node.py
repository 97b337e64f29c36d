"""The daemon's machine.

Rules of this file: checks who may say what, and translates one table's result into another table's
call. Order, amounts and states are decided in the tables.

Theory of operation. Every step ends with at most one look at what can be met now. A death acts on
leases and workers at once, and is told to others at once: they know whether the dead has more to
say to them. Whoever was joined by a lease watches the other, also after the lease: an owner learns
of the end of its workers and a worker of the end of its owners, so that both close their lines.
"""

from collections.abc import Callable
from typing import Any, Final

from zgen.core.deadlines import earliest
from zgen.core.effects import Effect, Send
from zgen.core.events import (
    Arrived,
    ConnectionLost,
    ConnectionUp,
    Event,
    InboxDrained,
    Leave,
    ProcessExited,
    TimerDue,
    WorkerExited,
)
from zgen.core.handshake_events import HandshakeFailed, StrangersRefused
from zgen.core.identity import Gone, Identity
from zgen.core.marks import reached
from zgen.core.node_effects import JobKnown, UnwatchProcess, WatchProcess
from zgen.ids import ID_BYTES, LeaseId, PeerId, short
from zgen.limits import LEASES_COUNT_MAX, PRESTART_COUNT_MAX, STORE_BYTES_MIN
from zgen.wire.cluster import DrainNode
from zgen.wire.lease import (
    EndJob,
    JobRegistered,
    LeaseGranted,
    LeaseRefused,
    ProcessDown,
    QueryNode,
    RegisterJob,
    RequestLease,
    ReturnLease,
    Shape,
)
from zgen_node.core.census import Census
from zgen_node.core.cluster import Cluster
from zgen_node.core.directory import Directory
from zgen_node.core.draining import Draining
from zgen_node.core.jobs import Job
from zgen_node.core.lease_table import Lease
from zgen_node.core.memory_watch import MemoryWatch
from zgen_node.core.output import Output
from zgen_node.core.peers import Peers
from zgen_node.core.rekeying import Rekeying
from zgen_node.core.resources import CPU, UNIT, amount_of, shape_fault
from zgen_node.core.staffing import Staffing
from zgen_node.core.storage import Storage
from zgen_node.core.worker_pool import WorkerState
from zgen_node.core.worker_words import WorkerWords

#: Stands in a ``ProcessDown`` of a process that served no lease.
NO_LEASE: Final = LeaseId(bytes(ID_BYTES))
#: A worker's name is never used again, so it has one life.
WORKER_INCARNATION: Final = 1


class NodeMachine:
    """One node: its lines, jobs, workers, leases and objects as one machine.

    Attributes:
        next_deadline_ns: When ``TimerDue`` is wanted, or None.
        lines_closing: Whether ``InboxDrained`` is wanted.
        session: Lines to drivers, workers and tools.
        jobs: What drivers registered.
        pool: Worker processes.
        leases: Requests and grants.
        storage: Objects in shared memory.
        census: Questions about what processes own.
        cluster: Other nodes.
        memory: Whom to end when more of it is in use than ``memory_ppm`` millionths, if not 0.
        draining: How far its leave is.
        rekeying: What keys it has.
    """

    def __init__(
        self,
        identity: Identity,
        total: Shape,
        prestart: bool = True,
        store_bytes: int = STORE_BYTES_MIN,
        labels: tuple[tuple[str, str], ...] = (),
        memory_ppm: int = 0,
    ) -> None:
        """Start with these free and sorted; with ``prestart``, jobs get workers before they ask."""
        self.next_deadline_ns: int | None = None
        self.lines_closing = False
        self._peers = Peers(identity)
        self._staffing = Staffing(identity.address.peer, total)
        self.session = self._peers.session
        self.jobs = self._staffing.jobs
        self.pool = self._staffing.pool
        self.leases = self._staffing.leases
        self.storage = Storage(self._peers, self._staffing, store_bytes)
        self._directory = Directory(self._peers, self._staffing)
        self.census = Census(identity.address.peer, self._peers, self._staffing, self.storage)
        me, parts = identity.address, (self._peers, self._staffing, self._directory)
        self.cluster = Cluster(me, *parts, self.storage, self.census, self._down, labels)
        self._output = Output(me, *parts[:2], self.storage, self.cluster.states)
        self.census.report, self.cluster.byways.arrive = self._output.text, self._on_arrived
        self._prestart_count = min(amount_of(total, CPU) // UNIT, PRESTART_COUNT_MAX) * prestart
        self.draining = Draining(self._staffing, self.storage, self.cluster, self._output)
        self.rekeying = Rekeying(*parts[:2], self._output)
        workers = WorkerWords(*parts[:2], self.rekeying.welcome)
        self.memory = MemoryWatch(self._staffing, memory_ppm)
        self._leaving = False
        self._handlers: dict[type, Callable[[Any, int, list[Effect]], None]] = {
            Arrived: self._on_arrived,
            ConnectionUp: self.cluster.byways.on_connection_up,
            ConnectionLost: self._on_connection_lost,
            HandshakeFailed: self.session.on_handshake_failed,
            StrangersRefused: lambda e, now, out: self.session.refusals.strangers(e, out),
            TimerDue: self._on_timer_due,
            InboxDrained: self._on_inbox_drained,
            Leave: self._on_leave,
            ProcessExited: self._on_process_exited,
            WorkerExited: self._on_worker_exited,
        }
        tables = (self.storage, self._output, workers, self.cluster, self.memory, self.rekeying)
        for table in tables:
            self._handlers |= table.handlers
        self._messages: dict[type, Callable[[PeerId, Any, int, list[Effect]], None]] = {
            RegisterJob: self._on_register_job,
            EndJob: self._on_end_job,
            RequestLease: self._on_request_lease,
            ReturnLease: self._on_return_lease,
            QueryNode: self._output.on_query,
            DrainNode: self.draining.on_drain_node,
            **self.storage.messages,
            **self.census.messages,
            **self.rekeying.messages,
            **workers.messages,
            **self.cluster.messages,
        }

    def step(self, event: Event, now_ns: int) -> list[Effect]:
        """Absorb one event and return what is to be done, in order."""
        handler = self._handlers.get(type(event))
        assert handler is not None, f"a node is never told {event}"
        asked: list[Effect] = []
        handler(event, now_ns, asked)
        if not self._leaving:
            self.cluster.detached.look(now_ns)
            self.cluster.spillback.place(now_ns, asked)
            placed = self._staffing.place(now_ns, asked)
            for lease in placed or ():
                self._join(lease, asked)
            if placed is not None:
                self.leases.ask_back(asked)  # after the grants: none returns what it has not got
                self.cluster.publish(now_ns, asked)
                self.memory.changed(now_ns)
            self.storage.rooms.place(now_ns, asked)
            self.draining.look(now_ns, asked)
        out = self._peers.send(asked, now_ns)
        if self.cluster.byways.ways:
            out = self.cluster.byways.detours.reroute(out, now_ns)
        tables = (self.session, self.leases, self.pool, self.census, self.memory, self.draining)
        due_ns = earliest([table.deadlines for table in tables])
        several = (due_ns, self.storage.rooms.next_deadline_ns, self.cluster.next_deadline_ns)
        self.next_deadline_ns = min([each for each in several if each is not None], default=None)
        self.lines_closing = self.session.lines_closing
        return out

    def check(self) -> None:
        """Assert every invariant, of each table and between them."""
        self._peers.check()
        self._staffing.check()
        self.storage.check()
        self.census.check()
        self.cluster.check()
        self.draining.check()
        for lease in self.leases.all():
            assert not self._peers.is_down(lease.owner), f"lease {short(lease.lease)} of the dead"
        for worker in self.pool.all():
            dead = worker.state is WorkerState.DEAD
            assert self._peers.is_down(worker.worker) is dead, worker.life.story()

    # -- lines -------------------------------------------------------------------------------------
    def _on_arrived(self, event: Arrived, now_ns: int, out: list[Effect]) -> None:
        peer, messages, gone = self._peers.receive(event, now_ns, out)
        if gone is not None:
            self._on_gone(gone, now_ns, out)
        for message in messages:
            handler = self._messages.get(type(message))
            if handler is None:
                self._peers.refuse("unexpected message", type(message).__name__, out)
            else:
                handler(peer, message, now_ns, out)
        if self.session.closing:
            for dead in self.session.on_drained(now_ns, passed=True):
                self._bury(dead, out)

    def _on_gone(self, gone: Gone, now_ns: int, out: list[Effect]) -> None:
        """Act on a life whose line ended: it said goodbye, or a newer life took its place."""
        peer = gone.peer
        if self._peers.is_down(peer):
            reached("line of the dead replaced before it was quiet")
            self._bury(peer, out)
            return
        if self.cluster.monitors.is_node(peer) or self.cluster.is_node(peer):
            self.cluster.on_gone(peer, gone.reason, now_ns, out, proven=True)
            return
        worker = self.pool.get(peer)
        if worker is not None:
            reached("worker left on its own")
            self._staffing.end_owner(peer, gone.reason, now_ns, out, died=False)
            self.pool.kill(worker, gone.reason, out)  # its exit tells the others
            return
        job = self.jobs.of_driver(peer)
        if job is not None:
            self._staffing.end_job(job, f"driver gone: {gone.reason}", now_ns, out)
            out.append(UnwatchProcess(peer, gone.incarnation))
        pid = job.pid if job is not None else 0
        self._down(_driver_down(peer, gone.incarnation, pid, gone.reason), now_ns, out)

    def _on_connection_lost(self, event: ConnectionLost, now_ns: int, out: list[Effect]) -> None:
        peer = event.peer
        watched = self.pool.get(peer) is not None or self.jobs.of_driver(peer) is not None
        watched = watched or self.cluster.is_node(peer)
        self._peers.on_connection_lost(event, watched, now_ns, out)

    def _on_timer_due(self, event: TimerDue, now_ns: int, out: list[Effect]) -> None:
        self.session.on_timer(now_ns, out)
        self._staffing.on_timer(now_ns, out)
        self.storage.on_timer(now_ns, out)
        self.census.on_timer(now_ns, out)
        self.cluster.on_timer(now_ns, out)
        self.memory.on_timer(now_ns, out)
        self.draining.on_timer(now_ns, out)

    def _on_inbox_drained(self, event: InboxDrained, now_ns: int, out: list[Effect]) -> None:
        for peer in self.session.on_drained(now_ns):
            self._bury(peer, out)

    def _on_leave(self, event: Leave, now_ns: int, out: list[Effect]) -> None:
        self._leaving = True
        self.session.leave(event.reason, now_ns, out)

    def _down(self, down: ProcessDown, now_ns: int, out: list[Effect]) -> bool:
        """Act on a death and tell it; return whether nothing is left to be buried."""
        self.cluster.naming.died(down.peer, now_ns, out)
        self.cluster.detached.died(down.peer, now_ns, out)
        self.census.died(down.peer, out)
        self.storage.died(down.peer, now_ns, out)
        self.cluster.spillback.on_owner_gone(down.peer)
        self.cluster.copies.early.drop(down.peer)
        self.storage.told(down.peer, out)
        return self._peers.down(down, now_ns, out)

    def _bury(self, peer: PeerId, out: list[Effect]) -> None:
        self._peers.bury(peer, out)
        if self.pool.get(peer) is not None:
            self.pool.bury(peer)

    # -- jobs --------------------------------------------------------------------------------------
    def _on_register_job(
        self, peer: PeerId, said: RegisterJob, now_ns: int, out: list[Effect]
    ) -> None:
        known = self.jobs.get(said.job)
        if known is None:
            if self.pool.get(peer) is not None or self.jobs.of_driver(peer) is not None:
                self._peers.refuse("registration by no new driver", short(peer), out)
                return
            if self._leaving or self.draining.is_closed:
                reached("program not let in by who leaves")  # the goodbye answers it
                return
            life = self.session.address_of(peer).incarnation
            job = Job(said.job, peer, life, said.pid, now_ns, self._prestart_count)
            job.known = JobKnown(said.job, said.sys_path, said.cwd, said.environment)
            self.jobs.add(job)
            self._peers.watched(peer)
            out.append(job.known)
            out.append(WatchProcess(peer, life, said.pid))
            self._staffing.changed()
        elif known.driver != peer:
            self._peers.refuse("job of another driver", short(peer), out)
            return
        out.append(Send(peer, JobRegistered(said.job, self.leases.resources.total)))
        self.rekeying.welcome(peer, out)

    def _on_end_job(self, peer: PeerId, said: EndJob, now_ns: int, out: list[Effect]) -> None:
        job = self.jobs.of_driver(peer)
        if self.cluster.on_end_job(peer, said, now_ns, out):
            return
        if job is None or job.job != said.job:
            self._peers.refuse("end of another's job", short(peer), out)
            return
        self.cluster.spillback.on_job_over(job, out)
        self._staffing.end_job(job, "job over", now_ns, out)
        self.storage.died(peer, now_ns, out)
        self.cluster.naming.died(peer, now_ns, out)
        out.append(UnwatchProcess(peer, job.incarnation))

    def _on_process_exited(self, event: ProcessExited, now_ns: int, out: list[Effect]) -> None:
        job = self.jobs.of_driver(event.peer)
        if job is None or job.incarnation != event.incarnation:
            reached("exit of a process without a job")
            return
        self._staffing.end_job(job, f"driver died: {event.reason}", now_ns, out, died=True)
        down = _driver_down(event.peer, event.incarnation, job.pid, event.reason)
        self._down(down, now_ns, out)

    # -- leases ------------------------------------------------------------------------------------
    def _on_request_lease(
        self, peer: PeerId, said: RequestLease, now_ns: int, out: list[Effect]
    ) -> None:
        known = self.leases.get(said.lease)
        if self.cluster.spillback.forwards.get(said.lease) is not None:
            reached("repeated request that another node has")
            return
        if known is not None:
            if known.owner != peer:
                self._peers.refuse("request under another's lease", short(peer), out)
            elif known.worker is not None:
                reached("repeated request answered again")
                self._send_grant(known, out)
            return
        job = self.jobs.get(said.job)
        worker = self.pool.get(peer)
        if worker is not None and (worker.job != said.job or worker.ending):
            self._peers.refuse("request by a worker of no such job", short(peer), out)
            return
        if worker is None and job is not None and job.driver != peer:
            self._peers.refuse("request by a stranger", short(peer), out)
            return
        refusal = "this node does not know the job" if job is None else shape_fault(said.shape)
        if not refusal and len(self.leases) >= LEASES_COUNT_MAX:
            refusal = f"this node has {LEASES_COUNT_MAX} requests already"
        if refusal:
            out.append(Send(peer, LeaseRefused(said.lease, refusal)))
            return
        self.cluster.spillback.request(peer, said, now_ns, out)

    def _on_return_lease(
        self, peer: PeerId, said: ReturnLease, now_ns: int, out: list[Effect]
    ) -> None:
        lease = self.leases.get(said.lease)
        if lease is None:
            self.cluster.spillback.on_returned(peer, said, out)
        elif lease.via != peer:
            self._peers.refuse("return of another's lease", short(peer), out)
        else:
            self._staffing.end_lease(lease, said.reusable, "lease returned", now_ns, out)

    def _join(self, lease: Lease, out: list[Effect]) -> None:
        """Bring the owner and the worker of a fresh grant together."""
        assert lease.worker is not None
        self._peers.monitors.add(lease.via, lease.worker)
        self._peers.monitors.add(lease.worker, lease.owner)
        self._send_grant(lease, out)

    def _send_grant(self, lease: Lease, out: list[Effect]) -> None:
        """Tell the owner of a granted lease where its worker is, unless that left already."""
        worker = self.pool.get(lease.worker) if lease.worker is not None else None
        if worker is not None and self.session.knows(worker.worker):
            address = self.session.address_of(worker.worker)
            out.append(Send(lease.via, LeaseGranted(lease.lease, address, worker.pid)))

    # -- workers -----------------------------------------------------------------------------------
    def _on_worker_exited(self, event: WorkerExited, now_ns: int, out: list[Effect]) -> None:
        worker = self.pool.get(event.worker)
        if worker is None or worker.state is WorkerState.DEAD:
            reached("exit of an unknown worker ignored")
            return
        self._staffing.worker_exited(worker, event, now_ns, out)
        job = self.jobs.of_driver(event.worker)
        if job is not None:
            self.cluster.spillback.on_job_over(job, out)
            self._staffing.end_job(job, "the keeper of its actor ended", now_ns, out)
        down = ProcessDown(
            worker.worker,
            WORKER_INCARNATION,
            worker.pid or event.pid,
            event.exit_code,
            event.signal,
            self.draining.last_words(worker, event),
            event.lease,
            event.started,
            worker.rss_bytes,
            worker.limit_bytes,
        )
        if self._down(down, now_ns, out):
            self.pool.bury(worker.worker)


def _driver_down(peer: PeerId, incarnation: int, pid: int, reason: str) -> ProcessDown:
    """Return what is told of the end of a driver or tool, of which no exit status is known."""
    return ProcessDown(peer, incarnation, pid, -1, 0, reason, NO_LEASE, 0)
