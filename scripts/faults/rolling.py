"""RF28: every node is drained, stopped and started anew under load, one after the other."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import zgen
from scripts.faults.bench import cluster, soft, wait_until
from scripts.faults.load import Load
from scripts.faults.row import PATIENCE_S, Outcome, Row, Setting, made
from zgen import cli

#: Kinds of work of ``Load``.
_KINDS_COUNT: Final = 4


def rf28(setting: Setting) -> Outcome:
    """Restart four nodes in turn, as an operator does."""
    deadline_s = 3.0 if setting.quick else 10.0
    count = 2 if setting.quick else 4
    took: list[float] = []
    with tempfile.TemporaryDirectory(prefix="zf-") as folder, cluster(4) as nodes:
        wheres: list[dict[str, Any]] = [{}] + [
            {"scheduling_strategy": soft(node)} for node in nodes.nodes
        ]
        with Load(Path(folder), wheres) as load:
            wait_until(lambda: len(load.done) == _KINDS_COUNT, PATIENCE_S, "each kind of work ends")
            for number in range(count):
                node = nodes.nodes[0]
                began = time.monotonic()
                told = _drain(node.folder, deadline_s)
                made(told["drained"], "a node was drained")
                took.append(time.monotonic() - began)
                nodes.remove_node(node, allow_graceful=True)
                nodes.add_node(num_cpus=2, resources={f"n{number}": 100})
                nodes.wait_for_nodes(30)
                done = sum(load.done.values())
                wait_until(
                    lambda d=done: sum(load.done.values()) > d + 20,  # type: ignore[misc]
                    PATIENCE_S,
                    "work goes on",
                )
            zgen.get(zgen.put(b"the program is whole"))
    good = not load.wrong
    told_text = (
        f"{count} of 4 nodes drained (deadline {deadline_s:g} s), stopped and started anew, in "
        f"{max(took):.1f} s at most each: {load.told()}: {len(load.wrong)} failed or wrong; "
        f"{load.again_count} bodies and calls run again when a deadline passed; the longest pause "
        f"between two items {load.gap_s:.2f} s"
    )
    for wrong in load.wrong[:5]:
        told_text += f"; {wrong}"
    figures = {
        "wrong_count": len(load.wrong),
        "again_count": load.again_count,
        "drain_s_max": max(took),
    }
    return Outcome(good, told_text, {**figures, "gap_s_max": load.gap_s})


def _drain(folder: str, deadline_s: float) -> dict[str, Any]:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        cli.main(["node", "drain", "--json", "--address", folder, "--deadline", f"{deadline_s:g}"])
    (told,) = json.loads(said.getvalue())
    found: dict[str, Any] = told
    return found


ROWS: Final = {
    "RF28": Row(
        "every node is drained, stopped and started anew, one after the other, under load",
        "nothing fails that may run again",
        rf28,
    ),
}
