"""What must run again to rebuild a lost object: what is known of tasks that have ended.

Rules of this file: a task is kept as long as one of its results in shared memory may be needed, or
a kept task that takes such a result. What is lost, and what holds the arguments, is not known here.

Theory of operation. A kept task names its ``parents``: kept tasks that can make an argument of it
again, whose value need not be there meanwhile. What nothing can make again it pins. So a chain
costs its specs and its small values, and its large values go when nobody refers to them. ``why``
says why a task can not run again; such a task is kept for that word alone.
"""

from collections.abc import Iterable
from dataclasses import field
from typing import Final

from zgen.core.task_spec import TaskSpec
from zgen.ids import ObjectId, TaskId, short, task_of
from zgen.limits import LINEAGE_BYTES_MAX, LINEAGE_COUNT_MAX, LINEAGE_SPEC_BYTES
from zgen.slotted import slotted
from zgen.wire.value import REASON_EVICTED, size_bytes

#: How an execution ended that there is another one for, for people.
LOST_STORY: Final = "it ended, and what it made was lost"


@slotted
class Kept:
    """A task of which a result lies in shared memory, or may be needed to make one that does.

    Attributes:
        spec: How to execute it again.
        attempt: Its last execution, once it has ended.
        retries_left: How often it may run again; -1 for ever.
        history: How the executions before that ended, for people; the last ones.
        results: Results and items in shared memory that somebody refers to, and of those that were
            lost whether they had parts besides their pickle. Added by ``add``; removed by
            ``remove``.
        children: Kept tasks that name it as a parent.
        is_open: Whether it has not ended yet, or has items in shared memory that nobody has taken.
        is_again: Whether it runs again.
        parents: Kept tasks that can make an argument again, one for each such argument.
        pinned: Arguments that are pinned for it.
        size_bytes: Bytes that it counts for.
        why: Why it can not run again; empty if it can.
        count: Items that it yielded; -1 if it is no stream, or has not ended.
        raised: Whether it raised behind them.
        odd: First item that its present run has yielded in another kind than before, or -1.
    """

    spec: TaskSpec
    attempt: int = 0
    retries_left: int = 0
    history: tuple[str, ...] = ()
    results: dict[ObjectId, bool | None] = field(default_factory=dict)
    children: int = 0
    is_open: bool = True
    is_again: bool = False
    parents: tuple[TaskId, ...] = ()
    pinned: tuple[ObjectId, ...] = ()
    size_bytes: int = 0
    why: str = ""
    count: int = -1
    raised: bool = False
    odd: int = -1

    @property
    def is_needed(self) -> bool:
        """Whether it must be kept."""
        return bool(self.results or self.children or self.is_open or self.is_again)


class Lineage:
    """The kept tasks of one owner.

    Attributes:
        size_bytes: Bytes that they count for.
        count: How many of them may run again.
    """

    def __init__(self) -> None:
        """Start without tasks."""
        #: Task -> what is kept, the eldest first. Added by ``open``; removed by ``release``.
        self.entries: dict[TaskId, Kept] = {}
        self.size_bytes = 0
        self.count = 0

    def open(self, spec: TaskSpec) -> Kept:
        """Keep a task; it counts as open."""
        kept = self.entries.get(spec.task)
        if kept is None:
            kept = self.entries[spec.task] = Kept(spec)
        return kept

    def can_make(self, name: ObjectId) -> bool:
        """Return whether a kept task can make this object again, as far as can be known now."""
        kept = self.entries.get(task_of(name))
        return kept is not None and name in kept.results and not kept.why and kept.retries_left != 0

    def hold(
        self,
        kept: Kept,
        parents: Iterable[TaskId],
        pinned: Iterable[ObjectId],
        pinned_bytes: int,
    ) -> None:
        """Note what keeps the arguments of a task that has ended."""
        assert not kept.size_bytes, f"task {short(kept.spec.task)} keeps its arguments already"
        kept.parents, kept.pinned = tuple(parents), tuple(pinned)
        for parent in kept.parents:
            self.entries[parent].children += 1
        kept.size_bytes = LINEAGE_SPEC_BYTES + size_bytes(kept.spec.arguments) + pinned_bytes
        self.size_bytes += kept.size_bytes
        self.count += 1

    def remove(self, name: ObjectId) -> list[ObjectId]:
        """Nobody refers to a result any more; return the arguments that are pinned no more."""
        task = task_of(name)
        self.entries[task].results.pop(name, None)
        return self.release(task)

    def give_up(self, kept: Kept, why: str) -> list[ObjectId]:
        """A task can never run again; return the arguments that are pinned no more."""
        kept.why = why
        work = [kept.spec.task]
        return self._strip(kept, work) + self._release_all(work)

    def release(self, task: TaskId) -> list[ObjectId]:
        """Forget a task if nothing needs it; return the arguments that are pinned no more."""
        return self._release_all([task])

    def evict(self) -> list[ObjectId]:
        """Give up the eldest if there is too much; return the arguments that are pinned no more.

        Then half of what may be kept is free again.
        """
        if self.size_bytes <= LINEAGE_BYTES_MAX and self.count <= LINEAGE_COUNT_MAX:
            return []
        unpinned: list[ObjectId] = []
        rest = [kept for kept in self.entries.values() if not (kept.is_open or kept.is_again)]
        for kept in [kept for kept in rest if kept.size_bytes]:
            if self.size_bytes <= LINEAGE_BYTES_MAX // 2 and self.count <= LINEAGE_COUNT_MAX // 2:
                break
            unpinned += self.give_up(kept, REASON_EVICTED)
        return unpinned

    def check(self) -> None:
        """Assert that all is needed, counted and known."""
        children: dict[TaskId, int] = {}
        for task, kept in self.entries.items():
            assert kept.is_needed, f"task {short(task)} is kept for nothing"
            assert not kept.why or not kept.size_bytes, f"task {short(task)}: {kept.why}"
            for parent in kept.parents:
                children[parent] = children.get(parent, 0) + 1
        counted = {task: kept.children for task, kept in self.entries.items() if kept.children}
        assert children == counted, f"{children} children are there, {counted} counted"
        sizes = [kept.size_bytes for kept in self.entries.values() if kept.size_bytes]
        counts = (sum(sizes), len(sizes))
        assert counts == (self.size_bytes, self.count), f"{counts} kept, {self.size_bytes} counted"

    def _release_all(self, work: list[TaskId]) -> list[ObjectId]:
        unpinned: list[ObjectId] = []
        while work:
            task = work.pop()
            kept = self.entries.get(task)
            if kept is not None and not kept.is_needed:
                del self.entries[task]
                unpinned += self._strip(kept, work)
        return unpinned

    def _strip(self, kept: Kept, work: list[TaskId]) -> list[ObjectId]:
        """Let go of what a task keeps; its parents are added to ``work``."""
        for parent in kept.parents:
            self.entries[parent].children -= 1
            work.append(parent)
        unpinned = list(kept.pinned)
        self.size_bytes -= kept.size_bytes
        self.count -= kept.size_bytes > 0
        kept.parents, kept.pinned, kept.size_bytes = (), (), 0
        return unpinned
