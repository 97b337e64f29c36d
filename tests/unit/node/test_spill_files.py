"""Regions in files: what comes back is what was written, and room is given back."""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.unit.node.polled import nothing_left_open
from zgen.limits import SPILL_CHUNK_BYTES
from zgen.wire.store import Place
from zgen_node.io import linux, spill_files
from zgen_node.io.spill_files import SpillFiles

PAGE_BYTES = 4096
SLAB_BYTES = 8 << 20
ROOM_BYTES = 2 * SPILL_CHUNK_BYTES + PAGE_BYTES


def place(offset: int = 0, room: int = ROOM_BYTES) -> Place:
    return Place(1, offset, room, SLAB_BYTES, is_warm=True)


class Bench:
    """A slab, and files for its regions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.looks = 0
        self.files = SpillFiles(str(folder), self._look)
        self.slab = os.memfd_create("slab", os.MFD_CLOEXEC)
        os.ftruncate(self.slab, SLAB_BYTES)

    def fill(self, where: Place) -> bytes:
        data = os.urandom(where.room)
        os.pwrite(self.slab, data, where.offset)
        return data

    def spill(self, region: int, where: Place) -> bytes:
        data = self.fill(where)
        self.files.write(region, self.slab, where)
        return data

    def restore(self, region: int, where: Place) -> bytes:
        self.files.read(region, self.slab, where)
        return os.pread(self.slab, where.room, where.offset)

    @property
    def file(self) -> int:
        assert self.files._file is not None
        return self.files._file.descriptor

    def disk_bytes(self) -> int:
        return os.fstat(self.file).st_blocks * 512

    def close(self) -> None:
        self.files.close()
        os.close(self.slab)

    def _look(self) -> None:
        self.looks += 1


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with nothing_left_open():
        made = Bench(tmp_path)
        yield made
        made.close()


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this container may not mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


# -- there and back --------------------------------------------------------------------------------
def test_regions_come_back_as_they_were_wherever_they_go(bench: Bench) -> None:
    written = {
        1: bench.spill(1, place(0)),
        2: bench.spill(2, place(ROOM_BYTES)),
        3: bench.spill(3, place(PAGE_BYTES, PAGE_BYTES)),
    }
    os.pwrite(bench.slab, bytes(SLAB_BYTES), 0)
    assert bench.restore(2, place(0)) == written[2]
    assert bench.restore(3, place(7 << 20, PAGE_BYTES)) == written[3]
    assert bench.restore(1, place(3 << 20)) == written[1]


def test_large_regions_are_copied_in_pieces(bench: Bench) -> None:
    bench.spill(1, place())
    assert bench.looks == 3
    assert bench.files._buffer is not None
    assert bench.files._buffer.nbytes == SPILL_CHUNK_BYTES


def test_writes_that_take_a_part_are_gone_on_with(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_write = os.pwrite
    data = bench.fill(place())
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", lambda fd, part, at: really_write(fd, part[:300_000], at))
        bench.files.write(1, bench.slab, place())
        assert bench.restore(1, place(ROOM_BYTES)) == data


def test_a_region_is_on_disk_once_and_gone_when_it_came_back(bench: Bench) -> None:
    bench.spill(1, place())
    bench.restore(1, place())
    with pytest.raises(OSError, match="region 1 is not there"):
        bench.restore(1, place())


def test_nothing_in_the_folder_has_a_name(bench: Bench) -> None:
    bench.spill(1, place())
    assert os.readlink(f"/proc/self/fd/{bench.file}").startswith(str(bench.folder))
    assert list(bench.folder.iterdir()) == []


def test_nothing_is_made_before_the_first_region(bench: Bench) -> None:
    assert bench.files._file is None
    bench.files.forget(1)
    assert bench.files._file is None


def test_without_a_folder_files_go_where_temporary_ones_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    bench = Bench(tmp_path)
    bench.files = SpillFiles(None, lambda: None)
    assert bench.files.where == "the folder of temporary files"
    bench.spill(1, place())
    assert os.readlink(f"/proc/self/fd/{bench.file}").startswith(str(tmp_path))
    assert bench.files.where == str(tmp_path)
    bench.close()


# -- damage ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("at", [0, SPILL_CHUNK_BYTES, ROOM_BYTES - 1])
def test_a_changed_byte_is_an_error_and_no_value(bench: Bench, at: int) -> None:
    data = bench.spill(1, place())
    os.pwrite(bench.file, bytes([data[at] ^ 1]), at)
    with pytest.raises(OSError, match="region 1 is damaged: its checksum is 0x"):
        bench.restore(1, place())
    assert bench.disk_bytes() == 0


def test_a_file_that_was_cut_is_an_error(bench: Bench) -> None:
    bench.spill(1, place())
    os.ftruncate(bench.file, SPILL_CHUNK_BYTES + 5)
    with pytest.raises(OSError, match=f"only {SPILL_CHUNK_BYTES + 5} of {ROOM_BYTES} bytes"):
        bench.restore(1, place())


def test_a_place_of_another_size_is_an_error(bench: Bench) -> None:
    bench.spill(1, place())
    with pytest.raises(OSError, match=f"region 1 has {ROOM_BYTES} bytes, not 4096"):
        bench.restore(1, place(0, PAGE_BYTES))


# -- room ------------------------------------------------------------------------------------------
def test_what_is_forgotten_is_given_back_and_its_neighbours_stay(bench: Bench) -> None:
    written = {region: bench.spill(region, place()) for region in (1, 2, 3)}
    taken_bytes = bench.disk_bytes()
    bench.files.forget(2)
    assert bench.disk_bytes() <= taken_bytes - ROOM_BYTES
    assert bench.restore(1, place()) == written[1]
    assert bench.restore(3, place()) == written[3]
    assert bench.disk_bytes() == 0


def test_a_file_that_holds_nothing_begins_anew(bench: Bench) -> None:
    first = os.dup(bench.slab)  # keeps the numbers apart
    for region in range(5):
        bench.spill(region, place())
        assert os.fstat(bench.file).st_size == ROOM_BYTES
        bench.files.forget(region)
        assert os.fstat(bench.file).st_size == 0
    os.close(first)


def test_a_long_file_is_followed_by_another_and_closed_with_its_last_region(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spill_files, "SPILL_FILE_BYTES_MAX", 2 * ROOM_BYTES)
    written = {region: bench.spill(region, place()) for region in (1, 2)}
    old = bench.file
    written[3] = bench.spill(3, place())
    assert bench.file != old
    assert bench.restore(1, place()) == written[1]
    assert os.fstat(old).st_blocks
    assert bench.restore(2, place()) == written[2]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(old)
    assert bench.restore(3, place()) == written[3]


def test_a_region_longer_than_any_file_has_one_of_its_own(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spill_files, "SPILL_FILE_BYTES_MAX", PAGE_BYTES)
    written = {region: bench.spill(region, place()) for region in (1, 2)}
    assert bench.restore(2, place()) == written[2]
    assert bench.restore(1, place()) == written[1]


def test_closing_lets_go_of_every_file(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill_files, "SPILL_FILE_BYTES_MAX", PAGE_BYTES)
    with nothing_left_open():
        for region in range(3):
            bench.spill(region, place())
        bench.files.close()


# -- no room ---------------------------------------------------------------------------------------
@pytest.mark.root
def test_a_full_disk_is_an_error_and_keeps_nothing_of_it(bench: Bench, tiny_disk: Path) -> None:
    bench.files = SpillFiles(str(tiny_disk), lambda: None)
    first = bench.spill(1, place())
    with pytest.raises(OSError, match="No space left"):
        bench.spill(2, place())
    assert os.fstat(bench.file).st_size == ROOM_BYTES
    left = os.statvfs(tiny_disk)
    assert left.f_bavail * left.f_bsize >= (4 << 20) - ROOM_BYTES
    assert bench.restore(1, place()) == first
    second = bench.spill(2, place())
    assert bench.restore(2, place()) == second
    bench.files.close()


@pytest.mark.parametrize("is_told_before", [False, True], ids=["while it writes", "before"])
def test_a_file_that_may_not_grow_keeps_nothing_of_what_did_not_fit(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, is_told_before: bool
) -> None:
    if not is_told_before:
        monkeypatch.setattr(linux, "reserve", lambda *_: None)
    with files_of_at_most(ROOM_BYTES + SPILL_CHUNK_BYTES + 5):
        first = bench.spill(1, place(0))
        bench.fill(place(0))
        with pytest.raises(OSError, match="File too large"):
            bench.files.write(2, bench.slab, place(0))
        assert os.fstat(bench.file).st_size == ROOM_BYTES
        assert bench.restore(1, place(0)) == first
        third = bench.spill(3, place(0))
        assert bench.restore(3, place(0)) == third


def test_memory_that_cannot_take_a_region_back_is_an_error(bench: Bench) -> None:
    bench.spill(1, place())
    with files_of_at_most(PAGE_BYTES), pytest.raises(OSError, match="File too large"):
        bench.files.read(1, bench.slab, place(PAGE_BYTES))
