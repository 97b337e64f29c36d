"""Leases and what a node tells, as bytes."""

from __future__ import annotations

import pytest

from zgen.exceptions import RemoteProtocolError
from zgen.ids import JobId, LeaseId, PeerId
from zgen.wire.codec import decode, encode
from zgen.wire.lease import LeaseGranted, LogLines, ProcessDown, RequestLease, ReturnLease
from zgen.wire.session import Address

LEASE, JOB, PEER = LeaseId(b"l" * 16), JobId(b"j" * 16), PeerId(b"w" * 16)


def test_a_request_carries_its_shape_as_pairs() -> None:
    request = RequestLease(LEASE, JOB, (("CPU", 10_000), ("GPU", 1)), "work")
    body = (
        b"\x98\x12\xc4\x10"
        + LEASE
        + b"\xc4\x10"
        + JOB
        + b"\x92\x92\xa3CPU\xcd\x27\x10\x92\xa3GPU\x01\xa4work"
        + (b"\x95\xa0\xc4\x10" + bytes(16) + b"\xc2\x90\x90")
        + b"\x90\xc3"
    )
    assert encode(request) == [body]
    assert decode([body]) == request


def test_a_shape_of_anything_but_names_and_amounts_is_refused() -> None:
    for shape in ((("CPU",),), (("CPU", "1"),), ((1, "CPU"),), ("CPU", 1)):
        said = RequestLease(LEASE, JOB, shape, "work")  # type: ignore[arg-type]  # what is refused
        with pytest.raises(RemoteProtocolError):
            decode(encode(said))


def test_a_grant_says_where_the_worker_is_reached() -> None:
    granted = LeaseGranted(LEASE, Address(PEER, 1, "ipc://w"), 42)
    body = b"\x94\x13\xc4\x10" + LEASE + b"\x96\xc4\x10" + PEER + b"\x01\xa7ipc://w"
    body += b"\xc4\x10" + bytes(16) + b"\xa0\xc4\x00\x2a"
    assert encode(granted) == [body]
    assert decode([body]) == granted


def test_a_death_by_signal_has_a_negative_exit_code() -> None:
    down = ProcessDown(PEER, 1, 42, -1, 9, "last\nwords", LEASE, 3)
    assert decode(encode(down)) == down
    assert encode(down)[0].startswith(b"\x9b\x1a\xc4\x10")


def test_a_return_and_output_keep_their_flags() -> None:
    assert encode(ReturnLease(LEASE, False)) == [b"\x93\x16\xc4\x10" + LEASE + b"\xc2"]
    said = LogLines(42, True, ("ä", ""), 3)
    assert encode(said) == [b"\x95\x1c\x2a\xc3\x92\xa2\xc3\xa4\xa0\x03"]
    assert decode(encode(said)) == said
