"""Rows of ``scripts/faults``, with few faults each: what the figures of docs/reliability.md say."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.faults import table
from scripts.faults.__main__ import every_row
from scripts.faults.limits import rf22
from scripts.faults.row import Outcome, Row, Setting, SkippedError

pytestmark = pytest.mark.chaos

#: Rows that take long even with few faults.
LONG = ["RF4", "RF5", "RF6", "RF10", "RF23"]


def test_a_node_outlives_a_want_of_descriptors_and_works_on() -> None:
    outcome = rf22(Setting(seed=1, quick=True))
    assert outcome.good, outcome.told


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", LONG)
def test_a_row_is_at_its_bar(name: str) -> None:
    try:
        outcome = every_row()[name].run(Setting(seed=1, quick=True))
    except SkippedError as error:
        pytest.skip(str(error))
    assert outcome.good, outcome.told


def test_rows_that_were_run_replace_theirs_in_the_page_and_the_others_stay() -> None:
    def run(setting: Setting) -> Outcome:
        raise AssertionError("nobody runs it")

    row = Row("a fault", "a bar", run)
    page = (
        "before\n<!-- faults:begin -->\n| RF4 | old |\n| RF10 | stays |\n<!-- faults:end -->\nafter"
    )
    written = table.with_rows(page, {"RF4": table.line("RF4", row, "yes", "1 | 2")})
    assert written.startswith("before\n<!-- faults:begin -->\n| row |")
    assert "\n| RF4 | a fault | a bar | yes | 1 / 2 |\n| RF10 | stays |\n<!-- f" in written
    assert written.endswith("after")


def test_every_row_of_the_page_is_a_row_that_can_be_run() -> None:
    page = Path(table.PAGE).read_text(encoding="utf-8")
    names = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| RF")]
    assert [name for name in names if name not in every_row()] == []
