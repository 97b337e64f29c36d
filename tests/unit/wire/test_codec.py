"""Every message comes back as it was; whatever else comes is refused and never raises more."""

from __future__ import annotations

import sys
import threading
from typing import Any

import hypothesis.strategies as st
import msgpack
import pytest
from hypothesis import given, settings

from tests.unit.wire.strategies import MESSAGES, made, messages
from zgen.exceptions import RemoteProtocolError
from zgen.ids import JobId, PeerId, TaskId
from zgen.limits import ARRAY_COUNT_MAX
from zgen.wire import codec
from zgen.wire.cluster import ShareJob
from zgen.wire.codec import (
    FLAG_BODY,
    FLAG_UNSEQUENCED,
    HEADER_BYTES,
    Header,
    decode,
    decode_header,
    encode,
    encode_header,
)
from zgen.wire.schema import Buffers, Layout
from zgen.wire.session import Address
from zgen.wire.stream import CloseStream, ReportItems

STREAM = TaskId(b"s" * 16)
CLOSE = CloseStream(STREAM, 3)
seqs = st.integers(0, 2**64 - 1)


def packed(value: object) -> bytes:
    body = msgpack.packb(value, use_bin_type=True)
    assert isinstance(body, bytes)
    return body


# -- headers -------------------------------------------------------------------------------------
@given(flags=st.integers(0, 255), seq=seqs, ack=seqs)
def test_a_header_comes_back(flags: int, seq: int, ack: int) -> None:
    frame = encode_header(flags, seq, ack)
    assert len(frame) == HEADER_BYTES
    assert decode_header(frame) == Header(flags, seq, ack)


def test_the_header_lies_as_its_table_says() -> None:
    frame = encode_header(FLAG_BODY | FLAG_UNSEQUENCED, 5, 6)
    assert frame == b"zg\x01\x03" + (5).to_bytes(8, "big") + (6).to_bytes(8, "big")


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        encode_header(0, 1, 1)[:-1],
        encode_header(0, 1, 1) + b"\0",
        b"zz" + encode_header(0, 1, 1)[2:],
        b"zg\x02" + encode_header(0, 1, 1)[3:],
    ],
)
def test_what_is_no_header_is_refused(frame: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_header(frame)


@given(frame=st.binary(min_size=HEADER_BYTES - 2, max_size=HEADER_BYTES + 2))
def test_arbitrary_headers_are_refused_or_read(frame: bytes) -> None:
    try:
        header = decode_header(frame)
    except RemoteProtocolError:
        return
    assert encode_header(header.flags, header.seq, header.ack) == frame


# -- messages ------------------------------------------------------------------------------------
@pytest.mark.parametrize("layout", MESSAGES, ids=lambda layout: layout.cls.__name__)
def test_a_message_of_every_class_comes_back(layout: Layout) -> None:
    @settings(max_examples=12)
    @given(said=made(layout))
    def comes_back(said: Any) -> None:
        frames = encode(said)
        assert len(frames) == 1 + (len(said.buffers) if layout.buffered else 0)
        assert decode(frames) == said

    comes_back()


def test_buffers_are_the_same_objects_behind_the_body() -> None:
    raw = bytes(100)
    frames = encode(ReportItems(STREAM, 0, 0, ((0, b"", 1),), Buffers((raw,))))
    assert frames[1] is raw
    assert raw not in frames[0]
    assert decode(frames).buffers[0] is raw


def test_a_class_that_is_no_message_is_not_sent() -> None:
    with pytest.raises(LookupError):
        encode(object())
    with pytest.raises(RemoteProtocolError, match="unknown kind -1"):
        decode(encode(Address(b"p" * 16, 1, "x")))  # type: ignore[arg-type]  # a record


# -- what is refused -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("frames", "says"),
    [
        ([], "no body"),
        ([b""], "not msgpack"),
        ([b"\xc1"], "not msgpack"),
        ([packed(5)], "not an array"),
        ([packed([])], "not an array"),
        ([packed(["a"])], "not an array"),
        ([packed([True])], "not an array"),
        ([packed([0x7FFF])], "unknown kind 32767"),
        ([packed([-1, b"p" * 16])], "unknown kind -1"),
        ([packed([2**63])], "unknown kind"),
        ([packed([0x32, STREAM])], "CloseStream needs 2 fields, got 1"),
        ([packed([0x32, STREAM, "3"])], "CloseStream: expected int"),
        ([packed([0x32, STREAM, 3]), b""], "CloseStream takes no buffers"),
        ([packed([0x32, STREAM, 3]) + b"\0"], "not msgpack: ExtraData"),
        ([packed([0x32, STREAM, 3])[:-1]], "not msgpack"),
        ([packed([0x32, STREAM, {}, {1: 2}])], "not msgpack"),
        ([packed([0x32, STREAM, msgpack.ExtType(5, b"x")])], "not msgpack"),
        ([b"\x93\x32\xa1\xff\x03"], "not msgpack: UnicodeDecodeError"),
    ],
)
def test_a_malformed_body_is_refused_with_what_is_wrong(frames: list[bytes], says: str) -> None:
    with pytest.raises(RemoteProtocolError, match=says):
        decode(frames)


@pytest.mark.parametrize("depth", [2_000, 1_000_000])
def test_a_depth_bomb_is_refused(depth: int) -> None:
    with pytest.raises(RemoteProtocolError, match="not msgpack"):
        decode([b"\x91" * depth + b"\xc0"])


@pytest.mark.parametrize("depth", [100, 900])
def test_what_is_deep_where_nothing_is_declared_is_ignored(depth: int) -> None:
    deep = b"\x91" * depth + b"\xc0"
    assert decode([b"\x95\x32" + packed(STREAM) + b"\x03\xc2" + deep]) == CLOSE


@pytest.mark.parametrize(
    "claim",
    [
        b"\xdd\xff\xff\xff\xff",
        b"\xdd" + (ARRAY_COUNT_MAX + 1).to_bytes(4, "big"),
        b"\xdd" + ARRAY_COUNT_MAX.to_bytes(4, "big"),
        b"\xdc\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x05",
        b"\xde\x00\x01",
    ],
    ids=lambda claim: claim.hex(),
)
@pytest.mark.parametrize("nesting", [0, 1, 200])
def test_a_claimed_length_that_never_comes_is_refused(claim: bytes, nesting: int) -> None:
    with pytest.raises(RemoteProtocolError, match="not msgpack"):
        decode([b"\x91" * nesting + claim])


def test_more_bytes_or_buffers_than_allowed_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    said = ReportItems(STREAM, 0, 0, (), Buffers((b"a", b"b")))
    frames = encode(said)
    monkeypatch.setattr(codec, "BODY_BYTES_MAX", len(frames[0]))
    monkeypatch.setattr(codec, "BUFFERS_COUNT_MAX", 2)
    assert decode(frames) == said
    with pytest.raises(RemoteProtocolError, match="3 buffers, limit 2"):
        decode([*frames, b"c"])
    monkeypatch.setattr(codec, "BODY_BYTES_MAX", len(frames[0]) - 1)
    with pytest.raises(RemoteProtocolError, match=f"body of {len(frames[0])} bytes"):
        decode(frames)


def refused_or_understood(frames: list[bytes]) -> None:
    """Whatever comes, it is a message that can be said again, or a ``RemoteProtocolError``."""
    try:
        said = decode(frames)
    except RemoteProtocolError:
        return
    assert decode(encode(said)) == said


@settings(max_examples=150)
@given(frames=st.lists(st.binary(max_size=60), max_size=3))
def test_arbitrary_bytes_raise_nothing_else(frames: list[bytes]) -> None:
    refused_or_understood(frames)


plain = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(allow_nan=False),
        st.text("a\0€", max_size=4),
        st.sampled_from([b"", b"x", b"i" * 16, b"o" * 20]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text("ab", max_size=2), inner, max_size=2)
    ),
    max_leaves=8,
)


@settings(max_examples=150)
@given(
    kind=st.sampled_from([layout.kind for layout in MESSAGES]),
    values=st.lists(plain, max_size=8),
    buffers=st.lists(st.binary(max_size=3), max_size=2),
)
def test_a_known_kind_with_arbitrary_fields_raises_nothing_else(
    kind: int, values: list[Any], buffers: list[bytes]
) -> None:
    refused_or_understood([packed([kind, *values]), *buffers])


@settings(max_examples=150)
@given(said=messages, at=st.integers(0, 500), cut=st.integers(0, 3), put=st.binary(max_size=3))
def test_a_message_that_was_damaged_on_its_way_raises_nothing_else(
    said: Any, at: int, cut: int, put: bytes
) -> None:
    body, *buffers = encode(said)
    at %= len(body)
    refused_or_understood([body[:at] + put + body[at + cut :], *buffers])


def test_threads_that_encode_at_the_same_time_do_not_mix_their_messages() -> None:
    nested = [Address(PeerId(bytes([i]) * 16), i + 1, f"ipc://{'x' * 100 * i}") for i in range(4)]
    questions = [ShareJob(JobId(bytes(16)), each, ("a",) * 50, "b", ()) for each in nested]
    wrong: list[object] = []

    def encode_often(question: ShareJob) -> None:
        wanted = encode(question)
        wrong.extend(got for _ in range(2000) if (got := encode(question)) != wanted)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=encode_often, args=(each,)) for each in questions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert not wrong
