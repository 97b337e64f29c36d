"""A node asks its processes what they own, and names those that do not say."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.node.fakes import DRIVER, JOB, NODE, Bench, ask, peer, spawned
from zgen.core.effects import Effect, Send
from zgen.core.lifecycle import Lifecycle
from zgen.ids import ObjectId, PeerId
from zgen.limits import (
    SECOND,
    STATE_OWED_COUNT_MAX,
    STATE_PATIENCE_NS_MAX,
)
from zgen.wire.lease import EndJob
from zgen.wire.state import (
    DISK,
    NO_REGION,
    OBJECTS,
    SHARED,
    TASKS,
    ListState,
    ObjectSaid,
    ProcessSaid,
    StateRows,
    StateTold,
    TellState,
)
from zgen_node.core import census
from zgen_node.core.object_table import LEGAL, Region, RegionState

TOOL, STRANGER = peer("tool"), peer("stranger")
PATIENCE_NS = 2 * SECOND


def node_with_worker() -> tuple[Bench, PeerId]:
    """Return a node with a driver, one worker of it, and a tool."""
    bench = Bench()
    bench.drive()
    (worker,) = spawned(bench.say(DRIVER, ask("l")))
    bench.start(worker)
    bench.join(TOOL)
    return bench, worker


def wanted(bench: Bench, query: int = 7, what: str = TASKS, by: PeerId = TOOL) -> list[Effect]:
    return bench.say(by, ListState(query, what, 10, PATIENCE_NS))


def asked(effects: list[Effect]) -> dict[PeerId, int]:
    """Return who was asked, by which number."""
    return {
        effect.peer: effect.message.query
        for effect in effects
        if isinstance(effect, Send) and isinstance(effect.message, TellState)
    }


def rows(query: int, process: PeerId, *, is_last: bool = True, **said: Any) -> StateRows:
    return StateRows(query, process, is_last, **said)


def silences(effects: list[Effect]) -> dict[PeerId, str]:
    """Return what the only answer in ``effects`` says of each process."""
    (told,) = [
        effect.message
        for effect in effects
        if isinstance(effect, Send) and isinstance(effect.message, StateTold)
    ]
    return {each.process: each.silence for each in told.processes}


def test_each_process_is_asked_and_what_they_say_is_handed_on() -> None:
    bench, worker = node_with_worker()
    effects = wanted(bench)
    assert effects == [Send(DRIVER, TellState(1, TASKS, 10)), Send(worker, TellState(1, TASKS, 10))]
    part = rows(1, worker, is_last=False, count=2)
    assert bench.say(worker, part) == [Send(TOOL, rows(7, worker, is_last=False, count=2))]
    assert bench.say(worker, rows(1, worker)) == [Send(TOOL, rows(7, worker))]
    assert bench.say(DRIVER, rows(1, DRIVER)) == [
        Send(TOOL, rows(7, DRIVER)),
        Send(
            TOOL,
            StateTold(
                7,
                NODE,
                (
                    ProcessSaid(DRIVER, 77, True, JOB, "driver", "", ""),
                    ProcessSaid(worker, 100, False, JOB, "leased", "work l", ""),
                ),
            ),
        ),
    ]
    assert bench.machine.census.questions == {}


def test_a_driver_may_ask_and_answers_itself_too() -> None:
    bench, worker = node_with_worker()
    assert list(asked(wanted(bench, by=DRIVER))) == [DRIVER, worker]


def test_a_node_without_processes_answers_at_once() -> None:
    bench = Bench()
    bench.join(TOOL)
    assert wanted(bench) == [Send(TOOL, StateTold(7, NODE, ()))]


def test_a_process_that_does_not_answer_is_named_when_it_is_too_late() -> None:
    bench, worker = node_with_worker()
    wanted(bench)
    bench.say(DRIVER, rows(1, DRIVER))
    assert bench.advance(PATIENCE_NS - 1) == []
    assert silences(bench.advance(1)) == {DRIVER: "", worker: "no answer within 2 s"}
    assert bench.say(worker, rows(1, worker)) == []  # too late, and harmless


@pytest.mark.parametrize("patience_ns", [-1, 10**18])
def test_patience_has_bounds(patience_ns: int) -> None:
    bench, _ = node_with_worker()
    bench.say(TOOL, ListState(7, TASKS, 10, patience_ns))
    bound_ns = 0 if patience_ns < 0 else STATE_PATIENCE_NS_MAX
    assert len(silences(bench.advance(bound_ns))) == 2


def test_a_process_that_dies_is_waited_for_no_longer() -> None:
    bench, worker = node_with_worker()
    wanted(bench)
    bench.say(DRIVER, rows(1, DRIVER))
    assert silences(bench.die(worker))[worker] == census.DIED


def test_a_process_that_dies_after_its_answer_has_answered() -> None:
    bench, worker = node_with_worker()
    wanted(bench)
    bench.say(worker, rows(1, worker))
    bench.die(worker)
    assert silences(bench.say(DRIVER, rows(1, DRIVER)))[worker] == ""


def test_a_process_that_starts_is_named_and_not_asked() -> None:
    bench = Bench()
    bench.drive()
    (worker,) = spawned(bench.say(DRIVER, ask("l")))
    bench.join(TOOL)
    assert list(asked(wanted(bench))) == [DRIVER]
    assert silences(bench.say(DRIVER, rows(1, DRIVER)))[worker] == census.STARTING


def test_a_dead_worker_is_not_among_the_processes() -> None:
    bench, worker = node_with_worker()
    bench.die(worker)
    assert list(asked(wanted(bench))) == [DRIVER]


def test_a_process_that_never_answers_is_asked_a_bounded_number_of_times() -> None:
    bench, worker = node_with_worker()
    for query in range(STATE_OWED_COUNT_MAX):
        assert worker in asked(wanted(bench, query))
        bench.say(DRIVER, rows(query + 1, DRIVER))
    bench.advance(PATIENCE_NS)
    assert list(asked(wanted(bench))) == [DRIVER]
    number = STATE_OWED_COUNT_MAX + 1
    assert silences(bench.say(DRIVER, rows(number, DRIVER)))[worker] == census.OWING
    assert bench.machine.census.owed_count == STATE_OWED_COUNT_MAX
    bench.say(worker, rows(1, worker))
    assert worker in asked(wanted(bench))


def test_a_node_with_too_many_questions_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census, "STATE_QUESTIONS_COUNT_MAX", 1)
    bench, worker = node_with_worker()
    wanted(bench)
    assert silences(wanted(bench)) == {DRIVER: census.BUSY, worker: census.BUSY}


def test_who_asked_and_died_is_told_nothing() -> None:
    bench, worker = node_with_worker()
    wanted(bench, by=DRIVER)
    bench.leave(DRIVER)
    assert bench.machine.census.questions == {}
    assert bench.say(worker, rows(1, worker)) == []


def test_a_tool_that_left_is_told_nothing() -> None:
    bench, worker = node_with_worker()
    wanted(bench)
    bench.leave(TOOL)
    assert bench.say(worker, rows(1, worker)) == []
    assert bench.say(DRIVER, rows(1, DRIVER)) == []


def test_a_tool_that_cannot_be_reached_is_told_nothing() -> None:
    bench, worker = node_with_worker()
    wanted(bench)
    bench.machine.session.forget(TOOL, "cannot be reached", [])
    assert bench.say(worker, rows(1, worker)) == []
    assert bench.say(DRIVER, rows(1, DRIVER)) == []


@pytest.mark.parametrize("by", [TOOL, DRIVER])
def test_what_nobody_asked_for_is_refused(by: PeerId) -> None:
    bench, worker = node_with_worker()
    if by == DRIVER:
        wanted(bench)  # but for its own rows, not for another's
    bench.say(by, rows(1, worker))
    assert bench.counts["state that nobody asked for"] == 1


def test_a_job_that_ends_leaves_no_question_behind() -> None:
    bench, worker = node_with_worker()
    wanted(bench)
    bench.say(DRIVER, EndJob(JOB))
    bench.die(worker)
    assert silences(bench.say(DRIVER, rows(1, DRIVER)))[worker] == census.DIED


@pytest.mark.parametrize("state", list(RegionState))
def test_a_node_knows_which_objects_are_on_disk(
    state: RegionState, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, worker = node_with_worker()
    region = Region(5, DRIVER, worker, 64, None, Lifecycle("region", LEGAL, state))
    known = {5: region}
    monkeypatch.setattr(bench.machine.storage.rooms.objects, "get", known.get)
    wanted(bench, what=OBJECTS)
    name = ObjectId(bytes(20))
    told = [ObjectSaid(name, DRIVER, 64, SHARED, number, ()) for number in (5, NO_REGION)]
    (sent, *_) = bench.say(DRIVER, rows(1, DRIVER, objects=tuple(told)))
    assert isinstance(sent, Send)
    on_disk = state in (RegionState.SPILLED, RegionState.RESTORING)
    assert [each.place for each in sent.message.objects] == [DISK if on_disk else SHARED, SHARED]
