"""Who may import what: the contracts hold, can fail, and no exemption is wider than it says."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONTRACTS = {contract["id"]: contract for contract in PROJECT["tool"]["importlinter"]["contracts"]}

#: The one place, or the few, for each import that ruff bans everywhere (TID251).
ONLY_IN = {
    "msgpack": ["zgen/wire/codec.py"],
    "cloudpickle": ["zgen/io/serializer.py"],
    "zmq": [
        "zgen/io/mailbox.py",
        "zgen/io/outbox.py",
        "zgen/io/loop.py",
        "zgen/io/security.py",
        "zgen/io/sockets.py",
        "zgen/io/tcp_inbox.py",
        "node/zgen_node/io/part_lines.py",
    ],
    "time": ["zgen/io/clock.py"],
    "node": [],
}


def lint_imports(root: Path) -> tuple[int, str]:
    command = str(Path(sys.executable).parent / "lint-imports")
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'node'}", "COLUMNS": "300"}
    run = subprocess.run(
        [command, "--no-cache", "--no-logo"],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return run.returncode, run.stdout + run.stderr


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of both packages to break a contract in."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "zgen", tmp_path / "zgen", ignore=ignore)
    shutil.copytree(ROOT / "node", tmp_path / "node", ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_contracts_hold(checkout: Path) -> None:
    status, output = lint_imports(checkout)
    assert status == 0, output


@pytest.mark.parametrize(
    ("place", "code", "broken"),
    [
        ("zgen/nowhere.py", "", "zgen.nowhere"),
        ("zgen/core/nowhere.py", "", "zgen.core.nowhere"),
        ("node/zgen_node/nowhere.py", "", "zgen_node.nowhere"),
        ("node/zgen_node/core/nowhere.py", "", "zgen_node.core.nowhere"),
        ("zgen/core/machine.py", "import os", "zgen.core.machine -> os"),
        ("zgen/core/lifecycle.py", "import zgen.io", "zgen.core.lifecycle -> zgen.io"),
        ("zgen/io/clock.py", "import zgen_node", "zgen.io.clock -> zgen_node"),
    ],
)
def test_a_violation_breaks_a_contract(checkout: Path, place: str, code: str, broken: str) -> None:
    path = checkout / place
    text = path.read_text(encoding="utf-8") if path.exists() else '"""New."""\n'
    path.write_text(f"{text}\n{code}\n", encoding="utf-8")
    status, output = lint_imports(checkout)
    assert status == 1, output
    assert broken in output


def modules(package: Path) -> list[str]:
    """Return the modules and packages right below ``package``."""
    return sorted(
        path.stem
        for path in package.iterdir()
        if (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").exists()
    )


def test_the_purity_of_every_pure_floor_is_checked() -> None:
    below_io = [
        "zgen.core",
        "zgen.wire",
        "zgen.ids",
        "zgen.limits",
        "zgen.exceptions",
        "zgen.slotted",
    ]
    assert CONTRACTS["pure"]["source_modules"] == [*below_io, "zgen_node.core", "zgen_node.limits"]


def test_every_impure_module_of_the_library_is_closed_to_the_daemons_core() -> None:
    pure = ("core", "wire", "ids", "limits", "exceptions", "slotted")
    impure = [f"zgen.{name}" for name in modules(ROOT / "zgen") if name not in pure]
    assert sorted(CONTRACTS["daemon-pure-uses-pure"]["forbidden_modules"]) == impure


def test_every_module_of_the_daemon_but_the_zygote_is_kept_from_pickles() -> None:
    # __main__ starts the daemon or the zygote, whichever it is asked for.
    apart = ("zygote", "__main__")
    names = [name for name in modules(ROOT / "node" / "zgen_node") if name not in apart]
    sources = [f"zgen_node.{name}" for name in names]
    assert sorted(CONTRACTS["daemon-never-unpickles"]["source_modules"]) == sources


def imported(path: Path) -> Iterator[str]:
    """Yield the top name of each absolute import of the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("name", sorted(ONLY_IN))
def test_an_import_that_is_banned_is_made_only_where_it_is_exempt(name: str) -> None:
    places = [
        path.relative_to(ROOT).as_posix()
        for folder in ("zgen", "node")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if name in imported(path)
    ]
    assert [place for place in places if place not in ONLY_IN[name]] == []


def test_ruff_bans_and_exempts_just_these() -> None:
    lint = PROJECT["tool"]["ruff"]["lint"]
    assert sorted(lint["flake8-tidy-imports"]["banned-api"]) == sorted(ONLY_IN)
    exempt = [
        place
        for place, codes in lint["per-file-ignores"].items()
        if "TID251" in codes and not place.endswith("/**")
    ]
    assert sorted(exempt) == sorted(place for places in ONLY_IN.values() for place in places)
