"""What holds of names: one actor each, found while it lives, free when it is dead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zgen.core.actor_effects import NameAnswered
from zgen.core.actor_events import CreateActor, FindActor, NameActor
from zgen.core.actor_table import Standing
from zgen.core.effects import Effect
from zgen.core.events import Event
from zgen.core.node_events import MemberGone, MemberSaid
from zgen.core.process import ProcessMachine
from zgen.ids import NO_ACTOR, ActorId, short
from zgen.limits import SECOND
from zgen.sim.oracle import Kind, Oracle
from zgen.sim.world import Life
from zgen_node.core.node import NodeMachine

if TYPE_CHECKING:
    from tests.sim.nodes import Nodes

#: An answer comes within this time, or the asker's node is dead.
ANSWER_NS_MAX = 20 * SECOND


@dataclass(slots=True)
class Grant:
    """A name that was given to an actor.

    Attributes:
        actor: The actor.
        life: Its creator.
        home: The creator's node.
        created: Whether the creator knows it by now.
    """

    actor: ActorId
    life: Life
    home: Life
    created: bool = False

    def holds(self) -> bool:
        """Return whether the actor may live."""
        machine = self.life.machine
        assert isinstance(machine, ProcessMachine)
        if self.life.dead or self.home.dead:
            return False
        record = machine.owner.actors.supervision.table.actors.get(self.actor)
        if record is None:
            return not self.created
        return record.standing.state is not Standing.DEAD


@dataclass(slots=True)
class Question:
    """One question about a name.

    Attributes:
        name: The name.
        mine: The actor that wants it; zeroes if it is looked up.
        asked_ns: When.
        known: Who had it then, as far as is known.
    """

    name: str
    mine: ActorId
    asked_ns: int
    known: Grant | None


class NamesAreUnique(Oracle):
    """P2, P7: nobody finds two actors under one name, and every question is answered in time."""

    promise = "P7"

    def __init__(self, cluster: Nodes) -> None:
        self.cluster = cluster
        self.grants: dict[str, Grant] = {}
        self._asked: dict[tuple[int, int], Question] = {}
        #: Actors that somebody found; they were given their names, or will be told so.
        self._seen: dict[ActorId, None] = {}
        self.given = self.refused = self.found = 0

    def after_step(self, life: Life, event: Event, effects: list[Effect]) -> None:
        kind = type(event)
        if kind is NameActor or kind is FindActor:
            assert isinstance(event, NameActor | FindActor)
            grant = self.grants.get(event.name)
            known = grant if grant is not None and grant.holds() else None
            mine = event.actor if isinstance(event, NameActor) else NO_ACTOR
            question = Question(event.name, mine, self.cluster.world.now_ns, known)
            self._asked[life.number, event.query] = question
        elif isinstance(event, CreateActor):
            grant = self.grants.get(event.settings.name)
            if grant is not None and grant.actor == event.spec.actor:
                grant.created = True
        elif kind is MemberSaid or kind is MemberGone:
            self._kept(life)
        if not isinstance(life.machine, ProcessMachine):
            return
        for effect in effects:
            if isinstance(effect, NameAnswered):
                self._answered(life, self._asked.pop((life.number, effect.query)), effect)

    def _answered(self, life: Life, asked: Question, said: NameAnswered) -> None:
        home = self.cluster.homes[life.number]
        who = f"{life.name} of {home.name} about {asked.name!r}"
        took_ns = self.cluster.world.now_ns - asked.asked_ns
        self.require(took_ns <= ANSWER_NS_MAX, f"{who}: answered late", Kind.LIVENESS)
        grant = self.grants.get(asked.name)
        if said.actor != asked.mine:
            self.require(asked.mine not in self._seen, f"{who}: found, and not given")
        if said.refusal:
            self.refused += 1
        elif said.actor == asked.mine != NO_ACTOR:
            self.given += 1
            if grant is not None and grant.home.name not in self.cluster.lost:
                self.require(not grant.holds(), f"{who}: given, but {short(grant.actor)} has it")
            self.grants[asked.name] = Grant(said.actor, life, home)
        elif said.actor == NO_ACTOR:
            known = asked.known
            if known is not None and home.name not in self.cluster.lost:
                here = known.home.name not in self.cluster.lost and known.holds()
                self.require(not here, f"{who}: not found, but {short(known.actor)} has it")
        else:
            self.found += 1
            self._seen[said.actor] = None
            if grant is not None and grant.holds() and asked.known is grant:
                stale = said.actor != grant.actor
                self.require(not stale, f"{who}: found {short(said.actor)} of before")

    def _kept(self, life: Life) -> None:
        """A node has all those who are to keep a name of its processes hold it, as far as it knows.

        It may be full itself.
        """
        machine = life.machine
        assert isinstance(machine, NodeMachine)
        naming = machine.cluster.naming
        if not naming.electorate.has_majority:
            return
        for named in naming.names.all():
            if named.settled:
                group = naming.keeper.living(naming.electorate.keepers(named.key))
                missing = [node for node in group if node not in named.keepers]
                story = f"{life.name} has {named.key} kept by {list(named.keepers)}, not {missing}"
                self.require(missing in ([], [life.address.peer]), story)

    def at_rest(self) -> None:
        for (number, _), asked in self._asked.items():
            lives = [life for life in self.cluster.world.lives.values() if life.number == number]
            waits = lives and not self.cluster.homes[number].dead
            self.require(not waits, f"nobody answered about {asked.name!r}", Kind.LIVENESS)
