"""Which call of an actor starts when."""

from __future__ import annotations

import pytest

from tests.unit.core.names import OTHER_WORKER, lease, pushed, task
from tests.unit.core.names import WORKER as CREATOR
from zgen.core.admission import Waiting
from zgen.core.call_admission import CallAdmission
from zgen.ids import ActorId, PeerId
from zgen.limits import CROWD_COUNT, LINE_BUSY_NS, LINE_TICK_NS
from zgen.wire.actor import ActorSettings, HostActor
from zgen.wire.task import PushedCall

ACTOR = ActorId(task("actor"))


def calls_of(settings: ActorSettings | None = None) -> CallAdmission:
    return CallAdmission(HostActor(ACTOR, 0, settings or ActorSettings()), CREATOR, lease("l"))


def call(
    name: str, group: str = "", owner: PeerId = CREATOR, missing: int | None = None
) -> Waiting:
    waiting = Waiting(owner, lease("l"), 0, pushed(name), b"args", ())
    waiting.call = PushedCall(ACTOR, "method", group)
    if missing is not None:
        waiting.missing[missing] = None
    return waiting


def started(calls: CallAdmission) -> list[str]:
    names = [each.task.name for each in calls.start(5)]
    calls.check()
    return names


def test_a_regular_actor_runs_one_call_after_another_in_order() -> None:
    calls = calls_of()
    calls.push([call("a"), call("b")])
    assert started(calls) == ["a"]
    assert started(calls) == []
    ended = calls.end(task("a"), 0)
    assert ended is not None
    assert ended.started_ns == 5
    assert started(calls) == ["b"]
    assert not calls.is_idle
    calls.end(task("b"), 0)
    assert calls.is_idle


def test_an_end_waits_for_others_only_where_some_run_or_wait_and_for_longer_in_a_crowd() -> None:
    calls = calls_of(ActorSettings(max_concurrency=2))
    calls.push([call(str(index)) for index in range(CROWD_COUNT + 1)])
    assert calls.patience_ns == LINE_TICK_NS
    assert started(calls) == ["0", "1"]
    calls.end(task("0"), 0)
    assert calls.patience_ns == LINE_TICK_NS
    calls.end(task("1"), 0)
    assert calls.patience_ns == LINE_BUSY_NS
    while started(calls):
        for task_id in list(calls.running):
            calls.end(task_id, 0)
    assert calls.patience_ns == 0


def test_a_threaded_actor_runs_as_many_as_it_has_threads() -> None:
    calls = calls_of(ActorSettings(max_concurrency=2))
    calls.push([call("a"), call("b"), call("c")])
    assert started(calls) == ["a", "b"]
    calls.end(task("b"), 0)
    assert started(calls) == ["c"]


def test_each_group_has_places_of_its_own_and_what_names_none_runs_in_the_actors() -> None:
    calls = calls_of(ActorSettings(groups=(("io", 1),)))
    calls.push([call("a"), call("b", "io"), call("c", "io"), call("d", "unknown")])
    assert started(calls) == ["a", "b"]
    calls.end(task("a"), 0)
    assert started(calls) == ["d"]


def test_a_call_whose_arguments_lack_lets_others_pass_unless_the_actor_keeps_order() -> None:
    regular, threaded = calls_of(), calls_of(ActorSettings(max_concurrency=2))
    for calls in (regular, threaded):
        calls.push([call("a", missing=7), call("b")])
    assert started(regular) == []
    assert started(threaded) == ["b"]
    regular.on_held([7, 8])
    assert started(regular) == ["a"]


def test_the_end_of_another_attempt_or_of_an_unknown_call_is_no_end() -> None:
    calls = calls_of()
    calls.push([call("a")])
    started(calls)
    assert calls.end(task("a"), 1) is None
    assert calls.end(task("b"), 0) is None


def test_news_of_waiting_comes_when_all_that_runs_waits_and_when_that_is_over() -> None:
    calls = calls_of(ActorSettings(max_concurrency=2))
    calls.push([call("a"), call("b")])
    started(calls)
    calls.set_blocked(task("a"), True)
    assert calls.blocked_news() is None
    calls.set_blocked(task("b"), True)
    calls.set_blocked(task("unknown"), True)
    assert calls.blocked_news() is True
    assert calls.blocked_news() is None
    calls.set_blocked(task("a"), False)
    assert calls.blocked_news() is False


def test_what_a_dead_caller_pushed_never_starts() -> None:
    calls = calls_of()
    calls.push([call("a"), call("b", owner=OTHER_WORKER), call("c")])
    assert started(calls) == ["a"]
    assert [each.task.name for each in calls.drop_owner(OTHER_WORKER)] == ["b"]
    assert [each.task.name for each in calls.waiting()] == ["c"]


def test_an_actor_that_leaves_starts_nothing_and_takes_nothing() -> None:
    calls = calls_of()
    calls.push([call("a"), call("b")])
    started(calls)
    assert [each.task.name for each in calls.leave()] == ["b"]
    calls.push([call("c")])
    assert calls.waiting() == []


def test_a_queued_stream_can_be_closed_by_its_owner_only() -> None:
    calls = calls_of()
    calls.push([call("a")])
    calls.close(OTHER_WORKER, task("a"), 0)
    assert not calls.waiting()[0].closed
    calls.close(CREATOR, task("a"), 0)
    assert calls.waiting()[0].closed


def test_check_finds_a_call_that_waits_for_nothing() -> None:
    calls = calls_of()
    calls.push([call("a")])
    with pytest.raises(AssertionError, match="waits for nothing"):
        calls.check()
