import pytest

from tests.unit.node.fakes import DRIVER, JOB, NODE, job, lease
from zgen.core.effects import Effect
from zgen.core.node_effects import KillWorker, SpawnWorker
from zgen.ids import derive_worker_id
from zgen.limits import WORKER_IDLE_NS, WORKER_START_NS, WORKERS_COUNT_MAX
from zgen_node.core.worker_pool import WorkerDue, WorkerPool, WorkerState

OTHER = job("other")
FIRST, SECOND, THIRD = (derive_worker_id(NODE, index) for index in (1, 2, 3))


def pool_with(ready: int) -> WorkerPool:
    pool = WorkerPool(NODE)
    for index in range(1, ready + 1):
        pool.spawn(JOB, 0, [])
        worker = pool.get(derive_worker_id(NODE, index))
        assert worker is not None
        assert pool.ready(worker, 100 + index, index)
    pool.check()
    return pool


def test_a_worker_is_named_before_it_is_forked() -> None:
    pool = WorkerPool(NODE)
    out: list[Effect] = []
    pool.spawn(JOB, 0, out)
    pool.spawn(OTHER, 0, out)
    pool.check()
    assert out == [SpawnWorker(FIRST, JOB), SpawnWorker(SECOND, OTHER)]
    assert pool.starting_count(JOB) == 1
    assert pool.idle(JOB, DRIVER) is None


def test_the_fork_knows_the_process_id_better_than_the_worker() -> None:
    pool = WorkerPool(NODE)
    pool.spawn(JOB, 0, [])
    worker = pool.all()[0]
    pool.note_pid(FIRST, 5)
    assert pool.ready(worker, 6, 1)
    assert worker.pid == 5


def test_a_worker_that_is_ready_before_its_fork_is_reported_tells_its_process_id() -> None:
    pool = pool_with(1)
    assert pool.all()[0].pid == 101


def test_the_fork_of_a_dead_or_unknown_worker_changes_nothing() -> None:
    pool = pool_with(1)
    worker = pool.all()[0]
    pool.exited(worker, 2)
    pool.note_pid(FIRST, 9)
    pool.note_pid(SECOND, 9)
    assert worker.pid == 101


def test_the_worker_that_worked_last_is_used_first() -> None:
    pool = pool_with(2)
    latest = pool.idle(JOB, DRIVER)
    assert latest is not None
    assert latest.worker == SECOND
    first = pool.get(FIRST)
    assert first is not None
    pool.lease(first, lease("a"), 5)
    pool.release(first, True, "returned", 6, [])
    pool.check()
    assert pool.idle(JOB, DRIVER) is first


def test_a_leased_worker_is_not_idle() -> None:
    pool = pool_with(1)
    worker = pool.idle(JOB, DRIVER)
    assert worker is not None
    pool.lease(worker, lease("a"), 5)
    pool.check()
    assert worker.state is WorkerState.LEASED
    assert worker.lease == lease("a")
    assert pool.idle(JOB, DRIVER) is None


def test_a_worker_that_must_not_serve_again_is_killed_once() -> None:
    pool = pool_with(1)
    worker = pool.all()[0]
    pool.lease(worker, lease("a"), 5)
    out: list[Effect] = []
    pool.release(worker, False, "not reusable", 6, out)
    pool.kill(worker, "again", out)
    pool.check()
    assert out == [KillWorker(FIRST)]
    assert worker.lease is None
    assert worker.ending == "not reusable"
    assert pool.of_job(JOB) == []
    assert pool.ending_count() == 1


def test_an_ending_worker_that_comes_back_is_not_used() -> None:
    pool = pool_with(1)
    worker = pool.all()[0]
    pool.lease(worker, lease("a"), 5)
    pool.kill(worker, "left", [])
    pool.release(worker, True, "returned", 6, [])
    pool.check()
    assert pool.idle(JOB, DRIVER) is None


def test_an_ending_worker_that_says_it_is_ready_is_not_believed() -> None:
    pool = WorkerPool(NODE)
    pool.spawn(JOB, 0, [])
    worker = pool.all()[0]
    pool.kill(worker, "job over", [])
    assert not pool.ready(worker, 5, 1)
    pool.check()
    assert pool.idle(JOB, DRIVER) is None


def test_a_worker_says_once_that_it_is_ready() -> None:
    pool = pool_with(1)
    assert not pool.ready(pool.all()[0], 5, 9)


def test_a_worker_that_is_late_to_start_is_killed_and_failed() -> None:
    pool = WorkerPool(NODE)
    pool.spawn(JOB, 0, [])
    worker = pool.all()[0]
    out: list[Effect] = []
    assert pool.on_timer(WORKER_START_NS - 1, out) == []
    assert out == []
    assert pool.on_timer(WORKER_START_NS, out) == []
    assert out == [KillWorker(FIRST)]
    pool.check()
    assert pool.exited(worker, WORKER_START_NS + 1)


def test_a_start_that_was_called_off_did_not_fail() -> None:
    pool = WorkerPool(NODE)
    pool.spawn(JOB, 0, [])
    worker = pool.all()[0]
    pool.kill(worker, "job over", [])
    assert not pool.exited(worker, 1)


def test_a_start_that_dies_has_failed_and_a_ready_worker_that_dies_has_not() -> None:
    pool = pool_with(1)
    pool.spawn(JOB, 0, [])
    ready, starting = pool.all()
    assert not pool.exited(ready, 1)
    assert pool.exited(starting, 1)
    pool.check()
    assert pool.idle(JOB, DRIVER) is None


def test_a_dead_worker_is_kept_until_it_is_buried() -> None:
    pool = pool_with(1)
    worker = pool.all()[0]
    pool.lease(worker, lease("a"), 5)
    pool.exited(worker, 6)
    out: list[Effect] = []
    pool.kill(worker, "late", out)
    pool.check()
    assert out == []
    assert worker.lease is None
    assert pool.get(FIRST) is worker
    pool.bury(FIRST)
    assert pool.get(FIRST) is None


def test_a_worker_that_idles_long_is_named_once() -> None:
    pool = pool_with(1)
    worker = pool.all()[0]
    assert pool.on_timer(WORKER_IDLE_NS, []) == []
    assert pool.on_timer(1 + WORKER_IDLE_NS, []) == [worker]
    assert pool.deadlines.next_ns is None
    pool.keep(worker, 2 * WORKER_IDLE_NS)
    assert pool.on_timer(3 * WORKER_IDLE_NS, []) == [worker]


def test_the_idle_workers_of_others_are_named_longest_idle_first() -> None:
    pool = pool_with(2)
    pool.spawn(OTHER, 0, [])
    other = pool.get(THIRD)
    assert other is not None
    pool.ready(other, 5, 9)
    assert [worker.worker for worker in pool.idle_of_others(OTHER)] == [FIRST, SECOND]
    assert pool.idle_of_others(JOB) == [other]


def test_the_pool_is_full_until_a_worker_is_dead() -> None:
    pool = pool_with(WORKERS_COUNT_MAX)
    assert pool.full
    with pytest.raises(AssertionError):
        pool.spawn(JOB, 0, [])
    worker = pool.all()[0]
    pool.kill(worker, "room", [])
    assert pool.full
    pool.exited(worker, 1)
    assert not pool.full


def test_an_illegal_move_tells_the_story() -> None:
    pool = pool_with(1)
    worker = pool.all()[0]
    with pytest.raises(AssertionError, match=r"IDLE -> IDLE because of wrong\n.*ready"):
        pool.release(worker, True, "wrong", 9, [])


def test_a_lost_deadline_is_found_by_the_check() -> None:
    pool = WorkerPool(NODE)
    pool.spawn(JOB, 0, [])
    pool.deadlines.clear((FIRST, WorkerDue.START))
    with pytest.raises(AssertionError):
        pool.check()
