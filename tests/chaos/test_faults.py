"""Rows of ``scripts/faults``, with few faults each: what the figures of docs/reliability.md say."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from scripts.faults import table
from scripts.faults.__main__ import every_row
from scripts.faults.limits import rf22
from scripts.faults.relay import FRAMES_COUNT_MAX, Link
from scripts.faults.row import Outcome, Row, Setting, SkippedError

pytestmark = pytest.mark.chaos

#: Rows that take long even with few faults.
LONG = ["RF4", "RF5", "RF6", "RF9", "RF10", "RF13", "RF23", "RF28", "RS7"]


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
    page = Path(table.PAGE).read_text(encoding="utf-8").partition("<!-- faults:end -->")[0]
    names = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| RF")]
    assert [name for name in names if name not in every_row()] == []


def test_a_bad_link_loses_delays_repeats_and_reorders_as_it_says() -> None:
    link = Link(random.Random(1))
    arrived: list[bytes] = []
    for number in range(10_000):
        link.take(number.to_bytes(4), 1, number / 10_000)
        arrived += [frame for _, frame in link.due(number / 10_000)]
    assert link.next_s() is not None
    arrived += [frame for _, frame in link.due(2.0)]
    done, came = link.done, dict.fromkeys(arrived)
    assert 300 < done.lost_count < 700
    assert 50 < done.twice_count == len(arrived) - len(came) < 150
    assert done.lost_count + done.full_count + len(came) == 10_000
    assert done.late_count > 1000
    assert arrived != sorted(arrived)
    assert link.next_s() is None


def test_a_bad_link_holds_only_so_much() -> None:
    link = Link(random.Random(1))
    for _ in range(2 * FRAMES_COUNT_MAX):
        link.take(b"frame", 0, 0.0)
    assert len(link.due(1.0)) <= FRAMES_COUNT_MAX + 1
    assert link.done.full_count > FRAMES_COUNT_MAX // 2
