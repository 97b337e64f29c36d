"""A folder of huge pages: a real tmpfs, mounted where nobody sees it."""

import mmap
import os
from pathlib import Path

import pytest

from tests.unit.node.huge_folder import huge_folder
from tests.unit.node.polled import nothing_left_open
from zgen_node.io import huge_pages

HUGE_BYTES = 2 << 20


def test_a_file_has_huge_pages_where_a_map_of_it_asks_for_them() -> None:
    with nothing_left_open():
        folder = huge_folder()
        file = os.open("it", os.O_RDWR | os.O_CREAT, 0o600, dir_fd=folder)
        os.ftruncate(file, 2 * HUGE_BYTES)
        with mmap.mmap(file, 2 * HUGE_BYTES) as mapped:
            mapped.madvise(mmap.MADV_HUGEPAGE)
            mapped[1] = 7
            os.pwrite(file, b"x", HUGE_BYTES + 1)  # which asks for nothing
        assert os.fstat(file).st_blocks * 512 == HUGE_BYTES + 4096
        os.close(file)
        os.close(folder)


def test_nobody_sees_it_and_nobody_else_may_enter() -> None:
    before = Path("/proc/self/mounts").read_text()
    with nothing_left_open():
        folder = huge_folder()
        assert Path("/proc/self/mounts").read_text() == before
        assert os.stat(folder).st_mode & 0o777 == 0o700
        assert os.stat(folder).st_uid == os.geteuid()
        assert not os.get_inheritable(folder)
        assert os.listdir(folder) == []
        os.close(folder)


def test_where_none_can_be_made_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_arguments: object) -> None:
        raise PermissionError(1, "not permitted")

    monkeypatch.setattr(huge_pages, "_call", forbidden)
    with nothing_left_open():
        assert huge_pages.make_folder() is None
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
