"""Tell the outcome of a run as a table and as JSON."""

import importlib.metadata
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from scripts.benchmark import ray_venv
from scripts.benchmark.rounds import Results
from scripts.benchmark.subject import RuntimeName
from scripts.benchmark.table import Line, lines_of

RUNTIMES: tuple[RuntimeName, ...] = ("zgen", "ray", "floor")


def as_json(results: Results, rows: Sequence[str], command: str) -> dict[str, Any]:
    """Give everything that was measured, with the machine and the command."""
    return {
        "command": command,
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "lines": [_line(results, line) for line in lines_of(rows)],
        "failures": {
            f"{row} {runtime}": failures
            for row in rows
            for runtime in RUNTIMES
            if (failures := results.failures(row, runtime))
        },
        "left_behind": {runtime: results.left_behind(runtime) for runtime in RUNTIMES},
    }


def as_markdown(results: Results, rows: Sequence[str]) -> str:
    """Give a table for people; medians, with the ratio of zgen's and Ray's."""
    about = machine()
    text = [
        f"{about['cpus']} CPUs, {about['memory_gib']} GiB, {about['system']}, Python "
        f"{about['python']}, pyzmq {about['pyzmq']}, Ray {ray_venv.VERSION}; medians, with the "
        "number of rounds in brackets.",
        "",
        "| row | what | zgen | Ray | floor | zgen / Ray | must | goal | verdict |",
        "|---|---|---:|---:|---:|---:|---:|---:|---|",
        *(_row(results, line) for line in lines_of(rows)),
    ]
    return "\n".join(text) + "\n"


def missed(results: Results, rows: Sequence[str]) -> list[str]:
    """List the rows where zgen missed a *must* or gave no figure."""
    bad = [line.row for line in lines_of(rows) if line.verdict(results.score(line)) == "FAIL"]
    bad += [row for row in rows if results.failures(row, "zgen")]
    return [row for row in rows if row in bad]


def machine() -> dict[str, Any]:
    """Describe what the figures were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "pyzmq": importlib.metadata.version("pyzmq"),
    }


def _line(results: Results, line: Line) -> dict[str, Any]:
    score = results.score(line)
    return {
        "row": line.row,
        "metric": line.metric,
        "title": line.title,
        "unit": line.unit,
        "medians": {runtime: results.median(line, runtime) for runtime in RUNTIMES},
        "values": {runtime: results.values(line, runtime) for runtime in RUNTIMES},
        "ratio": _ratio(results, line),
        "against": line.against,
        "must": line.must,
        "goal": line.goal,
        "verdict": line.verdict(score),
    }


def _row(results: Results, line: Line) -> str:
    ratio = _ratio(results, line)
    cells = [
        line.row,
        line.title,
        *(_cell(results, line, runtime) for runtime in RUNTIMES),
        "-" if ratio is None else f"{ratio:.2f}",
        _limit(line, line.must),
        _limit(line, line.goal),
        _verdict(results, line),
    ]
    return "| " + " | ".join(cells) + " |"


def _cell(results: Results, line: Line, runtime: RuntimeName) -> str:
    values, middle = results.values(line, runtime), results.median(line, runtime)
    if middle is None:
        return "failed" if results.failures(line.row, runtime) else "-"
    return f"{number(middle)} {line.unit} [{len(values)}]".replace(" /s", "/s").replace("  ", " ")


def _ratio(results: Results, line: Line) -> float | None:
    zgen, ray = results.median(line, "zgen"), results.median(line, "ray")
    return zgen / ray if zgen is not None and ray else None


def _limit(line: Line, limit: float | None) -> str:
    if limit is None:
        return "-"
    sign = "≥" if line.better == "higher" else "≤"
    unit = {"ray": "x Ray", "floor": "x floor", "unit": line.unit}[line.against]
    return f"{sign} {limit:g} {unit}".rstrip()


def _verdict(results: Results, line: Line) -> str:
    if results.failures(line.row, "zgen"):
        return "FAIL"
    return line.verdict(results.score(line))


def number(value: float) -> str:
    """Write a number with about three digits, thousands as k and M."""
    if value >= 1e6:
        return f"{value / 1e6:.3g} M"
    if value >= 1e4:
        return f"{value / 1e3:.3g} k"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
