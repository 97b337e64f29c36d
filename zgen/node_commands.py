"""`zgen node start / stop / drain / reload / status`."""

import argparse
import json
import os
import signal
import sys
from dataclasses import replace
from types import FrameType
from typing import Any

from zgen import rekeying
from zgen.io import leaving
from zgen.io.exposure import CLOSED, Opening, check_opening
from zgen.io.folders import LOG_VARIABLE
from zgen.io.inquiry import drain_node, query_node
from zgen.io.joining import opening_to_join
from zgen.io.spawn import (
    NodeFacts,
    default_num_cpus,
    find_node,
    start_node,
    started_nodes,
    stop_started,
)
from zgen.limits import DRAIN_NS, SECOND
from zgen.overview import node_text


def add(node: argparse.ArgumentParser) -> None:
    """Add what `zgen node` does to its parser."""
    actions = node.add_subparsers(metavar="action", required=True)
    _add_start(actions.add_parser("start", help="run a node in the foreground until Ctrl-C"))
    stop = actions.add_parser("stop", help="stop the nodes that this user started")
    stop.add_argument("--json", action="store_true", help="for programs")
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
    start.add_argument(
        "--log-folder",
        metavar="DIR",
        help="keep its log there when it ends; default: ZGEN_LOG_FOLDER",
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
    if given.log_folder is not None:
        os.environ[LOG_VARIABLE] = given.log_folder

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
    rows: list[dict[str, Any]] = []
    for node in started_nodes():
        gone = stop_started(node)
        endpoint = node.address.endpoint
        rows.append({"node": node.address.peer.hex(), "endpoint": endpoint, "stopped": gone})
        if not given.json:
            print(f"{'stopped' if gone else 'still running'}: {endpoint}", flush=True)
    if given.json:
        print(json.dumps(rows, indent=2))
    elif not rows:
        print("no node of this user runs here")
    return 0 if all(row["stopped"] for row in rows) else 1


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
