"""Words of shared memory as bytes."""

from __future__ import annotations

import pytest

from zgen.ids import PeerId, TaskId
from zgen.wire.codec import decode, encode
from zgen.wire.store import (
    REFUSED_FULL,
    AskEvict,
    Evict,
    Holder,
    HoldRegions,
    LeasedRegion,
    Place,
    RegionsHeld,
    RegionsLeased,
    RegionsOrphaned,
    RegionsRefused,
    ReleaseRegions,
    UnholdRegions,
    WantRegions,
)

OWNER = PeerId(b"o" * 16)
STREAM = TaskId(b"s" * 16)
PLACE = Place(3, 4096, 8192, 1 << 20, True)


@pytest.mark.parametrize(
    "message",
    [
        WantRegions(1, OWNER, STREAM, 200_000, 4),
        RegionsLeased(1, (LeasedRegion(7, PLACE), LeasedRegion(8, PLACE))),
        RegionsRefused(1, REFUSED_FULL, "full", (Holder("driver", 1 << 20, 2),)),
        ReleaseRegions((7, 8), True),
        HoldRegions(2, (7,)),
        RegionsHeld(2, (LeasedRegion(7, PLACE),), (8,), "gone"),
        UnholdRegions((7,)),
        AskEvict(1 << 20, STREAM),
        Evict((7,), False),
        RegionsOrphaned(OWNER, (7,)),
    ],
    ids=lambda message: type(message).__name__,
)
def test_each_word_comes_back_as_it_was_said(message: object) -> None:
    assert decode(encode(message)) == message


def test_a_release_of_written_regions_is_a_few_bytes() -> None:
    assert encode(ReleaseRegions((7,))) == [b"\x93\x43\x91\x07\xc2"]
