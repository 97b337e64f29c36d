"""A node in a control group of its own, whose workers take more memory than there is."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import zgen
from tests.chaos.hangman import await_mark, mark
from zgen.exceptions import OutOfMemoryError
from zgen.limits import MEMORY_RETRY_NS, SECOND

pytestmark = pytest.mark.chaos

GROUPS: Final = Path("/sys/fs/cgroup/memory")
LIMIT_BYTES: Final = 300 << 20
#: Of which workers leave this part to each other.
PART: Final = 0.7


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Start a node in a group with a limit; the driver stays outside."""
    group = GROUPS / f"zgen-test-{os.getpid()}"
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    home = [line.split(":", 2)[2] for line in lines if ":memory:" in line]
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(LIMIT_BYTES))
    except OSError as error:
        pytest.skip(f"no control group of its own: {error}")
    monkeypatch.setenv("ZGEN_MEMORY_THRESHOLD", str(PART))
    (group / "cgroup.procs").write_text(str(os.getpid()))
    try:
        zgen.init(num_cpus=2, object_store_memory=20 << 20)
    finally:
        (GROUPS / home[0].lstrip("/") / "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield group
    finally:
        zgen.shutdown()
        group.rmdir()


@zgen.remote(max_retries=1)
def hog(log: str) -> None:
    """Take all memory, in steps."""
    mark(log, "run")
    taken = []
    while True:
        taken.append(bytearray(4 << 20))
        time.sleep(0.005)


@zgen.remote(max_retries=0)
def precious(log: str, hog_log: str) -> str:
    """Hold some memory until the other one has had its second chance."""
    held = bytearray(10 << 20)
    mark(log, "run")
    while mark(hog_log + ".seen", "look") and Path(hog_log).read_text().count("run") < 2:
        time.sleep(0.02)
    return f"{len(held) >> 20} MiB"


def test_who_may_run_again_ends_for_memory_before_who_may_not_and_the_error_names_the_sizes(
    node: Path, tmp_path: Path
) -> None:
    log = str(tmp_path / "hog")
    greedy = hog.remote(log)
    await_mark(tmp_path / "hog", "the hog runs")
    younger = precious.remote(str(tmp_path / "precious"), log)
    began = time.monotonic()
    with pytest.raises(OutOfMemoryError) as caught:
        zgen.get(greedy, timeout=30)
    assert time.monotonic() - began > MEMORY_RETRY_NS / SECOND
    error = caught.value
    assert error.limit_bytes == round(LIMIT_BYTES * PART)
    assert error.limit_bytes // 3 < error.rss_bytes < LIMIT_BYTES
    assert (error.attempts, len(error.history)) == (2, 1)
    assert zgen.get(younger, timeout=20) == "10 MiB"
    assert "oom_kill 0" in (node / "memory.oom_control").read_text()
