"""Nodes in trouble: some seeds of the scenario whose others ``make sim`` runs."""

from __future__ import annotations

import pytest

from tests.sim.survival_run import run_survival

#: Rare branches that these seeds reach between them.
MARKS = (
    "worker ended for memory",
    "last resort for memory",
    "requests refused after failed starts",
)


@pytest.mark.slow  # make sim runs such seeds, and asks for the marks
def test_what_runs_where_workers_do_not_start_or_memory_runs_out_keeps_its_promises() -> None:
    outcomes = [run_survival(seed) for seed in range(5, 13)]
    assert [outcome.failure for outcome in outcomes] == [None] * len(outcomes)
    reached = {mark for outcome in outcomes for mark in outcome.marks}
    assert [mark for mark in MARKS if mark not in reached] == []
