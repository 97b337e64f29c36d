"""Tasks from submission to their end: arguments, attempts, budget."""

from __future__ import annotations

import pytest

from tests.unit.core.names import WORKER, lease, result, spec, task
from zgen.core.task_table import LEGAL, Doing, TaskTable
from zgen.limits import RETRY_DELAY_FIRST_NS, RETRY_DELAY_NS_MAX

T, L = task("t"), lease("l")
A, B = result("a"), result("b")


def submitted(retries: int = 0, *, push: bool = True) -> TaskTable:
    """A table with a task that is at a worker."""
    tasks = TaskTable()
    assert tasks.submit(spec("t", retries=retries), [], 0)
    if push:
        tasks.on_pushed(T, L, WORKER, 0)
    tasks.check()
    return tasks


def state(tasks: TaskTable, name: str = "t") -> Doing:
    tasks.check()
    return tasks.entries[task(name)].doing.state


# -- arguments -----------------------------------------------------------------------------------
def test_a_task_that_misses_nothing_waits_for_a_worker() -> None:
    assert state(submitted(push=False)) is Doing.WAITING_LEASE


def test_a_task_waits_until_its_last_argument_is_there() -> None:
    tasks = TaskTable()
    assert not tasks.submit(spec("t", slots=[A, B]), [A, B], 0)
    assert not tasks.submit(spec("u", slots=[B]), [B], 0)
    assert state(tasks) is Doing.WAITING_ARGS
    assert list(tasks.missing_by.get(B, ())) == [T, task("u")]
    assert tasks.on_settled(A, 1) == []
    assert list(tasks.missing_by.get(A, ())) == []
    assert tasks.on_settled(B, 2) == [T, task("u")]
    assert [state(tasks, name) for name in "tu"] == [Doing.WAITING_LEASE] * 2
    assert tasks.on_settled(B, 3) == []


def test_a_task_that_ends_early_is_waited_for_no_more() -> None:
    tasks = TaskTable()
    tasks.submit(spec("t", slots=[A, B]), [A, B], 0)
    tasks.submit(spec("u", slots=[B]), [B], 0)
    entry = tasks.finish(T, 1, "failed")
    assert entry.doing.state is Doing.DONE
    assert list(tasks.missing_by.get(A, ())) == []
    assert tasks.on_settled(B, 2) == [task("u")]
    assert list(tasks.entries) == [task("u")]
    tasks.check()


def test_a_task_is_submitted_once() -> None:
    tasks = submitted()
    with pytest.raises(AssertionError, match="submitted twice"):
        tasks.submit(spec("t"), [], 0)


# -- attempts ------------------------------------------------------------------------------------
def test_only_the_current_attempt_of_a_pushed_task_is_heard() -> None:
    tasks = submitted(retries=1)
    assert tasks.accept(T, 0) is tasks.entries[T]
    assert tasks.accept(T, 1) is None
    assert tasks.accept(task("unknown"), 0) is None
    tasks.retry(T, 5, "crash")
    assert tasks.accept(T, 0) is None
    assert tasks.accept(T, 1) is None, "it waits before it runs again"
    tasks.on_retry_due(T, 5)
    tasks.on_pushed(T, L, WORKER, 6)
    assert tasks.accept(T, 0) is None
    assert tasks.accept(T, 1) is not None


def test_retries_are_spent_one_by_one_and_then_there_is_none() -> None:
    tasks = submitted(retries=2)
    entry = tasks.entries[T]
    assert tasks.retry(T, 100, "crash") == 100, "the first is due at once"
    assert (entry.attempt, entry.started, entry.retries_left, entry.lease) == (1, 1, 1, None)
    assert state(tasks) is Doing.WAITING_RETRY
    tasks.on_retry_due(T, 100)
    tasks.on_pushed(T, L, WORKER, 100)
    due_ns = tasks.retry(T, 100, "crash")
    assert due_ns is not None
    assert RETRY_DELAY_FIRST_NS // 2 <= due_ns - 100 <= RETRY_DELAY_FIRST_NS
    tasks.on_retry_due(T, due_ns)
    tasks.on_pushed(T, L, WORKER, due_ns)
    assert tasks.retry(T, due_ns, "crash") is None
    assert (entry.attempt, entry.started) == (2, 3)
    assert state(tasks) is Doing.PUSHED


def test_a_task_without_a_limit_is_retried_for_ever() -> None:
    tasks = submitted(retries=-1)
    for attempt in range(1, 30):
        due_ns = tasks.retry(T, 0, "crash")
        assert due_ns is not None
        assert due_ns <= RETRY_DELAY_NS_MAX
        tasks.on_retry_due(T, 0)
        tasks.on_pushed(T, L, WORKER, 0)
        assert tasks.entries[T].attempt == attempt
        tasks.check()


def test_an_attempt_that_never_began_costs_nothing() -> None:
    tasks = submitted(retries=1)
    assert tasks.on_not_started(T, 0, 5)
    entry = tasks.entries[T]
    assert (entry.attempt, entry.started, entry.retries_left, entry.lease) == (0, 0, 1, None)
    assert state(tasks) is Doing.WAITING_LEASE
    assert not tasks.on_not_started(T, 0, 5)
    assert not tasks.on_not_started(task("unknown"), 0, 5)


def test_a_retry_that_is_due_twice_is_our_bug() -> None:
    tasks = submitted(retries=1, push=False)
    with pytest.raises(AssertionError, match="WAITING_LEASE because of retry is due"):
        tasks.on_retry_due(T, 0)


# -- the rest ------------------------------------------------------------------------------------
def test_every_state_is_left_and_done_is_the_end() -> None:
    assert list(LEGAL) == list(Doing)
    assert LEGAL[Doing.DONE] == ()
    assert all(Doing.DONE in moves for state, moves in LEGAL.items() if state is not Doing.DONE)


@pytest.mark.parametrize("broken", ["missing", "unknown", "lease", "budget", "done"])
def test_check_tells_the_story_of_what_is_broken(broken: str) -> None:
    tasks = submitted(retries=1)
    entry = tasks.entries[T]
    if broken == "missing":
        entry.missing = {A: None}
    elif broken == "unknown":
        waiting = TaskTable()
        waiting.submit(spec("t", slots=[A, B]), [A, B], 0)
        waiting.missing_by[B].clear()
        tasks = waiting
    elif broken == "lease":
        entry.lease = None
    elif broken == "budget":
        entry.attempt = 2
    else:
        entry.doing.state = Doing.DONE
    with pytest.raises(AssertionError, match="task 742e2e2e"):
        tasks.check()
