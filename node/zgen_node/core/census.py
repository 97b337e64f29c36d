"""Questions about what the processes of a node own: put to each of them, answered as they answer.

Rules of this file: nobody waits longer than he said he would, and who does not answer is named.
What a process owns is its own to say; of an object in a region this node knows whether it is on
disk.

Theory of operation. Each process is asked by one message and answers in parts, which are handed on
to who asked at once. When the last of them has answered, is dead or is too late, who asked is told
of all processes, with why some said nothing. A process that does not answer is asked so often and
no more, until it does or dies.
"""

from collections.abc import Callable
from dataclasses import field, replace
from typing import Any, Final

from zgen.core.deadlines import Deadlines
from zgen.core.effects import Effect, Send
from zgen.core.marks import reached
from zgen.ids import PeerId, short
from zgen.limits import (
    SECOND,
    STATE_OWED_COUNT_MAX,
    STATE_PATIENCE_NS_MAX,
    STATE_QUESTIONS_COUNT_MAX,
)
from zgen.slotted import slotted
from zgen.wire.state import (
    DISK,
    NODES,
    ListState,
    ObjectSaid,
    ProcessSaid,
    StateRows,
    StateTold,
    TellState,
)
from zgen_node.core.object_table import RegionState
from zgen_node.core.peers import Peers
from zgen_node.core.staffing import Staffing
from zgen_node.core.storage import Storage
from zgen_node.core.worker_pool import Worker, WorkerState

STARTING: Final = "it is starting"
DIED: Final = "it died before it answered"
OWING: Final = f"it owes the answers to {STATE_OWED_COUNT_MAX} questions"
BUSY: Final = f"{STATE_QUESTIONS_COUNT_MAX} such questions are open at its node"
_ON_DISK: Final = (RegionState.SPILLED, RegionState.RESTORING)


@slotted
class Question:
    """One question that is open.

    Attributes:
        asker: Who asked.
        query: Its number there.
        patience_ns: How long each process may take.
        processes: All that there were when it was asked.
        nodes_count: How many nodes are asked, this one among them.
        waiting: Those whose answer is not complete. Added when it is asked; removed as they answer,
            die or are too late.
    """

    asker: PeerId
    query: int
    patience_ns: int
    processes: dict[PeerId, ProcessSaid]
    nodes_count: int
    waiting: dict[PeerId, None] = field(default_factory=dict)


class Census:
    """The open questions of one node.

    Attributes:
        deadlines: When who did not answer is too late.
        report: Returns how this node fares, as JSON.
        ask_others: Has the other nodes asked; returns how many those are.
        messages: What to do about each class of message.
    """

    def __init__(self, node: PeerId, peers: Peers, staffing: Staffing, storage: Storage) -> None:
        """Start without questions; ask the processes of these tables."""
        self.deadlines: Deadlines[int] = Deadlines()
        self.report: Callable[[int], str] = lambda now_ns: ""
        self.ask_others: Callable[[PeerId, ListState, int, list[Effect]], int]
        self.ask_others = lambda peer, said, now_ns, out: 0
        self.messages: dict[type, Callable[[PeerId, Any, int, list[Effect]], None]] = {
            ListState: self._on_list_state,
            StateRows: self.on_state_rows,
        }
        self._node = node
        self._peers = peers
        self._staffing = staffing
        self._storage = storage
        self._asked_count = 0
        #: Number -> question. Added by ``_on_list_state``; removed by ``_finish`` and ``died``.
        self.questions: dict[int, Question] = {}
        #: Process -> questions that it has not answered, open or not. Removed by its answers and
        #: its death.
        self._owed: dict[PeerId, int] = {}

    @property
    def owed_count(self) -> int:
        """Questions that processes have not answered, open or not."""
        return sum(self._owed.values())

    def died(self, peer: PeerId, out: list[Effect]) -> None:
        """A process is dead: nobody waits for it, and it waits for nothing."""
        self._owed.pop(peer, None)
        for number, question in list(self.questions.items()):
            if question.asker == peer:
                reached("question about state outlived by its answers")
                self._forget(number)
            elif peer in question.waiting:
                self._silent(question, peer, DIED)
                self._finish_if_over(number, question, out)

    def on_timer(self, now_ns: int, out: list[Effect]) -> None:
        """Wait no longer for those that are too late."""
        for number in self.deadlines.pop_due(now_ns):
            question = self.questions[number]
            silence = f"no answer within {question.patience_ns / SECOND:g} s"
            for peer in list(question.waiting):
                reached("process that did not say what it owns")
                self._silent(question, peer, silence)
            self._finish_if_over(number, question, out)

    def check(self) -> None:
        """Assert that each question waits for somebody, and not for ever."""
        assert len(self.questions) <= STATE_QUESTIONS_COUNT_MAX
        for number, question in self.questions.items():
            assert question.waiting, f"question {number} of {short(question.asker)} is over"
            assert number in self.deadlines, f"question {number} has no end"
            assert all(peer in self._owed for peer in question.waiting), number
        for peer, count in self._owed.items():
            assert 0 < count <= STATE_OWED_COUNT_MAX, short(peer)

    # -- messages ----------------------------------------------------------------------------------
    def _on_list_state(self, peer: PeerId, said: ListState, now_ns: int, out: list[Effect]) -> None:
        patience_ns = max(0, min(said.patience_ns, STATE_PATIENCE_NS_MAX))
        count = 1 + (self.ask_others(peer, said, now_ns, out) if said.everywhere else 0)
        if said.what == NODES:
            told = StateTold(said.query, self._node, (), count, "", self.report(now_ns))
            out.append(Send(peer, told))
            return
        question = Question(peer, said.query, patience_ns, self._processes(), count)
        if len(self.questions) >= STATE_QUESTIONS_COUNT_MAX:
            for name in question.processes:
                self._silent(question, name, BUSY)
            self._tell(question, out)
            return
        self._asked_count += 1
        number = self._asked_count
        for name in question.processes:
            silence = self._silence_of(name)
            if silence:
                self._silent(question, name, silence)
                continue
            question.waiting[name] = None
            self._owed[name] = self._owed.get(name, 0) + 1
            out.append(Send(name, TellState(number, said.what, said.limit)))
        self.questions[number] = question
        self.deadlines.set(number, now_ns + patience_ns)
        self._finish_if_over(number, question, out)

    def on_state_rows(self, peer: PeerId, said: StateRows, now_ns: int, out: list[Effect]) -> None:
        """A process of this node says what it owns, or a part of it."""
        if said.process != peer or peer not in self._owed:
            self._peers.refuse("state that nobody asked for", short(peer), out)
            return
        if said.is_last:
            self._owed[peer] -= 1
            if not self._owed[peer]:
                del self._owed[peer]
        question = self.questions.get(said.query)
        if question is None or peer not in question.waiting:
            reached("answer about state that came too late")
            return
        if self._peers.session.knows(question.asker):
            objects = tuple([self._placed(each) for each in said.objects])
            told = replace(said, query=question.query, objects=objects)
            out.append(Send(question.asker, told))
        if said.is_last:
            del question.waiting[peer]
            self._finish_if_over(said.query, question, out)

    # -- inside ------------------------------------------------------------------------------------
    def _processes(self) -> dict[PeerId, ProcessSaid]:
        """Return the drivers and workers that live."""
        found: dict[PeerId, ProcessSaid] = {}
        for job in self._staffing.jobs:
            if job.far_driver is not None:
                continue  # its own node asks it
            driver = ProcessSaid(job.driver, job.pid, True, job.job, "driver", "", "")
            found[job.driver] = driver
        for worker in self._staffing.pool.all():
            if worker.state is not WorkerState.DEAD:
                found[worker.worker] = self._worker_said(worker)
        return found

    def _worker_said(self, worker: Worker) -> ProcessSaid:
        lease = self._staffing.leases.get(worker.lease) if worker.lease is not None else None
        what = lease.what if lease is not None else ""
        state = worker.state.value
        return ProcessSaid(worker.worker, worker.pid, False, worker.job, state, what, "")

    def _silence_of(self, peer: PeerId) -> str:
        """Return why a process is not asked; empty if it is."""
        if not self._peers.session.knows(peer):
            return STARTING
        return OWING if self._owed.get(peer, 0) >= STATE_OWED_COUNT_MAX else ""

    def _placed(self, said: ObjectSaid) -> ObjectSaid:
        region = self._storage.rooms.objects.get(said.region)
        if region is None or region.state not in _ON_DISK:
            return said
        return replace(said, place=DISK)

    @staticmethod
    def _silent(question: Question, peer: PeerId, silence: str) -> None:
        question.waiting.pop(peer, None)
        question.processes[peer] = replace(question.processes[peer], silence=silence)

    def _finish_if_over(self, number: int, question: Question, out: list[Effect]) -> None:
        if not question.waiting:
            self._forget(number)
            self._tell(question, out)

    def _forget(self, number: int) -> None:
        del self.questions[number]
        self.deadlines.clear(number)

    def _tell(self, question: Question, out: list[Effect]) -> None:
        if self._peers.session.knows(question.asker):
            processes = tuple(question.processes.values())
            told = StateTold(question.query, self._node, processes, question.nodes_count)
            out.append(Send(question.asker, told))
