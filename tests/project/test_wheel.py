from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from scripts import wheel_check

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_top_level_is_the_two_packages(wheel: Path) -> None:
    assert wheel_check.top_level(wheel) == ["zgen", "zgen_node"]


def test_every_module_and_type_marker_is_in_the_wheel_and_nothing_else(wheel: Path) -> None:
    assert wheel_check.contents(wheel) == wheel_check.sources(ROOT)
    assert "zgen/py.typed" in wheel_check.contents(wheel)
    assert "zgen_node/py.typed" in wheel_check.contents(wheel)


def test_the_licence_travels_along(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_pytest_finds_the_plugin(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (place,) = [name for name in archive.namelist() if name.endswith("/entry_points.txt")]
        assert "[pytest11]\nzgen = zgen.testing.plugin\n" in archive.read(place).decode()


def test_the_folder_node_is_no_package() -> None:
    assert not (ROOT / "node" / "__init__.py").exists()
