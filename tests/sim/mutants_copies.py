"""Fences around regions that go from node to node; part of ``tests.sim.mutants``."""

from __future__ import annotations

from tests.sim.mutant import Mutant

COPIES_FILE = "node/zgen_node/core/copies.py"
PULLS = "node/zgen_node/core/pulls.py"
LEFT = "node/zgen_node/core/left_copies.py"
STORAGE = "node/zgen_node/core/storage.py"
REGIONS = "zgen/core/region_table.py"

COPIES = (
    Mutant(
        "a region that was copied need not stay where it is",
        "P3",
        COPIES_FILE,
        "            self._send(node, UnholdRegions((pull.region,)), out)\n        self._end(",
        "            pass\n        self._end(",
        "copies",
        0,
    ),
    Mutant(
        "who has a copy hears that its region is over",
        "P3",
        STORAGE,
        "        out.extend(Send(node, over) for node in nodes)\n",
        "        pass\n",
        "copies",
        0,
    ),
    Mutant(
        "what is not copied when its node dies is lost",
        "P2",
        COPIES_FILE,
        "            self._leave(pull, node, NODE_GONE, now_ns, out)\n",
        "            pass\n",
        "copies",
        12,
    ),
    Mutant(
        "a copy is given when all its parts are here",
        "P3",
        PULLS,
        "        return not missing and 0 <",
        "        return 0 <",
        "copies",
        0,
    ),
    Mutant(
        "a part that came damaged is asked for again",
        "P2",
        PULLS,
        "            pull.again[offset] = None\n        tries",
        "            pass\n        tries",
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
        1,
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
    Mutant(
        "what does not come is asked for again",
        "P2",
        PULLS,
        "            self._take_back(pull, source)\n            found",
        "            found",
        "copies",
        9,
    ),
    Mutant(
        "what was asked of a source that is left is asked of others",
        "P2",
        PULLS,
        "        if source is not None:\n            self._take_back(pull, source)\n",
        "        pass\n",
        "copies",
        11,
    ),
    Mutant(
        "nothing is written to the place of a copy that was given up",
        "P3",
        COPIES_FILE,
        "            out.append(CloseCopy(pull.pull))\n",
        "            pass\n",
        "copies",
        11,
    ),
    Mutant(
        "what could not be asked for while much was under way is asked for later",
        "P2",
        COPIES_FILE,
        "        for pull in self.pulls.starved():\n            self._ask(pull, now_ns, out)\n",
        "        pass\n",
        "copies",
        21,
    ),
    Mutant(
        "a copy outlives the node of its region",
        "P4",
        LEFT,
        "            if self._is_there(owner, now_ns, out):\n",
        "            if False:\n",
        "rebuild",
        3,
    ),
    Mutant(
        "all others are asked for what lay on a node that is gone",
        "P4",
        LEFT,
        "        return list(self._view.members)[:NODES_ASKED_COUNT_MAX]\n",
        "        return list(self._view.members)[:1]\n",
        "rebuild",
        120,
    ),
    Mutant(
        "who keeps a copy hears that its owner is done with it",
        "P3",
        COPIES_FILE,
        "(*self._by_node(far), *self.left.keepers(peer, far))",
        "self._by_node(far)",
        "rebuild",
        3,
    ),
    Mutant(
        "an owner hears of copies that are kept for it",
        "P3",
        LEFT,
        "                    out.append(Send(home, FarOrphaned(process, node, part)))\n",
        "                    pass\n",
        "rebuild",
        3,
    ),
)
