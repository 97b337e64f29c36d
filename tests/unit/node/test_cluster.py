"""A node among others: what it tells of itself, and what it takes in of them."""

from __future__ import annotations

import json

from tests.unit.node.clusters import EAST, FIRST, Among, alone, beside, messages, state
from tests.unit.node.fakes import DRIVER, NODE, ask, cpu, peer
from zgen.core.effects import Effect, Report
from zgen.core.node_effects import PublishState
from zgen.core.node_events import MemberSaid
from zgen.limits import NODES_GONE_COUNT_MAX, PUBLISH_NS
from zgen.wire.cluster import NodeState
from zgen.wire.codec import decode, encode
from zgen.wire.lease import LeaseWanted, NodeReport, QueryNode
from zgen_node.core.view import View


def published(effects: list[Effect]) -> list[NodeState]:
    payloads = [e.payload for e in effects if isinstance(e, PublishState)]
    states = [decode([payload]) for payload in payloads]
    return [said for said in states if isinstance(said, NodeState)]


def test_what_is_free_is_told_when_it_changes_and_not_too_often() -> None:
    bench = Among(cpus=4)
    assert published(bench.drive()) == []  # nobody listens
    bench.machine.cluster.publishes = True
    bench.now_ns += PUBLISH_NS
    (said,) = published(bench.say(DRIVER, ask("a")))
    assert (said.address.peer, said.total, said.free) == (NODE, cpu(4), (("CPU", 30_000),))
    assert said.version == 1
    assert published(bench.say(DRIVER, ask("b"))) == []
    (said,) = published(bench.advance(PUBLISH_NS))
    assert (said.free, said.version) == ((("CPU", 20_000),), 2)
    assert published(bench.advance(10 * PUBLISH_NS)) == []
    assert published(bench.start(FIRST)) == []  # a grant, of what was held before


def test_who_counted_something_off_hears_what_is_free_even_if_nothing_changed() -> None:
    bench = Among(cpus=0)
    bench.machine.cluster.publishes = True
    bench.member()
    bench.now_ns += PUBLISH_NS
    assert len(published(bench.shared())) == 1


def test_words_of_members_that_cannot_be_read_or_are_ones_own_change_nothing() -> None:
    bench = alone()
    done = bench.step(MemberSaid(b"\xff"))
    assert [type(effect) for effect in done] == [Report]
    assert bench.member(state(NODE), speaks=False) == []
    assert bench.step(MemberSaid(encode(LeaseWanted(ask("a").lease))[0])) == []
    assert bench.machine.cluster.view.members == {}


def test_a_node_reports_all_nodes_itself_first() -> None:
    bench = beside()
    bench.member(state(labels=(("zone", "east"),), version=1))
    (said,) = [m for m in messages(bench.say(DRIVER, QueryNode(3))) if isinstance(m, NodeReport)]
    nodes = json.loads(said.state)["nodes"]
    assert [node["node"] for node in nodes] == [NODE.hex(), EAST.hex()]
    assert nodes[1]["total"] == {"CPU": "2"}
    assert nodes[1]["labels"] == {"zone": "east"}


def test_nodes_that_are_gone_are_remembered_up_to_a_bound() -> None:
    view = View()
    names = [peer(f"n{number}") for number in range(NODES_GONE_COUNT_MAX + 1)]
    for name in names:
        view.down(name)
    view.check()
    assert not view.is_gone(names[0])
    assert view.is_gone(names[-1])
    view.correct(names[0], (), 0)
    view.drains(names[0])
