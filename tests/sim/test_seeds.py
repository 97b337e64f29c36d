"""Seeds of the whole cluster that failed once; ``make sim`` runs the others."""

from __future__ import annotations

import pytest

from tests.sim.run import run_seed


@pytest.mark.parametrize(
    ("seed", "fault"),
    [
        (8, "completed() of a stream whose handle was gone never became ready"),
        (0, "the end of a closed stream was refused, as its producer had dropped items"),
        (79, "a task that was handed back passed for one that had been started"),
        (627, "a hello of the dead did not count as a sign of life on a closing line"),
        (1225, "the last words of the dead on a fresh connection were refused"),
    ],
)
def test_a_seed_that_failed_once_is_green(seed: int, fault: str) -> None:
    outcome = run_seed(seed)
    assert outcome.failure is None, fault
    assert outcome.totals["processes"] >= 3
    assert outcome.totals["deliveries"] > 0
