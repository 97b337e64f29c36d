"""The main job over nodes, the first of which is killed in the midst of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.integration.scripts import ROOT, environment

pytestmark = pytest.mark.chaos


@pytest.mark.slow
def test_the_main_job_over_three_nodes_outlives_the_first_one() -> None:
    script = [sys.executable, str(ROOT / "scripts" / "demo.py"), "--nodes", "3", "--files", "80"]
    done = subprocess.run(
        script, capture_output=True, text=True, env=environment(), timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SIGKILL to all processes of node" in done.stdout
    assert "equal: yes, lost: 0, repeated: 0, kills: " in done.stdout
