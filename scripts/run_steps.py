"""Run make targets one after the other and print each one's name and seconds.

Targets joined by "," run one after the other, such lines joined by "+" side by side; what these
print comes when each has ended. Stops at the first that fails, as what follows it is dearer. The
last lines repeat every step run, so that the end of a long log tells the whole story.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from typing import IO, Final

#: The jobserver of an outer `make -j` is not ours to share.
_NOT_OURS: Final = ("MAKEFLAGS", "MFLAGS")


class Step:
    """A target that runs, or a line of them.

    Attributes:
        name: The target, or several joined by ",".
        status: Its exit status, once it has ended.
        took_s: Seconds that it took, then.
    """

    def __init__(self, name: str, output: IO[bytes] | None) -> None:
        """Start it; ``output`` keeps what it prints."""
        env = {key: value for key, value in os.environ.items() if key not in _NOT_OURS}
        command = [os.environ.get("MAKE", "make"), "--no-print-directory", *name.split(",")]
        self.name = name
        self.status: int | None = None
        self.took_s = 0.0
        self._began = time.monotonic()
        self._output = output
        self._process = subprocess.Popen(command, env=env, stdout=output, stderr=output)
        self._waiter = threading.Thread(target=self._await_end)
        self._waiter.start()

    @property
    def row(self) -> tuple[str, float, str]:
        """Name, seconds and verdict."""
        return self.name, self.took_s, "ok" if self.status == 0 else f"FAILED ({self.status})"

    def wait(self) -> None:
        """Wait for its end and print what it kept, and how it ended."""
        self._waiter.join()
        if self._output is not None:
            print(f"\n=== {self.name}", flush=True)
            self._output.seek(0)
            sys.stdout.buffer.write(self._output.read())
        print(f"=== {self.name}: {self.row[2]}, {self.took_s:.1f} s", flush=True)

    def _await_end(self) -> None:
        self.status = self._process.wait()
        self.took_s = time.monotonic() - self._began


def run(groups: list[str]) -> int:
    """Run the steps of ``groups`` in order; return the exit status of the first that fails."""
    rows: list[tuple[str, float, str]] = []
    width = max(len(name) for name in "+".join(groups).split("+"))
    status, began = 0, time.monotonic()
    for group in groups:
        steps = run_together(group.split("+"))
        rows += [step.row for step in steps]
        status = next((step.status for step in steps if step.status), 0)
        if status != 0:
            break
    print()
    for name, seconds, verdict in rows:
        print(f"{name:<{width}} {seconds:7.1f} s  {verdict}")
    for name in "+".join(groups).split("+")[len(rows) :]:
        print(f"{name:<{width}}         -  not run")
    print(f"{'total':<{width}} {time.monotonic() - began:7.1f} s")
    return status


def run_together(names: list[str]) -> list[Step]:
    """Run targets side by side, one alone with its output as it comes; return them ended."""
    if len(names) == 1:
        print(f"\n=== {names[0]}", flush=True)
        step = Step(names[0], None)
        step.wait()
        return [step]
    kept = [tempfile.TemporaryFile() for _ in names]  # noqa: SIM115  # closed below
    try:
        steps = [Step(name, output) for name, output in zip(names, kept, strict=True)]
        for step in steps:
            step.wait()
    finally:
        for output in kept:
            output.close()
    return steps


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
