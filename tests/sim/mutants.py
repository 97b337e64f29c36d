"""Fences, each with its removal and the seed that turns red without it; read by scripts/mutants.py.

A scenario says what a seed runs: ``cluster`` is tests/sim/run.py, ``session`` tests/sim/echo.py,
``late`` tests/sim/late_reports.py, ``actors`` tests/sim/actor_run.py, ``borrowing``
tests/sim/borrowing.py, ``swim`` tests/sim/swim_run.py, ``nodes`` tests/sim/nodes_run.py,
``copies`` tests/sim/copies_run.py, ``joined`` tests/sim/joined.py, ``survival``
tests/sim/survival_run.py, ``drain`` tests/sim/drain_run.py, ``ends`` tests/sim/ends_run.py,
``dialogue`` tests/sim/dialogue_run.py, ``pressure`` tests/sim/pressure_run.py,
``handover`` tests/sim/handover.py,
``rekey`` tests/sim/rekey_run.py.
"""

from __future__ import annotations

from tests.sim.mutant import Mutant
from tests.sim.mutants_actors import ACTORS
from tests.sim.mutants_borrowing import BORROW
from tests.sim.mutants_cancel import CANCEL
from tests.sim.mutants_copies import COPIES
from tests.sim.mutants_dialogue import DIALOGUES
from tests.sim.mutants_drain import DRAIN
from tests.sim.mutants_ends import ENDS
from tests.sim.mutants_flow import FLOW
from tests.sim.mutants_handover import HAND
from tests.sim.mutants_joined import JOINED
from tests.sim.mutants_names import NAMES
from tests.sim.mutants_nodes import NODES
from tests.sim.mutants_oneway import ONEWAY
from tests.sim.mutants_rebuild import REBUILD
from tests.sim.mutants_rekey import KEYS
from tests.sim.mutants_state import STATE
from tests.sim.mutants_stopped import STOPPED
from tests.sim.mutants_survival import SURVIVAL
from tests.sim.mutants_swim import SWIM

LINE = "zgen/core/line.py"
SESSION = "zgen/core/session.py"
PROCESS = "zgen/core/process.py"
OWNER = "zgen/core/owner.py"
TASKS = "zgen/core/task_table.py"
STREAMS = "zgen/core/stream_in.py"
STOCK = "zgen/core/region_stock.py"
REGIONS = "zgen/core/region_table.py"
STORE = "zgen/core/store_client.py"
OBJECTS = "node/zgen_node/core/object_table.py"
DEADLINES = "zgen/core/deadlines.py"
ROOMS = "node/zgen_node/core/room_maker.py"
SLABS = "node/zgen_node/core/slab_table.py"

MUTANTS = (
    # -- deadlines ---------------------------------------------------------------------------------
    Mutant(
        "a machine hears of a sooner deadline",
        "P2",
        DEADLINES,
        "            self.next_ns = at_ns\n            self.alarm.moved = True\n",
        "            self.next_ns = at_ns\n",
        "cluster",
        0,
    ),
    Mutant(
        "a machine hears that a deadline was cleared",
        "P2",
        DEADLINES,
        "            self.next_ns = next_ns\n            self.alarm.moved = True\n",
        "            self.next_ns = next_ns\n",
        "cluster",
        0,
    ),
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
        "zgen/core/identity.py",
        "(hello.to, hello.to_incarnation) == (me.peer, me.incarnation)",
        "hello.to == me.peer",
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
        0,
    ),
    Mutant(
        "a quiet line means that nothing came between two looks",
        "P1",
        SESSION,
        "        line.heard()\n        ready: list",
        "        ready: list",
        "cluster",
        4,
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
        99,
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
        0,
    ),
    Mutant(
        "a node hears nothing of the dead",
        "P7",
        "node/zgen_node/core/peers.py",
        '            if peer in self._downs:\n                reached("message of the dead',
        '            if False:\n                reached("message of the dead',
        "cluster",
        80,
    ),
    # -- attempts ----------------------------------------------------------------------------------
    Mutant(
        "the attempt grows before anything is submitted again",
        "P5",
        TASKS,
        "    entry.attempt += 1  # before anything is submitted: the fence\n",
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
        1,
    ),
    Mutant(
        "a task that may not run again ends its stream",
        "P2",
        "zgen/core/settlement.py",
        "        self._streams.fail(task, fault, completion)\n",
        "",
        "cluster",
        0,
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
        "node/zgen_node/core/spillback.py",
        "        if forward is None:\n"
        '            reached("return of a lease that is over")\n'
        "        elif",
        "        assert forward is not None\n        if",
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
        "node/zgen_node/core/worker_words.py",
        "        elif self._staffing.leases.set_blocked(lease, said.blocked, now_ns):",
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
        7,
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
        125,
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
        9,
    ),
    Mutant(
        "the region of a replayed item is released",
        "P3",
        STREAMS,
        '            reached("replayed items dropped")\n            self._drop(values)\n',
        "",
        "cluster",
        8,
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
        3,
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
        142,
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
        17,
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
    *ACTORS,
    *CANCEL,
    *FLOW,
    *BORROW,
    *STATE,
    *SWIM,
    *NAMES,
    *NODES,
    *JOINED,
    *ONEWAY,
    *SURVIVAL,
    *COPIES,
    *DRAIN,
    *ENDS,
    *DIALOGUES,
    *STOPPED,
    *HAND,
    *KEYS,
    *REBUILD,
)
