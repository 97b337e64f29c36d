"""Which node a request goes to."""

from __future__ import annotations

import pytest

from tests.unit.node.fakes import cpu, peer
from zgen.ids import NO_PEER, PeerId
from zgen.wire.lease import (
    ABSENT,
    ANYWHERE,
    EXISTS,
    IN,
    NOT_IN,
    ON_NODE,
    SPREAD,
    Labels,
    Shape,
    Strategy,
)
from zgen_node.core.scheduler import (
    Candidate,
    busy_text,
    choose,
    infeasible_text,
    labels_text,
    shortest_queue,
)

HERE, THERE, YONDER = peer("here"), peer("there"), peer("yonder")
SPREADING: Strategy = (SPREAD, NO_PEER, False, (), ())


def node(
    name: PeerId, free: int, total: int = 4, queued: int = 0, chosen: int = 0, zone: str = ""
) -> Candidate:
    labels = {"zone": zone} if zone else {}
    cpus = {"CPU": total * 10_000}
    return Candidate(name, cpus, {"CPU": free * 10_000}, labels, queued, chosen)


def pick(
    *nodes: Candidate,
    shape: Shape | None = None,
    strategy: Strategy = ANYWHERE,
    locality: dict[PeerId, int] | None = None,
) -> PeerId | None:
    chosen = choose(nodes, cpu(1) if shape is None else shape, strategy, locality or {})
    return chosen.node if chosen is not None else None


def on(name: PeerId, *, soft: bool) -> Strategy:
    return (ON_NODE, name, soft, (), ())


def labelled(hard: Labels = (), soft: Labels = ()) -> Strategy:
    return ("", NO_PEER, False, hard, soft)


@pytest.mark.parametrize(
    ("here", "there", "chosen"),
    [(4, 4, HERE), (3, 4, HERE), (2, 4, THERE), (2, 2, HERE), (1, 2, THERE), (0, 1, THERE)],
)
def test_here_while_less_than_half_is_used_then_where_least_is(
    here: int, there: int, chosen: PeerId
) -> None:
    assert pick(node(HERE, here), node(THERE, there)) == chosen


def test_nowhere_if_nobody_has_it_free() -> None:
    assert pick(node(HERE, 0), node(THERE, 0)) is None


def test_a_request_without_resources_stays_here() -> None:
    assert pick(node(HERE, 0), node(THERE, 4), shape=()) == HERE


def test_work_goes_to_its_arguments() -> None:
    nodes = node(HERE, 4), node(THERE, 1), node(YONDER, 4)
    assert pick(*nodes, locality={THERE: 100, HERE: 50}) == THERE
    assert pick(*nodes, locality={THERE: 100, HERE: 100}) == HERE
    assert pick(node(HERE, 4), node(THERE, 0), locality={THERE: 100}) == HERE


def test_spread_takes_the_node_that_was_longest_not_chosen() -> None:
    nodes = node(HERE, 4, chosen=3), node(THERE, 1, chosen=1), node(YONDER, 0, chosen=0)
    assert pick(*nodes, strategy=SPREADING) == THERE


def test_affinity_waits_for_its_node_and_a_soft_one_only_for_one_that_lives() -> None:
    nodes = node(HERE, 4), node(THERE, 0)
    assert pick(*nodes, strategy=on(HERE, soft=False)) == HERE
    assert pick(*nodes, strategy=on(THERE, soft=False)) is None
    assert pick(*nodes, strategy=on(THERE, soft=True)) is None
    assert pick(*nodes, strategy=on(YONDER, soft=False)) is None
    assert pick(*nodes, strategy=on(YONDER, soft=True)) == HERE
    small = node(THERE, 1, total=1)
    assert pick(node(HERE, 4), small, shape=cpu(2), strategy=on(THERE, soft=True)) == HERE


@pytest.mark.parametrize(
    ("how", "values", "chosen"),
    [
        (IN, ("a", "b"), THERE),
        (NOT_IN, ("a",), HERE),
        (EXISTS, (), THERE),
        (ABSENT, (), HERE),
        ("no such word", (), None),
    ],
)
def test_labels_choose(how: str, values: tuple[str, ...], chosen: PeerId | None) -> None:
    nodes = node(HERE, 4), node(THERE, 4, zone="a")
    assert pick(*nodes, strategy=labelled((("zone", how, values),))) == chosen


def test_soft_labels_choose_among_those_with_room() -> None:
    soft = labelled(soft=(("zone", IN, ("a",)),))
    assert pick(node(HERE, 4), node(THERE, 1, zone="a"), strategy=soft) == THERE
    assert pick(node(HERE, 4), node(THERE, 0, zone="a"), strategy=soft) == HERE


def test_what_fits_nowhere_waits_where_fewest_do() -> None:
    nodes = node(HERE, 0, queued=2), node(THERE, 0, queued=1)
    chosen = shortest_queue(nodes, cpu(1), ANYWHERE)
    assert chosen is not None
    assert chosen.node == THERE
    assert shortest_queue(nodes, cpu(5), ANYWHERE) is None


def test_people_are_told_why_nobody_can_meet_a_request() -> None:
    nodes = node(HERE, 4), node(THERE, 4, zone="a")
    gpu = (("GPU", 10_000),)
    assert infeasible_text(nodes, gpu, ANYWHERE) == "needs num_gpus=1, no node of 2 has that"
    zone = labelled((("zone", IN, ("a", "b")),))
    only = "needs num_gpus=1, no node that it may run on has that"
    assert infeasible_text(nodes, gpu, zone) == only
    none = labelled((("zone", EXISTS, ()), ("zone", IN, ("c",))))
    text = "wants a node with zone exists, zone in c, no node of 2 is one"
    assert infeasible_text(nodes, cpu(1), none) == text
    away = on(YONDER, soft=False)
    assert infeasible_text(nodes, cpu(1), away) == f"wants node {YONDER.hex()}, which is not there"
    marked = (ON_NODE, HERE, False, (("zone", EXISTS, ()),), ())
    text = "wants a node with zone exists, no node of 2 is one"
    assert infeasible_text(nodes, cpu(1), marked) == text
    rich = Candidate(YONDER, {"GPU": 10_000}, {}, {})
    both = (("CPU", 10_000), ("GPU", 10_000))
    text = "needs num_cpus=1, num_gpus=1, no node of 3 has all of that"
    assert infeasible_text((*nodes, rich), both, ANYWHERE) == text


def test_people_are_told_what_a_request_waits_for() -> None:
    text = "needs num_cpus=2: of 2 nodes that have it, at most 1 free of CPU"
    assert busy_text((node(HERE, 1), node(THERE, 0)), cpu(2), ANYWHERE) == text
    assert labels_text((("zone", NOT_IN, ("a", "b")),)) == "zone !in a|b"
