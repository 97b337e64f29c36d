"""Damaged messages of authenticated peers: counted, never an exception in a core."""

from __future__ import annotations

from tests.sim.run import Run
from zgen.limits import MS
from zgen.sim.oracle import Kind, SimulationFailure

SEEDS = 12


def test_no_core_raises_over_damaged_frames() -> None:
    damaged = ended_early = 0
    for seed in range(SEEDS):
        run = Run(seed)
        run.hardship.rates.garble = 0.3
        run.hardship.every_ns = {"cut": 60 * MS}
        run.cluster.world.oracles.clear()  # a flipped bit in an item is delivered as it came
        run.cluster.begin()
        run.faults.begin()
        try:
            run.cluster.world.run(300 * MS)
        except SimulationFailure as failure:
            if failure.kind is not Kind.CORRECTNESS:
                raise
            ended_early += 1  # what the user got was damaged
        except (ValueError, LookupError, AssertionError, TypeError, AttributeError):
            ended_early += 1  # the simulated body or user stumbled, in tests/sim
        damaged += run.cluster.world.network.counts.garbled
    assert damaged > 500
    assert ended_early < SEEDS
