"""RF2b, RF21: streams that are closed or lose their consumer; bodies that go on after a kill."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import zgen
from scripts.faults.bench import cluster, soft, wait_until
from scripts.faults.bodies import note, noted
from scripts.faults.row import PATIENCE_S, Outcome, Row, Setting, high, made, middle

#: Items that a body may have yielded without its caller having them when it is killed.
WINDOW: Final = 16


def _told(notes: str, pause_s: float) -> Iterator[int]:
    """Yield for ever, and note when that is over."""
    try:
        number = 0
        while True:
            yield number
            number += 1
            time.sleep(pause_s)
    except GeneratorExit:
        note(notes, str(time.monotonic()))
        raise


class Teller:
    """The same as a method."""

    def told(self, notes: str, pause_s: float) -> Iterator[int]:
        """As the function."""
        yield from _told(notes, pause_s)


class AsyncTeller(Teller):
    """The same in an event loop."""

    async def loops(self) -> None:
        """Make this an async actor."""


@zgen.remote(num_cpus=0, max_retries=0)
def consume(actor: Any, where: Any, notes: str) -> Iterator[int]:
    """Read a generator, of a task on a node or else a method of an actor, and be killed."""
    if actor is None:
        task = zgen.remote(num_cpus=0, max_retries=0, scheduling_strategy=where)(_told)
        stream = task.remote(notes, 0.005)
    else:
        stream = actor.told.options(num_returns="streaming").remote(notes, 0.005)
    next(stream)
    yield os.getpid()
    for _ in stream:
        pass


def _makers(where: Any) -> dict[str, Callable[[str], Any]]:
    """Return what begins a generator, by kind of worker, on one node."""
    task = zgen.remote(num_cpus=0, scheduling_strategy=where)(_told)
    parked = task.options(_generator_backpressure_num_objects=1)
    found: dict[str, Callable[[str], Any]] = {
        "task": lambda notes: task.remote(notes, 0.005),
        "parked": lambda notes: parked.remote(notes, 0.0),
    }
    kinds: dict[str, tuple[type, dict[str, Any]]] = {
        "actor": (Teller, {}),
        "threaded": (Teller, {"max_concurrency": 4}),
        "async": (AsyncTeller, {}),
    }
    for kind, (cls, options) in kinds.items():
        actor: Any = zgen.remote(num_cpus=0, scheduling_strategy=where, **options)(cls).remote()
        method = actor.told.options(num_returns="streaming")
        found[kind] = lambda notes, method=method: method.remote(notes, 0.005)  # type: ignore[misc]
    return found


def _closed(make: Callable[[str], Any], notes: Path) -> float:
    """Close a generator after its first items; return how long its body took to hear of it."""
    stream = make(str(notes))
    for _ in range(2):
        next(stream)
    began = time.monotonic()
    stream.close()
    zgen.get(stream.completed(), timeout=PATIENCE_S)
    (heard,) = noted(notes)
    return float(heard) - began


def rf21(setting: Setting) -> Outcome:
    """Close generators of every kind, on this node and on another; kill consumers."""
    times = 4 if setting.quick else 40
    local: list[float] = []
    remote: list[float] = []
    orphaned: list[float] = []
    tasks: dict[str, list[float]] = {"this": [], "another": []}
    with (
        tempfile.TemporaryDirectory(prefix="zf-") as folder,
        cluster(2, namespaces=False) as nodes,
    ):
        count = 0
        for node, took in ((nodes.nodes[0], local), (nodes.nodes[1], remote)):
            makers = _makers(soft(node))
            for _ in range(times):
                for make in makers.values():
                    count += 1
                    took.append(_closed(make, Path(folder) / f"notes{count}"))
        actor = zgen.remote(num_cpus=0)(Teller).remote()
        here, there = soft(nodes.nodes[0]), soft(nodes.nodes[1])
        for number in range(times):
            for which, took, teller, where in (
                ("actor", orphaned, actor, None),
                ("this", tasks["this"], None, here),
                ("another", tasks["another"], None, there),
            ):
                notes = Path(folder) / f"orphan-{which}{number}"
                begin = consume.options(scheduling_strategy=here)
                consumer = begin.remote(teller, where, str(notes))
                pid = zgen.get(next(consumer), timeout=PATIENCE_S)
                began = time.monotonic()
                os.kill(pid, signal.SIGKILL)
                wait_until(lambda n=notes: bool(noted(n)), PATIENCE_S, "its generator stops")  # type: ignore[misc]
                took.append(float(noted(notes)[0]) - began)
    good = high(local) <= 0.2 and high(remote) <= 1.0 and high(orphaned) <= 1.0
    good = good and high(tasks["this"]) <= 0.2 and high(tasks["another"]) <= 1.0
    told = (
        f"{len(local)} generators of tasks and of all kinds of actor closed on this node, some "
        f"parked at their window: `GeneratorExit` after {middle(local) * 1e3:.0f} ms (p50), "
        f"{high(local) * 1e3:.0f} ms (p99); {len(remote)} on another one: "
        f"{middle(remote) * 1e3:.0f} ms (p50), {high(remote) * 1e3:.0f} ms (p99); "
        f"{len(orphaned)} generator methods whose consumer was killed: "
        f"{middle(orphaned) * 1e3:.0f} ms (p50), {high(orphaned) * 1e3:.0f} ms (p99)"
    )
    for which, took in tasks.items():
        told += (
            f"; {len(took)} generators of tasks on {which} node likewise: "
            f"{middle(took) * 1e3:.0f} ms (p50), {high(took) * 1e3:.0f} ms (p99)"
        )
    figures = {
        "local_s_p99": high(local),
        "remote_s_p99": high(remote),
        "orphaned_s_p99": high(orphaned),
        "orphaned_task_s_p99": high(tasks["this"]),
        "orphaned_task_far_s_p99": high(tasks["another"]),
    }
    return Outcome(good, told, figures)


@zgen.remote(num_cpus=0, max_retries=3)
def resumed(notes: str, count: int) -> Iterator[tuple[int, int]]:
    """Yield index and process, from where the caller is; note each."""
    with open(notes, "a", buffering=1) as file:
        for index in range(zgen.stream_position(), count):
            file.write(f"{index}\n")
            yield index, os.getpid()


def rf2b(setting: Setting) -> Outcome:
    """Kill the workers of bodies that ask where to go on."""
    times, count = (5, 200) if setting.quick else (100, 500)
    dice = setting.dice()
    extra: list[int] = []
    whole = 0
    with (
        tempfile.TemporaryDirectory(prefix="zf-") as folder,
        cluster(1, namespaces=False),
    ):
        windowed = resumed.options(_generator_backpressure_num_objects=WINDOW)
        for number in range(times):
            notes = Path(folder) / f"notes{number}"
            stream, seen, at = (
                windowed.remote(str(notes), count),
                [],
                dice.randrange(count - WINDOW),
            )
            for ref in stream:
                index, pid = zgen.get(ref, timeout=PATIENCE_S)
                seen.append(index)
                if index == at:
                    os.kill(pid, signal.SIGKILL)
            whole += seen == list(range(count))
            extra.append(len(noted(notes)) - count)
    made(any(extra) or setting.quick, "some item was made again")
    good = whole == times and max(extra) <= WINDOW
    told = (
        f"{times} streams of {count} items with a window of {WINDOW}, killed at any item: {whole} "
        f"whole and in order; {middle([float(each) for each in extra]):.0f} items (p50), "
        f"{max(extra)} at most, yielded again"
    )
    return Outcome(good, told, {"extra_count_max": float(max(extra))})


ROWS: Final = {
    "RF2b": Row(
        "the worker of a stream is killed whose body asks where to go on",
        "each item once and in order; no more items yielded again than fit into its window",
        rf2b,
    ),
    "RF21": Row(
        "a generator is closed, or its consumer is killed",
        "`GeneratorExit` within 200 ms on the node, 1 s on others (p99)",
        rf21,
    ),
}
