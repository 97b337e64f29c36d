"""What a process may use of its machine's memory, by control groups of both kinds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zgen.limits import STORE_BYTES_MIN, STORE_PERCENT
from zgen_node.io import memory

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
