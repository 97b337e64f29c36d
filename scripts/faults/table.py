"""The table in docs/reliability.md: rows that were run replace theirs, the others stay."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from scripts.faults.row import Row

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
_BEGIN: Final = "<!-- faults:begin -->"
_END: Final = "<!-- faults:end -->"
_HEAD: Final = "| row | fault | bar | at its bar | figures |\n|---|---|---|---|---|"


def line(name: str, row: Row, verdict: str, told: str) -> str:
    """Return one row of the table."""
    return f"| {name} | {row.fault} | {row.bar} | {verdict} | {told.replace('|', '/')} |"


def with_rows(page: str, lines: dict[str, str]) -> str:
    """Return ``page`` with ``lines``, by name of the row, in place of what stood there."""
    before, rest = page.split(_BEGIN)
    table, after = rest.split(_END)
    found = {match[1]: match[0] for match in re.finditer(r"^\| (R\w+) \|.*$", table, re.MULTILINE)}
    found.update(lines)
    ordered = "\n".join(found[name] for name in sorted(found, key=_rank))
    return f"{before}{_BEGIN}\n{_HEAD}\n{ordered}\n{_END}{after}"


def write(lines: dict[str, str]) -> None:
    """Put rows that were run into the page."""
    PAGE.write_text(with_rows(PAGE.read_text(encoding="utf-8"), lines), encoding="utf-8")


def _rank(name: str) -> tuple[str, int, str]:
    return name[:2], int(re.sub(r"\D", "", name) or 0), name
