"""Fences of names over the cluster; part of ``tests.sim.mutants``."""

from __future__ import annotations

from tests.sim.mutant import Mutant

ELECTORATE = "node/zgen_node/core/electorate.py"
KEEPER = "node/zgen_node/core/name_keeper.py"
NAMING = "node/zgen_node/core/naming.py"

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
        "a keeper holds nothing for who counts other keepers than it does",
        "P7",
        KEEPER,
        "(not self._is_ready(out) or said.group != self.electorate.keepers(key)):\n",
        "not self._is_ready(out):\n",
        "names",
        -1,
    ),
    Mutant(
        "a new keeper says that a name is free when all others have counted it",
        "P7",
        KEEPER,
        "        self._keeps = self._keeps or not self._counted_by\n        return self._keeps\n",
        "        self._keeps = True\n        return True\n",
        "names",
        -1,
    ),
    Mutant(
        "a name is kept wherever it belongs as members come and go",
        "P7",
        NAMING,
        "        self._rehome(out)\n",
        "        pass\n",
        "names",
        -1,
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
