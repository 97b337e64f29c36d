"""Zgen's fixtures for pytest, in a run of pytest of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: What each of the files below begins with: zgen where it lies, and little patience with leaks.
BEGINNING = """
import os, sys
import pytest
import zgen
from zgen.testing import leaks, plugin

leaks.PATIENCE_S = plugin.HELD_S = 0.3
kept = []

@zgen.remote
def double(x):
    return 2 * x
"""
CONFTEST = """
from zgen.testing import plugin

def pytest_configure(config):
    if not config.pluginmanager.has_plugin("zgen"):
        config.pluginmanager.register(plugin, "zgen")
"""

Run = Callable[[str], str]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return what pytest says of a file."""

    def run(text: str) -> str:
        (tmp_path / "conftest.py").write_text(CONFTEST)
        (tmp_path / "test_it.py").write_text(BEGINNING + text)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "test_it.py"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "node")])},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr

    return run


def test_tests_share_a_node_and_those_that_keep_something_fail(run: Run) -> None:
    said = run("""
def test_first(zgen_local):
    kept.append(zgen_local.node_id)
    assert zgen.get(double.remote(2)) == 4

def test_keeps_a_reference(zgen_local):
    kept.append(double.remote(3))

def test_fails_and_keeps(zgen_local):
    kept.append(double.remote(3))
    assert False

def test_same_node(zgen_local):
    assert zgen_local.node_id == kept[0]
    assert zgen_local.resources["CPU"] == 2

def test_starts_its_own(zgen_leak_check):
    with zgen.init(num_cpus=1) as mine:
        assert mine.node_id != kept[0]

def test_another_node(zgen_local):
    assert zgen_local.node_id != kept[0]
""")
    assert "5 passed, 1 failed, 1 error" in said or "1 failed, 5 passed, 1 error" in said, said
    assert "ERROR test_it.py::test_keeps_a_reference" in said, said
    assert "the driver still holds:\n  object " in said, said


def test_what_a_test_leaves_on_the_machine_fails_it_and_not_the_next(run: Run) -> None:
    said = run("""
import subprocess

def test_forgets(zgen_leak_check):
    kept.append(os.pipe())
    kept.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]))

def test_never_shuts_down(zgen_leak_check):
    zgen.init(num_cpus=1)

def test_clean(zgen_leak_check):
    zgen.shutdown()
    kept.clear()

def test_cluster(zgen_cluster):
    node = zgen_cluster.add_node(resources={"here": 1})
    zgen.init(address=zgen_cluster.address, key=zgen_cluster.key)
    there = zgen.remote(resources={"here": 1})(
        lambda: zgen.get_runtime_context().get_node_id()
    )
    assert zgen.get(there.remote(), timeout=20) == node.node_id

def test_nothing_of_the_cluster_is_left(zgen_leak_check):
    assert not zgen.is_initialized()
""")
    assert "5 passed, 2 errors" in said, said
    assert "descriptor " in said
    assert "time.sleep(60)" in said
    assert "session folder " in said


def test_the_plugin_costs_nothing_until_it_is_used() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import zgen.testing.plugin; "
        "print(sorted(n for n in set(sys.modules) - before if n.startswith(('zgen', 'zmq'))))"
    )
    path = os.pathsep.join([str(ROOT), str(ROOT / "node")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "['zgen', 'zgen.testing', 'zgen.testing.plugin']"
