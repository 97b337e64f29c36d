"""Fences of ways round cut links; part of ``tests.sim.mutants``."""

from __future__ import annotations

from tests.sim.mutant import Mutant

DETOURS = "zgen/core/detours.py"
BYWAYS = "node/zgen_node/core/byways.py"
PULL_BYWAYS = "node/zgen_node/core/pull_byways.py"

ONEWAY = (
    Mutant(
        "what a process sends over a cut link goes round it",
        "P2",
        "zgen/core/process.py",
        "            wanted = self.detours.reroute(wanted, now_ns)\n",
        "            pass\n",
        "oneway",
        0,
    ),
    Mutant(
        "what a node sends over a cut link goes round it",
        "P2",
        "node/zgen_node/core/node.py",
        "            out = self.cluster.byways.detours.reroute(out, now_ns)\n",
        "            pass\n",
        "oneway",
        0,
    ),
    Mutant(
        "what was not acknowledged is sent again by a new way",
        "P2",
        DETOURS,
        "        self.hops[node] = hop\n        self._reopen(node, out)\n",
        "        self.hops[node] = hop\n",
        "oneway",
        0,
    ),
    Mutant(
        "a process that connects later is told which links are cut",
        "P2",
        BYWAYS,
        "                out.append(Send(event.peer, TakeDetour(node, way.turn)))\n",
        "                pass\n",
        "oneway",
        4,
    ),
    Mutant(
        "who relays and does not reach the other one says so",
        "P2",
        BYWAYS,
        "            out.append(Send(peer, NoDetour(said.to_node)))\n",
        "            pass\n",
        "oneway",
        1,
    ),
    Mutant(
        "another way is taken when the node on it is gone",
        "P2",
        BYWAYS,
        '                reached("node on the way of a detour is gone")\n'
        "                self._turn_to_next(node, now_ns, out)\n",
        "                pass\n",
        "oneway",
        40,
    ),
    Mutant(
        "a copy is asked for of the node on the way",
        "P2",
        PULL_BYWAYS,
        "        if hop is not None and hop not in pull.vain:\n"
        "            self._ask(pull, hop, out)\n",
        "        pass\n",
        "oneway",
        2,
    ),
)
