"""A stream that is past an item that was lost is stopped, and runs again; nobody waits long."""

from __future__ import annotations

import pytest

from tests.unit.core.names import NODE, WORKER, result, spec, stream_spec, task
from tests.unit.core.rebuild_bench import (
    FARTHER,
    LEASE,
    RebuildBench,
    again,
    entries,
    far,
    messages,
    opened,
    pushed_in,
)
from tests.unit.core.test_recovery_calls import CallsBench
from zgen.core.cancel_words import CancelRequested
from zgen.core.effects import Effect
from zgen.core.events import TakeItems
from zgen.ids import ObjectId, item_ids
from zgen.limits import LINE_TICK_NS, SECOND, STUBBORN_BODY_NS
from zgen.wire.lease import ProcessDown, ReturnLease
from zgen.wire.stream import CloseStream, ReportEnd, ReportItems
from zgen.wire.task import (
    OUTCOME_CANCELLED,
    OUTCOME_ERROR,
    OUTCOME_RETRY,
    OUTCOME_VALUE,
    OUTCOME_WITHDRAWN,
    STREAMING,
    CancelTask,
    TasksReturned,
)
from zgen.wire.value import REASON_BEHIND, REASON_NO_RETRIES, REASON_SPENT, Fault, FaultKind, Parcel

S = task("s")
ERROR = Parcel(b"ValueError", (), True)


def item(position: int) -> ObjectId:
    return item_ids(S, position, 1)[0]


def told_to_stop(effects: list[Effect]) -> list[object]:
    return [each for each in messages(effects) if isinstance(each, (CancelTask, CloseStream))]


class Bench(RebuildBench):
    """The owner of a stream that has yielded a large item and more, of which some were taken."""

    def __init__(self, retries: int = 3, taken: int = 1) -> None:
        super().__init__()
        self.submit(stream_spec("s", retries=retries))
        self.items("s", 0, far(1), b"small", far(2))
        self.step(TakeItems(S, taken))

    def over_and_again(self, count: int = 3, kind: int = OUTCOME_CANCELLED) -> list[Effect]:
        """Let the attempt end so, and the pause before the next one be over."""
        errors = (ERROR,) if kind in (OUTCOME_ERROR, OUTCOME_RETRY) else ()
        return self.over("s", count, *errors, kind=kind) + self.advance(SECOND)


def test_a_stream_that_is_past_an_item_is_stopped_when_that_is_lost() -> None:
    bench = Bench()
    assert told_to_stop(bench.lose(item(0), far(1))) == [CancelTask(S, 0, False, False)]
    (pushed,) = pushed_in(bench.over_and_again())
    assert (pushed.attempt, pushed.wanted, pushed.resume) == (1, (), 0)
    bench.items("s", 0, far(11, FARTHER), b"small", attempt=1)
    assert bench.value(item(0)) == far(11, FARTHER)
    assert bench.owner.tasks.entries[S].history == (
        "attempt 0: it was stopped, since an item of it was lost",
    )


@pytest.mark.parametrize("kind", [OUTCOME_CANCELLED, OUTCOME_ERROR, OUTCOME_RETRY])
def test_it_runs_again_however_it_was_stopped(kind: int) -> None:
    bench = Bench()
    bench.lose(item(0), far(1))
    assert [each.attempt for each in pushed_in(bench.over_and_again(kind=kind))] == [1]


def test_one_that_ended_before_it_heard_of_that_runs_for_what_was_lost_alone() -> None:
    bench = Bench()
    bench.lose(item(0), far(1))
    assert again(bench.over("s", 3)) == [("s", 1, (1, 3))]


def test_one_that_dropped_items_for_being_stopped_has_not_ended_well() -> None:
    bench = Bench()
    bench.lose(item(0), far(1))
    assert again(bench.over_and_again(count=4, kind=OUTCOME_VALUE)) == [("s", 1, ())]
    assert not any(bench.process.session.counts.values())


def test_it_is_stopped_once_for_all_that_is_lost() -> None:
    bench = Bench(taken=3)
    bench.step(TakeItems(S, 2))
    bench.lose(item(0), far(1), "its disk broke")
    assert told_to_stop(bench.lose(item(2), far(2), "its disk broke")) == []


def test_what_its_attempt_has_still_to_yield_is_waited_for() -> None:
    bench = Bench()
    bench.over_and_again(kind=OUTCOME_RETRY)
    assert told_to_stop(bench.lose(item(0), far(1))) == []
    bench.items("s", 0, far(11, FARTHER), attempt=1)
    assert bench.value(item(0)) == far(11, FARTHER)


def test_what_a_resumed_attempt_turns_out_to_have_passed_over_is_not() -> None:
    bench = Bench()
    bench.over_and_again(kind=OUTCOME_RETRY)
    bench.lose(item(0), far(1))
    done = bench.items("s", 3, b"more", attempt=1)
    assert told_to_stop(done) == [CancelTask(S, 1, False, False)]


def test_what_the_last_attempt_has_passed_over_is_named_as_soon_as_that_is_known() -> None:
    bench = Bench(retries=1)
    bench.over_and_again(kind=OUTCOME_RETRY)
    assert opened(bench.lose(item(0), far(1))) == []
    done = bench.items("s", 3, b"more", attempt=1)
    assert [each.value.why for each in opened(done)] == [REASON_SPENT]
    assert told_to_stop(done) == []


def test_what_the_last_attempt_has_not_come_to_yet_is_not_given_up() -> None:
    bench = RebuildBench()
    bench.submit(stream_spec("s", retries=1))
    bench.items("s", 0, b"small", b"small", far(2))
    bench.step(TakeItems(S, 3))
    bench.over("s", 3, ERROR, kind=OUTCOME_RETRY)
    bench.advance(SECOND)
    assert opened(bench.lose(item(2), far(2))) == []
    assert opened(bench.items("s", 1, b"small", attempt=1)) == []
    bench.items("s", 2, far(12, FARTHER), attempt=1)
    assert bench.value(item(2)) == far(12, FARTHER)


def test_what_the_last_attempt_of_a_cancelled_stream_has_passed_over_waits_for_its_end() -> None:
    bench = Bench(retries=1)
    bench.over_and_again(kind=OUTCOME_RETRY)
    bench.lose(item(0), far(1))
    bench.step(CancelRequested(S, False, False))
    assert opened(bench.items("s", 3, b"more", attempt=1)) == []


def test_the_last_attempt_of_a_stream_may_pass_over_what_is_lost_for_nobody() -> None:
    bench = Bench(retries=1)
    bench.over_and_again(kind=OUTCOME_RETRY)
    bench.lose(item(0), far(1))
    bench.drop(item(0))
    bench.items("s", 3, b"more", attempt=1)
    assert not bench.owner.refs.records.keys() & {item(0)}
    assert S in bench.owner.tasks.entries


def test_one_that_waits_to_run_again_goes_back_to_what_was_lost() -> None:
    bench = Bench(retries=1)
    bench.over("s", 3, ERROR, kind=OUTCOME_RETRY)
    assert told_to_stop(bench.lose(item(0), far(1))) == []
    assert [each.resume for each in pushed_in(bench.advance(SECOND))] == [0]


@pytest.mark.parametrize(("retries", "why"), [(0, REASON_NO_RETRIES), (1, REASON_SPENT)])
def test_what_may_not_run_again_is_named_at_once(retries: int, why: str) -> None:
    bench = Bench(retries)
    if retries:
        bench.over_and_again(kind=OUTCOME_RETRY)
        bench.items("s", 0, b"0", attempt=1)
    done = bench.lose(item(0), far(1))
    assert [each.value.why for each in opened(done)] == [why]
    assert told_to_stop(done) == []


def test_a_user_who_cancels_it_meanwhile_has_it_cancelled() -> None:
    bench = Bench()
    bench.lose(item(0), far(1))
    bench.step(CancelRequested(S, False, False))
    done = bench.over("s", 5, kind=OUTCOME_VALUE)
    assert [each.value.kind for each in opened(done)] == [FaultKind.CANCELLED]
    assert S not in bench.owner.tasks.entries
    assert pushed_in(bench.advance(SECOND)) == []


def test_what_a_cancelled_stream_lost_waits_for_its_end() -> None:
    bench = Bench()
    bench.step(CancelRequested(S, False, False))
    assert told_to_stop(bench.lose(item(0), far(1))) == []
    assert bench.value(item(0)) is None
    (answer,) = opened(bench.over("s", 3, kind=OUTCOME_CANCELLED))
    assert isinstance(answer.value, Fault)


# -- bodies that do not stop -----------------------------------------------------------------------
def test_a_worker_whose_body_goes_on_is_killed() -> None:
    bench = Bench()
    bench.lose(item(0), far(1))
    done = bench.advance(STUBBORN_BODY_NS)
    assert ReturnLease(LEASE, False) in messages(done)
    bench.say(NODE, ProcessDown(WORKER, 1, 42, -1, 9, "", LEASE, 1))
    bench.quiet()
    assert bench.owner.tasks.entries[S].attempt == 1


def test_the_worker_of_the_next_attempt_is_left_alone() -> None:
    bench = Bench()
    bench.lose(item(0), far(1))
    bench.over_and_again()
    assert ReturnLease(LEASE, False) not in messages(bench.advance(STUBBORN_BODY_NS))


def test_nobody_is_killed_for_a_stream_that_has_ended() -> None:
    bench = Bench()
    bench.lose(item(0), far(1))
    bench.step(CancelRequested(S, False, False))
    bench.over("s", 3, kind=OUTCOME_CANCELLED)
    assert ReturnLease(LEASE, False) not in messages(bench.advance(STUBBORN_BODY_NS))


# -- streams that nobody reads ---------------------------------------------------------------------
def test_a_stream_without_a_handle_runs_again_until_it_has_filled_in_what_was_lost() -> None:
    bench = Bench()
    bench.drop(streams=(S,))
    assert told_to_stop(bench.lose(item(0), far(1))) == [CancelTask(S, 0, False, False)]
    assert told_to_stop(bench.over_and_again()) == [], "it is to report"
    done = bench.items("s", 0, far(11, FARTHER), far(12, FARTHER), attempt=1)
    assert bench.value(item(0)) == far(11, FARTHER)
    assert told_to_stop(done) == [CloseStream(S, 1)]
    assert told_to_stop(bench.items("s", 2, b"late", attempt=1)) == []
    bench.over("s", 9, attempt=1)
    bench.held(far(11, FARTHER))
    bench.drop(item(0))
    bench.drop_views(far(11, FARTHER))
    assert bench.is_empty()


def test_a_handle_that_goes_while_an_item_is_awaited_ends_nothing() -> None:
    bench = Bench()
    bench.over("s", 3, ERROR, kind=OUTCOME_RETRY)
    bench.lose(item(0), far(1))
    bench.drop(streams=(S,))
    assert told_to_stop(bench.advance(SECOND)) == []
    bench.items("s", 0, far(11, FARTHER), attempt=1)
    assert bench.value(item(0)) == far(11, FARTHER)


def stopped_in_a_queue() -> RebuildBench:
    """Return a bench whose closed stream was pushed again, and lost an item before it began."""
    bench = Bench()
    bench.over_and_again(kind=OUTCOME_RETRY)
    bench.drop(streams=(S,))
    assert told_to_stop(bench.lose(item(0), far(1))) == [CancelTask(S, 1, False, False)]
    return bench


def test_what_had_not_begun_begins_at_its_first_item() -> None:
    bench = stopped_in_a_queue()
    (pushed,) = pushed_in(bench.over("s", 0, attempt=1, kind=OUTCOME_WITHDRAWN))
    assert (pushed.attempt, pushed.resume) == (1, 0)
    bench.items("s", 0, far(11, FARTHER), attempt=1)
    assert bench.value(item(0)) == far(11, FARTHER)


def test_what_was_handed_back_does_so_too() -> None:
    bench = stopped_in_a_queue()
    (pushed,) = pushed_in(bench.say(WORKER, TasksReturned(LEASE, ((S, 1),))))
    assert (pushed.attempt, pushed.resume) == (1, 0)
    assert told_to_stop(bench.items("s", 0, far(11, FARTHER), attempt=1)) == [CloseStream(S, 1)]


# -- arguments -------------------------------------------------------------------------------------
def test_an_item_that_a_task_needs_again_stops_the_stream_that_runs() -> None:
    bench = Bench()
    bench.owner.placement.leases.pools[stream_spec("s").shape].depth = 2
    bench.submit(spec("x", slots=[item(0)], retries=3))
    bench.advance(LINE_TICK_NS)
    bench.ended("x", far(5))
    bench.drop(item(0))
    done = bench.lose(result("x"), far(5))
    assert told_to_stop(done) == [CancelTask(S, 0, False, False)]
    bench.over_and_again()
    bench.items("s", 0, far(11, FARTHER), attempt=1)
    assert bench.owner.refs.value_of(item(0)) == far(11, FARTHER)


# -- generators of actors --------------------------------------------------------------------------
def actor_stream() -> CallsBench:
    """Return an actor whose generator has yielded a large item, which was taken."""
    bench = CallsBench()
    bench.alive()
    bench.call("s", retries=1, returns=STREAMING)
    bench.hear(WORKER, ReportItems(S, 0, 0, entries(far(1), b"small")))
    bench.owner.take(TakeItems(S, 1), bench.now_ns, [])
    return bench


def lose_item(bench: CallsBench, request: int = 1) -> list[Effect]:
    out: list[Effect] = []
    bench.store.regions.lost_views.append((request, item(0), far(1).region, "gone"))
    bench.owner.recovery.on_views_lost(bench.now_ns, out)
    return out


def test_the_generator_of_an_actor_is_closed_at_its_next_yield_and_runs_again() -> None:
    bench = actor_stream()
    assert told_to_stop(lose_item(bench)) == [CloseStream(S, 0, True)]
    bench.hear(WORKER, ReportEnd(S, 0, 7, OUTCOME_CANCELLED, 0, ()))
    done = bench.advance(SECOND)
    assert [(each.attempt, each.resume) for each in pushed_in(done)] == [(1, 0)]
    bench.hear(WORKER, ReportItems(S, 1, 0, entries(b"small")))
    assert bench.value(item(0)) == b"small"


def test_an_actor_that_reads_what_its_own_stopped_generator_lost_hears_so() -> None:
    bench = actor_stream()
    lose_item(bench)
    bench.owner.borrowing.me = WORKER
    (answer,) = opened(lose_item(bench, 2))
    assert answer.value.why == REASON_BEHIND
