"""Check the documents: every link leads somewhere, every Python block runs.

The blocks of one document run in order, as one program in a process of its own, with the line
numbers that they have in the document. Only blocks fenced as ``python`` run; what is shown for
reading alone is fenced as something else.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
TIMEOUT_S: Final = 60.0

_FENCE: Final = re.compile(r"^(\s*)(`{3,}|~{3,})\s*(\S*)")
_LINK: Final = re.compile(
    r"(?<!!)\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)|!\[[^\]]*\]\(([^)\s]+)\)"
)
_HEADING: Final = re.compile(r"^#{1,6}\s+(.*?)\s*#*$")


def documents(root: Path) -> Iterator[Path]:
    """Yield the documents at the top and under docs/, sorted."""
    yield from sorted(root.glob("*.md"))
    yield from sorted((root / "docs").rglob("*.md"))


def split(text: str) -> tuple[list[str], list[str], list[str]]:
    """Return (prose lines, program lines, faults), each line at its place in the document.

    A line that belongs to the other one is empty, so that line numbers stay what they are.
    """
    prose: list[str] = []
    program: list[str] = []
    faults: list[str] = []
    fence, indent, language, opened = "", "", "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        mark = _FENCE.match(line)
        inside = fence != ""
        if mark and not inside:
            indent, fence, language, opened = mark[1], mark[2], mark[3], number
        elif mark and mark[2].startswith(fence) and not mark[3]:
            fence = ""
        prose.append("" if inside or mark else line)
        is_code = inside and fence != "" and language == "python"
        program.append(line.removeprefix(indent) if is_code else "")
    if fence:
        faults.append(f"{opened}: the block is never closed")
    return prose, program, faults


def anchors(prose: list[str]) -> list[str]:
    """Return the anchors of the headings, as GitHub and mkdocs make them for plain titles."""
    found = []
    for line in prose:
        heading = _HEADING.match(line)
        if heading:
            words = re.sub(r"[^\w\- ]", "", heading[1].lower())
            found.append(words.strip().replace(" ", "-"))
    return found


def broken_links(path: Path, prose: list[str]) -> list[str]:
    """Return a fault for each link to a file or heading that is not there."""
    faults = []
    for number, line in enumerate(prose, start=1):
        for link in _LINK.finditer(re.sub(r"`[^`]*`", "", line)):
            target, _, anchor = (link[1] or link[2]).partition("#")
            if re.match(r"[a-z]+:", target):
                continue  # elsewhere: the network is not asked
            place = (path.parent / target).resolve() if target else path
            if not place.exists():
                faults.append(f"{number}: no such file: {target}")
            elif anchor and place.suffix == ".md":
                headings, _, _ = split(place.read_text(encoding="utf-8"))
                if anchor not in anchors(headings):
                    faults.append(f"{number}: no such heading: {target}#{anchor}")
    return faults


def run(name: str, program: list[str], timeout_s: float = TIMEOUT_S) -> list[str]:
    """Run ``program`` in a fresh process; return a fault if it fails or takes too long."""
    if not any(program):
        return []
    with tempfile.TemporaryDirectory(prefix="zd-") as folder:
        script = Path(folder) / (re.sub(r"\W", "_", name) + ".py")
        script.write_text("\n".join(program) + "\n", encoding="utf-8")
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(
            [sys.executable, "-X", "dev", str(script)],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            return [f"1: did not end within {timeout_s:g} s\n{output}"]
    if process.returncode != 0:
        return [f"1: exit status {process.returncode}\n{output}"]
    return []


def check(root: Path, *, execute: bool = True) -> list[str]:
    """Return the faults of every document below ``root``, each with its file and line."""
    faults: list[str] = []
    for path in documents(root):
        name = path.relative_to(root).as_posix()
        prose, program, found = split(path.read_text(encoding="utf-8"))
        found += broken_links(path, prose)
        runs = execute and (name == "README.md" or name.startswith("docs/"))
        if runs and any(program):
            began = time.monotonic()
            found += run(name, program)
            print(f"ran {name} in {time.monotonic() - began:.1f} s", flush=True)
        faults += [f"{name}:{fault}" for fault in found]
    return faults


def main() -> int:
    """Check this project's documents; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--links-only", action="store_true", help="do not run the Python blocks")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # which what is started would inherit
        signal.signal(signal.SIGINT, signal.default_int_handler)
    faults = check(ROOT, execute=not parser.parse_args().links_only)
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
