"""RF4, RF5: nodes that say nothing, asleep or cut off, and what they do when they wake."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Final

import zgen
from scripts.faults.bench import Consumer, Logs, Teller, cluster, soft, ticks, wait_until
from scripts.faults.bodies import noted
from scripts.faults.row import Outcome, Row, Setting, made, middle
from tests.integration.watching import is_alive, marked
from zgen.testing import Cluster, Node

NODES_COUNT: Final = 4
SUSPECTED: Final = "is not heard of"
DEAD: Final = "is gone"
#: How long a zombie sleeps, in seconds.
SLEEP_S: Final = 20.0


def rf4(setting: Setting) -> Outcome:
    """Stop a node, or cut it off, and take the times at which each peer says what of it."""
    suspected: list[float] = []
    dead: list[float] = []
    resumed: list[float] = []
    whole = runs = 0
    ways = ["stop", "cut"] * (1 if setting.quick else 3)
    with tempfile.TemporaryDirectory(prefix="zf-") as folder, cluster(NODES_COUNT) as nodes:
        for number, way in enumerate(ways):
            victim = nodes.nodes[setting.dice().randrange(NODES_COUNT)]
            path, before = Path(folder) / f"runs{number}", victim.node_id
            stream = ticks.options(scheduling_strategy=soft(victim)).remote(
                str(path), "run", 60, 0.05
            )
            consumer = Consumer(stream)
            wait_until(lambda c=consumer: len(c.items) > 5, 30, "items come")  # type: ignore[misc]
            peers = [node for node in nodes.nodes if node is not victim]
            with Logs(peers) as logs:
                began = _silence(nodes, victim, way)
                tag = before[:8]
                gone = logs.seen(peers, (tag, DEAD), 30)
                for peer in peers:
                    at = logs.when(peer, tag, SUSPECTED)
                    suspected += [] if at is None else [at - began]
                dead += [at - began for at in gone]
            consumer.join(60)
            whole += consumer.is_whole(60)
            runs += len(noted(path))
            resumed.append(consumer.stall_s())
            nodes.heal()
            nodes.resume_node(victim)
            _await_return(nodes, victim, before)
    good = max(suspected) <= 2 and min(dead) >= 6 and max(dead) <= 10
    good = good and whole == len(ways)
    told = (
        f"{len(ways)} times, {len(dead)} looks: first suspected after {min(suspected):.1f} to "
        f"{max(suspected):.1f} s, dead after {min(dead):.1f} to {max(dead):.1f} s; a stream there "
        f"went on elsewhere after {max(resumed):.1f} s at most, {whole} of {len(ways)} whole"
    )
    return Outcome(
        good,
        told,
        {
            "suspected_s_max": max(suspected),
            "dead_s_min": min(dead),
            "dead_s_p50": middle(dead),
            "dead_s_max": max(dead),
            "streams_whole_count": whole,
            "runs_count": runs,
        },
    )


def rf5(setting: Setting) -> Outcome:
    """Wake a node up that was declared dead, and look for anything that it still does."""
    stale = mixed = 0
    rejoined: list[float] = []
    ended: list[float] = []
    whole, times = 0, 1 if setting.quick else 3
    with tempfile.TemporaryDirectory(prefix="zf-") as folder, cluster(3) as nodes:
        for number in range(times):
            victim = nodes.nodes[-1]
            path, before = Path(folder) / f"runs{number}", victim.node_id
            placed = soft(victim)
            stream = ticks.options(scheduling_strategy=placed).remote(str(path), "run", 600, 0.05)
            consumer = Consumer(stream)
            teller = Teller.options(scheduling_strategy=placed).remote()
            told = [zgen.get(teller.tell.remote(), timeout=30)]
            wait_until(lambda c=consumer: len(c.items) > 5, 30, "items come")  # type: ignore[misc]
            pids = [consumer.items[0][1], told[0]]
            folder_before = victim.folder
            made(set(pids) <= set(marked(folder_before)), "the work runs on the victim")
            nodes.pause_node(victim)
            began = time.monotonic()
            told.append(zgen.get(teller.tell.remote(), timeout=60))
            wait_until(lambda b=began: time.monotonic() - b > SLEEP_S, 60, "it sleeps")  # type: ignore[misc]
            made(all(map(is_alive, pids)), "its workers still exist when it wakes")
            nodes.resume_node(victim)
            woke = time.monotonic()
            back_s = 0.0
            while time.monotonic() - woke < 3:
                told.append(zgen.get(teller.tell.remote(), timeout=30))
                if not back_s and victim.node_id != before:
                    back_s = time.monotonic() - woke
            later_s = _await_return(nodes, victim, before, woke)
            rejoined.append(back_s or later_s)
            wait_until(lambda p=pids: not any(map(is_alive, p)), 30, "its workers end")  # type: ignore[misc]
            ended.append(time.monotonic() - woke)
            consumer.join(90)
            whole += consumer.is_whole(600)
            stale += _returns(pids[0], [pid for _, pid, _ in consumer.items])
            mixed += _returns(pids[1], told)
            made(len(noted(path)) == 2, "the stream ran again elsewhere")
            del teller
    good = stale == mixed == 0 and whole == times and max(rejoined) <= 5
    told_text = (
        f"{times} times asleep for {SLEEP_S:g} s: {stale} stale items, {mixed} answers of a first "
        f"life after one of the second, {whole} of {times} streams whole; back under another id "
        f"{max(rejoined):.1f} s after waking at most, its workers gone by then"
    )
    return Outcome(
        good,
        told_text,
        {
            "stale_items_count": stale,
            "mixed_answers_count": mixed,
            "rejoined_s_max": max(rejoined),
            "workers_ended_s_max": max(ended),
        },
    )


def _silence(nodes: Cluster, victim: Node, way: str) -> float:
    """Have a node say nothing; return when that began."""
    began = time.monotonic()
    if way == "cut":
        nodes.partition([victim])
    else:
        nodes.pause_node(victim)
        # The signal stops a thread only where that looks for signals next.
        wait_until(lambda: _states(victim).count("T") >= 2, 10, "it is stopped")
    return began


def _states(node: Node) -> list[str]:
    """Return the state of each process of a node, as the kernel abbreviates it."""
    return [
        Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        for pid in marked(node.folder)
    ]


def _await_return(nodes: Cluster, victim: Node, before: str, since: float | None = None) -> float:
    """Wait until a node is a member under another id; return the seconds ``since``."""
    since = time.monotonic() if since is None else since
    wait_until(lambda: victim.node_id != before, 60, "it comes back under another id")
    nodes.wait_for_nodes(60)
    took_s = time.monotonic() - since
    known = lambda: victim.node_id in [each["NodeID"] for each in zgen.nodes()]  # noqa: E731
    wait_until(known, 60, "the driver knows it again")
    return took_s


def _returns(first: int, pids: list[int]) -> int:
    """Return how often ``first`` comes again after another."""
    others = [number for number, pid in enumerate(pids) if pid != first]
    return 0 if not others else pids[others[0] :].count(first)


ROWS: Final = {
    "RF4": Row(
        "a node is stopped, or cut off from all",
        "suspected within 2 s, dead within 6 to 10 s; its work runs again",
        rf4,
    ),
    "RF5": Row(
        "it wakes after 20 s",
        "nothing of its old life is accepted; back under another id within 5 s",
        rf5,
    ),
}
