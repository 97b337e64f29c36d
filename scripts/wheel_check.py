"""Build the sdist and from it the wheel; install that into a clean environment and import it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGES: Final = ("zgen", "zgen_node")

#: Run by the clean environment's Python in /; argv: the environment's folder.
PROBE: Final = """
import importlib, importlib.metadata, sys
for name in ("zgen", "zgen_node"):
    place = importlib.import_module(name).__file__
    assert place.startswith(sys.argv[1]), place
try:
    importlib.import_module("node")
except ModuleNotFoundError:
    pass
else:
    raise AssertionError("a package `node` was installed")
print("zgen", importlib.metadata.version("zgen"), "imports from", sys.argv[1])
"""


def top_level(wheel: Path) -> list[str]:
    """Return the names at the top of ``wheel``, its metadata folder left out, sorted."""
    names: dict[str, None] = {}
    for entry in zipfile.ZipFile(wheel).namelist():
        first = entry.split("/")[0]
        if not first.endswith(".dist-info"):
            names[first] = None
    return sorted(names)


def sources(root: Path) -> list[str]:
    """Return what a wheel of ``root`` must hold: each module and marker file of both packages."""
    found: list[str] = []
    for parent, package in ((root, "zgen"), (root / "node", "zgen_node")):
        found += [
            path.relative_to(parent).as_posix()
            for path in (parent / package).rglob("*")
            if path.suffix in (".py", ".pyi") or path.name == "py.typed"
        ]
    return sorted(found)


def contents(wheel: Path) -> list[str]:
    """Return the files of ``wheel``, its metadata left out, sorted."""
    names = zipfile.ZipFile(wheel).namelist()
    return sorted(name for name in names if not name.split("/")[0].endswith(".dist-info"))


def build(root: Path, folder: Path) -> Path:
    """Build the sdist of ``root`` and the wheel from that sdist into ``folder``."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(root)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = folder.glob("*.whl")
    return wheel


def main() -> int:
    """Build, compare, install, import; return the exit status."""
    with tempfile.TemporaryDirectory(prefix="zw-") as name:
        folder = Path(name).resolve()
        wheel = build(ROOT, folder / "dist")
        if top_level(wheel) != list(PACKAGES):
            print(f"the wheel's top level is {top_level(wheel)}, not {list(PACKAGES)}")
            return 1
        if contents(wheel) != sources(ROOT):
            differing = sorted({*contents(wheel)} ^ {*sources(ROOT)})
            print(f"the wheel and the checkout differ: {differing}")
            return 1
        venv = folder / "venv"
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        python = str(venv / "bin" / "python")
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        locked = ["--require-hashes", "-r", str(ROOT / "requirements-run.txt")]
        for what in (locked, ["--no-deps", str(wheel)]):
            subprocess.run([*install, *what], check=True)
        subprocess.run([python, "-I", "-c", PROBE, str(venv)], check=True, cwd="/")
        for command in ([str(venv / "bin" / "zgen"), "--help"], [python, "-m", "pip", "check"]):
            subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL)
    return 0


if __name__ == "__main__":
    sys.exit(main())
