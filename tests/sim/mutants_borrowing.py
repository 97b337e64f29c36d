"""Fences of borrowed references; part of ``tests.sim.mutants``."""

from __future__ import annotations

from tests.sim.mutant import Mutant

BORROWING = "zgen/core/borrowing.py"
EXCHANGE = "zgen/core/ref_exchange.py"
LENT = "zgen/core/lent_refs.py"

BORROW = (
    Mutant(
        "an owner counts a borrower as it sends",
        "P4",
        BORROWING,
        "        table = self.lent.borrowers\n        if ref.owner.peer != self.me:\n",
        "        table = self.lent.borrowers\n        if ref.owner.peer == self.me:\n"
        "            return\n        if True:\n",
        "borrowing",
        0,
    ),
    Mutant(
        "a lender keeps its borrow until the owner has counted the borrower",
        "P4",
        BORROWING,
        "            table = self.lent.loans\n",
        "            return\n",
        "borrowing",
        333,
    ),
    Mutant(
        "what the dead had borrowed is kept for whom they passed it on to",
        "P4",
        LENT,
        "now_ns + BORROW_GRACE_NS",
        "now_ns",
        "borrowing",
        31,
    ),
    Mutant(
        "the death of an owner is told to those who wait",
        "P2",
        EXCHANGE,
        "            self._settlement.settle(borrowing.owner_died(peer, fault), now_ns, out)\n",
        "            pass\n",
        "borrowing",
        9,
    ),
    Mutant(
        "a process whose connection is lost is watched",
        "P2",
        BORROWING,
        "        if peer != self.node and self.session.knows(peer):\n",
        "        if False:\n",
        "borrowing",
        641,
    ),
    Mutant(
        "a node tells at once of who is dead already",
        "P2",
        "node/zgen_node/core/peers.py",
        "            out.append(Send(watcher, self._downs.get(watched, dead)))\n",
        "            pass\n",
        "borrowing",
        4,
    ),
    Mutant(
        "a value that goes lets go of what it refers to",
        "P3",
        BORROWING,
        "                    self._refs.unpin(ref.object)\n",
        "                    pass\n",
        "borrowing",
        0,
    ),
    Mutant(
        "loans of what a dead owner had are over",
        "P3",
        BORROWING,
        "                self.lent.uncount(self.lent.loans, peer, name, counts[name])\n"
        "                self._refs.unpin(name)\n",
        "                pass\n",
        "borrowing",
        25,
    ),
)
