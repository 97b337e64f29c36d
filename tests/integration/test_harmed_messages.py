"""Programs whose messages are lost, repeated, late and in flight when they come again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zgen
from zgen.exceptions import NodeStartError
from zgen.io.doorbell import who_is_at
from zgen.io.exposure import check_opening
from zgen.io.spawn import start_node
from zgen.mishaps import VARIABLE, tally
from zgen.mishaps.catalogue import Action

ITEMS_COUNT = 500
CALLS_COUNT = 100
#: What a stream and calls of an actor take.
KINDS = ("PushTasks", "ReportItems", "ReportEnd", "TasksDone", "RequestLease", "LeaseGranted")


@zgen.remote
def numbers(count: int) -> Iterator[int]:
    yield from range(count)


class Counter:
    def __init__(self) -> None:
        self.count = 0

    def add(self) -> int:
        self.count += 1
        return self.count


def run_under(
    monkeypatch: pytest.MonkeyPatch, report: Path, rules: list[dict[str, Any]], seed: int = 7
) -> dict[str, dict[str, int]]:
    """Run a stream and calls under rules; return what these did."""
    given = {"seed": seed, "rules": rules, "report": str(report)}
    monkeypatch.setenv(VARIABLE, json.dumps(given))
    zgen.init(num_cpus=2)
    try:
        stream = numbers.remote(ITEMS_COUNT)
        assert [zgen.get(ref, timeout=50) for ref in stream] == list(range(ITEMS_COUNT))
        counter: Any = zgen.remote(Counter).remote()
        calls = [counter.add.remote() for _ in range(CALLS_COUNT)]
        assert zgen.get(calls, timeout=50) == list(range(1, CALLS_COUNT + 1))
        del stream, counter, calls
    finally:
        zgen.shutdown()
    counted = tally.read(str(report))
    assert [each.name for each in counted[:2]] == ["daemon-1", "driver-1"]
    assert "worker-1" in [each.name for each in counted]
    return tally.total(counted)


@pytest.mark.parametrize(
    "action",
    [
        pytest.param(Action.DROP, marks=pytest.mark.slow),
        Action.DUP,
        pytest.param(Action.REPLY_DROP, marks=pytest.mark.slow),
        pytest.param(Action.INFLIGHT_RETRY, marks=pytest.mark.slow),
    ],
)
def test_nothing_is_lost_or_repeated_when_every_kind_is_hit(
    action: Action, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sums = run_under(monkeypatch, tmp_path / "hits", [{"msg": "*", action.value: 0.1, "min": 1}])
    assert tally.hits(sums) >= 10
    for kind in KINDS:
        if action is not Action.REPLY_DROP or kind != "LeaseGranted":
            assert sums[kind][action.value] >= 1


def test_nothing_is_lost_or_repeated_when_every_message_is_late(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sums = run_under(monkeypatch, tmp_path / "hits", [{"msg": "*", "delay_ms": [0, 50]}])
    for kind in KINDS:
        assert sums[kind]["delay"] >= sums[kind]["seen"]


def test_a_run_that_hits_nothing_can_say_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sums = run_under(monkeypatch, tmp_path / "hits", [{"msg": "DrainNode", "drop": 0.9, "min": 1}])
    assert tally.hits(sums) == 0
    assert sums["ReportItems"]["seen"] >= 1


def test_rules_that_make_no_sense_are_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, '{"rules": [{"msg": "*", "drip": 0.1}]}')
    with pytest.raises(ValueError, match=r"ZGEN_CHAOS: no key rules\[0\]\.drip"):
        zgen.init(num_cpus=1)
    monkeypatch.setenv(VARIABLE, '{"report": "/proc/nowhere"}')
    with pytest.raises((ValueError, NodeStartError), match="report: /proc/nowhere"):
        zgen.init(num_cpus=1)
    assert not zgen.is_initialized()


def test_who_asks_at_a_door_hears_of_a_node_whose_first_answer_is_lost(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rule = {"msg": "Hello", "drop": 0, "min": 1}
    given = {"rules": [rule], "report": str(tmp_path / "hits")}
    monkeypatch.setenv(VARIABLE, json.dumps(given))
    opening = check_opening("tcp://127.0.0.1:0", None, None, insecure=True)
    node = start_node(1, prestart=False, opening=opening)
    try:
        assert who_is_at(node.address.tcp.removeprefix("tcp://"), None).peer == node.address.peer
    finally:
        node.stop()
    assert tally.total(tally.read(str(tmp_path / "hits")))["Hello"]["drop"] == 1
