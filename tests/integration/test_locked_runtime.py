"""A driver that reaches a node and its workers over tcp with a key works as one beside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import zgen
from zgen.io import exposure, keys
from zgen.io.spawn import NodeProcess, start_node
from zgen.runtime import process


@pytest.fixture
def locked_node(own_runtime_folder: Path, tmp_path: Path) -> Iterator[NodeProcess]:
    key_file = str(tmp_path / "key")
    keys.generate().write(key_file)
    opening = exposure.check_opening("tcp://127.0.0.1:*", None, key_file, insecure=False)
    node = start_node(2, opening=opening, embedded=False)
    yield node
    node.stop()


@pytest.fixture
def far_driver(locked_node: NodeProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Be a driver of the node that takes itself to be on another machine."""

    def find(folder: str) -> exposure.Exposure | None:
        found = exposure.find(folder)
        return None if found is None else replace(found, machine=b"elsewhere")

    monkeypatch.setattr(process, "find_exposure", find)
    zgen.init(address=locked_node.folder)
    yield
    zgen.shutdown()


@pytest.mark.integration
@pytest.mark.usefixtures("far_driver")
def test_tasks_streams_and_large_values_work_for_a_driver_behind_the_lock() -> None:
    @zgen.remote
    def numbers(count: int) -> Iterator[int]:
        yield from range(count)

    @zgen.remote
    def swap(array: np.ndarray[tuple[int], np.dtype[np.int64]]) -> tuple[int, bytes]:
        return int(array.sum()), bytes(3 << 20)

    class Big:
        """Travels inside the function, and so in one frame of the line."""

        filler = bytes(5 << 20)

    @zgen.remote
    def length() -> int:
        return len(Big.filler)

    assert [zgen.get(ref) for ref in numbers.remote(500)] == list(range(500))
    total, block = zgen.get(swap.remote(np.ones(1 << 20, np.int64)))
    assert (total, len(block)) == (1 << 20, 3 << 20)
    assert zgen.get(length.remote()) == 5 << 20
    runtime = process.current
    assert runtime is not None
    lines, me = runtime.machine.session._lines, runtime.machine.session.identity
    dialled = [me.inbox_of(line.address) for line in lines.values()]
    assert len(dialled) > 1
    assert all(inbox.startswith("tcp://127.") for inbox in dialled)
    assert runtime.loop.rescues == 0
