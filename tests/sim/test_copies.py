"""Several nodes with large values: some seeds of the scenario whose others ``make sim`` runs."""

from __future__ import annotations

import pytest

from tests.sim.copies_run import run_copies

#: Rare branches that these seeds reach between them.
MARKS = (
    "copy given up for room",
    "value on another node owned",
    "view of a region that was given up",
)


@pytest.mark.slow  # make sim runs such seeds, and asks for the marks
def test_large_values_go_from_node_to_node_whatever_dies() -> None:
    outcomes = [run_copies(seed) for seed in range(12)]
    assert [outcome.failure for outcome in outcomes] == [None] * len(outcomes)
    reached = {mark for outcome in outcomes for mark in outcome.marks}
    assert [mark for mark in MARKS if mark not in reached] == []
    assert sum(outcome.totals["copied"] for outcome in outcomes) > 25
