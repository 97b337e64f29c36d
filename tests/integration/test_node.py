"""A whole node from outside: its start, its end, its failures to start, and its command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.integration.listening import listening
from tests.integration.talker import Talker
from tests.integration.watching import is_alive, marked, wait_until
from zgen.exceptions import NodeDiedError, NodeStartError, ObjectLostError
from zgen.io import folders, spawn
from zgen.io.descriptors import Descriptors
from zgen.io.inquiry import query_node
from zgen.io.release import PYTHON, RELEASE
from zgen.wire.lease import JobRegistered, LeaseGranted, LogLines, ProcessDown, RequestLease
from zgen.wire.session import Address

ROOT = Path(__file__).resolve().parents[2]
MAINS = "tests.integration.worker_mains"


def start(worker_main: str = "sleep", **options: Any) -> spawn.NodeProcess:
    return spawn.start_node(2, worker_main=f"{MAINS}:{worker_main}", **options)


def test_a_ready_node_says_who_it_is() -> None:
    node = start()
    try:
        facts = json.loads((Path(node.folder) / folders.NODE_FILE).read_text())
        assert facts["peer"] == node.address.peer.hex()
        assert facts["endpoint"] == node.address.endpoint
        assert facts["embedded"]
        assert (facts["release"], facts["python"]) == (RELEASE, PYTHON)
        assert facts["resources"] == {"CPU": 2.0}
        assert is_alive(facts["supervisor"])
        assert is_alive(facts["daemon"])
        assert len(marked(node.folder)) == 3
        assert listening(node.folder) == []
        assert os.getsid(facts["supervisor"]) == facts["supervisor"]
    finally:
        node.stop()
    assert marked(node.folder) == []
    assert not os.path.exists(node.folder)


def test_a_node_serves_descriptors_to_its_user_alone_until_it_ends() -> None:
    node = start()
    try:
        assert os.stat(node.folder).st_mode & 0o777 == 0o700
        descriptors = Descriptors(node.folder)
        with pytest.raises(ObjectLostError, match="slab 1"):
            descriptors.fetch(1, write=True)
    finally:
        node.stop()
    with pytest.raises(NodeDiedError):
        descriptors.fetch(1, write=True)


def test_a_node_answers_for_its_resources() -> None:
    node = start(resources={"gpu": 0.5, "none": 0})
    try:
        state = query_node(node.address, node.folder)
        assert state["total"] == {"CPU": "2", "gpu": "0.5"}
        assert (state["workers"], state["jobs"]) == ([], [])
    finally:
        node.stop()


def test_a_question_to_nobody_ends_in_time() -> None:
    node = start()
    try:
        stranger = Address(node.address.peer, 1, f"{node.address.endpoint}x")
        with pytest.raises(NodeStartError, match="no answer within"):
            query_node(stranger, node.folder, timeout_s=0.2)
    finally:
        node.stop()


def test_two_nodes_do_not_know_of_each_other() -> None:
    first, second = start(), start()
    first.stop()
    assert is_alive(second.facts.daemon)
    second.stop()


def test_a_worker_main_that_cannot_be_loaded_is_named() -> None:
    with pytest.raises(NodeStartError, match="No module named 'missing'") as error:
        spawn.start_node(1, worker_main="missing:run")
    assert not error.value.may_have_run


def test_a_runtime_folder_that_others_may_enter_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = Path(os.environ["XDG_RUNTIME_DIR"]) / "x"
    base.mkdir()
    (base / "zgen").mkdir()
    (base / "zgen").chmod(0o777)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    with pytest.raises(NodeStartError, match="mode 777"):
        start()


def test_an_interpreter_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(NodeStartError, match="ended before it was ready"):
        start()
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(NodeStartError, match="/no/such/python"):
        start()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_signal_ends_the_node_cleanly(number: signal.Signals) -> None:
    node = start()
    os.kill(node.facts.supervisor, number)
    assert node.wait() == 0
    assert marked(node.folder) == []
    assert not os.path.exists(node.folder)
    node.stop()


def test_a_dead_daemon_is_told_as_a_failure() -> None:
    node = start()
    os.kill(node.facts.daemon, signal.SIGKILL)
    assert node.wait() == 1
    node.stop()
    assert marked(node.folder) == []


def test_a_fork_of_the_starter_neither_stops_nor_keeps_the_node() -> None:
    node = start()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        node.stop()
        os.write(write, b"x")
        time.sleep(1000)
    assert os.read(read, 1) == b"x"
    assert is_alive(node.facts.daemon)
    began = time.monotonic()
    node.stop()  # though the fork still holds the pipe
    assert time.monotonic() - began < 2
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(read)
    os.close(write)


def test_a_stopped_supervisor_is_killed_in_the_end() -> None:
    node = start()
    os.kill(node.facts.supervisor, signal.SIGSTOP)
    node.stop(timeout_s=0.2)
    assert marked(node.folder) == []
    assert not os.path.exists(node.folder)


def test_an_idle_node_uses_no_processor() -> None:
    node = start("sleep")
    talker = Talker(node.address, node.folder)
    talker.register()
    talker.hear(JobRegistered)
    try:
        wait_until(partial(_rests, node.folder), 20.0, "what its start still had to do is done")
        before = _ticks(node.folder)
        time.sleep(2.0)
        assert _ticks(node.folder) - before <= 2  # of 10 ms, over all of its processes
    finally:
        talker.abandon()
        node.stop()


def _rests(folder: str) -> bool:
    before = _ticks(folder)
    time.sleep(0.5)
    return _ticks(folder) == before


def _ticks(folder: str) -> int:
    total = 0
    for pid in marked(folder):
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total


def test_a_real_worker_is_leased_and_its_death_is_told() -> None:
    node = spawn.start_node(1)
    talker = Talker(node.address, node.folder)
    try:
        talker.register()
        talker.hear(JobRegistered)
        talker.say(RequestLease(b"l" * 16, talker.job, (("CPU", 10_000),), "work"))  # type: ignore[arg-type]  # any 16 bytes name a lease
        granted = talker.hear(LeaseGranted)
        path = Path(granted.worker.endpoint.removeprefix("ipc://"))
        assert path.is_socket()
        os.kill(granted.pid, signal.SIGKILL)
        down = talker.hear(ProcessDown, within_s=1.0)
        assert (down.peer, down.pid) == (granted.worker.peer, granted.pid)
        assert (down.exit_code, down.signal) == (-1, signal.SIGKILL)
        assert not path.exists()
    finally:
        talker.close()
        node.stop()


def test_a_driver_that_dies_in_a_started_node_takes_its_workers_along() -> None:
    node = start("breed", embedded=False)
    script = (
        "import sys, time\n"
        "from tests.integration.talker import Talker\n"
        "from zgen.io.spawn import find_node\n"
        "from zgen.wire.lease import LogLines\n"
        "found = find_node()\n"
        "talker = Talker(found.address, found.folder)\n"
        "talker.register()\n"
        "print(talker.hear(LogLines).lines[0], flush=True)\n"
        "time.sleep(1000)\n"
    )
    path = os.pathsep.join([str(ROOT), str(ROOT / "node")])
    driver = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert driver.stdout is not None
    try:
        pids = [int(pid) for pid in driver.stdout.readline().split()[1:]]
        assert all(map(is_alive, pids))
        sockets = len(list(Path(node.folder).glob("*.sock")))
        driver.kill()
        driver.wait()
        wait_until(lambda: not any(map(is_alive, pids)), 1.0, f"{pids} gone")
        wait_until(lambda: len(marked(node.folder)) == 3, 1.0, "all workers gone")
        assert sockets == 2
        wait_until(lambda: len(list(Path(node.folder).glob("*.sock"))) == 1, 1.0, "its socket")
    finally:
        driver.kill()
        driver.wait()
        driver.stdout.close()
        node.stop()


# -- command line ----------------------------------------------------------------------------------
def zgen(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "zgen.cli", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.fixture
def started() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "zgen.cli", "node", "start", "--num-cpus", "1"]
    command += ["--object-store-memory", "2000000", "--object-spilling-directory", "."]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline().startswith("zgen node with 1 CPUs at ipc://")
        yield process
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def test_a_started_node_is_shown_found_and_stopped(started: subprocess.Popen[str]) -> None:
    shown = zgen("node", "status")
    assert shown.returncode == 0
    assert "1 of 1 CPU free" in shown.stdout
    (state,) = json.loads(zgen("node", "status", "--json").stdout)
    found = spawn.find_node()
    assert state["node"] == found.address.peer.hex()
    assert state["daemon_pid"] == found.daemon
    facts = json.loads((Path(found.folder) / folders.NODE_FILE).read_text())
    assert (facts["store_bytes"], facts["spill_folder"]) == (2_000_000, str(ROOT))
    stopped = zgen("node", "stop")
    assert (stopped.returncode, stopped.stdout) == (0, f"stopped: {found.address.endpoint}\n")
    assert started.wait(5) == 0
    assert marked(found.folder) == []
    assert zgen("node", "status").returncode == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_started_node_ends_with_its_terminal(
    started: subprocess.Popen[str], number: signal.Signals
) -> None:
    found = spawn.find_node()
    started.send_signal(number)
    assert started.wait(5) == 0
    assert marked(found.folder) == []
    assert not os.path.exists(found.folder)


def test_the_command_line_says_what_is_wrong() -> None:
    assert zgen("--version").stdout == f"zgen {RELEASE}, Python {PYTHON}\n"
    assert "no amount" in zgen("node", "start", "--num-cpus", "-1").stderr
    assert "not JSON" in zgen("node", "start", "--resources", "{").stderr
    assert "object of numbers" in zgen("node", "start", "--resources", '{"a": true}').stderr
    assert "at least 1048576" in zgen("node", "start", "--object-store-memory", "9").stderr
    missing = zgen("node", "start", "--object-spilling-directory", "/missing")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "object_spilling_directory='/missing'" in missing.stderr
    assert zgen("node", "stop").stdout == "no node of this user runs here\n"
    assert zgen().returncode == 2


def test_lines_of_a_worker_reach_its_driver() -> None:
    node = start("speak", prestart=True)
    talker = Talker(node.address, node.folder)
    try:
        talker.register()
        said = [talker.hear(LogLines) for _ in range(3)]
        assert "second ü" in [line for lines in said for line in lines.lines]
    finally:
        talker.close()
        node.stop()
