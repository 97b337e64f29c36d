"""An item passes the functions that ARCHITECTURE.md tells a newcomer to read, in their order."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import zgen
from tests.integration.gates import Gate
from zgen.runtime.process import Runtime

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| (\d+) \| `([\w/]+\.py):([\w.]+)` \|", re.MULTILINE)


def rows() -> list[str]:
    """Return ``path:name`` of each row, in order."""
    found = ROW.findall((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"))
    assert [int(number) for number, _, _ in found] == list(range(1, len(found) + 1))
    return [f"{path}:{name}" for _, path, name in found]


def noting(
    seen: list[str], root: str, on_lead: Callable[[], None] | None = None
) -> Callable[[FrameType, str, Any], None]:
    """Return what notes the functions of zgen that a thread calls, and when it takes the lead."""

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(root):
            path = frame.f_code.co_filename.removeprefix(root + "/")
            seen.append(f"{path}:{frame.f_code.co_qualname}")
            if on_lead is not None and frame.f_code.co_qualname == "Loop._lead":
                on_lead()

    return note


@zgen.remote
def watched(path: Path, root: str) -> Iterator[list[str]]:
    """Yield an item; another one when it may; and then what was called for that."""
    yield []
    Gate(path).wait()
    seen: list[str] = []
    sys.setprofile(noting(seen, root))
    try:
        yield []
    finally:
        sys.setprofile(None)
    yield seen


def follow(seen: list[str], wanted: list[str]) -> None:
    """Fail unless all that is wanted was seen, in this order, with anything in between."""
    calls = iter(seen)
    for each in wanted:
        assert each in calls, f"{each} is not called, or not where it stands"


def test_an_item_passes_the_functions_in_the_order_of_the_architecture(
    runtime: Runtime, gate: Gate
) -> None:
    order = rows()
    next_row = order.index("zgen/handles.py:ObjectRefGenerator.__next__")
    del_row = order.index("zgen/handles.py:ObjectRef.__del__")
    seen: list[str] = []
    stream = watched.remote(gate.path, str(ROOT))
    next(stream)
    # This thread receives the item if it leads before that is yielded.
    sys.setprofile(noting(seen, str(ROOT), gate.open))
    try:
        ref = next(stream)
        item = zgen.get(ref)
        del ref
    finally:
        sys.setprofile(None)
    assert item == []
    follow(seen, order[next_row : del_row + 1])
    in_worker = zgen.get(next(stream))
    follow(in_worker, order[1:next_row])  # the first one is the caller of the body
