"""Run the simulated cluster under many seeds; see tests/sim/run.py for what one seed does.

    python scripts/sim.py --seeds 1000                 1,000 seeds, each scenario its share of them
    python scripts/sim.py --scenario borrowing         seeds 0 to 99 of one scenario
    python scripts/sim.py --scenario actors --seed 4711 --seeds 1    that seed alone
    python scripts/sim.py --scenario actors --seed 4711 --trace      its whole trace

Prints each failure with what repeats it and the last lines of its trace, then totals over all
seeds of each scenario.
Exits 1 if a seed failed, or if a mark that must be reached was not.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from time import monotonic

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "node")]

from tests.sim.run import Outcome  # noqa: E402  # the paths above come first
from tests.sim.scenarios import REQUIRED, SCENARIOS, SHARES  # noqa: E402
from zgen.sim.trace import Trace  # noqa: E402

TRACE_LINES_SHOWN = 40
#: A seed makes many cycles that go with it: looking for garbage more often only costs time.
GC_THRESHOLD = 50_000


def run_one(scenario: str, seed: int) -> Outcome:
    """Run one seed; here, since it goes to another process by its name."""
    return SCENARIOS[scenario](seed, None)


def look_for_garbage_seldom() -> None:
    """Set this process up for many seeds."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)


def run_seeds(
    first: int, count: int, processes: int = 1, scenario: str = "cluster"
) -> Iterator[Outcome]:
    """Run seeds ``first`` to ``first + count - 1``, in order, in so many processes."""
    seeds, run = range(first, first + count), partial(run_one, scenario)
    if processes == 1:
        yield from map(run, seeds)
        return
    with ProcessPoolExecutor(processes, initializer=look_for_garbage_seldom) as pool:
        yield from pool.map(run, seeds, chunksize=max(1, min(8, count // (4 * processes))))


def share_out(count: int | None) -> dict[str, int]:
    """Return how many seeds of each scenario ``count`` of them are, or what is run by default."""
    if count is None:
        return dict(SHARES)
    parts = sum(SHARES.values())
    return {scenario: -(-count * part // parts) for scenario, part in SHARES.items()}


def show_failure(outcome: Outcome, scenario: str) -> None:
    """Print what went wrong, the end of the trace, and how to see it again."""
    for line in outcome.lines[-TRACE_LINES_SHOWN:]:
        print(f"    {line[:240]}")
    print(f"seed {outcome.seed}: {outcome.failure}")
    where = f"--scenario {scenario} --seed {outcome.seed} --seeds 1"
    print(f"    repeat with: python scripts/sim.py {where}\n")


def show_totals(outcomes: list[Outcome], seconds: float) -> None:
    """Print the numbers of all seeds together, and of the median one."""
    print(f"\n{'':<24}{'total':>12}{'median seed':>14}")
    for name in outcomes[0].totals:
        numbers = [outcome.totals[name] for outcome in outcomes]
        if not any(numbers):
            continue  # another scenario's
        print(f"{name:<24}{sum(numbers):>12}{median(numbers):>14.0f}")
    spent = sum(outcome.seconds for outcome in outcomes)
    failed = sum(1 for outcome in outcomes if outcome.failure)
    print(
        f"\n{len(outcomes)} seeds, {failed} failed, {seconds:.1f} s, "
        f"{spent / len(outcomes):.2f} s of CPU a seed"
    )


def missing_marks(scenario: str, outcomes: list[Outcome]) -> list[str]:
    """Return the required marks that no seed reached, if there were enough seeds to ask."""
    seeds_min, marks = REQUIRED[scenario]
    reached = {mark for outcome in outcomes for mark in outcome.marks}
    return [mark for mark in marks if mark not in reached] if len(outcomes) >= seeds_min else []


def run_scenario(scenario: str, first: int, count: int, processes: int) -> bool:
    """Run seeds of one scenario and print how they went; return whether all is well."""
    began = monotonic()
    outcomes: list[Outcome] = []
    for outcome in run_seeds(first, count, processes, scenario):
        outcomes.append(outcome)
        if outcome.failure:
            show_failure(outcome, scenario)
    print(f"\n== {scenario}", end="")
    show_totals(outcomes, monotonic() - began)
    missing = missing_marks(scenario, outcomes)
    for mark in missing:
        print(f"mark never reached: {mark}")
    return not missing and not any(outcome.failure for outcome in outcomes)


def main() -> int:
    """Parse the arguments, run the seeds, print; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, help="how many, of all scenarios together or of one")
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--scenario", choices=("all", *SCENARIOS), default="all")
    parser.add_argument("--trace", action="store_true", help="print the whole trace of one seed")
    parser.add_argument("--digests", action="store_true", help="print each seed's digest")
    arguments = parser.parse_args()
    one = "cluster" if arguments.scenario == "all" else arguments.scenario
    if arguments.trace:
        trace = Trace(kept_max=None)
        outcome = SCENARIOS[one](arguments.seed, trace)
        print("\n".join(trace.lines()))
        print(outcome.failure or "green", outcome.digest)
        return 1 if outcome.failure else 0
    if arguments.digests:
        for outcome in run_seeds(arguments.seed, arguments.seeds or 100, 1, one):
            print(outcome.seed, outcome.digest)
        return 0
    if arguments.scenario == "all":
        counts = share_out(arguments.seeds)
    else:
        counts = {one: arguments.seeds or 100}
    began = monotonic()
    well = [
        run_scenario(scenario, arguments.seed, count, arguments.processes)
        for scenario, count in counts.items()
    ]
    print(f"\n{sum(counts.values())} seeds in all, {monotonic() - began:.1f} s")
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main())
