"""Fences between a node and its membership; part of ``tests.sim.mutants``."""

from __future__ import annotations

from tests.sim.mutant import Mutant

CORE = "node/zgen_node/core/"

JOINED = (
    Mutant(
        "a port that refuses is a sign of death",
        "P7",
        CORE + "probe_lines.py",
        "            out.append(CheckDial(line.endpoint))\n",
        "",
        "joined",
        1,
    ),
    Mutant(
        "a node hears who is gone",
        "P7",
        CORE + "member_node.py",
        "                    self._step_node(MemberGone(node, reason, proven), now_ns, out)\n",
        "",
        "joined",
        0,
    ),
    Mutant(
        "what waited for a connection is sent once it is there",
        "P7",
        CORE + "probe_lines.py",
        "        out.extend([Transmit(name, epoch, frames) for frames in line.waiting])\n",
        "",
        "joined",
        97,
    ),
)
