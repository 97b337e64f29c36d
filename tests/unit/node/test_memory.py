"""What a process may use of its machine's memory, by control groups of both kinds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zgen.core.node_events import MemoryRead
from zgen.ids import PeerId
from zgen.limits import MEMORY_PPM_DEFAULT, STORE_BYTES_MIN, STORE_PERCENT
from zgen_node.io import memory
from zgen_node.io.config import THRESHOLD_VARIABLE, DaemonConfig

GIVEN = {
    "folder": "",
    "peer": "00",
    "resources": {},
    "embedded": True,
    "log_to_file": True,
    "worker_main": "",
    "prestart": False,
    "store_bytes": None,
    "spill_folder": None,
}
MACHINE_BYTES = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


class Groups:
    """The control groups of a process, as files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def be_in(self, *lines: str) -> None:
        (self.folder / "self").mkdir()
        (self.folder / "self" / "cgroup").write_text("".join(f"{line}\n" for line in lines))

    def limit(self, path: str, says: object) -> None:
        file = self.folder / "groups" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{says}\n")

    def memory_bytes(self) -> int:
        return memory.memory_bytes(str(self.folder), str(self.folder / "groups"))


@pytest.fixture
def groups(tmp_path: Path) -> Groups:
    return Groups(tmp_path)


def test_without_control_groups_it_is_all_of_the_machine(groups: Groups) -> None:
    assert groups.memory_bytes() == MACHINE_BYTES


def test_the_limit_of_a_unified_group_counts(groups: Groups) -> None:
    groups.be_in("0::/a/b")
    groups.limit("a/b/memory.max", 64 << 20)
    assert groups.memory_bytes() == 64 << 20


def test_the_least_of_the_groups_around_it_counts(groups: Groups) -> None:
    groups.be_in("0::/a/b/c")
    groups.limit("a/b/c/memory.max", "max")
    groups.limit("a/b/memory.max", 96 << 20)
    groups.limit("a/memory.max", 128 << 20)
    assert groups.memory_bytes() == 96 << 20


def test_a_group_without_a_limit_leaves_all_of_the_machine(groups: Groups) -> None:
    groups.be_in("0::/")
    groups.limit("memory.max", "max")
    assert groups.memory_bytes() == MACHINE_BYTES


def test_the_limit_of_a_memory_group_of_the_old_kind_counts(groups: Groups) -> None:
    groups.be_in("5:cpu,cpuacct:/x", "4:hugetlb,memory:/a", "0::/")
    groups.limit("memory/a/memory.limit_in_bytes", 32 << 20)
    groups.limit("memory/memory.limit_in_bytes", (1 << 63) - 4096)
    groups.limit("memory/x/memory.limit_in_bytes", 1)
    assert groups.memory_bytes() == 32 << 20


def test_a_container_that_sees_its_own_group_as_the_root_is_limited_by_it(groups: Groups) -> None:
    groups.be_in("4:memory:/docker/1234")
    groups.limit("memory/memory.limit_in_bytes", 16 << 20)
    assert groups.memory_bytes() == 16 << 20


def test_this_machine_has_a_sensible_default() -> None:
    size_bytes = memory.default_store_bytes()
    assert size_bytes % 4096 == 0
    assert STORE_BYTES_MIN <= size_bytes <= MACHINE_BYTES * STORE_PERCENT / 100


def test_the_default_is_a_share_and_never_too_little(monkeypatch: pytest.MonkeyPatch) -> None:
    for memory_bytes, expected in ((10 << 30, 786432 * 4096), (1 << 20, STORE_BYTES_MIN)):
        monkeypatch.setattr(memory, "memory_bytes", lambda have=memory_bytes: have)
        assert memory.default_store_bytes() == expected


def use(groups: Groups, free_kb: int = 600) -> MemoryRead:
    (groups.folder / "meminfo").write_text(
        f"MemTotal:  1000 kB\nMemFree:  1 kB\nMemAvailable:  {free_kb} kB\nHugePages_Total: 0\n"
    )
    return memory.read_memory((), str(groups.folder), str(groups.folder / "groups"))


def test_what_is_not_available_of_the_machine_is_in_use(groups: Groups) -> None:
    assert use(groups) == MemoryRead(400 << 10, 1000 << 10, ())


def test_the_scarcest_of_machine_and_groups_counts_without_cached_files(groups: Groups) -> None:
    groups.be_in("0::/a/b", "4:cpu,memory:/c")
    groups.limit("a/b/memory.max", "max")
    groups.limit("a/memory.max", 1000)
    groups.limit("a/memory.current", 900)
    groups.limit("a/memory.stat", "anon 7\ninactive_file 100")
    groups.limit("memory/c/memory.limit_in_bytes", 2000)
    groups.limit("memory/c/memory.usage_in_bytes", 1950)
    groups.limit("memory/c/memory.stat", "cache 7\ntotal_inactive_file 50")
    assert use(groups) == MemoryRead(1900, 2000, ())
    groups.limit("memory/c/memory.stat", "total_inactive_file 1950")
    assert use(groups) == MemoryRead(800, 1000, ())
    assert use(groups, free_kb=10) == MemoryRead(990 << 10, 1000 << 10, ())


def test_who_is_gone_is_not_measured() -> None:
    me, gone = PeerId(b"me".ljust(16)), PeerId(b"gone".ljust(16))
    ((who, size_bytes),) = memory.read_memory(((me, os.getpid()), (gone, 1 << 30))).workers
    assert who == me
    assert 1 << 20 < size_bytes < MACHINE_BYTES


@pytest.mark.parametrize(("said", "ppm"), [("", MEMORY_PPM_DEFAULT), ("0.5", 500_000), ("0", 0)])
def test_the_threshold_is_part_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, said: str, ppm: int
) -> None:
    monkeypatch.setenv(THRESHOLD_VARIABLE, said)
    assert DaemonConfig(GIVEN).memory_ppm == ppm


@pytest.mark.parametrize("said", ["half", "-1", "95", "nan"])
def test_a_threshold_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv(THRESHOLD_VARIABLE, said)
    with pytest.raises(ValueError, match=f"{THRESHOLD_VARIABLE}={said} is no number"):
        DaemonConfig(GIVEN)
