"""SIGKILL of workers under streams and tasks: nothing lost, nothing repeated, nothing hung."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zgen
from tests.chaos.hangman import Hangman, await_kill, mark
from tests.integration.watching import is_alive, wait_until
from zgen.core.in_stream import InStream
from zgen.exceptions import WorkerCrashedError
from zgen.runtime import process
from zgen.runtime.process import Runtime

pytestmark = pytest.mark.chaos


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    """A node of one CPU; its machine is checked at the end."""
    zgen.init(num_cpus=1)
    try:
        assert process.current is not None
        yield process.current
        with process.current.loop.lock:
            process.current.machine.check()
        assert process.current.loop.rescues == 0
    finally:
        zgen.shutdown()


@pytest.fixture
def hangman(tmp_path: Path) -> Iterator[Hangman]:
    with Hangman(tmp_path) as started:
        yield started


def stream_record(runtime: Runtime, gen: zgen.ObjectRefGenerator[Any]) -> InStream:
    return runtime.machine.owner.streams.streams[zgen.ids.StreamId(gen.task_id())]


def executed(log: Path) -> list[int]:
    return [int(line) for line in log.read_text().split()] if log.exists() else []


@zgen.remote(num_cpus=0)
def dies_once(count: int, kill_at: int, log: str, fifo: str) -> Iterator[int]:
    for index in range(count):
        if mark(log, str(index)) == 1 and index == kill_at:
            await_kill(fifo)
        yield index


@zgen.remote(num_cpus=0, max_retries=0)
def waits_at(index_waited: int, log: str, pids: str) -> Iterator[int]:
    for index in range(index_waited + 3):
        mark(log, str(index))
        if index == index_waited:
            mark(pids, str(os.getpid()))
            threading.Event().wait()
        yield index


@pytest.mark.timeout(120)
@pytest.mark.ray_docs("47", "144")
def test_a_hundred_streams_survive_a_kill_at_a_random_item(
    runtime: Runtime, hangman: Hangman, tmp_path: Path
) -> None:
    dice = random.Random(19)
    streams = []
    for number in range(100):
        count = dice.randint(1, 40)
        kill_at = dice.randrange(count)
        log = tmp_path / f"log-{number}"
        gen = dies_once.remote(count, kill_at, str(log), hangman.fifo)
        streams.append((gen, count, kill_at, log))
    for gen, count, kill_at, log in streams:
        items = [zgen.get(ref, timeout=60) for ref in gen]
        assert items == list(range(count))
        assert stream_record(runtime, gen).attempt >= 1
        # Once up to the kill, and all of it again.
        assert executed(log) == [*range(kill_at + 1), *range(count)]
    assert len(set(hangman.killed)) == 100
    assert not any(map(is_alive, hangman.killed))


@pytest.mark.ray_docs("100-104")
def test_without_retries_what_was_reported_comes_first_then_one_error_then_the_end(
    runtime: Runtime, tmp_path: Path
) -> None:
    log, pids = tmp_path / "log", tmp_path / "pids"
    gen = waits_at.remote(7, str(log), str(pids))
    record = stream_record(runtime, gen)
    # Nothing is taken before the worker is dead: what it reported outlives it.
    wait_until(lambda: record.known == 7 and bool(executed(pids)), 20.0, "seven items are reported")
    [pid] = executed(pids)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: record.ended, 20.0, "the stream ends")
    refs = [next(gen) for _ in range(8)]
    assert [zgen.get(ref) for ref in refs[:7]] == list(range(7))
    with pytest.raises(WorkerCrashedError) as caught:
        zgen.get(refs[7])
    assert (caught.value.signal, caught.value.exit_code, caught.value.pid) == (9, None, pid)
    assert caught.value.may_have_run
    for _ in range(3):
        with pytest.raises(StopIteration):
            next(gen)
    with pytest.raises(WorkerCrashedError):
        zgen.get(gen.completed())
    assert executed(log) == list(range(8))


@pytest.mark.parametrize("retries", [0, 1])
def test_a_kill_reaches_a_consumer_that_is_blocked_in_next(
    runtime: Runtime, tmp_path: Path, retries: int
) -> None:
    log, pids = tmp_path / "log", tmp_path / "pids"

    @zgen.remote(num_cpus=0, max_retries=retries)
    def waits_once(log: str, pids: str) -> Iterator[int]:
        first = mark(log, "started") == 1
        yield 0
        if first:
            mark(pids, str(os.getpid()))
            threading.Event().wait()
        yield 1

    def kill_once_blocked() -> None:
        wait_until(lambda: bool(executed(pids)), 20.0, "the body waits")
        wait_until(lambda: not runtime.waits.is_idle(), 20.0, "the consumer is blocked")
        os.kill(executed(pids)[0], signal.SIGKILL)

    gen = waits_once.remote(str(log), str(pids))
    assert zgen.get(next(gen)) == 0
    killer = threading.Thread(target=kill_once_blocked)
    killer.start()
    ref = gen.next(timeout=20)
    killer.join()
    assert not is_alive(executed(pids)[0])
    if retries:
        assert zgen.get(ref) == 1
    else:
        with pytest.raises(WorkerCrashedError):
            zgen.get(ref)
    assert log.read_text() == "started\n" * (1 + retries)
    with pytest.raises(StopIteration):
        next(gen)


def test_tasks_queued_behind_a_killed_one_run_once_even_without_retries(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    queued: list[int] = []
    owner = runtime.machine.owner
    on_down = owner.on_down

    def counted(peer: Any, *others: Any) -> None:
        queued.extend(
            len(held.in_flight)
            for held in owner.placement.leases.held.values()
            if held.worker == peer
        )
        on_down(peer, *others)

    @zgen.remote(max_retries=0)
    def quick(log: str, number: int) -> int:
        mark(log, str(number))
        return number

    @zgen.remote(max_retries=0)
    def warm() -> None:
        return None

    @zgen.remote(max_retries=0)
    def dies(log: str) -> None:
        mark(log, "-1")
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(owner, "on_down", counted)
    for start in range(0, 1000, 100):  # until the death met tasks behind the one that ran
        # Short tasks deepen the pipeline, so that the victim has others behind it when it starts.
        zgen.get([warm.remote() for _ in range(300)])
        victim = dies.remote(str(log))
        behind = [quick.remote(str(log), start + number) for number in range(100)]
        with pytest.raises(WorkerCrashedError):
            zgen.get(victim)
        assert zgen.get(behind, timeout=20) == list(range(start, start + 100))
        if queued and max(queued) > 1:
            break
    assert max(queued) > 1, "nothing was queued behind the killed task"
    ran = executed(log)
    assert ran.count(-1) == len(queued)
    assert sorted(number for number in ran if number >= 0) == list(range(start + 100))


def test_a_task_that_kills_every_worker_is_given_up_after_its_retries(
    runtime: Runtime, hangman: Hangman, tmp_path: Path
) -> None:
    log = tmp_path / "log"

    @zgen.remote(max_retries=2)
    def poison(log: str, fifo: str) -> None:
        mark(log, "0")
        await_kill(fifo)

    with pytest.raises(WorkerCrashedError) as caught:
        zgen.get(poison.remote(str(log), hangman.fifo), timeout=30)
    assert executed(log) == [0, 0, 0]
    assert caught.value.attempts == len(set(hangman.killed)) == 3
    assert zgen.get(zgen.remote(lambda: 1).remote(), timeout=20) == 1


def zygotes(runtime: Runtime) -> list[int]:
    """Return the process ids of this node's zygotes."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "comm").read_text() == "zgen-zygote\n":
                marks = (entry / "environ").read_bytes().split(b"\0")
                if f"ZGEN_NODE_FOLDER={runtime.folder}".encode() in marks:
                    found.append(int(entry.name))
        except OSError:
            continue  # it ended
    return found


def test_streams_go_on_after_a_kill_of_the_zygote(runtime: Runtime, tmp_path: Path) -> None:
    log, count = tmp_path / "log", 20

    @zgen.remote(num_cpus=0)
    def counts(count: int, log: str, gate: str) -> Iterator[int]:
        mark(log, str(os.getpid()))
        for index in range(count):
            if index == count // 2:
                while not os.path.exists(gate):
                    threading.Event().wait(0.01)
            yield index

    gate = tmp_path / "gate"
    streams = [counts.remote(count, str(log), str(gate)) for _ in range(4)]
    items = [[zgen.get(next(gen)) for _ in range(3)] for gen in streams]
    [zygote] = zygotes(runtime)
    workers = executed(log)
    assert len(set(workers)) == len(streams)
    os.kill(zygote, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, [zygote, *workers])), 5.0, "its workers are gone")
    gate.touch()
    for gen, first in zip(streams, items, strict=True):
        assert [*first, *(zgen.get(ref, timeout=30) for ref in gen)] == list(range(count))
        assert stream_record(runtime, gen).attempt == 1
    again = executed(log)[len(streams) :]
    assert len(again) == len(streams)
    assert not set(again) & set(workers)
    [fresh] = zygotes(runtime)
    assert fresh != zygote
