"""Streams that lose items while they run: some seeds of the scenario whose others run apart."""

from __future__ import annotations

import pytest

from tests.sim.marks import STOPPED
from tests.sim.stopped_run import run_stopped


@pytest.mark.slow  # make sim runs such seeds, and asks for the marks
def test_what_a_stream_has_lost_comes_though_it_does_not_end() -> None:
    outcomes = [run_stopped(seed) for seed in range(8)]
    assert [outcome.failure for outcome in outcomes] == [None] * len(outcomes)
    reached = {mark for outcome in outcomes for mark in outcome.marks}
    assert [mark for mark in STOPPED if mark not in reached] == []
