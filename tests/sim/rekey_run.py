"""Keys that are replaced on several nodes, one after the other, while all that ends which may."""

from __future__ import annotations

import json
from collections.abc import Mapping
from random import Random
from typing import Any

from tests.sim.cluster import PYTHON, RELEASE
from tests.sim.nodes import Nodes
from tests.sim.nodes_run import NodesRun
from tests.sim.run import Outcome, run_seed
from zgen.core.effects import Effect, Rekey
from zgen.core.events import Join
from zgen.core.identity import Identity
from zgen.core.node_effects import ReadKeyFile, SpawnWorker
from zgen.core.node_events import KeysRead
from zgen.ids import ID_BYTES, JobId
from zgen.io.inquiry import Inquiry
from zgen.limits import MS
from zgen.sim.oracle import Oracle
from zgen.sim.trace import Trace
from zgen.sim.world import Life, sim_address
from zgen.wire.cluster import ReloadKeys
from zgen.wire.lease import NodeReport
from zgen_node.core.node import NodeMachine

#: Mean time between two files that are replaced, at the mildest.
REKEY_NS = 80 * MS
#: How long the tool that asks for it may take to ask again, if it was not answered or refused.
AGAIN_NS = 10 * MS
GONE = "it is gone"

Prints = tuple[str, ...]


class Keyed(Nodes):
    """Nodes with key files.

    Attributes:
        files: Number of a node's life -> the keys in its file; none if it cannot be read.
        folders: The same -> those that its processes find where they look.
        used: Number of a life -> those that a process uses: found as it began, or when it was told.
        reads: How often a process was told to look again.
    """

    def __init__(self, *given: object) -> None:
        super().__init__(*given)  # type: ignore[arg-type]  # as they came
        self.files: dict[int, Prints] = {}
        self.folders: dict[int, Prints] = {}
        self.used: dict[int, Prints] = {}
        self.reads = 0

    def join_node(self, kind: int) -> Life:
        node = super().join_node(kind)
        self.files[node.number] = self.folders[node.number] = ("first",)
        self.world.post(node, KeysRead(None, 0, ("first",), ""))
        return node

    def driver_begun(self, life: Life, node: Life) -> None:
        super().driver_begun(life, node)
        self.used[life.number] = self.folders[node.number]

    def node_of(self, life: Life) -> Life:
        """Return the node of a driver or worker."""
        worker = self.workers.get(life.number)
        return worker.node if worker is not None else self.homes[life.number]

    def _fork(self, node: Life, effect: SpawnWorker) -> None:
        before = self.world.started_count
        super()._fork(node, effect)
        for number, worker in self.workers.items():
            if number > before:
                self.used[number] = self.folders[worker.node.number]

    def _perform_node(self, life: Life, effect: Effect) -> None:
        if not isinstance(effect, ReadKeyFile):
            super()._perform_node(life, effect)
            return
        prints = self.files[life.number]
        if prints:
            self.folders[life.number] = prints
        failure = "" if prints else GONE
        self.world.post_later(life, KeysRead(effect.peer, effect.query, prints, failure))

    def _perform_driver(self, life: Life, effect: Effect) -> None:
        if not self._rekey(life, effect):
            super()._perform_driver(life, effect)

    def _perform_worker(self, life: Life, effect: Effect) -> None:
        if not self._rekey(life, effect):
            super()._perform_worker(life, effect)

    def _rekey(self, life: Life, effect: Effect) -> bool:
        if not isinstance(effect, Rekey):
            return False
        self.reads += 1
        self.used[life.number] = self.folders[self.node_of(life).number]
        return True


class KeysReplaced(Oracle):
    """P6: all processes of a node use the keys that its file has, and who asked hears of that."""

    promise = "P6"

    def __init__(self, cluster: Keyed) -> None:
        self.cluster = cluster
        self.answers = self.failures = 0

    def answered(self, node: Life, said: dict[str, Any], asked: Prints) -> None:
        """A tool hears what became of a file in which these keys were."""
        self.answers += 1
        self.failures += bool(said["failure"])
        story = f"{node.name} says {said} of {asked}"
        self.require(bool(said["prints"]), story)
        good = tuple(said["prints"]) == asked if asked else said["failure"] == GONE
        self.require(good, story)

    def at_rest(self) -> None:
        """Everybody has the newest ones."""
        for node in self.cluster.living():
            machine, newest = node.machine, self.cluster.folders[node.number]
            assert isinstance(machine, NodeMachine)
            known = machine.rekeying.prints
            self.require(known == newest, f"{node.name} goes by {known}, not {newest}")
            file = self.cluster.files[node.number]
            self.require(newest == file, f"{node.name} has {newest}, its file {file}")
        for life in self.cluster.world.lives.values():
            if life.number not in self.cluster.used:
                continue
            node = self.cluster.node_of(life)
            used, newest = self.cluster.used[life.number], self.cluster.folders[node.number]
            self.require(node.dead or used == newest, f"{life.name} uses {used}, not {newest}")


class RekeyRun(NodesRun):
    """Nodes under the hardship of one seed whose keys are replaced."""

    make_cluster = Keyed
    cluster: Keyed

    def __init__(self, seed: int, trace: Trace | None = None) -> None:
        super().__init__(seed, trace)
        random = Random(f"keys {seed}")
        self.hardship.every_ns["rekey"] = REKEY_NS // random.choice((1, 2, 4))
        self.faults.strokes["rekey"] = self._rekey
        self.cluster.settings.spawn_ns_max = random.choice((3, 30, 30)) * MS
        self.keys = KeysReplaced(self.cluster)
        self._dice = random
        self._tools = self._files = 0
        #: Nodes of whose new keys nobody has told them yet, by number.
        self._open: dict[int, Life] = {}

    @property
    def counts(self) -> Mapping[str, int]:
        return {
            "keys replaced": self.keys.answers,
            "files unreadable": self.keys.failures,
            "keys read again": self.cluster.reads,
        }

    def at_rest(self) -> None:
        self.keys.at_rest()

    def _rekey(self) -> bool:
        """Somebody replaces the key file of a node and has it read, as often as it takes."""
        nodes = [node for node in self.cluster.living() if node.number not in self._open]
        if not nodes:
            return False
        node = self._dice.choice(nodes)
        self._files += 1
        shown = f"key {self._files}"
        whole = (shown, *self.cluster.folders[node.number][:1])[: self._dice.choice((1, 2))]
        self.cluster.files[node.number] = whole if self._dice.random() < 0.8 else ()
        self._open[node.number] = node
        self._ask(node, whole)
        return True

    def _ask(self, node: Life, whole: Prints) -> None:
        self._tools += 1
        name = f"tool{self._tools}"
        machine = Inquiry(Identity(sim_address(name), PYTHON, RELEASE), ReloadKeys(1))
        tool = self.cluster.world.start(name, sim_address(name), machine, _nothing)
        self.cluster.homes[tool.number] = node
        self.cluster.world.post(tool, Join(node.address, JobId(bytes(ID_BYTES)), 1))
        self.cluster.world.at(AGAIN_NS, self._look, (tool, node, whole))

    def _look(self, tool: Life, node: Life, whole: Prints) -> None:
        """End the tool when it was answered; ask again if the file could not be read, or it died.

        It waits as long as its node lives: no answer is late here.
        """
        machine = tool.machine
        assert isinstance(machine, Inquiry)
        if node.dead or node.name in self.cluster.lost:
            self._open.pop(node.number, None)
            self.cluster.world.end(tool, "its node died")
            return
        if not machine.answered and not tool.dead:
            self.cluster.world.at(AGAIN_NS, self._look, (tool, node, whole))
            return
        asked = self.cluster.files[node.number]
        if machine.answered:
            self.cluster.world.end(tool, "answered")
            (report,) = machine.answers
            assert isinstance(report, NodeReport)
            self.keys.answered(node, json.loads(report.state)["keys"], asked)
        if machine.answered and asked:
            del self._open[node.number]
        else:
            self.cluster.files[node.number] = whole
            self._ask(node, whole)

    def _undone(self) -> list[str]:
        living = [node.name for node in self._open.values() if not node.dead]
        return super()._undone() + [f"{name} was not told of other keys" for name in living]


def _nothing(life: Life, effect: Effect) -> None:
    raise AssertionError(f"a tool cannot do {effect}")


def run_rekey(seed: int, trace: Trace | None = None) -> Outcome:
    """Run one seed of this scenario."""
    return run_seed(seed, trace, RekeyRun)
