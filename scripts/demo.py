"""The main job: generators stream parsed source files while their workers are killed.

Four remote generators read the Python standard library's own source files and yield a record for
each. Twice, in the middle of a stream, the demo kills the worker that runs it with SIGKILL; with
``--nodes`` they run on several nodes instead, and in the middle it kills all processes of the first
one, by which this program joined. Then the same records are computed here, one after the other, and
compared: nothing may be lost, repeated, out of order or different. The exit status tells;
`make demo` and `make demo NODES=3` run this.
"""

from __future__ import annotations

import argparse
import ast
import collections
import contextlib
import io
import os
import signal
import sys
import sysconfig
import tempfile
import time
import tokenize
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import zgen
from zgen.testing import Cluster

#: A stream has at most this many files, so that a kill makes seconds run again, not minutes.
STREAM_FILES_MAX: Final = 200

#: Streams to kill, and the share of its files after which that happens.
KILLS: Final = {0: 0.35, 2: 0.70}

#: The share of all files after which the first node is killed.
NODE_KILL: Final = 0.35

#: Nothing arriving for this long means that the demo has failed.
PATIENCE_S: Final = 60.0

#: What is yielded: plain data, so that records of workers and of this process compare equal.
Record = dict[str, Any]


def analyse(path: str, name: str) -> Record:
    """Parse one source file: what it imports, its functions, its tokens by kind.

    A file that is no valid Python (the library has some, to test converters with) gives a record
    too, with the error in it.
    """
    record: Record = {"file": name, "imports": [], "functions": [], "tokens": {}, "error": ""}
    source = Path(path).read_bytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nodes = list(ast.walk(ast.parse(source, name)))
        kinds: collections.Counter[str] = collections.Counter()
        for token in tokenize.tokenize(io.BytesIO(source).readline):
            kinds[tokenize.tok_name[token.exact_type]] += 1
    except (SyntaxError, ValueError, tokenize.TokenError) as error:
        record["error"] = f"{type(error).__name__}: {error}"
        return record
    imported = [
        alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names
    ]
    imported += [node.module or "." for node in nodes if isinstance(node, ast.ImportFrom)]
    record["imports"] = sorted(set(imported))
    record["functions"] = sorted(
        node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    record["tokens"] = dict(sorted(kinds.items()))
    return record


@zgen.remote
def parse(
    stream: int, root: str, names: list[str], ledger: str
) -> Iterator[tuple[int, str, Record]]:
    """Yield a record for each file, with the process and the node that computed it.

    Each computation is also noted in a ledger on disk, which no retry can make undone: it shows
    what was run a second time, of which the caller sees nothing.
    """
    node = zgen.get_runtime_context().get_node_id()
    with open(ledger, "ab", buffering=0) as notes:
        for index, name in enumerate(names):
            record = analyse(os.path.join(root, name), name)
            notes.write(f"{stream} {index} {os.getpid()}\n".encode())
            yield os.getpid(), node, record


@dataclass(slots=True)
class Kill:
    """A worker that was killed, and what came after.

    Attributes:
        stream: the stream whose body it ran.
        pid: its process.
        index: how many items of the stream had arrived.
        at_s: when, by the monotonic clock.
        resumed_after_s: time to the first item of its successor; 0 until it has come.
    """

    stream: int
    pid: int
    index: int
    at_s: float
    resumed_after_s: float = 0.0


@dataclass(slots=True)
class Run:
    """What has arrived so far.

    Attributes:
        names: the files of each stream.
        cluster: the nodes, if the first of them is to be killed rather than two workers.
        records: what each stream has given, in the order of arrival.
        places: stream -> process and node of its last item.
        kills: the kills so far.
        died: what was killed, in words.
    """

    names: list[list[str]]
    cluster: Cluster | None = None
    records: list[list[Record]] = field(init=False)
    places: dict[int, tuple[int, str]] = field(default_factory=dict)
    died: list[str] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)
    began_s: float = field(default_factory=time.monotonic)
    first_item_s: float = 0.0
    ended_s: float = 0.0

    def __post_init__(self) -> None:
        self.records = [[] for _ in self.names]

    def arrived(self) -> int:
        """Count the items of all streams."""
        return sum(map(len, self.records))

    def take(self, stream: int, pid: int, node: str, record: Record, line: Progress) -> None:
        """Enter one item; kill somebody if that is due, and see whether work resumed."""
        now_s = time.monotonic()
        self.first_item_s = self.first_item_s or now_s - self.began_s
        self.records[stream].append(record)
        self.places[stream] = pid, node
        count, total = len(self.records[stream]), len(self.names[stream])
        for kill in self.kills:
            if kill.stream == stream and kill.pid != pid and not kill.resumed_after_s:
                kill.resumed_after_s = now_s - kill.at_s
                line.say(
                    f"  stream {stream} goes on with item {count} of {total} from worker {pid}, "
                    f"{kill.resumed_after_s:.2f} s after the kill"
                )
        if self.cluster is not None:
            self._kill_first_node(self.cluster, line)
        elif stream in KILLS and count >= KILLS[stream] * total:
            self._kill_worker(stream, pid, line)

    def _kill_worker(self, stream: int, pid: int, line: Progress) -> None:
        if any(kill.stream == stream for kill in self.kills):
            return
        count, total = len(self.records[stream]), len(self.names[stream])
        os.kill(pid, signal.SIGKILL)
        self.kills.append(Kill(stream, pid, count, time.monotonic()))
        self.died.append(f"worker {pid}")
        line.say(f"  SIGKILL to worker {pid} after item {count} of {total} of stream {stream}")

    def _kill_first_node(self, cluster: Cluster, line: Progress) -> None:
        """Kill the node that the program joined by, once it is in the midst of some stream."""
        if self.died or self.arrived() < NODE_KILL * sum(map(len, self.names)):
            return
        first = cluster.nodes[0]
        hit = [
            stream
            for stream, (_, node) in self.places.items()
            if node == first.node_id and len(self.records[stream]) < len(self.names[stream])
        ]
        if not hit:
            return
        began_s = time.monotonic()
        who = f"node {first.node_id[:8]} at {first.address}"
        cluster.remove_node(first)
        for stream in sorted(hit):
            pid = self.places[stream][0]
            self.kills.append(Kill(stream, pid, len(self.records[stream]), began_s))
        self.died.append(who)
        streams = ", ".join(str(stream) for stream in sorted(hit))
        line.say(
            f"  SIGKILL to all processes of {who}, the first one and the one that this program "
            f"joined by; it ran streams {streams}"
        )


class Progress:
    """One line that is rewritten on a terminal; elsewhere a line every few seconds."""

    def __init__(self, title: str, total: int) -> None:
        self._title = title
        self._total = total
        self._began_s = time.monotonic()
        self._live = sys.stdout.isatty()
        self._pause_s = 0.1 if self._live else 2.0
        self._shown_s = self._began_s

    def show(self, count: int, last: bool = False) -> None:
        """Show how far it is, unless that was shown a moment ago."""
        now_s = time.monotonic()
        if not last and now_s - self._shown_s < self._pause_s:
            return
        self._shown_s = now_s
        filled = 30 * count // max(1, self._total)
        rate = count / max(1e-9, now_s - self._began_s)
        text = f"{self._title} [{'#' * filled:<30}] {count}/{self._total} files, {rate:.0f} items/s"
        print(f"\r{text}\033[K" if self._live else text, end="", flush=self._live)
        if last or not self._live:
            print(flush=True)

    def say(self, text: str) -> None:
        """Print a line that stays."""
        print(f"\r\033[K{text}" if self._live else text, flush=True)


def choose_files(root: Path, count: int) -> list[str]:
    """Choose that many source files, spread evenly over the library."""
    skipped = ("test", "site-packages", "dist-packages")
    names = sorted(
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if path.relative_to(root).parts[0] not in skipped
    )
    count = min(count, len(names))
    return [names[index * len(names) // count] for index in range(count)]


def share_out(names: Sequence[str], streams: int) -> list[list[str]]:
    """Deal files out like cards, so that streams have about the same work."""
    return [list(names[stream::streams]) for stream in range(streams)]


def stream_all(run: Run, root: Path, ledger: str) -> None:
    """Open all streams at once and take items as they come, whichever stream they are of."""
    line = Progress("streams", sum(map(len, run.names)))
    run.began_s = time.monotonic()
    spread = parse.options(scheduling_strategy="SPREAD")
    opened = [
        (spread.remote(stream, str(root), names, ledger), stream)
        for stream, names in enumerate(run.names)
    ]
    while opened:
        ready, _ = zgen.wait([items for items, _ in opened], timeout=PATIENCE_S)
        if not ready:
            raise TimeoutError(f"no stream gave anything for {PATIENCE_S:.0f} s")
        position = next(at for at, (items, _) in enumerate(opened) if items is ready[0])
        items, stream = opened.pop(position)
        try:
            ref = next(items)
        except StopIteration:
            continue
        pid, node, record = zgen.get(ref)
        run.take(stream, pid, node, record, line)
        line.show(run.arrived())
        opened.append((items, stream))  # at the end, so that every stream has its turn
    run.ended_s = time.monotonic()
    line.show(run.arrived(), last=True)


def compute_serially(names: list[list[str]], root: Path) -> list[list[Record]]:
    """Compute the same records in this process."""
    line = Progress("serial ", sum(map(len, names)))
    records: list[list[Record]] = [[] for _ in names]
    for stream, mine in enumerate(names):
        for name in mine:
            records[stream].append(analyse(str(root / name), name))
            line.show(sum(map(len, records)))
    line.show(sum(map(len, records)), last=True)
    return records


def landed(kill: Kill, run: Run, executions: list[tuple[int, int, int]]) -> bool:
    """Tell whether a kill hit a worker in the midst of its stream and made work run again."""
    last = len(run.names[kill.stream]) - 1
    by_victim = [
        index for stream, index, pid in executions if (stream, pid) == (kill.stream, kill.pid)
    ]
    again = [
        index
        for stream, index, pid in executions
        if stream == kill.stream and pid != kill.pid and index in by_victim
    ]
    return bool(by_victim and max(by_victim) < last and again and kill.resumed_after_s)


def read_ledger(path: str) -> list[tuple[int, int, int]]:
    """Read what was computed where: stream, index, process."""
    rows = (row.split() for row in Path(path).read_text().splitlines())
    return [(int(stream), int(index), int(pid)) for stream, index, pid in rows]


def judge(run: Run, expected: list[list[Record]], executions: list[tuple[int, int, int]]) -> bool:
    """Compare the streams with the serial computation and print the outcome."""
    equal = run.records == expected
    lost = repeated = 0
    for records, mine in zip(run.records, run.names, strict=True):
        seen = collections.Counter(record["file"] for record in records)
        lost += sum(1 for name in mine if not seen[name])
        repeated += sum(count - 1 for count in seen.values())
    hits = sum(landed(kill, run, executions) for kill in run.kills)
    again = len(executions) - len({(stream, index) for stream, index, _ in executions})
    print(
        f"equal: {'yes' if equal else 'NO'}, lost: {lost}, repeated: {repeated}, "
        f"kills: {hits}, items re-executed: {again}"
    )
    enough = hits > 0 if run.cluster is not None else hits == len(KILLS)
    if not enough:
        print(f"only {hits} kills hit a worker at work and made it run again")
    return equal and lost == 0 and repeated == 0 and enough and again > 0


def summarise(run: Run) -> None:
    """Print what the streams amounted to."""
    print(f"died: {', '.join(run.died) or 'nobody'}")
    records = [record for records in run.records for record in records]
    elapsed_s = run.ended_s - run.began_s
    print(
        f"{len(records)} records in {elapsed_s:.1f} s, {len(records) / elapsed_s:.0f} items/s, "
        f"first item after {run.first_item_s:.2f} s"
    )
    print(
        f"{sum(sum(record['tokens'].values()) for record in records):,} tokens, "
        f"{sum(len(record['functions']) for record in records):,} functions, "
        f"{len({name for record in records for name in record['imports']}):,} modules imported, "
        f"{sum(bool(record['error']) for record in records)} files that are no valid Python"
    )


@contextlib.contextmanager
def joined(streams: int, nodes: int) -> Iterator[Cluster | None]:
    """Start zgen here, or on so many nodes that all streams find room when one of them is gone."""
    if nodes < 2:
        zgen.init(num_cpus=streams)
        try:
            yield None
        finally:
            zgen.shutdown()
        return
    with Cluster() as cluster:
        for _ in range(nodes):
            cluster.add_node(num_cpus=-(-streams // (nodes - 1)))
        cluster.wait_for_nodes()
        zgen.init(address=cluster.address, key=cluster.key)
        try:
            yield cluster
        finally:
            zgen.shutdown()


def main() -> int:
    """Run the demo and tell by the exit status whether all was well."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=600, help="how many files to parse")
    parser.add_argument("--nodes", type=int, default=1, help="how many nodes to run on")
    wanted = parser.parse_args()
    root = Path(sysconfig.get_path("stdlib"))
    names = choose_files(root, wanted.files)
    streams = max(len(KILLS) + 2, -(-len(names) // STREAM_FILES_MAX))
    run = Run(share_out(names, streams))
    whom = f"{len(KILLS)} workers" if wanted.nodes < 2 else f"the first of {wanted.nodes} nodes"
    print(f"{len(names)} files of {root}, {streams} streams, {whom} to be killed")
    with tempfile.TemporaryDirectory(prefix="zgen-demo-") as folder:
        ledger = os.path.join(folder, "ledger.txt")
        with joined(streams, wanted.nodes) as run.cluster:
            stream_all(run, root, ledger)
        executions = read_ledger(ledger)
    summarise(run)
    expected = compute_serially(run.names, root)
    return 0 if judge(run, expected, executions) else 1


if __name__ == "__main__":
    sys.exit(main())
