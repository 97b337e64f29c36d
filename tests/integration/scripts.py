"""Programs of users, run as processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def environment() -> dict[str, str]:
    """Return an environment in which zgen is found and output is buffered as it is by default."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return {**kept, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "node")])}


@contextmanager
def start(
    folder: Path, source: str, *options: str, name: str = "program.py"
) -> Iterator[subprocess.Popen[str]]:
    """Run ``source`` as a script in ``folder`` during the block; ``options`` are Python's."""
    script = folder / name
    script.write_text(textwrap.dedent(source))
    process = subprocess.Popen(
        [sys.executable, "-X", "dev", *options, str(script)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment(),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def run(
    folder: Path, source: str, *options: str, name: str = "program.py"
) -> subprocess.CompletedProcess[str]:
    """Run ``source`` as a script to its end."""
    with start(folder, source, *options, name=name) as process:
        return finish(process)


def finish(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Wait until a program ends, and return what it said."""
    out, err = process.communicate(timeout=40)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def type_in(folder: Path, lines: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run an interactive interpreter in ``folder`` and type ``lines``."""
    return subprocess.run(
        [sys.executable, *command],
        input=textwrap.dedent(lines),
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment(),
        timeout=40,
        check=False,
    )


def succeeded(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a program printed; fail the test if it failed or complained."""
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout
