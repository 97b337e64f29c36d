"""Files that nobody has to clean up."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from zgen.io.unlinked import open_unlinked


def check(folder: Path) -> None:
    descriptor = open_unlinked(str(folder))
    try:
        assert list(folder.iterdir()) == []
        assert os.fstat(descriptor).st_nlink == 0
        assert not os.get_inheritable(descriptor)
        os.pwrite(descriptor, b"hello", 5)
        assert os.pread(descriptor, 10, 0) == b"\0\0\0\0\0hello"
    finally:
        os.close(descriptor)


def test_a_file_has_no_name_and_can_be_written_and_read(tmp_path: Path) -> None:
    check(tmp_path)


def test_the_same_where_only_files_with_names_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_open = os.open
    refused: list[int] = []

    def without_tmpfile(path: Any, flags: int, *mode: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            refused.append(flags)
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return really_open(path, flags, *mode)

    monkeypatch.setattr(os, "open", without_tmpfile)
    check(tmp_path)
    assert len(refused) == 1


def test_a_folder_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_unlinked(str(tmp_path / "missing"))


def test_a_folder_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        open_unlinked(str(tmp_path / "file"))
