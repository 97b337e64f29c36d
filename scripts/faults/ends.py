"""RF12, RF14, RF15: owners, drivers and actors that are killed, and what is left of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import zgen
from scripts.faults.bench import Teller, cluster, soft, wait_until
from scripts.faults.bodies import Victim, note, noted
from scripts.faults.row import PATIENCE_S, Outcome, Row, Setting, high, made, middle
from tests.integration.watching import is_alive
from zgen.exceptions import ActorUnavailableError, OwnerDiedError
from zgen.io.inquiry import query_node
from zgen.testing import Node

NODES_COUNT: Final = 4
#: A driver with a task, a stream of large items and an actor on every node; it never ends.
DRIVER: Final = """
import os, sys, time, zgen
address, key, notes = sys.argv[1:4]
zgen.init(address=address, key=key, log_to_driver=False)

def note(what):
    with open(notes, "a") as file:
        file.write(f"{what} {os.getpid()}\\n")

@zgen.remote(num_cpus=0, scheduling_strategy="SPREAD")
def task():
    note("task")
    time.sleep(1000)

@zgen.remote(num_cpus=0, scheduling_strategy="SPREAD")
def stream():
    note("stream")
    while True:
        yield bytes(1 << 20)
        time.sleep(0.01)

@zgen.remote(num_cpus=0, scheduling_strategy="SPREAD")
class Actor:
    def ready(self):
        note("actor")

tasks = [task.remote() for _ in range(4)]
streams = [stream.remote() for _ in range(4)]
actors = [Actor.remote() for _ in range(4)]
zgen.get([each.ready.remote() for each in actors])
held = [zgen.get(next(each)) for each in streams for _ in range(3)]
note("driver")
time.sleep(1000)
"""


@zgen.remote(num_cpus=0, max_retries=0)
def own(there: Any, notes: str) -> Iterator[tuple[list[Any], int]]:
    """Own a large value and a task on another node, and wait."""
    child = never.options(scheduling_strategy=there).remote(notes)
    yield [zgen.put(bytes(1 << 20)), child], os.getpid()
    time.sleep(PATIENCE_S)


@zgen.remote(num_cpus=0)
def never(notes: str) -> None:
    """Say who it is, and do not end."""
    note(notes, str(os.getpid()))
    time.sleep(1000)


@zgen.remote(num_cpus=0)
def borrow(refs: list[Any]) -> float:
    """Return when it was known that the owner is dead."""
    try:
        zgen.get(refs[0])
    except OwnerDiedError:
        return time.monotonic()
    return -1.0


def rf12(setting: Setting) -> Outcome:
    """Kill owners, by themselves or with their nodes, under what others borrowed of them."""
    times = 2 if setting.quick else 10
    known: list[float] = []
    ended: list[float] = []
    left = 0
    with (
        tempfile.TemporaryDirectory(prefix="zf-") as folder,
        cluster(2, namespaces=False) as nodes,
    ):
        for number in range(times):
            victim, third = nodes.add_node(num_cpus=1), nodes.nodes[0]
            nodes.wait_for_nodes(60)
            notes = Path(folder) / f"notes{number}"
            stream = own.options(scheduling_strategy=soft(victim)).remote(soft(third), str(notes))
            refs, pid = zgen.get(next(stream), timeout=PATIENCE_S)
            borrower = borrow.options(scheduling_strategy=soft(nodes.nodes[1])).remote(refs[1:])
            wait_until(lambda n=notes: bool(noted(n)), 30, "the owner's task runs")  # type: ignore[misc]
            time.sleep(0.2)  # the borrower asks
            began = time.monotonic()
            if number % 2:
                nodes.remove_node(victim)
            else:
                os.kill(pid, signal.SIGKILL)
            try:
                zgen.get(refs[1], timeout=PATIENCE_S)
                made(False, "an owner died")
            except OwnerDiedError:
                known.append(time.monotonic() - began)
            known.append(zgen.get(borrower, timeout=PATIENCE_S) - began)
            child = int(noted(notes)[0])
            ended.append(wait_until(lambda c=child: not is_alive(c), 30, "its task ends"))  # type: ignore[misc]
            if victim in nodes.nodes:
                nodes.remove_node(victim)
            del refs, stream, borrower
        time.sleep(6)  # what the dead had borrowed is kept for 5 s
        left = sum(map(_regions, nodes.nodes))
    good = high(known) <= 1.0 and left == 0
    told = (
        f"{times} owners killed, half of them with their nodes: borrowers on two other nodes knew "
        f"after {middle(known):.2f} s (p50), {max(known):.2f} s at most, kill to error; their "
        f"tasks on other nodes were dead {max(ended):.2f} s after that at most; {left} regions of "
        "shared memory left"
    )
    return Outcome(good, told, {"known_s_max": max(known), "left_count": float(left)})


def _regions(node: Node) -> int:
    """Return how many regions of shared memory a node keeps."""
    now = node._now()  # of the same project
    return int(query_node(now.address, now.folder)["store"]["regions"])


def rf14(setting: Setting) -> Outcome:
    """Kill drivers with work on all nodes."""
    times = 2 if setting.quick else 10
    took: list[float] = []
    left = processes = 0
    with (
        tempfile.TemporaryDirectory(prefix="zf-") as folder,
        cluster(NODES_COUNT, namespaces=False) as nodes,
    ):
        for number in range(times):
            notes = Path(folder) / f"notes{number}"
            with subprocess.Popen(
                [sys.executable, "-c", DRIVER, nodes.address, nodes.key, str(notes)],
                stderr=subprocess.DEVNULL,
            ) as driver:
                wait_until(
                    lambda n=notes: len(noted(n)) == 13 and noted(n)[-1].startswith("driver"),  # type: ignore[misc]
                    PATIENCE_S,
                    "its work runs",
                )
                pids = [int(line.split()[1]) for line in noted(notes)]
                made(all(map(is_alive, pids)), "all of it lives")
                processes += len(pids) - 1
                began = time.monotonic()
                driver.kill()
                wait_until(lambda p=pids: not any(map(is_alive, p)), 30, "its work is gone")  # type: ignore[misc]
                wait_until(lambda: not sum(map(_regions, nodes.nodes)), 30, "its memory is free")
                took.append(time.monotonic() - began)
        left = sum(map(_regions, nodes.nodes))
    told = (
        f"{times} drivers killed with {processes} pieces of work on {NODES_COUNT} nodes: "
        f"no process of it and no shared memory left after {middle(took):.2f} s (p50), "
        f"{max(took):.2f} s at most"
    )
    good = max(took) <= 3 and not left
    return Outcome(good, told, {"gone_s_max": max(took)})


def rf15(setting: Setting) -> Outcome:
    """Kill the workers of actors under their calls, and nodes with actors on them."""
    kills, deaths = (20, 2) if setting.quick else (500, 10)
    local: list[float] = []
    back: list[float] = []
    remote: list[float] = []
    typed = 0
    with cluster(1, profile="fast", namespaces=False):
        actors = [Victim.remote() for _ in range(4)]
        for number in range(kills):
            actor = actors[number % 4]
            pid = zgen.get(actor.pid.options(max_task_retries=5).remote(), timeout=PATIENCE_S)
            call = actor.hold.remote()
            time.sleep(0.005)  # so that it has certainly left
            began = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            typed += _is_unavailable(call)
            local.append(time.monotonic() - began)
            again = actor.pid.options(max_task_retries=5).remote()
            made(zgen.get(again, timeout=PATIENCE_S) != pid, "another life answers")
            back.append(time.monotonic() - began)
        exhausted = _exhausted()
    with cluster(2, namespaces=False) as nodes:
        for _ in range(deaths):
            victim = nodes.add_node(num_cpus=1)
            nodes.wait_for_nodes(60)
            actor = Victim.options(scheduling_strategy=soft(victim)).remote()
            pid = zgen.get(actor.pid.remote(), timeout=PATIENCE_S)
            call = actor.hold.remote()
            time.sleep(0.05)
            began = time.monotonic()
            nodes.remove_node(victim)
            typed += _is_unavailable(call)
            remote.append(time.monotonic() - began)
            again = actor.pid.options(max_task_retries=5).remote()
            made(zgen.get(again, timeout=PATIENCE_S) != pid, "it lives on another node")
    good = typed == kills + deaths and exhausted
    good = good and high(local) <= 0.05 and high(remote) <= 1.0
    told = (
        f"{kills} kills and {deaths} deaths of nodes: {typed} of {kills + deaths} calls in flight "
        f"failed with `ActorUnavailableError` that says that they may have run, after "
        f"{middle(local) * 1e3:.0f} ms (p50), {high(local) * 1e3:.0f} ms (p99) on the node and "
        f"{max(remote):.2f} s at most from another; the next call was answered "
        f"{middle(back) * 1e3:.0f} ms (p50) after the kill; without restarts left "
        f"{'`ActorDiedError`' if exhausted else 'NOT TYPED'}"
    )
    figures = {"local_s_p99": high(local), "remote_s_max": max(remote), "back_s_p50": middle(back)}
    return Outcome(good, told, figures)


def _is_unavailable(call: Any) -> bool:
    try:
        zgen.get(call, timeout=PATIENCE_S)
    except ActorUnavailableError as error:
        return error.may_have_run
    return False


def _exhausted() -> bool:
    """Return whether an actor without restarts left is dead for good, and says so."""
    mortal = Teller.options(max_restarts=1, max_task_retries=0).remote()
    for _ in range(2):
        pid = zgen.get(mortal.tell.options(max_task_retries=5).remote(), timeout=PATIENCE_S)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda p=pid: not is_alive(p), 10, "it is dead")  # type: ignore[misc]
    try:
        zgen.get(mortal.tell.options(max_task_retries=5).remote(), timeout=PATIENCE_S)
    except zgen.exceptions.ActorDiedError:
        return True
    return False


ROWS: Final = {
    "RF12": Row(
        "the owner of borrowed objects is killed",
        "`OwnerDiedError` within 1 s; nothing of it is left",
        rf12,
    ),
    "RF14": Row(
        "a driver is killed", "all its processes and memory gone within 3 s, on all nodes", rf14
    ),
    "RF15": Row(
        "actors are killed under calls, 500 times, and nodes with them",
        "seen within 50 ms on the node, 1 s from others (p99); every call typed; none hung",
        rf15,
    ),
}
