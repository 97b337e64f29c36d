"""RF1, RF2, RF2c, RF3, RF16: workers and nodes that are killed under tasks, streams and actors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Final

import zgen
from scripts.faults.bench import Consumer, Logs, Teller, cluster, soft, wait_until
from scripts.faults.bodies import noted, paced, square
from scripts.faults.row import PATIENCE_S, Outcome, Row, Setting, high, made, middle
from zgen.exceptions import ReplayMismatchError
from zgen.testing import Cluster, Node

#: What another program does with a cluster: it joins by one node, and has a task run on any.
JOINER: Final = """
import sys, zgen
zgen.init(address=sys.argv[1], key=sys.argv[2], log_to_driver=False)
print(zgen.get(zgen.remote(lambda: 42).remote(), timeout=30))
zgen.shutdown()
"""


def rf1(setting: Setting) -> Outcome:
    """Kill workers at random while they run tasks."""
    tasks, kills = (200, 20) if setting.quick else (2000, 200)
    dice = setting.dice()
    with (
        tempfile.TemporaryDirectory(prefix="zf-") as folder,
        cluster(1, profile="fast", namespaces=False) as nodes,
        Logs(nodes.nodes) as logs,
    ):
        path = Path(folder) / "runs"
        task = square.options(max_retries=20)  # a task may be hit more often than by chance
        refs: list[Any] = []
        open_refs: list[Any] = []
        killed: list[tuple[int, int, float]] = []
        while len(refs) < tasks:
            more = min(4 - len(open_refs), tasks - len(refs))  # what queues would be late for that
            fresh = [task.remote(str(path), len(refs) + each) for each in range(more)]
            refs += fresh
            open_refs = zgen.wait([*open_refs, *fresh], timeout=PATIENCE_S)[1]
            open_runs = _open_runs(path, {pid for _, pid, _ in killed})
            if open_runs and len(killed) < kills * len(refs) // tasks:
                number, pid = dice.choice(open_runs)
                os.kill(pid, signal.SIGKILL)
                killed.append((number, pid, time.monotonic()))
        results = zgen.get(refs, timeout=300)
        wrong = sum(value != number * number for number, value in enumerate(results))
        time.sleep(0.1)  # the last lines of the log
        seen = [logs.when(nodes.nodes[0], f"pid={pid} died") for _, pid, _ in killed]
        detect = [at - when for at, (_, _, when) in zip(seen, killed, strict=True) if at]
        begun = [line.split() for line in noted(path) if line.startswith("begin")]
    restart = [
        min((float(at) - when for _, n, _, at in begun if int(n) == number and float(at) > when))
        for number, _, when in killed
        if any(int(n) == number and float(at) > when for _, n, _, at in begun)
    ]
    kills = len(killed)
    made(len(restart) > kills // 2, f"kills hit running tasks: {len(restart)} of {kills}")
    good = wrong == 0 and high(detect) <= 0.05 and middle(restart) <= 0.5
    told = (
        f"{kills} kills over {tasks} tasks: {wrong} wrong or lost, {len(begun) - tasks} runs more; "
        f"noted in the node's log after {middle(detect) * 1e3:.0f} ms (p50), "
        f"{high(detect) * 1e3:.0f} ms (p99), run again after {middle(restart) * 1e3:.0f} ms (p50)"
    )
    figures = {"detect_s_p99": high(detect), "restart_s_p50": middle(restart), "wrong_count": wrong}
    return Outcome(good, told, {name: float(value) for name, value in figures.items()})


def _open_runs(path: Path, but: set[int]) -> list[tuple[int, int]]:
    """Return task and process of each run that was begun and has not ended."""
    runs: dict[int, int] = {}
    for line in noted(path)[-200:]:
        what, number, pid, _ = line.split()
        if what == "begin":
            runs[int(pid)] = int(number)
        else:
            runs.pop(int(pid), None)
    return [(number, pid) for pid, number in runs.items() if pid not in but]


def rf2(setting: Setting) -> Outcome:
    """Kill the worker of each of many streams once, after an item at random."""
    streams, count = (12, 500) if setting.quick else (100, 500)
    dice = setting.dice()
    gaps: list[float] = []
    again: list[int] = []
    whole = 0
    with (
        tempfile.TemporaryDirectory(prefix="zf-") as folder,
        cluster(1, profile="fast", namespaces=False),
    ):
        work = [(Path(folder) / f"runs{n}", dice.randrange(1, count - 100)) for n in range(streams)]
        lock = threading.Lock()

        def consume() -> None:
            nonlocal whole
            while True:
                with lock:
                    if not work:
                        return
                    path, kill_at = work.pop()
                seen, gap_s = _killed_once(paced.remote(str(path), count, 0.001), kill_at)
                with lock:
                    whole += seen == list(range(count))
                    gaps.append(gap_s)
                    again.append(len(noted(path)) - count)

        threads = [threading.Thread(target=consume) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    made(min(again) > 0, f"every kill made items run again: {min(again)}")
    good = whole == streams and middle(gaps) <= 1.0
    told = (
        f"{streams} streams of {count} items, 1 ms apart: {whole} whole and in order; from kill "
        f"to next new item {middle(gaps):.2f} s (p50), {high(gaps):.2f} s (p99), with "
        f"{middle([float(n) for n in again]):.0f} items (p50) yielded again before it"
    )
    return Outcome(good, told, {"gap_s_p50": middle(gaps), "whole_count": float(whole)})


def _killed_once(stream: Any, kill_at: int) -> tuple[list[int], float]:
    """Take all of a stream, kill its worker after one item; return indices and the gap."""
    seen: list[int] = []
    killed = at_s = gap_s = 0.0
    for ref in stream:
        index, pid = zgen.get(ref, timeout=PATIENCE_S)
        seen.append(index)
        if killed and not gap_s and pid != killed:
            gap_s = time.monotonic() - at_s
        if index == kill_at:
            os.kill(pid, signal.SIGKILL)
            killed, at_s = pid, time.monotonic()
    return seen, gap_s


def rf2c(setting: Setting) -> Outcome:
    """Have a second run of a stream yield fewer items than the first one had reported."""
    times = 5 if setting.quick else 25
    typed = 0
    with (
        tempfile.TemporaryDirectory(prefix="zf-") as folder,
        cluster(1, profile="fast", namespaces=False),
    ):
        for number in range(times):
            path = Path(folder) / f"runs{number}"
            short_at = setting.dice().randrange(20) if number else 0
            stream = paced.remote(str(path), 200, 0.002, short_at)
            pid = max(zgen.get(next(stream), timeout=30)[1] for _ in range(30))
            os.kill(pid, signal.SIGKILL)
            try:
                for ref in stream:
                    zgen.get(ref, timeout=30)
            except ReplayMismatchError as error:
                typed += error.got == short_at and list(stream) == []
    told = (
        f"{typed} of {times} replays that ended early are named, after all that was reported; what "
        "an unfinished run would have yielded more, or other values, cannot be known"
    )
    return Outcome(typed == times, told, {"typed_count": float(typed)})


def rf3(setting: Setting) -> Outcome:
    """Kill nodes, one after the other, each with work on it, and start others in their place."""
    times = 4 if setting.quick else 30
    dice = setting.dice()
    dead: list[float] = []
    resumed: list[float] = []
    actors: list[float] = []
    lost = 0
    with (
        tempfile.TemporaryDirectory(prefix="zf-") as folder,
        cluster(4, namespaces=False) as nodes,
    ):
        for number in range(times):
            victim = dice.choice(nodes.nodes)
            path, tag = Path(folder) / f"runs{number}", victim.node_id[:8]
            placed = {"scheduling_strategy": soft(victim), "num_cpus": 0}
            consumer = Consumer(paced.options(**placed).remote(str(path), 60, 0.02))
            task = square.options(**placed).remote(str(path) + "-task", number)
            teller = Teller.options(**placed).remote()
            first = zgen.get(teller.tell.remote(), timeout=30)
            wait_until(lambda c=consumer: len(c.items) > 5, 30, "items come")  # type: ignore[misc]
            peers = [node for node in nodes.nodes if node is not victim]
            with Logs(peers) as logs:
                began = time.monotonic()
                nodes.remove_node(victim)
                second = zgen.get(teller.tell.remote(), timeout=60)
                actors.append(time.monotonic() - began)
                gone = logs.seen(peers, (tag, "is gone"), 30)
            made(first != second, "the actor lived there")
            dead += [at - began for at in gone]
            consumer.join(60)
            lost += not consumer.is_whole(60)
            lost += zgen.get(task, timeout=60) != number * number
            resumed += [at - began for _, _, at in consumer.items if at > began + 0.05][:1]
            _replace(nodes, {})
    good = high(dead) <= 1.0 and middle(resumed) <= 2 and high(resumed) <= 5 and not lost
    told = (
        f"{times} nodes killed of 4: dead to every other one after {middle(dead):.2f} s (p50), "
        f"{high(dead):.2f} s (p99); streams went on after {middle(resumed):.2f} s (p50), "
        f"{high(resumed):.2f} s (p99), actors answered after {middle(actors):.2f} s (p50); {lost} "
        "streams or results lost"
    )
    figures = {"dead_s_p99": high(dead), "resumed_s_p50": middle(resumed), "lost_count": lost}
    return Outcome(good, told, {name: float(value) for name, value in figures.items()})


def _replace(nodes: Cluster, resources: dict[str, float]) -> Node:
    """Start a node in place of one that was killed; return it when all know it."""
    node = nodes.add_node(num_cpus=2, resources=resources)
    nodes.wait_for_nodes(60)
    count = len(nodes.nodes) + 1
    wait_until(lambda: len(zgen.nodes()) == count, 60, "the driver knows who lives")
    return node


def rf16(setting: Setting) -> Outcome:
    """Kill the eldest node, by which everybody joined, again and again."""
    times = 2 if setting.quick else 10
    well = 0
    took: list[float] = []
    with (
        tempfile.TemporaryDirectory(prefix="zf-") as folder,
        cluster(3, namespaces=False) as nodes,
    ):
        for number in range(times):
            path = Path(folder) / f"runs{number}"
            consumer = Consumer(paced.options(num_cpus=0).remote(str(path), 60, 0.02))
            wait_until(lambda c=consumer: len(c.items) > 5, 30, "items come")  # type: ignore[misc]
            began = time.monotonic()
            nodes.remove_node(nodes.nodes[0])
            submitted = zgen.get(square.remote(str(path) + "-task", 7), timeout=60) == 49
            created = zgen.get(Teller.remote().tell.remote(), timeout=60) > 0
            took.append(time.monotonic() - began)
            door = nodes.address
            said = subprocess.run(
                [sys.executable, "-c", JOINER, door, nodes.key],
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            joined = said.stdout.split() == ["42"]
            _replace(nodes, {})
            consumer.join(60)
            well += submitted and created and joined and consumer.is_whole(60)
    told = (
        f"{well} of {times} times all went on: tasks and actors (after {middle(took):.2f} s, p50), "
        "streams, programs and nodes that joined by another one"
    )
    return Outcome(well == times, told, {"well_count": float(well)})


ROWS: Final = {
    "RF1": Row(
        "workers are killed in tasks: 200 kills over 2,000 tasks",
        "nothing lost, wrong or hung; detected within 50 ms (p99), run again within 0.5 s (p50)",
        rf1,
    ),
    "RF2": Row(
        "the worker of a stream is killed at any item: 100 streams of 500 items",
        "each item once and in order; gap of at most 1 s (p50)",
        rf2,
    ),
    "RF2c": Row(
        "a replay yields fewer items than were reported", "`ReplayMismatchError`, always", rf2c
    ),
    "RF3": Row(
        "a node is killed with all its processes, 30 times of 4",
        "dead to all within 1 s (p99); work goes on within 2 s (p50), 5 s (p99); nothing lost",
        rf3,
    ),
    "RF16": Row(
        "the first node is killed", "the others submit, create actors, and let others join", rf16
    ),
}
