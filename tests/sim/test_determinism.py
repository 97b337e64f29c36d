"""One seed, one history; see ``make sim`` for the seeds themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.sim.run import run_seed
from zgen.sim.oracle import Kind, SimulationFailure

ROOT = Path(__file__).resolve().parents[2]
SEEDS = 4


def digests(hash_seed: str) -> str:
    command = [sys.executable, "scripts/sim.py", "--seeds", str(SEEDS), "--processes", "1"]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    ran = subprocess.run(
        [*command, "--digests"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout


def test_a_seed_has_one_digest_whatever_the_hash_seed() -> None:
    first, second = digests("1"), digests("2")
    if first != second:
        raise SimulationFailure(Kind.NONDETERMINISM, f"make sim SEEDS={SEEDS}\n{first}\n{second}")
    assert first.count("\n") == SEEDS


def test_different_seeds_have_different_histories() -> None:
    assert run_seed(1).digest != run_seed(2).digest


def test_a_seed_has_one_digest_within_a_process() -> None:
    assert run_seed(3).digest == run_seed(3).digest
