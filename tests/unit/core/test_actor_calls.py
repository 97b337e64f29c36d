"""Actors as a caller knows them, and its calls in order."""

from __future__ import annotations

import pytest

from tests.unit.core.names import NODE, OTHER_WORKER, WORKER, address, task
from zgen.core.actor_calls import ActorCalls, Reach
from zgen.core.actor_verdict import Verdict
from zgen.ids import ActorId
from zgen.limits import BATCH_COUNT_MAX, CROWD_COUNT, LINE_BUSY_NS, LINE_TICK_NS
from zgen.wire.actor import ActorAt

ACTOR = ActorId(task("actor"))
A, B, C = task("a"), task("b"), task("c")
NOW = 10 * LINE_BUSY_NS


def at(life: int = 0, worker: str = "worker", *, in_order: bool = True) -> ActorAt:
    return ActorAt(ACTOR, life, address(worker), in_order)


class Caller(ActorCalls):
    """Calls one actor."""

    def __init__(self) -> None:
        super().__init__()
        self.target(ACTOR, address("creator"))

    def call(self, *calls: bytes) -> Caller:
        for call in calls:
            self.add(self.targets[ACTOR], task(call.decode().rstrip(".")))
            self.is_ready(self.targets[ACTOR], task(call.decode().rstrip(".")))
        return self

    def leave(self) -> tuple[int, list[bytes]]:
        first, calls = self.take(ACTOR, NOW)
        self.check()
        return first, list(calls)


def test_calls_wait_until_the_actor_is_somewhere_and_leave_in_order() -> None:
    caller = Caller().call(A, B)
    assert caller.leave() == (0, [])
    assert caller.found(at())
    assert caller.leave() == (0, [A, B])
    assert caller.call(C).leave() == (2, [C])
    assert caller.leave() == (3, [])


def test_a_call_that_misses_arguments_holds_back_later_ones_only_where_order_is_kept() -> None:
    caller = Caller()
    caller.add(caller.targets[ACTOR], A)
    caller.call(B).found(at())
    assert caller.leave() == (0, [])
    caller = Caller()
    caller.add(caller.targets[ACTOR], A)
    caller.call(B).found(at(in_order=False))
    assert caller.leave() == (0, [B])
    caller.is_ready(caller.targets[ACTOR], A)
    assert caller.leave() == (1, [A])


def test_a_batch_has_a_bound() -> None:
    caller = Caller()
    for index in range(BATCH_COUNT_MAX + 1):
        caller.call(task(str(index)))
    caller.found(at())
    assert len(caller.leave()[1]) == BATCH_COUNT_MAX
    assert len(caller.leave()[1]) == 1


def test_calls_that_leave_once_more_go_before_those_that_may_wait_for_them() -> None:
    caller = Caller().call(A, B)
    caller.found(at())
    caller.leave()
    target = caller.targets[ACTOR]
    caller.add(target, C)  # it waits for what the others give
    caller.call(task("d"))
    assert caller.leave() == (2, [])
    target.in_flight.clear()
    for again in (A, B):
        caller.is_ready(target, again)
    assert caller.leave() == (2, [A, B])
    target.in_flight.clear()
    many = [task(str(index)) for index in range(BATCH_COUNT_MAX)]
    target.pending += len(many)
    for again in (*many, A):
        caller.is_ready(target, again)
    assert caller.leave() == (4, many)
    caller.forget(ACTOR, A)
    caller.is_ready(target, C)
    assert caller.leave() == (4 + BATCH_COUNT_MAX, [C, task("d")])


def test_a_line_is_busy_while_calls_are_on_their_way_and_some_left_a_moment_ago() -> None:
    caller = Caller().call(A)
    caller.found(at())
    target = caller.targets[ACTOR]
    assert not target.is_busy(NOW)
    caller.leave()
    assert target.is_busy(NOW + LINE_BUSY_NS - 1)
    assert not target.is_busy(NOW + LINE_BUSY_NS)
    caller.forget(ACTOR, A)
    assert not target.is_busy(NOW)


def test_where_many_calls_are_on_their_way_a_line_is_busy_for_longer() -> None:
    caller = Caller()
    for index in range(CROWD_COUNT):
        caller.call(task(str(index)))
    caller.found(at())
    caller.leave()
    target = caller.targets[ACTOR]
    assert target.is_busy(NOW + LINE_TICK_NS - 1)
    assert not target.is_busy(NOW + LINE_TICK_NS)
    caller.forget(ACTOR, task("0"))
    assert not target.is_busy(NOW + LINE_BUSY_NS)


def test_a_target_is_made_once_and_dropped_with_its_last_call() -> None:
    caller = Caller().call(A)
    assert not caller.target(ACTOR, address("creator"))[1]
    with pytest.raises(AssertionError, match="has calls"):
        caller.drop(ACTOR)
    caller.target(ACTOR, address("creator"))
    caller = Caller()
    assert caller.drop(ACTOR) is not None
    assert caller.drop(ACTOR) is None


def test_word_of_an_unknown_actor_or_of_an_older_life_changes_nothing() -> None:
    caller = ActorCalls()
    assert not caller.found(at())
    assert not caller.judged(ACTOR, Verdict(0, True, "dead"))
    known = Caller()
    assert known.found(at(1))
    assert not known.found(at(1))
    assert not known.judged(ACTOR, Verdict(0, True, "old"))
    assert known.judged(ACTOR, Verdict(1, True, "dead"))
    known.decide(ACTOR)
    assert not known.judged(ACTOR, Verdict(1, True, "again"))
    assert not known.found(at(2))


def test_calls_in_flight_are_decided_on_after_verdict_and_quiet_line_in_either_order() -> None:
    for verdict_first in (True, False):
        caller = Caller().call(A, B)
        caller.found(at())
        caller.leave()
        verdict = Verdict(0, False, "died")
        if verdict_first:
            assert not caller.judged(ACTOR, verdict)
            assert caller.on_down(WORKER) == [ACTOR]
        else:
            assert caller.on_down(WORKER) == [ACTOR]
            assert caller.judged(ACTOR, verdict)
        assert caller.on_down(WORKER) == []
        assert caller.targets[ACTOR].is_decidable
        caller.targets[ACTOR].unsent = 1
        assert caller.decide(ACTOR) == (verdict, [(A, True), (B, False)])
        assert caller.targets[ACTOR].reach is Reach.UNKNOWN


def test_the_next_life_counts_only_after_the_last_one_was_decided_on() -> None:
    caller = Caller().call(A)
    caller.found(at())
    caller.leave()
    caller.judged(ACTOR, Verdict(0, False, "died"))
    assert not caller.found(at(1, "other worker"))
    assert caller.targets[ACTOR].next == at(1, "other worker")
    caller.check()
    assert caller.on_down(OTHER_WORKER) == []
    assert caller.targets[ACTOR].next is None, "that life is over as well"


def test_what_is_put_back_stands_before_what_never_left() -> None:
    caller = Caller().call(A, B, C)
    caller.found(at())
    caller.take(ACTOR, NOW)
    caller.call(task("d"))
    caller.judged(ACTOR, Verdict(0, False, "died"))
    caller.on_down(WORKER)
    caller.decide(ACTOR)
    caller.put_back(ACTOR, [A, C])
    caller.found(at(1))
    assert caller.leave() == (0, [A, C, task("d")])
    assert caller.forget(ACTOR, B).pending == 3


def test_the_actors_of_a_creator_are_those_that_may_live() -> None:
    caller = Caller()
    creator = address("creator").peer
    assert caller.created_by(creator) == [ACTOR]
    assert caller.created_by(NODE) == []
    caller.judged(ACTOR, Verdict(-1, True, "dead"))
    caller.decide(ACTOR)
    assert caller.created_by(creator) == []
