"""Bounds carry their units and fit to each other."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

import zgen.core
import zgen_node.core
import zgen_node.limits
from zgen import limits
from zgen.ids import ITEM_INDEX_FIRST, PUT_INDEX_FIRST

EVERY = {
    name: value
    for module in (limits, zgen_node.limits)
    for name, value in vars(module).items()
    if name.isupper()
}
#: What the last words of a name may be: a unit, or one with a qualifier behind it.
UNITS = ("NS", "BYTES", "CHARS", "COUNT", "LINES", "DEPTH", "PERCENT", "PPM")
#: Names that say what they count.
COUNTED = ("RETRIES", "REQUESTS", "REDIALS", "PASSED", "STARTING", "FAILURES", "ORDERS", "UNACKED")
#: Times that are compared and never waited for, so they may lie below a millisecond.
NEVER_WAITED_FOR = ("US", "RESEND_NS_PER_BYTE", "LINE_BUSY_NS")


@pytest.mark.parametrize("name", EVERY)
def test_a_bound_is_a_positive_whole_number_with_its_unit_in_its_name(name: str) -> None:
    assert type(EVERY[name]) is int
    assert EVERY[name] > 0
    if name not in ("US", "MS", "SECOND"):
        assert any(word in name.split("_") for word in (*UNITS, *COUNTED)), "no unit in the name"


@pytest.mark.parametrize("name", [name for name in EVERY if "NS" in name.split("_")])
def test_a_time_lies_between_a_millisecond_and_a_minute(name: str) -> None:
    if name in NEVER_WAITED_FOR:
        assert EVERY[name] < limits.MS
    else:
        assert limits.MS <= EVERY[name] <= 60 * limits.SECOND


@pytest.mark.parametrize(
    ("smaller", "larger"),
    [
        ("US", "MS"),
        ("MS", "SECOND"),
        ("RESEND_FIRST_NS", "RESEND_NS_MAX"),
        ("RECONNECT_FIRST_NS", "RECONNECT_NS_MAX"),
        ("RETRY_DELAY_FIRST_NS", "RETRY_DELAY_NS_MAX"),
        # an ack that waits for company still comes before the message would go again
        ("ACK_DELAY_NS", "RESEND_FIRST_NS"),
        ("ACK_AFTER_COUNT", "REORDER_COUNT_MAX"),
        # a report that waits on a busy line waits past the time that makes the line busy
        ("LINE_BUSY_NS", "LINE_TICK_NS"),
        ("TASK_SHORT_NS", "TASK_LONG_NS"),
        # a process that flushes at its exit is not killed meanwhile
        ("FLUSH_AT_EXIT_NS", "NODE_STOP_NS"),
        ("ORPHAN_STOP_NS", "NODE_STOP_NS"),
        ("LEASE_LINGER_NS", "LEASE_TERM_NS"),
        ("INBODY_BYTES_MAX", "BATCH_BYTES_MAX"),
        ("BATCH_BYTES_MAX", "ITEM_BYTES_UNACKED_MAX"),
        # a full batch of values just below the inline bound is a legal message
        ("ITEM_BYTES_UNACKED_MAX", "BODY_BYTES_MAX"),
        ("BATCH_COUNT_MAX", "BUFFERS_COUNT_MAX"),
        ("BATCH_COUNT_MAX", "ARRAY_COUNT_MAX"),
        ("RETURNS_COUNT_MAX", "ARRAY_COUNT_MAX"),
        ("TAKE_COUNT_MAX", "ITEMS_COUNT_MAX"),
        ("PIPELINE_DEPTH_MAX", "BATCH_COUNT_MAX"),
        ("LOG_LINE_BYTES_MAX", "LOG_BACKLOG_BYTES_MAX"),
        # who is refused for being dead is not forgotten before those that may still dial
        ("CONNECTIONS_COUNT_MAX", "FENCED_COUNT_MAX"),
        ("WORKERS_COUNT_MAX", "CONNECTIONS_COUNT_MAX"),
    ],
)
def test_one_bound_lies_below_the_other(smaller: str, larger: str) -> None:
    assert EVERY[smaller] < EVERY[larger]


def test_items_and_returns_have_indices_below_those_of_put_objects() -> None:
    assert ITEM_INDEX_FIRST + limits.ITEMS_COUNT_MAX < PUT_INDEX_FIRST
    assert limits.RETURNS_COUNT_MAX < PUT_INDEX_FIRST


@pytest.mark.parametrize("package", [zgen.core, zgen_node.core], ids=lambda p: p.__name__)
def test_no_machine_has_a_bound_of_its_own(package: ModuleType) -> None:
    sources = sorted(Path(package.__path__[0]).glob("*.py"))
    assert sources
    bounds = re.compile(r"^_?[A-Z_]+_(?:COUNT|BYTES|NS)_MAX\b.*=", re.MULTILINE)
    assert not {s.name: found for s in sources if (found := bounds.findall(s.read_text()))}
