"""`zgen stack`: where in their code the workers of this machine are, as text and as JSON."""

import os
import re
from dataclasses import asdict, dataclass
from typing import Any, Final

from zgen.io import stacks
from zgen.io.inquiry import query_node
from zgen.io.spawn import NodeFacts, find_node, started_nodes

_HEAD: Final = re.compile(r"(?:Current t|T)hread 0x([0-9a-f]+) .*\(most recent call first\):")
_FRAME: Final = re.compile(r'  File "?(.*?)"?, line (\d+|\?\?\?) in (.*)')
_NAME: Final = re.compile(rf"{stacks.NAME}([0-9a-f]+) (.*)")
#: What the thread runs that tells; it is left out.
_TELLING: Final = stacks.tell_when_asked.__name__


@dataclass(frozen=True)
class Call:
    """One call of a stack.

    Attributes:
        file: File of the code.
        line: Line that it is at; 0 if that is not known.
        function: Its name.
    """

    file: str
    line: int
    function: str


@dataclass(frozen=True)
class ThreadStack:
    """Where one thread is.

    Attributes:
        name: Its name; empty if that is not known.
        ident: Its number, as Python's ``threading.get_ident``.
        calls: The most recent one first.
        more: Whether there are others that were not told.
    """

    name: str
    ident: int
    calls: tuple[Call, ...]
    more: bool


@dataclass(frozen=True)
class WorkerStacks:
    """Where one worker is.

    Attributes:
        pid: Its process id.
        worker_id: Its id.
        node_id: Its node.
        job_id: Its job.
        state: What it does, in the node's words.
        works_on: What its lease was asked for; empty if it has none.
        forced: Whether it could not tell by itself, since C code keeps the interpreter.
        silence: Why nothing is known; empty if it is.
        threads: Its threads, the newest first, as far as they run Python.
    """

    pid: int
    worker_id: str
    node_id: str
    job_id: str
    state: str
    works_on: str
    forced: bool = False
    silence: str = ""
    threads: tuple[ThreadStack, ...] = ()


def worker_stacks(address: str | None, pid: int | None, patience_s: float) -> list[WorkerStacks]:
    """Return where the workers of this machine's nodes are.

    Args:
        address: Folder of a node; None for all of this user.
        pid: The only worker that is asked; None for all.
        patience_s: How long to wait for each node, and then for all workers.

    Raises:
        NodeStartError: A node does not answer.
        ValueError: No node runs here, or none has such a worker.
    """
    nodes = [find_node(address)] if address else started_nodes(embedded=True)
    rows = [row for node in nodes for row in _rows(node, patience_s) if pid in (None, row["pid"])]
    if pid is not None and not rows:
        raise ValueError(_stranger(pid))
    if not nodes:
        raise ValueError("no node of this user runs here")
    told = stacks.ask([row["pid"] for row in rows], patience_s)
    return [_found(row, told[row["pid"]]) for row in rows]


def _rows(node: NodeFacts, patience_s: float) -> list[dict[str, Any]]:
    """Return what a node says of its workers."""
    state = query_node(node.address, node.folder, patience_s)
    leased = {lease["worker"]: lease["what"] for lease in state["leases"]}
    return [
        {
            "pid": worker["pid"],
            "worker_id": worker["worker"],
            "node_id": state["node"],
            "job_id": worker["job"],
            "state": worker["state"],
            "works_on": leased.get(worker["worker"], ""),
        }
        for worker in state["workers"]
        if worker["pid"]
    ]


def _stranger(pid: int) -> str:
    """Return why a process is not asked."""
    try:
        owner = os.stat(f"/proc/{pid}").st_uid
    except FileNotFoundError:
        return f"no process {pid} runs here"
    if owner != os.geteuid():
        return f"process {pid} belongs to user {owner}; ask as that user"
    return f"process {pid} is no worker of this user's nodes; `zgen list workers` shows those"


def _found(row: dict[str, Any], told: stacks.Told) -> WorkerStacks:
    threads = parse(told.text, told.forced)
    return WorkerStacks(**row, forced=told.forced, silence=told.silence, threads=threads)


def parse(text: str, forced: bool) -> tuple[ThreadStack, ...]:
    """Return the stacks in a text of ``faulthandler``, and the names of their threads after them.

    Args:
        text: The text.
        forced: Whether it has no names; the oldest thread is the main thread even so.
    """
    calls: dict[int, list[Call]] = {}
    cut: dict[int, None] = {}
    names: dict[int, str] = {}
    ident = 0
    for line in text.splitlines():
        if head := _HEAD.match(line):
            ident = int(head[1], 16)
            calls[ident] = []
        elif named := _NAME.match(line):
            names[int(named[1], 16)] = named[2]
        elif call := _FRAME.match(line):
            number = 0 if call[2] == "???" else int(call[2])
            calls.setdefault(ident, []).append(Call(call[1], number, call[3]))
        elif line.strip() == "...":
            cut[ident if line.startswith(" ") else 0] = None  # of this stack, or of threads
    if forced and calls and 0 not in cut:
        names[next(reversed(calls))] = "MainThread"
    return tuple(
        ThreadStack(names.get(ident, ""), ident, tuple(stack), ident in cut)
        for ident, stack in calls.items()
        if [call.function for call in stack] != [_TELLING]
    )


def stacks_text(found: list[WorkerStacks]) -> str:
    """Return stacks for people."""
    return "\n\n".join("\n".join(_worker_lines(worker)) for worker in found) or "no worker runs"


def _worker_lines(worker: WorkerStacks) -> list[str]:
    works = f", {worker.works_on}" if worker.works_on else ""
    lines = [f"worker pid={worker.pid} of node {worker.node_id[:8]}: {worker.state}{works}"]
    if worker.silence:
        lines.append(f"  not known: {worker.silence}")
    if worker.forced:
        lines.append("  C code keeps the interpreter")
    for thread in worker.threads:
        lines.append(f"  {thread.name or f'thread {thread.ident:#x}'} (most recent call first)")
        lines += [_call_line(call) for call in thread.calls]
        lines += ["    ..."] * thread.more
    return lines


def _call_line(call: Call) -> str:
    return f'    File "{call.file}", line {call.line or "?"}, in {call.function}'


def stacks_json(found: list[WorkerStacks]) -> list[dict[str, Any]]:
    """Return stacks for programs."""
    return [asdict(worker) for worker in found]
