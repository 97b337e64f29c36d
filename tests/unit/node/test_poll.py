"""A node has the others asked what their processes own, and names those that do not say."""

from __future__ import annotations

import json

import pytest

from tests.unit.node.clusters import EAST, FAR_WORKER, WEST, Among, beside, messages, state
from tests.unit.node.fakes import JOB, NODE, peer
from zgen.core.effects import Effect
from zgen.limits import SECOND, STATE_FAR_NS
from zgen.wire.state import (
    NODES,
    TASKS,
    ListState,
    ProcessSaid,
    StateRows,
    StateTold,
    TellState,
)
from zgen_node.core import poll
from zgen_node.core.census import BUSY
from zgen_node.core.poll import GONE

TOOL = peer("tool")
PATIENCE_NS = 2 * SECOND
THERE = ProcessSaid(FAR_WORKER, 9, False, JOB, "idle", "", "")


def asking(what: str = TASKS, query: int = 7) -> tuple[Among, list[Effect]]:
    """A node whose tool asks for what is at it and two others."""
    bench = beside()
    bench.member(state(WEST))
    bench.join(TOOL)
    return bench, bench.say(TOOL, ListState(query, what, 10, PATIENCE_NS, True))


def told(effects: list[Effect]) -> list[StateTold]:
    return [each for each in messages(effects, TOOL) if isinstance(each, StateTold)]


def test_other_nodes_are_asked_and_what_they_say_is_handed_on_as_it_comes() -> None:
    bench, done = asking()
    question = ListState(1, TASKS, 10, PATIENCE_NS)
    assert (messages(done, EAST), messages(done, WEST)) == ([question], [question])
    rows = StateRows(1, FAR_WORKER, True, count=2)
    assert messages(bench.say(EAST, rows), TOOL) == [StateRows(7, FAR_WORKER, True, count=2)]
    assert told(bench.say(EAST, StateTold(1, EAST, (THERE,)))) == [StateTold(7, EAST, (THERE,), 3)]
    assert bench.say(EAST, StateTold(1, EAST, (THERE,)), rows) == []  # it was heard
    assert told(bench.say(WEST, StateTold(1, WEST, ()))) == [StateTold(7, WEST, (), 3)]
    assert bench.machine.cluster.poll.asked == {}


def test_nodes_say_how_they_fare() -> None:
    bench, done = asking(NODES)
    (mine,) = told(done)
    assert (mine.node, mine.nodes_count) == (NODE, 3)
    assert len(json.loads(mine.report)["nodes"]) == 3
    said = StateTold(1, EAST, (), report="{}")
    assert [each.report for each in told(bench.say(EAST, said))] == ["{}"]


def test_a_node_that_asks_gets_the_answers_of_this_node_alone() -> None:
    bench = beside()
    bench.member(state(WEST))
    done = bench.say(EAST, ListState(4, TASKS, 10, PATIENCE_NS, True))
    assert messages(done, WEST) == []
    assert [type(each) for each in messages(done)] == [TellState]


def test_who_does_not_answer_in_time_or_is_gone_is_named() -> None:
    bench, _ = asking()
    assert told(bench.gone()) == [StateTold(7, EAST, (), 3, GONE)]
    (mine,) = told(bench.advance(PATIENCE_NS + STATE_FAR_NS - 1))
    assert mine.node == NODE
    silence = "no answer within 4 s"
    assert told(bench.advance(1)) == [StateTold(7, WEST, (), 3, silence)]


def test_beyond_the_bound_other_nodes_are_named_and_not_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(poll, "STATE_QUESTIONS_COUNT_MAX", 1)
    bench, _ = asking()
    done = bench.say(TOOL, ListState(8, NODES, 10, PATIENCE_NS, True))
    assert messages(done, EAST) == []
    assert [(each.node, each.silence) for each in told(done)] == [
        (EAST, BUSY),
        (WEST, BUSY),
        (NODE, ""),
    ]


def test_a_tool_that_is_gone_is_told_nothing() -> None:
    bench, _ = asking()
    bench.leave(TOOL)
    rows = StateRows(1, FAR_WORKER, True, count=2)
    assert bench.say(EAST, rows, StateTold(1, EAST, (THERE,))) == []


def test_the_driver_of_a_job_of_another_node_is_asked_there() -> None:
    bench = Among(cpus=1)
    bench.member()
    bench.shared()
    bench.join(TOOL)
    (mine,) = told(bench.say(TOOL, ListState(7, TASKS, 10, PATIENCE_NS)))
    assert [each.state for each in mine.processes] == ["starting"]


def test_only_a_node_speaks_for_itself() -> None:
    bench, _ = asking()
    bench.say(EAST, StateTold(1, WEST, ()))
    bench.say(TOOL, StateTold(1, TOOL, ()))
    assert bench.counts["state of another node"] == 2
