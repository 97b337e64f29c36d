"""What is cancelled never runs again, and nothing else ends for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.sim.programs import Account, Consumer
from zgen.core.cancel_words import InterruptBody
from zgen.core.task_table import Doing
from zgen.ids import PeerId, TaskId, short
from zgen.sim.oracle import Oracle
from zgen.wire.task import CancelTask
from zgen.wire.value import Fault

if TYPE_CHECKING:
    from tests.sim.cluster import Cluster, Worker


@dataclass(slots=True)
class Asked:
    """The first cancel of a task.

    Attributes:
        attempt: The last attempt that may ever begin; -1 for none.
        at_first: Whether it meant the children too.
        recursive: Whether any of its cancels did.
        force: Whether one of its cancels was by force.
        closed: Whether it was only closed, a stream that its user reads no more.
    """

    attempt: int
    at_first: bool
    recursive: bool
    force: bool
    closed: bool = False


class CancelledForGood(Oracle):
    """P5: a cancelled task begins no other attempt, one that no worker had begins none at all."""

    promise = "P5"

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        #: Task that had not ended -> how it was cancelled first.
        self._asked: dict[TaskId, Asked] = {}
        #: Worker, task and attempt of cancels that met nothing that ran.
        self._told: dict[tuple[PeerId, TaskId, int], None] = {}
        #: Tasks that said that they never ran.
        self._never: dict[TaskId, None] = {}
        #: Interrupted stream -> the most items that anybody may ever see of it.
        self._most: dict[TaskId, int] = {}
        self.ended = 0
        self.closed = 0

    def asked(
        self, user: Consumer, task: TaskId, force: bool, recursive: bool, *, closed: bool = False
    ) -> None:
        """A user is about to cancel one of his tasks, or to close it."""
        self.closed += closed
        entry = user.owner.tasks.entries.get(task)
        if entry is None:
            return
        known = self._asked.get(task)
        if known is None:
            pushed = entry.doing.state is Doing.PUSHED
            last = entry.attempt if pushed else max(self.cluster.accounts[task].starts, default=-1)
            known = self._asked[task] = Asked(last, recursive, recursive, force, closed)
        known.closed = known.closed and closed
        known.force = known.force or force
        known.recursive = known.recursive or recursive

    def told(self, worker: Worker, message: CancelTask) -> None:
        """A worker hears that something is cancelled that it has not begun, or has ended."""
        if not self._is_stopping(message.task):
            self._told[worker.name, message.task, message.attempt] = None

    def started(self, worker: Worker, task: TaskId, attempt: int) -> None:
        """A body begins."""
        told = (worker.name, task, attempt) in self._told
        self.require(not told, f"{short(task)} begins where it was cancelled in the queue")
        asked = self._asked.get(task)
        story = f"{short(task)} begins attempt {attempt} after {asked}"
        self.require(asked is None or attempt <= asked.attempt, story)
        self.require(task not in self._never, f"{short(task)} begins, which never ran")

    def interrupted(self, worker: Worker, effect: InterruptBody) -> None:
        """A worker heard that what it runs is cancelled; so are its children by now."""
        if self._is_stopping(effect.task):
            return
        self._note_items(worker, effect.task)
        asked = self._asked.get(effect.task)
        if asked is not None and not asked.at_first:
            return
        parent = (effect.task, effect.attempt)
        for task, entry in worker.user.owner.tasks.entries.items():
            mine = self.cluster.accounts[task].parent == parent
            self.require(not mine or entry.cancel is not None, f"child {short(task)} goes on")

    def _note_items(self, worker: Worker, task: TaskId) -> None:
        body, owner = worker.bodies.get(task), self.cluster.accounts[task].owner
        user = self.cluster.user_of(owner)
        if body is not None and user is not None:
            record = user.owner.streams.streams.get(task)
            self._most[task] = max(body.yielded, record.known if record is not None else 0)

    def item(self, task: TaskId, index: int) -> None:
        """A user takes an item of a stream."""
        most = self._most.get(task)
        if most is not None:
            self.require(index < most, f"{short(task)}: item {index} was yielded after the cancel")

    def _is_stopping(self, task: TaskId) -> bool:
        """Return whether a task was stopped for what it lost alone, and runs again."""
        user = self.cluster.user_of(self.cluster.accounts[task].owner)
        entry = user.owner.tasks.entries.get(task) if user is not None else None
        return entry is not None and entry.is_stopping and entry.cancel is None

    def is_closed(self, task: TaskId) -> bool:
        """Return whether a stream was closed, or cancelled, before it had ended."""
        return task in self._asked

    def is_forced(self, task: TaskId) -> bool:
        asked = self._asked.get(task)
        return asked is not None and asked.force

    def got(self, task: TaskId, account: Account, fault: Fault) -> None:
        """A user was told that a task was cancelled."""
        self.ended += 1
        self.require(fault.reason == task.hex(), f"{short(task)}: {fault} names another")
        self.require(self._is_cancelled(task), f"{short(task)} was cancelled by nobody")
        if not fault.may_have_run:
            self._never[task] = None
            self.require(not account.starts, f"{short(task)} ran, attempts {account.starts}")

    def _is_cancelled(self, task: TaskId) -> bool:
        """Return whether a task was cancelled, or one above it with all that it had submitted."""
        accounts = self.cluster.accounts
        if task in self._asked and not self._asked[task].closed:
            return True
        parent, _ = accounts[task].parent
        while parent in accounts:
            asked = self._asked.get(parent)
            if asked is not None and asked.recursive:
                return True
            parent, _ = accounts[parent].parent
        return False
