"""Real SIGINTs into a driver: each is seen once and soon, and nothing is torn, lost or left."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.integration.gates import LATE_S
from tests.integration.replay import Replay, steps_of
from tests.integration.scripts import run, succeeded
from zgen.io.mailbox import Mailbox
from zgen.testing import leaks

pytestmark = pytest.mark.integration

ROOT: Final = Path(__file__).resolve().parents[2]


class Driver:
    """A driver in a process of its own, and how long it took to see each interrupt."""

    def __init__(self, scene: str, folder: Path, environment: dict[str, str]) -> None:
        path = os.pathsep.join([str(ROOT), str(ROOT / "node")])
        self.process = subprocess.Popen(
            [sys.executable, "-X", "dev", "-m", "tests.integration.interrupted", scene, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path, **environment},
            text=True,
        )
        self.took_s: list[float] = []

    def read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self, line: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.read()

    def interrupt(self, seen: int) -> None:
        """Send one SIGINT and wait until the driver has seen ``seen`` of them."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        assert self.read() == f"seen {seen}"
        self.took_s.append(time.monotonic() - began)

    def end(self) -> dict[str, Any]:
        """Return its report after it has ended well."""
        report: dict[str, Any] = json.loads(self.read())
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(20) == 0
        return report


@contextlib.contextmanager
def driver(scene: str, folder: Path, **environment: str) -> Iterator[Driver]:
    started = Driver(scene, folder, environment)
    try:
        yield started
    finally:
        started.process.kill()
        with started.process:
            pass


def assert_whole(report: dict[str, Any], seen: int) -> None:
    assert report["seen"] == seen
    assert report["missing"] == 0
    assert report["in_order"]
    assert report["idle"]
    assert report["rescues"] == 0


@pytest.mark.parametrize("scene", ["default", "asyncio", "awaiting", "raising", "counting"])
def test_three_hundred_interrupts_into_a_stream_are_each_seen_once_and_lose_no_item(
    scene: str, tmp_path: Path
) -> None:
    dice = random.Random(7)
    with driver(scene, tmp_path) as started:
        assert started.read() == "seen 0"
        for seen in range(1, 301):
            time.sleep(dice.uniform(0, 0.003))
            started.interrupt(seen)
        (tmp_path / "stop").touch()
        report = started.end()
    assert_whole(report, 300)
    assert report["count"] > 300
    assert report["same_worker"], "the worker that was checked is not the stream's"
    assert report["noted_in"]["__anext__" if scene == "awaiting" else "__next__"] > 0
    assert max(started.took_s) < LATE_S
    if scene == "asyncio":
        assert report["wrapped_asyncio"] == 301


def test_every_machine_is_whole_after_interrupts(tmp_path: Path) -> None:
    """Of each process, also of the daemon: fed with the record, its machine checks itself."""
    dice, records = random.Random(13), tmp_path / "records"
    records.mkdir()
    with driver("default", tmp_path, ZGEN_RECORD=str(records)) as started:
        assert started.read() == "seen 0"
        for seen in range(1, 51):
            time.sleep(dice.uniform(0, 0.003))
            started.interrupt(seen)
        (tmp_path / "stop").touch()
        assert_whole(started.end(), 50)
    roles = []
    for record in records.iterdir():
        roles.append(record.name.partition("-")[0])
        replay = Replay(*steps_of(record))
        assert replay.first_other is None
        replay.machine.check()
    assert sorted(set(roles)) == ["daemon", "driver", "worker"]


def test_an_interrupt_ends_every_blocked_call_at_once_and_harms_nothing(tmp_path: Path) -> None:
    calls = 7
    with driver("blocked", tmp_path) as started:
        assert started.read() == "seen 0"
        for seen in range(1, calls + 1):
            time.sleep(0.05)  # so that it blocks, as a rule
            started.interrupt(seen)
        assert_whole(started.end(), calls)
    assert max(started.took_s) < LATE_S


def test_under_asyncio_the_second_interrupt_ends_a_call_that_the_first_could_not(
    tmp_path: Path,
) -> None:
    with driver("asyncio_blocked", tmp_path) as started:
        assert started.read() == "seen 0"
        time.sleep(0.1)
        started.process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        started.interrupt(1)
        assert_whole(started.end(), 1)
    assert max(started.took_s) < LATE_S


@pytest.mark.parametrize("calls_zgen", [False, True])
def test_asyncio_cancels_its_main_task_in_a_program_that_began_with_init(
    calls_zgen: bool, tmp_path: Path
) -> None:
    source = f"""
    import asyncio, os, signal, zgen
    @zgen.remote
    def work():
        return 1
    async def main():
        if {calls_zgen}:
            zgen.get(work.remote())
        os.kill(os.getpid(), signal.SIGINT)
        print("went on", flush=True)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            print("cancelled", flush=True)
            raise
    zgen.init(num_cpus=1)
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    zgen.shutdown()
    assert zgen.is_initialized() is False
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        print("once more")
    """
    lines = succeeded(run(tmp_path, source)).splitlines()
    assert lines == ["went on", "cancelled", "interrupted", "once more"]


def test_an_interrupt_inside_the_last_call_for_long_still_reaches_the_program(
    tmp_path: Path,
) -> None:
    with driver("own_code", tmp_path) as started:
        for seen in range(1, 6):
            began = time.monotonic()
            assert started.read() == f"seen {seen}"
            if seen > 1:  # the first read waits for the start as well
                assert time.monotonic() - began < LATE_S
        report = started.end()
    assert_whole(report, 5)
    assert report["noted_in"]["put"] == 5


def test_interrupts_into_remote_calls_tear_nothing(tmp_path: Path) -> None:
    dice = random.Random(11)
    with driver("submitting", tmp_path) as started:
        assert started.read() == "seen 0"
        for seen in range(1, 101):
            time.sleep(dice.uniform(0, 0.004))
            started.interrupt(seen)
        (tmp_path / "stop").touch()
        report = started.end()
    assert_whole(report, 100)
    assert report["noted_in"]["remote"] > 0
    assert max(started.took_s) < LATE_S


def test_interrupts_into_init_and_shutdown_leave_nothing_behind(tmp_path: Path) -> None:
    rounds = 8
    with driver("starting", tmp_path) as started:
        for part, longest_s in (("init", 0.6), ("shutdown", 0.15)):
            for number in range(rounds):
                assert started.ask(part) == "now"
                time.sleep(longest_s * number / rounds)
                started.process.send_signal(signal.SIGINT)
                assert json.loads(started.read()) == [], f"{part}, {number}"
        assert started.process.stdin is not None
        started.process.stdin.close()
        report = json.loads(started.read())
        assert started.process.wait(20) == 0
    assert report["init"] > 0, "no interrupt came while init ran"
    assert report["shutdown"] > 0, "no interrupt came while shutdown ran"


def test_signals_while_the_sockets_close_leave_no_threads(tmp_path: Path) -> None:
    """ZeroMQ stops waiting for its threads when a signal comes; nobody asks it a second time."""
    before, over, caught = leaks.Snapshot.take(), threading.Event(), 0

    def count(signum: int, frame: Any) -> None:
        nonlocal caught
        caught += 1

    def disturb() -> None:
        while not over.is_set():
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
            time.sleep(0)

    usual = signal.signal(signal.SIGUSR1, count)
    disturber = threading.Thread(target=disturb)
    disturber.start()
    try:
        for number in range(50):
            Mailbox(f"ipc://{tmp_path}/{number}").close()
    finally:
        over.set()
        disturber.join()
        signal.signal(signal.SIGUSR1, usual)
    assert caught, "no signal came"
    assert leaks.left_behind(before, 1.0) == []
