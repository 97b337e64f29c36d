"""Keys that are replaced while a node runs: who is told, and what tools hear of it."""

from __future__ import annotations

import json

from tests.unit.node.clusters import FIRST, Among, messages
from tests.unit.node.fakes import DRIVER, ask, job, peer, spawned
from zgen.core.effects import Effect, Report, Send
from zgen.core.node_effects import ReadKeyFile
from zgen.core.node_events import KeysRead
from zgen.wire.cluster import KeysChanged, ReloadKeys
from zgen.wire.lease import NodeReport

TOOL = peer("tool")
OLD, BOTH, NEW = ("aa",), ("aa", "bb"), ("bb",)


def node() -> Among:
    """A node with a key, a driver, a worker and a tool, beside another node."""
    bench = Among(cpus=2)
    bench.step(KeysRead(None, 0, OLD, ""))
    bench.member()
    bench.drive()
    bench.say(DRIVER, ask("a"))
    bench.start(FIRST)
    bench.join(TOOL)
    return bench


def told(effects: list[Effect]) -> object:
    """Return what the tool hears of keys."""
    (report,) = [each for each in messages(effects, TOOL) if isinstance(each, NodeReport)]
    assert report.query == 5
    return json.loads(report.state)["keys"]


def test_a_tool_that_asks_has_the_file_read_and_hears_what_came_of_it() -> None:
    bench = node()
    assert ReadKeyFile(TOOL, 5) in bench.say(TOOL, ReloadKeys(5))
    done = bench.step(KeysRead(TOOL, 5, BOTH, ""))
    assert told(done) == {"prints": ["aa", "bb"], "failure": ""}
    assert Report("info", "shows key aa, accepts bb too") in done
    assert Report("info", "shows key bb") in bench.step(KeysRead(TOOL, 6, NEW, ""))


def test_every_process_of_the_node_is_told_once_a_change_and_nobody_else() -> None:
    bench = node()
    for number, prints in enumerate((BOTH, NEW), start=1):
        done = bench.step(KeysRead(TOOL, 5, prints, ""))
        heard = [e for e in done if isinstance(e, Send) and isinstance(e.message, KeysChanged)]
        assert heard == [Send(each, KeysChanged(number)) for each in (FIRST, DRIVER)]
        again = bench.step(KeysRead(TOOL, 5, prints, ""))
        assert not any(isinstance(each, KeysChanged) for each in messages(again))


def test_a_process_that_starts_meanwhile_is_told_when_it_is_there() -> None:
    bench = Among(cpus=2)
    bench.step(KeysRead(None, 0, OLD, ""))
    bench.drive()
    first, second = spawned(bench.say(DRIVER, ask("a"), ask("b")))
    assert not any(isinstance(each, KeysChanged) for each in messages(bench.start(first)))
    bench.step(KeysRead(None, 0, BOTH, ""))
    assert KeysChanged(1) in messages(bench.start(second, 101), second)
    other = peer("other driver")
    bench.join(other)
    assert KeysChanged(1) in messages(bench.drive_again(other, job("other job")), other)


def test_a_file_that_cannot_be_read_changes_nothing_and_says_why() -> None:
    bench = node()
    done = bench.step(KeysRead(TOOL, 5, (), "it is gone"))
    assert told(done) == {"prints": ["aa"], "failure": "it is gone"}
    assert Report("error", "keys stay as they are: it is gone") in done
    assert not any(isinstance(each, KeysChanged) for each in messages(done))
    done = bench.step(KeysRead(TOOL, 5, BOTH, ""))
    assert told(done) == {"prints": ["aa", "bb"], "failure": ""}


def test_a_tool_that_left_is_not_answered() -> None:
    bench = node()
    bench.leave(TOOL)
    assert not messages(bench.step(KeysRead(TOOL, 5, BOTH, "")), TOOL)
