"""Nodes that drain under hardship: some seeds of the scenario whose others ``make sim`` runs."""

from __future__ import annotations

import pytest

from tests.sim.drain_run import run_drain


@pytest.mark.slow  # make sim runs such seeds, and asks for the marks
def test_nodes_that_drain_begin_nothing_new_and_leave_when_nothing_is_left() -> None:
    outcomes = [run_drain(seed) for seed in range(6)]
    assert [outcome.failure for outcome in outcomes] == [None] * len(outcomes)
    assert sum(outcome.totals["drains"] for outcome in outcomes) > 6
    assert sum(outcome.totals["left well"] for outcome in outcomes) > 0
