"""The functions that ARCHITECTURE.md tells a newcomer to read are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAMED = re.compile(r"`((?:zgen|node)/[\w/]+\.py):([\w.]+)`")


def functions(path: Path) -> list[str]:
    """Return the functions of a module and, behind their classes' names, the methods."""
    found: list[str] = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            found.append(node.name)
        elif isinstance(node, ast.ClassDef):
            methods = [each for each in node.body if isinstance(each, ast.FunctionDef)]
            found.extend(f"{node.name}.{method.name}" for method in methods)
    return found


def test_every_function_that_the_architecture_names_is_there() -> None:
    named = NAMED.findall((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"))
    assert len(named) > 30
    missing = [f"{path}:{name}" for path, name in named if name not in functions(ROOT / path)]
    assert not missing
