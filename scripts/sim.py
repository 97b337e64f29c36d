"""Run the simulated cluster under many seeds; see tests/sim/run.py for what one seed does.

    python scripts/sim.py --seeds 1000                 1,000 seeds, each scenario its share of them
    python scripts/sim.py --scenario borrowing         seeds 0 to 99 of one scenario
    python scripts/sim.py --scenario actors --seed 4711 --seeds 1    that seed alone
    python scripts/sim.py --scenario actors --seed 4711 --trace      its whole trace
    python scripts/sim.py --faults                     every kind of message under every fault

Prints each failure with what repeats it and the last lines of its trace, then totals over all
seeds of each scenario.
Exits 1 if a seed failed, or if a mark that must be reached was not.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from statistics import median
from time import monotonic

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "node")]

from tests.sim import aims  # noqa: E402  # the paths above come first
from tests.sim.run import Outcome  # noqa: E402  # the paths above come first
from tests.sim.scenarios import PARTS, REQUIRED, SCENARIOS, SHARES  # noqa: E402
from zgen.sim.trace import Trace  # noqa: E402

TRACE_LINES_SHOWN = 40
#: A seed makes many cycles that go with it: looking for garbage more often only costs time.
GC_THRESHOLD = 50_000
#: Seeds that a process takes at a time: few, since at the end the others wait for the last of them.
CHUNK_COUNT_MAX = 4


def run_one(job: tuple[str, int]) -> Outcome:
    """Run one seed of a scenario without its digest; another process knows this by its name."""
    scenario, seed = job
    return SCENARIOS[scenario](seed, Trace(hashes=False))


def look_for_garbage_seldom() -> None:
    """Set this process up for many seeds."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)


def run_jobs(jobs: list[tuple[str, int]], processes: int) -> Iterator[Outcome]:
    """Run seeds of scenarios, in order, in so many processes, none of which waits for another."""
    if processes == 1:
        yield from map(run_one, jobs)
        return
    chunk = max(1, min(CHUNK_COUNT_MAX, len(jobs) // (4 * processes)))
    with ProcessPoolExecutor(processes, initializer=look_for_garbage_seldom) as pool:
        yield from pool.map(run_one, jobs, chunksize=chunk)


def share_out(count: int | None) -> dict[str, int]:
    """Return how many seeds of each scenario ``count`` of them are, or what is run by default."""
    if count is None:
        return dict(SHARES)
    parts = sum(PARTS.values())
    return {scenario: -(-count * part // parts) for scenario, part in PARTS.items()}


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


def tell_of(scenario: str, coming: Iterable[Outcome]) -> bool:
    """Print how the seeds of one scenario go; return whether all is well."""
    began = monotonic()
    outcomes: list[Outcome] = []
    for outcome in coming:
        outcomes.append(outcome)
        if outcome.failure:
            show_failure(outcome, scenario)
    print(f"\n== {scenario}", end="")
    show_totals(outcomes, monotonic() - began)
    missing = missing_marks(scenario, outcomes)
    for mark in missing:
        print(f"mark never reached: {mark}")
    return not missing and not any(outcome.failure for outcome in outcomes)


def run_faults(processes: int) -> int:
    """Aim each fault at each kind of message, print what came of it; return the exit status."""
    began = monotonic()
    with ProcessPoolExecutor(processes, initializer=look_for_garbage_seldom) as pool:
        results = list(pool.map(aims.run_case, aims.cases(), chunksize=CHUNK_COUNT_MAX))
    for result in results:
        if result.failure:
            print(f"{result.case} in {result.scenario} {result.seed}: {result.failure}\n")
    print(aims.table(results))
    missed = [each.case for each in results if aims.is_missed(each)]
    for case in missed:
        print(f"not made: {case}")
    failed = sum(1 for each in results if each.failure)
    made = sum(each.hits for each in results)
    print(f"\n{len(results)} cases, {made} made, {failed} failed, {monotonic() - began:.0f} s")
    return 1 if failed or missed else 0


def main() -> int:
    """Parse the arguments, run the seeds, print; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, help="how many, of all scenarios together or of one")
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--scenario", choices=("all", *SCENARIOS), default="all")
    parser.add_argument("--trace", action="store_true", help="print the whole trace of one seed")
    parser.add_argument(
        "--faults", action="store_true", help="aim each fault at each kind of message; a table"
    )
    parser.add_argument("--digests", action="store_true", help="print each seed's digest")
    arguments = parser.parse_args()
    if arguments.faults:
        return run_faults(arguments.processes)
    one = "cluster" if arguments.scenario == "all" else arguments.scenario
    if arguments.trace:
        trace = Trace(kept_max=None)
        outcome = SCENARIOS[one](arguments.seed, trace)
        print("\n".join(trace.lines()))
        print(outcome.failure or "green", outcome.digest)
        return 1 if outcome.failure else 0
    if arguments.digests:
        for seed in range(arguments.seed, arguments.seed + (arguments.seeds or 100)):
            print(seed, SCENARIOS[one](seed, None).digest)
        return 0
    if arguments.scenario == "all":
        counts = share_out(arguments.seeds)
    else:
        counts = {one: arguments.seeds or 100}
    began = monotonic()
    jobs = [
        (scenario, arguments.seed + number)
        for scenario, count in counts.items()
        for number in range(count)
    ]
    outcomes = run_jobs(jobs, arguments.processes)
    well = [tell_of(scenario, islice(outcomes, count)) for scenario, count in counts.items()]
    print(f"\n{len(jobs)} seeds in all, {monotonic() - began:.1f} s")
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main())
