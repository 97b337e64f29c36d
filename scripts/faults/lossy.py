"""RF9: a link that loses, delays, repeats and reorders, beside plain TCP over the same link."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import zgen
from scripts.faults import relay
from scripts.faults.bench import Consumer, Logs, Teller, cluster, ticks
from scripts.faults.bodies import note, noted
from scripts.faults.row import PATIENCE_S, Outcome, Row, Setting, SkippedError, made
from zgen.testing import Cluster
from zgen.testing.network import Machine

ROOT: Final = Path(__file__).resolve().parents[2]
LONG_S: Final = 600.0
#: How long plain TCP and a stream have the link in turn.
TURN_S: Final = 15.0
ITEM_BYTES: Final = 16 << 10
WINDOW_COUNT: Final = 1000
SHARE_MIN: Final = 0.3
_TUNSETIFF: Final = 0x400454CA
_TAP_WITHOUT_INFO: Final = 0x1002
#: Sends to whoever connects, as fast as it goes.
SENDER: Final = """
import socket, sys
listener = socket.create_server((sys.argv[1], 0))
print(listener.getsockname()[1], flush=True)
data = bytes(1 << 16)
while True:
    connection, _ = listener.accept()
    try:
        while True:
            connection.sendall(data)
    except OSError:
        connection.close()
"""


@zgen.remote(num_cpus=0, max_retries=10)
def bulk(runs: str, item_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Yield large items with their index as fast as they are taken."""
    note(runs, f"bulk {zgen.get_runtime_context().get_task_id()}")
    index = 0
    while True:
        yield index, bytes(item_bytes)
        index += 1


@zgen.remote(num_cpus=0, max_retries=10)
def echo(runs: str, number: int) -> int:
    """Note the run and return the number."""
    note(runs, f"echo {number}")
    return number


def rf9(setting: Setting) -> Outcome:
    """Put a bad link before one of two nodes, and use it all the time."""
    turns = round(LONG_S / TURN_S / 2) if setting.long else 1 if setting.quick else 4
    with (
        tempfile.TemporaryDirectory(prefix="zf-") as folder,
        cluster(2) as nodes,
        Logs(nodes.nodes) as logs,
    ):
        path = Path(folder) / "runs"
        before = [node.node_id for node in nodes.nodes]
        far = _machine_of(nodes)
        with _bad_link(nodes, far, setting.seed) as link, _sender(far) as address:
            began = time.monotonic()
            beside = Beside(str(path))
            plain: list[float] = []
            streamed: list[float] = []
            for _ in range(turns):
                beside.ask()
                plain.append(_plain_bytes_per_s(address))
                streamed.append(_streamed_bytes_per_s(str(path)))
            answers, whole, count = beside.end()
            lasted_s = time.monotonic() - began
            deaths = logs.count("is gone") + ([n.node_id for n in nodes.nodes] != before)
            suspicions = logs.count("is not heard of")
        done = link()
        runs = noted(path)
    again = len(runs) - len(dict.fromkeys(runs))
    made(min(done.lost_count, done.twice_count, done.late_count) > 100, f"a bad link: {done}")
    share = sum(streamed) / sum(plain)
    good = deaths == again == 0 and whole and answers == count and share >= SHARE_MIN
    frames = done.passed_count + done.lost_count
    told = (
        f"{lasted_s:.0f} s{'' if setting.long else ' (`--long` for 10 min)'}, {frames} frames: "
        f"{done.lost_count / frames:.1%} lost, {done.delay_s / done.passed_count * 1e3:.0f} ms "
        f"late on average, {done.late_count / frames:.0%} in another order, {done.twice_count} "
        f"twice, {done.full_count} beyond what the relay holds: {deaths} false deaths, "
        f"{suspicions} suspicions, {again} bodies run again, streams "
        f"{'whole and in order' if whole else 'NOT WHOLE'}, {answers} of {count} answers right; a "
        f"stream of {ITEM_BYTES >> 10} KiB items got {sum(streamed) / turns / 1e3:,.0f} kB/s, "
        f"plain TCP {sum(plain) / turns / 1e3:,.0f} kB/s ({share:.0%}; in turns of {TURN_S:g} s)"
    )
    figures = {"deaths_count": deaths, "share": share, "run_again_count": again}
    return Outcome(good, told, {name: float(value) for name, value in figures.items()})


class Beside:
    """Small work that goes over the link all the time: a stream, tasks, calls of an actor."""

    def __init__(self, runs: str) -> None:
        """Begin the stream and the actor."""
        self._runs = runs
        self._count = 0
        self._right = 0
        self._teller = Teller.options(resources={"n1": 1}).remote()
        self._pid = zgen.get(self._teller.tell.remote(), timeout=PATIENCE_S)
        self._streams: list[Consumer] = []

    def ask(self) -> None:
        """Ask the actor and some tasks; begin one more stream of as long as a turn takes."""
        run = ticks.options(resources={"n1": 1})
        self._streams.append(
            Consumer(run.remote(self._runs, f"ticks{len(self._streams)}", 400, 0.05))
        )
        ask = echo.options(resources={"n1": 1})
        numbers = range(self._count, self._count + 10)
        calls = [ask.remote(self._runs, number) for number in numbers]
        self._right += sum(
            zgen.get(call, timeout=PATIENCE_S) == number
            for call, number in zip(calls, numbers, strict=True)
        )
        self._right += zgen.get(self._teller.tell.remote(), timeout=PATIENCE_S) == self._pid
        self._count += 10

    def end(self) -> tuple[int, bool, int]:
        """Return how many answers were right, whether streams are whole, how many were asked."""
        for stream in self._streams:
            stream.join(PATIENCE_S + 20)
        whole = all(stream.is_whole(400) for stream in self._streams)
        return self._right, whole, self._count + self._count // 10


def _plain_bytes_per_s(address: tuple[str, int]) -> float:
    """Return what one connection gets."""
    with socket.create_connection(address, PATIENCE_S) as connection:
        taken, began = 0, time.monotonic()
        while time.monotonic() - began < TURN_S:
            taken += len(connection.recv(1 << 16))
        return taken / (time.monotonic() - began)


def _streamed_bytes_per_s(runs: str) -> float:
    """Return what one stream gets; every item has to be the next one."""
    options = bulk.options(resources={"n1": 1}, _generator_backpressure_num_objects=WINDOW_COUNT)
    stream = options.remote(runs, ITEM_BYTES)
    taken, began = 0, time.monotonic()
    while time.monotonic() - began < TURN_S:
        index, data = zgen.get(next(stream), timeout=PATIENCE_S)
        if index * ITEM_BYTES != taken:
            raise AssertionError(f"item {index} came as number {taken // ITEM_BYTES}")
        taken += len(data)
    del stream
    return taken / (time.monotonic() - began)


# -- the link ------------------------------------------------------------------------------------
@contextmanager
def _bad_link(nodes: Cluster, far: Machine, seed: int) -> Iterator[Any]:
    """Lead all that a machine sends and gets through a relay; yield what tells what that did."""
    network = nodes._network  # of the same project
    assert network is not None
    hub = network._hub
    port = f"port{network.machines.index(far) + 1}"
    hub.ip("link add far type bridge", "link set far up")
    taps = [hub.call(lambda name=name: _tap(name)) for name in ("near-end", "far-end")]  # type: ignore[misc]
    said = relay.Done()
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts.faults.relay", *map(str, taps), str(seed)],
        cwd=ROOT,
        pass_fds=taps,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        for tap in taps:
            os.close(tap)
        hub.ip(
            "link set near-end master bridge up",
            "link set far-end master far up",
            f"link set {port} nomaster",
            f"link set {port} master far up",
        )
        yield lambda: said
    finally:
        out, _ = process.communicate(timeout=PATIENCE_S)
        said.__dict__.update(json.loads(out or "{}"))


def _tap(name: str) -> int:
    """Make an Ethernet device in the network of this thread; return its descriptor."""
    try:
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        request = struct.pack("16sH22x", name.encode(), _TAP_WITHOUT_INFO)
        fcntl.ioctl(descriptor, _TUNSETIFF, request)
    except OSError as error:
        raise SkippedError(f"no TAP device can be made: {error}") from None
    return descriptor


@contextmanager
def _sender(machine: Machine) -> Iterator[tuple[str, int]]:
    """Run a plain TCP sender on a machine; yield where."""
    process = machine.call(
        lambda: subprocess.Popen(
            [sys.executable, "-c", SENDER, machine.host], stdout=subprocess.PIPE, text=True
        )
    )
    try:
        assert process.stdout is not None
        yield machine.host, int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def _machine_of(nodes: Cluster) -> Machine:
    machine = nodes.nodes[1]._machine  # of the same project
    assert machine is not None
    return machine


ROWS: Final = {
    "RF9": Row(
        "a link loses 5 % of all packets, delays each by 100 ms +-50 ms, each way, so reorders "
        "them, and repeats 1 %",
        "no false death; nothing lost or repeated; a stream gets 30 % of what plain TCP gets",
        rf9,
    ),
}
