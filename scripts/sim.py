"""Run the simulated cluster under many seeds; see tests/sim/run.py for what one seed does.

    python scripts/sim.py --seeds 100                  seeds 0 to 99
    python scripts/sim.py --seed 4711 --seeds 1        that seed alone
    python scripts/sim.py --seed 4711 --trace          its whole trace

Prints each failure with what repeats it and the last lines of its trace, then totals over all
seeds.
Exits 1 if a seed failed, or if a mark that must be reached was not.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from time import monotonic

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "node")]

from tests.sim.actor_run import run_actors  # noqa: E402  # the paths above come first
from tests.sim.marks import REQUIRED  # noqa: E402  # the paths above come first
from tests.sim.nodes_run import run_nodes  # noqa: E402
from tests.sim.run import Outcome, run_seed  # noqa: E402
from tests.sim.state_run import run_state  # noqa: E402
from zgen.sim.trace import Trace  # noqa: E402

SCENARIOS = {"cluster": run_seed, "actors": run_actors, "nodes": run_nodes, "state": run_state}
TRACE_LINES_SHOWN = 40
#: From this many seeds on, the required marks must all have been reached.
MARKED_SEEDS_MIN = 100


def run_seeds(
    first: int, count: int, processes: int = 1, scenario: str = "cluster"
) -> Iterator[Outcome]:
    """Run seeds ``first`` to ``first + count - 1``, in order, in so many processes."""
    seeds = range(first, first + count)
    run = SCENARIOS[scenario]
    if processes == 1:
        yield from map(run, seeds)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(run, seeds, chunksize=max(1, min(8, count // processes)))


def show_failure(outcome: Outcome) -> None:
    """Print what went wrong, the end of the trace, and how to see it again."""
    for line in outcome.lines[-TRACE_LINES_SHOWN:]:
        print(f"    {line[:240]}")
    print(f"seed {outcome.seed}: {outcome.failure}")
    print(f"    repeat with: make sim SEEDS=1 SEED={outcome.seed}\n")


def show_totals(outcomes: list[Outcome], seconds: float) -> None:
    """Print the numbers of all seeds together, and of the median one."""
    print(f"\n{'':<24}{'total':>12}{'median seed':>14}")
    for name in outcomes[0].totals:
        numbers = [outcome.totals[name] for outcome in outcomes]
        print(f"{name:<24}{sum(numbers):>12}{median(numbers):>14.0f}")
    spent = sum(outcome.seconds for outcome in outcomes)
    failed = sum(1 for outcome in outcomes if outcome.failure)
    print(
        f"\n{len(outcomes)} seeds, {failed} failed, {seconds:.1f} s, "
        f"{spent / len(outcomes):.2f} s of CPU a seed"
    )


def missing_marks(outcomes: list[Outcome]) -> list[str]:
    """Return the required marks that no seed reached."""
    reached = {mark for outcome in outcomes for mark in outcome.marks}
    return [mark for mark in REQUIRED if mark not in reached]


def main() -> int:
    """Parse the arguments, run the seeds, print; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=100, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--scenario", choices=tuple(SCENARIOS), default="cluster")
    parser.add_argument("--trace", action="store_true", help="print the whole trace of one seed")
    parser.add_argument("--digests", action="store_true", help="print each seed's digest")
    arguments = parser.parse_args()
    if arguments.trace:
        trace = Trace(kept_max=None)
        run = SCENARIOS[arguments.scenario]
        outcome = run(arguments.seed, trace)
        print("\n".join(trace.lines()))
        print(outcome.failure or "green", outcome.digest)
        return 1 if outcome.failure else 0
    began = monotonic()
    outcomes: list[Outcome] = []
    scenario = arguments.scenario
    for outcome in run_seeds(arguments.seed, arguments.seeds, arguments.processes, scenario):
        outcomes.append(outcome)
        if outcome.failure:
            show_failure(outcome)
        if arguments.digests:
            print(outcome.seed, outcome.digest)
    if arguments.digests:
        return 0
    show_totals(outcomes, monotonic() - began)
    is_enough = len(outcomes) >= MARKED_SEEDS_MIN and scenario == "cluster"
    missing = missing_marks(outcomes) if is_enough else []
    for mark in missing:
        print(f"mark never reached: {mark}")
    return 1 if missing or any(outcome.failure for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
