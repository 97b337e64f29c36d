"""Faults at processes and nodes of this machine, and what heals them."""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from zgen.chaos import filling, victims
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
#: Connections that one command resets; each takes a few words of it.
_RESET_COUNT_MAX: Final = 100
_PORT: Final = re.compile(r":(\d+)$")
_PID: Final = re.compile(r"pid=(\d+)")


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


def heal_node(folder: str) -> list[str]:
    """Let stopped processes of a node go on and take its rules away; return what was done."""
    done: list[str] = []
    stopped = [pid for pid in folders.marked(folder) if victims.is_stopped(pid)]
    if stopped:
        folders.signal_marked(folder, signal.SIGCONT)
        done.append(f"{len(stopped)} stopped processes go on")
    path = os.path.join(folder, LIVE_RULES_FILE)
    if os.path.exists(path):
        folders.unlink_quietly(path)
        done.append("its messages are harmed no more")
    return done


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
    folder = victim.node.folder

    def heal() -> None:
        folders.signal_one(folder, victim.pid, signal.SIGCONT)

    blow.heal = heal
    return blow


def _pause_node(_: Fault, victim: Victim) -> Blow:
    node = victim.node
    folders.signal_marked(node.folder, signal.SIGSTOP, spared=node.supervisor)
    return Blow(victim, heal=lambda: folders.signal_marked(node.folder, signal.SIGCONT))


def _cut(_: Fault, victim: Victim) -> Blow:
    if os.geteuid() or shutil.which("ss") is None:
        return Blow(None, "only root resets connections, by the program ss")
    inside = _inside(victim.node)
    if inside is None:
        return Blow(None, "its network namespace cannot be entered: the program nsenter is missing")
    mine = dict.fromkeys(folders.marked(victim.node.folder))
    listed = _ss(inside, "-p")
    ends: dict[str, None] = {}
    for line in listed.stdout.splitlines():
        port = _PORT.search(line.split()[2]) if len(line.split()) > 3 else None
        if port is not None and any(int(pid) in mine for pid in _PID.findall(line)):
            ends[f"sport = :{port[1]}"] = None
    count, every = 0, list(ends)
    for at in range(0, len(every), _RESET_COUNT_MAX):
        words = " or ".join(every[at : at + _RESET_COUNT_MAX])
        listed = _ss(inside, "-K", f"( {words} )")
        count += len(listed.stdout.splitlines())
    if not count:
        return Blow(None, listed.stderr.strip() or "the node has no tcp connections open")
    return Blow(victim, f"{count} connections")


def _ss(inside: list[str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [*inside, "ss", "-H", "-t", "-n", words[0], "state", "established", *words[1:]]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _inside(node: NodeFacts) -> list[str] | None:
    """Return what runs a command in the network of a node; None if it is not to be entered."""
    theirs = f"/proc/{node.daemon}/ns/net"
    with suppress(OSError):
        if os.stat(theirs).st_ino != os.stat("/proc/self/ns/net").st_ino:
            return ["nsenter", f"--net={theirs}"] if shutil.which("nsenter") else None
    return []


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
    filled = filling.fill(victim.node)
    return Blow(victim if filled.heal else None, filled.told, filled.heal)


def _signal(victim: Victim, number: int) -> Blow:
    if not folders.signal_one(victim.node.folder, victim.pid, number):
        return Blow(None, f"process {victim.pid} has just ended")
    return Blow(victim)


_BLOWS: Final[dict[str, tuple[Choose, Callable[[Fault, Victim], Blow]]]] = {
    "kill-worker": (victims.workers, _kill),
    "kill-zygote": (victims.zygotes, _kill),
    "kill-daemon": (victims.daemons, _kill),
    "kill-supervisor": (victims.supervisors, _kill),
    "kill-node": (victims.whole_nodes, _kill_node),
    "pause-worker": (victims.workers, _pause),
    "pause-node": (victims.whole_nodes, _pause_node),
    "cut": (victims.whole_nodes, _cut),
    "lose": (victims.whole_nodes, _rules),
    "delay": (victims.whole_nodes, _rules),
    "fill-store": (victims.whole_nodes, _fill),
}
