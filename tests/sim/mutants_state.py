"""Fences of questions about state; part of ``tests.sim.mutants``."""

from __future__ import annotations

from tests.sim.mutant import Mutant

CENSUS = "node/zgen_node/core/census.py"
REPORT = "zgen/core/state_report.py"

STATE = (
    Mutant(
        "a node does not wait for what the dead own",
        "P2",
        CENSUS,
        "                self._silent(question, peer, DIED)\n",
        "                continue\n",
        "state",
        0,
    ),
    Mutant(
        "a node waits no longer for an answer than it was told to",
        "P2",
        CENSUS,
        "            self._finish_if_over(number, question, out)\n\n    def check",
        "            pass\n\n    def check",
        "state",
        0,
    ),
    Mutant(
        "the dead owe no answers",
        "P3",
        CENSUS,
        "        self._owed.pop(peer, None)\n",
        "",
        "state",
        0,
    ),
    Mutant(
        "an answer is whole with its last part",
        "P2",
        REPORT,
        "            is_last = first == starts[-1]\n",
        "            is_last = True\n",
        "state",
        1,
    ),
    Mutant(
        "who asked and died is told nothing",
        "P3",
        CENSUS,
        "            if question.asker == peer:\n",
        "            if False:\n",
        "state",
        7,
    ),
)
