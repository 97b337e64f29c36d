"""What holds of detached actors: one at a time under a name, and no more of them than allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from tests.sim.oracles_names import NamesAreUnique, Question
from zgen.core.actor_events import CreateActor, DetachNow
from zgen.core.actor_table import Standing
from zgen.core.effects import Effect
from zgen.core.events import Event
from zgen.core.process import ProcessMachine
from zgen.ids import NO_ACTOR, TaskId, short
from zgen.sim.world import Life

if TYPE_CHECKING:
    from tests.sim.detached_run import DetachedNodes


class DetachedAreUnique(NamesAreUnique):
    """P5, P7: no two keepers of one side have a living actor under one name.

    An actor runs as often as ``max_restarts`` says, and once more for each node that died before it
    had told of a restart.
    """

    def __init__(self, cluster: DetachedNodes) -> None:
        super().__init__(cluster)
        self.detached = self.again = self.adopted = 0

    def after_step(self, life: Life, event: Event, effects: list[Effect]) -> None:
        if isinstance(event, DetachNow):
            asked = Question(event.name, NO_ACTOR, self.cluster.world.now_ns, None)
            self._asked[life.number, event.query] = asked
        super().after_step(life, event, effects)
        if isinstance(event, CreateActor) and event.settings.detached:
            self._created(life, event)

    def _created(self, life: Life, event: CreateActor) -> None:
        cluster = cast("DetachedNodes", self.cluster)
        self.detached += 1
        name, actor = event.settings.name, event.spec.actor
        for worker in cluster.living_keepers():
            home = cluster.homes[worker.life.number]
            apart = home.dead or home.name in cluster.lost or life is worker.life
            apart = apart or cluster.homes[life.number].name in cluster.lost
            table = cast("ProcessMachine", worker.life.machine).owner.actors.supervision.table
            for other, record in table.actors.items():
                lives = record.standing.state is not Standing.DEAD and record.settings.name == name
                self.require(apart or not lives, f"{short(other)} and {short(actor)} are {name!r}")
        story = next(story for story in cluster.stories.values() if actor in story)
        self.again += len(story) > 1
        first = cluster.actors[story[0]].settings.max_restarts
        if first >= 0:
            runs = sum(len(cluster.accounts[TaskId(each)].starts) for each in story)
            allowed = first + cluster.node_deaths
            self.require(runs <= allowed, f"{name!r} was created {runs} times, not {first + 1}")
