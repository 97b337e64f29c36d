"""Tables of `zgen list` and `zgen memory`: rows of `zgen.state` as text and as JSON."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Final, TypeAlias

from zgen.state_rows import Listing, ObjectsSummary, ObjectState, Total
from zgen.wire.state import ACTORS, OBJECTS, STREAMS, TASKS, WORKERS

#: A title, and what stands under it for a row.
Column: TypeAlias = tuple[str, Callable[[Any], Any]]

_HEX_DIGITS_SHOWN: Final = 8


def _short(name: str | None) -> str:
    return "-" if name is None else name[:_HEX_DIGITS_SHOWN]


def _held_by(row: ObjectState) -> str:
    told = [
        f"{hold.reason} ({hold.by})" + (f" x{hold.count}" if hold.count > 1 else "")
        for hold in row.held_by
    ]
    return "; ".join(told + [f"{row.holds_more} more"] * (row.holds_more > 0)) or "nothing"


def size_text(size_bytes: int) -> str:
    """Return a number of bytes for people."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


COLUMNS: Final[dict[str, tuple[Column, ...]]] = {
    OBJECTS: (
        ("OBJECT", lambda row: row.object_id),
        ("SIZE", lambda row: size_text(row.size_bytes)),
        ("PLACE", lambda row: row.place),
        ("OWNER", lambda row: row.owner_pid),
        ("NODE", lambda row: _short(row.node_id)),
        ("HELD BY", _held_by),
    ),
    TASKS: (
        ("TASK", lambda row: row.task_id),
        ("NAME", lambda row: row.name),
        ("STATE", lambda row: row.state),
        ("ATTEMPT", lambda row: row.attempt_number),
        ("WORKER", lambda row: row.worker_pid or "-"),
        ("OWNER", lambda row: row.owner_pid),
        ("NODE", lambda row: _short(row.node_id)),
        ("WAITS FOR", lambda row: row.waits_for or "-"),
    ),
    ACTORS: (
        ("ACTOR", lambda row: row.actor_id),
        ("CLASS", lambda row: row.class_name),
        ("NAME", lambda row: row.name or "-"),
        ("STATE", lambda row: row.state),
        ("RESTARTS", lambda row: row.restarts),
        ("PID", lambda row: row.pid or "-"),
        ("OWNER", lambda row: row.owner_pid),
        ("NODE", lambda row: _short(row.node_id)),
        ("DEATH", lambda row: row.death_cause or "-"),
    ),
    WORKERS: (
        ("WORKER", lambda row: row.worker_id),
        ("TYPE", lambda row: row.worker_type),
        ("PID", lambda row: row.pid or "-"),
        ("STATE", lambda row: row.state),
        ("WORKS ON", lambda row: row.works_on or "-"),
        ("ACTOR", lambda row: _short(row.actor_id)),
        ("JOB", lambda row: _short(row.job_id)),
        ("NODE", lambda row: _short(row.node_id)),
        ("ANSWERS", lambda row: row.silence or "yes"),
    ),
    STREAMS: (
        ("STREAM", lambda row: row.stream_id),
        ("NAME", lambda row: row.name),
        ("YIELDED", lambda row: row.reported),
        ("TAKEN", lambda row: row.taken),
        ("UNREAD", lambda row: row.unread),
        ("SIZE", lambda row: size_text(row.unread_bytes)),
        ("STATE", lambda row: "ended" if row.ended else "open"),
        ("PARKED BY", lambda row: row.parked_by or "-"),
        ("WORKER", lambda row: row.worker_pid or "-"),
        ("NODE", lambda row: _short(row.node_id)),
        ("OWNER", lambda row: row.owner_pid),
    ),
}


def table_text(titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return rows in columns; the last column is as wide as it wants to be."""
    lines = [[str(cell) for cell in row] for row in (titles, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
    return "\n".join(padded)


def listing_text(what: str, rows: Listing[Any]) -> str:
    """Return a list for people, and what it lacks."""
    columns = COLUMNS[what]
    titles = [title for title, _ in columns]
    table = table_text(titles, [[cell(row) for _, cell in columns] for row in rows])
    lines = [table if rows else f"no {what}"]
    if rows.total > len(rows):
        lines.append(f"{rows.total - len(rows)} more; see --limit")
    for silent in rows.silent:
        if silent.worker_type == "NODE":
            lines.append(f"node {_short(silent.node_id)} is missing: {silent.silence}")
        elif what != WORKERS:
            where = f"process {silent.pid} of node {_short(silent.node_id)}"
            lines.append(f"{where} is missing: {silent.silence}")
    return "\n".join(lines)


def listing_json(rows: Listing[Any]) -> dict[str, Any]:
    """Return a list for programs."""
    return {
        "rows": [asdict(row) for row in rows],
        "total": rows.total,
        "silent": [asdict(worker) for worker in rows.silent],
    }


def summary_text(summary: ObjectsSummary) -> str:
    """Return objects with their totals, for people."""
    owners = [
        (f"process {summary.pids.get(owner, '?')}", total)
        for owner, total in summary.by_owner.items()
        if total.count
    ]
    tables = [
        listing_text(OBJECTS, summary.objects),
        _totals_text("OWNER", owners),
        _totals_text("HELD BY", list(summary.by_reason.items())),
    ]
    return "\n\n".join(tables)


def summary_json(summary: ObjectsSummary) -> dict[str, Any]:
    """Return objects with their totals, for programs."""
    return {
        **listing_json(summary.objects),
        "by_owner": {name: asdict(total) for name, total in summary.by_owner.items()},
        "by_reason": {name: asdict(total) for name, total in summary.by_reason.items()},
        "pids": summary.pids,
    }


def _totals_text(title: str, totals: Sequence[tuple[str, Total]]) -> str:
    largest = sorted(totals, key=lambda each: -each[1].size_bytes)
    rows = [(name, total.count, size_text(total.size_bytes)) for name, total in largest]
    return table_text((title, "OBJECTS", "SIZE"), rows)
