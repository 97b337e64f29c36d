"""Run rows in rounds: all runtimes by turns, and once more where a figure is too close to call."""

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from scripts.benchmark.child import Outcome
from scripts.benchmark.subject import RuntimeName
from scripts.benchmark.table import WITHOUT_FLOOR, WITHOUT_RAY, Line, lines_of

#: A row is given up on a runtime that failed it this often.
FAILURES_MAX: Final = 2

Measure = Callable[[RuntimeName, str, Path], Outcome]


@dataclass(slots=True)
class Results:
    """All outcomes of a run, by row and runtime."""

    outcomes: dict[tuple[str, RuntimeName], list[Outcome]] = field(default_factory=dict)

    def add(self, row: str, runtime: RuntimeName, outcome: Outcome) -> None:
        """Keep one more outcome."""
        self.outcomes.setdefault((row, runtime), []).append(outcome)

    def values(self, line: Line, runtime: RuntimeName) -> list[float]:
        """List the figures of one line on one runtime, oldest first."""
        outcomes = self.outcomes.get((line.row, runtime), [])
        return [each.figures[line.metric] for each in outcomes if line.metric in each.figures]

    def median(self, line: Line, runtime: RuntimeName) -> float | None:
        """Give the median of a line's figures, if there are any."""
        values = self.values(line, runtime)
        return statistics.median(values) if values else None

    def score(self, line: Line) -> float | None:
        """Give the number that is held against the line's limits."""
        zgen, ray, floor = (self.median(line, name) for name in ("zgen", "ray", "floor"))
        return line.score(zgen, ray, floor)

    def failures(self, row: str, runtime: RuntimeName) -> list[str]:
        """List why measurements of a row failed."""
        return [each.failure for each in self.outcomes.get((row, runtime), []) if each.failure]

    def left_behind(self, runtime: RuntimeName) -> int:
        """Count the processes a runtime left behind in all its measurements."""
        return sum(
            each.left_behind
            for (_, measured), outcomes in self.outcomes.items()
            if measured == runtime
            for each in outcomes
        )


class Rounds:
    """The course of one benchmark.

    Args:
        pythons: the interpreter of each runtime to measure, in the order of the first round.
        measure: runs one measurement.
        results: takes what comes out.
    """

    def __init__(
        self, pythons: dict[RuntimeName, Path], measure: Measure, results: Results
    ) -> None:
        self._pythons = pythons
        self._measure = measure
        self._results = results

    def run(self, rows: Sequence[str], rounds: int) -> None:
        """Measure rows, and those whose figure lies close to its *must* as often again."""
        self._series(rows, rounds, "round")
        close = [row for row in rows if self._too_close(row)]
        if close:
            self._series(close, rounds, "extra round")

    def _series(self, rows: Sequence[str], rounds: int, name: str) -> None:
        for index in range(rounds):
            for row in rows:
                for runtime in self._turn(index):
                    if self._wanted(row, runtime):
                        self._once(row, runtime, f"{name} {index + 1}/{rounds}")

    def _turn(self, index: int) -> list[RuntimeName]:
        """Start each round with another runtime, so that none always has the warm machine."""
        order = list(self._pythons)
        start = index % len(order)
        return order[start:] + order[:start]

    def _wanted(self, row: str, runtime: RuntimeName) -> bool:
        if runtime == "floor" and row in WITHOUT_FLOOR:
            return False
        if runtime == "ray" and row in WITHOUT_RAY:
            return False
        return len(self._results.failures(row, runtime)) < FAILURES_MAX

    def _too_close(self, row: str) -> bool:
        return any(line.close_call(self._results.score(line)) for line in lines_of([row]))

    def _once(self, row: str, runtime: RuntimeName, when: str) -> None:
        began = time.monotonic()
        outcome = self._measure(runtime, row, self._pythons[runtime])
        self._results.add(row, runtime, outcome)
        figures = "  ".join(f"{name} {value:,.4g}" for name, value in outcome.figures.items())
        rest = f", {outcome.left_behind} processes left behind" if outcome.left_behind else ""
        print(
            f"{when}  {row:<4} {runtime:<5} {outcome.failure or figures}{rest}"
            f"  ({time.monotonic() - began:.1f} s)",
            file=sys.stderr,
            flush=True,
        )
