"""`zgen node start / stop / drain / status`, `zgen keygen / status / list / memory / doctor …`."""

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from types import FrameType
from typing import Any

from zgen import doctor, rekeying
from zgen.exceptions import ZgenError
from zgen.io import folders, leaving
from zgen.io.exposure import CLOSED, Opening, check_opening
from zgen.io.inquiry import drain_node, query_node, query_state
from zgen.io.joining import opening_to_join
from zgen.io.release import PYTHON, RELEASE
from zgen.io.spawn import (
    NodeFacts,
    default_num_cpus,
    find_node,
    start_node,
    started_nodes,
    stop_started,
)
from zgen.limits import DRAIN_NS, SECOND
from zgen.overview import node_text, nodes_text, overview, overview_text
from zgen.stacks import stacks_json, stacks_text, worker_stacks
from zgen.state import check_bounds
from zgen.state_answers import Answers, listing, summary
from zgen.tables import listing_json, listing_text, summary_json, summary_text
from zgen.wire.state import KINDS, NODES, OBJECTS


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says and return the exit status."""
    given = _parser().parse_args(arguments)
    try:
        status: int = given.run(given)
    except (ZgenError, ValueError) as error:
        print(f"zgen: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="zgen", description="Streaming generators over ZeroMQ.")
    parser.add_argument("--version", action="version", version=f"zgen {RELEASE}, Python {PYTHON}")
    commands = parser.add_subparsers(metavar="command", required=True)

    node = commands.add_parser("node", help="run and inspect nodes of this machine")
    actions = node.add_subparsers(metavar="action", required=True)
    _add_start(actions.add_parser("start", help="run a node in the foreground until Ctrl-C"))
    stop = actions.add_parser("stop", help="stop the nodes that this user started")
    stop.set_defaults(run=_stop)
    drain = actions.add_parser("drain", help="have nodes end what runs there, leave, and stop")
    drain.add_argument("--address", metavar="NODE", help="its folder; default: all of this user")
    drain.add_argument(
        "--deadline",
        type=float,
        default=DRAIN_NS / SECOND,
        metavar="S",
        help="seconds after which what still runs is ended; default: %(default)g",
    )
    drain.add_argument("--json", action="store_true", help="for programs")
    drain.set_defaults(run=_drain)
    rekeying.add_reload(actions.add_parser("reload", help="have nodes read their keys again"))
    status = actions.add_parser("status", help="show what the started nodes do")
    status.add_argument("--json", action="store_true", help="for programs")
    status.set_defaults(run=_status)

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

    rekeying.add_keygen(commands.add_parser("keygen", help="make the key that nodes share"))
    rekeying.add_key(commands.add_parser("key", help="replace the key of a cluster that runs"))

    examine = commands.add_parser("doctor", help="check this machine, and the way to a node")
    examine.add_argument("--address", metavar="tcp://HOST:PORT", help="whom to reach")
    examine.add_argument("--key", metavar="FILE", help="the cluster's key; default: ZGEN_KEY")
    examine.add_argument("--json", action="store_true", help="for programs")
    examine.set_defaults(run=_doctor)

    clean = commands.add_parser("clean", help="end and remove what killed nodes left behind")
    clean.set_defaults(run=_clean)
    return parser


def _add_start(start: argparse.ArgumentParser) -> None:
    """Add the options of `zgen node start`."""
    start.add_argument("--num-cpus", type=float, metavar="N", help="default: all that it may use")
    start.add_argument("--resources", type=_resources, default={}, metavar="JSON")
    start.add_argument("--num-gpus", type=float, metavar="N", help="default: none")
    start.add_argument("--labels", type=_labels, default={}, metavar="JSON")
    start.add_argument(
        "--object-store-memory", type=int, metavar="BYTES", help="default: 30 %% of its memory"
    )
    start.add_argument(
        "--object-spilling-directory", metavar="DIR", help="default: that of temporary files"
    )
    start.add_argument(
        "--listen", metavar="tcp://HOST:PORT", help="let other machines reach it here"
    )
    start.add_argument(
        "--advertise", metavar="HOST", help="what they are told; default: where it listens"
    )
    start.add_argument(
        "--join", metavar="HOST:PORT,…", help="members of the cluster to join; any may be gone"
    )
    start.add_argument(
        "--profile", choices=("lan", "fast"), default="lan", help="how soon the silent are dead"
    )
    start.add_argument("--key", metavar="FILE", help="the cluster's key; default: ZGEN_KEY")
    start.add_argument(
        "--insecure", action="store_true", help="let them in without a key, all of them"
    )
    start.set_defaults(run=_start)


def _resources(text: str) -> dict[str, float]:
    """Return the amounts in a JSON object such as ``{"gpu": 1}``."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from None
    if not isinstance(found, dict) or not all(
        isinstance(amount, int | float) and not isinstance(amount, bool)
        for amount in found.values()
    ):
        raise argparse.ArgumentTypeError('expected an object of numbers, such as {"gpu": 1}')
    return found


def _labels(text: str) -> dict[str, str]:
    """Return the labels in a JSON object such as ``{"zone": "east"}``."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from None
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        raise argparse.ArgumentTypeError('expected an object of texts, such as {"zone": "east"}')
    return found


def _opening(given: argparse.Namespace) -> Opening:
    """Return how other machines reach the node, if they do."""
    if given.join is not None:
        return opening_to_join(
            given.join,
            given.key,
            listen=given.listen,
            advertise=given.advertise,
            insecure=given.insecure,
            profile=given.profile,
        )
    if given.listen is None:
        for name in ("advertise", "key", "insecure"):
            if getattr(given, name):
                raise ValueError(f"--{name} is of no use without --listen tcp://HOST:PORT")
        return CLOSED
    opening = check_opening(given.listen, given.advertise, given.key, given.insecure)
    return replace(opening, profile=given.profile)


def _start(given: argparse.Namespace) -> int:
    """Run a node until it ends by itself or a signal stops it."""
    opening = _opening(given)

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    node = start_node(
        given.num_cpus,
        {**given.resources, **({} if given.num_gpus is None else {"GPU": given.num_gpus})},
        object_store_memory=given.object_store_memory,
        object_spilling_directory=given.object_spilling_directory,
        opening=replace(opening, comes_back=True, labels=tuple(sorted(given.labels.items()))),
        embedded=False,
    )
    try:
        cpus = default_num_cpus() if given.num_cpus is None else given.num_cpus
        print(f"zgen node with {cpus:g} CPUs at {node.address.endpoint}")
        if node.address.tcp:
            print(f"other machines reach it at {_access(node.facts)}")
        print(f"folder: {node.folder}")
        print('join it with zgen.init(address="auto"); stop it with Ctrl-C or `zgen node stop`')
        sys.stdout.flush()
        return node.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        node.stop()


def _access(node: NodeFacts) -> str:
    """Return where other machines reach a node, and what they need for it."""
    if node.locked:
        return f"{node.address.tcp} with its key"
    red, plain = ("\033[31m", "\033[0m") if sys.stdout.isatty() else ("", "")
    return f"{node.address.tcp} {red}WITHOUT ANY KEY: whoever reaches it runs code here{plain}"


def _stop(given: argparse.Namespace) -> int:
    """Stop this user's started nodes and wait until they are gone."""
    nodes = started_nodes()
    if not nodes:
        print("no node of this user runs here")
    status = 0
    for node in nodes:
        gone = stop_started(node)
        print(f"{'stopped' if gone else 'still running'}: {node.address.endpoint}")
        status |= not gone
    return status


def _drain(given: argparse.Namespace) -> int:
    """Have this user's started nodes leave their clusters, all at once."""
    leaving.check_patience(given.deadline)
    rows: list[dict[str, Any]] = []
    nodes = [find_node(given.address)] if given.address else started_nodes()
    for node in nodes:
        drain_node(node.address, node.folder, given.deadline)
    for node in nodes:
        endpoint = node.address.tcp or node.address.endpoint

        def tell(waits_for: str, endpoint: str = endpoint) -> None:
            if waits_for and not given.json:
                print(f"draining: {endpoint} waits for {waits_for}", flush=True)

        gone = leaving.await_drained(node, given.deadline, tell)
        rows.append({"node": node.address.peer.hex(), "endpoint": endpoint, "drained": gone})
        if not given.json:
            print(f"{'drained' if gone else 'still running'}: {endpoint}")
    if given.json:
        print(json.dumps(rows, indent=2))
    elif not rows:
        print("no node of this user runs here")
    return 0 if all(row["drained"] for row in rows) else 1


def _status(given: argparse.Namespace) -> int:
    """Show the state of this user's started nodes."""
    states = [_state(node) for node in started_nodes()]
    if given.json:
        print(json.dumps(states, indent=2))
    else:
        for state in states:
            print(node_text(state))
        if not states:
            print("no node of this user runs here; start one with `zgen node start`")
    return 0 if states else 1


def _state(node: NodeFacts) -> dict[str, Any]:
    """Return what a node says of itself, and its processes."""
    state = query_node(node.address, node.folder)
    return {
        **state,
        "tcp": node.address.tcp,
        "access": _access(node) if node.address.tcp else "",
        "folder": node.folder,
        "supervisor_pid": node.supervisor,
        "daemon_pid": node.daemon,
        "release": node.release,
        "python": node.python,
    }


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


def _clean(given: argparse.Namespace) -> int:
    """End and remove what dead nodes of this user left behind."""
    for folder in folders.sweep():
        print(f"removed {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
