"""Streams of the soak that are spoken with: what a body answers follows from all that it heard."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Generator
from typing import Any

import zgen


class Talk:
    """What a body has heard so far, and what it answers."""

    def __init__(self, seed: int, size_bytes: int) -> None:
        """Begin; an answer has that many bytes more."""
        self._heard = hashlib.md5(str(seed).encode())
        self._more = bytes([seed % 256]) * size_bytes
        self._count = 0

    def answer(self, given: Any) -> tuple[int, str, bytes]:
        """Return the number of the answer and what all that was heard amounts to."""
        self._heard.update(repr(given).encode())
        self._count += 1
        return self._count, self._heard.hexdigest(), self._more


def talk(seed: int, size_bytes: int) -> Generator[Any, Any, str]:
    """Answer until ``"end"`` is heard; return a word."""
    said = Talk(seed, size_bytes)
    given: Any = None
    while given != "end":
        try:
            given = yield said.answer(given)
        except KeyError as error:
            given = "raised", error.args[0]
    return "ended"


async def talk_async(seed: int, size_bytes: int) -> AsyncIterator[Any]:
    """Do the same in an event loop, where generators return nothing."""
    said = Talk(seed, size_bytes)
    given: Any = None
    while given != "end":
        try:
            given = yield said.answer(given)
        except KeyError as error:
            given = "raised", error.args[0]
        await asyncio.sleep(0)


talk_task = zgen.remote(max_retries=-1, two_way=True)(talk)
talk_async_task = zgen.remote(max_retries=-1, two_way=True)(talk_async)
