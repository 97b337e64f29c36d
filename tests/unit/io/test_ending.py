"""How bodies end: what they return, whether they may run again, what replays keep of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.core.names import lease, peer, pushed
from zgen.core.effects import StartTask
from zgen.io import serializer
from zgen.io.ending import is_retriable, last_of
from zgen.io.rebuilding import only
from zgen.wire.task import STREAMING, PushedTask


def body(count: int) -> Any:
    yield from range(count)
    return "returned"


def start(wanted: tuple[int, ...]) -> StartTask:
    plain = pushed("s", returns=STREAMING)
    fields = (plain.task, 0, plain.function, "s", STREAMING, b"", (), b"", 0, 0, wanted)
    return StartTask(PushedTask(*fields), peer("me"), b"", (), lease("l"), 0)


def whole(made: Any) -> tuple[list[Any], Any]:
    items: list[Any] = []
    steps: Iterator[Any] = iter(made)
    while True:
        try:
            items.append(next(steps))
        except StopIteration as stop:
            return items, stop.value


@pytest.mark.parametrize(
    ("wanted", "made"),
    [
        ((), ([0, 1], "returned")),
        ((2,), ([None, 1], None)),
        ((0,), ([None, None], "returned")),
        ((0, 1), ([0, None], "returned")),
    ],
)
def test_a_replay_keeps_what_is_wanted_the_returned_value_too(
    wanted: tuple[int, ...], made: tuple[list[Any], Any]
) -> None:
    assert whole(only(body(2), start(wanted), 1)) == made


def test_a_generator_that_is_to_end_returns_or_has_yielded_too_much() -> None:
    assert last_of(body(0), "body") == "returned"
    with pytest.raises(ValueError, match=r"body\(\) yielded more than"):
        last_of(body(1), "body")


@pytest.mark.parametrize(
    ("allowed", "error", "may"),
    [
        (None, OSError(), False),
        (True, OSError(), True),
        (True, KeyboardInterrupt(), False),
        ((OSError,), OSError(), True),
        ((OSError,), LookupError(), False),
    ],
)
def test_what_may_run_again_is_what_the_option_names(
    allowed: Any, error: BaseException, may: bool
) -> None:
    said = b"" if allowed is None else serializer.dump_plain(allowed)
    assert is_retriable(said, error) is may
