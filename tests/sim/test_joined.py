"""Nodes with their own membership: who joins is known to all, who dies to none."""

from __future__ import annotations

import pytest

from tests.sim.joined import SETTLE_NS, SILENCE_NS, JoinedNodes, run_joined
from zgen.ids import PeerId
from zgen.limits import MS, SECOND
from zgen.sim.world import Life
from zgen_node.core.member_node import MemberNode


def test_nodes_join_by_any_member_and_know_what_each_has() -> None:
    nodes = JoinedNodes(1)
    first, second = nodes.begin(), nodes.begin()
    nodes.run(1 * SECOND)
    third = nodes.begin(seeds=("sim://nobody", second.address.endpoint))
    nodes.run(2 * SECOND)
    nodes.agree()
    assert (nodes.free(first, third), nodes.free(third, first)) == (30_000, 10_000)
    assert nodes.joined[first.name] == 1


def test_another_release_is_refused_and_told_why() -> None:
    nodes = JoinedNodes(2)
    nodes.begin()
    nodes.begin(release="99")
    nodes.run(1 * SECOND)
    assert nodes.refused == ["zgen 99 there, 0 here"]
    nodes.agree()


def test_a_killed_node_is_dead_within_a_try_since_its_port_refuses() -> None:
    nodes = JoinedNodes(3)
    lives = [nodes.begin() for _ in range(3)]
    nodes.run(2 * SECOND)
    nodes.crash(lives[1])
    nodes.run(400 * MS)
    nodes.agree()


def test_a_node_that_leaves_is_gone_at_once_and_a_lone_one_does_not_wait() -> None:
    nodes = JoinedNodes(4)
    lives = [nodes.begin() for _ in range(3)]
    nodes.run(2 * SECOND)
    nodes.leave(lives[2])
    nodes.run(100 * MS)
    nodes.agree()
    assert any("is gone: left" in text for text in nodes.said)
    for life in lives[:2]:
        nodes.leave(life)
    nodes.run(200 * MS)
    assert not nodes.world.lives


def test_a_node_that_slept_ends_and_comes_back_as_another() -> None:
    nodes = JoinedNodes(5)
    lives = [nodes.begin() for _ in range(3)]
    nodes.run(2 * SECOND)
    nodes.pause(lives[0], SILENCE_NS)
    nodes.run(SILENCE_NS - 100 * MS)
    assert lives[0].address.peer not in nodes.known(lives[1])
    nodes.run(SETTLE_NS)
    assert nodes.fenced == [lives[0].name]
    nodes.agree()
    assert len(nodes.nodes) == 3


def test_a_link_cut_one_way_is_gone_round_by_both_ends_until_it_heals() -> None:
    nodes = JoinedNodes(6)
    one, other, third = [nodes.begin() for _ in range(3)]
    nodes.run(2 * SECOND)

    def way(end: Life, far: Life) -> PeerId | None:
        machine = end.machine
        assert isinstance(machine, MemberNode)
        return machine.node.cluster.byways.hop_to(far.address.peer)

    nodes.world.network.partition_oneway(one.name, other.name)
    nodes.run(6 * SECOND)
    assert way(one, other) == way(other, one) == third.address.peer
    nodes.world.network.heal()
    nodes.run(2 * SECOND)
    assert way(one, other) is way(other, one) is None
    nodes.nobody_died_falsely()
    nodes.agree()


@pytest.mark.parametrize("seed", range(5))
def test_under_loss_and_cuts_nobody_dies_falsely_and_all_agree_in_the_end(seed: int) -> None:
    assert not run_joined(seed)
