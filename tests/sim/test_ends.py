"""Streams that are closed or return values: some seeds of the scenario whose others run apart."""

from __future__ import annotations

import pytest

from tests.sim.ends_run import run_ends
from tests.sim.marks import ENDS


@pytest.mark.slow  # make sim runs such seeds, and asks for the marks
def test_what_is_closed_ends_and_what_was_returned_is_had() -> None:
    outcomes = [run_ends(seed) for seed in range(12)]
    assert [outcome.failure for outcome in outcomes] == [None] * len(outcomes)
    reached = {mark for outcome in outcomes for mark in outcome.marks}
    assert [mark for mark in ENDS if mark not in reached] == []
    assert sum(outcome.totals["closed"] for outcome in outcomes) > 50
    assert sum(outcome.totals["returned"] for outcome in outcomes) > 50
