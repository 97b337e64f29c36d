"""Leases and the workers that serve them.

Rules of this file: joins the tables of jobs, workers and leases; knows no lines and no messages but
what the tables send. Who may ask for what is checked before.

Theory of operation. A reserved request is met by any idle worker of its job; for each that finds
none, one worker should be starting, whichever request takes it in the end. CPUs bound how many
start at a time; for requests without CPUs ``ZERO_CPU_STARTING_MAX`` does, over all jobs. Prestarted
workers come last and take no room from others. A job whose workers fail to start again and again
gets its requests refused, and one more try with each new request.
"""

from collections.abc import Callable

from zgen.core.effects import Effect, Report, Send
from zgen.core.events import WorkerExited
from zgen.core.marks import reached
from zgen.core.node_effects import JobKnown, JobOver
from zgen.ids import JobId, PeerId
from zgen.limits import DRAIN_IDLE_NS, ZERO_CPU_STARTING_MAX
from zgen.wire.lease import LeaseRefused, LeaseWanted, Shape
from zgen_node.core.jobs import Job, Jobs
from zgen_node.core.lease_table import Lease, LeaseState, LeaseTable
from zgen_node.core.worker_pool import Worker, WorkerPool, WorkerState


class Staffing:
    """Jobs, workers and leases of a node.

    Attributes:
        jobs: What drivers registered.
        pool: Worker processes.
        leases: Requests and grants.
        uses_others: Says of a worker whether it has leases at other nodes.
        draining: Whether nothing is kept ready any more.
    """

    def __init__(self, node: PeerId, total: Shape) -> None:
        """Start with ``total`` free and nobody to serve."""
        self.jobs = Jobs()
        self.pool = WorkerPool(node)
        self.leases = LeaseTable(total)
        self.uses_others: Callable[[PeerId], bool] = lambda worker: False
        self.draining = False
        #: Whether something changed since ``place`` that may let a request be met.
        self._changed = False

    def changed(self) -> None:
        """Have the next ``place`` look again."""
        self._changed = True

    def place(self, now_ns: int, out: list[Effect]) -> list[Lease] | None:
        """Meet what can be met now, and start what is missing.

        Returns:
            What was met; the caller tells its owners, and then asks for what others wait for. None
            if nothing has changed since the last time.
        """
        if not self._changed:
            return None
        self._changed = False
        self.leases.reserve(now_ns)
        met: list[Lease] = []
        for lease in self.leases.reserved():
            worker = self.pool.idle(lease.job, lease.owner)
            if worker is not None:
                self.pool.lease(worker, lease.lease, now_ns)
                self.leases.grant(lease, worker.worker, now_ns)
                met.append(lease)
        for job, count in self._missing():
            for still in range(count, 0, -1):
                if self.pool.full:
                    self._make_room(job, still, out)
                    break
                self.pool.spawn(job, now_ns, out)
        self._prestart(now_ns, out)
        return met

    def end_lease(
        self, lease: Lease, reusable: bool, cause: str, now_ns: int, out: list[Effect]
    ) -> None:
        """End a request or lease; its worker serves the next one, or ends if that is not safe."""
        blocked = lease.state is LeaseState.BLOCKED
        self.leases.end(lease, cause, now_ns)
        worker = self.pool.get(lease.worker) if lease.worker is not None else None
        if worker is not None:
            self.pool.release(worker, reusable and not blocked, cause, now_ns, out)
        self._changed = True

    def end_owner(
        self, owner: PeerId, cause: str, now_ns: int, out: list[Effect], *, died: bool = True
    ) -> None:
        """End the requests and leases of a process that is gone, and the workers that served it.

        If it ``died``, they hear of that too, and may let generators stop before.
        """
        for lease in self.leases.of_owner(owner):
            if died:
                self._orphan(lease, f"owner gone: {cause}", now_ns)
            else:
                self.end_lease(lease, False, f"owner gone: {cause}", now_ns, out)

    def end_job(
        self, job: Job, cause: str, now_ns: int, out: list[Effect], *, died: bool = False
    ) -> None:
        """End a job with its leases and workers; its driver ``died``, or it is over."""
        self.jobs.end(job.job)
        for lease in self.leases.of_job(job.job):
            if died:
                self._orphan(lease, cause, now_ns)
            else:
                self.end_lease(lease, False, cause, now_ns, out)
        for worker in self.pool.of_job(job.job):
            self.pool.kill(worker, cause, out)
        out.append(JobOver(job.job))
        self._changed = True

    def _orphan(self, lease: Lease, cause: str, now_ns: int) -> None:
        """End a lease whose owner died; its worker ends what it runs, and itself."""
        self.leases.end(lease, cause, now_ns)
        worker = self.pool.get(lease.worker) if lease.worker is not None else None
        if worker is not None:
            self.pool.orphan(worker, cause, now_ns)
        self._changed = True

    def start_keeper(
        self,
        sys_path: tuple[str, ...],
        cwd: str,
        environment: tuple[tuple[str, str], ...],
        now_ns: int,
        out: list[Effect],
    ) -> PeerId:
        """Start a worker that is the driver of a job of its own; the pool must not be full."""
        name = self.pool.next_name
        job = Job(JobId(name), name, 1, 0, now_ns, 0)
        job.known = JobKnown(job.job, sys_path, cwd, environment)
        self.jobs.add(job)
        out.append(job.known)
        self.pool.spawn(job.job, now_ns, out, is_keeper=True)
        return name

    def drain(self, now_ns: int, out: list[Effect]) -> None:
        """Keep nothing ready, and have owners return what they hold when it is idle."""
        self.draining = True
        self.pool.hasten(DRAIN_IDLE_NS, now_ns)
        served = [lease for lease in self.leases.all() if lease.worker is not None]
        out.extend([Send(lease.via, LeaseWanted(lease.lease, True)) for lease in served])
        self._changed = True

    def worker_ready(self, worker: Worker, pid: int, now_ns: int) -> None:
        """Let a worker serve that says it is ready."""
        job = self.jobs.get(worker.job)
        if self.pool.ready(worker, pid, now_ns):
            assert job is not None, "a worker of no job became ready"
            job.note_started()
            self._changed = True

    def worker_exited(
        self, worker: Worker, event: WorkerExited, now_ns: int, out: list[Effect]
    ) -> None:
        """End what a dead worker served and what it owned."""
        end = f"signal {event.signal}" if event.signal else f"exit code {event.exit_code}"
        lease = self.leases.get(worker.lease) if worker.lease is not None else None
        if lease is not None:
            self.leases.end(lease, f"worker died of {end}", now_ns)
        job = self.jobs.get(worker.job)
        if self.pool.exited(worker, now_ns):
            story = worker.ending or f"worker pid={worker.pid or event.pid} died of {end}"
            if event.log_tail:
                story = f"{story}\nits last lines:\n{event.log_tail}"
            if job is not None:
                job.note_failed_start(worker.spawn_index, self.pool.spawn_count, story)
                self._refuse_if_hopeless(job, now_ns, out)
        elif not worker.ending:
            out.append(Report("warning", f"worker pid={worker.pid} died of {end}"))
        self.end_owner(worker.worker, f"worker died of {end}", now_ns, out)
        self._changed = True

    def on_timer(self, now_ns: int, out: list[Effect]) -> None:
        """Send notices, and end workers that are late to start or idle beyond need."""
        self.leases.on_timer(now_ns, out)
        for worker in self.pool.on_timer(now_ns, out):
            job = self.jobs.get(worker.job)
            assert job is not None, "an idle worker of no job"
            if self._is_owner(worker):
                reached("idle worker kept as an owner")
                self.pool.keep(worker, now_ns)
            elif self.draining or len(self.pool.of_job(worker.job)) > job.prestart_count:
                self.pool.kill(worker, "idle", out)

    def check(self) -> None:
        """Assert every invariant, of each table and between them."""
        self.jobs.check()
        self.pool.check()
        self.leases.check()
        for lease in self.leases.all():
            assert self.jobs.get(lease.job) is not None, lease.life.story()
            if lease.worker is not None:
                server = self.pool.get(lease.worker)
                assert server is not None, lease.life.story()
                assert server.state is WorkerState.LEASED, lease.life.story()
                assert server.lease == lease.lease, lease.life.story()
        for worker in self.pool.all():
            assert worker.lease is None or self.leases.get(worker.lease) is not None, (
                worker.life.story()
            )
            needless = worker.state is WorkerState.DEAD or bool(worker.ending)
            assert needless or self.jobs.get(worker.job) is not None, worker.life.story()

    def _refuse_if_hopeless(self, job: Job, now_ns: int, out: list[Effect]) -> None:
        if not job.starts_fail:
            return
        reached("requests refused after failed starts")
        for lease in self.leases.unmet():
            if lease.job == job.job:
                self.leases.end(lease, "workers do not start", now_ns)
                out.append(Send(lease.via, LeaseRefused(lease.lease, job.refusal())))

    def _missing(self) -> list[tuple[JobId, int]]:
        """Return for each job how many more workers should be starting."""
        reserved = self.leases.reserved()
        if not reserved:
            return []
        rows: list[tuple[JobId, int, int]] = []
        zero_starting = 0
        for job in self.jobs:
            mine = [lease for lease in reserved if lease.job == job.job]
            zero = sum(1 for lease in mine if lease.zero_cpu)
            starting = self.pool.starting_count(job.job)
            spare = max(0, starting - (len(mine) - zero))
            zero_starting += min(spare, zero)
            rows.append((job.job, max(0, len(mine) - zero - starting), max(0, zero - spare)))
        missing: list[tuple[JobId, int]] = []
        for name, with_cpu, without_cpu in rows:
            allowed = min(without_cpu, max(0, ZERO_CPU_STARTING_MAX - zero_starting))
            if allowed < without_cpu:
                reached("zero-CPU request waits for other starts")
            zero_starting += allowed
            missing.append((name, with_cpu + allowed))
        return missing

    def _make_room(self, job: JobId, count: int, out: list[Effect]) -> None:
        """End idle workers of other jobs, so that ``count`` workers of ``job`` can start soon."""
        reached("no room for a worker")
        count -= self.pool.ending_count()
        for worker in self.pool.idle_of_others(job):
            if count > 0 and not self._is_owner(worker):
                self.pool.kill(worker, "its place is needed", out)
                count -= 1

    def _is_owner(self, worker: Worker) -> bool:
        """Return whether others need a worker that serves nobody just now."""
        name = worker.worker
        return worker.is_lender or bool(self.leases.of_owner(name)) or self.uses_others(name)

    def _prestart(self, now_ns: int, out: list[Effect]) -> None:
        for job in self.jobs:
            if job.starts_fail or self.draining:
                continue
            for _ in range(job.prestart_count - len(self.pool.of_job(job.job))):
                if not self.pool.full:
                    self.pool.spawn(job.job, now_ns, out)
