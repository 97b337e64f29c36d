"""Actors under hardship: some seeds of the scenario whose others ``make sim`` runs."""

from __future__ import annotations

import pytest

from tests.sim.actor_run import run_actors
from tests.sim.self_calls import run_self_calls

#: Rare branches that these seeds reach between them.
MARKS = (
    "actor restarted",
    "actor dropped before it was created",
    "call sent again to the next life of its actor",
    "worker died before it began to create its actor",
    "last call in flight ended after its actor",
    "kill of a dead actor ignored",
    "worker left on its own",
)


@pytest.mark.slow  # make sim runs such seeds, and asks for the marks
def test_actors_keep_their_promises_whatever_dies() -> None:
    outcomes = [run_actors(seed) for seed in range(18, 26)]
    assert [outcome.failure for outcome in outcomes] == [None] * len(outcomes)
    assert sum(outcome.totals["calls"] for outcome in outcomes) > 100
    reached = {mark for outcome in outcomes for mark in outcome.marks}
    assert [mark for mark in MARKS if mark not in reached] == []


#: Rare branches that cancelled calls reach.
CANCEL_MARKS = (
    "cancelled call waiting for arguments",
    "cancelled call waiting for a worker",
    "cancelled in a worker's queue",
    "body ended that was told to have ended",
    "child cancelled with its parent",
)


def test_cancelled_calls_end_wherever_they_are() -> None:
    outcomes = [run_actors(seed) for seed in (0, 49)]
    assert [outcome.failure for outcome in outcomes] == [None] * len(outcomes)
    assert sum(outcome.totals["cancelled"] for outcome in outcomes) > 20
    reached = {mark for outcome in outcomes for mark in outcome.marks}
    assert [mark for mark in CANCEL_MARKS if mark not in reached] == []


@pytest.mark.parametrize(
    ("seed", "fault"),
    [
        (3, "the name of an actor whose creation failed for an argument was not freed"),
        (4, "nothing was decided when the last call in flight ended after the verdict"),
        (336, "a call that waits before it runs again fails with its actor, and had run"),
    ],
)
def test_a_seed_that_failed_once_is_green(seed: int, fault: str) -> None:
    assert run_actors(seed).failure is None, fault


def test_actors_call_themselves_and_calls_fail_before_they_leave() -> None:
    outcomes = [run_self_calls(seed) for seed in (3, 12)]
    assert [outcome.failure for outcome in outcomes] == [None] * len(outcomes)
