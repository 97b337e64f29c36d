"""Two-way streams: some seeds of the scenario whose others run apart."""

from __future__ import annotations

import pytest

from tests.sim.dialogue_run import run_dialogue
from tests.sim.marks import DIALOGUE


@pytest.mark.slow  # make sim runs such seeds, and asks for the marks
def test_a_body_is_given_what_was_sent_and_again_what_it_must_repeat() -> None:
    outcomes = [run_dialogue(seed) for seed in range(25)]
    assert [outcome.failure for outcome in outcomes] == [None] * len(outcomes)
    reached = {mark for outcome in outcomes for mark in outcome.marks}
    assert [mark for mark in DIALOGUE if mark not in reached] == []
    assert sum(outcome.totals["inputs"] for outcome in outcomes) > 500
    assert sum(outcome.totals["inputs again"] for outcome in outcomes) > 200
    assert sum(outcome.totals["logs lost"] for outcome in outcomes) > 0
