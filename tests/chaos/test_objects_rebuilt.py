"""SIGKILL of a node with the only copies of results: they are made again, and each is right."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zgen
from tests.integration.gates import Tally
from tests.integration.remote_class import RemoteClass
from zgen.exceptions import ObjectReconstructionFailedError, TaskError
from zgen.testing import Cluster, leaks
from zgen.util.scheduling_strategies import NodeAffinitySchedulingStrategy

ROWS = 1 << 15


def get(refs: Any) -> Any:
    return zgen.get(refs, timeout=20)


@pytest.fixture
def cluster(own_runtime_folder: Path) -> Iterator[Cluster]:
    """Run two nodes and a driver that joined by the first; nothing of them may be left."""
    before = leaks.Snapshot.take()
    with Cluster() as nodes:
        nodes.add_node(num_cpus=1)
        nodes.add_node(num_cpus=1)
        zgen.init(address=nodes.address, key=nodes.key)
        yield nodes
        zgen.shutdown()
    left = leaks.left_behind(before)
    if left:
        leaks.end_processes(before)
        pytest.fail(leaks.told(left), pytrace=False)


@zgen.remote
def make(value: int, ran: Tally) -> Any:
    ran.add()
    return np.full(ROWS, value)


@zgen.remote
def add(one: Any, other: Any, ran: Tally) -> Any:
    ran.add()
    return one + other


@zgen.remote
def rows(count: int, ran: Tally) -> Iterator[Any]:
    for i in range(count):
        ran.add()
        yield np.full(ROWS, i)


@zgen.remote(max_retries=1)
def lingers(count: int) -> Iterator[Any]:
    """Yield and do not end."""
    for i in range(count):
        yield np.full(ROWS, i)
    time.sleep(60)


@zgen.remote
class Reader(RemoteClass):
    """Borrows a reference and reads it when it is told to, in a process of its own."""

    def keep(self, nested: list[Any]) -> None:
        self.ref = nested[0]

    async def read(self) -> int:
        return int((await self.ref)[0])


@pytest.mark.ray_docs("146")
def test_what_lay_on_a_killed_node_is_made_again_and_the_rest_says_why_not(
    cluster: Cluster, tmp_path: Path
) -> None:
    made, added, yielded, once = (Tally(tmp_path / name) for name in ("m", "a", "y", "o"))
    living, victim = cluster.nodes
    there: Any = {"scheduling_strategy": NodeAffinitySchedulingStrategy(victim.node_id, soft=True)}
    here: Any = {"scheduling_strategy": NodeAffinitySchedulingStrategy(living.node_id)}

    top = make.options(**there).remote(3, made)
    side = add.options(**there).remote(top, zgen.put(np.full(ROWS, 4)), added)
    bottom = add.options(**there).remote(side, top, added)
    items = list(rows.options(**there).remote(6, yielded))
    never = make.options(**there, max_retries=0).remote(1, once)
    lingering = lingers.options(**there, num_cpus=0).remote(2)
    first = next(lingering)
    reader = Reader.options(**here, num_cpus=0).remote()
    get(reader.keep.remote([bottom]))
    zgen.wait([bottom, never], num_returns=2, timeout=20, fetch_local=False)
    assert (made.count, added.count, yielded.count, once.count) == (1, 2, 6, 1)
    del top, side  # only lineage keeps them now

    cluster.remove_node(victim)
    assert get(reader.read.remote()) == 10, "a borrower has its owner make it again"
    assert (made.count, added.count) == (2, 4), "the chain ran once more, and no more often"
    assert list(get(bottom)[:2]) == [10, 10]
    assert asyncio.run(first_of(items[4])) == 4
    assert [int(get(item)[0]) for item in items] == [0, 1, 2, 3, 4, 5]
    assert yielded.count == 12, "all that the node held of the stream came with one run"
    assert get(add.options(**here).remote(bottom, items[1], added))[0] == 11
    assert (made.count, added.count, yielded.count) == (2, 5, 12)

    with pytest.raises(ObjectReconstructionFailedError, match="max_retries"):
        get(never)
    with pytest.raises(TaskError, match="max_retries"):
        get(add.remote(never, 1, added))
    assert once.count == 1
    # A stream that goes on elsewhere makes up for what lay there, read or not, and need not end.
    assert [int(get(ref)[0]) for ref in (first, lingering.next(timeout=20))] == [0, 1]
    zgen.cancel(lingering)


async def first_of(ref: Any) -> int:
    return int((await ref)[0])
