"""Members alone, under one hardship a seed."""

from __future__ import annotations

from tests.sim.swim_run import run_swim
from zgen.sim.oracle import Marks

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


def test_one_seed_makes_one_history() -> None:
    from tests.sim.swim_run import Members

    runs = [Members(6), Members(6)]
    for run in runs:
        run.run()
    first, second = ([life.effects for life in run.world.lives.values()] for run in runs)
    assert first == second
