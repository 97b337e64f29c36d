"""Life of a submitted task: arguments, attempts, retries, end.

Rules of this file: how often a task may run, and what fails it. Where it runs and what its results
are is not known here.

Theory of operation. What a task is doing and which attempt counts are two fields. The attempt grows
*before* anything is submitted again, so that an outcome of the old one is refused whenever it
arrives. An attempt that certainly never started costs nothing and keeps its number. Every path out
of the table goes through ``finish``, whose caller must end what hangs on the task.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Final

from zgen.core.backoff import backoff_ns
from zgen.core.input_log import InputLog
from zgen.core.lifecycle import Lifecycle
from zgen.core.marks import reached
from zgen.core.task_spec import TaskSpec
from zgen.ids import LeaseId, ObjectId, PeerId, TaskId, short
from zgen.limits import (
    HISTORY_COUNT_MAX,
    RETRY_DELAY_FIRST_NS,
    RETRY_DELAY_NS_MAX,
    WORKERS_LOST_COUNT_MAX,
)
from zgen.slotted import slotted


class Doing(Enum):
    """What a task is doing."""

    WAITING_ARGS = "waiting for arguments"
    WAITING_LEASE = "waiting for a worker"
    PUSHED = "at a worker"
    WAITING_RETRY = "waiting before it runs again"
    DONE = "done"

    __hash__ = object.__hash__  # the one of enumerations is Python, and every move looks one up


LEGAL: Final = {
    Doing.WAITING_ARGS: (Doing.WAITING_LEASE, Doing.DONE),
    Doing.WAITING_LEASE: (Doing.PUSHED, Doing.DONE),
    Doing.PUSHED: (Doing.WAITING_LEASE, Doing.WAITING_RETRY, Doing.WAITING_ARGS, Doing.DONE),
    Doing.WAITING_RETRY: (Doing.WAITING_LEASE, Doing.DONE),
    Doing.DONE: (),
}


@slotted
class TaskEntry:
    """One submitted task.

    Attributes:
        spec: Everything needed to execute it.
        doing: Where it stands.
        attempt: The only attempt whose outcome counts.
        retries_left: How often it may run again; -1 for ever.
        started: Executions that may have begun.
        lost: Workers in a row that died before they began it.
        missing: Arguments without a value yet. Set at submission; removed as they settle. None if
            it never missed any.
        lease: Lease that it was pushed under, while it is pushed.
        worker: Whom it was pushed to, while it is pushed.
        history: How its earlier attempts ended, for people; the last ones.
        cancel: What its worker was asked for, by force and recursively, once the pushed task was
            cancelled: it runs never again; else None.
        wanted: Indices of the objects for which it runs again though it had ended; None if it has
            not ended yet.
        is_closing: Whether ``cancel`` stands for no more than that its user closed the stream.
        is_stopping: Whether its worker was told to stop it, so that it runs again from its first
            item, or for the first time.
        log: What it was sent, if it is a two-way stream and was sent anything.
    """

    spec: TaskSpec
    doing: Lifecycle[Doing]
    retries_left: int
    attempt: int = 0
    started: int = 0
    lost: int = 0
    missing: dict[ObjectId, None] | None = None
    lease: LeaseId | None = None
    worker: PeerId | None = None
    cancel: tuple[bool, bool] | None = None
    history: tuple[str, ...] = ()
    wanted: dict[int, None] | None = None
    is_closing: bool = False
    is_stopping: bool = False
    log: InputLog | None = None


class TaskTable:
    """The tasks that this process submitted and that have not ended."""

    def __init__(self) -> None:
        """Start without tasks."""
        #: Task -> entry. Added by ``submit``; removed by ``finish``.
        self.entries: dict[TaskId, TaskEntry] = {}
        #: Object -> tasks that miss it. Added by ``submit``; removed by ``on_settled`` and
        #: ``finish``. For others to look into.
        self.missing_by: dict[ObjectId, dict[TaskId, None]] = {}

    def submit(self, spec: TaskSpec, missing: list[ObjectId], now_ns: int) -> bool:
        """Add a task; return whether it can run at once."""
        assert spec.task not in self.entries, f"task {short(spec.task)} was submitted twice"
        first = Doing.WAITING_ARGS if missing else Doing.WAITING_LEASE
        doing = Lifecycle("task", LEGAL, first, spec.task)
        entry = self.entries[spec.task] = TaskEntry(spec, doing, spec.retries_max)
        if missing:
            entry.missing = dict.fromkeys(missing)
        for name in missing:
            self.missing_by.setdefault(name, {})[spec.task] = None
        return not missing

    def resubmit(
        self,
        spec: TaskSpec,
        attempt: int,
        retries_left: int,
        wanted: Iterable[int],
        missing: list[ObjectId],
        now_ns: int,
    ) -> bool:
        """Add a task again that had ended, for some of its objects; return whether it can run.

        Args:
            spec: The task.
            attempt: Which execution this will be.
            retries_left: How often it may run again after that.
            wanted: Indices of the objects.
            missing: Arguments without a value.
            now_ns: The time.
        """
        is_ready = self.submit(spec, missing, now_ns)
        entry = self.entries[spec.task]
        entry.attempt = entry.started = attempt
        entry.retries_left = retries_left
        entry.wanted = dict.fromkeys(wanted)
        return is_ready

    def on_arguments_lost(self, task: TaskId, missing: list[ObjectId], now_ns: int) -> None:
        """A pushed attempt never began, since these arguments are gone: it waits for them."""
        entry = self.entries[task]
        entry.lease = entry.worker = None
        entry.doing.move(Doing.WAITING_ARGS, now_ns, "arguments were lost")
        entry.missing = dict.fromkeys(missing)
        for name in missing:
            self.missing_by.setdefault(name, {})[task] = None

    def on_settled(self, name: ObjectId, now_ns: int) -> list[TaskId]:
        """An object has its value; return the tasks that miss nothing any more."""
        ready: list[TaskId] = []
        for task in self.missing_by.pop(name, ()):
            entry = self.entries[task]
            assert entry.missing is not None, self._story(task)
            del entry.missing[name]
            if not entry.missing:
                entry.doing.move(Doing.WAITING_LEASE, now_ns, "arguments are there")
                ready.append(task)
        return ready

    def on_pushed(self, task: TaskId, lease: LeaseId, worker: PeerId, now_ns: int) -> TaskEntry:
        """The task left for a worker."""
        entry = self.entries[task]
        entry.doing.move(Doing.PUSHED, now_ns, "pushed")
        entry.lease = lease
        entry.worker = worker
        return entry

    def accept(self, task: TaskId, attempt: int) -> TaskEntry | None:
        """Return the entry whose current attempt reports, or None if it is no longer wanted."""
        entry = self.entries.get(task)
        if entry is None or attempt != entry.attempt or entry.doing.state is not Doing.PUSHED:
            reached("outcome of an old attempt refused")
            return None
        return entry

    def on_not_started(self, task: TaskId, attempt: int, now_ns: int) -> bool:
        """A pushed attempt certainly never began; return whether it goes back into the queue."""
        entry = self.accept(task, attempt)
        if entry is None:
            return False
        reached("attempt that never started queued again")
        entry.lease = entry.worker = None
        entry.doing.move(Doing.WAITING_LEASE, now_ns, "never started")
        return True

    def on_lost(self, task: TaskId, now_ns: int) -> bool:
        """The worker died before it began; return whether the task goes back into the queue."""
        entry = self.entries[task]
        entry.lost += 1
        return entry.lost < WORKERS_LOST_COUNT_MAX and self.on_not_started(
            task, entry.attempt, now_ns
        )

    def retry(self, task: TaskId, now_ns: int, cause: str) -> int | None:
        """An attempt failed; return when the next one is due, or None without a budget."""
        entry = self.entries[task]
        if not _begin_attempt(entry, cause):
            return None
        entry.doing.move(Doing.WAITING_RETRY, now_ns, cause)
        return now_ns + backoff_ns(entry.attempt, RETRY_DELAY_FIRST_NS, RETRY_DELAY_NS_MAX, task)

    def retry_at_once(self, task: TaskId, now_ns: int, cause: str) -> bool:
        """An attempt failed; return whether the next one is due now, or False without a budget."""
        entry = self.entries[task]
        if not _begin_attempt(entry, cause):
            return False
        entry.doing.move(Doing.WAITING_LEASE, now_ns, cause)
        return True

    def on_retry_due(self, task: TaskId, now_ns: int) -> None:
        """The pause before a retry is over."""
        self.entries[task].doing.move(Doing.WAITING_LEASE, now_ns, "retry is due")

    def finish(self, task: TaskId, now_ns: int, cause: str) -> TaskEntry:
        """Remove a task; the caller ends its results, its stream and its pins."""
        entry = self.entries.pop(task)
        entry.doing.move(Doing.DONE, now_ns, cause)
        for name in entry.missing or ():
            waiting = self.missing_by[name]
            del waiting[task]
            if not waiting:
                del self.missing_by[name]
        return entry

    def check(self) -> None:
        """Assert the invariants of every task."""
        for task, entry in self.entries.items():
            state = entry.doing.state
            assert state is not Doing.DONE, self._story(task)
            assert bool(entry.missing) == (state is Doing.WAITING_ARGS), self._story(task)
            assert (entry.lease is not None) == (state is Doing.PUSHED), self._story(task)
            assert (entry.worker is None) == (entry.lease is None), self._story(task)
            assert entry.cancel is None or state is Doing.PUSHED, self._story(task)
            for name in entry.missing or ():
                assert task in self.missing_by[name], self._story(task)
            budget = entry.spec.retries_max
            assert budget < 0 or entry.retries_left + entry.attempt <= budget, self._story(task)

    def _story(self, task: TaskId) -> str:
        entry = self.entries[task]
        return f"task {short(task)}: {entry.doing.state}\n{entry.doing.story()}"


def _begin_attempt(entry: TaskEntry, cause: str) -> bool:
    """Count an attempt that failed; return whether the budget allows another one."""
    entry.started += 1
    entry.lost = 0
    if entry.retries_left == 0:
        return False
    entry.history = (*entry.history, f"attempt {entry.attempt}: {cause}")[-HISTORY_COUNT_MAX:]
    if entry.retries_left > 0:
        entry.retries_left -= 1
    entry.attempt += 1  # before anything is submitted: the fence
    entry.is_stopping = False
    entry.lease = entry.worker = None
    return True
