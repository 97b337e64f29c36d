"""Lost objects are made again: some seeds of the scenario whose others ``make sim`` runs."""

from __future__ import annotations

import pytest

from tests.sim.rebuild_run import run_rebuild

#: Rare branches that these seeds reach between them.
MARKS = (
    "lost object is to be made again",
    "argument of a lost object made again",
    "task handed back whose arguments are gone",
    "replay for lost items that ended otherwise",
)


@pytest.mark.slow  # make sim runs such seeds, and asks for the marks
def test_what_a_node_takes_with_it_comes_again_or_says_why_not() -> None:
    outcomes = [run_rebuild(seed) for seed in (*range(12), 24, 269)]
    assert [outcome.failure for outcome in outcomes] == [None] * len(outcomes)
    reached = {mark for outcome in outcomes for mark in outcome.marks}
    assert [mark for mark in MARKS if mark not in reached] == []
    assert sum(outcome.totals["rebuilt"] for outcome in outcomes) > 10
