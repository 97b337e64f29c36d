"""The benchmark: zgen beside Ray and the bare ZeroMQ floor, interleaved in one run.

Every measurement runs in a fresh process. A figure is the median of its rounds, twice as many
where it lies close to what it must reach, and only figures of one run are compared. `make bench`
measures zgen and the floor; `make bench VS=ray` puts Ray beside them, in a virtual environment of
its own. The exit status is 1 when a row misses its *must*.
"""

import argparse
import json
import shlex
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.benchmark import child, ray_venv, report
from scripts.benchmark.rounds import Results, Rounds
from scripts.benchmark.subject import RuntimeName
from scripts.benchmark.table import BUILT, ROWS


def main() -> int:
    """Measure what the command line asks for, write the reports, tell what was missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--vs", choices=["ray"], help="measure this beside zgen")
    parser.add_argument("--rounds", type=_positive, default=5)
    parser.add_argument("--rows", type=_rows, default=BUILT, help="PS1,PS2 or all")
    parser.add_argument("--only", type=_runtimes, default=None, help="of zgen,ray,floor")
    results_folder = child.ROOT / "bench-results"
    parser.add_argument("--json", type=Path, default=results_folder / "bench.json")
    parser.add_argument("--markdown", type=Path, default=results_folder / "bench.md")
    chosen = parser.parse_args()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that children are ended too
    runtimes = chosen.only or (["floor", "ray", "zgen"] if chosen.vs else ["floor", "zgen"])
    results = Results()
    try:
        Rounds(_pythons(runtimes), child.run, results).run(chosen.rows, chosen.rounds)
    except KeyboardInterrupt:
        print("interrupted; the report has what was measured so far", file=sys.stderr)
    _write(chosen.json, json.dumps(report.as_json(results, chosen.rows, _command()), indent=1))
    table = report.as_markdown(results, chosen.rows)
    _write(chosen.markdown, table)
    print(table)
    missed = report.missed(results, chosen.rows)
    if missed:
        print(f"missed: {' '.join(missed)}")
    return 1 if missed else 0


def _pythons(runtimes: list[RuntimeName]) -> dict[RuntimeName, Path]:
    here = Path(sys.executable)
    return {
        runtime: ray_venv.python(child.ROOT / ".bench" / "ray-venv") if runtime == "ray" else here
        for runtime in runtimes
    }


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least one round")
    return number


def _rows(text: str) -> tuple[str, ...]:
    rows = ROWS if text == "all" else tuple(text.upper().split(","))
    unknown = [row for row in rows if row not in ROWS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no row {' '.join(unknown)}; there are {' '.join(ROWS)}")
    return rows


def _runtimes(text: str) -> list[RuntimeName]:
    chosen = [runtime for runtime in report.RUNTIMES if runtime in text.split(",")]
    if not chosen:
        raise argparse.ArgumentTypeError("some of zgen,ray,floor")
    return chosen


def _command() -> str:
    return shlex.join(["python", "scripts/bench.py", *sys.argv[1:]])


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


if __name__ == "__main__":
    sys.exit(main())
