"""What docs/reference/ray-and-zgen.md says that Ray has is what Ray does."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path

import pytest

from scripts.benchmark.subject import RAY_QUIET
from scripts.compare_table import FEATURES
from tests.conformance.test_programs import python_with_ray
from tests.integration.scripts import environment

PROGRAM = Path(__file__).parent / "what_ray_has.py"


@cache
def what_ray_has() -> dict[str, str]:
    python = python_with_ray()
    if python is None:
        pytest.skip("Ray is not installed: `make conformance` does that")
    kept = {name: text for name, text in environment().items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, str(PROGRAM)],
        capture_output=True,
        text=True,
        env={**kept, **RAY_QUIET},
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.ray
@pytest.mark.timeout(180)
@pytest.mark.parametrize("feature", FEATURES)
def test_ray_has_what_the_table_says(feature: str) -> None:
    assert what_ray_has()[feature] == FEATURES[feature].ray


def test_every_row_is_tried_out_on_ray() -> None:
    text = PROGRAM.read_text()
    assert [feature for feature in FEATURES if f"\ndef {feature}() -> str:" not in text] == []
