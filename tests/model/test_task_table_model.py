"""The task table against what a task may do next, with arguments that come in any order."""

from __future__ import annotations

from dataclasses import dataclass, field

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.unit.core.names import WORKER, lease, result, spec, task
from zgen.core.task_table import Doing, TaskTable
from zgen.ids import ObjectId
from zgen.limits import RETRY_DELAY_NS_MAX

OBJECTS = [result(f"object {number}") for number in range(4)]
LEASE = lease("lease")
#: What becomes of a task at a worker.
OUTCOMES = ["crash", "crash", "crash", "unstarted", "end"]


@dataclass
class Known:
    """One task as the model knows it."""

    retries: int
    missing: list[ObjectId]
    doing: Doing = Doing.WAITING_LEASE
    attempt: int = 0
    failures: int = 0
    executions: list[int] = field(default_factory=list)


class TaskMachine(RuleBasedStateMachine):
    """Calls the table as an owner does and keeps its own books."""

    def __init__(self) -> None:
        super().__init__()
        self.table = TaskTable()
        self.tasks: dict[str, Known] = {}
        self.settled: list[ObjectId] = []
        self.count = 0
        self.now_ns = 0

    def moving(self) -> list[str]:
        return [name for name, known in self.tasks.items() if not known.missing]

    @rule(
        retries=st.sampled_from([-1, 2, 1, 0]),
        slots=st.lists(st.sampled_from(OBJECTS), max_size=3, unique=True),
    )
    def submit(self, retries: int, slots: list[ObjectId]) -> None:
        self.count += 1
        name = f"{self.count}"
        missing = [slot for slot in slots if slot not in self.settled]
        known = self.tasks[name] = Known(retries, missing)
        ready = self.table.submit(spec(name, slots=slots, retries=retries), missing, self.now_ns)
        assert ready == (not missing)
        if missing:
            known.doing = Doing.WAITING_ARGS

    @rule(name=st.sampled_from(OBJECTS))
    def settle(self, name: ObjectId) -> None:
        ready = []
        for task_name, known in self.tasks.items():
            if name in known.missing:
                known.missing.remove(name)
                if not known.missing:
                    known.doing = Doing.WAITING_LEASE
                    ready.append(task(task_name))
        self.settled.append(name)
        assert self.table.on_settled(name, self.now_ns) == ready

    @precondition(lambda self: self.moving())
    @rule(
        which=st.integers(0, 99),
        outcomes=st.lists(st.sampled_from(OUTCOMES), min_size=1, max_size=12),
    )
    def go_on(self, which: int, outcomes: list[str]) -> None:
        """Let tasks that miss nothing do what they do next."""
        for outcome in outcomes:
            names = self.moving()
            if names:
                self.move(names[which % len(names)], outcome)
                self.no_attempt_that_began_runs_twice_and_no_budget_is_overdrawn()

    def move(self, name: str, outcome: str) -> None:
        self.now_ns += 1
        known = self.tasks[name]
        if known.doing is Doing.WAITING_LEASE:
            entry = self.table.on_pushed(task(name), LEASE, WORKER, self.now_ns)
            known.doing = Doing.PUSHED
            known.executions.append(entry.attempt)
        elif known.doing is Doing.WAITING_RETRY:
            self.table.on_retry_due(task(name), self.now_ns)
            known.doing = Doing.WAITING_LEASE
        elif outcome == "crash":
            self.crash(name)
        elif outcome == "unstarted":
            assert self.table.on_not_started(task(name), known.attempt, self.now_ns)
            known.doing = Doing.WAITING_LEASE
            known.executions.pop()
        else:
            self.finish(name)

    def crash(self, name: str) -> None:
        known = self.tasks[name]
        due_ns = self.table.retry(task(name), self.now_ns, "crash")
        known.failures += 1
        if 0 <= known.retries < known.failures:
            assert due_ns is None
            self.finish(name)
            return
        assert due_ns is not None
        assert 0 <= due_ns - self.now_ns <= RETRY_DELAY_NS_MAX
        known.attempt += 1
        known.doing = Doing.WAITING_RETRY

    @precondition(lambda self: len(self.tasks) > 4)
    @rule(which=st.integers(0, 99))
    def abandon(self, which: int) -> None:
        """Let a task end whatever it does, as when the node dies."""
        self.finish(list(self.tasks)[which % len(self.tasks)])

    def finish(self, name: str) -> None:
        entry = self.table.finish(task(name), self.now_ns, "over")
        assert entry.started == self.tasks[name].failures
        del self.tasks[name]

    # -- promises ----------------------------------------------------------------------------------
    @invariant()
    def the_table_is_sound_and_the_books_agree(self) -> None:
        self.table.check()
        assert {name: entry.doing.state for name, entry in self.table.entries.items()} == {
            task(name): known.doing for name, known in self.tasks.items()
        }
        for name in OBJECTS:
            waiting = [task(n) for n, known in self.tasks.items() if name in known.missing]
            assert list(self.table.missing_by.get(name, ())) == waiting

    @invariant()
    def one_attempt_is_heard_and_only_while_it_is_at_a_worker(self) -> None:
        for name, known in self.tasks.items():
            heard = [n for n in range(known.attempt + 2) if self.table.accept(task(name), n)]
            assert heard == ([known.attempt] if known.doing is Doing.PUSHED else [])

    @invariant()
    def no_attempt_that_began_runs_twice_and_no_budget_is_overdrawn(self) -> None:
        for known in self.tasks.values():
            assert known.executions == sorted(dict.fromkeys(known.executions))
            if known.retries >= 0:
                assert len(known.executions) <= known.retries + 1


TaskMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=50)
TestTaskTable = TaskMachine.TestCase
