"""A file of bounded size, and one that reads it while it grows and is replaced."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from zgen.io.inotify import Changes
from zgen.io.log_files import LogSource, sources_kept
from zgen.io.rotating import OLDER, RotatingFile


def row(number: int) -> dict[str, object]:
    return {"at": float(number), "line": f"line {number}"}


def written(number: int) -> bytes:
    return json.dumps(row(number)).encode() + b"\n"


def numbers(source: LogSource) -> list[int]:
    return [int(each["at"]) for each in source.rows()]


def test_two_files_hold_no_more_than_the_bound_and_the_last_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = RotatingFile(str(path), 1000)
    for number in range(1000):
        file.write(written(number))
        both = [each for each in (path, Path(f"{path}{OLDER}")) if each.exists()]
        assert sum(each.stat().st_size for each in both) <= 1000
    assert path.stat().st_mode & 0o777 == 0o600
    source = LogSource("n", str(path))
    found = numbers(source)
    assert len(found) > 10
    assert found == list(range(1000 - len(found), 1000))
    source.close()
    file.close()
    file.close()


def test_a_reader_misses_nothing_when_the_file_is_replaced_under_it(tmp_path: Path) -> None:
    path = tmp_path / "log"
    source = LogSource("n", str(path))
    assert numbers(source) == []  # it is not there yet
    file = RotatingFile(str(path), 1000)
    found: list[int] = []
    for number in range(200):
        file.write(written(number))
        if number % 7 == 0:
            found += numbers(source)
    found += numbers(source)
    assert found == list(range(200))
    source.close()
    file.close()


def test_half_a_line_waits_for_its_other_half(tmp_path: Path) -> None:
    path = tmp_path / "log"
    source = LogSource("n", str(path))
    text = written(3)
    with path.open("wb", buffering=0) as file:
        file.write(text[:5])
        assert numbers(source) == []
        file.write(text[5:] + b"no JSON\n" + b"[1]\n")
        assert numbers(source) == [3]
    source.close()


def test_an_appended_file_counts_what_it_holds_already(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 400)
    file = RotatingFile(str(path), 1000)
    file.write(b"y" * 200)
    assert path.read_bytes() == b"y" * 200
    assert Path(f"{path}{OLDER}").read_bytes() == b"x" * 400
    file.close()


def test_what_a_full_disk_does_not_take_is_counted_and_not_raised() -> None:
    file = RotatingFile("/dev/full", 1000)
    file.write(b"lost")
    assert file.lost == 1
    file.close()


def test_plain_lines_are_read_beside_and_those_of_the_daemon_once(tmp_path: Path) -> None:
    plain = tmp_path / "node.log"
    plain.write_text("zgen node: info: one of 2 nodes\nTraceback (most recent call last):\n")
    source = LogSource("n", str(tmp_path / "log"), str(plain))
    assert [each["line"] for each in source.rows()] == ["Traceback (most recent call last):"]
    plain.write_text("anew\n")  # as a log does that has grown too long
    assert [each["line"] for each in source.rows()] == ["anew"]
    source.close()


def test_a_folder_for_logs_tells_of_its_nodes_and_a_missing_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "node-1a2b3c4d.log").write_bytes(written(1))
    (tmp_path / "node-1a2b3c4d.log.1").write_bytes(written(0))
    (tmp_path / "other.log").write_bytes(written(2))
    (source,) = sources_kept(str(tmp_path))
    assert source.node == "1a2b3c4d"
    assert numbers(source) == [0, 1]
    source.close()
    with pytest.raises(ValueError, match="No such file"):
        sources_kept(str(tmp_path / "none"))


def test_changes_of_a_folder_and_deaths_of_processes_are_waited_for(tmp_path: Path) -> None:
    changes = Changes()
    assert changes.watch(str(tmp_path))
    assert not changes.watch(str(tmp_path / "none"))
    (tmp_path / "file").write_text("text")
    changes.wait()
    child = os.fork()
    if child == 0:
        os._exit(0)
    changes.watch_process(child)
    changes.watch_process(child)
    changes.wait()
    os.waitpid(child, 0)
    changes.watch_process(child)
    (tmp_path / "file").unlink()
    changes.wait()  # for the file: the death was told
    changes.close()
