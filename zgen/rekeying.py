"""`zgen keygen`, `zgen key add / promote / retire / show` and `zgen node reload`."""

import argparse
import json
from collections.abc import Callable
from typing import Any, Final

from zgen.io import keys
from zgen.io.inquiry import reload_keys
from zgen.io.keys import ClusterKey
from zgen.io.spawn import find_node, started_nodes

#: Step of a change of keys -> (what it makes of a key, what it does, what comes after it).
STEPS: Final[dict[str, tuple[Callable[[ClusterKey], ClusterKey], str, str]]] = {
    "add": (
        ClusterKey.with_next,
        "1 of 3: add a fresh key, which is accepted and not shown yet",
        "when all nodes have this file and have read it: `zgen key promote`",
    ),
    "promote": (
        ClusterKey.promoted,
        "2 of 3: show the fresh key, and accept the other one still",
        "when all nodes have this file and have read it: `zgen key retire`",
    ),
    "retire": (
        ClusterKey.retired,
        "3 of 3: take the old key out",
        "who has only the old key is refused by every node that has read this file",
    ),
}


def add_key(command: argparse.ArgumentParser) -> None:
    """Add the actions of `zgen key`."""
    actions = command.add_subparsers(metavar="action", required=True)
    for name, (_, what, _) in STEPS.items():
        action = actions.add_parser(name, help=what)
        action.add_argument("file", metavar="FILE", help="a key file; it is replaced in one stroke")
        action.set_defaults(run=_step, step=name)
    show = actions.add_parser("show", help="tell the keys of a file apart, without showing them")
    show.add_argument("file", metavar="FILE", help="a key file")
    show.set_defaults(run=_show)


def add_keygen(command: argparse.ArgumentParser) -> None:
    """Add what `zgen keygen` is told."""
    command.add_argument("file", metavar="FILE", help="a new file")
    command.set_defaults(run=_keygen)


def add_reload(action: argparse.ArgumentParser) -> None:
    """Add what `zgen node reload` is told."""
    action.add_argument("--address", metavar="NODE", help="its folder; default: all of this user")
    action.add_argument("--json", action="store_true", help="for programs")
    action.set_defaults(run=_reload)


def _keygen(given: argparse.Namespace) -> int:
    """Write a fresh key."""
    keys.generate().write(given.file)
    print(f"{given.file}: who has this file is a member of the cluster and runs code on its nodes")
    return 0


def _reload(given: argparse.Namespace) -> int:
    """Have this user's nodes here, those of programs too, read their key files again."""
    nodes = [find_node(given.address)] if given.address else started_nodes(embedded=True)
    rows: list[dict[str, Any]] = []
    for node in nodes:
        if not (node.locked or given.address):
            continue
        endpoint = node.address.tcp or node.address.endpoint
        told = reload_keys(node.address, node.folder)["keys"]
        rows.append({"node": node.address.peer.hex(), "endpoint": endpoint, **told})
        if not given.json:
            print(f"{endpoint}: {told['failure'] or prints_text(told['prints'])}")
    if given.json:
        print(json.dumps(rows, indent=2))
    elif not rows:
        print("no node of this user with a key runs here")
    return 1 if any(row["failure"] for row in rows) else 0


def prints_text(prints: list[str]) -> str:
    """Return what is told of keys."""
    shown, *others = prints
    return f"shows key {shown}" + "".join(f", accepts {other} too" for other in others)


def _step(given: argparse.Namespace) -> int:
    how, _, after = STEPS[given.step]
    changed = keys.change(given.file, how)
    print(f"{given.file}: {prints_text(list(changed.prints()))}")
    print(after)
    return 0


def _show(given: argparse.Namespace) -> int:
    print(f"{given.file}: {prints_text(list(keys.load(given.file).prints()))}")
    return 0
