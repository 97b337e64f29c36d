"""Runs a soak: clients that work, faults beside them, and a look at what is left."""

from __future__ import annotations

import gc
import random
import shutil
import threading
import time
import traceback
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import zgen
from scripts.soak import actors, names, streams, work
from scripts.soak.check import Operation, Work, is_one_of
from scripts.soak.faults import NODE, Injector
from scripts.soak.schedule import Fault
from scripts.soak.tally import PAGE, Tally, WrongError, with_table
from scripts.soak.watch import Watch, folder_for_dumps
from zgen.exceptions import NamespaceError, ZgenError
from zgen.io.inquiry import query_node
from zgen.io.spawn import started_nodes
from zgen.runtime import process
from zgen.testing import Cluster, leaks
from zgen.testing.plugin import held

OPERATIONS: Final[dict[str, Operation]] = {
    **work.OPERATIONS,
    **streams.OPERATIONS,
    **actors.OPERATIONS,
    **names.OPERATIONS,
}
#: How long before an operation a fault may explain its error, in seconds.
_EXPLAINS_S: Final = 40.0
#: How long nodes may take to agree, and what was held to be let go, in seconds.
_SETTLES_S: Final = 60.0
#: How much longer than its bound an operation may take that does not end by itself, in seconds.
_LATE_S: Final = 20.0


@dataclass(frozen=True)
class Plan:
    """What a soak does.

    Attributes:
        seed: What the work follows from.
        seconds: How long it lasts.
        faults: What happens meanwhile.
        nodes: How many there are, beside that of this program.
        clients: Operations at a time.
        namespaces: Whether each node has a network namespace.
        bound_s: What an operation may take before it counts as hung.
        only: Part of the names of the operations that are run.
        stops: Whether to end when anything has gone wrong.
        writes: Whether the table goes into the documentation.
    """

    seed: int
    seconds: float
    faults: list[Fault]
    nodes: int
    clients: int
    namespaces: bool
    bound_s: float
    only: str = ""
    stops: bool = False
    writes: bool = False


def run(plan: Plan) -> bool:
    """Run a soak and print its table; return whether all went well.

    What explains a bad end is kept in a folder, whose path is printed; a good one leaves nothing.
    """
    import_module("numpy")  # its threads stay
    before, files = leaks.Snapshot.take(), _files()
    tally = Tally()
    dumps = folder_for_dumps()
    went_well = False
    try:
        with ExitStack() as ends:
            cluster = ends.enter_context(Cluster(profile="lan", namespaces=plan.namespaces))
            for slot in range(plan.nodes):
                cluster.add_node(**NODE, resources={f"n{slot}": 100})
            zgen.init(address=cluster.address, key=cluster.key, log_to_driver=False)
            ends.callback(zgen.shutdown)
            cluster.wait_for_nodes(_SETTLES_S)
            _soak(plan, cluster, tally, dumps)
        left = leaks.left_behind(before)
        left += [f"file {path}" for path in _files() if path not in files]
        if left:
            tally.leaked(left, leaks.told(left))
            leaks.end_processes(before)
        table = tally.table(plan.seed)
        print(table, flush=True)
        if plan.writes:
            PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), table), encoding="utf-8")
        went_well = tally.good
    except NamespaceError as error:
        print(f"left out: {error.reason}; try --loopback")
    finally:
        if went_well or not any(dumps.iterdir()):
            shutil.rmtree(dumps)
        else:
            (dumps / "stories.txt").write_text("\n\n".join(tally.stories), encoding="utf-8")
            print(f"stories and logs: {dumps}\nagain: python -m scripts.soak --seed {plan.seed}")
    return went_well


def _files() -> list[str]:
    """Return all files, and sockets, in the folder that holds the session folders of nodes."""
    return [str(path) for path in leaks.runtime_folder().rglob("*") if not path.is_dir()]


def _soak(plan: Plan, cluster: Cluster, tally: Tally, dumps: Path) -> None:
    tally.begin()
    watch = Watch(tally, dumps)
    injector = Injector(cluster, plan.faults, tally, watch, said=True)
    crew = Crew(plan, tally, watch, str(dumps / "ran-once"))
    watch.start()
    crew.start()
    injector.start()
    try:
        assert process.current is not None
        while tally.now_s < plan.seconds and (tally.good or not plan.stops):
            lost = process.current.machine.owner.node_lost
            if lost is not None:
                tally.wrong("wrong", f"this program's node died: {lost.reason}")
                break
            time.sleep(0.2)
    finally:
        injector.stop()
        crew.stop()
        cluster.heal()
        watch.settle()
    try:
        _look_back(cluster, crew, tally, watch)
    finally:
        watch.stop()


def _look_back(cluster: Cluster, crew: Crew, tally: Tally, watch: Watch) -> None:
    """Check what is left when all is mended."""
    try:
        cluster.wait_for_nodes(_SETTLES_S)
    except ZgenError as error:
        tally.wrong("wrong", f"after all is mended: {error}")
    if tally.good:
        crew.verify()
    for name, times in Counter(crew.ran_once()).items():
        if times > 1:
            tally.wrong("repeated", f"{name} may run once and ran {times} times")
    _check_left(tally, watch)


def _check_left(tally: Tally, watch: Watch) -> None:
    """Count what is still held though nobody works."""
    deadline = time.monotonic() + _SETTLES_S
    while left := _left():
        gc.collect()
        if time.monotonic() > deadline:
            path = watch.dump("leaked", "\n".join(left))
            tally.leaked(left, f"{len(left)}: {left[:10]}; see {path}")
            return
        time.sleep(0.2)
    assert process.current is not None
    if process.current.loop.rescues:
        tally.wrong("wrong", f"{process.current.loop.rescues} wake-ups were lost")


def _left() -> list[str]:
    """Return what is owned or stored anywhere in the cluster."""
    assert process.current is not None
    found = list(held(process.current).values())
    for name in ("tasks", "streams", "objects", "actors"):
        try:
            rows: Any = getattr(zgen.state, f"list_{name}")(limit=20, timeout=5)
        except ZgenError as error:
            found.append(f"no list of {name}: {error}")
            continue
        found += [str(row) for row in rows if getattr(row, "state", "") != "DEAD"]
        found += [f"{row.type} {row.pid} is silent" for row in rows.silent if hasattr(row, "type")]
    for facts in started_nodes(embedded=True):
        try:
            state = query_node(facts.address, facts.folder)
        except ZgenError as error:
            found.append(f"no state of {facts.folder}: {error}")
            continue
        if regions := state["store"]["regions"]:
            found.append(f"{regions} regions of shared memory on {facts.folder}")
        found += [f"lease on {facts.folder}: {row}" for row in state["leases"]]
    return found


class Crew:
    """Threads that work, one operation after the other."""

    def __init__(self, plan: Plan, tally: Tally, watch: Watch, notes: str) -> None:
        """Take the operations that are wanted."""
        self._plan = plan
        self._tally = tally
        self._watch = watch
        self._notes = notes
        self._names = [name for name in OPERATIONS if plan.only in name]
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(i,), name=f"client {i}", daemon=True)
            for i in range(plan.clients)
        ]
        #: What each client does.
        self._at: dict[int, tuple[str, Work, float]] = {}

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Begin nothing new, and wait for what was begun."""
        self._stop.set()
        deadline = time.monotonic() + self._plan.bound_s + _LATE_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        for i, thread in enumerate(self._threads):
            if thread.is_alive():
                name, each, _ = self._at[i]
                self._hung(name, each, "and does not end")

    def verify(self) -> None:
        """Do everything once more, when all is mended."""
        for name in self._names:
            self._one(-1, name, f"{self._plan.seed}/last/{name}")

    def ran_once(self) -> list[str]:
        """Return what bodies have noted that may run once."""
        try:
            return Path(self._notes).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []

    def _work(self, client: int) -> None:
        dice = random.Random(f"work {self._plan.seed} {client}")
        weights = [OPERATIONS[name].weight for name in self._names]
        number = 0
        while not self._stop.is_set() and (self._tally.good or not self._plan.stops):
            name = dice.choices(self._names, weights)[0]
            self._one(client, name, f"{self._plan.seed}/{client}/{number}")
            number += 1

    def _one(self, client: int, name: str, run: str) -> None:
        operation = OPERATIONS[name]
        each = Work(run, self._notes, self._plan.bound_s)
        began_s = self._tally.now_s
        self._at[client] = name, each, began_s
        try:
            operation.run(each)
        except WrongError as error:
            self._wrong(error.kind, name, each, str(error))
        except TimeoutError as error:
            self._hung(name, each, f"{type(error).__name__}: {error}")
        except Exception as error:
            explained = self._tally.was_fault(began_s - _EXPLAINS_S)
            if explained and is_one_of(error, operation.allowed):
                self._tally.errs(name, _name_of(error))
            else:
                told = "".join(traceback.format_exception(error))
                self._wrong("wrong", name, each, told)
        self._tally.did(name, each.checked)
        self._tally.waited(each.waits)

    def _wrong(self, kind: str, name: str, each: Work, told: str) -> None:
        self._tally.wrong(kind, f"{name}, run {each.name}, at {each.doing}: {told}")

    def _hung(self, name: str, each: Work, told: str) -> None:
        story = f"{name}, run {each.name}, at {each.doing}: {told}"
        if self._tally.wrong("hung", story):
            print(f"    see {self._watch.dump(f'hung-{each.name}', story)}", flush=True)


def _name_of(error: BaseException) -> str:
    cause = getattr(error, "cause", None)
    return type(error if cause is None else cause).__name__
