"""Worker: starting, idle, leased, dead; prestart.

Rules of this file: one record a worker process, from the wish to have it to the telling of its
death. Which lease a worker serves is noted here by id; what the lease holds is not known.

Theory of operation. A worker is named before it is forked, so that every report about it, in any
order, finds its record: the fork's answer, the worker's own word that it is ready, its exit. That
it is to end is an intent (``ending``) beside the state: an ending worker is given to nobody,
whatever it says, and only its exit makes it DEAD. A DEAD record stays until its line is quiet. Idle
workers are used youngest first, so that those beyond need grow old and end.
"""

from enum import Enum
from typing import Final

from zgen.core.deadlines import Deadlines
from zgen.core.effects import Effect
from zgen.core.lifecycle import Lifecycle
from zgen.core.marks import reached
from zgen.core.node_effects import KillWorker, SpawnWorker
from zgen.ids import JobId, LeaseId, PeerId, derive_worker_id, short
from zgen.limits import WORKER_IDLE_NS, WORKER_START_NS, WORKERS_COUNT_MAX
from zgen.slotted import slotted
from zgen_node.limits import ORPHAN_CLOSE_NS


class WorkerState(Enum):
    """What a worker process does."""

    STARTING = "starting"  #: it was asked for, and has not said that it is ready
    IDLE = "idle"  #: it waits for a lease
    LEASED = "leased"  #: an owner uses it, or used it last and it is ending
    DEAD = "dead"  #: it exited


LEGAL: Final[dict[WorkerState, tuple[WorkerState, ...]]] = {
    WorkerState.STARTING: (WorkerState.IDLE, WorkerState.DEAD),
    WorkerState.IDLE: (WorkerState.LEASED, WorkerState.DEAD),
    WorkerState.LEASED: (WorkerState.IDLE, WorkerState.DEAD),
    WorkerState.DEAD: (),
}


class WorkerDue(Enum):
    """What a deadline of a worker is for."""

    START = "start"
    IDLE = "idle"
    CLOSE = "close"


@slotted
class Worker:
    """One worker process.

    Attributes:
        worker: Its name.
        job: Whose work it does.
        spawn_index: Its number among all that were spawned, from 1.
        spawned_ns: When it was asked for.
        life: Its state.
        pid: Its process id; 0 until the fork's answer or its own word.
        lease: The lease that it serves. Set by ``lease``; cleared by ``release`` and its exit.
        ending: Why it is to end; empty if it is not.
        is_closing: Whether it may end what it runs before it is killed.
        start_timed_out: Whether it is to end because it was not ready in time.
        is_lender: Whether others refer to objects that it owns, or tasks of its have not ended.
        rss_bytes: Its memory when it was to end for that, else 0.
        limit_bytes: What its node may use, in that case.
        is_keeper: Whether it keeps a detached actor: it serves no leases and is never idle.
    """

    worker: PeerId
    job: JobId
    spawn_index: int
    spawned_ns: int
    life: Lifecycle[WorkerState]
    pid: int = 0
    lease: LeaseId | None = None
    ending: str = ""
    is_closing: bool = False
    start_timed_out: bool = False
    is_lender: bool = False
    rss_bytes: int = 0
    limit_bytes: int = 0
    is_keeper: bool = False

    @property
    def state(self) -> WorkerState:
        """Where it is."""
        return self.life.state


class WorkerPool:
    """The workers of a node.

    Attributes:
        deadlines: When a start is late or an idle worker is old.
        spawn_count: Workers spawned so far.
        leased_count: Workers that serve a lease.
    """

    def __init__(self, node: PeerId) -> None:
        """Start without workers; ``node`` stands in their names."""
        self.deadlines: Deadlines[tuple[PeerId, WorkerDue]] = Deadlines()
        self.spawn_count = 0
        self.leased_count = 0
        self._node = node
        self._idle_ns = WORKER_IDLE_NS
        #: Name -> record. Added by ``spawn``; removed by ``bury``.
        self._workers: dict[PeerId, Worker] = {}
        #: Job -> its workers that are IDLE and not ending, longest idle first.
        self._idle: dict[JobId, dict[PeerId, None]] = {}
        #: Workers that are not DEAD.
        self._living_count = 0

    @property
    def full(self) -> bool:
        """Whether there may be no more workers."""
        return self._living_count >= WORKERS_COUNT_MAX

    def get(self, worker: PeerId) -> Worker | None:
        """Return a worker that is alive, or dead and not buried; else None."""
        return self._workers.get(worker)

    def all(self) -> list[Worker]:
        """Return all workers, eldest first."""
        return list(self._workers.values())

    def of_job(self, job: JobId) -> list[Worker]:
        """Return the workers of a job that are neither dead nor ending, eldest first."""
        return [
            worker
            for worker in self._workers.values()
            if worker.job == job and worker.state is not WorkerState.DEAD and not worker.ending
        ]

    def ending_count(self) -> int:
        """Return how many workers will be dead soon."""
        return sum(
            1
            for worker in self._workers.values()
            if worker.ending and worker.state is not WorkerState.DEAD
        )

    def starting_count(self, job: JobId) -> int:
        """Return how many workers of a job will be ready soon."""
        return sum(1 for worker in self.of_job(job) if worker.state is WorkerState.STARTING)

    @property
    def next_name(self) -> PeerId:
        """What the next worker is called."""
        return derive_worker_id(self._node, self.spawn_count + 1)

    def spawn(self, job: JobId, now_ns: int, out: list[Effect], *, is_keeper: bool = False) -> None:
        """Ask for one more worker; the pool must not be full."""
        assert not self.full
        name = self.next_name
        self.spawn_count += 1
        life = Lifecycle(f"worker {short(name)}", LEGAL, WorkerState.STARTING)
        worker = Worker(name, job, self.spawn_count, now_ns, life, is_keeper=is_keeper)
        self._workers[name] = worker
        self._living_count += 1
        self.deadlines.set((name, WorkerDue.START), now_ns + WORKER_START_NS)
        out.append(SpawnWorker(name, job))

    def note_pid(self, name: PeerId, pid: int) -> None:
        """Take the process id of a worker from its fork, which knows best."""
        worker = self._workers.get(name)
        if worker is None or worker.state is WorkerState.DEAD:
            reached("fork of an unknown worker reported")
            return
        worker.pid = pid

    def ready(self, worker: Worker, pid: int, now_ns: int) -> bool:
        """Take a worker's word that it is ready; return False if that changes nothing."""
        if worker.state is not WorkerState.STARTING or worker.ending:
            reached("late word of a worker ignored")
            return False
        worker.pid = worker.pid or pid
        self.deadlines.clear((worker.worker, WorkerDue.START))
        worker.life.move(WorkerState.IDLE, now_ns, "ready")
        self._rest(worker, now_ns)
        return True

    def idle(self, job: JobId, owner: PeerId) -> Worker | None:
        """Return the idle worker of a job that worked last, or None; nobody serves itself."""
        for name in reversed(self._idle.get(job, {})):
            if name != owner:
                return self._workers[name]
            reached("idle worker does not serve itself")
        return None

    def idle_of_others(self, job: JobId) -> list[Worker]:
        """Return the idle workers of all other jobs, longest idle first within each."""
        return [
            self._workers[name]
            for other, names in self._idle.items()
            if other != job
            for name in names
        ]

    def lease(self, worker: Worker, lease: LeaseId, now_ns: int) -> None:
        """Give an idle worker to a lease."""
        assert not worker.ending
        self._unrest(worker)
        worker.life.move(WorkerState.LEASED, now_ns, f"lease {short(lease)}")
        worker.lease = lease
        self.leased_count += 1

    def release(
        self, worker: Worker, reusable: bool, cause: str, now_ns: int, out: list[Effect]
    ) -> None:
        """Take a worker back from its lease, to serve the next one or, if not reusable, to end."""
        worker.lease = None
        self.leased_count -= 1
        if not reusable or worker.ending:
            self.kill(worker, cause, out)
            return
        worker.life.move(WorkerState.IDLE, now_ns, cause)
        self._rest(worker, now_ns)

    def orphan(self, worker: Worker, cause: str, now_ns: int) -> None:
        """Take a worker back from the lease of a dead owner: it ends itself, or is killed later."""
        worker.lease = None
        self.leased_count -= 1
        if not worker.ending:
            worker.ending, worker.is_closing = cause, True
            self.deadlines.set((worker.worker, WorkerDue.CLOSE), now_ns + ORPHAN_CLOSE_NS)

    def kill(self, worker: Worker, cause: str, out: list[Effect]) -> None:
        """Have a worker end; it is given to nobody from now on."""
        if worker.state is WorkerState.DEAD:
            return
        if worker.is_closing:
            self._end_closing(worker)
            out.append(KillWorker(worker.worker))
        if worker.ending:
            return
        if worker.state is WorkerState.IDLE:
            self._unrest(worker)
        worker.ending = cause
        self.deadlines.clear((worker.worker, WorkerDue.START))
        out.append(KillWorker(worker.worker))

    def exited(self, worker: Worker, now_ns: int) -> bool:
        """Note that a worker is dead; return whether that was a failed start."""
        was_starting = worker.state is WorkerState.STARTING
        if worker.state is WorkerState.IDLE and not worker.ending:
            self._unrest(worker)
        self.deadlines.clear((worker.worker, WorkerDue.START))
        self._end_closing(worker)
        worker.life.move(WorkerState.DEAD, now_ns, worker.ending or "exited")
        self.leased_count -= worker.lease is not None
        worker.lease = None
        self._living_count -= 1
        return was_starting and (not worker.ending or worker.start_timed_out)

    def bury(self, name: PeerId) -> None:
        """Forget a dead worker whose line is quiet."""
        worker = self._workers.pop(name)
        assert worker.state is WorkerState.DEAD

    def on_timer(self, now_ns: int, out: list[Effect]) -> list[Worker]:
        """Kill what is late to start; return the workers that were idle long enough to end."""
        old: list[Worker] = []
        for name, due in self.deadlines.pop_due(now_ns):
            worker = self._workers[name]
            if due is WorkerDue.START:
                reached("worker too late to start")
                worker.start_timed_out = True
                self.kill(worker, f"not ready after {WORKER_START_NS // 1_000_000_000} s", out)
            elif due is WorkerDue.CLOSE:
                reached("worker of a dead owner killed, since it goes on")
                self.kill(worker, worker.ending, out)
            else:
                old.append(worker)
        return old

    def keep(self, worker: Worker, now_ns: int) -> None:
        """Look at an idle worker again after one more idle time."""
        self.deadlines.set((worker.worker, WorkerDue.IDLE), now_ns + self._idle_ns)

    def hasten(self, idle_ns: int, now_ns: int) -> None:
        """Let idle workers grow old in this time from now on."""
        self._idle_ns = idle_ns
        for names in self._idle.values():
            for name in names:
                self.keep(self._workers[name], now_ns)

    def check(self) -> None:
        """Assert the invariants of every worker."""
        living = 0
        for name, worker in self._workers.items():
            living += worker.state is not WorkerState.DEAD
            resting = worker.state is WorkerState.IDLE and not worker.ending
            resting = resting and not worker.is_keeper
            assert (name in self._idle.get(worker.job, {})) is resting, worker.life.story()
            assert worker.lease is None or worker.state is WorkerState.LEASED, worker.life.story()
            if worker.state is WorkerState.LEASED and not worker.ending:
                assert worker.lease is not None, worker.life.story()
            waits = worker.state is WorkerState.STARTING and not worker.ending
            assert ((name, WorkerDue.START) in self.deadlines) is waits, worker.life.story()
            closes = (name, WorkerDue.CLOSE) in self.deadlines
            assert closes is worker.is_closing, worker.life.story()
            assert resting or (name, WorkerDue.IDLE) not in self.deadlines, worker.life.story()
        assert living == self._living_count <= WORKERS_COUNT_MAX
        leased = sum(1 for worker in self._workers.values() if worker.lease is not None)
        assert leased == self.leased_count
        assert all(self._idle.values()), "an empty row of idle workers"

    def _end_closing(self, worker: Worker) -> None:
        worker.is_closing = False
        self.deadlines.clear((worker.worker, WorkerDue.CLOSE))

    def _rest(self, worker: Worker, now_ns: int) -> None:
        if worker.is_keeper:
            return
        self._idle.setdefault(worker.job, {})[worker.worker] = None
        self.keep(worker, now_ns)

    def _unrest(self, worker: Worker) -> None:
        if worker.is_keeper:
            return
        names = self._idle[worker.job]
        del names[worker.worker]
        if not names:
            del self._idle[worker.job]
        self.deadlines.clear((worker.worker, WorkerDue.IDLE))
