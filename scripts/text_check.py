"""Check text files for a missing final newline, trailing blanks and leftover merge markers."""

from __future__ import annotations

import sys
from pathlib import Path

_MARKERS = ("<" * 7 + " ", ">" * 7 + " ")


def faults(text: str) -> list[str]:
    """Return what is wrong with ``text``, each as a line number and a reason."""
    found = []
    if text and not text.endswith("\n"):
        found.append(f"{text.count(chr(10)) + 1}: no newline at the end of the file")
    if text.endswith("\n\n"):
        found.append(f"{text.count(chr(10))}: blank lines at the end of the file")
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith(_MARKERS):
            found.append(f"{number}: a merge marker")
        if line != line.rstrip():
            found.append(f"{number}: blanks at the end of the line")
    return found


def main(names: list[str]) -> int:
    """Print the faults of the files ``names``; return the exit status."""
    status = 0
    for name in names:
        for fault in faults(Path(name).read_text(encoding="utf-8")):
            print(f"{name}:{fault}")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
