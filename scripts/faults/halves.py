"""RF7, RF13: a cluster that is cut in two for long, and borrowers that die in any order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import zgen
from scripts.faults.bench import Consumer, Logs, cluster, note, noted, wait_until
from scripts.faults.row import PATIENCE_S, Outcome, Row, Setting, made

ROOT: Final = Path(__file__).resolve().parents[2]
CUT_S: Final = 15.0
#: How long an orphan may run on after its owner's node was declared dead.
ORPHAN_S: Final = 5.0


@zgen.remote(num_cpus=0, max_retries=10)
def beats(runs: str, count: int) -> Iterator[tuple[int, int]]:
    """Yield index and process id; note each step with its time."""
    for i in range(count):
        note(runs, f"{os.getpid()} {time.monotonic()}")
        yield i, os.getpid()
        time.sleep(0.05)


@zgen.remote(num_cpus=0, max_retries=10)
def late(name: str, after_s: float) -> str:
    """Answer late."""
    time.sleep(after_s)
    return name


def rf7(setting: Setting) -> Outcome:
    """Cut two nodes of four off from the others and from the driver, for so long that they die."""
    times = 1 if setting.quick else 3
    whole = answered = 0
    orphans: list[float] = []
    views: list[float] = []
    with tempfile.TemporaryDirectory(prefix="zf-") as folder, cluster(4) as nodes:
        for number in range(times):
            path = Path(folder) / f"runs{number}"
            far = nodes.nodes[2:]
            placed = _soft(far[0])
            consumer = Consumer(beats.options(scheduling_strategy=placed).remote(str(path), 500))
            tasks = [late.options(scheduling_strategy=_soft(n)).remote("x", 20.0) for n in far]
            wait_until(lambda c=consumer: len(c.items) > 5, 30, "items come")  # type: ignore[misc]
            orphan, home = consumer.items[0][1], zgen.nodes()[0]["NodeID"][:8]
            with Logs(far) as logs:
                began = time.monotonic()
                nodes.partition(far, [*nodes.nodes[:2], nodes.here])
                time.sleep(CUT_S)
                gone = [logs.when(node, home, "is gone") for node in far]
            made(gone[0] is not None, "the other half held the driver's node for dead")
            steps = [line.split() for line in noted(path)]
            last = max(float(at) for pid, at in steps if int(pid) == orphan)
            orphans.append(last - (gone[0] or began))
            nodes.heal()
            healed = time.monotonic()
            nodes.wait_for_nodes(60)
            views.append(time.monotonic() - healed)
            count = len(nodes.nodes) + 1
            wait_until(lambda c=count: len(zgen.nodes()) == c, 30, "the driver sees all")  # type: ignore[misc]
            consumer.join(120)
            whole += consumer.is_whole(500)
            answered += zgen.get(tasks, timeout=PATIENCE_S) == ["x", "x"]
    good = whole == answered == times and max(orphans) <= ORPHAN_S and max(views) <= 5
    told = (
        f"{times} cuts of {CUT_S:g} s: {whole} of {times} streams whole, {answered} rounds "
        f"of tasks answered once; a body whose owner was cut off made its last step "
        f"{max(orphans):.2f} s at most after the owner's node was declared dead; one view "
        f"{max(views):.1f} s at most after healing"
    )
    return Outcome(good, told, {"orphan_s_max": max(orphans), "view_s_max": max(views)})


def _soft(node: Any) -> Any:
    strategy = zgen.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    return strategy(node.node_id, soft=True)


def rf13(setting: Setting) -> Outcome:
    """Let borrowers die in any order, in the simulator, whose oracles see early frees and leaks."""
    seeds = 50 if setting.quick else 1000
    command = [sys.executable, "scripts/sim.py", "--scenario", "borrowing", "--seeds", str(seeds)]
    done = subprocess.run(
        [*command, "--seed", str(setting.seed), "--processes", "2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"(\d+) seeds, (\d+) failed", done.stdout)
    made(found is not None, f"the simulator ran: {done.stdout[-200:]}{done.stderr[-200:]}")
    assert found is not None
    crashes = re.search(r"^crashes +(\d+)", done.stdout, re.MULTILINE)
    told = (
        f"{found[1]} seeds of the simulator with {crashes[1] if crashes else '?'} processes that "
        f"died: {found[2]} with an early free, a leak or anything else that is wrong"
    )
    return Outcome(found[2] == "0", told, {"seeds_count": float(found[1])})


ROWS: Final = {
    "RF7": Row(
        "2 + 2 nodes are parted for 15 s",
        "each side drops the other; orphans end within 5 s; one view 5 s after healing, no result "
        "twice",
        rf7,
    ),
    "RF13": Row(
        "borrowers die, also before they said what they had borrowed",
        "nothing freed early, nothing leaked, in 1,000 seeds",
        rf13,
    ),
}
