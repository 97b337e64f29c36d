"""The queue of one worker: order, one at a time, what goes back."""

from __future__ import annotations

import pytest

from tests.unit.core.names import ME, lease, peer, pushed, task
from zgen.core.admission import Admission, Waiting
from zgen.ids import PeerId
from zgen.limits import CROWD_COUNT, LINE_BUSY_NS, LINE_TICK_NS

L, M = lease("l"), lease("m")
OTHER = peer("other")


def waiting(name: str, push: int = 0, owner: bytes = ME, under: bytes = L) -> Waiting:
    return Waiting(owner, under, push, pushed(name), b"args", ())  # type: ignore[arg-type]  # ids


def queued(*names: str) -> Admission:
    """An admission that runs the first of these."""
    admission = Admission()
    admission.push([waiting(name, push) for push, name in enumerate(names)])
    assert admission.start_next(7) is not None
    admission.check()
    return admission


def test_tasks_start_one_by_one_in_the_order_of_their_pushes() -> None:
    admission = queued("a", "b")
    assert admission.running == waiting("a")
    assert admission.started_ns == 7
    assert admission.start_next(8) is None
    assert admission.end(task("a"), 0) == waiting("a")
    assert admission.start_next(9) == waiting("b", 1)
    assert admission.started_ns == 9
    assert admission.end(task("b"), 0) == waiting("b", 1)
    assert admission.start_next(10) is None


def test_an_end_waits_for_the_next_one_if_there_is_one_and_for_longer_in_a_crowd() -> None:
    admission = queued(*[str(number) for number in range(CROWD_COUNT + 1)])
    assert admission.patience_ns == LINE_TICK_NS
    admission.queue.pop()
    assert admission.patience_ns == LINE_BUSY_NS
    admission.queue.clear()
    assert admission.patience_ns == 0


@pytest.mark.parametrize(("name", "attempt"), [("b", 0), ("a", 1)])
def test_the_end_of_a_task_that_does_not_run_is_none(name: str, attempt: int) -> None:
    admission = queued("a", "b")
    assert admission.end(task(name), attempt) is None
    assert admission.running is not None


def test_nothing_ends_while_nothing_runs() -> None:
    assert Admission().end(task("a"), 0) is None


@pytest.mark.parametrize("why", ["blocked", "long"])
def test_what_waits_behind_a_blocked_or_long_task_goes_back(why: str) -> None:
    admission = queued("a", "b")
    admission.push([waiting("c", 0, OTHER, M), waiting("d", 2)])
    assert admission.hand_back() == []
    setattr(admission, why, True)
    back = admission.hand_back()
    assert back == [waiting("b", 1), waiting("c", 0, OTHER, M), waiting("d", 2)]
    assert not admission.queue
    admission.check()
    admission.end(task("a"), 0)
    assert (admission.blocked, admission.long) == (False, False)


def test_an_idle_worker_hands_nothing_back() -> None:
    admission = Admission()
    admission.blocked = True
    assert admission.hand_back() == []


def test_a_push_is_stale_until_its_owner_has_heard_of_every_hand_back() -> None:
    admission = Admission()
    assert not admission.is_stale(L, 0)
    admission.note_return(L)
    admission.note_return(L)
    assert [admission.is_stale(L, seen) for seen in range(4)] == [True, True, False, False]
    assert not admission.is_stale(M, 0)
    admission.note_return(M)
    assert [admission.is_stale(M, seen) for seen in range(2)] == [True, False]


def test_the_queue_of_a_dead_owner_goes_and_that_of_others_stays() -> None:
    admission = queued("a", "b")
    admission.push([waiting("c", 0, OTHER, M)])
    admission.drop_owner(ME)
    assert list(admission.queue) == [waiting("c", 0, OTHER, M)]
    assert admission.running == waiting("a")


@pytest.mark.parametrize(
    ("owner", "name", "attempt"), [(OTHER, "b", 0), (ME, "c", 0), (ME, "b", 1)]
)
def test_only_its_owner_closes_a_queued_stream_and_only_this_attempt(
    owner: PeerId, name: str, attempt: int
) -> None:
    admission = queued("a", "b")
    admission.close(owner, task(name), attempt)
    admission.end(task("a"), 0)
    started = admission.start_next(8)
    assert started is not None
    assert not started.closed


def test_a_queued_stream_that_was_closed_twice_starts_closed() -> None:
    admission = queued("a", "b")
    for _ in range(2):
        admission.close(ME, task("b"), 0)
    admission.end(task("a"), 0)
    started = admission.start_next(8)
    assert started is not None
    assert started.closed


def test_check_finds_idleness_beside_work_and_work_behind_a_blocked_task() -> None:
    admission = Admission()
    admission.push([waiting("a")])
    with pytest.raises(AssertionError, match="idle while"):
        admission.check()
    admission = queued("a", "b")
    admission.blocked = True
    with pytest.raises(AssertionError, match="behind one that blocks"):
        admission.check()
