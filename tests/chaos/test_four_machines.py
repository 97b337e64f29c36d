"""Four nodes in four network namespaces, started as the README says, and programs on some."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.watching import wait_until
from zgen.exceptions import NamespaceError
from zgen.testing.network import Machine, Network

pytestmark = [pytest.mark.chaos, pytest.mark.root]

ZGEN = [sys.executable, "-m", "zgen.cli"]
PORT = 6380
#: Machines on which programs run at the same time.
DRIVERS = (0, 3)
#: Tasks and streams on every node; for the first program large values and actors too. Says where it
#: ran.
PROGRAM = """
import sys
import zgen

BIG = 3 << 20

def where_am_i():
    return zgen.get_runtime_context().get_node_id()

@zgen.remote
def items(n):
    for i in range(n):
        yield i, where_am_i()

@zgen.remote
def rows(n):
    import numpy as np
    for i in range(n):
        yield np.full(BIG // 8, i)

@zgen.remote
def total(array):
    return float(array.sum())

@zgen.remote
class Counter:
    def __init__(self):
        self.count = 0

    def add(self, array):
        self.count += int(array[0])
        return self.count, where_am_i()

def at(remote, i):
    return remote.options(resources={f"m{i}": 1}, num_cpus=0)

with zgen.init(log_to_driver=False):
    homes = zgen.get([at(zgen.remote(where_am_i), i).remote() for i in range(4)], timeout=20)
    assert len(dict.fromkeys(homes)) == 4
    streams = [at(items, i).remote(100) for i in range(4)]
    for home, stream in zip(homes, streams):
        assert [zgen.get(ref, timeout=20) for ref in stream] == [(i, home) for i in range(100)]
    if sys.argv[1] == "0":
        import numpy as np
        ones = zgen.put(np.ones(BIG // 8))
        arrays = [list(stream) for stream in [at(rows, i).remote(2) for i in range(4)]]
        for array in arrays:
            assert [zgen.get(ref, timeout=20).sum() for ref in array] == [0, BIG // 8]
        given = [ones, arrays[1][1], arrays[2][0]]
        sums = [[at(total, i).remote(each) for each in given] for i in range(4)]
        assert [zgen.get(each, timeout=20) for each in sums] == [[BIG // 8, BIG // 8, 0]] * 4
        counters = [at(Counter, i).remote() for i in range(4)]
        for counter, home in zip(counters, homes):
            calls = [counter.add.remote(ones) for _ in range(3)]
            assert zgen.get(calls, timeout=20) == [(1, home), (2, home), (3, home)]
    print("done", *homes)
"""


@pytest.fixture
def machines() -> Iterator[list[Machine]]:
    try:
        network = Network()
    except NamespaceError as error:
        pytest.skip(error.reason)
    try:
        yield [network.add() for _ in range(4)]
    finally:
        network.close()


@pytest.mark.timeout(120)
def test_work_of_every_kind_runs_on_every_machine_for_a_program_on_any(
    machines: list[Machine], tmp_path: Path
) -> None:
    key = tmp_path / "cluster.key"
    subprocess.run([*ZGEN, "keygen", str(key)], check=True, stdout=subprocess.DEVNULL)
    runtimes = [tmp_path / f"m{i}" for i in range(4)]
    nodes: list[subprocess.Popen[str]] = []
    try:
        for i, machine in enumerate(machines):
            runtimes[i].mkdir(mode=0o700)
            seeds = ",".join(f"{other.host}:{PORT}" for other in machines[:i])
            nodes.append(_start(machine, runtimes[i], key, i, ["--join", seeds] if seeds else []))
            if i == 0:  # it is the door for the second one, and one of several for the others
                _await_start(nodes[0], machine)
        for node, machine in zip(nodes[1:], machines[1:], strict=True):
            _await_start(node, machine)
        wait_until(lambda: _knows(runtimes[0]) == 4, 20, "the first knows all")
        with ThreadPoolExecutor(len(DRIVERS)) as pool:
            said = list(pool.map(lambda i: _run(machines, i, runtimes[i], key), DRIVERS))
        assert said[0].startswith("done ")
        assert said == said[:1] * len(DRIVERS)  # each program found the same nodes
        nodes[0].terminate()  # the first one is nothing special
        assert nodes[0].wait(20) == 0
        assert _knows(runtimes[1]) == 3
    finally:
        for node in nodes:
            node.terminate()
        for node in nodes:
            node.communicate(timeout=20)


def _start(
    machine: Machine, runtime: Path, key: Path, number: int, join: list[str]
) -> subprocess.Popen[str]:
    """Start a node on a machine, as the README does."""
    command = [*ZGEN, "node", "start", "--listen", f"tcp://{machine.host}:{PORT}", *join]
    command += ["--key", str(key), "--num-cpus", "1", "--resources", f'{{"m{number}": 100}}']
    return machine.call(
        lambda: subprocess.Popen(
            command, env=_environment(runtime), stdout=subprocess.PIPE, text=True
        )
    )


def _await_start(node: subprocess.Popen[str], machine: Machine) -> None:
    """Wait until a node says that it runs."""
    assert node.stdout is not None
    said = [node.stdout.readline() for _ in range(2)]
    assert f"tcp://{machine.host}:{PORT} with its key" in said[1], said


def _run(machines: list[Machine], number: int, runtime: Path, key: Path) -> str:
    """Run the program on a machine; it joins by another one."""
    door = machines[(number + 1) % 4].host
    environment = {
        **_environment(runtime),
        "ZGEN_ADDRESS": f"tcp://{door}:{PORT}",
        "ZGEN_KEY": str(key),
    }
    done = machines[number].call(
        lambda: subprocess.run(
            [sys.executable, "-c", PROGRAM, str(number)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=40,
            check=False,
        )
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _knows(runtime: Path) -> int:
    """Return how many nodes the one with this runtime folder knows."""
    done = subprocess.run(
        [*ZGEN, "list", "nodes", "--json"],
        env=_environment(runtime),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return len(json.loads(done.stdout))


def _environment(runtime: Path) -> dict[str, str]:
    """Return the environment of a machine with a folder of its own for what runs there."""
    return {**os.environ, "XDG_RUNTIME_DIR": str(runtime)}
