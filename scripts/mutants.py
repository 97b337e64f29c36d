"""Remove one fence at a time and require that its seed turns red; see tests/sim/mutants.py.

    python scripts/mutants.py               each mutant at its seed, and each seed green without it
    python scripts/mutants.py --search      look for the first seed that kills each mutant
    python scripts/mutants.py --search --write      and write the seeds down
    python scripts/mutants.py --search -k DOWN      only those with this in their name

A mutant whose text no longer occurs exactly once in its file is a failure: the list is out of date.
Nothing is written: the source is changed on its way through the import machinery of a fresh
process.
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.machinery
import importlib.util
import multiprocessing
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "node")]

from tests.sim.mutant import Mutant  # noqa: E402  # the paths above come first
from tests.sim.mutants import MUTANTS  # noqa: E402  # the paths above come first

LISTS: Final = sorted((ROOT / "tests" / "sim").glob("mutants*.py"))
PROCESSES: Final = 2
SEARCH_SEEDS: Final = 400
#: Recorded for a mutant whose last seed does not kill it any more until a new one is found.
NO_SEED: Final = -1
RED: Final = 3
GREEN: Final = 0


class MutantLoader(importlib.machinery.SourceFileLoader):
    """Loads one module with its fence removed."""

    mutant: Mutant

    def get_code(self, fullname: str) -> CodeType:
        """Compile the changed source; no bytecode is read or written."""
        source = Path(self.path).read_text(encoding="utf-8")
        changed = source.replace(self.mutant.text, self.mutant.without)
        return compile(changed, self.path, "exec", dont_inherit=True)


class MutantFinder(importlib.abc.MetaPathFinder):
    """Finds that one module before anybody else does."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant
        self.module = mutant.file.removeprefix("node/").removesuffix(".py").replace("/", ".")

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of the changed module, or None for any other."""
        if fullname != self.module:
            return None
        place = str(ROOT / self.mutant.file)
        loader = MutantLoader(fullname, place)
        loader.mutant = self.mutant
        return importlib.util.spec_from_file_location(fullname, place, loader=loader)


def runner(scenario: str) -> Callable[[int], str]:
    """Return what runs a seed of a scenario and tells what went wrong, or nothing."""
    from tests.sim.scenarios import SCENARIOS

    if scenario in SCENARIOS:
        from zgen.sim.trace import Trace

        run = SCENARIOS[scenario]
        return lambda seed: str(run(seed, Trace(hashes=False)).failure or "")
    if scenario == "self-calls":
        from tests.sim.self_calls import run_self_calls

        return lambda seed: str(run_self_calls(seed).failure or "")
    if scenario == "session":
        from tests.sim.echo import run_echo

        return run_echo
    if scenario == "swim":
        from tests.sim.swim_run import run_swim

        return run_swim
    if scenario == "joined":
        from tests.sim.joined import run_joined

        return run_joined
    from tests.sim.late_reports import run_late

    return run_late


def run_here(mutant: Mutant | None, scenario: str, seeds: Sequence[int]) -> int:
    """Run seeds in this process until one is red; print it and return RED, or GREEN."""
    if mutant is not None:
        sys.meta_path.insert(0, MutantFinder(mutant))
    run = runner(scenario)
    for seed in seeds:
        failure = run(seed)
        if failure:
            print(f"{seed}: {failure}")
            return RED
    return GREEN


def run_apart(number: int | None, scenario: str, first: int, count: int) -> tuple[int, str]:
    """Run seeds in a fresh process, mutated if asked; return its status and last words."""
    command = [sys.executable, __file__, "--run", scenario, str(first), str(count)]
    if number is not None:
        command += ["--mutant", str(number)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    words = (ended.stdout if ended.returncode == RED else ended.stderr).strip()
    return ended.returncode, words


def run_whole(job: tuple[str, int]) -> str:
    """Run a seed with all fences; another process knows this by its name."""
    scenario, seed = job
    return runner(scenario)(seed)


def run_mutated(number: int) -> tuple[int, str]:
    """Run a mutant's seed in this process, which is fresh; return the status and last words."""
    mutant = MUTANTS[number]
    if MutantFinder(mutant).module in sys.modules:  # it was loaded before it could be changed
        return run_apart(number, mutant.scenario, mutant.seed, 1)
    sys.meta_path.insert(0, MutantFinder(mutant))
    try:
        failure = runner(mutant.scenario)(mutant.seed)
    except Exception as error:
        return 1, repr(error)
    return (RED, f"{mutant.seed}: {failure}") if failure else (GREEN, "")


def preloaded() -> list[str]:
    """Return modules that take long to load, and of which none is, or loads, a mutant's."""
    wire = (ROOT / "zgen" / "wire").glob("[a-z]*.py")
    return ["zmq", "zgen.limits", "zgen.exceptions", *(f"zgen.wire.{path.stem}" for path in wire)]


def outdated(mutant: Mutant) -> str:
    """Return why a mutant does not fit the source, or nothing."""
    count = (ROOT / mutant.file).read_text(encoding="utf-8").count(mutant.text)
    return "" if count == 1 else f"its text occurs {count} times in {mutant.file}"


def recorded(numbers: Sequence[int]) -> int:
    """Require red with, and green without, each mutant at its seed; return the exit status."""
    unknown = [MUTANTS[number].name for number in numbers if MUTANTS[number].seed == NO_SEED]
    numbers = [number for number in numbers if MUTANTS[number].seed != NO_SEED]
    seeds = sorted({(MUTANTS[number].scenario, MUTANTS[number].seed) for number in numbers})
    faults = 0
    with ProcessPoolExecutor(PROCESSES) as together:  # nothing is mutated there
        for (scenario, seed), words in zip(seeds, together.map(run_whole, seeds), strict=True):
            if words:
                faults += 1
                print(f"NOT GREEN  {scenario} seed {seed}: {words[:300]}")
    apart = multiprocessing.get_context("forkserver")
    apart.set_forkserver_preload(["__main__", *preloaded()])
    with apart.Pool(PROCESSES, maxtasksperchild=1) as pool:
        red = pool.imap(run_mutated, numbers)
        for number, (status, words) in zip(numbers, red, strict=True):
            mutant = MUTANTS[number]
            stale = outdated(mutant)
            killed = status == RED and not stale
            faults += not killed
            verdict = "killed  " if killed else "SURVIVES"
            said = stale or words.partition("\n")[0]
            print(f"{verdict} {mutant.promise} {mutant.scenario} {mutant.name}\n    {said[:150]}")
    for name in unknown:
        print(f"NO SEED  {name}")
    print(f"{len(numbers)} mutants, {faults} faults; {len(unknown)} whose seed is to be looked for")
    return 1 if faults else 0


def write_down(mutant: Mutant, seed: int) -> None:
    """Change the recorded seed of a mutant in the list."""
    for path in LISTS:
        head, name, tail = path.read_text(encoding="utf-8").partition(f'"{mutant.name}"')
        if name:
            tail = re.sub(r"\n        -?\d+,\n    \),", f"\n        {seed},\n    ),", tail, count=1)
            path.write_text(head + name + tail, encoding="utf-8")


def search(numbers: Sequence[int], write: bool) -> int:
    """Print the first seed that kills each mutant; return the exit status."""
    missing = 0

    def look(number: int) -> tuple[int, str]:
        if stale := outdated(MUTANTS[number]):
            return 1, stale
        return run_apart(number, MUTANTS[number].scenario, 0, SEARCH_SEEDS)

    with ThreadPoolExecutor(PROCESSES) as pool:
        for number, (status, words) in zip(numbers, pool.map(look, numbers), strict=True):
            seed, _, failure = words.partition(":")
            mutant = MUTANTS[number]
            found = int(seed) if status == RED else None
            missing += found is None
            note = "" if found == mutant.seed else f" (recorded: {mutant.seed})"
            print(f"seed {found}{note}  {mutant.scenario}  {mutant.name}\n    {failure[:150]!r}")
            if found is None:
                print(f"    {words[-300:]}")
            elif write and found != mutant.seed:
                write_down(mutant, found)
    return 1 if missing else 0


def main() -> int:
    """Parse the arguments and do what they say; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--search", action="store_true", help="look for seeds")
    parser.add_argument("--write", action="store_true", help="write the found seeds down")
    parser.add_argument("-k", default="", help="only mutants with this in their name")
    parser.add_argument("--run", nargs=3, metavar=("SCENARIO", "FIRST", "COUNT"))
    parser.add_argument("--mutant", type=int, default=None)
    arguments = parser.parse_args()
    if arguments.run:
        scenario, first, count = arguments.run
        mutant = None if arguments.mutant is None else MUTANTS[arguments.mutant]
        return run_here(mutant, scenario, range(int(first), int(first) + int(count)))
    numbers = [number for number, each in enumerate(MUTANTS) if arguments.k in each.name]
    return search(numbers, arguments.write) if arguments.search else recorded(numbers)


if __name__ == "__main__":
    sys.exit(main())
