"""Run make targets one after the other and print each one's name and seconds.

Stops at the first that fails, as what follows it is dearer. The last lines repeat every step run,
so that the end of a long log tells the whole story.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time


def run(steps: list[str]) -> int:
    """Run ``steps`` in order; return the exit status of the first that fails, else 0."""
    make = os.environ.get("MAKE", "make")
    # The jobserver of an outer `make -j` is not ours to share.
    env = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MFLAGS")}
    rows: list[tuple[str, float, str]] = []
    status = 0
    for step in steps:
        print(f"\n=== {step}", flush=True)
        began = time.monotonic()
        status = subprocess.run(
            [make, "--no-print-directory", step], env=env, check=False
        ).returncode
        seconds = time.monotonic() - began
        rows.append((step, seconds, "ok" if status == 0 else f"FAILED ({status})"))
        print(f"=== {step}: {rows[-1][2]}, {seconds:.1f} s", flush=True)
        if status != 0:
            break
    print()
    for step, seconds, verdict in rows:
        print(f"{step:<18} {seconds:7.1f} s  {verdict}")
    for step in steps[len(rows) :]:
        print(f"{step:<18}         -  not run")
    print(f"{'total':<18} {sum(row[1] for row in rows):7.1f} s")
    return status


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
