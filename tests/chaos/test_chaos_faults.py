"""`zgen chaos` at clusters of real nodes: each fault is made, costs something, and is healed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import zgen
from tests.integration.watching import is_alive, marked, wait_until
from zgen import cli
from zgen.chaos.scope import Scope
from zgen.chaos.victims import is_stopped
from zgen.exceptions import NamespaceError
from zgen.io.inquiry import query_node
from zgen.mishaps import LIVE_RULES_FILE
from zgen.testing import Cluster, Node

COUNT = 200


@zgen.remote(max_retries=-1, num_cpus=1)
def ticks(notes: str, count: int, pause_s: float) -> Iterator[int]:
    with open(notes, "a") as file:
        file.write(f"{os.getpid()}\n")
    for number in range(count):
        time.sleep(pause_s)
        yield number


@zgen.remote
def blob(number: int) -> bytes:
    return bytes([number]) * (4 << 20)


def chaos(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """Make one fault and return its row."""
    assert cli.main(["chaos", *words, "--seed", "5", "--json"]) == 0
    (fault,) = json.loads(capsys.readouterr().out)["faults"]
    assert fault["made"], fault["detail"]
    return dict(fault)


def state(node: Node) -> dict[str, Any]:
    now = node._now()
    return query_node(now.address, now.folder)


def whole(cluster: Cluster, stream: Any) -> None:
    """Check that the rest of a stream comes once and in order, and that all nodes agree."""
    assert [zgen.get(ref, timeout=60) for ref in stream] == list(range(1, COUNT))
    cluster.wait_for_nodes()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Two nodes with a key, whose messages can be harmed, and a program that has joined them."""
    monkeypatch.setenv("ZGEN_CHAOS", "{}")
    with Cluster() as made:
        for number in range(2):
            made.add_node(num_cpus=2, resources={f"n{number}": 9}, object_store_memory=64 << 20)
        zgen.init(address=made.address, key=made.key, log_to_driver=False)
        made.wait_for_nodes()
        yield made
        zgen.shutdown()


def begun(notes: Path, pause_s: float = 0.01, **options: Any) -> Any:
    """Return a stream whose body runs on node 1 while there is one, after its first item."""
    stream = ticks.options(**options).remote(str(notes), COUNT, pause_s)
    assert zgen.get(next(stream), timeout=60) == 0
    return stream


def soft(node: Node) -> dict[str, Any]:
    strategy = zgen.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node.node_id, True)
    return {"scheduling_strategy": strategy}


@pytest.mark.slow
@pytest.mark.parametrize("action", ["kill-daemon", "kill-supervisor", "kill-node"])
def test_what_a_dead_node_ran_is_run_again_elsewhere(
    action: str, cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    victim = cluster.nodes[1]
    stream = begun(tmp_path / "notes", **soft(victim))
    fault = chaos(capsys, "--at", f"0s:{action}", "--node", victim.folder)
    assert fault["node"] == victim._facts.address.peer.hex()
    wait_until(lambda: not marked(victim.folder), 20.0, "nothing of the node is left")
    cluster.remove_node(victim)
    whole(cluster, stream)
    assert len((tmp_path / "notes").read_text().split()) >= 2, "its body ran again"


@pytest.mark.slow
def test_a_paused_node_goes_on_and_costs_a_stream_a_wait_only(
    cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    victim = cluster.nodes[1]
    stream = begun(tmp_path / "notes", **soft(victim))
    began = time.monotonic()
    chaos(capsys, "--at", "0s:pause-node:700ms", "--node", victim.node_id)
    assert time.monotonic() - began >= 0.7
    assert not any(map(is_stopped, marked(victim.folder)))
    whole(cluster, stream)
    assert len((tmp_path / "notes").read_text().split()) == 1, "nothing ran again"


@pytest.mark.slow
@pytest.mark.parametrize(("action", "harm"), [("lose", "drop"), ("delay", "delay")])
def test_harmed_messages_are_sent_again_or_late_and_nothing_is_lost(
    action: str, harm: str, cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    victim = cluster.nodes[1]
    stream = begun(tmp_path / "notes", **soft(victim))
    fault = chaos(capsys, "--at", f"0s:{action}:1500ms", "--node", victim.folder)
    assert fault["lasts_s"] == 1.5
    assert not os.path.exists(os.path.join(victim.folder, LIVE_RULES_FILE))
    whole(cluster, stream)
    assert cli.main(["chaos", "report", "--node", victim.folder, "--json"]) == 0
    sums = json.loads(capsys.readouterr().out)["total"]
    assert sum(row.get(harm, 0) for row in sums.values()) >= 3


@pytest.mark.slow
def test_a_full_store_spills_what_comes_and_is_empty_again(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    victim = cluster.nodes[1]
    before = state(victim)["store"]["used_bytes"]
    made: list[Any] = []
    spilled: list[int] = []

    def while_full(told: str) -> None:
        made.extend(blob.options(**soft(victim)).remote(number) for number in range(6))
        zgen.wait(made, num_returns=6, timeout=60, fetch_local=False)
        spilled.append(state(victim)["store"]["spilled_regions"])

    fault, _ = beside("0s:fill-store:4s", while_full, "--node", victim.folder)
    assert "MiB" in fault
    assert spilled[0] >= 1, "something had to make room"
    for number, ref in enumerate(made):
        assert zgen.get(ref, timeout=60) == bytes([number]) * (4 << 20)
    del made[:], ref
    wait_until(lambda: state(victim)["store"]["used_bytes"] <= before, 20.0, "it is empty again")
    cluster.wait_for_nodes()


def beside(
    at: str, act: Callable[[str], None], *words: str, end: int = 0
) -> tuple[str, subprocess.Popen[str]]:
    """Make a fault by a program, act while it lasts, and end that by a signal or let it end."""
    program = "import sys; from zgen.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "chaos", "--at", at, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert " 1 faults, " in process.stdout.readline()
        told = process.stdout.readline()
        assert "not made" not in told, told
        act(told)
        if end:
            process.send_signal(end)
        assert process.wait(60) == -end
    return told, process


@pytest.mark.slow
def test_reset_connections_are_made_anew_and_nothing_runs_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if os.geteuid():
        pytest.skip("only root resets connections")
    try:
        cluster = Cluster(namespaces=True)
    except NamespaceError as error:
        pytest.skip(error.reason)
    with cluster:
        for number in range(2):
            cluster.add_node(num_cpus=2, resources={f"n{number}": 9})
        zgen.init(address=cluster.address, key=cluster.key, log_to_driver=False)
        try:
            check_reset(cluster, tmp_path / "notes", capsys)
        finally:
            zgen.shutdown()


@pytest.mark.slow
def test_reset_connections_on_loopback_are_only_those_of_the_node(
    cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if os.geteuid():
        pytest.skip("only root resets connections")
    check_reset(cluster, tmp_path / "notes", capsys)


def check_reset(cluster: Cluster, notes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.wait_for_nodes()
    victim = cluster.nodes[1]
    stream = begun(notes, **soft(victim))
    connections = dialled(victim)
    count = int(chaos(capsys, "--at", "0s:cut", "--node", victim.folder)["detail"].split()[0])
    assert count >= 2
    assert connections
    wait_until(lambda: not connections & dialled(victim), 10.0, "its connections are others")
    whole(cluster, stream)
    assert len(notes.read_text().split()) == 1


def dialled(node: Node) -> set[str]:
    """Return the sockets of the established connections that a node has."""
    port = node.address.rpartition(":")[2]
    inside = ["nsenter", f"--net=/proc/{node._now().daemon}/ns/net"]
    command = [*inside, "ss", "-HtneO", "state", "established", f"( sport = :{port} )"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return {word for line in lines for word in line.split() if word.startswith("sk:")}


@pytest.mark.parametrize("action", ["pause-node", "pause-worker", "lose", "fill-store"])
@pytest.mark.slow
def test_what_a_killed_run_left_is_healed_by_its_guard(
    action: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ZGEN_CHAOS", "{}")
    zgen.init(num_cpus=2, object_store_memory=64 << 20)
    try:
        (node,) = Scope().nodes()
        stream = begun(tmp_path / "notes")

        def harmed() -> bool:
            if action == "lose":
                return os.path.exists(os.path.join(node.folder, LIVE_RULES_FILE))
            if action == "fill-store":
                store = query_node(node.address, node.folder)["store"]
                return bool(store["used_bytes"] > store["capacity_bytes"] // 2)
            return any(map(is_stopped, marked(node.folder)))

        def look(told: str) -> None:
            assert harmed(), told

        beside(f"0s:{action}:60s", look, end=signal.SIGKILL)
        wait_until(lambda: not harmed(), 10.0, "it is healed")
        assert [zgen.get(ref, timeout=60) for ref in stream] == list(range(1, COUNT))
    finally:
        zgen.shutdown()


def test_what_is_stopped_goes_on_when_it_is_healed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    zgen.init(num_cpus=1)
    try:
        (node,) = Scope().nodes()
        stream = begun(tmp_path / "notes", 0.001)
        pid = int((tmp_path / "notes").read_text())
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: is_stopped(pid), 5.0, "it is stopped")
        assert cli.main(["chaos", "heal"]) == 0
        assert "1 stopped processes go on" in capsys.readouterr().out
        wait_until(lambda: not is_stopped(pid), 5.0, "it goes on")
        assert len([zgen.get(ref) for ref in stream]) == COUNT - 1
        assert cli.main(["chaos", "heal", "--node", node.folder, "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"healed": {}}
    finally:
        zgen.shutdown()


def test_nothing_is_hit_where_two_clusters_are_and_none_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    zgen.init(num_cpus=1)
    try:
        with Cluster() as other:
            node = other.add_node()
            assert cli.main(["chaos", "--at", "0s:kill-node"]) == 1
            said = capsys.readouterr().err
            assert "2 clusters of this user run here" in said
            assert node.folder in said
            chaos(capsys, "--at", "0s:kill-node", "--address", node.address)
            assert not marked(node.folder)
            assert zgen.get(zgen.put(1)) == 1
    finally:
        zgen.shutdown()


@pytest.mark.slow
def test_faults_by_rate_befall_nodes_that_joined_later(
    cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scope = Scope(cluster.address)
    assert len(scope.nodes()) == 3, "two nodes, and that of this program"
    stream = begun(tmp_path / "notes", 0.03)
    later = cluster.add_node(num_cpus=2)
    wait_until(lambda: len(scope.nodes()) == 4, 10.0, "what joined is of the cluster")
    assert later.folder in [node.folder for node in scope.nodes()]
    words = ["--every", "300ms", "--for", "4s", "kill-worker", "pause-worker:200ms", "kill-zygote"]
    assert cli.main(["chaos", *words, "--seed", "3", "--json"]) == 0
    faults = json.loads(capsys.readouterr().out)["faults"]
    killed = [each for each in faults if each["made"] and each["action"] == "kill-worker"]
    assert killed
    assert not any(is_alive(each["pid"]) for each in killed)
    whole(cluster, stream)
    assert len((tmp_path / "notes").read_text().split()) >= 2, "its body ran again"
