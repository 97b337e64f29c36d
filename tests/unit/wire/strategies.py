"""Hypothesis strategies for every message and record, made from what they declare."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import fields
from typing import Any, NewType, get_args, get_origin, get_type_hints

import hypothesis.strategies as st

import zgen.wire
from zgen.ids import ID_BYTES, OBJECT_ID_BYTES, ObjectId
from zgen.wire.schema import KINDS, LAYOUTS, Buffers, Entry, Layout

for found in pkgutil.iter_modules(zgen.wire.__path__, "zgen.wire."):
    importlib.import_module(found.name)

#: Every message class of the project, by kind; tests declare classes of their own elsewhere.
MESSAGES = [
    layout for _, layout in sorted(KINDS.items()) if layout.cls.__module__.startswith("zgen.")
]
RECORDS = [
    layout
    for layout in LAYOUTS.values()
    if layout.kind < 0 and layout.cls.__module__.startswith("zgen.")
]

buffers = st.binary(max_size=9)
entries = st.one_of(buffers, st.tuples(st.integers(0, 3), st.binary(max_size=9), st.integers(0, 3)))


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Return what a field of type ``hint`` may hold."""
    if hint == Entry:
        return entries
    if hint is Buffers:
        return st.lists(buffers, max_size=3).map(tuple)
    if hint is ObjectId:
        return st.binary(min_size=OBJECT_ID_BYTES, max_size=OBJECT_ID_BYTES)
    if isinstance(hint, NewType):
        return st.binary(min_size=ID_BYTES, max_size=ID_BYTES)
    if hint in LAYOUTS:
        return made(LAYOUTS[hint])
    if get_origin(hint) is tuple:
        arguments = get_args(hint)
        if arguments[-1] is Ellipsis:
            return st.lists(values(arguments[0]), max_size=3).map(tuple)
        return st.tuples(*map(values, arguments))
    plain: dict[type, st.SearchStrategy[Any]] = {
        int: st.integers(-(2**63), 2**64 - 1),
        bool: st.booleans(),
        bytes: st.binary(max_size=9),
        str: st.text("a\0é€😀", max_size=9),
    }
    return plain[hint]


def made(layout: Layout) -> st.SearchStrategy[Any]:
    """Return instances of a class."""
    hints = get_type_hints(layout.cls)
    return st.builds(layout.cls, *[values(hints[field.name]) for field in fields(layout.cls)])


messages = st.one_of([made(layout) for layout in MESSAGES])
