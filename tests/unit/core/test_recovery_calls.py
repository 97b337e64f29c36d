"""Lost results of calls: made again by their actors, or named as what these cannot make."""

from __future__ import annotations

from tests.unit.core.actor_bench import ACTOR, HANDLE, ActorBench, calls_in
from tests.unit.core.names import WORKER, result, task
from tests.unit.core.rebuild_bench import (
    entries,
    far,
    opened,
)
from zgen.core.effects import Effect
from zgen.core.store_effects import ValueInstead
from zgen.core.task_table import Doing
from zgen.ids import LeaseId
from zgen.wire.task import ArgumentsLost, Outcome, TasksDone
from zgen.wire.value import (
    REASON_BEHIND,
    REASON_NO_ACTOR,
    REASON_NO_RETRIES,
)

A = result("a")


class CallsBench(ActorBench):
    """One that lets go of what each step drops, as a process does."""

    def _checked(self, out: list[Effect]) -> list[Effect]:
        self.store.settle(out)
        return super()._checked(out)


def calling() -> CallsBench:
    bench = CallsBench()
    bench.alive()
    bench.call("a", retries=3)
    bench.hear(WORKER, TasksDone((Outcome(task("a"), 0, 0, 0, entries(far(1))),)))
    return bench


def lose(bench: CallsBench, request: int, reason: str = "gone") -> list[Effect]:
    out: list[Effect] = []
    bench.store.regions.lost_views.append((request, A, far(1).region, reason))
    bench.owner.recovery.on_views_lost(bench.now_ns, out)
    return out


def test_a_call_that_may_be_repeated_is_made_again() -> None:
    bench = calling()
    assert calls_in(lose(bench, 1)) == [(WORKER, 1, ["a"])]
    assert bench.owner.actors.pending_count(ACTOR) == 1
    done = bench.hear(WORKER, TasksDone((Outcome(task("a"), 1, 0, 0, (b"small",)),)))
    assert opened(done) == [ValueInstead(1, b"small")]


def test_a_call_of_a_dead_actor_is_not_made_again() -> None:
    bench = calling()
    bench.kill()
    (answer,) = opened(lose(bench, 1))
    assert answer.value.why == REASON_NO_ACTOR
    bench.let_go(HANDLE)


def test_an_actor_that_reads_what_only_it_can_make_again_hears_so() -> None:
    bench = calling()
    elsewhere, bench.owner.borrowing.me = bench.owner.borrowing.me, WORKER
    (answer,) = opened(lose(bench, 1))
    assert answer.value.why == REASON_BEHIND
    assert bench.owner.actors.pending_count(ACTOR) == 0
    bench.owner.borrowing.me = elsewhere
    assert calls_in(lose(bench, 2)) == [(WORKER, 1, ["a"])], "it can be read elsewhere"
    bench.owner.borrowing.me = WORKER
    (answer,) = opened(lose(bench, 3))
    assert answer.value.why == REASON_BEHIND, "it queues behind the reader"
    bench.owner.borrowing.me = elsewhere
    done = bench.hear(WORKER, TasksDone((Outcome(task("a"), 1, 0, 0, (b"small",)),)))
    assert opened(done) == [ValueInstead(2, b"small")]
    bench.owner.borrowing.me = WORKER
    assert opened(lose(bench, 4)) == [ValueInstead(4, b"small")]


def test_an_actor_is_told_the_truth_of_what_nothing_can_make_again() -> None:
    bench = CallsBench()
    bench.alive()
    bench.call("a", retries=0)
    bench.hear(WORKER, TasksDone((Outcome(task("a"), 0, 0, 0, entries(far(1))),)))
    bench.owner.borrowing.me = WORKER
    (answer,) = opened(lose(bench, 1))
    assert answer.value.why == REASON_NO_RETRIES


def test_a_call_whose_argument_is_gone_goes_back_and_waits() -> None:
    bench = calling()
    bench.call("b", slots=(A,))
    lost = ArgumentsLost(LeaseId(ACTOR), task("b"), 0, ((0, far(1).region),), "gone")
    assert calls_in(bench.hear(WORKER, lost)) == [(WORKER, 2, ["a"])]
    assert bench.state("b") is Doing.WAITING_ARGS
    done = bench.hear(WORKER, TasksDone((Outcome(task("a"), 1, 0, 0, (b"small",)),)))
    assert calls_in(done) == [(WORKER, 3, ["b"])]
