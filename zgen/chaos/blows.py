"""Faults at processes and nodes of this machine, and what heals them."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from zgen.chaos import victims
from zgen.chaos.schedule import Fault
from zgen.chaos.victims import Choose, Victim
from zgen.io import folders
from zgen.io.spawn import NodeFacts
from zgen.mishaps import LIVE_RULES_FILE, REPORT_FOLDER
from zgen.slotted import slotted

#: Heals what a fault did; harmless if its victim is gone.
Heal = Callable[[], None]
#: Rules of a node while a fault lasts.
_RULES: Final[dict[str, dict[str, object]]] = {
    "lose": {"msg": "*", "drop": 0.2},
    "delay": {"msg": "*", "delay_ms": [0, 200]},
}
#: Fills a node's store up to a share of what is free in it, until its input ends.
_FILLER: Final = """
import sys, zgen
zgen.init(address=sys.argv[1], log_to_driver=False)
left, kept = int(sys.argv[2]), []
while left >= 1 << 20:
    size = min(left, 64 << 20)
    kept.append(zgen.put(bytes(size - 4096)))
    left -= size
print("full", flush=True)
sys.stdin.read()
"""
_FILLED_SHARE: Final = 0.98
_FILL_BYTES_MIN: Final = 2 << 20


@slotted
class Blow:
    """What a fault did.

    Attributes:
        victim: To whom; None if there was nobody, or it could not be done.
        why: Why it could not be done, or what was done in words.
        heal: What is to be done when it is over, or at the end; None for nothing.
    """

    victim: Victim | None
    why: str = ""
    heal: Heal | None = None


def strike(fault: Fault, found: list[NodeFacts]) -> Blow:
    """Make a fault among these nodes."""
    choose, act = _BLOWS[fault.action]
    victim = choose(found, fault.die)
    if victim is None:
        return Blow(None, "nobody is there whom it could befall")
    return act(fault, victim)


def _kill(_: Fault, victim: Victim) -> Blow:
    return _signal(victim, signal.SIGKILL)


def _kill_node(_: Fault, victim: Victim) -> Blow:
    folder = victim.node.folder
    folders.signal_marked(folder, signal.SIGSTOP)  # so that none sees another one die
    folders.end_marked(folder)
    folders.sweep()
    return Blow(victim)


def _pause(_: Fault, victim: Victim) -> Blow:
    blow = _signal(victim, signal.SIGSTOP)

    def heal() -> None:
        with suppress(ProcessLookupError):
            os.kill(victim.pid, signal.SIGCONT)

    blow.heal = heal
    return blow


def _pause_node(_: Fault, victim: Victim) -> Blow:
    node = victim.node
    folders.signal_marked(node.folder, signal.SIGSTOP, spared=node.supervisor)
    return Blow(victim, heal=lambda: folders.signal_marked(node.folder, signal.SIGCONT))


def _cut(_: Fault, victim: Victim) -> Blow:
    if os.geteuid() or shutil.which("ss") is None:
        return Blow(None, "only root resets connections, by the program ss")
    port = victim.node.address.tcp.rpartition(":")[2]
    if not port:
        return Blow(None, "the node has no tcp connections")
    ends = [f"( sport = :{port} or dport = :{port} )"]
    done = subprocess.run(
        ["ss", "-K", "-H", "-t", "-n", "state", "established", *ends],
        capture_output=True,
        text=True,
        check=False,
    )
    count = len(done.stdout.splitlines())
    if not count:
        return Blow(None, done.stderr.strip() or "the node has no tcp connections open")
    return Blow(victim, f"{count} connections")


def _rules(fault: Fault, victim: Victim) -> Blow:
    folder = victim.node.folder
    if not os.path.isdir(os.path.join(folder, REPORT_FOLDER)):
        return Blow(None, "the node was started without ZGEN_CHAOS; {} is enough")
    path = os.path.join(folder, LIVE_RULES_FILE)
    if os.path.exists(path):
        return Blow(None, "the node has such rules already")
    rules = {"seed": fault.die, "rules": [_RULES[fault.action]]}
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        json.dump(rules, file)
    os.replace(f"{path}.new", path)
    return Blow(victim, heal=lambda: folders.unlink_quietly(path))


def _fill(_: Fault, victim: Victim) -> Blow:
    from zgen.io.inquiry import query_node

    node = victim.node
    store = query_node(node.address, node.folder)["store"]
    free = round((store["capacity_bytes"] - store["used_bytes"]) * _FILLED_SHARE)
    if free < _FILL_BYTES_MIN:
        return Blow(None, "the store is full already")
    filler = subprocess.Popen(
        [sys.executable, "-c", _FILLER, node.folder, str(free)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )

    def heal() -> None:
        with suppress(subprocess.TimeoutExpired):
            filler.communicate(timeout=5)
        filler.kill()
        filler.wait()

    return Blow(victim, f"{free >> 20} MiB", heal)


def _signal(victim: Victim, number: int) -> Blow:
    try:
        os.kill(victim.pid, number)
    except ProcessLookupError:
        return Blow(None, f"process {victim.pid} has just ended")
    return Blow(victim)


_BLOWS: Final[dict[str, tuple[Choose, Callable[[Fault, Victim], Blow]]]] = {
    "kill-worker": (victims.workers, _kill),
    "kill-zygote": (victims.zygotes, _kill),
    "kill-daemon": (victims.daemons, _kill),
    "kill-node": (victims.whole_nodes, _kill_node),
    "pause-worker": (victims.workers, _pause),
    "pause-node": (victims.whole_nodes, _pause_node),
    "cut": (victims.whole_nodes, _cut),
    "lose": (victims.whole_nodes, _rules),
    "delay": (victims.whole_nodes, _rules),
    "fill-store": (victims.whole_nodes, _fill),
}
