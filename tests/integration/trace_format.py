"""What a file in Chrome's trace-event format has to be for Perfetto to show it."""

from __future__ import annotations

from typing import Any

#: Phase -> fields that its events need beside ``ph``, ``name``, ``pid`` and ``tid``.
PHASES = {
    "M": ("args",),
    "X": ("ts", "dur"),
    "i": ("ts", "s"),
    "C": ("ts", "args"),
    "s": ("ts", "id", "cat"),
    "f": ("ts", "id", "cat", "bp"),
}
NUMBERS = ("ts", "dur")


def faults(trace: Any) -> list[str]:
    """Return what is wrong with a trace."""
    if not isinstance(trace, dict) or not isinstance(trace.get("traceEvents"), list):
        return ["it is no object with traceEvents"]
    events: list[dict[str, Any]] = trace["traceEvents"]
    return [
        *(fault for event in events for fault in _alone(event)),
        *_nested(events),
        *_arrows(events),
    ]


def _alone(event: dict[str, Any]) -> list[str]:
    """Return what is wrong with one event by itself."""
    needed = PHASES.get(event.get("ph", ""))
    if needed is None:
        return [f"no such phase: {event}"]
    found = [f"no {key}: {event}" for key in ("name", "pid", "tid", *needed) if key not in event]
    found += [
        f"{key} is no integer: {event}" for key in ("pid", "tid") if type(event.get(key)) is not int
    ]
    for key in NUMBERS:
        if key in needed and not (isinstance(event.get(key), int | float) and event[key] >= 0):
            found.append(f"{key} is no number: {event}")
    if event["ph"] == "C" and not all(isinstance(n, int | float) for n in event["args"].values()):
        found.append(f"a counter counts: {event}")
    return found


def _nested(events: list[dict[str, Any]]) -> list[str]:
    """Return the slices that overlap another one of their row without lying in it."""
    found: list[str] = []
    open_until: dict[tuple[int, int], list[float]] = {}
    slices = [event for event in events if event["ph"] == "X"]
    for event in sorted(slices, key=lambda each: (each["ts"], -each["dur"])):
        stack = open_until.setdefault((event["pid"], event["tid"]), [])
        while stack and stack[-1] <= event["ts"]:
            stack.pop()
        end = event["ts"] + event["dur"]
        if stack and end > stack[-1] + 0.5:  # ts has a quarter of a microsecond
            found.append(f"it overlaps: {event}")
        stack.append(end)
    return found


def _arrows(events: list[dict[str, Any]]) -> list[str]:
    """Return the arrows without one of their ends, or that point back in time."""
    begun = {event["id"]: event["ts"] for event in events if event["ph"] == "s"}
    ended = {event["id"]: event["ts"] for event in events if event["ph"] == "f"}
    found = [f"an arrow with one end: {name}" for name in begun.keys() ^ ended.keys()]
    return found + [
        f"an arrow back: {name}" for name in begun if ended.get(name, 1e99) < begun[name]
    ]
