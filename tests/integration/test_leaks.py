from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from zgen.testing import leaks

SLEEPER = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
#: Starts a sleeper, prints its pid and ends: the sleeper is nobody's child any more.
ORPHAN_MAKER = [
    sys.executable,
    "-S",
    "-c",
    "import subprocess, sys;"
    "null = subprocess.DEVNULL;"
    "print(subprocess.Popen(sys.argv[1:], start_new_session=True, stdout=null, stderr=null).pid)",
    *SLEEPER,
]


@contextmanager
def expected(text: str) -> Iterator[None]:
    """Assert that the block leaves behind exactly one thing, described with ``text``."""
    before = leaks.Snapshot.take()
    yield
    left = leaks.left_behind(before, patience_s=0.2)
    assert len(left) == 1, left
    assert text in left[0]


def test_nothing_is_left_by_a_test_that_does_nothing() -> None:
    before = leaks.Snapshot.take()
    assert leaks.left_behind(before, patience_s=0.0) == []


def test_a_child_process_is_found_and_ended() -> None:
    before = leaks.Snapshot.take()
    with subprocess.Popen(SLEEPER) as child:
        left = leaks.left_behind(before, patience_s=0.0)
        assert len(left) == 1
        assert f"process {child.pid} " in left[0]
        leaks.end_processes(before)
        assert child.wait() is not None


def test_a_process_that_is_nobodys_child_is_found_by_its_environment() -> None:
    before = leaks.Snapshot.take()
    pid = int(subprocess.run(ORPHAN_MAKER, check=True, capture_output=True, text=True).stdout)
    try:
        left = leaks.left_behind(before, patience_s=0.0)
        assert any(f"process {pid} " in text for text in left), left
    finally:
        leaks.end_processes(before)
    assert leaks.left_behind(before) == []


def test_a_process_that_ends_in_time_is_waited_for() -> None:
    before = leaks.Snapshot.take()
    child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(0.2)"])
    waiter = threading.Thread(target=child.wait)
    waiter.start()
    assert leaks.left_behind(before) == []
    waiter.join()


def test_a_thread_is_found() -> None:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="forgotten")
    with expected("forgotten"):
        thread.start()
    stop.set()
    thread.join()


@pytest.mark.parametrize("kind", ["pipe", "file", "memfd"])
def test_a_descriptor_is_found(kind: str, tmp_path: Path) -> None:
    opened: list[int] = []
    with expected("descriptor"):
        if kind == "pipe":
            reader, writer = os.pipe()
            os.close(writer)
            opened.append(reader)
        elif kind == "file":
            opened.append(os.open(tmp_path / "x", os.O_CREAT | os.O_RDWR))
        else:
            opened.append(os.memfd_create("x"))
    for descriptor in opened:
        os.close(descriptor)


def test_a_session_folder_is_found() -> None:
    folder = leaks.runtime_folder() / "node-0123abcd"
    folder.parent.mkdir(mode=0o700, exist_ok=True)
    with expected(str(folder)):
        folder.mkdir()
    folder.rmdir()


def test_every_run_has_a_runtime_folder_of_its_own(own_runtime_folder: Path) -> None:
    assert leaks.runtime_folder() == own_runtime_folder / "zgen"
    assert len(str(own_runtime_folder)) < 60


LEAKY = """
import os, threading, time
import pytest
from zgen.testing import leaks

leaks.PATIENCE_S = 0.1

{mark}
def test_leaks() -> None:
    os.pipe()
"""


@pytest.mark.parametrize(
    ("folder", "mark", "status"),
    [
        ("integration", "", 1),
        ("unit", "@pytest.mark.chaos", 1),
        ("unit", "", 0),
    ],
)
def test_a_leak_fails_the_real_tests_and_only_those(
    folder: str, mark: str, status: int, tmp_path: Path
) -> None:
    root = Path(__file__).parents[2]
    copy = tmp_path / "tests" / "conftest.py"
    copy.parent.mkdir(parents=True)
    copy.write_bytes((root / "tests" / "conftest.py").read_bytes())
    (tmp_path / "pyproject.toml").write_bytes((root / "pyproject.toml").read_bytes())
    leaky = tmp_path / "tests" / folder / "test_leaky.py"
    leaky.parent.mkdir(exist_ok=True)
    leaky.write_text(LEAKY.format(mark=mark))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(leaky)]
    run = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "node")])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == status, run.stdout + run.stderr
    assert ("left behind" in run.stdout) == (status == 1)
