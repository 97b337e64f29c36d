"""SIGKILL of whole nodes: what runs there goes on elsewhere, and what was owned there is named."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zgen
from tests.chaos.hangman import await_mark, mark, marks
from tests.integration.gates import LATE_S
from tests.integration.remote_class import RemoteClass
from tests.integration.watching import is_alive, wait_until
from zgen.exceptions import (
    ActorUnavailableError,
    NodeDiedError,
    OwnerDiedError,
    ReplayMismatchError,
    TaskCancelledError,
)
from zgen.testing import Cluster, Node

pytestmark = pytest.mark.chaos

#: A node whose processes are killed is dead to all within this time; what it owned, 1 s later.
DEAD_S = 1.0


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A node that stays, and a driver that joined by it."""
    with Cluster() as nodes:
        nodes.add_node(num_cpus=0)
        zgen.init(address=nodes.address, key=nodes.key)
        try:
            yield nodes
        finally:
            zgen.shutdown()


def near(node: Node) -> Any:
    """Return options of work that runs on a node as long as it lives."""
    strategy = zgen.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    return {"scheduling_strategy": strategy(node.node_id, soft=True), "num_cpus": 0}


def get(refs: Any) -> Any:
    return zgen.get(refs, timeout=20)


@zgen.remote
def count(n: int, pause_s: float, log: str = "", short_at: int = -1) -> Iterator[int]:
    """Yield numbers; a second run ends before ``short_at``, if that is given."""
    again = bool(log) and mark(log, "run") > 1
    for i in range(n):
        if again and i == short_at:
            return
        yield i
        time.sleep(pause_s)


@zgen.remote(max_restarts=1, max_task_retries=1)
class Adder(RemoteClass):
    def __init__(self, base: int) -> None:
        self.total = base

    def add(self, k: int) -> tuple[int, int]:
        time.sleep(0.02)
        self.total += 1
        return k, self.total

    def up_to(self, n: int) -> Iterator[int]:
        for i in range(n):
            yield i
            time.sleep(0.01)

    def stay(self, log: str) -> None:
        """Not return."""
        mark(log, "stays")
        threading.Event().wait()

    def where(self) -> tuple[str, int]:
        return zgen.get_runtime_context().get_node_id(), os.getpid()


def test_streams_and_actors_of_a_killed_node_go_on_elsewhere(
    cluster: Cluster, tmp_path: Path
) -> None:
    victim = cluster.add_node(num_cpus=0)
    there = near(victim)
    whole = count.options(**there).remote(60, 0.01)
    differs = count.options(**there).remote(500, 0.01, str(tmp_path / "runs"), 5)
    unwanted = count.options(**there).remote(500, 0.01)
    dropped = count.options(**there).remote(500, 0.01)
    once = count.options(**there, max_retries=0).remote(500, 0.01)
    adder = Adder.options(**there).remote(100)
    fragile = Adder.options(**there).remote(0)
    assert get(adder.where.remote())[0] == victim.node_id
    method = adder.up_to.remote(40)
    for stream in (whole, differs, unwanted, dropped, once, method):
        assert [get(next(stream)) for _ in range(5)] == list(range(5))
    assert get(next(differs)) == 5  # one more than it will yield the next time
    calls = [adder.add.remote(k) for k in range(5)]
    at_most_once = fragile.stay.options(max_task_retries=0).remote(str(tmp_path / "once"))
    await_mark(tmp_path / "once", "the call runs")
    cluster.remove_node(victim)
    zgen.cancel(unwanted)
    del dropped

    assert [get(ref) for ref in whole] == list(range(5, 60))
    with pytest.raises(ReplayMismatchError) as mismatch:
        get(list(differs))
    assert mismatch.value.got == 5
    with pytest.raises(TaskCancelledError):
        get(list(unwanted))
    with pytest.raises(NodeDiedError, match=r"died \(its node is gone.*count\(\).*started once"):
        get(list(once))
    # The constructor ran again, and the calls came in their order.
    assert [get(ref) for ref in method] == list(range(5, 40))
    assert get(calls) == [(k, 101 + k) for k in range(5)]
    with pytest.raises(ActorUnavailableError, match="may have run"):
        get(at_most_once)
    place, pid = get(fragile.where.remote())
    assert place != victim.node_id
    zgen.kill(adder, no_restart=True)
    assert is_alive(pid)


@zgen.remote(max_retries=0)
def own(actor: Any, there: dict[str, Any], folder: str) -> Iterator[tuple[list[Any], int]]:
    """Own a value, a task on another node and a stream of somebody's actor, and then wait."""
    child = steps.options(**there).remote(folder + "/child")
    stream = actor.steps.remote(folder + "/steps")
    next(stream)
    yield [zgen.put("small"), child], os.getpid()
    time.sleep(60)


@zgen.remote
def steps(log: str) -> None:
    mark(log + ".pid", str(os.getpid()))
    while True:
        mark(log, str(time.monotonic()))
        time.sleep(0.01)


@zgen.remote
class Stepper(RemoteClass):
    def steps(self, log: str) -> Iterator[int]:
        for i in range(10_000):
            mark(log, str(time.monotonic()))
            yield i
            time.sleep(0.01)

    def ping(self) -> str:
        return "pong"


@zgen.remote
def borrow(refs: list[Any]) -> float:
    """Wait for what never comes; return when that was known."""
    try:
        zgen.get(refs[0])
    except OwnerDiedError:
        return time.monotonic()
    raise AssertionError("a dead owner's task ended well")


@pytest.mark.slow
def test_the_death_of_an_owner_ends_its_work_and_is_known_to_borrowers_on_other_nodes(
    cluster: Cluster, tmp_path: Path
) -> None:
    victim, third = cluster.add_node(num_cpus=0), cluster.add_node(num_cpus=0)
    there = near(third)
    stepper = Stepper.options(**there).remote()
    owner = own.options(**near(victim)).remote(stepper, there, str(tmp_path))
    (small, child), pid = get(next(owner))
    assert get(small) == "small"
    child_pid = int(await_mark(tmp_path / "child.pid", "its child runs"))
    borrower = borrow.options(**there).remote([child])
    wait_until(lambda: len(marks(tmp_path / "steps")) > 5, 20, "its stream runs")
    began = time.monotonic()
    cluster.remove_node(victim)
    with pytest.raises(OwnerDiedError, match="its node is gone"):
        get(child)
    known_s = max(time.monotonic(), get(borrower)) - began
    assert known_s < DEAD_S + 1.0 + LATE_S
    assert get(small) == "small", "what was known before is known"
    wait_until(lambda: not is_alive(child_pid) and not is_alive(pid), 1.0, "its child is gone")
    assert get(stepper.ping.remote()) == "pong", "its stream has ended: it does one after the other"
    last = [float(marks(tmp_path / name)[-1]) - began for name in ("child", "steps")]
    assert max(last) < DEAD_S + 1.0 + LATE_S
    assert get(stepper.ping.remote()) == "pong"
    assert [float(marks(tmp_path / name)[-1]) - began for name in ("child", "steps")] == last
