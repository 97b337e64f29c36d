"""RF6, RF8, RF10: links that fail for a while, one way, or again and again."""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import zgen
from scripts.faults.bench import Consumer, Logs, cluster, ticks, wait_until
from scripts.faults.bodies import note, noted
from scripts.faults.row import Outcome, Row, Setting, high, made, middle
from zgen.exceptions import ZgenError
from zgen.testing import Cluster, Node
from zgen.testing.network import Machine

BLACKOUT_S: Final = 5.0
ITEMS_COUNT: Final = 400
#: How long a link is cut one way, in seconds; both ends are alive all the time.
ONE_WAY_S: Final = 25.0
CUT_EVERY_S: Final = 0.5
LINK_DEAD: Final = "lives, but not for this one"


@zgen.remote(num_cpus=0, max_retries=10)
def slow(runs: str, name: str, after_s: float) -> str:
    """Note the run, and answer late."""
    note(runs, name)
    time.sleep(after_s)
    return name


@zgen.remote(num_cpus=0)
def block(size_bytes: int) -> bytes:
    """Return a large value."""
    return bytes(size_bytes)


@zgen.remote(num_cpus=0)
def length(value: bytes) -> int:
    """Read a large value."""
    return len(value)


@zgen.remote(num_cpus=0)
def ask(there: dict[str, float], size_bytes: int) -> int:
    """Have another node make a large value, and read it here."""
    return len(zgen.get(block.options(resources=there).remote(size_bytes)))


def rf6(setting: Setting) -> Outcome:
    """Cut half the nodes off from everybody for a while, and see what is held against them."""
    times = 1 if setting.quick else 5
    stalls: list[float] = []
    whole = runs = answered = deaths = 0
    with tempfile.TemporaryDirectory(prefix="zf-") as folder, cluster(4) as nodes:
        before = [node.node_id for node in nodes.nodes]
        for number in range(times):
            path = Path(folder) / f"runs{number}"
            consumers = [
                Consumer(_at(ticks, i).remote(str(path), f"stream{i}", ITEMS_COUNT, 0.05))
                for i in range(4)
            ]
            tasks = [_at(slow, i).remote(str(path), f"task{i}", 12.0) for i in range(4)]
            wait_until(lambda p=path: len(noted(p)) == 8, 30, "all of it runs")  # type: ignore[misc]
            made(all(len(each.items) < ITEMS_COUNT // 2 for each in consumers), "streams go on")
            with Logs(nodes.nodes) as logs:
                began = time.monotonic()
                first, second, *others = nodes.nodes
                nodes.partition([first], [second], [*others, nodes.here])
                _sleep_until(began + BLACKOUT_S)
                nodes.heal()
                for consumer in consumers:
                    consumer.join(90)
                answered += zgen.get(tasks, timeout=60) == [f"task{i}" for i in range(4)]
                made(logs.count("is not heard of") > 0, "somebody was suspected")
                deaths += logs.count("is gone")
            whole += sum(consumer.is_whole(ITEMS_COUNT) for consumer in consumers)
            stalls += [consumer.stall_s(began) for consumer in consumers[:2]]
            made(min(stalls) > 1, "the streams of the cut nodes stood still")
            runs += len(noted(path))
        same = [node.node_id for node in nodes.nodes] == before
    again = runs - 8 * times
    good = again == deaths == 0 and same and whole == 4 * times and max(stalls) <= 7
    told = (
        f"{times} blackouts of {BLACKOUT_S:g} s: {deaths} deaths, {again} of {8 * times} streams "
        f"and tasks run again, {whole} of {4 * times} streams whole, {answered} of {times} rounds "
        f"of tasks answered; streams stood still for {middle(stalls):.1f} s (p50), "
        f"{max(stalls):.1f} s at most"
    )
    figures = {
        "deaths_count": deaths,
        "run_again_count": again,
        "stall_s_max": max(stalls),
    }
    return Outcome(good, told, figures)


def rf8(setting: Setting) -> Outcome:
    """Let nothing pass from one node to another, and use the link in every way meanwhile."""
    size_bytes = 1 << 20
    with cluster(3) as nodes, Logs(nodes.nodes) as logs:
        one, other, _ = nodes.nodes
        before = [node.node_id for node in nodes.nodes]
        # The link is in use before it is cut.
        zgen.get([_at(ask, 0).remote({"n1": 1}, 10), _at(ask, 1).remote({"n0": 1}, 10)], timeout=30)
        began = time.monotonic()
        nodes.partition([one], [other], one_way=True)
        mine = [_at(block, i).remote(size_bytes) for i in (0, 1)]
        works = {
            "value of A read at B": _at(length, 1).remote(mine[0]),
            "value of B read at A": _at(length, 0).remote(mine[1]),
            "task of A at B": _at(ask, 0).remote({"n1": 1}, size_bytes),
            "task of B at A": _at(ask, 1).remote({"n0": 1}, size_bytes),
        }
        outcomes = {name: _outcome(ref, began) for name, ref in works.items()}
        left_s = began + ONE_WAY_S - time.monotonic()
        if left_s > 0:
            time.sleep(left_s)
        told_of = [at - began for n in (one, other) if (at := logs.when(n, LINK_DEAD)) is not None]
        deaths = [n.node_id for n in nodes.nodes] != before
        nodes.heal()
        late = {
            name: _outcome(works[name], began, 30.0)
            for name, said in outcomes.items()
            if said == "waits"
        }
        nodes.wait_for_nodes(30)
    waits = [name for name, said in outcomes.items() if said == "waits"]
    hung = [name for name, said in late.items() if said == "waits"]
    agreed = len(told_of) == 2 and max(told_of) <= 10
    said = "; ".join(f"{name}: {outcomes[name]}" for name in works)
    healed = f", {len(waits) - len(hung)} of {len(waits)} that waited came after healing"
    told = (
        f"{len(told_of)} of 2 sides said that the link is dead"
        f"{f' after {max(told_of):.1f} s' if told_of else ''}; a node declared dead: "
        f"{'yes' if deaths else 'no'}; {said}{healed if waits else ''}"
    )
    figures = {
        "sides_agreed_count": len(told_of),
        "waited_count": len(waits),
        "hung_count": len(hung),
    }
    return Outcome(agreed and not waits, told, figures)


def rf10(setting: Setting) -> Outcome:
    """Reset every connection of every node twice a second, under streams and calls."""
    cuts_count = 20 if setting.quick else 200
    count = round(cuts_count * CUT_EVERY_S / 0.01)
    gaps: list[float] = []
    reset = 0
    with tempfile.TemporaryDirectory(prefix="zf-") as folder, cluster(3) as nodes:
        path = Path(folder) / "runs"
        before = [node.node_id for node in nodes.nodes]
        consumers = [
            Consumer(_at(ticks, i).remote(str(path), f"stream{i}", count, 0.01)) for i in range(3)
        ]
        wait_until(lambda: all(len(c.items) > 5 for c in consumers), 30, "items come")
        calls: list[Any] = []
        cut_at: list[float] = []
        dice = setting.dice()
        for number in range(cuts_count):
            calls.append(_at(slow, dice.randrange(3)).remote(str(path), f"task{number}", 0.1))
            time.sleep(CUT_EVERY_S)
            killed = sum(_reset(machine) for machine in _machines(nodes))
            reset += killed
            cut_at.append(time.monotonic())
            made(killed > 0, "connections were reset")
        answers = zgen.get(calls, timeout=60)
        for consumer in consumers:
            consumer.join(120)
        same = [node.node_id for node in nodes.nodes] == before
        for consumer in consumers:
            gaps += _gaps(consumer, cut_at)
        runs = noted(path)
    whole = sum(consumer.is_whole(count) for consumer in consumers)
    again = len(runs) - len(dict.fromkeys(runs))
    right = answers == [f"task{number}" for number in range(cuts_count)]
    good = whole == 3 and again == 0 and right and same and middle(gaps) <= 0.2
    told = (
        f"{cuts_count} times all connections reset, {reset} in all: {whole} of 3 streams of "
        f"{count} items whole, {again} of {3 + cuts_count} bodies run again, answers "
        f"{'right' if right else 'WRONG'}; the next item after {middle(gaps) * 1000:.0f} ms (p50), "
        f"{high(gaps) * 1000:.0f} ms (p99)"
    )
    figures = {
        "resets_count": reset,
        "run_again_count": again,
        "resume_s_p50": middle(gaps),
    }
    return Outcome(good, told, {**figures, "resume_s_p99": high(gaps)})


def _at(remote: Any, number: int) -> Any:
    """Return a remote function that runs on node ``number`` alone."""
    return remote.options(resources={f"n{number}": 1})


def _machines(nodes: Cluster) -> list[Machine]:
    found = [_machine_of(node) for node in nodes.nodes]
    return [machine for machine in found if machine is not None]


def _machine_of(node: Node) -> Machine | None:
    return node._machine


def _reset(machine: Machine) -> int:
    """Reset all established connections of a machine; return how many."""
    done = machine.call(
        lambda: subprocess.run(
            ["ss", "-K", "-H", "-t", "state", "established"],
            capture_output=True,
            text=True,
            check=False,
        )
    )
    return len(done.stdout.splitlines())


def _gaps(consumer: Consumer, cut_at: list[float]) -> list[float]:
    """Return how long after each cut the first item came whose body yielded it after the cut.

    Items that were on their way count too; so the next but two is taken.
    """
    times = [at for _, _, at in consumer.items]
    found: list[float] = []
    number = 0
    for cut in cut_at:
        while number < len(times) and times[number] < cut:
            number += 1
        if number + 2 < len(times):
            found.append(times[number + 2] - cut)
    return found


def _outcome(ref: Any, began: float, within_s: float | None = None) -> str:
    """Return what came of a task, until the time when the link heals."""
    left_s = began + ONE_WAY_S - time.monotonic() if within_s is None else within_s
    try:
        zgen.get(ref, timeout=max(0.0, left_s))
    except TimeoutError:
        return "waits"
    except ZgenError as error:
        return f"{type(error).__name__} after {time.monotonic() - began:.1f} s"
    return f"done after {time.monotonic() - began:.1f} s"


def _sleep_until(when: float) -> None:
    time.sleep(max(0.0, when - time.monotonic()))


ROWS: Final = {
    "RF6": Row(
        "half the nodes are cut off from all for 5 s",
        "nobody declared dead, nothing run again, streams go on within 7 s",
        rf6,
    ),
    "RF8": Row(
        "nothing passes from A to B; from B to A it does",
        "both sides agree within 10 s; no `get` hangs",
        rf8,
    ),
    "RF10": Row(
        "all connections are reset every 0.5 s",
        "nothing lost, repeated or run again; next item after 0.2 s (p50)",
        rf10,
    ),
}
