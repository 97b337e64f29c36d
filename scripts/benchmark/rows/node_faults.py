"""Rows PF3 to PF5: nodes of one machine that are killed or stopped, on either runtime."""

import contextlib
import importlib
import os
import signal
import statistics
import time
from collections.abc import Iterator
from typing import Any

from scripts.benchmark import processes
from scripts.benchmark.rows.bodies import warm_up
from scripts.benchmark.rows.faults import KILL_AT, PAUSE_S, gap
from scripts.benchmark.subject import RAY, Subject

Figures = dict[str, float]

#: How often a stream's node is killed.
_ROUNDS = 3
#: For how long actors are asked for once the first node is gone, and how many.
_ASKED_S, _ASKED_COUNT = 20.0, 5


def pf3(subject: Subject) -> Figures:
    """SIGKILL all of a stream's node and time the first item that only another node yields."""

    def paced(count: int) -> Iterator[tuple[int, int]]:
        for index in range(count):
            if index > KILL_AT:
                time.sleep(PAUSE_S)
            yield index, os.getpid()

    gaps_s = []
    with _nodes(subject, 0, 1, 1) as cluster:
        stream = subject.stream(paced)
        for _ in range(_ROUNDS):
            _pids_by_node(subject)  # a spare worker on each of the two
            gaps_s.append(gap(subject, stream.remote(KILL_AT + 50), _kill_node_of))
            cluster.add_node(num_cpus=1)
    return {"seconds": statistics.median(gaps_s)}


def pf4(subject: Subject) -> Figures:
    """SIGKILL a daemon, then SIGSTOP all of another node; time until each is listed no more."""
    with _nodes(subject, 0, 1, 1):
        pids = _pids_by_node(subject)
        (killed, bereft), (hung, worker) = pids.items()
        daemon = _daemon_of(subject, bereft)
        began = time.perf_counter()
        os.kill(daemon, signal.SIGKILL)
        killed_s = _until_not_listed(subject, killed, began)
        began = time.perf_counter()
        stopped = processes.branch(worker)
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            hung_s = _until_not_listed(subject, hung, began)
        finally:
            for pid in stopped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    return {"killed": killed_s, "hung": hung_s}


def pf5(subject: Subject) -> Figures:
    """SIGKILL the first node and count the actors made afterwards that do not answer.

    Ray's first node is what everything asks; the program itself runs on it, so of Ray only what
    makes it the first one is killed, and its own daemon is left alive.
    """

    class Answering:
        def answer(self) -> int:
            return os.getpid()

    with _nodes(subject, 1, 2, 2, member=1) as cluster:
        warm_up(subject)
        if subject.name == RAY:
            first = cluster.head_node.all_processes["gcs_server"]
            os.kill(first[0].process.pid, signal.SIGKILL)
        else:
            cluster.remove_node(cluster.nodes[0])
        cls = subject.api.remote(num_cpus=0)(Answering)
        until = time.perf_counter() + _ASKED_S
        missed = 0
        for _ in range(_ASKED_COUNT):
            rest_s = max(0.1, until - time.perf_counter())
            try:
                subject.api.get(cls.remote().answer.remote(), timeout=rest_s)
            except subject.api.exceptions.GetTimeoutError:
                missed += 1
    return {"missed": missed}


@contextlib.contextmanager
def _nodes(subject: Subject, *cpus: int, member: int = 0) -> Iterator[Any]:
    """Run several nodes and a program on one of them; with the timing that each has by default."""
    if subject.name == RAY:
        cluster = importlib.import_module("ray.cluster_utils").Cluster()
    else:
        cluster = importlib.import_module("zgen.testing").Cluster(profile="lan")
    try:
        for count in cpus:
            cluster.add_node(num_cpus=count)
        if subject.name == RAY:
            subject.api.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
        else:
            subject.api.init(address=cluster.nodes[member].address, key=cluster.key)
        yield cluster
    finally:
        subject.stop()
        cluster.shutdown()


def _pids_by_node(subject: Subject) -> dict[str, int]:
    """Return the nodes that work, each with the process of a worker there."""

    def where() -> tuple[str, int]:
        time.sleep(0.5)
        return importlib.import_module(api).get_runtime_context().get_node_id(), os.getpid()

    api = subject.name
    task = subject.task(where, num_cpus=1)
    found: dict[str, int] = {}
    while len(found) < 2:
        found |= dict(subject.api.get([task.remote(), task.remote()]))
    return found


def _daemon_of(subject: Subject, worker: int) -> int:
    """Return the process that the node of a worker stands and falls with."""
    name = "raylet" if subject.name == RAY else "zgen-daemon"
    return next(pid for pid in processes.branch(worker) if processes.name(pid) == name)


def _kill_node_of(worker: int) -> None:
    for pid in processes.branch(worker):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _until_not_listed(subject: Subject, node: str, began: float) -> float:
    """Return how long after ``began`` a node is no longer among the living."""
    while any(each["NodeID"] == node and each["Alive"] for each in subject.api.nodes()):
        time.sleep(0.02)
    return time.perf_counter() - began
