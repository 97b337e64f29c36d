"""Fences of names over the cluster; part of ``tests.sim.mutants``."""

from __future__ import annotations

from tests.sim.mutant import Mutant

ELECTORATE = "node/zgen_node/core/electorate.py"
KEEPER = "node/zgen_node/core/name_keeper.py"

NAMES = (
    Mutant(
        "the smaller side of a cut gives no names away",
        "P7",
        ELECTORATE,
        "            return 2 * live_count > len(self._voters)\n",
        "            return True\n",
        "names",
        28,
    ),
    Mutant(
        "who fell silent counts until the other side knows of the cut",
        "P7",
        ELECTORATE,
        "            if not proven:\n",
        "            if False:\n",
        "names",
        0,
    ),
    Mutant(
        "with its home goes a name",
        "P3",
        KEEPER,
        "        if until_ns is None:\n            self.records.drop_home(node)\n",
        "",
        "names",
        8,
    ),
)
