"""Drivers that ask their node what its processes own, while these die, pause and are cut off."""

from __future__ import annotations

from random import Random

from tests.sim.actor_run import ActorRun
from tests.sim.programs import Consumer
from tests.sim.run import Outcome, run_seed
from zgen.core import state_report
from zgen.core.effects import Effect
from zgen.core.state_words import AskState, StateCame
from zgen.ids import PeerId
from zgen.limits import MS, SECOND
from zgen.sim.oracle import Oracle
from zgen.sim.trace import Trace
from zgen.wire.state import KINDS, WORKERS, StateRows, StateTold
from zgen_node.core.node import NodeMachine

#: Questions that one driver asks.
QUESTIONS_COUNT = 16
#: Few enough that answers come in parts.
PART_COUNT = 3
#: The longest is as long as a run may take to end after all faults: nobody waits for the dead.
PATIENCES_NS = (MS, 100 * MS, 60 * SECOND)


class Truth(Oracle):
    """P2: each question is answered once, and whoever does not answer is named."""

    promise = "P2"


class Asker:
    """One driver's user: asks from time to time, and looks at what comes."""

    def __init__(self, random: Random, user: Consumer, truth: Truth) -> None:
        self.random = random
        self.user = user
        self.truth = truth
        self.left = QUESTIONS_COUNT
        self.asked = 0
        self.silent_nodes = 0
        #: Question -> what is asked, and what was said by whom so far. Removed by the last answer.
        self.open: dict[int, tuple[str, dict[PeerId, list[StateRows]]]] = {}
        #: The same -> what was said of which node so far.
        self.nodes: dict[int, dict[PeerId, StateTold]] = {}
        self._perform = user.perform
        user.perform = self.perform  # type: ignore[method-assign]  # the user hears the rest
        user.later(0, self.ask)

    def ask(self) -> None:
        if not self.left or self.user.owner.node_lost is not None:
            return
        self.left -= 1
        self.asked += 1
        what, limit = self.random.choice(KINDS), self.random.choice((0, 2, 1000))
        self.open[self.asked] = what, {}
        self.nodes[self.asked] = {}
        self.user.post(AskState(self.asked, what, limit, self.random.choice(PATIENCES_NS)))
        self.user.later(self.random.randrange(60 * MS), self.ask)

    def perform(self, effect: Effect) -> None:
        if not isinstance(effect, StateCame):
            self._perform(effect)
            return
        said = effect.said
        self.truth.require(said.query in self.open, f"question {said.query} is over: {said}")
        what, parts = self.open[said.query]
        if isinstance(said, StateTold):
            nodes = self.nodes[said.query]
            self.truth.require(said.node not in nodes, f"told twice of one node: {said}")
            nodes[said.node] = said
            if len(nodes) == said.nodes_count:
                self.told(what, parts, nodes)
                del self.open[said.query], self.nodes[said.query]
            return
        known = parts.setdefault(said.process, [])
        self.truth.require(not known or not known[-1].is_last, f"{said} follows the last part")
        known.append(said)

    def told(
        self,
        what: str,
        parts: dict[PeerId, list[StateRows]],
        nodes: dict[PeerId, StateTold],
    ) -> None:
        counts = dict.fromkeys(said.nodes_count for said in nodes.values())
        self.truth.require(list(counts) == [len(nodes)], f"counted otherwise: {nodes}")
        silent = {each.process: each.silence for said in nodes.values() for each in said.processes}
        dead = any(said.silence for said in nodes.values())  # what they began to say is cut off
        self.silent_nodes += dead
        if dead:
            parts = {name: told for name, told in parts.items() if name in silent}
        self.truth.require(all(name in silent for name in parts), "an answer by nobody")
        for name, silence in silent.items():
            known = parts.get(name, [])
            whole = bool(known) and known[-1].is_last
            self.truth.require(whole is not bool(silence), f"{name!r}: {silence!r}, {known}")
        if what != WORKERS and not any(silent.values()):
            me = self.user.life.address.peer
            self.truth.require(me in silent, "a driver that is not among the processes")

    def undone(self) -> list[str]:
        """Return the questions that are open, or to be asked."""
        if self.user.life.dead or self.user.owner.node_lost is not None:
            return []
        open_ = [f"{self.user.life.name}: question {number} is open" for number in self.open]
        return open_ + [f"{self.user.life.name}: {self.left} questions to ask"] * bool(self.left)


class StateRun(ActorRun):
    """A cluster whose drivers use actors and ask what there is."""

    def __init__(self, seed: int, trace: Trace | None = None) -> None:
        super().__init__(seed, trace)
        self.askers: list[Asker] = []
        self.truth = Truth()
        self._dice = Random(f"questions of {seed}")
        vars(state_report)["STATE_PART_COUNT_MAX"] = PART_COUNT

    def run(self) -> None:
        super().run()
        node = self.cluster.node
        assert node is not None, "a node that has ended"
        assert isinstance(node.machine, NodeMachine), node
        census = node.machine.census
        self.truth.require(not census.questions, f"questions are open: {census.questions}")
        self.truth.require(census.owed_count == 0, "the dead owe answers")

    def _begin_program(self, user: Consumer) -> None:
        super()._begin_program(user)
        if not any(asker.user is user for asker in self.askers):
            self.askers.append(Asker(self._dice, user, self.truth))

    def _undone(self) -> list[str]:
        return super()._undone() + [what for asker in self.askers for what in asker.undone()]


def run_state(seed: int, trace: Trace | None = None) -> Outcome:
    """Run one seed of this scenario."""
    return run_seed(seed, trace, StateRun)
