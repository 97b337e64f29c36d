"""`zgen node start / stop / drain / status`, `zgen keygen / status / list / memory / doctor …`."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from zgen import doctor, log_lines, node_commands, rekeying, trace_events
from zgen.chaos import command
from zgen.exceptions import ZgenError
from zgen.io import folders
from zgen.io.inquiry import query_state
from zgen.io.release import PYTHON, RELEASE
from zgen.io.spawn import find_node, started_nodes
from zgen.io.timeline import TIMELINE_VARIABLE
from zgen.overview import nodes_text, overview, overview_text
from zgen.stacks import stacks_json, stacks_text, worker_stacks
from zgen.state import check_bounds
from zgen.state_answers import Answers, listing, summary
from zgen.tables import listing_json, listing_text, summary_json, summary_text
from zgen.wire.state import KINDS, NODES, OBJECTS


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says and return the exit status."""
    given = parser().parse_args(arguments)
    try:
        status: int = given.run(given)
    except (ZgenError, ValueError, OSError) as error:
        print(f"zgen: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line; `docs/reference/command-line.md` is made from it."""
    parser = argparse.ArgumentParser(prog="zgen", description="Streaming generators over ZeroMQ.")
    parser.add_argument("--version", action="version", version=f"zgen {RELEASE}, Python {PYTHON}")
    commands = parser.add_subparsers(metavar="command", required=True)

    node_commands.add(commands.add_parser("node", help="run and inspect nodes of this machine"))

    listed = commands.add_parser("list", help="show what the processes of the cluster own")
    listed.add_argument("what", choices=(*KINDS, NODES))
    listed.set_defaults(run=_list)
    memory = commands.add_parser("memory", help="show objects and why each is held, with totals")
    memory.set_defaults(run=_memory)
    for asks in (listed, memory):
        asks.add_argument("--address", metavar="NODE", help="its folder; default: all of this user")
        asks.add_argument("--limit", type=int, default=100, metavar="N", help="rows at most")
        asks.add_argument("--timeout", type=float, default=5.0, metavar="S", help="each process")
        asks.add_argument("--json", action="store_true", help="for programs")

    whole = commands.add_parser("status", help="show the cluster: its nodes and what waits")
    whole.set_defaults(run=_overview)
    stack = commands.add_parser("stack", help="show where in their code the workers here are")
    stack.add_argument("--pid", type=int, metavar="PID", help="only this one")
    stack.set_defaults(run=_stack)
    for asks in (whole, stack):
        asks.add_argument("--address", metavar="NODE", help="whom to ask; default: all here")
        asks.add_argument("--timeout", type=float, default=5.0, metavar="S", help="for each node")
        asks.add_argument("--json", action="store_true", help="for programs")

    _add_logs(commands.add_parser("logs", help="show what nodes here and their workers print"))

    traced = commands.add_parser("timeline", help="write what processes here ran when, as a trace")
    traced.add_argument("file", nargs="?", metavar="FILE", help="a new file; default: print it")
    traced.add_argument("--address", metavar="NODE", help="its folder; default: all of this user")
    traced.add_argument("--json", action="store_true", help="for programs: say what was written")
    traced.set_defaults(run=_timeline)

    rekeying.add_keygen(commands.add_parser("keygen", help="make the key that nodes share"))
    rekeying.add_key(commands.add_parser("key", help="replace the key of a cluster that runs"))

    examine = commands.add_parser("doctor", help="check this machine, and the way to a node")
    examine.add_argument("--address", metavar="tcp://HOST:PORT", help="whom to reach")
    examine.add_argument("--key", metavar="FILE", help="the cluster's key; default: ZGEN_KEY")
    examine.add_argument("--json", action="store_true", help="for programs")
    examine.set_defaults(run=_doctor)

    command.add_to(commands)
    clean = commands.add_parser("clean", help="end and remove what killed nodes left behind")
    clean.add_argument("--json", action="store_true", help="for programs")
    clean.set_defaults(run=_clean)
    return parser


def _add_logs(logs: argparse.ArgumentParser) -> None:
    """Add the options of `zgen logs`."""
    logs.add_argument(
        "--node", "--address", metavar="NODE", help="its id or folder; default: all of this user"
    )
    logs.add_argument("--pid", type=int, metavar="PID", help="only this process")
    logs.add_argument("--worker", metavar="ID", help="only this worker, by its id's first digits")
    logs.add_argument("--tail", type=int, metavar="N", help="only the last N lines of what is kept")
    logs.add_argument(
        "-f", "--follow", action="store_true", help="go on with what comes, until Ctrl-C"
    )
    logs.add_argument(
        "--folder", metavar="DIR", help="read what `zgen node start --log-folder DIR` keeps"
    )
    logs.add_argument("--json", action="store_true", help="for programs: one object a line")
    logs.set_defaults(run=_logs)


def _overview(given: argparse.Namespace) -> int:
    """Show the cluster of this machine's nodes; or only its nodes."""
    found = [find_node(given.address)] if given.address else started_nodes(embedded=True)
    if not found:
        print("no node of this user runs here; start one with `zgen node start`", file=sys.stderr)
        return 1
    reports: dict[str, dict[str, Any]] = {}
    silent: dict[str, str] = {}
    for node in found:
        if node.address.peer.hex() not in reports:
            _, told = query_state(node.address, node.folder, NODES, 1, given.timeout)
            reports.update(
                {each.node.hex(): json.loads(each.report) for each in told if each.report}
            )
            silent.update({each.node.hex(): each.silence for each in told if each.silence})
    cluster = overview(list(reports.values()), silent)
    only_nodes = getattr(given, "what", None) == NODES
    if given.json:
        print(json.dumps(cluster["nodes"] if only_nodes else cluster, indent=2))
    else:
        print(nodes_text(cluster["nodes"]) if only_nodes else overview_text(cluster))
    return 0


def _list(given: argparse.Namespace) -> int:
    """Show what the processes of the cluster own, or its nodes."""
    if given.what == NODES:
        return _overview(given)
    nodes, failed = _asked(given.what, given)
    rows = listing(given.what, nodes, given.limit)
    if given.json:
        print(json.dumps(listing_json(rows), indent=2))
    elif nodes:
        print(listing_text(given.what, rows))
    return failed or not nodes


def _memory(given: argparse.Namespace) -> int:
    """Show the objects of the cluster, why each is held, and totals."""
    nodes, failed = _asked(OBJECTS, given)
    found = summary(nodes, given.limit)
    if given.json:
        print(json.dumps(summary_json(found), indent=2))
    elif nodes:
        print(summary_text(found))
    return failed or not nodes


def _stack(given: argparse.Namespace) -> int:
    """Show where in their code the workers of this machine's nodes are."""
    check_bounds(1, given.timeout)
    found = worker_stacks(given.address, given.pid, given.timeout)
    print(json.dumps(stacks_json(found), indent=2) if given.json else stacks_text(found))
    return int(any(worker.silence for worker in found))


def _asked(what: str, given: argparse.Namespace) -> tuple[list[Answers], bool]:
    """Return what the clusters of this machine's nodes say, and whether a node said nothing."""
    check_bounds(given.limit, given.timeout)
    found = [find_node(given.address)] if given.address else started_nodes(embedded=True)
    answers: list[Answers] = []
    failed = False
    for node in found:
        if any(node.address.peer.hex() in known.nodes for known in answers):
            continue  # of the same cluster
        try:
            parts = query_state(node.address, node.folder, what, given.limit, given.timeout)
        except ZgenError as error:
            failed = True
            print(f"zgen: {error}", file=sys.stderr)
        else:
            answers.append(Answers(*parts))
    if not found:
        print("no node of this user runs here", file=sys.stderr)
    return answers, failed


def _doctor(given: argparse.Namespace) -> int:
    """Say what is wrong with this machine, or with the way to a node."""
    found = doctor.examine(given.address, given.key)
    if given.json:
        print(json.dumps(doctor.findings_json(found), indent=2))
    else:
        print(doctor.findings_text(found))
    return 0 if doctor.is_well(found) else 1


def _logs(given: argparse.Namespace) -> int:
    """Show what the nodes of this machine and their workers print."""
    if given.tail is not None and given.tail < 0:
        raise ValueError(f"--tail must be at least 0, got {given.tail}")
    choice = log_lines.LogChoice(given.node, given.pid, given.worker, given.folder)
    told = log_lines.line_json if given.json else log_lines.line_text
    try:
        for line in log_lines.log_lines(choice, given.tail, given.follow):
            print(told(line), flush=given.follow)
        sys.stdout.flush()
    except BrokenPipeError:  # who read it wants no more, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _timeline(given: argparse.Namespace) -> int:
    """Write what the processes of this machine's nodes ran when, for Perfetto."""
    nodes = [find_node(given.address)] if given.address else started_nodes(embedded=True)
    events = trace_events.trace_events([node.folder for node in nodes])
    if not events:
        raise ValueError(
            "nothing is noted by programs of this user that run here: start them with "
            f"zgen.init(timeline=True) or {TIMELINE_VARIABLE}=1"
        )
    if given.file is None:
        print(trace_events.trace_text(events), end="")
        return 0
    trace_events.write(given.file, events)
    count = len({event["pid"] for event in events})
    if given.json:
        print(json.dumps({"file": given.file, "events": len(events), "processes": count}))
    else:
        print(f"{given.file}: {len(events)} events of {count} processes; open it in Perfetto")
    return 0


def _clean(given: argparse.Namespace) -> int:
    """End and remove what dead nodes of this user left behind."""
    removed = folders.sweep()
    if given.json:
        print(json.dumps({"removed": removed}, indent=2))
    else:
        for folder in removed:
            print(f"removed {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
