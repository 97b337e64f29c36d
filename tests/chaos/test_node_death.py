"""SIGKILL of a node's processes, one by one and all at once: only a living driver is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.talker import Talker
from tests.integration.watching import is_alive, marked, wait_until
from zgen.io import folders
from zgen.io.spawn import start_node
from zgen.wire.lease import LogLines

ROOT = Path(__file__).resolve().parents[2]
BREED = "tests.integration.worker_mains:breed"


@dataclass
class Started:
    """A node below a driver of its own, with two workers that started three processes each."""

    process: subprocess.Popen[bytes]
    driver: int
    fork: int
    folder: str
    supervisor: int
    daemon: int
    workers: list[int]
    bred: list[int]

    @property
    def below(self) -> list[int]:
        """Everything but the driver."""
        return [pid for pid in marked(self.folder) if pid != self.driver]

    def kill(self, pid: int) -> None:
        assert is_alive(pid)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_alive(pid), 1.0, f"{pid} dead")

    def is_gone(self) -> bool:
        return not self.below and not os.path.exists(self.folder)


@pytest.fixture
def started() -> Iterator[Started]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "node")])
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.starter", "breed"],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert process.stdout is not None
    node = None
    try:
        facts = json.loads(process.stdout.readline())
        node = Started(process, **facts)
        # Supervisor, daemon, zygote, two workers, six of theirs; all of them carry the mark.
        # A process has no environment to be read for a moment while it executes another program.
        made = node
        wait_until(lambda: len(made.below) == 11, 5.0, "all eleven run")
        assert all(map(is_alive, node.bred))
        yield node
    finally:
        if node is not None:
            os.kill(node.fork, signal.SIGKILL)
        process.kill()
        process.wait()
        process.stdout.close()


def test_the_drivers_death_ends_its_node(started: Started) -> None:
    started.kill(started.driver)
    wait_until(started.is_gone, 3.0, f"{started.below} in {started.folder} gone")
    assert is_alive(started.fork)


def test_the_daemons_death_ends_the_node_and_not_the_driver(started: Started) -> None:
    started.kill(started.daemon)
    wait_until(started.is_gone, 3.0, f"{started.below} in {started.folder} gone")
    assert is_alive(started.driver)


def test_the_supervisors_death_ends_the_node_and_not_the_driver(started: Started) -> None:
    started.kill(started.supervisor)
    wait_until(started.is_gone, 3.0, f"{started.below} in {started.folder} gone")
    assert is_alive(started.driver)


def test_a_stopped_daemon_does_not_outlive_its_driver(started: Started) -> None:
    os.kill(started.daemon, signal.SIGSTOP)
    started.kill(started.driver)
    wait_until(started.is_gone, 3.0, f"{started.below} in {started.folder} gone")


def test_a_workers_death_ends_what_it_started_and_nothing_else(started: Started) -> None:
    worker = started.workers[0]
    started.kill(worker)
    first, second = started.bred[:3], started.bred[3:]
    wait_until(lambda: not any(map(is_alive, first)), 1.0, f"{first} gone")
    assert all(map(is_alive, [started.supervisor, started.daemon, started.workers[1], *second]))


@pytest.mark.parametrize("first", ["supervisor", "daemon"])
def test_what_two_deaths_leave_is_swept_by_clean(started: Started, first: str) -> None:
    pair = [started.supervisor, started.daemon]
    if first == "daemon":
        pair.reverse()
    zygote = _parent(started.workers[0])
    for pid in [*pair, zygote]:
        os.kill(pid, signal.SIGSTOP)  # so that none cleans up after another
    for pid in pair:
        started.kill(pid)
    # The zygote and the workers go with their parents; what they started has nobody left.
    gone = [zygote, *started.workers]
    wait_until(lambda: not any(map(is_alive, gone)), 1.0, "zygote and workers gone")
    assert subprocess.run([sys.executable, "-m", "zgen.cli", "clean"], cwd=ROOT).returncode == 0
    assert started.is_gone()
    assert is_alive(started.driver)


def test_the_next_start_leaves_nothing_of_a_node_whose_processes_died_at_once(
    started: Started,
) -> None:
    node = [started.supervisor, started.daemon, *started.workers]
    everything = [started.driver, *node]
    for pid in everything:
        os.kill(pid, signal.SIGSTOP)
    for pid in everything:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, everything)), 1.0, f"{everything} dead")
    assert os.path.exists(started.folder)
    assert any(map(is_alive, started.bred)), "nothing was left to be swept"
    fresh = start_node(1, worker_main=BREED)
    assert started.is_gone()
    fresh.stop()


def test_a_zygotes_death_ends_its_workers_and_a_new_one_serves() -> None:
    node = start_node(2, worker_main=BREED)
    talker = Talker(node.address, node.folder)
    try:
        talker.register()
        bred = [talker.hear(LogLines).lines[0].split()[1:] for _ in range(2)]
        pids = [int(pid) for line in bred for pid in line]
        zygote = _parent(pids[0])
        os.kill(zygote, signal.SIGKILL)
        wait_until(lambda: not any(map(is_alive, pids)), 1.0, f"{pids} gone")
        assert not is_alive(zygote)
        # The pool starts anew what it wants to keep ready.
        again = [int(pid) for pid in talker.hear(LogLines).lines[0].split()[1:]]
        assert _parent(again[0]) != zygote
        assert all(map(is_alive, again))
        assert is_alive(node.facts.daemon)
    finally:
        talker.close()
        node.stop()
    assert marked(node.folder) == []


def test_a_stop_leaves_nothing_and_is_fast() -> None:
    node = start_node(2, worker_main=BREED)
    talker = Talker(node.address, node.folder)
    talker.register()
    pids = [int(pid) for _ in range(2) for pid in talker.hear(LogLines).lines[0].split()[1:]]
    talker.close()
    began = time.monotonic()
    node.stop()
    assert time.monotonic() - began < 1.0
    assert marked(node.folder) == []
    assert not any(map(is_alive, pids))
    assert not os.path.exists(node.folder)
    node.stop()  # twice is once


def test_sweeping_spares_the_living_node() -> None:
    node = start_node(1, worker_main=BREED)
    try:
        assert folders.sweep() == []
        assert is_alive(node.facts.daemon)
    finally:
        node.stop()


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])
