"""Fences around regions that go from node to node; part of ``tests.sim.mutants``."""

from __future__ import annotations

from tests.sim.mutant import Mutant

COPIES_FILE = "node/zgen_node/core/copies.py"
PULLS = "node/zgen_node/core/pulls.py"
STORAGE = "node/zgen_node/core/storage.py"
REGIONS = "zgen/core/region_table.py"

COPIES = (
    Mutant(
        "a region that was copied need not stay where it is",
        "P3",
        COPIES_FILE,
        "        self._send(pull.node, UnholdRegions((pull.region,)), out)\n        self._end(",
        "        self._end(",
        "copies",
        2,
    ),
    Mutant(
        "who has a copy hears that its region is over",
        "P3",
        STORAGE,
        "            out.extend(Send(node, over) for node in nodes)\n",
        "            pass\n",
        "copies",
        2,
    ),
    Mutant(
        "what is not copied when its node dies is lost",
        "P2",
        COPIES_FILE,
        "            self._end(pull, NODE_GONE, now_ns, out)\n",
        "            pass\n",
        "copies",
        16,
    ),
    Mutant(
        "a copy is given when all its parts are here",
        "P3",
        PULLS,
        "        return not self.under_way and 0 <",
        "        return 0 <",
        "copies",
        2,
    ),
    Mutant(
        "a part that came damaged is asked for again",
        "P2",
        COPIES_FILE,
        "            self._ask_part(pull, event.offset, out)\n",
        "            pass\n",
        "copies",
        11,
    ),
    Mutant(
        "where a value lies on another node is no place here",
        "P3",
        REGIONS,
        "            place = None\n            self._far.append",
        "            self._far.append",
        "copies",
        2,
    ),
    Mutant(
        "what is said of a node that is not known yet waits for it",
        "P2",
        COPIES_FILE,
        "                return self.early.keep(tag, peer, said, now_ns)\n",
        "                return False\n",
        "copies",
        74,
    ),
    Mutant(
        "a region that another node copies is held for it",
        "P3",
        STORAGE,
        "                self._objects.hold(region, peer)\n            else:",
        "                self._objects.hold(region, peer)\n"
        "                self._objects.unhold(region, peer) if is_node else None\n"
        "            else:",
        "copies",
        2,
    ),
)
