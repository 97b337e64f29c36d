"""House rules that no other tool checks; see CONTRIBUTING.md for the list and the reasons.

Prints one line per fault, ``path:line: rule: what is wrong``, and exits 1 if there is any. Every
rule is a function from the repository's root to its faults, so that a test can run it on a small
tree of its own.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scripts import code_map

ROOT: Final = Path(__file__).resolve().parent.parent

CODE: Final = ("zgen", "node", "scripts")
MAPPED: Final = ("zgen", "node")
PURE: Final = (
    "zgen/core/",
    "zgen/wire/",
    "zgen/ids.py",
    "zgen/limits.py",
    "node/zgen_node/limits.py",
    "zgen/exceptions.py",
    "node/zgen_node/core/",
)
FILE_LINES_MAX: Final = 400
TEST_FILE_LINES_MAX: Final = 600
FUNCTION_LINES_MAX: Final = 60
BANNED_STEMS: Final = ("utils", "helpers", "common", "misc", "base", "manager", "mixins")
TEXT_SUFFIXES: Final = (".py", ".md", ".toml", ".txt", ".yml", ".yaml", ".cfg", ".json", "")
SKIPPED_FOLDERS: Final = ("__pycache__", "build", "dist", "site", "htmlcov")

#: Longer than allowed, with the decision record that says why: "path" or "path:function".
LONG_ALLOWED: Final[dict[str, str]] = {
    "zgen/exceptions.py": "docs/decisions/0011-one-file-of-exceptions.md",
}

# Built from pieces, so that this file holds to its own rules.
_TODO: Final = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX)\b(?!\(#\d+\))")
_PRIVATE_PATH: Final = re.compile(
    r"(?<![\w.])(?:/" + r"home/\w|/" + r"root\b|/" + r"Users/\w|/" + r"work/\w|C:\\" + r"Users)"
)


@dataclass(frozen=True)
class Fault:
    """One broken rule at one place."""

    path: str
    line: int
    rule: str
    message: str

    def __str__(self) -> str:
        """Return the fault as editors understand it."""
        return f"{self.path}:{self.line}: {self.rule}: {self.message}"


Rule = Callable[[Path], Iterator[Fault]]


def python_files(root: Path, *folders: str) -> Iterator[tuple[str, Path]]:
    """Yield (path relative to ``root``, path) of every Python file below ``folders``, sorted."""
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            if "__pycache__" not in path.parts:
                yield path.relative_to(root).as_posix(), path


def text_files(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield every text file of the project, hidden folders and built things left out."""
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if any(part in SKIPPED_FOLDERS or part.startswith(".") for part in parts[:-1]):
            continue
        if path.is_file() and path.suffix in TEXT_SUFFIXES and path.name != ".coverage":
            yield path.relative_to(root).as_posix(), path


def length(root: Path) -> Iterator[Fault]:
    """A file fits in the head, and so does a function."""
    for name, path in python_files(root, *CODE, "tests"):
        text = path.read_text(encoding="utf-8")
        lines_max = TEST_FILE_LINES_MAX if name.startswith("tests/") else FILE_LINES_MAX
        lines = text.count("\n")
        if lines > lines_max and name not in LONG_ALLOWED:
            yield Fault(name, lines, "length", f"{lines} lines, at most {lines_max}: split by noun")
        if name.startswith("tests/"):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX and f"{name}:{node.name}" not in LONG_ALLOWED:
                    message = f"{node.name} has {lines} lines, at most {FUNCTION_LINES_MAX}"
                    yield Fault(name, node.lineno, "length", message)


def allowances(root: Path) -> Iterator[Fault]:
    """Each file that may be longer exists, and so does the decision record that allows it."""
    for place, record in LONG_ALLOWED.items():
        for needed in (place.partition(":")[0], record):
            if not (root / needed).is_file():
                yield Fault("scripts/tidy.py", 1, "allowances", f"no file {needed} (for {place})")


def no_sets(root: Path) -> Iterator[Fault]:
    """Pure floors have no sets: their order depends on PYTHONHASHSEED. Use dict[K, None]."""
    for name, path in python_files(root, *MAPPED):
        if not name.startswith(PURE):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Set | ast.SetComp):
                yield Fault(name, node.lineno, "no-sets", "a set display or comprehension")
            elif (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("set", "frozenset")
            ):
                yield Fault(name, node.lineno, "no-sets", f"{node.func.id}() in a pure floor")


def file_names(root: Path) -> Iterator[Fault]:
    """A file is named after its one noun; these names say nothing."""
    for name, path in python_files(root, *CODE, "tests"):
        stem = path.stem.removeprefix("test_").strip("_")
        for part in (stem, path.parent.name):
            if part in BANNED_STEMS:
                yield Fault(name, 1, "file-names", f"'{part}' says nothing; name the noun")
        if re.search(r"_(?:utils?|helpers?|impl|part\d+)$", stem):
            yield Fault(name, 1, "file-names", f"'{stem}' was split by size; split by noun")


def todos(root: Path) -> Iterator[Fault]:
    """What is left for later is an issue, and the comment carries its number: TODO(#12)."""
    for name, path in python_files(root, *CODE, "tests"):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if _TODO.search(line):
                yield Fault(name, number, "todos", "needs an issue number, as in TODO(#12)")


def private_paths(root: Path) -> Iterator[Fault]:
    """No file knows where somebody's checkout lies."""
    for name, path in text_files(root):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            found = _PRIVATE_PATH.search(line)
            if found:
                yield Fault(
                    name, number, "private-paths", f"'{found.group()}' is somebody's folder"
                )


def map_of_the_code(root: Path) -> Iterator[Fault]:
    """Each module's docstring begins with its row of the code map in ARCHITECTURE.md."""
    for name, line, message in code_map.faults(root):
        yield Fault(name, line, "code-map", message)


def version(root: Path) -> Iterator[Fault]:
    """CHANGELOG.md and pyproject.toml agree on what is being released."""
    project = (root / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'^version = "([^"]+)"', project, flags=re.MULTILINE)
    heads = re.findall(
        r"^## \[([^\]]+)\]", (root / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    released = [head for head in heads if head != "Unreleased"]
    if found is None:
        yield Fault("pyproject.toml", 1, "version", "no version")
    elif not heads:
        yield Fault("CHANGELOG.md", 1, "version", "neither Unreleased nor a release")
    elif released and released[0] != found[1]:
        message = f"top release is {released[0]}, pyproject.toml says {found[1]}"
        yield Fault("CHANGELOG.md", 1, "version", message)


RULES: Final[tuple[Rule, ...]] = (
    length,
    allowances,
    no_sets,
    file_names,
    todos,
    private_paths,
    map_of_the_code,
    version,
)


def main(root: Path = ROOT) -> int:
    """Print every fault of every rule; return the exit status."""
    faults = [fault for rule in RULES for fault in rule(root)]
    for fault in faults:
        print(fault)
    if faults:
        print(f"tidy: {len(faults)} faults", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
