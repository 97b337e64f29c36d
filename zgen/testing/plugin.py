"""Fixtures for pytest: a node that tests share, clusters, and a check that nothing is left.

pytest finds it where zgen is installed. It does nothing until a fixture of it is used.
"""

import gc
import os
import threading
import uuid
from collections.abc import Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:  # loaded when a fixture is used
    from zgen.api import Context
    from zgen.runtime.process import Runtime
    from zgen.testing.cluster import Cluster
    from zgen.testing.leaks import Snapshot

#: How long what a test held may take to be let go, in seconds. References of a killed process are
#: kept for a while.
HELD_S: Final = 8.0
_LOOK_S: Final = 0.005

_failed: Final = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note which tests failed: the frames in their tracebacks hold what they held."""
    report = yield
    if call.excinfo is not None:
        item.stash[_failed] = True
    return report


@pytest.fixture(scope="session")
def zgen_init_options() -> dict[str, Any]:
    """What ``zgen_local`` passes to ``zgen.init``; define it again to have something else."""
    return {"num_cpus": 2}


@pytest.fixture(scope="session")
def _zgen_run_mark() -> Iterator[None]:
    """Mark what this run starts, in the environment that it inherits."""
    from zgen.testing.leaks import MARK

    with pytest.MonkeyPatch.context() as patch:
        if MARK not in os.environ:
            patch.setenv(MARK, uuid.uuid4().hex[:12])
        yield


class SharedNode:
    """The node that tests share: started when it is first wanted, and again after others ran."""

    def __init__(self, options: dict[str, Any]) -> None:
        """Start nothing yet."""
        self._options = options
        self._before: Snapshot | None = None
        self._context: Context | None = None

    def context(self) -> "Context":
        """Return the running driver's context, starting one if there is none."""
        import zgen
        from zgen.testing.leaks import Snapshot

        if self._context is None or not zgen.is_initialized():
            self._before = self._before or Snapshot.take()
            self._context = zgen.init(**self._options)
        return self._context

    def stop(self) -> list[str]:
        """End it; return what is left of it."""
        import zgen
        from zgen.testing.leaks import end_processes, left_behind

        if self._before is None:
            return []
        zgen.shutdown()
        before, self._before, self._context = self._before, None, None
        left = left_behind(before)
        if left:
            end_processes(before)
        return left


@pytest.fixture(scope="session")
def _zgen_shared_node(
    zgen_init_options: dict[str, Any], _zgen_run_mark: None
) -> Iterator[SharedNode]:
    """Hold the node of ``zgen_local``; it fails if something of that is left at the end."""
    node = SharedNode(zgen_init_options)
    yield node
    _refuse(node.stop())


@pytest.fixture
def zgen_local(
    request: pytest.FixtureRequest, _zgen_shared_node: SharedNode
) -> Iterator["Context"]:
    """Run zgen on a node that all tests share; fail a test whose tasks or references stay.

    The value is what ``zgen.init`` returned.
    """
    from zgen.runtime import process

    context = _zgen_shared_node.context()
    runtime = process.require()
    before = held(runtime)
    yield context
    if process.current is runtime and not request.node.stash.get(_failed, False):
        left = _kept(runtime, before)
        if left:
            pytest.fail("the driver still holds:\n  " + "\n  ".join(left), pytrace=False)


@pytest.fixture
def zgen_leak_check(
    request: pytest.FixtureRequest, _zgen_shared_node: SharedNode
) -> Iterator[None]:
    """Fail a test that leaves a process, thread, descriptor or session folder behind.

    The node of ``zgen_local`` is not there meanwhile, so the test may call ``zgen.init``.
    """
    from zgen.testing.leaks import Snapshot, end_processes, left_behind

    _refuse(_zgen_shared_node.stop())
    before = Snapshot.take()
    yield
    failed = request.node.stash.get(_failed, False)
    left = left_behind(before, 0.0 if failed else None)
    if left:
        end_processes(before)
    _refuse([] if failed else left)


@pytest.fixture
def zgen_cluster(zgen_leak_check: None) -> Iterator["Cluster"]:
    """Give a ``zgen.testing.Cluster`` without nodes; all that was started ends with the test."""
    import zgen
    from zgen.testing.cluster import Cluster

    with Cluster() as cluster:
        yield cluster
        zgen.shutdown()


@pytest.fixture
def zgen_namespaces(zgen_leak_check: None) -> Iterator["Cluster"]:
    """Give a cluster whose nodes have network namespaces; skip the test where there are none."""
    import zgen
    from zgen.exceptions import NamespaceError
    from zgen.testing.cluster import Cluster

    try:
        cluster = Cluster(namespaces=True)
    except NamespaceError as error:
        pytest.skip(error.reason)
    with cluster:
        yield cluster
        zgen.shutdown()


def held(runtime: "Runtime") -> dict[bytes, str]:
    """Return the tasks, objects, streams and actors that a driver keeps, by name."""
    owner = runtime.machine.owner
    with runtime.loop.lock:
        kinds: dict[str, Iterable[bytes]] = {
            "task": owner.tasks.entries,
            "object": owner.refs.records,
            "stream": owner.streams.streams,
            "actor": owner.actors.supervision.table.actors,
        }
        return {name: f"{kind} {name.hex()}" for kind, names in kinds.items() for name in names}


def _kept(runtime: "Runtime", before: dict[bytes, str]) -> list[str]:
    """Return what a driver holds that it did not hold before, once it had time to let go."""
    from zgen.io import clock
    from zgen.limits import SECOND

    deadline_ns = clock.now_ns() + round(HELD_S * SECOND)
    while True:
        left = [what for name, what in held(runtime).items() if name not in before]
        if not left or clock.now_ns() > deadline_ns:
            return left
        gc.collect()  # what only a cycle keeps is not a leak
        threading.Event().wait(_LOOK_S)


def _refuse(left: list[str]) -> None:
    """Fail if anything was left behind."""
    if left:
        from zgen.testing.leaks import told

        pytest.fail(told(left), pytrace=False)
