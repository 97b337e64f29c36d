"""Event loops to test with: asyncio's own and, where it is installed, uvloop's."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import pytest

T = TypeVar("T")

Run = Callable[[Coroutine[Any, Any, T]], T]

LOOPS: Final = [
    "asyncio",
    pytest.param(
        "uvloop",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed"
        ),
    ),
]


def make_loop(kind: str) -> asyncio.AbstractEventLoop:
    if kind == "asyncio":
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = importlib.import_module("uvloop").new_event_loop()
    return loop


if importlib.util.find_spec("uvloop") is not None:
    make_loop("uvloop").close()  # libuv keeps two descriptors from its first loop on


def run_in(kind: str, main: Coroutine[Any, Any, T], *, debug: bool = False) -> T:
    """As ``asyncio.run``, in a loop of this kind."""
    with asyncio.Runner(loop_factory=lambda: make_loop(kind), debug=debug) as runner:
        return runner.run(main)
