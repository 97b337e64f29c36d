"""Counters of what befell messages, in files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zgen.mishaps import tally
from zgen.mishaps.catalogue import Action
from zgen.mishaps.tally import Counted, Tally


def test_each_process_counts_in_a_file_of_its_own_that_others_read(tmp_path: Path) -> None:
    one, other = Tally(str(tmp_path / "chaos"), "worker"), Tally(str(tmp_path / "chaos"), "worker")
    assert (one.name, other.name) == ("worker-1", "worker-2")
    one.note(0x30, None)
    one.note(0x30, None)
    one.note(0x30, Action.DROP)
    other.note(0x30, Action.DROP)
    other.note(0xB6, Action.DELAY)
    one.close()
    (tmp_path / "chaos" / "something").write_bytes(b"else")
    found = tally.read(str(tmp_path / "chaos"))
    assert found == [
        Counted("worker-1", os.getpid(), {"ReportItems": {"seen": 2, "drop": 1}}),
        Counted("worker-2", os.getpid(), {"ReportItems": {"drop": 1}, "NamesTold": {"delay": 1}}),
    ]
    sums = tally.total(found)
    assert sums == {"ReportItems": {"seen": 2, "drop": 2}, "NamesTold": {"delay": 1}}
    assert tally.hits(sums) == 3
    other.close()


def test_where_nobody_counts_there_is_nothing_and_nothing_was_hit(tmp_path: Path) -> None:
    assert tally.read(str(tmp_path / "none")) == []
    assert tally.hits(tally.total([])) == 0


def test_who_cannot_count_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        Tally(str(tmp_path / "file" / "below"), "worker")
