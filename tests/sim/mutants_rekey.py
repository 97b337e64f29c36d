"""Fences of keys that are replaced; part of ``tests.sim.mutants``."""

from __future__ import annotations

from tests.sim.mutant import Mutant

REKEYING = "node/zgen_node/core/rekeying.py"

KEYS = (
    Mutant(
        "a process that starts as keys change is told of it",
        "P6",
        REKEYING,
        "        if self.changes_count:\n",
        "        if False:\n",
        "rekey",
        5,
    ),
    Mutant(
        "workers are told of other keys",
        "P6",
        REKEYING,
        "for peer in (*workers, *drivers) if",
        "for peer in drivers if",
        "rekey",
        0,
    ),
    Mutant(
        "drivers are told of other keys",
        "P6",
        REKEYING,
        "for peer in (*workers, *drivers) if",
        "for peer in workers if",
        "rekey",
        0,
    ),
    Mutant(
        "a key file that cannot be read changes nothing",
        "P6",
        REKEYING,
        "        self.prints = self.prints if event.failure else event.prints\n",
        "        self.prints = event.prints\n",
        "rekey",
        0,
    ),
    Mutant(
        "keys that have changed are told again when they change once more",
        "P6",
        REKEYING,
        "        self.prints = self.prints if event.failure else event.prints\n",
        "        self.prints = self.prints or event.prints\n",
        "rekey",
        0,
    ),
    Mutant(
        "who asks for keys to be read hears what came of it",
        "P2",
        REKEYING,
        "            self._output.answer(event.peer, event.query, now_ns, out)\n",
        "            pass\n",
        "rekey",
        0,
    ),
    Mutant(
        "a process that hears of other keys reads them",
        "P6",
        "zgen/core/process.py",
        "            out.append(Rekey())\n",
        "            pass\n",
        "rekey",
        0,
    ),
)
