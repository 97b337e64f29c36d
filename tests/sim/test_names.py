"""Names over several nodes under hardship: some seeds of the scenario that ``make sim`` runs."""

from __future__ import annotations

import pytest

from tests.sim.names_run import run_names

#: Rare branches that these seeds reach between them.
MARKS = (
    "keeper that counts other keepers asked",
    "gives way to who has the first keeper of a name",
    "who votes is taken over by a newcomer",
    "name asked for on the smaller side of a cut",
)


@pytest.mark.slow  # make sim runs such seeds, and asks for the marks
def test_a_name_has_one_actor_that_anybody_finds_whatever_dies() -> None:
    outcomes = [run_names(seed) for seed in (1, 3, 5)]
    assert [outcome.failure for outcome in outcomes] == [None] * len(outcomes)
    reached = {mark for outcome in outcomes for mark in outcome.marks}
    assert [mark for mark in MARKS if mark not in reached] == []
    assert sum(outcome.totals["names given"] for outcome in outcomes) > 50
    assert sum(outcome.totals["names found"] for outcome in outcomes) > 50
