"""Which streams of a run have windows: backpressure in items."""

from __future__ import annotations

from random import Random
from typing import Any

from tests.sim.programs import Plan
from zgen.wire.task import STREAMING

CHOICES = (0, 1, 1, 2, 2, 3, 5, 16, 64)


class Windows:
    """The dice of one run, apart from all others."""

    def __init__(self, random: Random) -> None:
        self.random = random

    def add_to(self, plan: Plan) -> None:
        """Give a task and those that it submits windows, where they are streams."""
        plan.window = self._of(plan.returns)
        self._add_to_children(plan.ops)

    def zips(self) -> bool:
        """Return whether the next activity reads two streams side by side."""
        return self.random.random() < 0.15

    def _add_to_children(self, ops: list[list[Any]]) -> None:
        for op in ops:
            if op[0] == "spawn":
                ops_of_child, returns = op[1][:2]
                op[1][5] = self._of(returns)
                self._add_to_children(ops_of_child)

    def _of(self, returns: int) -> int:
        return self.random.choice(CHOICES) if returns == STREAMING else 0
