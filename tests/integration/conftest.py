"""The node that tests of the public API share, one a file, and what they must leave in it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

import zgen
from tests.integration.gates import Gate
from tests.integration.watching import wait_until
from zgen.limits import BORROW_GRACE_NS, SECOND
from zgen.runtime import process
from zgen.runtime.process import Runtime
from zgen.testing import leaks
from zgen.testing.plugin import held


@pytest.fixture(scope="module")
def shared_node(own_runtime_folder: Path) -> Iterator[Runtime]:
    """Run a node of two CPUs for all tests of a file; nothing of it may be left at the end."""
    before = leaks.Snapshot.take()
    zgen.init(num_cpus=2)
    assert process.current is not None
    yield process.current
    zgen.shutdown()
    left = leaks.left_behind(before)
    if left:
        leaks.end_processes(before)
        pytest.fail(leaks.told(left), pytrace=False)


@pytest.fixture
def runtime(shared_node: Runtime) -> Iterator[Runtime]:
    """Fail a test that leaves a task, a stream, a reference or a wait behind in the driver."""
    before = held(shared_node)
    yield shared_node

    def let_go() -> bool:
        if all(name in before for name in held(shared_node)) and shared_node.bells.is_idle():
            return True
        gc.collect()  # the test's exceptions keep its frames in cycles
        return False

    # What a process had borrowed that the test killed is kept for a while.
    wait_until(let_go, 5.0 + BORROW_GRACE_NS / SECOND, "what the test held is let go")
    with shared_node.loop.lock:
        shared_node.machine.check()
    assert shared_node.waits.is_idle()
    assert shared_node.loop.rescues == 0


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """Make something that a remote body waits for and the test opens."""
    return Gate(tmp_path / "gate")
