"""Make faults on purpose and print what came of them, as a table.

    python -m scripts.faults                      every row
    python -m scripts.faults --rows RF4,RF8       these
    python -m scripts.faults --quick --seed 7     fewer faults, from another seed
    python -m scripts.faults --write              and put the figures into docs/reliability.md

Each row runs in a process of its own, and fails if anything of it is left on the machine. Rows lie
in the modules of this folder, each in its ``ROWS``. Exits with 1 if a row misses its bar.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
import time
import traceback
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from scripts import faults
from scripts.faults import table
from scripts.faults.row import NotMadeError, Outcome, Row, Setting, SkippedError
from zgen.testing import leaks

ROOT: Final = Path(__file__).resolve().parents[2]
#: How long one row may take, in seconds.
ROW_S: Final = 5400.0


def every_row() -> dict[str, Row]:
    """Return the rows of all modules of this folder, by name."""
    found: dict[str, Row] = {}
    for module in sorted(each.name for each in pkgutil.iter_modules(faults.__path__)):
        if module != "__main__":
            found.update(getattr(importlib.import_module(f"scripts.faults.{module}"), "ROWS", {}))
    return found


def run_here(row: Row, setting: Setting) -> dict[str, Any]:
    """Run a row in this process; return its outcome, with what it left."""
    before = leaks.Snapshot.take()
    began = time.monotonic()
    verdict = ""
    try:
        outcome = row.run(setting)
    except SkippedError as error:
        outcome, verdict = Outcome(True, str(error)), "skipped"
    except NotMadeError as error:
        outcome = Outcome(False, f"the fault was not made: {error}")
    except Exception as error:
        traceback.print_exc()
        said = (str(error).splitlines() or [""])[0]
        outcome = Outcome(False, f"{type(error).__name__}: {said}")
    left = leaks.left_behind(before)
    if left:
        print(leaks.told(left), file=sys.stderr)
        leaks.end_processes(before)
        outcome = Outcome(False, f"{outcome.told}; {len(left)} left behind", outcome.figures)
    verdict = verdict or ("yes" if outcome.good else "**no**")
    took_s = round(time.monotonic() - began, 1)
    return {**asdict(outcome), "verdict": verdict, "took_s": took_s, "left": left}


def run_apart(name: str, given: argparse.Namespace) -> dict[str, Any]:
    """Run a row in a process of its own, with a folder for nodes of its own."""
    with tempfile.TemporaryDirectory(prefix="zf-") as folder:
        answer = Path(folder) / "answer.json"
        command = [sys.executable, "-m", "scripts.faults", "--alone", str(answer), "--rows", name]
        command += ["--seed", str(given.seed), *(["--quick"] if given.quick else [])]
        command += ["--long"] if given.long else []
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "node")]),
            "XDG_RUNTIME_DIR": folder,
            leaks.MARK: uuid.uuid4().hex[:12],
        }
        try:
            subprocess.run(command, cwd=ROOT, env=environment, timeout=ROW_S, check=False)
            found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        except (subprocess.TimeoutExpired, OSError, ValueError) as error:
            return {"good": False, "told": f"{error}", "verdict": "**no**", "figures": {}}
    return found


def main(arguments: list[str]) -> int:
    """Run rows and print them; return the exit status."""
    rows = every_row()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_AsWritten)
    parser.add_argument("--rows", metavar="NAMES", help=f"of {', '.join(rows)}; default: all")
    parser.add_argument("--json", metavar="FILE", help="also write all figures there")
    parser.add_argument("--seed", type=int, default=1, help="what the dice follow from")
    parser.add_argument("--quick", action="store_true", help="fewer faults")
    parser.add_argument("--long", action="store_true", help="an hour, where the bar says so")
    parser.add_argument("--write", action="store_true", help="put them into docs/reliability.md")
    parser.add_argument("--alone", metavar="FILE", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    names = given.rows.split(",") if given.rows else list(rows)
    for name in names:
        if name not in rows:
            parser.error(f"no row {name!r}; there are {', '.join(rows)}")
    if given.alone:
        outcome = run_here(rows[names[0]], Setting(given.seed, given.quick, given.long))
        Path(given.alone).write_text(json.dumps(outcome), encoding="utf-8")
        return 0
    print(f"seed {given.seed}{', quick' if given.quick else ''}", flush=True)
    outcomes: dict[str, dict[str, Any]] = {}
    lines: dict[str, str] = {}
    for name in names:
        outcomes[name] = found = run_apart(name, given)
        lines[name] = table.line(name, rows[name], found["verdict"], found["told"])
        print(f"{lines[name]}  ({found.get('took_s', 0)} s)", flush=True)
    if given.json:
        said = {"seed": given.seed, "quick": given.quick, "rows": outcomes}
        Path(given.json).write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
    if given.write:
        table.write({name: text for name, text in lines.items() if _is_worth(outcomes[name])})
    return 0 if all(each["good"] for each in outcomes.values()) else 1


def _is_worth(outcome: dict[str, Any]) -> bool:
    """Return whether a row was run at all."""
    return bool(outcome["verdict"] != "skipped")


class _AsWritten(argparse.RawDescriptionHelpFormatter):
    """Help whose first lines stay as they are."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
