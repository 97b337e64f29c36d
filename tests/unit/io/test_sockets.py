"""Long frames leave over tcp in several parts and come back as they were."""

from __future__ import annotations

import struct

import pytest

from zgen.exceptions import RemoteProtocolError
from zgen.io.sockets import PLAN, joined, split
from zgen.limits import TCP_PART_BYTES_MAX
from zgen.wire.codec import FLAG_BODY, encode_header

HEADER = encode_header(FLAG_BODY, 1, 0)


@pytest.mark.parametrize("length", [0, 1, TCP_PART_BYTES_MAX])
def test_what_is_short_leaves_as_it_is(length: int) -> None:
    frames = [HEADER, bytes(length)]
    assert split(frames) is frames
    assert joined(frames) is frames


@pytest.mark.parametrize("length", [1, TCP_PART_BYTES_MAX, 3 * TCP_PART_BYTES_MAX - 1])
def test_what_is_long_comes_back_as_it_was(length: int) -> None:
    frames = [HEADER, b"", bytes(range(256)) * (TCP_PART_BYTES_MAX // 128), b"x" * length]
    parts = [bytes(part) for part in split(frames)]
    assert max(map(len, parts)) <= TCP_PART_BYTES_MAX
    assert joined(parts) == frames


@pytest.mark.parametrize(
    "parts",
    [
        [PLAN + b"\0"],
        [PLAN + struct.pack("!I", 2), b"one"],
        [PLAN + struct.pack("!II", 1, 0xFFFFFFFF), b"one"],
        [PLAN, b"one"],
    ],
)
def test_a_plan_that_does_not_fit_its_parts_is_refused(parts: list[bytes]) -> None:
    with pytest.raises(RemoteProtocolError, match="plan"):
        joined(parts)


def test_nothing_is_nothing() -> None:
    assert joined([]) == []
    assert joined([PLAN]) == []
