"""RF25, RF26: processes that cannot answer for a while, and machines that are too busy to."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import zgen
from scripts.faults.bench import Consumer, Logs, cluster, ticks, wait_until
from scripts.faults.bodies import noted
from scripts.faults.row import Outcome, Row, Setting, made
from tests.integration.remote_class import RemoteClass
from tests.integration.watching import is_alive

HOUR_S: Final = 3600.0
SPIN: Final = "while True: pass"


@zgen.remote(num_cpus=0, max_retries=10)
def hold_gil(runs: str, hold_s: int) -> tuple[int, float]:
    """Wait in C without letting other threads of Python run, through signals too."""
    with open(runs, "a") as file:
        file.write(f"{os.getpid()}\n")
    libc, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(64)
    began, until = time.monotonic(), time.time() + hold_s
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_timedlock(mutex, (ctypes.c_long * 2)(int(until), int(until % 1 * 1e9)))
    return os.getpid(), time.monotonic() - began


@zgen.remote(num_cpus=0)
class Stuck(RemoteClass):
    """An async actor whose event loop can be blocked."""

    async def block(self, hold_s: float) -> float:
        """Block the event loop."""
        began = time.monotonic()
        time.sleep(hold_s)  # what is not to be done
        return time.monotonic() - began

    async def pid(self) -> int:
        """Answer at once."""
        await asyncio.sleep(0)
        return os.getpid()


def rf25(setting: Setting) -> Outcome:
    """Hold the GIL in one worker, block the event loop of another, and use the rest meanwhile."""
    hold_s = 10 if setting.quick else 60
    with (
        tempfile.TemporaryDirectory(prefix="zf-") as folder,
        cluster(2, profile="fast", namespaces=False) as nodes,
        Logs(nodes.nodes) as logs,
    ):
        path = Path(folder) / "runs"
        before = [node.node_id for node in nodes.nodes]
        stuck = _at(Stuck, 1).remote()
        actor = zgen.get(stuck.pid.remote(), timeout=30)
        began = time.monotonic()
        held = _at(hold_gil, 1).remote(str(path), hold_s)
        blocked = stuck.block.remote(hold_s)
        wait_until(lambda: len(noted(path)) == 1, 30, "the body runs")
        shown = all(
            name in _functions(pid)
            for pid, name in ((int(noted(path)[0]), "hold_gil"), (actor, "block"))
        )
        beside: list[int] = []
        worst_s = 0.0
        while time.monotonic() - began < hold_s - 1:
            asked = time.monotonic()
            consumer = Consumer(_at(ticks, 1).remote(str(path) + "-beside", "x", 100, 0.001))
            consumer.join(60)
            beside.append(consumer.is_whole(100))
            worst_s = max(worst_s, time.monotonic() - asked)
        made(zgen.wait([held, blocked], timeout=0)[0] == [], "both are still held")
        pid, held_s = zgen.get(held, timeout=hold_s + 30)
        blocked_s = zgen.get(blocked, timeout=30)
        made(min(held_s, blocked_s) > hold_s - 0.5, "they were held all the time")
        same = zgen.get(stuck.pid.remote(), timeout=30) == actor
        alive = is_alive(pid) and is_alive(actor)
        runs = len(noted(path))
        deaths = logs.count("is gone") + ([n.node_id for n in nodes.nodes] != before)
    good = deaths == 0 and runs == 1 and same and alive and all(beside) and shown
    told = (
        f"{hold_s} s: {deaths} false deaths of nodes, workers {'live' if alive else 'DIED'}, the "
        f"body ran {runs} times, {sum(beside)} of {len(beside)} streams beside it whole, the "
        f"slowest in {worst_s:.2f} s; `zgen stack` showed {'both' if shown else 'NOT BOTH'}"
    )
    return Outcome(good, told, {"deaths_count": deaths, "shown": shown})


def rf26(setting: Setting) -> Outcome:
    """Keep every core busy with processes that nobody asked for."""
    lasts_s = HOUR_S if setting.long else 20.0 if setting.quick else 120.0
    cores = os.cpu_count() or 1
    with (
        tempfile.TemporaryDirectory(prefix="zf-") as folder,
        cluster(3, namespaces=False) as nodes,
        Logs(nodes.nodes) as logs,
    ):
        path = Path(folder) / "runs"
        before = [node.node_id for node in nodes.nodes]
        spinners = [subprocess.Popen([sys.executable, "-S", "-c", SPIN]) for _ in range(2 * cores)]
        try:
            began, busy_before = time.monotonic(), _busy_s()
            count = whole = 0
            while time.monotonic() - began < lasts_s:
                each = [
                    Consumer(_at(ticks, i).remote(str(path), f"{count}-{i}", 500, 0.01))
                    for i in range(3)
                ]
                for consumer in each:
                    consumer.join(120)
                count += 3
                whole += sum(consumer.is_whole(500) for consumer in each)
            share = (_busy_s() - busy_before) / (time.monotonic() - began) / cores
        finally:
            for spinner in spinners:
                spinner.kill()
                spinner.wait()
        made(share > 0.97, f"the cores were busy: {share:.0%}")
        deaths = logs.count("is gone") + ([n.node_id for n in nodes.nodes] != before)
        suspicions = logs.count("is not heard of")
        again = len(noted(path)) - count
    good = deaths == again == 0 and whole == count and lasts_s == HOUR_S
    told = (
        f"{lasts_s:.0f} s{'' if lasts_s == HOUR_S else ' (`--long` for an hour)'} at {share:.0%} "
        f"of {cores} cores: {deaths} false deaths, {suspicions} suspicions, {again} bodies run "
        f"again, {whole} of {count} streams whole"
    )
    return Outcome(good, told, {"deaths_count": deaths, "suspicions_count": suspicions})


def _functions(pid: int) -> list[str]:
    """Return which functions `zgen stack` shows of a worker."""
    command = [sys.executable, "-m", "zgen.cli", "stack", "--json", "--pid", str(pid)]
    said = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    (worker,) = json.loads(said.stdout)
    return [call["function"] for thread in worker["threads"] for call in thread["calls"]]


def _at(remote: Any, number: int) -> Any:
    """Return a remote function or class that runs on node ``number`` alone."""
    return remote.options(resources={f"n{number}": 1})


def _busy_s() -> float:
    """Return for how long the cores of this machine were not idle, added up, in seconds."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return (sum(fields) - idle) / os.sysconf("SC_CLK_TCK")


ROWS: Final = {
    "RF25": Row(
        "a worker holds the GIL for 60 s, another blocks its event loop",
        "no false death; `zgen stack` shows where it is",
        rf25,
    ),
    "RF26": Row("all cores busy for 1 h", "no false death", rf26),
}
