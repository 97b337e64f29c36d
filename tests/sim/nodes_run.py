"""Several nodes under hardship: tasks, streams and actors across them, and nodes that end."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import cast

from tests.sim.actor_run import ActorProgram
from tests.sim.cluster import Settings
from tests.sim.nodes import Nodes
from tests.sim.oracles_nodes import NodesAgree
from tests.sim.programs import Plan
from tests.sim.run import (
    LIVENESS_NS_MAX,
    REST_NS,
    SAFETY_NS,
    STROKES,
    Outcome,
    Run,
    checks_every,
    run_seed,
)
from tests.sim.workloads import Program
from zgen.core import executor
from zgen.ids import ObjectId, TaskId
from zgen.limits import MS
from zgen.sim.faults import Faults, draw_hardship
from zgen.sim.trace import Trace
from zgen.sim.world import Life

#: Mean time between two strokes, at the mildest.
NODE_STROKES = {**STROKES, "node": 600 * MS, "machine": 600 * MS, "lost": 800 * MS}


class Placed(Program):
    """One driver's user, some of whose tasks may run in certain places only."""

    def submit(self, plan: Plan, slots: tuple[ObjectId, ...] = ()) -> TaskId:
        nodes = cast("Nodes", self.cluster)
        if nodes.places:
            how = nodes.place_dice.choice(("", "SPREAD", "magic", "east", "west", "hard", "soft"))
            if how in ("hard", "soft"):
                living = nodes.living()
                how = f"{how} {nodes.place_dice.choice(living).address.peer.hex()}"
            plan = replace(plan, place=how)
        return super().submit(plan, slots)


class PlacedActors(Placed, ActorProgram):
    """The same, with actors, which are placed too."""


class NodesRun(Run):
    """Nodes under the hardship of one seed."""

    cluster: Nodes
    make_cluster: type[Nodes] = Nodes

    def __init__(self, seed: int, trace: Trace | None = None) -> None:
        self.seed = seed
        random = Random(f"nodes {seed}")
        self.count = random.choice((2, 2, 3, 4))
        settings = Settings(
            cpus=random.choice((10_000, 20_000, 20_000)),
            drivers=random.choice((1, 2, 2)),
            prestart=random.random() < 0.8,
            spawn_ns_max=random.choice((1, 3, 30)) * MS,
            exit_ns_max=random.choice((1, 5, 60)) * MS,
        )
        self.hardship = draw_hardship(random, NODE_STROKES)
        for name in ("node", "machine", "lost"):
            if random.random() < 0.5:
                self.hardship.every_ns.pop(name, None)
        self.program_class = random.choice((Placed, Placed, PlacedActors))
        self.activities = random.choice((14, 20, 26)) // settings.drivers
        self.window_bytes = 64 << 20
        self.large = 0
        self.windows = self.gathers = None
        self.cluster = self.make_cluster(seed, settings, trace)
        self.cluster.gossip_ns_max = random.choice((1, 20, 150)) * MS
        self.cluster.detect_ns_max = random.choice((5, 100, 400)) * MS
        self.cluster.places = random.random() < 0.5
        self.cluster.place_dice = Random(f"places {seed}")
        self.cluster.cancels = random.choice((0.0, 0.0, 0.05, 0.3))
        self.cluster.world.checks_every = checks_every(seed)
        self.cluster.begin_program = self._begin_program
        self.agree = NodesAgree(self.cluster)
        self.cluster.world.oracles.append(self.agree)
        self.faults = Faults(
            self.cluster.world,
            self.hardship,
            {
                "worker": self._worker,
                "driver": self._driver,
                "node": self._node,
                "machine": self._machine,
                "lost": self._lost,
                "zombie": self._zombie,
            },
        )
        self.programs = []
        self._looks = 0

    def run(self) -> None:
        """Suffer, heal, end, rest."""
        vars(executor)["ITEM_BYTES_UNACKED_MAX"] = self.window_bytes
        cluster, world, promises = self.cluster, self.cluster.world, self.cluster.promises
        cluster.begin_all(self.count)
        self.faults.begin()
        world.run(SAFETY_NS)
        self.faults.stop()
        for node in list(cluster.nodes.values()):
            self._revive(node)
        world.run(world.now_ns + LIVENESS_NS_MAX, self._all_done)
        promises.hangs.all_done(self._undone())
        for program in self.programs:
            if not program.user.life.dead:
                program.user.drop_all()
        world.run(world.now_ns + REST_NS)
        promises.leaks.at_rest()
        self.agree.at_rest()
        self.at_rest()
        cluster.leave_all()
        world.run(world.now_ns + REST_NS)
        promises.leaks.at_rest()
        self.agree.at_rest(empty=True)
        promises.leaks.require(not cluster.living_workers(), "workers outlive their drivers")

    def at_rest(self) -> None:
        """Nobody refers to anything any more, and all drivers are there."""

    def _undone(self) -> list[str]:
        undone = [what for program in self.programs for what in program.undone()]
        undone += [f"{node.name} is dead" for node in self.cluster.nodes.values() if node.dead]
        undone += [f"{name} is lost" for name in self.cluster.lost if name in self.cluster.nodes]
        living = [user.life for user in self.cluster.drivers.values() if not user.life.dead]
        if len(living) < self.cluster.settings.drivers:
            undone.append("a driver has not come back")
        ready = {program.user.life.number for program in self.programs}
        undone += [f"{life.name} has no job" for life in living if life.number not in ready]
        return undone

    # -- strokes -----------------------------------------------------------------------------------
    def _driver(self, lives: list[Life] | None = None) -> bool:
        lives = [user.life for user in self.cluster.drivers.values() if not user.life.dead]
        if not lives:
            return False
        life = self.cluster.world.random.choice(lives)
        node = self.cluster.homes[life.number]
        self.cluster.world.crash(life)
        delay_ns = self.cluster.world.random.randrange(30 * MS)
        self.cluster.world.at(delay_ns, self._driver_again, (node,))
        return True

    def _driver_again(self, node: Life) -> None:
        """Start a driver again, unless its node is to go: then it comes with the next one."""
        if not node.dead and node.name not in self.cluster.lost:
            self.cluster.begin_driver_at(node)

    def _any_node(self) -> Life | None:
        nodes = self.cluster.living()
        if len(nodes) < 2 or len(nodes) < len(self.cluster.nodes):  # one at a time
            return None
        return self.cluster.world.random.choice(nodes)

    def _node(self) -> bool:
        """A daemon dies; its drivers see everything end."""
        node = self._any_node()
        if node is not None:
            self.cluster.world.crash(node)
            self.cluster.world.at(20 * MS, self._revive, (node,))
        return node is not None

    def _machine(self) -> bool:
        """A node and all its processes die."""
        node = self._any_node()
        if node is not None:
            self.cluster.end_machine(node)
            self.cluster.world.at(20 * MS, self._revive, (node,))
        return node is not None

    def _lost(self) -> bool:
        """A node is cut off for so long that it is declared dead."""
        node = self._any_node()
        if node is not None:
            random = self.cluster.world.random
            self.cluster.lose(node, random.randrange(200 * MS))
            self.cluster.world.at(20 * MS, self._revive, (node,))
        return node is not None

    def _revive(self, node: Life | None = None) -> None:
        """Start a node and a driver in place of those that ended, when nobody waits there."""
        assert node is not None
        cluster, world = self.cluster, self.cluster.world
        if node.name not in cluster.nodes:
            return
        if not node.dead:
            if node.name in cluster.lost:
                world.at(20 * MS, self._revive, (node,))
            return
        for user in cluster.drivers_of(node):
            if user.life.dead:
                continue
            mine = [program for program in self.programs if program.user is user]
            for program in mine:
                program.stop()
            if any(program.undone() for program in mine):
                world.at(20 * MS, self._revive, (node,))
                return
            if mine:
                user.drop_all()
            world.end(user.life, "its node died")
        del cluster.nodes[node.name]
        new = cluster.join_node(cluster.kinds[node.name])
        living = sum(
            not user.life.dead and not cluster.homes[user.life.number].dead
            for user in cluster.drivers.values()
        )
        if living < cluster.settings.drivers:
            cluster.begin_driver_at(new)


def run_nodes(seed: int, trace: Trace | None = None) -> Outcome:
    """Run one seed of this scenario."""
    return run_seed(seed, trace, NodesRun)
