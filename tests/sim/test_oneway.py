"""Links that are cut for good: some seeds of the scenario whose others ``make sim`` runs."""

from __future__ import annotations

import pytest

from tests.sim.oneway_run import run_oneway


@pytest.mark.slow  # make sim runs such seeds, and asks for the marks
def test_whatever_is_done_over_a_cut_link_goes_on_by_way_of_a_third_node() -> None:
    outcomes = [run_oneway(seed) for seed in range(8)]
    assert [outcome.failure for outcome in outcomes] == [None] * len(outcomes)
    assert sum(outcome.totals["links cut"] for outcome in outcomes) >= len(outcomes)
    reached = {mark for outcome in outcomes for mark in outcome.marks}
    assert "copy asked for of a node on the way" in reached
