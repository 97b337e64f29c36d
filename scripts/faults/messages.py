"""RF11: each kind of message under each fault, in the simulator and among real processes.

python -m scripts.faults.messages     the program of this row, under the ZGEN_CHAOS that is set
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final

import zgen
from scripts.faults.bench import cluster
from scripts.faults.row import PATIENCE_S, Outcome, Row, Setting, made
from tests.integration.remote_class import RemoteClass
from tests.sim import aims
from zgen.exceptions import TaskCancelledError
from zgen.mishaps import VARIABLE, tally
from zgen.mishaps.catalogue import Action, names

ROOT: Final = Path(__file__).resolve().parents[2]
PROGRAM_S: Final = 300.0
ITEMS_COUNT: Final = 300
LARGE_BYTES: Final = 3 << 20
#: Of the simulator's cases with ``--quick``.
QUICK_EVERY: Final = 20
#: What a rule of one action says.
RULES: Final[dict[Action, dict[str, object]]] = {
    **{action: {action.value: 0.02} for action in Action if action is not Action.DELAY},
    Action.DELAY: {"delay_ms": [0, 300], "delay": 0.1},
}


@zgen.remote(num_cpus=0)
def numbers(count: int) -> Iterator[int]:
    """Yield so many numbers."""
    yield from range(count)


@zgen.remote(num_cpus=0)
def endless() -> Iterator[int]:
    """Yield numbers until nobody wants them."""
    number = 0
    while True:
        yield number
        number += 1


@zgen.remote(num_cpus=0, two_way=True)
def doubles() -> Any:
    """Yield twice what was sent."""
    got = yield 0
    while True:
        got = yield 2 * got


@zgen.remote(num_cpus=0)
def large(size_bytes: int) -> bytes:
    """Return a large value."""
    print("made", flush=True)
    return bytes(size_bytes)


@zgen.remote(num_cpus=0)
def size_of(value: bytes) -> int:
    """Return the size of a value."""
    return len(value)


@zgen.remote(num_cpus=0)
def sum_of(inside: list[Any]) -> int:
    """Return the sum of what borrowed references name, or of what a lent generator yields."""
    return sum(zgen.get(ref) for ref in inside[0])


@zgen.remote(num_cpus=0)
class Counter(RemoteClass):
    """Counts."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.count = 0

    def add(self) -> int:
        """Count."""
        self.count += 1
        return self.count

    def upto(self, count: int) -> Iterator[int]:
        """Yield numbers."""
        yield from range(count)


def program() -> None:
    """Use a bit of everything on two nodes; each result is checked."""
    with cluster(2, namespaces=False):
        for place in ({"n0": 1}, {"n1": 1}):
            _streams(place)
            _values(place)
            _actors(place)
        assert zgen.state.list_workers(timeout=20)
        assert zgen.state.list_objects(timeout=20) is not None


def _streams(place: dict[str, Any]) -> None:
    assert _all(numbers.options(resources=place).remote(ITEMS_COUNT)) == list(range(ITEMS_COUNT))
    held = endless.options(resources=place, max_pending_items=4).remote()
    assert [zgen.get(next(held), timeout=PATIENCE_S) for _ in range(50)] == list(range(50))
    held.close()
    talk = doubles.options(resources=place).remote()
    next(talk)
    assert [zgen.get(talk.send(n), timeout=PATIENCE_S) for n in range(5)] == [0, 2, 4, 6, 8]
    talk.close()
    lent = numbers.remote(20)
    total = sum_of.options(resources=place).remote([lent])
    assert zgen.get(total, timeout=PATIENCE_S) == sum(range(20))


def _values(place: dict[str, Any]) -> None:
    other = {"n1": 1.0} if "n0" in place else {"n0": 1.0}
    value = large.options(resources=place).remote(LARGE_BYTES)
    assert zgen.get(size_of.options(resources=other).remote(value), timeout=PATIENCE_S)
    assert len(zgen.get(value, timeout=PATIENCE_S)) == LARGE_BYTES
    refs = [zgen.put(number) for number in range(10)]
    total = sum_of.options(resources=place).remote([refs])
    assert zgen.get(total, timeout=PATIENCE_S) == sum(range(10))
    endless_one = endless.options(resources=place).remote()
    zgen.get(next(endless_one), timeout=PATIENCE_S)
    zgen.cancel(endless_one)
    try:
        for ref in endless_one:
            zgen.get(ref, timeout=PATIENCE_S)
    except TaskCancelledError:
        pass


def _actors(place: dict[str, Any]) -> None:
    name = f"counter on {next(iter(place))}"
    counter = Counter.options(resources=place, name=name).remote()
    calls = [counter.add.remote() for _ in range(50)]
    assert zgen.get(calls, timeout=PATIENCE_S) == list(range(1, 51))
    assert zgen.get(zgen.get_actor(name).add.remote(), timeout=PATIENCE_S) == 51
    stream = counter.upto.options(num_returns="streaming").remote(50)
    assert _all(stream) == list(range(50))
    zgen.kill(counter)


def _all(stream: Any) -> list[int]:
    return [zgen.get(ref, timeout=PATIENCE_S) for ref in stream]


def rf11(setting: Setting) -> Outcome:
    """Aim faults at every kind in the simulator; let each befall every kind of real processes."""
    every = list(aims.cases())[:: QUICK_EVERY if setting.quick else 1]
    with ProcessPoolExecutor(2) as pool:
        results = list(pool.map(aims.run_case, every, chunksize=4))
    print(aims.table(results), flush=True)
    failed = [each for each in results if each.failure]
    for each in failed:
        print(f"{each.case} in {each.scenario} {each.seed}: {each.failure}", flush=True)
    missed = [each for each in results if aims.is_missed(each)]
    real, wrong = _among_processes(setting)
    hits = {action: sum(action.value in row for row in real.values()) for action in Action}
    made(all(hits.values()), f"kinds hit among real processes: {hits}")
    count = len(names())
    covered = count - len(aims.NOT_SENT)
    deaths = sum(each.hits for each in results if not isinstance(each.case.fault, Action))
    told = (
        f"simulator: {covered} of {count} kinds{_missing()}, "
        f"{sum(each.hits for each in results)} faults made in {len(results)} cases, {deaths} of "
        f"them deaths of a sender or receiver just before or after the message: {len(failed)} not "
        f"survived, {len(missed)} not made; real processes, each kind at least once in each "
        f"process: {', '.join(f'{action.value} {hits[action]}' for action in Action)} kinds, "
        f"{sum(tally.hits({k: r}) for k, r in real.items())} messages: {wrong} programs went wrong"
    )
    figures = {"failed": len(failed), "missed": len(missed), "wrong": wrong, "covered": covered}
    good = not (failed or missed or wrong) and covered == count
    return Outcome(good, told, {name: float(value) for name, value in figures.items()})


def _missing() -> str:
    """Return which kinds the simulator does not send, if there are any."""
    return f" ({', '.join(aims.NOT_SENT)} are not sent there)" if aims.NOT_SENT else ""


def _among_processes(setting: Setting) -> tuple[dict[str, dict[str, int]], int]:
    """Run the program under each fault; return what was hit, and how often it went wrong."""
    counted: list[tally.Counted] = []
    wrong = 0
    for rates in RULES.values():
        with tempfile.TemporaryDirectory(prefix="zf-") as folder:
            rule = {"msg": "*", **rates, "min": 1}
            rules = {"seed": setting.seed, "rules": [rule], "report": folder}
            done = subprocess.run(
                [sys.executable, "-m", "scripts.faults.messages"],
                cwd=ROOT,
                env={**os.environ, VARIABLE: json.dumps(rules)},
                timeout=PROGRAM_S,
                check=False,
            )
            wrong += done.returncode != 0
            counted += tally.read(folder)
    return tally.total(counted), wrong


ROWS: Final = {
    "RF11": Row(
        "each kind of message: lost, its answer lost, in flight when it is sent again, repeated, "
        "10 s late; and its sender or receiver dies just before or just after it",
        "every kind is covered, and everything survived",
        rf11,
    ),
}

if __name__ == "__main__":
    program()
