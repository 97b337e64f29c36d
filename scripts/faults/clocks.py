"""RF23: clocks that jump, and nodes whose monotonic clocks have nothing in common.

The clock of this machine is never set. A library that is preloaded into every process of the test
adds to what the kernel says of the time of day; a time namespace shifts the monotonic clock.
"""

from __future__ import annotations

import json
import mmap
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import zgen
from scripts.faults.bench import Consumer, Logs, cluster, ticks, wait_until
from scripts.faults.bodies import noted
from scripts.faults.row import Outcome, Row, Setting, SkippedError, made
from zgen.io import spawn

JUMP_S: Final = 3600
SHIFT_S: Final = 100_000
ADDRESS: Final = "127.0.0.1:26380"
#: Adds the number of seconds in a file to the time of day.
SKEW: Final = r"""
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile long long *skew_s;

__attribute__((constructor)) static void begin(void) {
    int file = open(getenv("ZGEN_TEST_SKEW"), O_RDONLY | O_CLOEXEC);
    void *found = mmap(0, 8, PROT_READ, MAP_SHARED, file, 0);
    if (file < 0 || found == MAP_FAILED) abort();
    close(file);
    skew_s = found;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += skew_s ? *skew_s : 0;
    return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *kept) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (kept) *kept = precise.tv_sec;
    return precise.tv_sec;
}
"""


@zgen.remote(num_cpus=0)
def clock(count: int) -> Iterator[float]:
    """Yield what this process thinks is the time of day."""
    for _ in range(count):
        yield time.time()
        time.sleep(0.05)


@zgen.remote(num_cpus=0)
def never() -> None:
    """Answer too late."""
    time.sleep(60)


def rf23(setting: Setting) -> Outcome:
    """Let the time of day jump under everything, then run nodes of different monotonic clocks."""
    lasts_s = 10 if setting.quick else 60
    jumped = _jumped(lasts_s)
    shifted = _shifted(lasts_s)
    good = jumped["wrong"] == shifted["wrong"] == []
    told = (
        f"time of day +-1 h, {jumped['jumps']} jumps in {lasts_s} s: {jumped['told']}; monotonic "
        f"clocks of two nodes {SHIFT_S} s apart for {lasts_s} s: {shifted['told']}"
    )
    return Outcome(good, told, {"jumps_count": jumped["jumps"]})


def _jumped(lasts_s: float) -> dict[str, Any]:
    """Run this file's program with a time of day that jumps."""
    if shutil.which("cc") is None:
        raise SkippedError("there is no C compiler to make the time of day jump with")
    with tempfile.TemporaryDirectory(prefix="zf-") as folder:
        source, library = Path(folder) / "skew.c", Path(folder) / "skew.so"
        skew, answer = Path(folder) / "skew", Path(folder) / "answer.json"
        source.write_text(SKEW)
        skew.write_bytes(bytes(8))
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
        environment = {**os.environ, "LD_PRELOAD": str(library), "ZGEN_TEST_SKEW": str(skew)}
        command = [sys.executable, "-m", "scripts.faults.clocks", str(skew), str(answer)]
        subprocess.run([*command, str(lasts_s)], env=environment, check=True)
        found: dict[str, Any] = json.loads(answer.read_text())
    return found


def _under_jumps(skew: Path, lasts_s: float) -> dict[str, Any]:
    """Use a cluster while the time of day jumps."""
    over = threading.Event()
    jumps = 0

    def jump(skews: mmap.mmap) -> None:
        nonlocal jumps
        while not over.wait(1.0):
            skews[:8] = struct.pack("=q", (JUMP_S, -JUMP_S, 0)[jumps % 3])
            jumps += 1

    with (
        skew.open("r+b") as file,
        mmap.mmap(file.fileno(), 8) as skews,
        tempfile.TemporaryDirectory(prefix="zf-") as folder,
        cluster(2, profile="fast", namespaces=False) as nodes,
        Logs(nodes.nodes) as logs,
    ):
        jumper = threading.Thread(target=jump, args=(skews,))
        jumper.start()
        try:
            wrong, late_s, times = _use(Path(folder) / "runs", lasts_s)
        finally:
            over.set()
            jumper.join()
        leaps = [b - a for a, b in pairwise(times)]
        made(max(leaps) > JUMP_S - 10 and min(leaps) < 10 - JUMP_S, "workers saw the jumps")
        wrong += ["a node was declared dead"] * logs.count("is gone")
    told = f"{', '.join(wrong) or 'nothing went wrong'}; a timeout of 1 s was {late_s:.2f} s off"
    return {"wrong": wrong, "jumps": jumps, "told": f"{told} at most"}


def _shifted(lasts_s: float) -> dict[str, Any]:
    """Use two nodes, one of them in a time namespace."""
    shift = ["unshare", "--time", "--fork", f"--monotonic={SHIFT_S}", f"--boottime={SHIFT_S}"]
    if subprocess.run([*shift, "true"], check=False, capture_output=True).returncode != 0:
        raise SkippedError("there are no time namespaces, or it takes root")
    start = [sys.executable, "-m", "zgen.cli", "node", "start", "--profile", "fast"]
    first = [*start, "--num-cpus", "1", "--listen", f"tcp://{ADDRESS}", "--resources", '{"n0": 9}']
    second = [*start, "--num-cpus", "1", "--join", ADDRESS, "--resources", '{"n1": 9}']
    nodes: list[subprocess.Popen[str]] = []
    with tempfile.TemporaryDirectory(prefix="zf-") as folder:
        try:
            for command, machine in ((first, "one"), ([*shift, *second], "two")):
                nodes.append(
                    subprocess.Popen(
                        command,
                        env={**os.environ, "ZGEN_MACHINE": machine},
                        stdout=subprocess.PIPE,
                        text=True,
                    )
                )
                _await_start(nodes[-1])
            with zgen.init(address=f"tcp://{ADDRESS}", log_to_driver=False):
                wait_until(lambda: len(zgen.nodes()) == 3, 30, "the driver knows both")
                clocks = [zgen.get(_at(_monotonic, i).remote(), timeout=30) for i in (0, 1)]
                made(clocks[1] - clocks[0] > SHIFT_S - 60, f"the clocks differ: {clocks}")
                before = sorted(each["NodeID"] for each in zgen.nodes())
                wrong, late_s, _ = _use(Path(folder) / "runs", lasts_s)
                if sorted(each["NodeID"] for each in zgen.nodes()) != before:
                    wrong.append("a node was declared dead")
        finally:
            for facts in spawn.started_nodes():
                spawn.stop_started(facts)
            for node in nodes:
                node.communicate(timeout=30)
    told = f"{', '.join(wrong) or 'nothing went wrong'}; a timeout of 1 s was {late_s:.2f} s off"
    return {"wrong": wrong, "told": f"{told} at most"}


def _monotonic_s() -> float:
    return time.monotonic()


_monotonic: Final = zgen.remote(num_cpus=0)(_monotonic_s)


def _use(runs: Path, lasts_s: float) -> tuple[list[str], float, list[float]]:
    """Use two nodes for a while; return what went wrong, the worst timeout, and times of day."""
    count = round(lasts_s / 0.05)
    consumers = [Consumer(_at(ticks, i).remote(str(runs), f"{i}", count, 0.05)) for i in (0, 1)]
    clocks = _at(clock, 1).remote(count)
    late_s = 0.0
    pending = _at(never, 1).remote()
    began = time.monotonic()
    wrong: list[str] = []
    while time.monotonic() - began < lasts_s:
        asked = time.monotonic()
        try:
            zgen.get(pending, timeout=1.0)
            wrong.append("a task ended too soon")
        except TimeoutError:
            late_s = max(late_s, abs(time.monotonic() - asked - 1.0))
    zgen.cancel(pending, force=True)
    for consumer in consumers:
        consumer.join(60)
    wrong += ["a stream was not whole"] * sum(not each.is_whole(count) for each in consumers)
    wrong += ["a body ran again"] * (len(noted(runs)) - 2)
    wrong += ["a timeout was wrong"] * (late_s > 0.8)
    return wrong, late_s, [zgen.get(ref, timeout=30) for ref in clocks]


def _at(remote: Any, number: int) -> Any:
    """Return a remote function that runs on node ``number`` alone."""
    return remote.options(resources={f"n{number}": 1})


def _await_start(node: subprocess.Popen[str]) -> None:
    assert node.stdout is not None
    said = [node.stdout.readline() for _ in range(4)]
    made("join it" in said[-1], f"the node runs: {said}")


ROWS: Final = {
    "RF23": Row(
        "the time of day jumps by an hour; monotonic clocks differ between nodes",
        "nothing times out, expires or dies of it",
        rf23,
    ),
}

if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(_under_jumps(Path(sys.argv[1]), float(sys.argv[3]))))
