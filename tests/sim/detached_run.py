"""Detached actors over several nodes: created by keepers, and again when any of these dies."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from random import Random
from typing import cast

from tests.sim.actor_run import draw_init
from tests.sim.cluster import Worker
from tests.sim.names_run import NamedNodes, NamePrograms, NamesRun
from tests.sim.nodes import Nodes
from tests.sim.oracles_detached import DetachedAreUnique
from tests.sim.programs import Plan
from tests.sim.run import Outcome, run_seed
from zgen.core.actor_effects import CharterCame
from zgen.core.actor_events import DetachNow, FindActor, NameActor, WantCharter
from zgen.core.effects import Effect
from zgen.core.node_effects import SpawnWorker
from zgen.ids import NO_ACTOR, ActorId, JobId, TaskId, derive_task_id
from zgen.limits import MS
from zgen.sim.oracle import Kind
from zgen.sim.trace import Trace
from zgen.sim.world import Life
from zgen.wire.actor import ActorSettings
from zgen_node.core import detached
from zgen_node.core.node import NodeMachine

NAMES = ("kept", "held")
#: A keeper whose actor is dead answers so long here, and others wait so long for each other.
LINGER_NS, STEP_NS, AGAIN_NS = 20 * MS, 100 * MS, 200 * MS


class DetachedNodes(NamedNodes):
    """Nodes whose workers can be keepers."""

    def _fork(self, node: Life, effect: SpawnWorker) -> None:
        before = self.world.started_count
        super()._fork(node, effect)
        if effect.job != JobId(effect.worker):
            return
        for worker in list(self.workers.values()):
            if worker.life.number > before:
                self.homes[worker.life.number] = node
                wants_ns = self.settings.spawn_ns_max + 1 * MS  # it has joined by then
                self.world.post_later(worker.life, WantCharter(1), wants_ns)

    def living_keepers(self) -> list[Worker]:
        """Return the keepers that live."""
        return [worker for worker in self.living_workers() if worker.life.number in self.homes]

    def _perform_worker(self, life: Life, effect: Effect) -> None:
        if isinstance(effect, CharterCame):
            self._keep(life, effect)
        else:
            super()._perform_worker(life, effect)

    def _keep(self, life: Life, said: CharterCame) -> None:
        """Claim the name, then create the actor, as the code of a keeper does."""
        worker = self.workers[life.number]
        worker.started = 1
        name, restarts_max, ops, returns, cpus, story = json.loads(said.payload)
        left = restarts_max if restarts_max < 0 else max(0, restarts_max - said.restarts)
        mine = ActorId(derive_task_id(TaskId(worker.name), 0, 0))

        def told(actor: ActorId) -> None:
            if actor == mine and not life.dead:
                settings = ActorSettings(left, name=name, detached=True)
                self.stories.setdefault(story, []).append(mine)
                self.detached[name] = mine
                worker.user.create(settings, Plan(ops, returns, left, cpus), mine)

        worker.user.ask_name(NameActor(2, "", name, mine, b""), told)

    def __init__(self, *given: object) -> None:
        super().__init__(*given)  # type: ignore[arg-type]  # as given
        #: Wish -> the actors that came of it, each in place of the one before.
        self.stories: dict[int, list[ActorId]] = {}
        #: Name -> the detached actor that was created under it last.
        self.detached: dict[str, ActorId] = {}


class DetachedPrograms(NamePrograms):
    """One driver's user, who wants detached actors, and calls those that others wanted."""

    cluster: DetachedNodes

    def kinds(self) -> tuple[Callable[[str], None], ...]:
        return (self._detach, self._visit, self._visit, self._named)

    def _detach(self, number: str) -> None:
        name = self.random.choice(NAMES)
        restarts = self.random.choice((0, 1, 3, -1, -1))
        init = draw_init(self.random, restarts)
        init.cpus = 0  # what it held would be missing for good
        self.queries += 1
        self.active[number] = f"a detached actor {name}"
        story = self.user.life.number * 1000 + self.queries
        wish = [name, restarts, init.ops, init.returns, init.cpus, story]
        event = DetachNow(self.queries, "", name, json.dumps(wish).encode(), restarts)
        self.user.ask_name(event, partial(self._met, number))  # type: ignore[arg-type]  # one more kind

    def _visit(self, number: str) -> None:
        """Call whoever has a name, or end it."""
        self.queries += 1
        name = self.random.choice(NAMES)
        self.active[number] = f"who is {name}"
        event = FindActor(self.queries, "", name)
        self.user.ask_name(event, partial(self._met, number))

    def _met(self, number: str, actor: ActorId) -> None:
        if actor not in self.cluster.actors:
            self.done(number)
            return
        if self.random.random() < 0.1:
            self.user.kill(actor, no_restart=self.random.random() < 0.6)
        self._drive(number, actor, self.random.choice((1, 3)), is_mine=False)


class DetachedRun(NamesRun):
    """Detached actors under the hardship of one seed."""

    make_cluster: type[Nodes] = DetachedNodes

    def __init__(self, seed: int, trace: Trace | None = None) -> None:
        super().__init__(seed, trace)
        random = Random(f"detached {seed}")
        self.program_class = DetachedPrograms
        self.activities = 48 // self.cluster.settings.drivers
        self.cluster.world.oracles.remove(self.names)
        self.names = DetachedAreUnique(cast("DetachedNodes", self.cluster))
        self.cluster.world.oracles.append(self.names)
        self.stage = 0
        self.victim = random.random() < 0.8
        self._found: dict[str, ActorId] = {}

    def run(self) -> None:
        module = vars(detached)
        before = {name: module[name] for name in ("KEEPER_LINGER_NS", "ADOPT_STEP_NS")}
        before["ADOPT_AGAIN_NS"] = module["ADOPT_AGAIN_NS"]
        module.update(KEEPER_LINGER_NS=LINGER_NS, ADOPT_STEP_NS=STEP_NS, ADOPT_AGAIN_NS=AGAIN_NS)
        try:
            super().run()
        finally:
            module.update(before)

    def at_rest(self) -> None:
        """Names of actors of drivers are as free as those of the other scenario."""
        self.names.at_rest()

    # -- the end: one more node dies, then every detached actor is killed --------------------------
    def _undone(self) -> list[str]:
        undone = super()._undone()
        if undone or self.stage > 4:
            return undone
        if self.stage == 0:
            self._tick()
        if self.stage in (0, 2):
            self._found.clear()
            for name in NAMES:
                self._look(name)
            self.stage += 1
        elif len(self._found) < len(NAMES):
            return [f"stage {self.stage}: {list(self._found)} of the detached actors are found"]
        elif self.stage == 1:
            self.stage = 2 if self._strike() else 4
        elif self.stage == 3:
            self.stage = 4 if self._judge() else 2
        else:
            return self._end_all()
        return [f"the end is at stage {self.stage}, found {list(self._found)}"]

    def _tick(self) -> None:
        """Have the world look at the end now and then, though nothing happens in it."""
        if self.stage <= 4:
            self.cluster.world.at(4 * MS, self._tick)

    def _look(self, name: str) -> None:
        program = next(p for p in self.programs if not p.user.life.dead)
        assert isinstance(program, DetachedPrograms)
        program.queries += 1
        event = FindActor(program.queries, "", name)
        program.user.ask_name(event, partial(self._found.__setitem__, name))

    def _strike(self) -> bool:
        """End a node that has the keeper of an actor which must be there again afterwards."""
        cluster = cast("DetachedNodes", self.cluster)
        machines = [cast("NodeMachine", node.machine) for node in cluster.living()]
        whole = not any(each.cluster.naming.electorate.silent for each in machines)
        enough = len(machines) > (1 if cluster.proofs else 2)
        self._must: dict[str, ActorId] = {}
        homes: dict[str, Life] = {}
        for name, actor in self._found.items():
            story = cluster.actors.get(actor)
            if story is None or story.creator.dead or story.settings.max_restarts >= 0:
                continue
            raises = any(op[0] == "raise" for op in cluster.accounts[TaskId(actor)].plan.ops)
            if not (raises or story.kills or story.exits):
                self._must[name] = actor
                homes[name] = cluster.homes[story.creator.number]
        if not (homes and whole and enough and self.victim):
            return False
        home = homes[next(iter(homes))]
        self._must = {name: actor for name, actor in self._must.items() if homes[name] is home}
        cluster.end_machine(home)
        cluster.world.at(20 * MS, self._revive, (home,))
        return True

    def _judge(self) -> bool:
        """Require that the actors are there again, unless their home counts as silent yet."""
        assert isinstance(self.names, DetachedAreUnique)
        if any(self._found[name] == old for name, old in self._must.items()):
            return False
        for name, old in self._must.items():
            found = self._found[name]
            if self._was_ended(old):  # by who came after the stroke
                continue
            self.names.require(found != NO_ACTOR, f"{name} is not there again", Kind.LIVENESS)
            self.names.adopted += 1
        return True

    def _was_ended(self, actor: ActorId) -> bool:
        """Return whether a detached actor, or one that replaced it, was killed or ended itself."""
        cluster = cast("DetachedNodes", self.cluster)
        story = next(story for story in cluster.stories.values() if actor in story)
        known = [cluster.actors[each] for each in story]
        return any(each.kills or each.exits for each in known)

    def _end_all(self) -> list[str]:
        keepers = cast("DetachedNodes", self.cluster).living_keepers()
        for worker in keepers:
            for actor in list(worker.user.owner.actors.supervision.table.actors):
                worker.user.kill(actor, no_restart=True)
        self.stage += not keepers
        return ["detached actors live"] if keepers else []

    @property
    def counts(self) -> dict[str, int]:
        assert isinstance(self.names, DetachedAreUnique)
        return {
            "detached actors created": self.names.detached,
            "of them again": self.names.again,
            "after the last stroke": self.names.adopted,
        }


def run_detached(seed: int, trace: Trace | None = None) -> Outcome:
    """Run one seed of this scenario."""
    return run_seed(seed, trace, DetachedRun)
