"""RS7: the key of a cluster is replaced under load."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Final

import zmq

from scripts.faults.bench import cluster, wait_until
from scripts.faults.load import Load
from scripts.faults.row import PATIENCE_S, Outcome, Row, Setting, made
from zgen.exceptions import HandshakeError
from zgen.io import keys, sockets, spawn
from zgen.io.doorbell import who_is_at
from zgen.io.inquiry import reload_keys
from zgen.io.keys import ClusterKey
from zgen.io.security import Lock
from zgen.testing import Node

STEPS: Final = (ClusterKey.with_next, ClusterKey.promoted, ClusterKey.retired)
_LOST: Final = zmq.EVENT_DISCONNECTED
_UP: Final = zmq.EVENT_HANDSHAKE_SUCCEEDED


class OldLines:
    """Connections of one that has the old key, and goes on to hold them."""

    def __init__(self, nodes: list[Node], key: ClusterKey) -> None:
        """Connect to each node, once."""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._monitors: list[zmq.Socket[bytes]] = []
        self._lines: list[zmq.Socket[bytes]] = []
        self.lost_count = 0
        for number, node in enumerate(nodes):
            line = sockets.new_socket(self._context, zmq.DEALER)
            line.setsockopt(zmq.RECONNECT_IVL, -1)
            Lock(key).open(line)
            where = f"inproc://old-line-{number}"
            self._monitors.append(sockets.watch_monitor(self._context, line, where, _LOST | _UP))
            line.connect(node.address)
            self._lines.append(line)  # one that nobody has is closed
        up = [monitor.poll(5000) and sockets.read_monitor(monitor) for monitor in self._monitors]
        made(all(told and told[0] == _UP for told in up), "one with the old key was connected")

    def all_lost(self) -> bool:
        """Return whether every one of them was cut."""
        self.lost_count += sum(
            sockets.read_monitor(monitor) is not None for monitor in self._monitors
        )
        return self.lost_count == len(self._monitors)

    def close(self) -> None:
        """Hang up."""
        self._context.destroy(0)


def _is_refused(node: Node, key: ClusterKey) -> bool:
    try:
        who_is_at(node.address, key)
    except HandshakeError:
        return True
    return False


def rs7(setting: Setting) -> Outcome:
    """Take the three steps, node by node, with pauses between them."""
    pause_s = 0.5 if setting.quick else 3.0
    with tempfile.TemporaryDirectory(prefix="zf-") as folder, cluster(3) as nodes:
        before = [node.node_id for node in nodes.nodes]
        old = keys.load(nodes.key)
        lines = OldLines(nodes.nodes, old)
        try:
            wheres = [{"resources": {f"n{i}": 1}} for i in range(3)]
            stepped = 0.0
            with Load(Path(folder), wheres) as load:
                wait_until(lambda: len(load.done) == 4, PATIENCE_S, "each kind of work ends")
                for step in STEPS:
                    keys.change(nodes.key, step)
                    for facts in spawn.started_nodes(embedded=True):
                        time.sleep(pause_s)
                        told = reload_keys(facts.address, facts.folder)["keys"]
                        made(not told["failure"], f"a node read its keys: {told['failure']}")
                        stepped = time.monotonic()
                wait_until(lines.all_lost, 5, "lines made with the old key are cut")
                refused = all(_is_refused(node, old) for node in nodes.nodes)
                after_s = time.monotonic() - stepped
                time.sleep(2 * pause_s)
            same = [node.node_id for node in nodes.nodes] == before
            nodes.wait_for_nodes(30)
        finally:
            lines.close()
    good = not load.wrong and not load.again_count and refused and same and after_s <= 5
    told = (
        f"3 nodes and a program, one after the other {pause_s:g} s apart at each step: "
        f"{load.told()}: {len(load.wrong)} failed or wrong, {load.again_count} bodies run again, "
        f"{'no' if same else 'A'} node declared dead; the longest pause between two items "
        f"{load.gap_s:.2f} s; by {after_s:.2f} s after the third step lines made with the old key "
        f"were cut, and it was {'refused' if refused else 'STILL LET IN'} by all nodes"
    )
    for wrong in load.wrong[:5]:
        told += f"; {wrong}"
    figures = {"wrong_count": len(load.wrong), "again_count": load.again_count}
    return Outcome(good, told, {**figures, "gap_s_max": load.gap_s})


ROWS: Final = {
    "RS7": Row(
        "the key of a cluster is replaced, in three steps, under load",
        "nothing fails or runs again; the old key is refused within 5 s of the third step",
        rs7,
    ),
}
