"""What one step lets go, loses and needs again stays counted, and no run is for nothing."""

from __future__ import annotations

from tests.unit.core.names import WORKER, result, spec, task
from tests.unit.core.rebuild_bench import (
    FARTHER,
    LEASE,
    RebuildBench,
    again,
    entries,
    far,
    opened,
)
from zgen.core.cancel_words import CancelRequested
from zgen.ids import PUT_INDEX_FIRST, object_id
from zgen.wire.task import OUTCOME_VALUE, ArgumentsLost, Outcome, TasksDone
from zgen.wire.value import NONE, REASON_CANCELLED, FaultKind, NestedRef

A, B = result("a"), result("b")
PUT = object_id(task("root"), PUT_INDEX_FIRST)


def test_a_result_that_nobody_wants_any_more_is_let_go_once() -> None:
    bench = RebuildBench()
    bench.made(spec("a", retries=3), far(1))
    bench.put(PUT, b"put")
    bench.lose(A, far(1))
    bench.drop(A)
    inside = NestedRef(PUT, bench.process.session.identity.address)
    bench.ended("a", far(2, FARTHER, (inside,)), attempt=1)
    assert bench.owner.refs.records[PUT].pins == 0
    bench.drop(PUT)


def spent(bench: RebuildBench) -> None:
    """Let ``x`` take ``p`` and ``q``, of which only ``p`` may run again; ``x`` is referred to."""
    bench.made(spec("q", 2, retries=1), far(3, FARTHER), far(4, FARTHER))
    bench.made(spec("x", slots=[result("p"), result("q")], retries=3), far(5))
    bench.drop(result("p"), result("q"))
    bench.lose(result("q", 1), far(4, FARTHER), "its disk broke")
    bench.ended("q", NONE, b"small", attempt=1)


def test_no_argument_is_made_again_for_a_run_that_has_failed() -> None:
    bench = RebuildBench()
    bench.made(spec("p", retries=3), far(1))
    spent(bench)
    done = bench.lose(result("x"), far(5))
    assert [each.value.kind for each in opened(done)][-1] is FaultKind.ARGUMENT
    assert again(done) == []
    assert result("p") not in bench.owner.refs.records


def test_what_goes_in_the_step_in_which_its_sibling_is_lost_is_let_go() -> None:
    bench = RebuildBench()
    bench.made(spec("p", 2, retries=3), far(1), far(2))
    spent(bench)
    bench.open(result("x"))
    bench.open(result("p", 1))
    assert again(bench.not_held(far(5), far(2))) == [("p", 1, (1,))]


def test_what_is_let_go_and_needed_again_in_one_step_is_a_result_still() -> None:
    bench = RebuildBench()
    bench.made(spec("a", retries=3), far(1))
    bench.made(spec("b", 2, slots=[A], retries=3), far(2), far(3))
    bench.lose(B, far(2), "its disk broke")
    bench.lose(result("b", 1), far(3), "its disk broke")
    bench.drop(A)
    b = Outcome(task("b"), 1, OUTCOME_VALUE, 0, entries(far(4, FARTHER), NONE))
    assert again(bench.say(WORKER, TasksDone((b,)))) == [("a", 1, (0,))]
    for attempt in (1, 2):
        done = bench.ended("a", far(10 + attempt), attempt=attempt)
        assert again(done) == [("b", 2, (1,))]
        lost = ArgumentsLost(LEASE, task("b"), 2, ((0, far(10 + attempt).region),), "gone")
        assert again(bench.say(WORKER, lost)) == [("a", attempt + 1, (0,))]


def test_what_ended_though_it_was_cancelled_is_not_made_again() -> None:
    bench = RebuildBench()
    bench.submit(spec("a", retries=3))
    bench.step(CancelRequested(task("a"), False, False))
    bench.ended("a", far(1))
    assert bench.value(A) == far(1)
    (answer,) = opened(bench.lose(A, far(1)))
    assert answer.value.why == REASON_CANCELLED
