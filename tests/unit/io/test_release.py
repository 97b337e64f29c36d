"""The release that processes tell each other is the one that is packaged."""

from __future__ import annotations

import tomllib
from pathlib import Path

from zgen.io.release import PYTHON, RELEASE


def test_the_release_is_that_of_the_project_file() -> None:
    project = tomllib.loads(Path(__file__).parents[3].joinpath("pyproject.toml").read_text())
    assert project["project"]["version"] == RELEASE


def test_python_is_major_and_minor() -> None:
    assert len(PYTHON.split(".")) == 2
