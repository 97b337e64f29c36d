"""RF7: a cluster that falls into two halves, each of which lives."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Final

import zgen
from scripts.faults.bench import Consumer, Logs, cluster, soft, ticks, wait_until
from scripts.faults.bodies import noted
from scripts.faults.row import Outcome, Row, Setting, made
from tests.integration.watching import is_alive

SPLIT_S: Final = 15.0
COUNT: Final = 500


def rf7(setting: Setting) -> Outcome:
    """Cut two nodes off from two others and this program; look at what each half still does."""
    times = 1 if setting.quick else 3
    dead: list[float] = []
    ended: list[float] = []
    agreed: list[float] = []
    whole = runs = 0
    with tempfile.TemporaryDirectory(prefix="zf-") as folder, cluster(4) as nodes:
        for number in range(times):
            path = Path(folder) / f"runs{number}"
            near, far = nodes.nodes[:2], nodes.nodes[2:]
            before = [node.node_id for node in far]
            consumers = [
                Consumer(
                    ticks.options(scheduling_strategy=soft(node)).remote(
                        str(path), node.node_id, COUNT, 0.05
                    )
                )
                for node in nodes.nodes
            ]
            wait_until(
                lambda c=consumers: all(len(each.items) > 5 for each in c),  # type: ignore[misc]
                30,
                "items come",
            )
            orphans = [consumer.items[0][1] for consumer in consumers[2:]]
            with Logs(nodes.nodes) as logs:
                began = time.monotonic()
                nodes.partition([*near, nodes.here], far)
                told = [
                    at - began
                    for each, others in ((near, before), (far, [n.node_id for n in near]))
                    for other in others
                    for at in logs.seen(each, (other[:8], "is gone"), 30)
                ]
                dead += told
                wait_until(lambda o=orphans: not any(map(is_alive, o)), 60, "orphans end")  # type: ignore[misc]
                ended.append(max(0.0, time.monotonic() - began - max(told)))
                time.sleep(max(0.0, began + SPLIT_S - time.monotonic()))
            made([node.node_id for node in far] == before, "both halves lived on")
            healed = time.monotonic()
            nodes.heal()
            nodes.wait_for_nodes(60)
            agreed.append(time.monotonic() - healed)
            wait_until(lambda: len(zgen.nodes()) == 5, 60, "this program knows all again")
            for consumer in consumers:
                consumer.join(120)
            whole += sum(consumer.is_whole(COUNT) for consumer in consumers)
            runs += len(noted(path))
            made(not {*before} & {node.node_id for node in nodes.nodes}, "the far ones came anew")
    good = max(agreed) <= 5 and whole == 4 * times and max(ended) <= 5 and runs == 6 * times
    said = (
        f"{times} splits of 2 and 2 nodes for {SPLIT_S:g} s: each side held the other for dead "
        f"after {min(dead):.1f} to {max(dead):.1f} s, bodies whose owner was on the other side "
        f"were ended {max(ended):.1f} s later at most; {whole} of {4 * times} streams whole; after "
        f"healing one view within {max(agreed):.1f} s"
    )
    return Outcome(good, said, {"dead_s_max": max(dead), "agreed_s_max": max(agreed)})


ROWS: Final = {
    "RF7": Row(
        "two halves are cut off from each other for 15 s",
        "orphans ended within 5 s; one view within 5 s of healing; nothing lost or repeated",
        rf7,
    ),
}
