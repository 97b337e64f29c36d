"""Fences of membership; part of ``tests.sim.mutants``."""

from __future__ import annotations

from tests.sim.mutant import Mutant

CORE = "node/zgen_node/core/"
STANDING = CORE + "membership_standing.py"
MACHINE = CORE + "membership.py"
REPAIR = CORE + "membership_repair.py"

SWIM = (
    Mutant(
        "news of a dead member do not bring it back",
        "P7",
        STANDING,
        "        if node in self.graves:\n            if not self.news.has",
        "        if False:\n            if not self.news.has",
        "swim",
        3,
    ),
    Mutant(
        "the death of one that left the view is told as well",
        "P7",
        STANDING,
        "            out.append(MemberBuried(node))\n",
        "            pass\n",
        "swim",
        165,
    ),
    Mutant(
        "time not stepped is nobody's silence",
        "P7",
        MACHINE,
        "        if now_ns - due_ns > standing.profile.try_ns // 2:\n",
        "        if False:\n",
        "swim",
        4,
    ),
    Mutant(
        "a suspected member refutes",
        "P7",
        STANDING,
        "            elif doubt.incarnation >= self.me.incarnation:\n",
        "            elif False:\n",
        "swim",
        2,
    ),
    Mutant(
        "a suspicion does not outlive its refutation",
        "P7",
        STANDING,
        "suspicion.incarnation < said.incarnation:\n",
        "False:\n",
        "swim",
        2,
    ),
    Mutant(
        "a refused dial is a death only if another confirms it",
        "P7",
        CORE + "membership_doubts.py",
        "REFUSALS_COUNT: Final = 2",
        "REFUSALS_COUNT: Final = 1",
        "swim",
        2,
    ),
    Mutant(
        "others are asked before a member is suspected",
        "P2",
        CORE + "membership_prober.py",
        "        if probe.tries_count > PROBE_TRIES_COUNT - 2:\n",
        "        if False:\n",
        "swim",
        7,
    ),
    Mutant(
        "the larger side of a healed cut stays",
        "P7",
        REPAIR,
        "        stays = said.sender not in view.members and ",
        "        stays = False and ",
        "swim",
        30,
    ),
    Mutant(
        "the dead are tried, since a cut may have parted us",
        "P2",
        REPAIR,
        "        tried = standing.graves.draw_fresh(now_ns, standing.dice.below)\n",
        "        tried = None\n",
        "swim",
        6,
    ),
    Mutant(
        "the news of a death are passed on",
        "P2",
        STANDING,
        "        self.news.drop(node, MemberAlive)\n        self.tell(doubt, now_ns)\n",
        "        self.news.drop(node, MemberAlive)\n",
        "swim",
        1,
    ),
    Mutant(
        "the long dead are tried too",
        "P2",
        REPAIR,
        "            tried = standing.graves.draw_old(standing.dice.below)\n",
        "            tried = None\n",
        "swim",
        10,
    ),
    Mutant(
        "who was declared dead knows more doors than that of who told it",
        "P2",
        REPAIR,
        "            where = tuple(dict.fromkeys((said.endpoint, *standing.endpoints())))\n",
        "            where = (said.endpoint,)\n",
        "swim",
        23,
    ),
    Mutant(
        "who comes back remembers its first seeds",
        "P2",
        "node/zgen_node/io/rejoining.py",
        "[*found[:half], *found[-half:]]",
        "found[:SEEDS_COUNT_MAX]",
        "swim",
        71,
    ),
)
