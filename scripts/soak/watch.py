"""Watches a soak: logs of its nodes, deaths that no fault explains, and what hangs."""

from __future__ import annotations

import faulthandler
import os
import re
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Final

import zgen
from scripts.soak.schedule import KINDS, Fault
from scripts.soak.tally import Tally
from zgen import stacks
from zgen.exceptions import ZgenError
from zgen.io import folders
from zgen.io.inquiry import query_node
from zgen.io.spawn import started_nodes
from zgen.testing import Node

#: How often logs are read: what is noticed is told up to that much too late.
_LOOK_S: Final = 0.1
#: How long after a fault nodes may still say what they made of it, in seconds.
_AFTER_S: Final = 20.0
#: How long a node is silent before others may hold it for dead, in seconds.
_SILENT_S: Final = 5.0
_NEVER_S: Final = float("inf")
_GONE: Final = re.compile(r"node ([0-9a-f]{8})[0-9a-f]* is gone: (.*)")
_DIED: Final = re.compile(r"worker pid=(\d+) died of signal 9")
#: What only a bug writes.
_BROKEN: Final = re.compile(r"InternalError|AssertionError|zgen is broken|Traceback")


class Watch:
    """Reads the logs of all nodes of this user as they are written."""

    def __init__(self, tally: Tally, dumps: Path) -> None:
        """Write what explains a hang to ``dumps``."""
        self._tally = tally
        self._dumps = dumps
        self._lock = threading.Lock()
        #: First digits of a node's id -> the fault that befell it last, from when to when.
        self._away: dict[str, tuple[Fault, float, float]] = {}
        #: Who has noticed the fault that befell a node last: observer, tag, when it began.
        self._noticed: dict[tuple[str, str, float], None] = {}
        #: Pid of a worker that was killed -> when. Removed when its node says so.
        self._killed: dict[int, float] = {}
        self._read: dict[str, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Read no more."""
        self._stop.set()
        self._thread.join()

    def excuse(self, fault: Fault, nodes: list[Node]) -> None:
        """Take note of who may be held for dead, and by whom, because of a fault."""
        with self._lock:
            for node in nodes if fault.lasts_s else ():
                self._away[_tag(node)] = fault, self._tally.now_s, _NEVER_S

    def killed(self, pid: int) -> None:
        """Take note that a worker was killed."""
        with self._lock:
            self._killed[pid] = self._tally.now_s

    def over(self, fault: Fault) -> None:
        """Take note that a fault is over."""
        with self._lock:
            for tag, (other, began_s, _) in self._away.items():
                if other is fault:
                    self._away[tag] = fault, began_s, self._tally.now_s

    def settle(self) -> None:
        """Take note that all faults are over."""
        with self._lock:
            for tag, (fault, began_s, ended_s) in self._away.items():
                self._away[tag] = fault, began_s, min(ended_s, self._tally.now_s)

    def _may_be_dead(self, tag: str) -> bool:
        """Return whether a node was away for good, or so long that others may think so."""
        if tag not in self._away:
            return False
        fault, began_s, ended_s = self._away[tag]
        kind = KINDS[fault.kind]
        return kind.is_away or min(ended_s, self._tally.now_s) - began_s > _SILENT_S

    def _is_lonely(self, tag: str) -> bool:
        """Return whether a node may hold any other one for dead, as it did not hear of them."""
        return self._may_be_dead(tag) and self._tally.now_s < self._away[tag][2] + _AFTER_S

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_S):
            for facts in folders.living_nodes():
                self._follow(Path(facts["folder"]))

    def _follow(self, folder: Path) -> None:
        path = folder / folders.LOG_FILE
        at = self._read.get(folder.name, 0)
        try:
            with path.open("rb") as file:
                file.seek(at)
                text = file.read()
        except OSError:
            return
        whole = text[: text.rfind(b"\n") + 1]
        self._read[folder.name] = at + len(whole)
        observer = folder.name.removeprefix(folders.NODE_PREFIX)
        for line in whole.decode(errors="replace").splitlines():
            self._take(observer, line)
            with (self._dumps / "nodes.log").open("a", encoding="utf-8") as out:
                out.write(f"{self._tally.now_s:7.1f} s {observer} {line}\n")

    def _take(self, observer: str, line: str) -> None:
        if found := _GONE.search(line):
            if found[2] == "left":  # it said so itself; one that starts too late is ended
                return
            with self._lock:
                lonely = self._is_lonely(observer)
                expected = self._may_be_dead(found[1]) or lonely
                if not lonely:
                    self._note_death(observer, found[1])
            if not expected:
                self._tally.wrong("false deaths", f"node {observer} says: {line}")
        elif found := _DIED.search(line):
            with self._lock:
                at_s = self._killed.pop(int(found[1]), None)
            if at_s is not None:
                self._tally.noticed("worker killed", self._tally.now_s - at_s)
        elif _BROKEN.search(line):
            self._tally.wrong("wrong", f"log of node {observer}: {line}")

    def _note_death(self, observer: str, tag: str) -> None:
        """Count how soon one node knew of the death or silence of another, for the first time."""
        fault, began_s, _ = self._away.get(tag, (None, 0.0, 0.0))
        key = observer, tag, began_s
        if fault is None or not KINDS[fault.kind].is_away or key in self._noticed:
            return
        self._noticed[key] = None
        silent = fault.kind in ("sleep", "cut", "split")
        what = "node silent, held for dead by another" if silent else "node killed, by another"
        self._tally.noticed(what, self._tally.now_s - began_s)

    def dump(self, name: str, told: str) -> Path:
        """Write down all that may explain a hang; return where."""
        path = self._dumps / f"{re.sub(r'[^0-9a-z]+', '-', name)}.txt"
        with path.open("w", encoding="utf-8") as file:
            file.write(f"{name}: {told}\n\n")
            file.flush()
            faulthandler.dump_traceback(file, all_threads=True)
            for what in ("tasks", "streams", "actors", "objects", "workers"):
                file.write(f"\n--- {what}\n")
                for row in _listed(what):
                    file.write(f"{row}\n")
            for facts in started_nodes(embedded=True):
                file.write(f"\n--- node {facts.folder}\n{_state(facts)}\n")
            file.write(f"\n--- stacks\n{_stacks()}\n")
        return path


def _tag(node: Node) -> str:
    return node.node_id[:8]


def _listed(what: str) -> list[Any]:
    try:
        found = getattr(zgen.state, f"list_{what}")(limit=500, timeout=3)
    except ZgenError as error:
        return [f"not known: {error}"]
    return [*found, f"total {found.total}, silent {found.silent}"]


def _state(facts: Any) -> Any:
    try:
        return query_node(facts.address, facts.folder, 2.0)
    except ZgenError as error:
        return f"not known: {error}"


def _stacks() -> str:
    try:
        return stacks.stacks_text(stacks.worker_stacks(None, None, 3.0))
    except (ZgenError, ValueError) as error:
        return f"not known: {error}"


def folder_for_dumps() -> Path:
    """Return a new folder for what explains hangs."""
    return Path(tempfile.mkdtemp(prefix=f"zgen-soak-{os.getpid()}-{int(time.time())}-"))
