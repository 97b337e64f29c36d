"""Marks go to the collector while there is one."""

from __future__ import annotations

from zgen.core.marks import collect_with, reached


def test_marks_reach_the_collector_and_nobody_without_one() -> None:
    seen: list[str] = []
    reached("before")
    collect_with(seen.append)
    try:
        reached("between")
    finally:
        collect_with(None)
    reached("after")
    assert seen == ["between"]
