"""Generators that are handed over: some seeds of the scenario whose others run apart."""

from __future__ import annotations

from tests.sim.handover import run_handover


def test_each_item_is_read_once_whoever_reads_it() -> None:
    outcomes = [run_handover(seed) for seed in range(6)]
    assert [outcome.failure for outcome in outcomes] == [None] * len(outcomes)
    totals = {
        what: sum(outcome.totals[what] for outcome in outcomes) for what in outcomes[0].totals
    }
    assert totals["taken"] > 300
    assert min(totals["lent"], totals["passed on"], totals["came back"]) > 10
    assert totals["crashes"] > 10
