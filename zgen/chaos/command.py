"""`zgen chaos`: what the command line says, and what it prints."""

import argparse
import json
import os
import signal
from random import Random
from types import FrameType
from typing import Any

from zgen.chaos.blows import heal_node
from zgen.chaos.run import Chaos, Outcome
from zgen.chaos.schedule import ACTIONS, Fault, at_times, by_rate, seconds
from zgen.chaos.scope import Scope
from zgen.mishaps import REPORT_FOLDER
from zgen.tables import table_text

#: In place of a fault: show what rules have hit.
REPORT = "report"
#: In place of a fault: mend what a killed run left.
HEAL = "heal"
_FOR_S = 60.0


def add_to(commands: Any) -> None:
    """Add the command to those of ``zgen``."""
    told = "\n".join(f"  {name:<14}{what}" for name, (what, _) in ACTIONS.items())
    chaos = commands.add_parser(
        "chaos",
        help="break things beside a program: kill, pause, cut, lose, delay, fill",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Make faults at the nodes of one cluster on this machine, and heal them at "
        f"the end.\n\nfaults, those that last with :SECONDS behind them:\n{told}\n\n"
        f"`zgen chaos {REPORT}` shows what the rules of ZGEN_CHAOS have hit, `zgen chaos {HEAL}` "
        "mends what\nkilled runs left: what is stopped goes on, rules are gone.",
    )
    chaos.add_argument("actions", nargs="*", metavar="fault", help="one of these at a time")
    chaos.add_argument("--every", type=seconds, metavar="TIME", help="mean time between faults")
    chaos.add_argument("--at", action="append", default=[], metavar="TIME:FAULT", help="this then")
    chaos.add_argument("--for", dest="lasts", type=seconds, metavar="TIME", help="default: 60s")
    chaos.add_argument("--seed", type=int, help="what times and victims follow from")
    chaos.add_argument("--address", metavar="NODE", help="its cluster; default: the only one here")
    chaos.add_argument("--node", action="append", default=[], metavar="NODE", help="only this one")
    chaos.add_argument("--all", action="store_true", help="all nodes of this user, of any cluster")
    chaos.add_argument("--dry-run", action="store_true", help="print the schedule and do nothing")
    chaos.add_argument("--hits", metavar="DIR", help=f"of {REPORT}: the folder that rules name")
    chaos.add_argument("--json", action="store_true", help="for programs")
    chaos.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Do what the command line says; return 0 if something was hit.

    Raises:
        ValueError: It makes no sense.
    """
    if sum(map(bool, (given.address, given.node, given.all))) > 1:
        raise ValueError("--address, --node and --all exclude each other")
    if given.actions == [REPORT]:
        return _report(given)
    if given.actions == [HEAL]:
        return _heal(given)
    seed = Random().getrandbits(32) if given.seed is None else given.seed
    faults, until_s = _schedule(given, Random(f"chaos {seed}"))
    if given.dry_run:
        _say_schedule(faults, seed, given.json)
        return 0
    scope = Scope(given.address, tuple(given.node), given.all)
    found = scope.nodes()
    if not given.json:
        here = " ".join(node.address.peer.hex()[:8] for node in found) or "none"
        _say(f"seed {seed}, {len(faults)} faults, {len(found)} nodes: {here}")

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    outcomes: list[Outcome] = []

    def tell(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if not given.json:
            _say(_line(outcome))

    try:
        Chaos(faults, scope).run(tell, until_s)
    except KeyboardInterrupt:
        if not given.json:
            _say("interrupted; all is healed")
    if given.json:
        rows = [outcome.row() for outcome in outcomes]
        _say(json.dumps({"seed": seed, "faults": rows}, indent=2))
    else:
        _say(_summary(outcomes))
    return 0 if any(outcome.made for outcome in outcomes) else 1


def _schedule(given: argparse.Namespace, dice: Random) -> tuple[list[Fault], float]:
    """Return the faults, and how long the run lasts."""
    if bool(given.actions) != (given.every is not None):
        raise ValueError("name faults and --every TIME, or times by --at TIME:FAULT")
    if not given.actions and not given.at:
        raise ValueError(f"name a fault: {', '.join(ACTIONS)}")
    faults = at_times(given.at, dice)
    usual_s = _FOR_S if given.actions else 0.0
    for_s = usual_s if given.lasts is None else given.lasts
    if given.actions:
        faults += by_rate(given.actions, given.every, for_s, dice)
    return sorted(faults, key=lambda fault: fault.at_s), for_s


def _say_schedule(faults: list[Fault], seed: int, for_programs: bool) -> None:
    if for_programs:
        rows = [{"at_s": f.at_s, "action": f.action, "lasts_s": f.lasts_s} for f in faults]
        _say(json.dumps({"seed": seed, "faults": rows}, indent=2))
        return
    _say(f"seed {seed}, {len(faults)} faults")
    for fault in faults:
        lasts = f" for {fault.lasts_s:g} s" if fault.lasts_s else ""
        _say(f"{fault.at_s:8.1f} s  {fault.action}{lasts}")


def _line(outcome: Outcome) -> str:
    """Return what became of a fault."""
    head = f"{outcome.at_s:8.1f} s  {outcome.action:<13}"
    if not outcome.made:
        return f"{head} not made: {outcome.detail}"
    lasts = f" for {outcome.lasts_s:g} s" if outcome.lasts_s else ""
    detail = f" ({outcome.detail})" if outcome.detail else ""
    return f"{head} pid {outcome.pid}, {outcome.role} of node {outcome.node[:8]}{lasts}{detail}"


def _summary(outcomes: list[Outcome]) -> str:
    """Return how often each fault was made."""
    rows = []
    for action in ACTIONS:
        made = [outcome.made for outcome in outcomes if outcome.action == action]
        if made:
            rows.append((action, str(sum(made)), str(len(made) - sum(made))))
    if not any(outcome.made for outcome in outcomes):
        return "nothing was hit"
    return table_text(("FAULT", "MADE", "NOT MADE"), rows)


def _heal(given: argparse.Namespace) -> int:
    """Mend what killed runs left at nodes here; by default at all, since it harms nobody."""
    chosen = Scope(given.address, tuple(given.node), not (given.address or given.node)).nodes()
    done = {node.address.peer.hex(): heal_node(node.folder) for node in chosen}
    if given.json:
        _say(json.dumps({"healed": {node: what for node, what in done.items() if what}}, indent=2))
        return 0
    for node, what in done.items():
        _say(f"node {node[:8]}: {'; '.join(what) or 'nothing to heal'}")
    if not done:
        _say("no node of this user runs here")
    return 0


def _report(given: argparse.Namespace) -> int:
    """Show what rules have hit; return 0 if that is something."""
    from zgen.mishaps import tally
    from zgen.mishaps.catalogue import Action

    places = [given.hits] if given.hits else []
    everything = not (given.address or given.node)
    chosen = Scope(given.address, tuple(given.node), everything).nodes()
    places = places or [os.path.join(node.folder, REPORT_FOLDER) for node in chosen]
    counted = [each for place in places for each in tally.read(place)]
    sums = tally.total(counted)
    if given.json:
        processes = [{"name": c.name, "pid": c.pid, "kinds": c.kinds} for c in counted]
        _say(json.dumps({"total": sums, "processes": processes}, indent=2))
    elif not tally.hits(sums):
        seen = sum(row.get(tally.SEEN, 0) for row in sums.values())
        _say(f"nothing was hit: {len(counted)} processes have counted {seen} messages")
    else:
        columns = (tally.SEEN, *(action.value for action in Action))
        rows = [
            (kind, *(str(row.get(column, 0)) for column in columns)) for kind, row in sums.items()
        ]
        _say(table_text(("MESSAGE", *(column.upper() for column in columns)), rows))
    return 0 if tally.hits(sums) else 1


def _say(text: str) -> None:
    print(text, flush=True)
