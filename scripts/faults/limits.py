"""RF22: a node that may open no more files."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections import Counter
from typing import Any, Final

import zgen
from scripts.faults.row import Outcome, Row, Setting, made
from tests.integration.remote_class import RemoteClass
from zgen.exceptions import NodeStartError, ZgenError
from zgen.io import spawn
from zgen.io.inquiry import query_node

FILES_MAX: Final = 64
ACTORS_COUNT: Final = 60


@zgen.remote
def pid(after_s: float) -> int:
    """Answer a little late."""
    time.sleep(after_s)
    return os.getpid()


@zgen.remote(num_cpus=0)
class Holder(RemoteClass):
    """Takes a worker."""

    def pid(self) -> int:
        """Say which."""
        return os.getpid()


def rf22(setting: Setting) -> Outcome:
    """Want far more workers than a node has descriptors for, then want less again."""
    command = [sys.executable, "-m", "zgen.cli", "node", "start", "--num-cpus", "2"]
    limit = f'ulimit -n {FILES_MAX}; exec "$@"'
    with subprocess.Popen(
        ["bash", "-c", limit, "bash", *command], stdout=subprocess.PIPE, text=True
    ) as node:
        assert node.stdout is not None
        said = [node.stdout.readline() for _ in range(3)]
        try:
            made("join it" in said[-1], f"the node runs: {said}")
            return _crowd(setting, node)
        finally:
            node.terminate()
            node.wait(30)


def _crowd(setting: Setting, node: subprocess.Popen[str]) -> Outcome:
    facts = spawn.started_nodes()[0]
    may = resource.prlimit(facts.daemon, resource.RLIMIT_NOFILE)
    made(may == (FILES_MAX, FILES_MAX), f"the daemon may open {FILES_MAX} files: {may}")
    outcomes: Counter[str] = Counter()
    queries: Counter[str] = Counter()
    after = 0
    with zgen.init(address="auto", log_to_driver=False):
        before = len(zgen.get([pid.remote(0.05) for _ in range(20)], timeout=30))
        for _ in range(1 if setting.quick else 5):
            actors = [Holder.remote() for _ in range(ACTORS_COUNT)]
            for actor in actors:
                outcomes[_outcome(actor)] += 1
            queries[_ask(facts)] += 1
            del actor
            actors.clear()
            after = _await_answers(20)
    crowded = sum(count for kind, count in outcomes.items() if kind != "answered")
    made(crowded > 0, "there were not enough descriptors")
    alive = node.poll() is None and os.path.exists(f"/proc/{facts.daemon}")
    hung = outcomes["HUNG"]
    good = alive and hung == 0 and before == after == 20
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(outcomes.items()))
    asked = ", ".join(f"{kind} {count}" for kind, count in sorted(queries.items()))
    told = (
        f"{sum(outcomes.values())} actors wanted of a node with {FILES_MAX} descriptors: {kinds}; "
        f"`status` meanwhile: {asked}; the node {'lives' if alive else 'DIED'}, {after} of 20 "
        "tasks answered afterwards"
    )
    return Outcome(good, told, {"hung_count": hung, "refused_count": crowded})


def _outcome(actor: Any) -> str:
    try:
        zgen.get(actor.pid.remote(), timeout=20)
    except TimeoutError:
        return "HUNG"
    except ZgenError as error:
        return type(error).__name__
    return "answered"


def _ask(facts: spawn.NodeFacts) -> str:
    try:
        query_node(facts.address, facts.folder)
    except NodeStartError as error:
        return type(error).__name__
    return "answered"


def _await_answers(count: int) -> int:
    """Return how many of some tasks are answered once there is room again."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return len(zgen.get([pid.remote(0.05) for _ in range(count)], timeout=30))
        except ZgenError:
            if time.monotonic() > deadline:
                return 0
            time.sleep(0.2)


ROWS: Final = {
    "RF22": Row(
        f"a node that may open {FILES_MAX} files, and is asked for more",
        "typed errors; the node stays up and works on",
        rf22,
    ),
}
