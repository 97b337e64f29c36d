"""Bring the code map in ARCHITECTURE.md into line with the modules and their docstrings.

The rows of modules that are gone go, those of new ones come behind the last row of their folder,
and each says what the first line of its module's docstring says. `scripts/tidy.py` uses ``faults``
to tell whether that is so; `make fmt` runs this to make it so.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDERS: Final = ("zgen", "node")

_ROW: Final = re.compile(r"^\|[^`|]*`((?:zgen|node)/[^`]+\.py)`\s*\|(.*)\|\s*$")


def modules(root: Path) -> dict[str, str]:
    """Return the first docstring line by path of every module that needs a row.

    A package's ``__init__.py`` that holds nothing but its docstring needs none.
    """
    found: dict[str, str] = {}
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            if "__pycache__" in path.parts:
                continue
            tree = ast.parse(path.read_text(encoding="utf-8"))
            lines = (ast.get_docstring(tree) or "").splitlines()
            bare = path.name == "__init__.py" and path.parent.parent not in (root, root / "node")
            if not (bare and lines and len(tree.body) == 1):
                found[path.relative_to(root).as_posix()] = lines[0] if lines else ""
    return found


def rows(document: str) -> dict[str, tuple[int, str]]:
    """Return (line number, responsibility) by path of every row; the first one where two are."""
    found: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(document.splitlines(), start=1):
        row = _ROW.match(line)
        if row:
            found.setdefault(row[1], (number, row[2].strip()))
    return found


def plain(sentence: str) -> str:
    """Take away what differs between a cell and a docstring: ticks, full stop, first capital."""
    words = sentence.replace("`", "").replace("\\|", "|").strip().rstrip(".")
    return words[:1].lower() + words[1:]


def faults(root: Path) -> list[tuple[str, int, str]]:
    """Return (path, line, message) for everything in which code and code map differ."""
    document = (root / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = rows(document)
    found = []
    for number, line in enumerate(document.splitlines(), start=1):
        row = _ROW.match(line)
        if row and table[row[1]][0] != number:
            found.append(("ARCHITECTURE.md", number, f"a second row for {row[1]}"))
    for name, first in modules(root).items():
        _, wanted = table.pop(name, (0, None))
        if not first:
            found.append((name, 1, "no docstring"))
        elif wanted is None:
            found.append((name, 1, "no row in ARCHITECTURE.md's code map"))
        elif plain(first) != plain(wanted):
            message = f"docstring says '{first}', ARCHITECTURE.md '{wanted}'"
            found.append((name, 1, message))
    for name, (number, _) in table.items():
        found.append(("ARCHITECTURE.md", number, f"a row for {name}, which needs none"))
    return found


def written(name: str, first: str) -> str:
    """Return the row of module ``name`` whose docstring begins with ``first``."""
    words = first.replace("``", "`").rstrip(".").replace("|", "\\|")
    if not re.match(r"[A-Z]{2}", words):
        words = words[:1].lower() + words[1:]
    return f"| `{name}` | {words} |"


def updated(document: str, wanted: dict[str, str]) -> str:
    """Return ``document`` with the rows that ``wanted``, as given by ``modules``, asks for."""
    lines: list[str] = []
    missing = dict(wanted)
    for line in document.splitlines():
        row = _ROW.match(line)
        if row is None:
            lines.append(line)
        elif row[1] in missing:
            first = missing.pop(row[1])
            lines.append(line if plain(first) == plain(row[2]) else written(row[1], first))
    for name, first in missing.items():
        folder = name
        place = None
        while place is None and "/" in folder:
            folder = folder.rpartition("/")[0]
            near = [i for i, line in enumerate(lines) if line.startswith(f"| `{folder}/")]
            place = near[-1] + 1 if near else None
        lines.insert(len(lines) if place is None else place, written(name, first))
    return "\n".join(lines) + "\n"


def main(root: Path = ROOT) -> int:
    """Rewrite ARCHITECTURE.md where it differs; return the exit status."""
    path = root / "ARCHITECTURE.md"
    before = path.read_text(encoding="utf-8")
    after = updated(before, modules(root))
    if after != before:
        path.write_text(after, encoding="utf-8")
        print("ARCHITECTURE.md: code map brought up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main())
