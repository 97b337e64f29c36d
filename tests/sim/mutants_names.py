"""Fences of names over the cluster; part of ``tests.sim.mutants``."""

from __future__ import annotations

from tests.sim.mutant import Mutant

ELECTORATE = "node/zgen_node/core/electorate.py"
DETACHED = "node/zgen_node/core/detached.py"
RECORDS = "node/zgen_node/core/name_records.py"
KEEPER = "node/zgen_node/core/name_keeper.py"

NAMES = (
    Mutant(
        "two claims of a name whose rounds meet do not meet in each",
        "P2",
        "node/zgen_node/core/naming.py",
        "        wait_ns -= wait_ns * (number % _UNEVEN) // (2 * _UNEVEN)\n",
        "",
        "detached",
        15,
    ),
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
        3,
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
    Mutant(
        "who wants a detached actor hears of the end of a keeper that has its name",
        "P2",
        DETACHED,
        "        if kept is not None:\n            self._give_up",
        "        if kept is not None and not kept.has_name:\n            self._give_up",
        "detached",
        39,
    ),
    Mutant(
        "the name of a detached actor whose home is gone is held on",
        "P4",
        RECORDS,
        "            if record.may_restart:\n",
        "            if False:\n",
        "detached",
        6,
    ),
    Mutant(
        "a keeper whose actor is dead ends",
        "P3",
        DETACHED,
        "            self._linger.set(named.owner, now_ns + KEEPER_LINGER_NS)\n",
        "            pass\n",
        "detached",
        1,
    ),
    Mutant(
        "a keeper that did not get the name ends",
        "P3",
        DETACHED,
        '        self._end(peer, "another actor has the name", out)\n',
        "",
        "detached",
        0,
    ),
    Mutant(
        "who keeps an orphan no more hears that it was created again",
        "P7",
        "node/zgen_node/core/naming.py",
        "            self._replaced(key, named.claim.instead_of, out)\n",
        "            pass\n",
        "detached",
        64,
    ),
    Mutant(
        "the job of a keeper ends with it",
        "P3",
        "node/zgen_node/core/node.py",
        '            self._staffing.end_job(job, "the keeper of its actor ended", now_ns, out)\n',
        "",
        "detached",
        0,
    ),
)
