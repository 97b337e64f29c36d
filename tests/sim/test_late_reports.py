"""The fences of the owner's tables, without the session's in front of them."""

from __future__ import annotations

from tests.sim.late_reports import run_late
from zgen.sim.oracle import Marks


def test_reports_of_the_dead_and_repeated_ones_change_nothing() -> None:
    with Marks() as marks:
        failures = {seed: failure for seed in range(20) if (failure := run_late(seed))}
    assert not failures
    assert marks.counts["stale attempt dropped"]
    assert marks.counts["outcome of an old attempt refused"]
    assert marks.counts["report after the end dropped"]
