"""Fences around what is made again; part of ``tests.sim.mutants``."""

from __future__ import annotations

from tests.sim.mutant import Mutant

RECOVERY = "zgen/core/recovery.py"
REFILLING = "zgen/core/refilling.py"
PINS = "zgen/core/lineage_pins.py"
OUTCOMES = "zgen/core/outcomes.py"
SETTLEMENT = "zgen/core/settlement.py"
PUSHING = "zgen/core/pushing.py"

REBUILD = (
    Mutant(
        "a lost argument whose value went is made again",
        "P4",
        RECOVERY,
        "        self._restarting.note(name)\n        work.append(parent)\n",
        "        self._restarting.note(name)\n",
        "rebuild",
        8,
    ),
    Mutant(
        "a run for what was lost counts as a retry",
        "P5",
        RECOVERY,
        "        kept.retries_left -= kept.retries_left > 0\n",
        "",
        "rebuild",
        8,
    ),
    Mutant(
        "arguments that nothing can make again are pinned by lineage",
        "P4",
        PINS,
        "            pinned.append(name)\n            self._refs.pin(name)\n",
        "            continue\n",
        "rebuild",
        8,
    ),
    Mutant(
        "who waits for a lost object reads it when it is there",
        "P2",
        SETTLEMENT,
        "                self._store.on_value(name, value, out)\n",
        "                pass\n",
        "rebuild",
        8,
    ),
    Mutant(
        "what is found lost while its task runs has a run of its own",
        "P4",
        PINS,
        "            self.unmet.append(task)\n",
        "            pass\n",
        "rebuild",
        309,
    ),
    Mutant(
        "a task whose argument is lost while it queues comes back for it",
        "P4",
        PUSHING,
        "        if value is None or type(value) is Fault:\n",
        "        if value is None:\n"
        '            raise AssertionError("pushed without its argument")\n'
        "        if type(value) is Fault:\n",
        "rebuild",
        41,
    ),
    Mutant(
        "a replay fills in what was lost",
        "P4",
        REFILLING,
        "        results.append((name, value))\n",
        "        pass\n",
        "rebuild",
        14,
    ),
    Mutant(
        "what a replay gave that ends otherwise is taken back",
        "P4",
        REFILLING,
        "        self._take_back(entry, fault)\n",
        "",
        "rebuild",
        269,
    ),
    Mutant(
        "a replay that yields more than the first time is noticed",
        "P4",
        REFILLING,
        "    if message.count != kept.count:\n",
        "    if message.count < kept.count:\n",
        "rebuild",
        269,
    ),
)
