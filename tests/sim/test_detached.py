"""Detached actors under hardship: some seeds of the scenario that ``make sim`` runs."""

from __future__ import annotations

import pytest

from tests.sim.detached_run import run_detached
from tests.sim.marks import DETACHED


@pytest.mark.slow  # make sim runs such seeds, and asks for the marks
def test_a_detached_actor_is_there_again_when_its_keeper_or_any_node_dies() -> None:
    outcomes = [run_detached(seed) for seed in (1, 4, 6, 8, 14, 15)]
    assert [outcome.failure for outcome in outcomes] == [None] * len(outcomes)
    reached = {mark for outcome in outcomes for mark in outcome.marks}
    assert [mark for mark in DETACHED if mark not in reached] == []
    assert sum(outcome.totals["of them again"] for outcome in outcomes) > 2
    assert sum(outcome.totals["after the last stroke"] for outcome in outcomes) > 2
