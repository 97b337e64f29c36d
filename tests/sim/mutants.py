"""Fences, each with its removal and the seed that turns red without it; read by scripts/mutants.py.

A scenario says what a seed runs: ``cluster`` is tests/sim/run.py, ``session`` tests/sim/echo.py,
``late`` tests/sim/late_reports.py, ``borrow`` tests/sim/borrowing.py.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One fence.

    Attributes:
        name: What it does.
        promise: Which promise it serves.
        file: Where it stands.
        text: Its source, which must occur once.
        without: What stands there when it is removed.
        scenario: What the seed runs.
        seed: The seed that turns red without it.
    """

    name: str
    promise: str
    file: str
    text: str
    without: str
    scenario: str
    seed: int


LINE = "zgen/core/line.py"
SESSION = "zgen/core/session.py"
PROCESS = "zgen/core/process.py"
OWNER = "zgen/core/owner.py"
TASKS = "zgen/core/task_table.py"
STREAMS = "zgen/core/stream_in.py"
STREAMS_OUT = "zgen/core/stream_out.py"
EXECUTOR = "zgen/core/executor.py"
STOCK = "zgen/core/region_stock.py"
REGIONS = "zgen/core/region_table.py"
STORE = "zgen/core/store_client.py"
OBJECTS = "node/zgen_node/core/object_table.py"
ROOMS = "node/zgen_node/core/room_maker.py"
BORROWING = "zgen/core/borrowing.py"
EXCHANGE = "zgen/core/ref_exchange.py"
LENT = "zgen/core/lent_refs.py"
SLABS = "node/zgen_node/core/slab_table.py"

MUTANTS = (
    # -- session -----------------------------------------------------------------------------------
    Mutant(
        "a repeated message is dropped",
        "P1",
        LINE,
        '            reached("repeated message dropped")\n',
        "            return [frames]\n",
        "session",
        0,
    ),
    Mutant(
        "an early message waits for its turn",
        "P1",
        LINE,
        "            self.early[seq] = frames\n",
        "            return [frames]\n",
        "session",
        0,
    ),
    Mutant(
        "an ack covers what it names and no more",
        "P1",
        LINE,
        "        while kept and kept[0].seq <= ack:\n",
        "        while kept:\n",
        "session",
        4,
    ),
    Mutant(
        "an ack of what left on an older connection proves nothing of the newest hello",
        "P2",
        LINE,
        "        if ack > self.proof_seq:\n",
        "        if True:\n",
        "session",
        21,
    ),
    Mutant(
        "a hello goes again with the acks that seem not to be heard",
        "P2",
        SESSION,
        "if header.seq <= line.arrived and line.up and not line.hello_acked:",
        "if False:",
        "session",
        18,
    ),
    Mutant(
        "everything unacknowledged goes again on a new connection",
        "P2",
        SESSION,
        "        for kept in line.kept:\n            if kept.sent_ns",
        "        for kept in ():\n            if kept.sent_ns",
        "session",
        0,
    ),
    Mutant(
        "the oldest message goes again after a timeout",
        "P2",
        SESSION,
        "                self._resend_oldest(line, now_ns, out)",
        "                pass",
        "session",
        4,
    ),
    Mutant(
        "the hello of a dead life is refused",
        "P7",
        SESSION,
        "if self.is_fenced(sender.peer, sender.incarnation) or sender.incarnation < newest:",
        "if False:",
        "session",
        10,
    ),
    Mutant(
        "a hello for another life is refused",
        "P7",
        SESSION,
        " or hello.to_incarnation != me.address.incarnation",
        "",
        "session",
        0,
    ),
    # -- deaths ------------------------------------------------------------------------------------
    Mutant(
        "a DOWN waits until the line of the dead is quiet",
        "P1",
        PROCESS,
        "if not self.session.hold_down(peer, now_ns):",
        "if True:",
        "cluster",
        18,
    ),
    Mutant(
        "a quiet line means that nothing came between two looks",
        "P1",
        SESSION,
        "        line.closing_seen_ns = None\n        ready: list",
        "        ready: list",
        "cluster",
        36,
    ),
    Mutant(
        "the started mark tells what may not run again",
        "P5",
        OWNER,
        "begun = down.started if down.lease == lease else 0",
        "begun = 0",
        "cluster",
        0,
    ),
    Mutant(
        "what was never started runs again at no cost",
        "P5",
        OWNER,
        "begun = down.started if down.lease == lease else 0",
        "begun = held.pushes",
        "cluster",
        0,
    ),
    Mutant(
        "nothing starts that was pushed before its owner heard of a hand-back",
        "P5",
        "zgen/core/admission.py",
        "return lease == returned and returns_seen < count",
        "return False",
        "cluster",
        311,
    ),
    Mutant(
        "the death of a driver ends its workers",
        "P3",
        "node/zgen_node/core/staffing.py",
        "        for worker in self.pool.of_job(job.job):\n            self.pool.kill(",
        "        for worker in []:\n            self.pool.kill(",
        "cluster",
        0,
    ),
    Mutant(
        "the death of an owner ends the workers that it leased",
        "P3",
        "node/zgen_node/core/staffing.py",
        '        self.end_owner(worker.worker, f"worker died of {end}", now_ns, out)\n',
        "",
        "cluster",
        1,
    ),
    Mutant(
        "a node hears nothing of the dead",
        "P7",
        "node/zgen_node/core/peers.py",
        '            if peer in self._downs:\n                reached("message of the dead',
        '            if False:\n                reached("message of the dead',
        "cluster",
        40,
    ),
    # -- attempts ----------------------------------------------------------------------------------
    Mutant(
        "the attempt grows before anything is submitted again",
        "P5",
        TASKS,
        "        entry.attempt += 1  # before anything is submitted: the fence\n",
        "",
        "cluster",
        0,
    ),
    Mutant(
        "an outcome of an old attempt is refused",
        "P7",
        TASKS,
        "attempt != entry.attempt or ",
        "",
        "late",
        1,
    ),
    Mutant(
        "a report of an old attempt is refused",
        "P7",
        STREAMS,
        "        if attempt < record.attempt:\n            reached",
        "        if False:\n            reached",
        "late",
        0,
    ),
    Mutant(
        "what a replay repeats is dropped by index",
        "P1",
        STREAMS,
        "        if fresh < len(values):\n",
        "        if False:\n",
        "cluster",
        4,
    ),
    Mutant(
        "a task that may not run again ends its stream",
        "P2",
        "zgen/core/settlement.py",
        "        self._streams.fail(task, fault)\n",
        "",
        "cluster",
        0,
    ),
    # -- windows -----------------------------------------------------------------------------------
    Mutant(
        "a body parks at the end of its window",
        "window",
        STREAMS_OUT,
        "            record.limit = consumed + window\n",
        "            record.limit = consumed + window + 1\n",
        "cluster",
        1,
    ),
    Mutant(
        "what was handed over ahead does not open a window",
        "window",
        STREAMS,
        "            record.consumed = first + bool(unread)\n",
        "            record.consumed = first + min(count_max, len(unread))\n",
        "cluster",
        13,
    ),
    Mutant(
        "a producer hears of what was taken before its window is used up",
        "P2",
        STREAMS,
        "record.consumed - record.granted < record.step:",
        "record.consumed - record.granted < record.window + 1:",
        "cluster",
        1,
    ),
    Mutant(
        "the window of a replay begins at what was taken",
        "P2",
        "zgen/core/placement.py",
        "self._streams.grant_first(task) if spec.window else 0",
        "0",
        "cluster",
        1,
    ),
    Mutant(
        "a stream that nobody reads has no window",
        "P2",
        EXECUTOR,
        "            if record.closed:\n                self.holds.release",
        "            if False:\n                self.holds.release",
        "cluster",
        1,
    ),
    Mutant(
        "the death of its owner ends the window of a stream",
        "P2",
        EXECUTOR,
        "        self.holds.free_of(owner, out)\n",
        "",
        "cluster",
        37,
    ),
    # -- references and leases ---------------------------------------------------------------------
    Mutant(
        "a late result of a freed reference is dropped",
        "P3",
        "zgen/core/ref_table.py",
        '            reached("late result of a freed reference dropped")\n'
        "            self.dropped.extend(keeping((value,)))\n"
        "            return False\n",
        "            record = self.records[name] = OwnedRef(None, 0)\n",
        "cluster",
        0,
    ),
    Mutant(
        "a lease that is returned twice is returned once",
        "P5",
        "node/zgen_node/core/node.py",
        "        if lease is None:\n"
        '            reached("return of a lease that is over")\n'
        "        elif",
        "        assert lease is not None\n        if",
        "cluster",
        0,
    ),
    Mutant(
        "what queues behind a task that blocks is handed back",
        "P2",
        "zgen/core/admission.py",
        "if self.running is None or not (self.blocked or self.long):",
        "if True:",
        "cluster",
        0,
    ),
    Mutant(
        "a task that blocks gives its resources away",
        "P2",
        "node/zgen_node/core/node.py",
        "        elif self.leases.set_blocked(lease, said.blocked, now_ns):",
        "        elif False:",
        "cluster",
        2,
    ),
    Mutant(
        "an item wakes whoever waits for it",
        "P2",
        OWNER,
        "            out.append(StreamAdvanced(stream))\n",
        "            pass\n",
        "cluster",
        0,
    ),
    Mutant(
        "the end of a closed stream counts what its producer dropped",
        "P2",
        STREAMS,
        " or (not record.handle and count > record.position)",
        "",
        "cluster",
        0,
    ),
    # -- shared memory -----------------------------------------------------------------------------
    Mutant(
        "what a view looks at is not released",
        "P3",
        REGIONS,
        "self.named or self.views or",
        "self.named or",
        "cluster",
        0,
    ),
    Mutant(
        "what a view looks at is not given up",
        "P3",
        REGIONS,
        "and not (region.views or region.openers or region.pending)",
        "and not (region.openers or region.pending)",
        "cluster",
        11,
    ),
    Mutant(
        "what a waiting task needs is not let go",
        "P3",
        REGIONS,
        "self.views or self.pending or",
        "self.views or",
        "cluster",
        0,
    ),
    Mutant(
        "what a dead writer left is released by its owner",
        "P3",
        REGIONS,
        "        if needless and self.node is not None:\n",
        "        if False:\n",
        "cluster",
        0,
    ),
    Mutant(
        "what the dead wrote is released when their line is quiet",
        "P1",
        STORE,
        "        if is_quiet:\n            self._release",
        "        if True:\n            self._release",
        "cluster",
        135,
    ),
    Mutant(
        "what is written when its owner dies goes back when it is written",
        "P3",
        STOCK,
        "            if region in self.writing:\n",
        "            if False:\n",
        "cluster",
        18,
    ),
    Mutant(
        "what is leased for the dead goes back",
        "P3",
        STOCK,
        '            reached("regions leased for nobody returned")\n'
        "            self._return([leased.region for leased in regions], out)\n",
        "",
        "cluster",
        34,
    ),
    Mutant(
        "the region of a replayed item is released",
        "P3",
        STREAMS,
        '            reached("replayed items dropped")\n            self._drop(values)\n',
        "",
        "cluster",
        2,
    ),
    Mutant(
        "a released region lies where it is while anybody holds it",
        "P3",
        OBJECTS,
        "self.is_released and not self.holders and",
        "self.is_released and",
        "cluster",
        0,
    ),
    Mutant(
        "the holds of the dead end",
        "P3",
        OBJECTS,
        "            self.unhold(touched[number], peer)\n        for number in list(self._owned",
        "            pass\n        for number in list(self._owned",
        "cluster",
        7,
    ),
    Mutant(
        "what is held is not spilled",
        "P3",
        OBJECTS,
        "        free = not region.holders and not region.is_released\n",
        "        free = not region.is_released\n",
        "cluster",
        0,
    ),
    Mutant(
        "a region that is held again stays in memory",
        "P3",
        ROOMS,
        "        if region.holders:\n            reached",
        "        if False:\n            reached",
        "cluster",
        50,
    ),
    Mutant(
        "the disk forgets what is over",
        "P3",
        ROOMS,
        "            out.append(ForgetSpilled(region.region))\n        else:",
        "            pass\n        else:",
        "cluster",
        2,
    ),
    Mutant(
        "a room that was written in part is not called warm",
        "P3",
        SLABS,
        "        if place.is_warm or is_written:\n",
        "        if True:\n",
        "cluster",
        3,
    ),
    Mutant(
        "an orphan is freed only when its writer answers",
        "P3",
        OBJECTS,
        "            if region.writer == peer or region.writer_dead:\n"
        "                region.writer_dead",
        "            if True:\n                region.writer_dead",
        "cluster",
        18,
    ),
    # -- borrowed references -----------------------------------------------------------------------
    Mutant(
        "an owner counts a borrower as it sends",
        "P4",
        BORROWING,
        "        table = self.lent.borrowers\n        if ref.owner.peer != self._me:\n",
        "        table = self.lent.borrowers\n        if ref.owner.peer == self._me:\n"
        "            return\n        if True:\n",
        "borrow",
        1,
    ),
    Mutant(
        "a lender keeps its borrow until the owner has counted the borrower",
        "P4",
        BORROWING,
        "            table = self.lent.loans\n",
        "            return\n",
        "borrow",
        59,
    ),
    Mutant(
        "what the dead had borrowed is kept for whom they passed it on to",
        "P4",
        LENT,
        "now_ns + BORROW_GRACE_NS",
        "now_ns",
        "borrow",
        307,
    ),
    Mutant(
        "the death of an owner is told to those who wait",
        "P2",
        EXCHANGE,
        "            self._settlement.settle(borrowing.owner_died(peer, fault), now_ns, out)\n",
        "            pass\n",
        "borrow",
        2,
    ),
    Mutant(
        "a borrower has the owner watched",
        "P2",
        BORROWING,
        "            self.watch(address.peer, address.incarnation, out)\n            lender",
        "            lender",
        "borrow",
        12,
    ),
    Mutant(
        "a node tells at once of who is dead already",
        "P2",
        "node/zgen_node/core/peers.py",
        "            out.append(Send(watcher, dead))\n",
        "            pass\n",
        "borrow",
        2,
    ),
    Mutant(
        "an answer holds what it refers to until it has left",
        "P4",
        BORROWING,
        "        self.hold(value)\n"
        "        out.append(Send(borrower, _said(name, value), refs=refs_of(value), gives=True))\n",
        "        out.append(Send(borrower, _said(name, value), refs=refs_of(value)))\n",
        "borrow",
        306,
    ),
    Mutant(
        "a value that goes lets go of what it refers to",
        "P3",
        BORROWING,
        "                    self._refs.unpin(ref.object)\n",
        "                    pass\n",
        "borrow",
        0,
    ),
    Mutant(
        "loans of what a dead owner had are over",
        "P3",
        BORROWING,
        "                self.lent.uncount(self.lent.loans, peer, name, counts[name])\n"
        "                self._refs.unpin(name)\n",
        "                pass\n",
        "borrow",
        30,
    ),
)
