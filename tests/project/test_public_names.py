from __future__ import annotations

import os
from pathlib import Path

import zgen
import zgen.exceptions

GOLDEN = Path(__file__).parents[1] / "golden" / "public_names.txt"


def public_names() -> list[str]:
    errors = [
        name
        for name, value in vars(zgen.exceptions).items()
        if isinstance(value, type) and issubclass(value, BaseException)
    ]
    return sorted([f"zgen.{name}" for name in zgen.__all__]) + sorted(
        f"zgen.exceptions.{name}" for name in errors
    )


def test_the_public_names_are_those_that_were_agreed_upon() -> None:
    text = "\n".join(public_names()) + "\n"
    if os.environ.get("UPDATE_GOLDEN") == "1":
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_each_public_name_exists() -> None:
    assert [name for name in zgen.__all__ if not hasattr(zgen, name)] == []


def test_public_names_are_listed_once() -> None:
    assert len(zgen.__all__) == len(dict.fromkeys(zgen.__all__))


def test_dir_shows_what_is_imported_lazily() -> None:
    assert [name for name in zgen.__all__ if name not in dir(zgen)] == []
