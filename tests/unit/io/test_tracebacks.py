"""What an exception tells as text, whatever its class breaks."""

from __future__ import annotations

from typing import Any

import pytest

from zgen.io.tracebacks import text_of, traceback_of


class Closed(Exception):
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")

    def __str__(self) -> str:
        raise RuntimeError("no text")


def raised(error: Exception) -> Exception:
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


def test_a_traceback_has_frames_and_a_sentence() -> None:
    text = traceback_of(raised(ValueError("bad")))
    assert text.startswith("Traceback (most recent call last):\n")
    assert "in raised" in text
    assert text.endswith("ValueError: bad\n")


@pytest.mark.parametrize("error", [SyntaxError(*["no", "four"]), Closed()], ids=["odd", "closed"])
def test_what_python_cannot_write_is_left_out(error: Exception) -> None:
    text = traceback_of(raised(error))
    assert text.startswith("Traceback (most recent call last):\n")
    assert "in raised" in text
    assert text.endswith(f"{type(error).__name__}: {text_of(error)}\n")


def test_an_error_without_a_text_says_so() -> None:
    assert text_of(Closed()) == "an error without a text"
