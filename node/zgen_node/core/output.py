"""What workers print and how the node fares, on its way to drivers and tools.

Rules of this file: a driver gets the lines of its own workers, in order, and is told of those that
were lost; the answer to its question comes behind every line that was printed before it asked.
"""

import json
from collections.abc import Callable
from typing import Any, Final

from zgen.core.effects import Effect, Send
from zgen.core.events import LinesFlushed, WorkerPrinted
from zgen.core.marks import reached
from zgen.core.node_effects import FlushLines
from zgen.ids import PeerId
from zgen.limits import LOG_BACKLOG_BYTES_MAX, MS
from zgen.wire.cluster import JobPrinted, NodeState
from zgen.wire.lease import LogLines, NodeReport, QueryNode
from zgen.wire.session import Address
from zgen_node.core.node_report import node_report
from zgen_node.core.peers import Peers
from zgen_node.core.staffing import Staffing
from zgen_node.core.storage import Storage


class Output:
    """Lines and reports of one node.

    Attributes:
        handlers: What to do about the events that concern it.
        draining: Says what keeps a node that drains, and for how many ns at most; None of others.
        keys: Says what keys it has.
    """

    def __init__(
        self,
        address: Address,
        peers: Peers,
        staffing: Staffing,
        storage: Storage,
        nodes: Callable[[], list[NodeState]],
    ) -> None:
        """Tell of these; ``nodes`` says how all nodes fare, this one first."""
        self.handlers: Final[dict[type, Callable[[Any, int, list[Effect]], None]]] = {
            WorkerPrinted: self._on_worker_printed,
            LinesFlushed: self._on_lines_flushed,
        }
        self.draining: Callable[[int], tuple[str, int] | None] = lambda now_ns: None
        self.keys: Callable[[], dict[str, Any]] = dict
        self._address = address
        self._peers = peers
        self._staffing = staffing
        self._storage = storage
        self._nodes = nodes

    def _on_worker_printed(self, event: WorkerPrinted, now_ns: int, out: list[Effect]) -> None:
        worker = self._staffing.pool.get(event.worker)
        job = self._staffing.jobs.get(worker.job) if worker is not None else None
        if worker is None or job is None:
            reached("lines of a worker without a driver dropped")
            return
        size_bytes = sum(len(line.encode(errors="replace")) for line in event.lines)
        waiting_bytes = self._peers.session.item_bytes_unacked(job.printed_to)
        if waiting_bytes and waiting_bytes + size_bytes > LOG_BACKLOG_BYTES_MAX:
            reached("lines for a slow driver dropped")
            job.lines_dropped += event.dropped + len(event.lines)
            return
        dropped = job.lines_dropped + event.dropped
        job.lines_dropped = 0
        lines: LogLines | JobPrinted = LogLines(worker.pid, event.is_error, event.lines, dropped)
        if job.far_driver is not None:
            lines = JobPrinted(job.job, worker.pid, event.is_error, event.lines, dropped)
        out.append(Send(job.printed_to, lines, item_bytes=size_bytes))

    def on_query(self, peer: PeerId, said: QueryNode, now_ns: int, out: list[Effect]) -> None:
        """Answer a question about the node's state, to a driver behind its workers' last lines."""
        job = self._staffing.jobs.of_driver(peer)
        workers = self._staffing.pool.of_job(job.job) if job is not None else []
        if workers:
            names = tuple(worker.worker for worker in workers)
            out.append(FlushLines(names, peer, said.query))  # the answer comes behind their lines
        else:
            self.answer(peer, said.query, now_ns, out)

    def _on_lines_flushed(self, event: LinesFlushed, now_ns: int, out: list[Effect]) -> None:
        self.answer(event.peer, event.query, now_ns, out)

    def answer(self, peer: PeerId, query: int, now_ns: int, out: list[Effect]) -> None:
        """Tell how the node fares."""
        out.append(Send(peer, NodeReport(query, self.text(now_ns))))

    def text(self, now_ns: int) -> str:
        """Return how the node fares, as JSON."""
        counts = self._peers.session.counts
        state = node_report(
            self._address, self._staffing, self._storage, self._nodes(), counts, now_ns
        )
        state["keys"] = self.keys()
        if (kept := self.draining(now_ns)) is not None:
            state["draining"] = {"waits_for": kept[0], "left_ms": kept[1] // MS}
        return json.dumps(state)
