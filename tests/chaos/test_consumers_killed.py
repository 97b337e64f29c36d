"""A generator whose consumer dies gets ``GeneratorExit``, or its worker is killed soon after."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zgen
from tests.integration.watching import is_alive, wait_until
from zgen.limits import SECOND
from zgen.testing import Cluster
from zgen_node.limits import ORPHAN_CLOSE_NS

GRACE_S = ORPHAN_CLOSE_NS / SECOND
#: Reads a generator of a plain task on the other node, until it is killed.
DRIVER = """
import sys, zgen
from tests.chaos.test_consumers_killed import stubborn, told
zgen.init(address=sys.argv[1], key=sys.argv[2], log_to_driver=False)
body = {"told": told, "stubborn": stubborn}[sys.argv[3]]
stream = body.options(resources={"far": 1}).remote(sys.argv[4])
for ref in stream:
    zgen.get(ref)
"""


def note(notes: str, what: str) -> None:
    with open(notes, "a") as file:
        file.write(f"{what} {os.getpid()}\n")


def endless(notes: str) -> Iterator[int]:
    note(notes, "begun")
    try:
        for number in range(10**9):
            yield number
            time.sleep(0.005)
    except GeneratorExit:
        note(notes, "exit")
        raise
    finally:
        note(notes, "finally")


@zgen.remote(num_cpus=0, max_retries=0)
def told(notes: str) -> Iterator[int]:
    yield from endless(notes)


@zgen.remote(num_cpus=0, max_retries=0)
def stubborn(notes: str) -> Iterator[int]:
    note(notes, "begun")
    try:
        for number in range(10**9):
            yield number
            time.sleep(0.005)
    finally:
        note(notes, "finally")
        time.sleep(1000)


@zgen.remote(num_cpus=0, max_retries=0)
def plain(notes: str) -> None:
    note(notes, "begun")
    time.sleep(1000)


@zgen.remote(num_cpus=0)
class Teller:
    def told(self, notes: str) -> Iterator[int]:
        yield from endless(notes)


@zgen.remote(num_cpus=0, max_retries=0)
def consume(kind: str, notes: str) -> Iterator[int]:
    teller: Any = Teller
    stream: Any = None
    if kind == "actor":
        stream = teller.remote().told.options(num_returns="streaming").remote(notes)
    elif kind == "plain":
        plain.remote(notes)
        yield os.getpid()
        time.sleep(1000)
    else:
        body: Any = stubborn if kind == "stubborn" else told
        window = {"_generator_backpressure_num_objects": 1} if kind == "parked" else {}
        stream = body.options(**window).remote(notes)
    next(stream)
    yield os.getpid()
    time.sleep(1000)


def said(notes: Path) -> list[str]:
    return notes.read_text().split()[::2] if notes.exists() else []


@pytest.fixture
def node() -> Iterator[None]:
    zgen.init(num_cpus=2)
    yield
    zgen.shutdown()


@pytest.mark.parametrize("kind", ["told", "parked", "actor"])
@pytest.mark.usefixtures("node")
def test_a_body_whose_consumer_is_killed_runs_its_finally(kind: str, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    consumer = consume.remote(kind, str(notes))
    pid = zgen.get(next(consumer), timeout=30)
    worker = int(notes.read_text().split()[1])
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: said(notes) == ["begun", "exit", "finally"], 10.0, "its finally runs")
    wait_until(lambda: not is_alive(worker), 10.0, "its worker ends")
    assert time.monotonic() - began < GRACE_S, "it was not the grace that ended it"


@pytest.mark.parametrize("kind", ["stubborn", "plain"])
@pytest.mark.usefixtures("node")
def test_a_body_that_does_not_stop_dies_soon_after_its_consumer(kind: str, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    consumer = consume.remote(kind, str(notes))
    pid = zgen.get(next(consumer), timeout=30)
    wait_until(lambda: said(notes) == ["begun"], 10.0, "it runs")
    worker = int(notes.read_text().split()[1])
    os.kill(pid, signal.SIGKILL)
    took_s = wait_until(lambda: not is_alive(worker), GRACE_S + 5.0, "its worker is dead")
    assert ("finally" in said(notes)) is (kind == "stubborn")
    assert (took_s >= GRACE_S * 0.9) is (kind == "stubborn"), "it waits for generators"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["told", "stubborn"])
def test_the_driver_of_a_body_on_another_node_is_killed(kind: str, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    with Cluster() as cluster:
        cluster.add_node()
        cluster.add_node(resources={"far": 1})
        cluster.wait_for_nodes()
        command = [sys.executable, "-c", DRIVER, cluster.address, cluster.key, kind, str(notes)]
        with subprocess.Popen(command) as driver:
            wait_until(lambda: said(notes) == ["begun"], 30.0, "its body runs")
            worker = int(notes.read_text().split()[1])
            time.sleep(0.3)  # it reads
            driver.kill()
        expected = ["begun", "exit", "finally"] if kind == "told" else ["begun", "finally"]
        wait_until(lambda: said(notes) == expected, 10.0, "its finally runs")
        wait_until(lambda: not is_alive(worker), GRACE_S + 10.0, "its worker is dead")
