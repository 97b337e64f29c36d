"""RF13: borrowers that die, also before anybody hears to whom they had passed a reference on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import zgen
from scripts.faults.bench import cluster, wait_until
from scripts.faults.bodies import note, noted
from scripts.faults.row import PATIENCE_S, Outcome, Row, Setting, made
from tests.integration.remote_class import RemoteClass
from tests.integration.watching import is_alive
from zgen.exceptions import WorkerCrashedError
from zgen.io.inquiry import query_node
from zgen.limits import BORROW_GRACE_NS, SECOND
from zgen.runtime import process
from zgen.testing import Cluster, Node

ROOT: Final = Path(__file__).resolve().parents[2]
TRIOS_COUNT: Final = 6
SIZES_BYTES: Final = (10, 1 << 20)
#: What a dead borrower held is kept this long.
GRACE_S: Final = BORROW_GRACE_NS / SECOND
#: How long a third process sleeps while its lender dies, at most; it may not outlast the grace.
ASLEEP_S: Final = 1.5


@zgen.remote(num_cpus=0)
class Owner(RemoteClass):
    """Owns objects that only others refer to."""

    def give(self, size_bytes: int) -> list[Any]:
        """Return a reference to a new object."""
        return [zgen.put(b"v" * size_bytes)]

    def lent_count(self) -> int:
        """Return how many of its objects others hold."""
        assert process.current is not None
        with process.current.loop.lock:
            return len(list(process.current.machine.owner.borrowing.lent.pinned()))


@zgen.remote(num_cpus=0, max_retries=0)
def pass_on(owner: Any, size_bytes: int, notes: str, lives_s: float) -> Iterator[Any]:
    """Say who it is; when the gate is open borrow an object, pass it on, and be killed."""
    yield os.getpid()
    while not os.path.exists(f"{notes}.gate"):
        time.sleep(0.01)
    refs = zgen.get(owner.give.remote(size_bytes))
    note(notes, "borrowed")
    yield refs
    if lives_s:
        time.sleep(lives_s)
    os.kill(os.getpid(), signal.SIGKILL)


@zgen.remote(num_cpus=0)
class Third(RemoteClass):
    """Gets a reference from a borrower, and from nobody else."""

    def __init__(self) -> None:
        """Hold nothing."""
        self._stream: Any = None
        self._held: list[Any] = []

    def begin(self, owner: Any, size_bytes: int, notes: str, lives_s: float, at: str) -> int:
        """Start a borrower on some node; return its process id."""
        options = pass_on.options(resources={at: 1})
        self._stream = options.remote(owner, size_bytes, notes, lives_s)
        return int(zgen.get(next(self._stream)))

    def pid(self) -> int:
        """Say who it is."""
        return os.getpid()

    def take(self) -> bool:
        """Take what was passed on; return whether anything was."""
        try:
            self._held = zgen.get(next(self._stream))
        except WorkerCrashedError:
            return False
        return True

    def length(self) -> int:
        """Read what was passed on."""
        return len(zgen.get(self._held[0]))

    def drop(self) -> None:
        """Let go of everything."""
        self._held = []
        self._stream = None


class Trio:
    """One owner, one borrower that dies, and one to whom it passes on."""

    def __init__(self, owner: Any, number: int, notes: Path, dice: Any) -> None:
        """Bring them up on two or three nodes; the borrower waits."""
        self.size_bytes = SIZES_BYTES[number % 2]
        #: Whether the third one is stopped, so that it certainly says nothing before the death.
        self.stops = number % 3 != 0
        self.notes = notes
        self.third = Third.options(resources={"n2": 1}).remote()
        self.pid = zgen.get(self.third.pid.remote(), timeout=PATIENCE_S)
        lives_s = 0.2 if self.stops else dice.choice([0.0, 0.001, 0.003, 0.01])
        at = f"n{number // 2 % 2}"
        begun = self.third.begin.remote(owner, self.size_bytes, str(notes), lives_s, at)
        self.borrower = zgen.get(begun, timeout=PATIENCE_S)

    def die(self) -> None:
        """Have the borrower pass on and die, while the third one may be asleep."""
        if self.stops:
            os.kill(self.pid, signal.SIGSTOP)
        Path(f"{self.notes}.gate").touch()
        wait_until(lambda: not is_alive(self.borrower), PATIENCE_S, "the borrower dies")
        made(noted(self.notes) == ["borrowed"], "it had borrowed when it died")

    def wake(self) -> None:
        """Let the third one go on."""
        if self.stops:
            os.kill(self.pid, signal.SIGCONT)


def rf13(setting: Setting) -> Outcome:
    """Let borrowers die on real nodes, and in any order in the simulator, whose oracles see all."""
    died, passed, unheard, early, left = _on_nodes(setting)
    seeds, failed, crashes = _simulated(setting)
    told = (
        f"{died} borrowers killed on 3 nodes, {passed} of them just after they had passed a "
        f"reference on to a third process, of which {unheard} were stopped until the borrower was "
        f"dead, so that the owner had not heard of them: {early} objects freed early (read at "
        f"once, and after the grace of {GRACE_S:g} s), {left} left after all had let go; {seeds} "
        f"seeds of the simulator with {crashes} processes that died: {failed} with an early free, "
        "a leak or anything else that is wrong"
    )
    figures = {"early_count": early, "left_count": left, "failed_seeds_count": failed}
    good = early == left == failed == 0
    return Outcome(good, told, {name: float(value) for name, value in figures.items()})


def _on_nodes(setting: Setting) -> tuple[int, int, int, int, int]:
    """Return how many died, passed on, did so unheard; what was freed early, what was left."""
    rounds = 1 if setting.quick else 8
    died = passed = unheard = early = left = 0
    dice = setting.dice()
    with (
        tempfile.TemporaryDirectory(prefix="zf-") as folder,
        cluster(3, namespaces=False) as nodes,
    ):
        owner = Owner.options(resources={"n0": 1}).remote()
        for number in range(rounds):
            trios = [
                Trio(owner, each, Path(folder) / f"{number}-{each}", dice)
                for each in range(TRIOS_COUNT)
            ]
            try:
                for trio in trios:
                    trio.die()
                time.sleep(dice.uniform(0, ASLEEP_S))
            finally:
                for trio in trios:
                    trio.wake()
            taken = [zgen.get(trio.third.take.remote(), timeout=PATIENCE_S) for trio in trios]
            died, passed = died + len(trios), passed + sum(taken)
            unheard += sum(trio.stops for trio in trios)
            made(all(t for t, trio in zip(taken, trios, strict=True) if trio.stops), "it was sent")
            holders = [trio for trio, took in zip(trios, taken, strict=True) if took]
            early += _unreadable(holders[::2])
            time.sleep(GRACE_S + 1)
            early += _unreadable(holders)
            alone = _lent_count(owner) == len(holders)
            made(alone or early + left > 0, "only the third ones hold any")
            zgen.get([trio.third.drop.remote() for trio in trios], timeout=PATIENCE_S)
            left += _left(nodes, owner)
            del trios, holders, trio
    return died, passed, unheard, early, left


def _unreadable(trios: list[Trio]) -> int:
    """Return how many objects cannot be read any more by who holds them."""
    found = 0
    for trio in trios:
        try:
            size_bytes = zgen.get(trio.third.length.remote(), timeout=PATIENCE_S)
        except zgen.exceptions.ZgenError:
            size_bytes = -1
        found += size_bytes != trio.size_bytes
    return found


def _left(nodes: Cluster, owner: Any) -> int:
    """Return how many objects are still lent or lie in shared memory after some time."""
    deadline = time.monotonic() + GRACE_S + 5
    while True:
        left = _lent_count(owner) + sum(map(_regions, nodes.nodes))
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.1)


def _lent_count(owner: Any) -> int:
    return int(zgen.get(owner.lent_count.remote(), timeout=PATIENCE_S))


def _regions(node: Node) -> int:
    """Return how many regions of shared memory a node keeps."""
    now = node._now()  # of the same project
    return int(query_node(now.address, now.folder)["store"]["regions"])


def _simulated(setting: Setting) -> tuple[int, int, int]:
    """Return how many seeds were run, how many of them failed, and the processes that died."""
    seeds = 50 if setting.quick else 1000
    command = [sys.executable, "scripts/sim.py", "--scenario", "borrowing", "--seeds", str(seeds)]
    done = subprocess.run(
        [*command, "--seed", str(setting.seed), "--processes", "2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"(\d+) seeds, (\d+) failed", done.stdout)
    made(found is not None, f"the simulator ran: {done.stdout[-200:]}{done.stderr[-200:]}")
    assert found is not None
    crashes = re.search(r"^crashes +(\d+)", done.stdout, re.MULTILINE)
    made(crashes is not None and int(crashes[1]) > 0, "processes died in the simulator")
    assert crashes is not None
    return int(found[1]), int(found[2]), int(crashes[1])


ROWS: Final = {
    "RF13": Row(
        "borrowers die, also before they said what they had borrowed",
        "nothing freed early while a third process holds it, nothing leaked; 1,000 seeds of the "
        "simulator as well",
        rf13,
    ),
}
