"""Workers' output as lines: whole ones at once, long ones in pieces, the last ones kept."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from zgen.core.events import WorkerPrinted
from zgen.ids import PeerId
from zgen.limits import LOG_LINE_BYTES_MAX, LOG_TAIL_LINES
from zgen_node.io.log_file import LogFile
from zgen_node.logs import Logs

WORKER = PeerId(b"w" * 16)


class Watched:
    """A watcher that tells when it is told to."""

    def __init__(self) -> None:
        self.readable: dict[int, Callable[[], None]] = {}

    def watch(self, fd: int, on_readable: Callable[[], None]) -> None:
        self.readable[fd] = on_readable

    def unwatch(self, fd: int) -> None:
        del self.readable[fd]

    def tell(self) -> None:
        for on_readable in list(self.readable.values()):
            on_readable()


class Desk:
    """Logs of one worker, with the ends that the worker would hold."""

    def __init__(self, file: LogFile | None = None) -> None:
        self.watched = Watched()
        self.posted: list[WorkerPrinted] = []
        self.logs = Logs(self.watched, self.posted.append, file)
        stdout, self.stdout = os.pipe()
        stderr, self.stderr = os.pipe()
        self.logs.attach(WORKER, stdout, stderr)

    def write(self, data: bytes, error: bool = False) -> None:
        os.write(self.stderr if error else self.stdout, data)
        self.watched.tell()

    def lines(self) -> list[str]:
        return [line for event in self.posted for line in event.lines]

    def finish(self) -> str:
        os.close(self.stdout)
        os.close(self.stderr)
        return self.logs.finish(WORKER)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_line_is_told_when_its_end_has_come(desk: Desk) -> None:
    desk.write(b"half")
    assert desk.posted == []
    desk.write(b" line\r\nnext\n")
    assert desk.posted == [WorkerPrinted(WORKER, False, ("half line", "next"), 0)]
    desk.finish()


def test_the_two_outputs_are_told_apart(desk: Desk) -> None:
    desk.write(b"out\n")
    desk.write(b"error\n", error=True)
    assert [(event.is_error, event.lines) for event in desk.posted] == [
        (False, ("out",)),
        (True, ("error",)),
    ]
    assert desk.finish() == "out\nerror"


def test_empty_lines_stay(desk: Desk) -> None:
    desk.write(b"\n\na\n\n")
    assert desk.lines() == ["", "", "a", ""]
    desk.finish()


def test_bytes_that_are_no_text_are_replaced(desk: Desk) -> None:
    desk.write(b"a\xffb\n")
    assert desk.lines() == ["a\ufffdb"]
    desk.finish()


def test_a_line_without_an_end_is_told_at_the_end(desk: Desk) -> None:
    desk.write(b"done\nno end")
    assert desk.finish() == "done\nno end"
    assert desk.lines() == ["done", "no end"]


def test_a_line_without_an_end_is_told_when_everything_is_asked_for(desk: Desk) -> None:
    desk.write(b"done\nno end")
    os.write(desk.stderr, b"not read yet")
    desk.logs.flush(WORKER)
    assert desk.lines() == ["done", "no end", "not read yet"]
    desk.logs.flush(WORKER)
    desk.write(b" of it\n")
    assert desk.lines()[3:] == [" of it"]
    desk.finish()


def test_what_was_not_read_before_the_death_is_read_then(desk: Desk) -> None:
    os.write(desk.stdout, b"last words\n")
    assert desk.finish() == "last words"


def test_a_long_line_comes_in_pieces_between_characters(desk: Desk) -> None:
    line = "x" * (LOG_LINE_BYTES_MAX - 1) + "ü" * 10
    desk.write(line.encode())
    assert [len(piece) for piece in desk.lines()] == [LOG_LINE_BYTES_MAX - 1]
    desk.write(b"\n")
    assert desk.lines() == ["x" * (LOG_LINE_BYTES_MAX - 1), "ü" * 10]
    desk.finish()


def test_the_last_lines_of_both_outputs_are_kept(desk: Desk) -> None:
    for number in range(LOG_TAIL_LINES + 5):
        desk.write(f"{number}\n".encode(), error=number % 2 == 1)
    assert desk.finish() == "\n".join(map(str, range(5, LOG_TAIL_LINES + 5)))


def test_a_closed_output_is_forgotten_and_the_other_goes_on(desk: Desk) -> None:
    os.close(desk.stdout)
    desk.watched.tell()
    assert len(desk.watched.readable) == 1
    desk.write(b"still here\n", error=True)
    os.close(desk.stderr)
    assert desk.logs.finish(WORKER) == "still here"
    assert desk.watched.readable == {}


def test_nothing_is_known_of_a_worker_that_was_never_attached(desk: Desk) -> None:
    assert desk.logs.finish(PeerId(b"x" * 16)) == ""
    desk.logs.flush(PeerId(b"x" * 16))
    assert desk.posted == []
    desk.finish()


def test_the_log_of_a_node_has_the_lines_and_the_process_id_that_comes_late(tmp_path: Path) -> None:
    file = LogFile(str(tmp_path / "output.log"))
    desk = Desk(file)
    desk.write(b"early\n")
    assert (tmp_path / "output.log").read_bytes() == b""
    desk.logs.started(WORKER, 17)
    desk.write(b"late\n", error=True)
    desk.write(b"no end")
    desk.finish()
    desk.logs.started(WORKER, 18)  # it is gone: nothing to name
    file.said(4, "error: two\nlines")
    file.close()
    rows = [json.loads(line) for line in (tmp_path / "output.log").read_text().splitlines()]
    assert [(row["pid"], row["stream"], row["line"]) for row in rows] == [
        (17, "stdout", "early"),
        (17, "stderr", "late"),
        (17, "stdout", "no end"),
        (4, "stderr", "error: two"),
        (4, "stderr", "lines"),
    ]
    assert [row["process"] for row in rows] == ["worker"] * 3 + ["daemon"] * 2
    assert {row["worker"] for row in rows} == {WORKER.hex(), None}


def test_what_the_disk_did_not_take_is_told_once_it_takes_lines_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = LogFile("/dev/full")
    file.said(1, "lost")
    told: list[bytes] = []
    monkeypatch.setattr(file._file, "write", told.append)
    file.said(1, "back")
    file.said(1, "again")
    lines = [json.loads(line)["line"] for data in told for line in data.splitlines()]
    assert lines == ["(writes that failed before this: 1)", "back", "again"]
    file.close()
