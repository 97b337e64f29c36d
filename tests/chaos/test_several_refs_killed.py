"""SIGKILL of workers and nodes whose generators yield several values at a time."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zgen
from tests.chaos.hangman import mark, marks
from tests.chaos.test_objects_rebuilt import ROWS
from tests.chaos.test_objects_rebuilt import cluster as cluster  # a fixture
from tests.chaos.test_parked_killed import await_parked
from tests.chaos.test_parked_killed import node as node  # a fixture
from tests.integration.gates import Tally
from zgen.exceptions import WorkerCrashedError
from zgen.testing import Cluster
from zgen.util.scheduling_strategies import NodeAffinitySchedulingStrategy

pytestmark = pytest.mark.chaos


@zgen.remote(num_objects_per_yield=2, max_pending_items=2)
def parked(log: str, count: int, resumes: bool = False) -> Any:
    for index in range(zgen.stream_position() if resumes else 0, count):
        mark(log, f"{os.getpid()} {index}")
        yield index, bytes([index]) * 200_000


def read(stream: Any) -> list[int]:
    numbers = []
    for number, text in stream:
        numbers.append(zgen.get(number, timeout=20))
        assert zgen.get(text, timeout=20) == bytes([numbers[-1]]) * 200_000
    return numbers


@pytest.mark.usefixtures("node")
@pytest.mark.parametrize("resumes", [False, True])
def test_pairs_come_whole_and_once_from_a_body_whose_worker_is_killed(
    resumes: bool, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    stream = parked.remote(str(log), 12, resumes)
    numbers = read(next(stream) for _ in range(5))
    pid = await_parked(log, 7)
    os.kill(pid, signal.SIGKILL)
    # What lies in shared memory outlives its worker: one that resumes makes the last yield again.
    successor = await_parked(log, 8 if resumes else 14)
    assert successor != pid
    numbers += read(stream)
    assert numbers == list(range(12))
    made = [int(line.split()[1]) for line in marks(log)]
    assert made == [*range(7), *range(6 if resumes else 0, 12)]


@pytest.mark.usefixtures("node")
def test_without_retries_each_reference_of_the_last_pair_raises(tmp_path: Path) -> None:
    log = tmp_path / "log"
    stream = parked.options(max_retries=0).remote(str(log), 12)
    os.kill(await_parked(log, 2), signal.SIGKILL)
    assert read(next(stream) for _ in range(2)) == [0, 1]
    for ref in next(stream):
        with pytest.raises(WorkerCrashedError):
            zgen.get(ref, timeout=20)
    assert list(stream) == []


@zgen.remote(num_objects_per_yield=2)
def rows(count: int, ran: Tally) -> Iterator[Any]:
    for index in range(count):
        ran.add()
        yield np.full(ROWS, index), np.full(ROWS, -index)


def test_one_lost_reference_of_a_pair_is_made_again(cluster: Cluster, tmp_path: Path) -> None:
    other = cluster.nodes[1]
    ran = Tally(tmp_path / "ran")
    strategy = NodeAffinitySchedulingStrategy(other.node_id, soft=True)
    pairs = list(rows.options(scheduling_strategy=strategy).remote(4, ran))
    assert ran.count == 4
    kept = pairs[2][1]
    zgen.wait([kept], timeout=20, fetch_local=False)
    del pairs
    cluster.remove_node(other, allow_graceful=False)
    assert (zgen.get(kept, timeout=30) == -2).all()
    assert ran.count == 8, "its task did not run again"
