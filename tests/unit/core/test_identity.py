"""Who a process is, and with whom it cannot work."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.core.names import address, peer
from zgen.core.identity import Identity
from zgen.wire.codec import FLAG_BODY, FLAG_UNSEQUENCED, Header, decode, decode_header
from zgen.wire.schema import VERSION_MAX, VERSION_MIN
from zgen.wire.session import Hello

ME = Identity(address("me", 2), "3.11", "0.1")
HELLO = Hello(address("you"), peer("me"), 2, 1, VERSION_MIN, VERSION_MAX, "3.11", "0.1")


def test_a_hello_is_outside_the_session_and_names_both_lives() -> None:
    frames = ME.hello_to(address("you", 3), 4)
    assert decode_header(frames[0]) == Header(FLAG_BODY | FLAG_UNSEQUENCED, 0, 0)
    assert decode(frames[1:]) == Hello(
        address("me", 2), peer("you"), 3, 4, VERSION_MIN, VERSION_MAX, "3.11", "0.1"
    )


def test_who_speaks_the_same_is_no_mismatch() -> None:
    assert ME.mismatch(HELLO) == ""
    wider = replace(HELLO, version_min=VERSION_MIN - 1, version_max=VERSION_MAX + 1)
    assert ME.mismatch(wider) == ""


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"version_min": VERSION_MAX + 1, "version_max": VERSION_MAX + 2}, "protocol 2 to 3 there"),
        ({"version_min": VERSION_MIN - 1, "version_max": VERSION_MIN - 1}, "protocol 0 to 0 there"),
        ({"python": "3.12"}, "Python 3.12 there, 3.11 here"),
        ({"release": "0.2"}, "zgen 0.2 there, 0.1 here"),
    ],
)
def test_a_mismatch_says_what_is_there_and_what_is_here(
    changes: dict[str, object], says: str
) -> None:
    values: dict[str, object] = {name: getattr(HELLO, name) for name in HELLO.__dataclass_fields__}
    hello = Hello(**{**values, **changes})  # type: ignore[arg-type]  # fields by name
    assert says in ME.mismatch(hello)
