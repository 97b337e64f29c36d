"""Run one measurement in a process of its own and leave nothing of it behind."""

import json
import os
import subprocess
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from scripts.benchmark import processes
from scripts.benchmark.subject import RAY_QUIET, RuntimeName

#: The checkout, from which measurements run so that they find `scripts`.
ROOT: Final = Path(__file__).resolve().parents[2]

#: A measurement that has not ended by then is killed and counted as failed.
LIMIT_S: Final = 180.0

#: What a runtime may take to disappear after its driver has ended.
LINGER_S: Final = 3.0


@dataclass(slots=True)
class Outcome:
    """What one measurement gave.

    Attributes:
        figures: figure by metric; empty if the measurement failed.
        failure: why it failed, or an empty string.
        left_behind: processes still there some seconds after the driver had ended.
    """

    figures: dict[str, float] = field(default_factory=dict)
    failure: str = ""
    left_behind: int = 0


def run(runtime: RuntimeName, row: str, python: Path) -> Outcome:
    """Measure one row on one runtime with the given interpreter."""
    mark = uuid.uuid4().hex
    with tempfile.TemporaryDirectory(prefix="zb-", ignore_cleanup_errors=True) as folder:
        environment = os.environ | RAY_QUIET | {processes.MARK: mark, "TMPDIR": folder}
        log = Path(folder) / "output.txt"
        module = "scripts.benchmark.worker"
        command = [str(python), "-m", module, "--runtime", runtime, "--row", row]
        try:
            # A file, not a pipe: whoever is left behind would keep a pipe open.
            with log.open("wb") as output:
                child = subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                try:
                    status: int | None = child.wait(LIMIT_S)
                except subprocess.TimeoutExpired:
                    status = None
            left_behind = 0 if status is None else _linger(mark)
        finally:
            processes.end_all(mark)
        outcome = _read(log.read_text(errors="replace"), status)
        outcome.left_behind = left_behind
        return outcome


def _linger(mark: str) -> int:
    deadline = time.monotonic() + LINGER_S
    while processes.family(mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    return len(processes.family(mark))


def _read(text: str, status: int | None) -> Outcome:
    """Take the figures from the last line of the output, or tell what went wrong."""
    rows = [row for row in text.splitlines() if row.strip()]
    if status is None:
        return Outcome(failure=f"not done after {LIMIT_S:.0f} s; {_tail(rows)}")
    if status != 0:
        return Outcome(failure=f"exit status {status}; {_tail(rows)}")
    figures = [row for row in rows if row.startswith('{"')]
    if not figures:
        return Outcome(failure=f"no figures; {_tail(rows)}")
    return Outcome(figures=json.loads(figures[-1]))


def _tail(rows: list[str]) -> str:
    return " | ".join(rows[-3:])[-500:] or "no output"
