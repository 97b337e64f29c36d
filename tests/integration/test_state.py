"""What `zgen.state` and the command line say of a node whose objects are held in every way."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

import zgen
from tests.integration.gates import Gate
from tests.integration.remote_class import RemoteClass
from tests.integration.watching import wait_until
from zgen import cli, state
from zgen.runtime.process import Runtime

#: What processes say of each other takes its time.
WITHIN_S = 20

pytestmark = pytest.mark.usefixtures("runtime")


@zgen.remote(num_cpus=0)
class Keeper(RemoteClass):
    """Keeps what it is given."""

    def keep(self, inside: Any) -> int:
        self.inside = inside
        self.own = zgen.put(b"of the actor")
        return os.getpid()


@zgen.remote
def waits(gate: Gate, *_: Any) -> None:
    gate.wait()


@zgen.remote
def numbers(count: int) -> Any:
    yield from range(count)


def holders(ref: Any, reason: str) -> list[str]:
    """Return who holds an object for a reason."""
    (row,) = state.list_objects(filters=[("object_id", "=", ref.hex())])
    return [hold.by for hold in row.held_by if hold.reason == reason]


def at_last(found: Callable[[], Any], what: str) -> Any:
    """Return what is found, once it is."""
    wait_until(lambda: bool(found()), WITHIN_S, what)
    return found()


def test_each_reason_why_an_object_is_held_is_told(gate: Gate) -> None:
    ref = zgen.put(b"x" * 1000)
    large = zgen.put(b"x" * 300_000)
    keeper = Keeper.remote()
    pid = zgen.get(keeper.keep.remote([ref]))
    outer = zgen.put([ref])
    pending = waits.remote(gate, ref)
    actor = f"pid {pid}, actor {keeper._actor_id[:8]}: actor state"
    at_last(lambda: actor in holders(ref, "borrower"), "the actor says why it borrows")
    assert holders(ref, "local reference") == ["this process"]
    assert holders(ref, "pending task") == [f"waits() {pending.hex()[:8]}"]
    assert holders(ref, "inside a value") == [
        f"object {outer.hex()[:8]}.{int(outer.hex()[32:], 16)}"
    ]
    by_id = {row.object_id: row for row in state.list_objects()}
    assert (by_id[large.hex()].place, by_id[large.hex()].size_bytes // 1000) == (
        "shared memory",
        300,
    )
    assert (by_id[ref.hex()].place, by_id[pending.hex()].place) == ("inline", "pending")
    (own,) = [row for row in by_id.values() if row.owner_pid == pid]
    assert [hold.reason for hold in own.held_by] == ["actor state"]
    summary = state.summarize_objects()
    assert summary.by_reason["actor state"] == state.Total(1, own.size_bytes)
    assert sum(total.count for total in summary.by_owner.values()) == summary.objects.total
    gate.open()
    zgen.get([pending, keeper.keep.remote(None)])  # who dies with a reference holds it for a while


def test_items_that_nobody_took_are_objects_too(runtime: Runtime) -> None:
    stream = numbers.remote(100)
    next(stream)
    (row,) = at_last(
        lambda: state.list_streams(filters=[("unread", "!=", 0), ("ended", "=", True)]),
        "all items are there",
    )
    assert (row.name, row.reported, row.taken + row.unread) == ("numbers", 100, 100)
    (unread,) = {
        hold
        for row in state.list_objects(limit=1000)
        for hold in row.held_by
        if hold.reason == "unread item"
    }
    assert unread.by == f"numbers() {row.stream_id[:8]}"
    del stream
    wait_until(lambda: not state.list_streams(), WITHIN_S, "the stream goes")


def test_tasks_actors_and_workers_are_told(gate: Gate) -> None:
    keeper = Keeper.options(name="keeper").remote()
    pid = zgen.get(keeper.keep.remote(1))
    running = waits.remote(gate)
    waiting = waits.remote(gate, running)
    (ran,) = at_last(lambda: state.list_tasks(filters=[("state", "=", "RUNNING")]), "it runs")
    assert (ran.task_id, ran.name, ran.type) == (running.task_id().hex(), "waits", "NORMAL_TASK")
    (waited,) = state.list_tasks(filters=[("state", "=", "PENDING_ARGS_AVAIL")])
    assert (waited.task_id, waited.waits_for) == (waiting.task_id().hex(), running.hex())
    (actor,) = state.list_actors(filters=[("state", "=", "ALIVE")])
    assert (actor.class_name, actor.name, actor.pid) == ("Keeper", "keeper", pid)
    workers = {worker.pid: worker for worker in state.list_workers()}
    assert workers[os.getpid()].worker_type == "DRIVER"
    assert workers[pid].actor_id == actor.actor_id
    assert ran.worker_pid in workers
    gate.open()
    zgen.get(waiting)


def test_a_worker_that_is_stopped_is_named_and_holds_up_nobody() -> None:
    keeper = Keeper.remote()
    ref = zgen.put(b"x")
    pid = zgen.get(keeper.keep.remote([ref]))
    os.kill(pid, signal.SIGSTOP)
    try:
        found = state.list_objects(timeout=0.2)
        silent = {worker.pid: worker.silence for worker in found.silent}
        assert silent.pop(pid) == "no answer within 0.2 s"
        assert not silent or list(silent.values()) == ["it is starting"]  # one in its place
        assert found.is_partial
        assert ref.hex() in [row.object_id for row in found]
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: not state.list_objects().is_partial, WITHIN_S, "it answers again")
    zgen.get(keeper.keep.remote(None))


def test_a_task_may_ask_too() -> None:
    @zgen.remote
    def asks() -> list[str]:
        return [row.name for row in zgen.state.list_tasks()]

    assert zgen.get(asks.remote()) == ["asks"]


def test_the_command_line_shows_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    ref = zgen.put(b"x" * 5000)
    assert cli.main(["memory"]) == 0
    text = capsys.readouterr().out
    (line,) = [line for line in text.splitlines() if ref.hex() in line]
    assert "4.9 KiB" in line
    assert "local reference (this process)" in line
    assert f"process {os.getpid()}" in text
    assert cli.main(["memory", "--json", "--limit", "1"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rows"][0]["object_id"] == ref.hex()
    assert told["by_reason"]["local reference"]["size_bytes"] >= 5000
    for what in ("objects", "tasks", "actors", "workers", "streams"):
        assert cli.main(["list", what]) == 0
        capsys.readouterr()
        assert cli.main(["list", what, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["silent"] == []
        assert told["total"] >= len(told["rows"])


@pytest.mark.parametrize(
    "wrong", [{"limit": 0}, {"limit": True}, {"timeout": -1}, {"timeout": 1e9}]
)
def test_bounds_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be between"):
        state.list_objects(**wrong)


@pytest.mark.parametrize("wrong", [("state", "<", 1), ("state", "="), ("nonsense", "=", 1)])
def test_filters_are_checked(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"filter is|no field"):
        state.list_workers(filters=[wrong])
