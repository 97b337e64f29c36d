"""docs/reliability.md names every row, and what it names is there."""

from __future__ import annotations

import re
from pathlib import Path

from scripts import security
from scripts.faults.__main__ import every_row

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
#: Rows that have a bar.
FAULTS = [f"RF{i}" for i in range(1, 29)] + ["RF2b", "RF2c"]
ATTACKS = [f"RS{i}" for i in (1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 13, 14)] + ["RS1b"]


def table() -> dict[str, str]:
    """Return the line of each row."""
    lines = PAGE.split("<!-- rows:begin -->")[1].split("<!-- rows:end -->")[0].splitlines()
    named = [(line.split("|")[1].strip(), line) for line in lines if line.startswith("| R")]
    assert len(named) == len(dict(named)), "a row stands there twice"
    return dict(named)


def test_every_row_is_named_and_so_is_what_shows_it() -> None:
    rows = table()
    assert sorted(rows) == sorted(FAULTS + ATTACKS)
    for name, line in rows.items():
        shown, stands = line.split("|")[3:5]
        assert "`" in shown, name
        assert stands.strip(), name


def test_what_shows_a_row_is_there() -> None:
    for name, line in table().items():
        for program in re.findall(r"`scripts\.faults --rows (\w+)`", line):
            assert program == name
            assert program in every_row()
        for program in re.findall(r"`scripts\.security -k (\w+)`", line):
            assert program == name
            assert program in security.ROWS
        for file, test in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", line):
            source = (ROOT / file).read_text(encoding="utf-8")
            assert re.search(rf"^def {test}\(", source, re.MULTILINE), f"{name}: {file}::{test}"


def test_what_is_said_to_have_figures_has_them_above() -> None:
    figures = PAGE.split("<!-- faults:begin -->")[1].split("<!-- faults:end -->")[0]
    for name, line in table().items():
        has_figures = f"\n| {name} |" in figures
        assert has_figures or "figures above" not in line, name
