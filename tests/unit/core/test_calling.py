"""Calls of actors: where they go, and what deaths do to them."""

from __future__ import annotations

import pytest

from tests.unit.core.actor_bench import (
    ACTOR,
    CREATOR,
    HANDLE,
    ActorBench,
    at,
    calls_in,
    lost,
)
from tests.unit.core.bench import error, outcome, retriable
from tests.unit.core.names import NODE, OTHER_WORKER, WORKER, peer, result, spec, task
from zgen.core.effects import Effect, Send, StreamAdvanced
from zgen.exceptions import RemoteProtocolError
from zgen.ids import LeaseId
from zgen.limits import ACTOR_UNUSED_NS, BATCH_COUNT_MAX, LINE_TICK_NS, SECOND
from zgen.wire.actor import ActorSettings, UnwatchActor, WatchActor
from zgen.wire.object import WatchProcess
from zgen.wire.stream import CloseStream
from zgen.wire.task import STREAMING
from zgen.wire.value import FaultKind

CREATOR_ID = CREATOR.peer
ASKED = [Send(CREATOR_ID, WatchActor(ACTOR)), Send(NODE, WatchProcess(CREATOR_ID, 1))]
WATCHED = Send(NODE, WatchProcess(WORKER, 1))


def test_who_calls_an_actor_of_another_process_asks_its_creator_and_watches_both() -> None:
    bench = ActorBench()
    assert bench.call("a", CREATOR) == ASKED
    assert bench.call("b", CREATOR) == []
    done = bench.hear(CREATOR_ID, at())
    assert done[0] == WATCHED
    assert bench.owner.actors.calling.worker_of(ACTOR) == WORKER
    assert calls_in(done) == [(WORKER, 0, ["a", "b"])]
    assert bench.owner.actors.pending_count(ACTOR) == 2
    assert bench.hear(CREATOR_ID, at()) == [WATCHED], "said again"


def test_more_calls_than_a_message_takes_leave_in_several() -> None:
    bench = ActorBench()
    for number in range(BATCH_COUNT_MAX + 1):
        bench.call(str(number), CREATOR)
    pushed = calls_in(bench.hear(CREATOR_ID, at()))
    assert [(first, len(names)) for _, first, names in pushed] == [
        (0, BATCH_COUNT_MAX),
        (BATCH_COUNT_MAX, 1),
    ]


def test_word_of_an_actor_by_a_stranger_is_refused_and_of_an_unknown_one_ignored() -> None:
    bench = ActorBench().remote("a")
    for message in (at(1), lost()):
        with pytest.raises(RemoteProtocolError, match="stranger"):
            bench.hear(peer("stranger"), message)
    fresh = ActorBench()
    assert fresh.hear(CREATOR_ID, at()) == []
    assert fresh.hear(CREATOR_ID, lost()) == []
    assert fresh.owner.actors.pending_count(ACTOR) == 0


def test_a_call_waits_for_its_arguments_and_holds_back_those_behind_it() -> None:
    bench = ActorBench().remote()
    bench.call("first", CREATOR)
    bench.hear(CREATOR_ID, at())
    bench.submit(spec("f"))
    bench.call("a", CREATOR, slots=(result("f"),))
    assert bench.call("b", CREATOR) == []
    bench.advance(SECOND)
    bench.grant()
    done = bench.done(outcome("f", b"value"))
    assert calls_in(done) == [(WORKER, 1, ["a", "b"])]


def test_calls_keep_each_other_company_for_a_moment() -> None:
    bench = ActorBench().remote("a")
    assert calls_in(bench.call("b", CREATOR)) == []
    assert calls_in(bench.call("c", CREATOR)) == []
    assert calls_in(bench.advance(LINE_TICK_NS)) == [(WORKER, 1, ["b", "c"])]


def test_an_argument_that_is_an_error_fails_its_call_and_lets_the_next_ones_pass() -> None:
    bench = ActorBench()
    bench.submit(spec("f"))
    bench.call("a", CREATOR, slots=(result("f"),))
    bench.call("b", CREATOR)
    bench.hear(CREATOR_ID, at())
    bench.grant()
    done = bench.done(error("f"))
    assert bench.fault("a").kind is FaultKind.ARGUMENT
    assert calls_in(done) == [(WORKER, 0, ["b"])]


def test_calls_that_may_have_run_fail_and_those_that_never_left_wait_for_the_next_life() -> None:
    bench = ActorBench().remote("a")
    bench.call("b", CREATOR)
    bench.advance(LINE_TICK_NS)
    bench.call("c", CREATOR)
    bench.hear(CREATOR_ID, lost())
    bench.down(unsent=[(LeaseId(ACTOR), 1), (LeaseId(b"?" * 16), 0)])
    fault = bench.fault("a")
    assert (fault.kind, fault.may_have_run) == (FaultKind.ACTOR_UNAVAILABLE, True)
    done = bench.hear(CREATOR_ID, at(1, "other worker"))
    assert calls_in(done) == [(OTHER_WORKER, 0, ["b", "c"])]


def test_calls_with_a_budget_are_sent_again_in_their_order_as_new_attempts() -> None:
    bench = ActorBench().remote("a", "b", retries=1)
    bench.down()
    done = bench.hear(CREATOR_ID, lost())
    assert done == []
    assert bench.attempt("a") == bench.attempt("b") == 1
    bench.call("c", CREATOR)
    done = bench.hear(CREATOR_ID, at(1, "other worker"))
    assert calls_in(done) == [(OTHER_WORKER, 0, ["a", "b", "c"])]
    assert bench.ended("a", 0, OTHER_WORKER) == [], "of the old attempt"
    bench.ended("a", 1, OTHER_WORKER)
    assert bench.value(result("a")) == b"value"


def test_a_verdict_waits_for_the_last_words_of_the_worker() -> None:
    bench = ActorBench().remote("a", "b")
    bench.hear(CREATOR_ID, lost(dead=True))
    bench.call("late", CREATOR)
    assert bench.value(result("late")) is None
    bench.ended("a")
    assert bench.value(result("a")) == b"value"
    bench.ended("b")
    assert bench.fault("late").kind is FaultKind.ACTOR_DIED, "nothing more can come"
    assert not bench.fault("late").may_have_run


def test_the_next_life_is_not_called_before_the_last_one_was_decided_on() -> None:
    bench = ActorBench().remote("a", retries=1)
    bench.hear(CREATOR_ID, lost())
    assert calls_in(bench.hear(CREATOR_ID, at(1, "other worker"))) == []
    assert calls_in(bench.down()) == [(OTHER_WORKER, 0, ["a"])]


def test_calls_that_need_each_other_fail_once_each() -> None:
    bench = ActorBench()
    bench.call("a", CREATOR)
    bench.call("b", CREATOR, slots=(result("a"),))
    bench.hear(CREATOR_ID, lost(-1, dead=True))
    assert bench.fault("a").kind is FaultKind.ACTOR_DIED
    assert bench.fault("b").kind is FaultKind.ARGUMENT
    flying = ActorBench().remote("a")
    flying.call("b", CREATOR, slots=(result("a"),))
    flying.hear(CREATOR_ID, lost(dead=True))
    flying.down()
    assert flying.fault("b").kind is FaultKind.ARGUMENT


def test_the_death_of_the_creator_is_that_of_the_actor() -> None:
    bench = ActorBench().remote("a")
    bench.call("b", CREATOR)
    bench.down(CREATOR_ID)
    assert bench.value(result("a")) is None, "its worker may have said more"
    bench.down(WORKER)
    assert bench.fault("a").reason == bench.fault("b").reason == "its creator died"
    bench.call("c", CREATOR)
    assert bench.fault("c").kind is FaultKind.ACTOR_DIED


def test_a_call_that_raised_what_may_be_retried_queues_again() -> None:
    bench = ActorBench().remote("a", retries=1)
    bench.done(retriable("a"))
    assert calls_in(bench.advance(SECOND)) == [(WORKER, 1, ["a"])]
    bench.done(retriable("a", 1))
    assert bench.value(result("a")) is not None


def test_a_call_that_runs_again_waits_for_the_next_life_before_those_made_meanwhile() -> None:
    bench = ActorBench().remote("a", retries=1)
    bench.done(retriable("a"))
    bench.down()
    bench.hear(CREATOR_ID, lost())
    bench.call("c", CREATOR)
    assert calls_in(bench.advance(SECOND)) == []
    done = bench.hear(CREATOR_ID, at(1, "other worker"))
    assert calls_in(done) == [(OTHER_WORKER, 0, ["a", "c"])]


def test_a_call_that_waits_before_it_runs_again_fails_with_its_actor() -> None:
    bench = ActorBench().remote("a", retries=1)
    bench.done(retriable("a"))
    bench.hear(CREATOR_ID, lost(dead=True))
    bench.advance(SECOND)
    assert bench.fault("a").may_have_run


def test_a_stream_of_an_actor_goes_on_in_its_next_life() -> None:
    bench = ActorBench()
    bench.call("s", CREATOR, returns=STREAMING, retries=1)
    bench.hear(CREATOR_ID, at())
    assert bench.items("s", 0, b"x") == [StreamAdvanced(task("s"))]
    bench.hear(CREATOR_ID, lost())
    bench.down()
    bench.hear(CREATOR_ID, at(1))
    assert bench.items("s", 0, b"x", attempt=1) == [], "known already"
    bench.items("s", 1, b"y", attempt=1)
    bench.end("s", 2, attempt=1)
    assert bench.owner.streams.streams[task("s")].ended


def test_a_stream_that_nobody_reads_is_closed_at_the_actor() -> None:
    bench = ActorBench()
    bench.call("s", CREATOR, returns=STREAMING)
    bench.hear(CREATOR_ID, at())
    assert bench.drop(streams=(task("s"),)) == [Send(WORKER, CloseStream(task("s"), 0))]


def test_an_actor_that_is_only_known_by_name_is_forgotten_when_it_is_not_called() -> None:
    bench = ActorBench().remote("a")
    assert bench.advance(ACTOR_UNUSED_NS) == [], "a call is pending"
    bench.ended("a")
    assert bench.advance(ACTOR_UNUSED_NS) == [Send(CREATOR_ID, UnwatchActor(ACTOR))]
    assert bench.call("b", CREATOR) == ASKED


def test_a_late_timer_finds_an_actor_forgotten_that_had_calls_to_push() -> None:
    bench = ActorBench().remote("a")
    bench.now_ns += ACTOR_UNUSED_NS - LINE_TICK_NS // 2
    bench.ended("a")
    bench.call("b", CREATOR)
    bench.call("c", CREATOR)
    bench.hear(CREATOR_ID, lost(dead=True))
    bench.down()
    out: list[Effect] = []
    bench.owner.on_timer(bench.now_ns + SECOND, out)
    assert out == [Send(CREATOR_ID, UnwatchActor(ACTOR))]


def test_an_actor_that_a_counted_handle_names_is_known_until_that_goes() -> None:
    bench = ActorBench()
    bench.put(HANDLE)
    bench.remote("a")
    bench.ended("a")
    assert bench.advance(3 * ACTOR_UNUSED_NS) == []
    assert bench.let_go() == [Send(CREATOR_ID, UnwatchActor(ACTOR))]


def test_a_counted_handle_that_comes_later_is_noticed() -> None:
    bench = ActorBench().remote("a")
    bench.ended("a")
    bench.put(HANDLE)
    assert bench.advance(3 * ACTOR_UNUSED_NS) == []
    assert bench.let_go() == [Send(CREATOR_ID, UnwatchActor(ACTOR))]


def test_a_counted_handle_may_go_while_a_call_by_name_is_pending() -> None:
    bench = ActorBench().remote("a")
    bench.put(HANDLE)
    bench.advance(ACTOR_UNUSED_NS)
    assert bench.let_go() == []
    assert bench.advance(ACTOR_UNUSED_NS) == []
    bench.ended("a")
    assert bench.advance(ACTOR_UNUSED_NS) == [Send(CREATOR_ID, UnwatchActor(ACTOR))]


def test_deadlines_of_an_actor_that_is_gone_change_nothing() -> None:
    bench = ActorBench().alive(ActorSettings())
    bench.call("a")
    bench.call("b")
    bench.ended("a")
    bench.advance(LINE_TICK_NS)
    bench.ended("b")
    bench.let_go()
    assert bench.advance(LINE_TICK_NS) == []


def test_a_caller_without_a_node_watches_nobody() -> None:
    bench = ActorBench(joined=False)
    assert bench.call("a", CREATOR) == ASKED[:1]
