"""Fixtures for every test, and nothing else; what they are made of lies in tests/<kind>/."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from zgen.testing import leaks, plugin

hypothesis.settings.register_profile("zgen", derandomize=True, deadline=None)
hypothesis.settings.load_profile("zgen")

#: Tests below these folders run against the machine: they are marked and checked for leaks.
REAL = ("integration", "conformance", "chaos")


def pytest_configure(config: pytest.Config) -> None:
    """Have zgen's own fixtures also where zgen is not installed, or was before it had them."""
    if not config.pluginmanager.has_plugin("zgen"):
        config.pluginmanager.register(plugin, "zgen")


def _kind(request: pytest.FixtureRequest) -> str:
    """Return the folder under tests/ that the test lies in."""
    return request.path.relative_to(Path(__file__).parent).parts[0]


@pytest.fixture(scope="session", autouse=True)
def own_runtime_folder() -> Iterator[Path]:
    """Give this run a runtime folder and an environment mark of its own.

    The name is short, as a socket's path has at most 107 bytes.
    """
    folder = Path(tempfile.mkdtemp(prefix="zt-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        patch.setenv(leaks.MARK, uuid.uuid4().hex[:12])
        yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Let SIGINT end what tests start, also if the run itself was started to ignore it.

    A shell lets its background jobs do so, and every process below inherits it.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest, own_runtime_folder: Path) -> Iterator[None]:
    """Fail a test on real processes or sockets that leaves anything of them behind."""
    real = _kind(request) in REAL or any(map(request.node.get_closest_marker, REAL))
    if not real or "shared_node" in request.fixturenames:  # that one looks when its file is done
        yield
        return
    before = leaks.Snapshot.take()
    yield
    left = leaks.left_behind(before)
    if left:
        leaks.end_processes(before)
        pytest.fail(leaks.told(left), pytrace=False)


@pytest.fixture(autouse=True)
def root_only(request: pytest.FixtureRequest) -> None:
    """Skip a test marked ``root`` for anybody else."""
    if request.node.get_closest_marker("root") and os.getuid() != 0:
        pytest.skip("needs root")
