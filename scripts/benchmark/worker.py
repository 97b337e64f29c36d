"""Measure one row on one runtime in this fresh process and print the figures as one JSON line."""

import argparse
import importlib
import json
from collections.abc import Callable
from typing import cast

from scripts.benchmark.subject import RuntimeName, Subject
from scripts.benchmark.table import FAMILIES, ROWS

Figures = dict[str, float]


def measure(runtime: RuntimeName, row: str) -> Figures:
    """Run the program of a row; its file is loaded only now, so that others weigh nothing."""
    package = "floor" if runtime == "floor" else "rows"
    family = FAMILIES.get(row) or FAMILIES[row[:2]]
    module = importlib.import_module(f"scripts.benchmark.{package}.{family}")
    program = getattr(module, row.lower())
    if runtime == "floor":
        return cast(Callable[[], Figures], program)()
    return cast(Callable[[Subject], Figures], program)(Subject(runtime))


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runtime", choices=("zgen", "ray", "floor"), required=True)
    parser.add_argument("--row", choices=ROWS, required=True)
    chosen = parser.parse_args()
    print(json.dumps(measure(chosen.runtime, chosen.row)), flush=True)


if __name__ == "__main__":
    main()
