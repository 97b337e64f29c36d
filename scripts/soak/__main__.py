"""The soak: mixed work on four nodes, a fault every few seconds, every item checked; one table.

    python -m scripts.soak --minutes 30            as root, for network namespaces
    python -m scripts.soak --seed 7 --every 2      the faults of seed 7, more often
    python -m scripts.soak --loopback              without namespaces, and without cuts of links

This program owns all that runs and sits on a node of its own, which no fault befalls. The faults
follow from the seed alone; what runs when one comes does not. At the end all is mended, each kind
of work runs once more, and nothing may be left. Exits with 1 if anything was lost, repeated, wrong,
hung or left behind, or a node that lived was held for dead.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Final

from scripts.soak.run import Plan, run
from scripts.soak.schedule import KINDS, OF_LINKS, schedule
from zgen.testing import leaks

ROOT: Final = Path(__file__).resolve().parents[2]
NODES_COUNT: Final = 4


def main(arguments: list[str]) -> int:
    """Run a soak; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30.0, help="how long faults come")
    parser.add_argument("--seed", type=int, help="what the faults follow from; else the time")
    parser.add_argument("--every", type=float, default=5.0, help="mean seconds between faults")
    parser.add_argument("--clients", type=int, default=6, help="operations at a time")
    parser.add_argument("--bound", type=float, default=120.0, help="seconds until one has hung")
    parser.add_argument("--kinds", help=f"of {','.join(KINDS)}; default: all that can be made")
    parser.add_argument("--only", default="", help="operations with this in their names")
    parser.add_argument("--loopback", action="store_true", help="no network namespaces")
    parser.add_argument("--stop", action="store_true", help="end when anything has gone wrong")
    parser.add_argument("--write", action="store_true", help="put it into docs/reliability.md")
    parser.add_argument("--faults", action="store_true", help="print the schedule and end")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    seed = int(time.time()) if given.seed is None else given.seed
    loopback = given.loopback or os.geteuid() != 0
    kinds = tuple(given.kinds.split(",")) if given.kinds else tuple(KINDS)
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        parser.error(f"no such faults: {unknown}")
    kinds = tuple(kind for kind in kinds if not (loopback and kind in OF_LINKS))
    faults = schedule(seed, given.minutes * 60, given.every, NODES_COUNT, kinds)
    if given.faults:
        print(*faults, sep="\n")
        return 0
    if given.alone:
        plan = Plan(
            seed=seed,
            seconds=given.minutes * 60,
            faults=faults,
            nodes=NODES_COUNT,
            clients=given.clients,
            namespaces=not loopback,
            bound_s=given.bound,
            only=given.only,
            stops=given.stop,
            writes=given.write,
        )
        return 0 if run(plan) else 1
    print(f"seed {seed}, {len(faults)} faults in {given.minutes:g} minutes", flush=True)
    with tempfile.TemporaryDirectory(prefix="zs-") as folder:
        command = [sys.executable, "-m", "scripts.soak", *arguments, "--seed", str(seed), "--alone"]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "node")]),
            "XDG_RUNTIME_DIR": folder,
            leaks.MARK: uuid.uuid4().hex[:12],
        }
        return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
