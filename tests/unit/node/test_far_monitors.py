"""Watches over processes of other nodes: asked once, told once, whatever dies first."""

from __future__ import annotations

import pytest

from tests.unit.node.clusters import (
    EAST,
    FAR_DRIVER,
    FAR_WORKER,
    FIRST,
    WEST,
    Among,
    alone,
    far,
    messages,
    state,
)
from tests.unit.node.fakes import DRIVER, JOB, NODE, ask, peer
from zgen.core.effects import CloseConnection, OpenConnection
from zgen.core.events import ConnectionLost, ProcessExited
from zgen.ids import NO_STREAM, LeaseId
from zgen.limits import NODE_UNKNOWN_NS, REDIALS_FAILED_MAX
from zgen.wire.cluster import WatchBack
from zgen.wire.lease import ProcessDown
from zgen.wire.object import WatchProcess
from zgen.wire.store import WantRegions
from zgen_node.core import far_monitors

NO_LEASE = LeaseId(bytes(16))
OTHER = peer("other far")
MB = 1 << 20


def watching() -> Among:
    """A node whose driver watches a process of another node."""
    bench = alone()
    bench.member()
    bench.say(DRIVER, WatchProcess(FAR_WORKER, 1, EAST))
    return bench


def down(process: bytes = FAR_WORKER, started: int = 0) -> ProcessDown:
    return ProcessDown(peer(process.decode()), 1, 5, -1, 9, "", NO_LEASE, started)


def test_the_node_of_a_process_is_asked_once_and_who_watches_is_told_once() -> None:
    bench = alone()
    bench.member()
    said = messages(bench.say(DRIVER, WatchProcess(FAR_WORKER, 1, EAST)), EAST)
    me = bench.addresses[DRIVER]
    assert said == [WatchProcess(FAR_WORKER, 1, EAST), WatchBack(FAR_WORKER, me)]
    assert messages(bench.say(DRIVER, WatchProcess(FAR_WORKER, 1, EAST))) == []
    assert messages(bench.say(EAST, down()), DRIVER) == [down()]
    assert messages(bench.say(EAST, down())) == []
    (late,) = messages(bench.say(DRIVER, WatchProcess(FAR_WORKER, 1, EAST)))
    assert isinstance(late, ProcessDown)
    assert (late.peer, late.started) == (FAR_WORKER, -1)


def test_a_node_is_told_of_the_end_of_a_process_here_and_that_one_of_nobody() -> None:
    bench = watching()
    assert messages(bench.say(EAST, WatchProcess(DRIVER, 1, NODE))) == []
    (told,) = messages(bench.step(ProcessExited(DRIVER, 1, "x")) + bench.quiet(), EAST)
    assert isinstance(told, ProcessDown)
    assert told.peer == DRIVER
    (late,) = messages(bench.say(EAST, WatchProcess(DRIVER, 1, NODE)), EAST)
    assert isinstance(late, ProcessDown)


def test_a_process_hears_of_the_end_of_who_watches_it_from_afar() -> None:
    bench = alone()
    bench.member()
    back = WatchBack(DRIVER, far(FAR_WORKER))
    said = messages(bench.say(EAST, back), EAST)
    assert said[0] == WatchProcess(FAR_WORKER, 1, EAST)
    assert messages(bench.say(EAST, down()), DRIVER) == [down()]
    assert len(messages(bench.say(EAST, back), DRIVER)) == 1  # it is dead already
    assert messages(bench.say(EAST, WatchBack(OTHER, far(FAR_DRIVER)))) == []
    bench.say(DRIVER, ask("a", ()))  # a worker starts, which has said nothing yet
    said = messages(bench.say(EAST, WatchBack(FIRST, far(FAR_DRIVER))), EAST)
    assert said == [WatchProcess(FAR_DRIVER, 1, EAST)]
    bench.say(EAST, WatchBack(DRIVER, far(FAR_DRIVER, WEST)))
    bench.say(DRIVER, WatchBack(DRIVER, far(FAR_DRIVER)))
    assert bench.counts["watch for a process of another node"] == 2


def test_only_its_own_node_tells_of_the_end_of_a_process() -> None:
    bench = watching()
    bench.member(state(WEST))
    assert messages(bench.say(WEST, down())) == []
    older = ProcessDown(FAR_WORKER, 2, 5, -1, 9, "", NO_LEASE, 0)
    assert messages(bench.say(EAST, older)) == []
    bench.join(peer("stranger"))
    bench.say(peer("stranger"), WatchProcess(DRIVER, 1, EAST))
    assert bench.counts["watch by a stranger"] == 1


def test_a_watch_of_this_nodes_own_processes_is_as_ever() -> None:
    bench = alone()
    bench.say(DRIVER, WatchProcess(FIRST, 1, NODE))
    assert len(messages(bench.say(DRIVER, WatchProcess(FIRST, 1)), DRIVER)) == 1


def test_when_a_node_is_gone_so_are_its_processes_and_what_it_says_later() -> None:
    bench = watching()
    done = bench.gone()
    (told,) = messages(done, DRIVER)
    assert isinstance(told, ProcessDown)
    assert (told.peer, told.started) == (FAR_WORKER, -1)
    assert told.log_tail == "its node is gone: it is dead"
    assert CloseConnection(EAST, 1) in done
    assert bench.member(state(version=9), speaks=False) == []  # the dead stay dead
    (late,) = messages(bench.say(DRIVER, WatchProcess(OTHER, 1, EAST)))
    assert isinstance(late, ProcessDown)
    assert bench.gone(WEST) == []  # nobody knew it


def test_a_node_that_says_goodbye_is_gone() -> None:
    bench = watching()
    assert len(messages(bench.leave(EAST), DRIVER)) == 1
    assert bench.machine.cluster.view.members == {}


def test_a_node_that_is_not_known_yet_is_asked_when_it_comes() -> None:
    bench = alone()
    bench.say(DRIVER, WatchProcess(FAR_WORKER, 1, EAST))
    bench.say(DRIVER, WatchProcess(OTHER, 1, EAST))
    assert bench.due_ns is not None
    done = bench.member(speaks=False)
    assert [e.peer for e in done if isinstance(e, OpenConnection)] == [EAST]
    bench.join(EAST, 1, EAST)
    assert bench.machine.cluster.monitors.far.deadlines.next_ns is None
    assert messages(bench.say(EAST, down()), DRIVER) == [down()]


def test_a_node_that_never_becomes_known_has_no_living_process() -> None:
    bench = alone()
    bench.say(DRIVER, WatchProcess(FAR_WORKER, 1, EAST))
    (told,) = messages(bench.advance(NODE_UNKNOWN_NS), DRIVER)
    assert isinstance(told, ProcessDown)
    assert told.log_tail == "its node is gone: nobody knows it"


def test_the_processes_of_a_node_that_comes_late_are_heard_again() -> None:
    bench = alone()
    want = WantRegions(1, FAR_DRIVER, NO_STREAM, MB, 1, 1, EAST)
    bench.say(DRIVER, want, WatchProcess(FAR_WORKER, 1, EAST))
    bench.advance(NODE_UNKNOWN_NS)
    assert bench.machine.session.is_fenced(FAR_DRIVER, 1)
    bench.member()
    assert not bench.machine.session.is_fenced(FAR_DRIVER, 1)
    assert bench.machine.session.is_fenced(FAR_WORKER, 1), "the driver was told, and fences it too"


def test_only_so_many_late_nodes_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(far_monitors, "NODES_GONE_COUNT_MAX", 1)
    bench = alone()
    for node, owner in ((EAST, FAR_WORKER), (WEST, OTHER)):
        bench.say(DRIVER, WantRegions(1, owner, NO_STREAM, MB, 1, 1, node))
    bench.advance(NODE_UNKNOWN_NS)
    for node in (EAST, WEST):
        bench.member(state(node))
    assert bench.machine.session.is_fenced(FAR_WORKER, 1)
    assert not bench.machine.session.is_fenced(OTHER, 1)


def test_the_last_process_of_a_node_that_is_awaited_may_end_before_it_is_known() -> None:
    bench = alone()
    bench.join(EAST, 1, EAST)
    bench.say(DRIVER, WatchProcess(FAR_WORKER, 1, EAST))
    assert messages(bench.say(EAST, down()), DRIVER) == [down()]
    assert bench.machine.cluster.next_deadline_ns is None


def test_a_line_to_a_node_is_not_given_up_while_it_is_a_member() -> None:
    bench = watching()
    for epoch in range(1, REDIALS_FAILED_MAX + 3):
        bench.step(ConnectionLost(EAST, epoch))
        bench.advance(2_000_000_000)
    assert bench.machine.session.knows(EAST)
    assert bench.machine.jobs.get(JOB) is not None
    assert ask("a").job == JOB
