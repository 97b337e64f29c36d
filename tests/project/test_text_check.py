from __future__ import annotations

from pathlib import Path

import pytest

from scripts import text_check


@pytest.mark.parametrize(
    "text",
    ["a", "a\n\n", "a \n", "\t\na\n", "<" * 7 + " main\n", ">" * 7 + " branch\n"],
)
def test_each_fault_is_found(text: str) -> None:
    assert len(text_check.faults(text)) == 1


@pytest.mark.parametrize("text", ["", "a\n", "a\n\nb\n", "=======\n", "<<<<<<<<\n"])
def test_plain_text_has_none(text: str) -> None:
    assert text_check.faults(text) == []


def test_main_names_file_and_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = tmp_path / "good.txt", tmp_path / "bad.txt"
    good.write_text("a\n")
    bad.write_text("a\nb \n")
    assert text_check.main([str(good)]) == 0
    assert text_check.main([str(good), str(bad)]) == 1
    assert capsys.readouterr().out == f"{bad}:2: blanks at the end of the line\n"
