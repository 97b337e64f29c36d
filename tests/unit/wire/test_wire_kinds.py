"""The golden list of kinds, names and fields: it grows at its ends and changes nowhere else."""

from __future__ import annotations

import os
import re
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, NewType, get_args, get_origin, get_type_hints

import pytest

from tests.unit.wire.strategies import MESSAGES, RECORDS
from zgen.wire.schema import Entry, Layout

GOLDEN = Path(__file__).parents[2] / "golden" / "wire_kinds.txt"


def type_name(hint: Any) -> str:
    if hint == Entry:
        return "Entry"
    if get_origin(hint) is tuple:
        return f"({','.join(map(type_name, get_args(hint)))})"
    if hint is Ellipsis:
        return "..."
    if isinstance(hint, NewType):
        return str(hint.__name__)
    return str(hint.__name__)


def line_of(layout: Layout) -> str:
    """Return kind, name and fields of a class; a field with a default ends in its value."""
    hints = get_type_hints(layout.cls)
    described = [
        f"{field.name}:{type_name(hints[field.name])}"
        + ("" if field.default is MISSING else f"={field.default!r}".replace(" ", ""))
        for field in fields(layout.cls)
    ]
    kind = "record" if layout.kind < 0 else f"{layout.kind:#04x}"
    return " ".join([kind, layout.cls.__name__, *described])


def current() -> list[str]:
    records = sorted(line_of(layout) for layout in RECORDS)
    return [line_of(layout) for layout in MESSAGES] + records


def broken(golden: list[str], now: list[str]) -> list[str]:
    """Return the golden lines that old peers would no longer understand.

    Buffers are not part of the array, so fields are appended in front of them.
    """
    known = {tuple(line.split()[:2]): line.split()[2:] for line in now}
    bad = []
    for line in golden:
        kind, name, *before = [word for word in line.split() if ":Buffers" not in word]
        after = [word for word in known.get((kind, name), []) if ":Buffers" not in word]
        appended = after[len(before) :]
        kept = (kind, name) in known and after[: len(before)] == before
        if not kept or not all("=" in word for word in appended):
            bad.append(line)
    return bad


def test_what_old_peers_know_of_the_wire_still_holds() -> None:
    if os.environ.get("UPDATE_GOLDEN") == "1":
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text("".join(f"{line}\n" for line in current()))
    golden = GOLDEN.read_text().splitlines()
    assert broken(golden, current()) == [], "fields are only appended, with defaults"
    assert golden == current(), "new on the wire: run this test once with UPDATE_GOLDEN=1"


OLD = [
    "0x40 Ask who:PeerId count:int",
    "0x41 Tell text:str buffers:Buffers=()",
    "record Pair a:int",
]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("count:int", "number:int"),
        ("count:int", "count:str"),
        ("who:PeerId count:int", "count:int who:PeerId"),
        ("who:PeerId count:int", "who:PeerId"),
        ("who:PeerId", "urgent:bool=False who:PeerId"),
        ("count:int", "count:int urgent:bool"),
        ("0x40 Ask", "0x42 Ask"),
        ("0x40 Ask", "0x40 Demand"),
        ("text:str", "text:str size:int"),
        ("a:int", "a:bool"),
        ("record Pair", "record Two"),
    ],
)
def test_a_change_that_old_peers_would_not_understand_is_found(before: str, after: str) -> None:
    now = [line.replace(before, after) for line in OLD]
    assert now != OLD
    assert len(broken(OLD, now)) == 1


def test_appended_fields_with_defaults_and_new_kinds_are_no_breach() -> None:
    now = [
        OLD[0] + " urgent:bool=False",
        OLD[1].replace("text:str", "text:str size:int=0"),
        OLD[2] + " b:int=0",
        "0x42 New who:PeerId",
    ]
    assert broken(OLD, now) == []


@pytest.mark.parametrize("layout", MESSAGES, ids=lambda layout: layout.cls.__name__)
def test_a_message_says_first_who_says_what_to_whom(layout: Layout) -> None:
    first = (layout.cls.__doc__ or "").splitlines()[0]
    assert re.match(r"[A-Z]\w+ -> \w[\w ]*: .+\.", first)
