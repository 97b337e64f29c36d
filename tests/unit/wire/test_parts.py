"""Headers of parts: what is packed is read, and what is malformed is refused."""

from __future__ import annotations

import pytest

from zgen.exceptions import RemoteProtocolError
from zgen.wire.parts import PARTS, PartHeader, read_header


@pytest.mark.parametrize("checksum", [None, 0, 2**32 - 1])
def test_a_header_is_read_as_it_was_packed(checksum: int | None) -> None:
    header = PartHeader(3, 2**63 - 1, 7 << 30, checksum)
    packed = header.pack()
    assert packed.startswith(PARTS)
    assert read_header(packed) == header


def test_what_is_malformed_is_refused() -> None:
    packed = PartHeader(3, 7, 0, None).pack()
    wrong = [packed[:-1], packed + b"x", b"other-mag" + packed[9:], PARTS + b"\x02" + packed[10:]]
    for frame in wrong:
        with pytest.raises(RemoteProtocolError, match="header of a part"):
            read_header(frame)
