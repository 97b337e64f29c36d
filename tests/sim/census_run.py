"""Drivers that ask what there is on several nodes, while these die, pause and are cut off."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from tests.sim.nodes_run import NodesRun
from tests.sim.programs import Consumer
from tests.sim.run import Outcome, run_seed
from tests.sim.state_run import PART_COUNT, Asker, Truth
from zgen.core import state_report
from zgen.sim.trace import Trace
from zgen_node.core.node import NodeMachine


class CensusRun(NodesRun):
    """Nodes whose drivers ask what there is."""

    def __init__(self, seed: int, trace: Trace | None = None) -> None:
        super().__init__(seed, trace)
        self.askers: list[Asker] = []
        self.truth = Truth()
        self._dice = Random(f"census {seed}")
        vars(state_report)["STATE_PART_COUNT_MAX"] = PART_COUNT

    def run(self) -> None:
        super().run()
        for node in self.cluster.nodes.values():
            machine = node.machine
            assert isinstance(machine, NodeMachine)
            asked, questions = machine.cluster.poll.asked, machine.census.questions
            self.truth.require(not asked and not questions, f"open: {asked}, {questions}")

    @property
    def counts(self) -> Mapping[str, int]:
        return {
            "questions": sum(asker.asked for asker in self.askers),
            "with silent nodes": sum(asker.silent_nodes for asker in self.askers),
        }

    def _begin_program(self, user: Consumer) -> None:
        super()._begin_program(user)
        if not any(asker.user is user for asker in self.askers):
            self.askers.append(Asker(self._dice, user, self.truth))

    def _undone(self) -> list[str]:
        return super()._undone() + [what for asker in self.askers for what in asker.undone()]


def run_census(seed: int, trace: Trace | None = None) -> Outcome:
    """Run one seed of this scenario."""
    return run_seed(seed, trace, CensusRun)
