"""Hello and goodbye as bytes."""

from __future__ import annotations

from zgen.ids import PeerId
from zgen.wire.codec import decode, encode
from zgen.wire.schema import VERSION_MAX, VERSION_MIN
from zgen.wire.session import Address, Goodbye, Hello

A, B = PeerId(b"a" * 16), PeerId(b"b" * 16)


def test_a_hello_names_both_lives_the_connection_and_what_is_spoken() -> None:
    hello = Hello(
        Address(A, 2, "ipc://a", tcp="tcp://a:1", machine=b"m"), B, 3, 4, 1, 1, "3.11", "0.1"
    )
    body = (
        b"\x99\x01"
        + (b"\x96\xc4\x10" + A + b"\x02\xa7ipc://a\xc4\x10" + bytes(16) + b"\xa9tcp://a:1\xc4\x01m")
        + (b"\xc4\x10" + B + b"\x03\x04\x01\x01\xa43.11\xa30.1")
    )
    assert encode(hello) == [body]
    assert decode([body]) == hello


def test_a_goodbye_names_the_life_that_ends() -> None:
    body = b"\x94\x02\xc4\x10" + A + b"\x02\xa4done"
    assert encode(Goodbye(A, 2, "done")) == [body]


def test_the_spoken_versions_are_a_range() -> None:
    assert VERSION_MIN <= VERSION_MAX
