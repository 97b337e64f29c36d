"""Members alone, under one hardship a seed."""

from __future__ import annotations

import pytest

from tests.sim.swim import SwimWorld
from tests.sim.swim_run import run_swim
from zgen.limits import SECOND
from zgen.sim.oracle import Marks
from zgen_node.core import membership_standing
from zgen_node.limits import HEARD_COUNT_MAX

MARKS = (
    "suspicion refuted",
    "death proved by refused dials",
    "word of the dead dropped",
    "time not stepped is nobody's silence",
    "smaller side of a cut told to end",
    "probe answered through another member",
    "broken link restored",
    "message to whom was here before",
)


def test_members_hold_through_every_hardship() -> None:
    with Marks() as marks:
        failures = {seed: failure for seed in range(30) if (failure := run_swim(seed))}
    assert not failures
    assert not [mark for mark in MARKS if not marks.counts[mark]]


def _bytes_after_all_came_at_once() -> float:
    """Return what each of 120 members with views of 16 sends a second, 15 s after they came."""
    world = SwimWorld(0)
    world.full_count_max, world.partial_count = 40, 16
    lives = world.found(120)
    world.run(15 * SECOND)
    before = world.sent_bytes
    world.run(2 * SECOND)
    return (world.sent_bytes - before) / len(lives) / 2


@pytest.mark.slow
def test_a_large_cluster_whose_members_all_come_at_once_is_quiet_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert HEARD_COUNT_MAX > 10_000
    assert _bytes_after_all_came_at_once() < 600
    monkeypatch.setattr(membership_standing, "HEARD_COUNT_MAX", 40)
    assert _bytes_after_all_came_at_once() > 6000  # what the bound is for


def test_one_seed_makes_one_history() -> None:
    from tests.sim.swim_run import Members

    runs = [Members(6), Members(6)]
    for run in runs:
        run.run()
    first, second = ([life.effects for life in run.world.lives.values()] for run in runs)
    assert first == second
