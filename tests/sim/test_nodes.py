"""Several nodes under hardship: some seeds of the scenario whose others ``make sim`` runs."""

from __future__ import annotations

import pytest

from tests.sim.nodes_run import run_nodes

#: Rare branches that these seeds reach between them.
MARKS = (
    "request of another node handed back",
    "request of a node that is gone queues again",
    "request for a node that is gone refused",
    "grant of another node that nobody wants any more",
    "end of a process of another node that nobody watches",
)


@pytest.mark.slow  # make sim runs such seeds, and asks for the marks
def test_nodes_keep_their_promises_whatever_dies() -> None:
    outcomes = [run_nodes(seed) for seed in range(8)]
    assert [outcome.failure for outcome in outcomes] == [None] * len(outcomes)
    reached = {mark for outcome in outcomes for mark in outcome.marks}
    assert [mark for mark in MARKS if mark not in reached] == []
    assert sum(outcome.totals["far grants"] for outcome in outcomes) > 50


@pytest.mark.parametrize(("seed", "fault"), [(0, "a guess of what is free stood for ever")])
def test_a_seed_that_failed_once_is_green(seed: int, fault: str) -> None:
    assert run_nodes(seed).failure is None, fault
