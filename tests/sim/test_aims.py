"""Every kind of message under every fault: all are aimed at, and a sample is run."""

from __future__ import annotations

import pytest

from tests.sim.aimed_seeds import SEEDS
from tests.sim.aims import MEMBERS, NOT_SENT, RUNS, Case, cases, is_missed, run_at, run_case, table
from zgen.mishaps.catalogue import Action, names
from zgen.sim.aim import Crash

EVERY = list(cases())
#: Which ones ``make test`` runs; `scripts/sim.py --faults` runs all.
SAMPLE = EVERY[::79]


def test_every_kind_of_the_catalogue_is_aimed_at() -> None:
    uncovered = [kind for kind in names().values() if kind not in SEEDS and kind not in NOT_SENT]
    assert not uncovered, "find seeds in which these flow, for tests/sim/aimed_seeds.py"
    assert not [kind for kind in NOT_SENT if kind in SEEDS]
    assert not [kind for kind in (*SEEDS, *NOT_SENT) if kind not in names().values()]
    for places in SEEDS.values():
        assert all(scenario in RUNS or scenario in MEMBERS for scenario, _ in places)


def test_no_kind_is_left_out() -> None:
    assert not NOT_SENT


def test_every_fault_is_aimed_at_every_kind_that_is_sent() -> None:
    aimed = {(case.kind, case.fault) for case in EVERY}
    for kind in SEEDS:
        for fault in (Action.DROP, Action.INFLIGHT_RETRY, Action.DUP, Action.DELAY, *Crash):
            assert (kind, fault) in aimed


@pytest.mark.parametrize("case", SAMPLE, ids=lambda case: f"{case.kind}-{case.fault.name}")
def test_a_fault_at_a_message_is_survived(case: Case) -> None:
    result = run_case(case)
    assert not result.failure
    assert not is_missed(result)


def test_the_same_fault_at_the_same_message_makes_the_same_history() -> None:
    case = Case("ReportItems", Action.INFLIGHT_RETRY)
    (scenario, seed), *_ = SEEDS[case.kind]
    one, other = run_at(case, scenario, seed), run_at(case, scenario, seed)
    assert one.hits == 1
    assert one.seen == other.seen


def test_a_message_that_is_always_lost_is_not_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    from zgen.mishaps.dice import Verdict
    from zgen.sim import aim

    def lose(self: object, kind: int, *, again: bool, kept: bool) -> Verdict | None:
        return Verdict(Action.DROP, kind) if names()[kind] == "PushTasks" else None

    monkeypatch.setattr(aim._AimedAt, "on_send", lose)
    (scenario, seed), *_ = SEEDS["PushTasks"]
    assert run_at(Case("PushTasks", Action.DROP), scenario, seed).failure


def test_the_table_says_what_was_survived_and_what_was_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(NOT_SENT, "EndJob", "nobody says so")
    results = [run_case(Case("PushTasks", Action.DROP)), run_case(Case("Goodbye", Action.DUP))]
    results[1].failure = "it hung"
    text = table(results)
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in text.splitlines()}
    assert "| yes |" in rows["PushTasks"]
    assert "**no**" in rows["Goodbye"]
    assert "no answer" in rows["Goodbye"]
    assert "not sent" in rows["EndJob"]
