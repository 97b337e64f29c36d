"""`zgen timeline`: a trace that Perfetto opens, of what was submitted, ran, waited and died."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zgen
from tests.integration.remote_class import RemoteClass
from tests.integration.trace_format import faults
from zgen import cli, trace_events
from zgen.ids import PeerId
from zgen.io import timeline as noting
from zgen.io.timeline import TIMELINE_VARIABLE, TIMELINES_COUNT_MAX, Timeline

SECRET = "a-word-that-no-trace-may-hold"


@zgen.remote
def inner(word: str) -> str:
    return word


@zgen.remote
def outer(word: str) -> str:
    return zgen.get(inner.remote(word))


@zgen.remote
def count(word: str, most: int) -> Iterator[str]:
    for _ in range(most):
        yield word


@zgen.remote(max_retries=1)
def die_once(path: str) -> None:
    if not os.path.exists(path):
        Path(path).touch()
        os.kill(os.getpid(), signal.SIGKILL)


@zgen.remote(max_retries=0)
def fail(word: str) -> None:
    raise ValueError(word)


@zgen.remote
class Pair(RemoteClass):
    async def meet(self) -> None:
        import asyncio

        await asyncio.sleep(0.05)


@pytest.fixture
def noted() -> Iterator[None]:
    with zgen.init(num_cpus=2, timeline=True):
        yield


def named(events: list[dict[str, Any]], ph: str, name: str) -> list[dict[str, Any]]:
    return [event for event in events if (event["ph"], event["name"]) == (ph, name)]


def test_a_trace_shows_what_ran_where_and_nothing_of_values(
    noted: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert zgen.get(outer.remote(SECRET)) == SECRET
    assert len([zgen.get(ref) for ref in count.remote(SECRET, 500)]) == 500
    zgen.get(die_once.remote(str(tmp_path / "died")))
    with pytest.raises(ValueError, match=SECRET):
        zgen.get(fail.remote(SECRET))
    pair = Pair.remote()
    zgen.get([pair.meet.remote() for _ in range(3)])
    zgen.put(SECRET * 10_000)
    waiters = [threading.Thread(target=zgen.get, args=(pair.meet.remote(),)) for _ in range(2)]
    for waiter in waiters:
        waiter.start()
    for waiter in waiters:
        waiter.join()
    path = tmp_path / "trace.json"
    before = time.time()
    assert zgen.timeline(str(path)) is None
    text = path.read_text()
    assert SECRET not in text
    trace = json.loads(text)
    assert faults(trace) == []
    events = trace["traceEvents"]
    assert all(abs(event["ts"] / 1e6 - before) < 60 for event in events if "ts" in event)

    (ran,) = named(events, "X", "outer")
    (within,) = named(events, "X", "inner")
    (arrow,) = named(events, "f", "inner")
    assert arrow["pid"] == within["pid"] != os.getpid()
    (asked,) = named(events, "s", "inner")
    assert asked["pid"] == ran["pid"]  # its submitter was the worker of the other one
    assert ran["ts"] < asked["ts"] < within["ts"] < ran["ts"] + ran["dur"]
    waits = named(events, "X", "wait")
    assert any(wait["pid"] == ran["pid"] and wait["tid"] == ran["tid"] for wait in waits)
    assert any(wait["pid"] == os.getpid() for wait in waits)

    yielded = [event["args"]["yielded"] for event in events if event["ph"] == "C"]
    assert max(yielded) == 500
    assert len(yielded) < 500
    lives = {event["args"]["attempt"]: event["args"] for event in named(events, "X", "die_once")}
    assert [lives[0]["ended"], lives[1]["ended"], lives[1]["outcome"]] == [False, True, "value"]
    assert len(named(events, "i", "restart of die_once")) == 1
    assert named(events, "X", "fail")[0]["args"]["outcome"] == "error"
    assert len({event["tid"] for event in named(events, "X", "Pair.meet")}) >= 3  # side by side
    assert named(events, "i", "put")[0]["args"]["bytes"] > len(SECRET) * 10_000 - 1
    processes = [event["args"]["name"] for event in named(events, "M", "process_name")]
    assert sum(name.startswith(f"driver {os.getpid()} of node ") for name in processes) == 1
    assert zgen.timeline() is not None

    assert cli.main(["timeline", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"file": str(path), "events": len(json.loads(path.read_text())["traceEvents"]),
                    "processes": len(processes)}  # fmt: skip
    assert cli.main(["timeline"]) == 0
    assert faults(json.loads(capsys.readouterr().out)) == []
    assert cli.main(["timeline", str(tmp_path / "none" / "trace.json")]) == 1


def test_nothing_is_noted_unless_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="timeline=True"):
        zgen.timeline()
    with zgen.init(num_cpus=1) as context:
        zgen.get(inner.remote("word"))
        assert not [name for name in os.listdir(context.session_dir) if name.startswith("timeline")]
        with pytest.raises(RuntimeError, match="timeline=True"):
            zgen.timeline()
        assert cli.main(["timeline"]) == 1
    assert "nothing is noted" in capsys.readouterr().err


def test_the_environment_asks_for_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TIMELINE_VARIABLE, "1")
    with zgen.init(num_cpus=1):
        zgen.get(inner.remote("word"))
        events = zgen.timeline()
        assert events is not None
        assert len(named(events, "X", "inner")) == 1


def test_what_is_no_longer_kept_leaves_a_trace_that_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noting, "TIMELINE_BYTES_MAX", 4000)
    kept = Timeline(str(tmp_path), "worker", PeerId(b"w" * 16))
    for number in range(500):
        kept._write("start", 1000 * number, f"{number:032x}", 0, "f")
        kept._write("block", 1000 * number + 100, "0" * 32, True)
        kept._write("block", 1000 * number + 200, "0" * 32, False)
        kept._write("end", 1000 * number + 900, f"{number:032x}", 0, 0)
    kept.close()
    events = trace_events.trace_events([str(tmp_path)])
    assert faults({"traceEvents": events}) == []
    assert 5 < len(named(events, "X", "f")) < 100
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 4000


def test_files_of_processes_that_ended_long_ago_give_way(tmp_path: Path) -> None:
    for number in range(2 * TIMELINES_COUNT_MAX + 10):
        path = tmp_path / f"timeline-worker-{number}-00000000"
        path.touch()
        os.utime(path, ns=(number, number))
    Timeline(str(tmp_path), "worker", PeerId(b"w" * 16)).close()
    left = [path.name for path in tmp_path.iterdir()]
    assert len(left) <= 2 * TIMELINES_COUNT_MAX
    assert "timeline-worker-0-00000000" not in left
    assert f"timeline-worker-{2 * TIMELINES_COUNT_MAX + 9}-00000000" in left
