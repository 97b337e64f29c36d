"""Jobs: whose they are, and how the starts of their workers went.

Rules of this file: one record a job, from its driver's registration to its end. Workers and leases
of a job are in their own tables.

Theory of operation. Starts that fail are counted in rounds: workers that were spawned together and
die together (a bad environment, a killed zygote) are one failure, and the next round decides anew.
A start that succeeds sets the count to nothing.
"""

from collections.abc import Iterator
from dataclasses import field

from zgen.core.node_effects import JobKnown
from zgen.ids import JobId, PeerId
from zgen.limits import WORKER_START_FAILURES_MAX
from zgen.slotted import slotted
from zgen.wire.session import Address


@slotted
class Job:
    """One driver's work.

    Attributes:
        job: The job.
        driver: The process that registered it.
        incarnation: Life of the driver.
        pid: Its process id.
        registered_ns: When it registered.
        prestart_count: Workers that are kept ready.
        failed_starts: Rounds of failed worker starts in a row.
        failed_spawn_count: Workers that the node had spawned at the last counted failure.
        failure: Story of the last failed start, for people.
        lines_dropped: Lines of output that the driver was too slow for and has not been told of.
        known: The environment of its workers.
        far_driver: Its driver, if that is a process of another node.
        shared: Nodes that know the job from this one.
    """

    job: JobId
    driver: PeerId
    incarnation: int
    pid: int
    registered_ns: int
    prestart_count: int
    failed_starts: int = 0
    failed_spawn_count: int = 0
    failure: str = ""
    lines_dropped: int = 0
    known: JobKnown | None = None
    far_driver: Address | None = None
    shared: dict[PeerId, None] = field(default_factory=dict)

    @property
    def printed_to(self) -> PeerId:
        """Who is told what its workers print."""
        return self.driver if self.far_driver is None else self.far_driver.node

    @property
    def starts_fail(self) -> bool:
        """Whether so many starts failed that no more are tried without a new request."""
        return self.failed_starts >= WORKER_START_FAILURES_MAX

    def note_failed_start(self, spawn_index: int, spawn_count: int, failure: str) -> None:
        """Count a worker that died before it was ready, unless its round is counted already.

        Args:
            spawn_index: Number of the worker among all that the node spawned, from 1.
            spawn_count: How many the node has spawned by now.
            failure: How it ended, for people.
        """
        self.failure = failure
        if spawn_index > self.failed_spawn_count:
            self.failed_starts += 1
            self.failed_spawn_count = spawn_count

    def note_started(self) -> None:
        """Count anew: a worker became ready."""
        self.failed_starts = 0
        self.failure = ""

    def refusal(self) -> str:
        """Say why this job's requests are refused."""
        count = self.failed_starts
        return f"workers of this job do not start, {count} failed in a row: {self.failure}"


class Jobs:
    """The jobs of a node."""

    def __init__(self) -> None:
        """Start with none."""
        #: Job -> record. Added by ``add``; removed by ``end``.
        self._jobs: dict[JobId, Job] = {}
        #: Driver -> its job. Reverse of ``Job.driver``.
        self._by_driver: dict[PeerId, JobId] = {}

    def __iter__(self) -> Iterator[Job]:
        """Iterate over the jobs, eldest first; the table may change meanwhile."""
        return iter(list(self._jobs.values()))

    def get(self, job: JobId) -> Job | None:
        """Return a job, or None if it is not known or over."""
        return self._jobs.get(job)

    def of_driver(self, driver: PeerId) -> Job | None:
        """Return the job of ``driver``, or None if it has none."""
        job = self._by_driver.get(driver)
        return None if job is None else self._jobs[job]

    def add(self, job: Job) -> None:
        """Remember a job; neither it nor its driver may be known."""
        assert job.job not in self._jobs
        assert job.driver not in self._by_driver
        self._jobs[job.job] = job
        self._by_driver[job.driver] = job.job

    def end(self, job: JobId) -> None:
        """Forget a job."""
        del self._by_driver[self._jobs.pop(job).driver]

    def check(self) -> None:
        """Assert that both directions say the same."""
        assert {job.driver: name for name, job in self._jobs.items()} == self._by_driver
