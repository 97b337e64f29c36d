"""The rows of the benchmark: what each measures and what it must reach."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Verdict = Literal["goal", "pass", "FAIL", "-"]

#: A row is measured again when its figure lies this close to its *must*.
CLOSE_CALL: Final = 0.15


@dataclass(frozen=True, slots=True)
class Line:
    """One figure of a row, with its limits.

    Attributes:
        row: the row's id; its first two letters say which file measures it.
        metric: key of the figure in what a measurement prints.
        title: what a person reads.
        unit: unit of the figure.
        better: which direction is an improvement.
        against: whether the limits are multiples of Ray's or the floor's figure in the same
            run or stand in the line's own unit.
        must: below this (beyond it, where lower is better) the row is not done.
        goal: where we are going.
    """

    row: str
    metric: str
    title: str
    unit: str
    better: Literal["higher", "lower"]
    against: Literal["ray", "floor", "unit"]
    must: float | None = None
    goal: float | None = None

    def score(
        self, zgen: float | None, ray: float | None, floor: float | None = None
    ) -> float | None:
        """Tell the number that is held against the limits, if it can be had."""
        if zgen is None:
            return None
        if self.against == "unit":
            return zgen
        other = floor if self.against == "floor" else ray
        return zgen / other if other else None

    def verdict(self, score: float | None) -> Verdict:
        """Hold a score against the limits."""
        if score is None or (self.must is None and self.goal is None):
            return "-"
        if self.goal is not None and self._reaches(score, self.goal):
            return "goal"
        if self.must is None:
            return "-"
        return "pass" if self._reaches(score, self.must) else "FAIL"

    def close_call(self, score: float | None) -> bool:
        """Tell whether a score lies so close to *must* that it needs more rounds."""
        if score is None or self.must is None:
            return False
        return abs(score - self.must) < CLOSE_CALL * self.must

    def _reaches(self, score: float, limit: float) -> bool:
        return score >= limit if self.better == "higher" else score <= limit


def _rate(row: str, title: str, must: float, goal: float) -> Line:
    return Line(row, "rate", title, "/s", "higher", "ray", must, goal)


LINES: Final[tuple[Line, ...]] = (
    _rate("PS1", "stream of small ints, items", 10, 30),
    _rate("PS2", "stream of 1 KB, items", 6, 20),
    Line("PS3", "gbytes", "stream of 1 MB arrays, every byte read", "GB/s", "higher", "ray", 3, 8),
    Line("PS4", "gbytes", "stream of 10 MB arrays, every byte read", "GB/s", "higher", "ray", 2, 4),
    Line("PS5", "p50_us", "yield to caller, paced 2 ms, p50", "µs", "lower", "ray", 0.65, 0.45),
    Line("PS6", "p50_ms", "first item, warm worker, p50", "ms", "lower", "ray", 0.5, 0.25),
    _rate("PS7", "8 streams at once, items", 6, 20),
    _rate("PS8", "`async for` and `await` of small ints, items", 10, 25),
    Line("PS9", "rate", "stream of an actor, small ints, items", "/s", "higher", "ray", 7, 17),
    Line("PS9", "async", "... of an async actor", "/s", "higher", "ray", 8, 25),
    _rate("PS10", "stream with a window of 64 items, items", 10, 25),
    Line("PS10", "kept", "... of 64 MiB, rate of that without", "x", "higher", "unit", 0.85, 0.95),
    Line(
        "PS11", "evenness", "rate at 8 or 64 streams, of that at 1", "x", "higher", "unit", 0.5, 0.8
    ),
    Line("PS11", "rate_1", "... 1 stream, items", "/s", "higher", "ray"),
    Line("PS11", "rate_8", "... 8 streams, items", "/s", "higher", "ray"),
    Line("PS11", "rate_64", "... 64 streams, items", "/s", "higher", "ray"),
    _rate("PT1", "no-op task, one after the other", 2, 6),
    _rate("PT2", "no-op task, 5,000 submitted, then all got", 4, 12),
    Line("PA1", "sync", "actor call, one after the other", "/s", "higher", "ray", 1.7, 4),
    Line("PA1", "pipelined", "... 5,000 made, then all got", "/s", "higher", "ray", 5, 17),
    _rate("PA2", "async actor, 5,000 calls made, then all got", 7, 20),
    Line("PA3", "ms", "create an actor and call it", "ms", "lower", "ray", 0.2, 0.05),
    _rate("PW1", "`wait` over 1,000 streams of one async actor, items", 5, 15),
    Line("PO1", "put", "put a small value", "/s", "higher", "ray", 25, 80),
    Line("PO1", "get", "get a small value", "/s", "higher", "ray", 10, 30),
    Line("PO2", "fresh", "put 100 MB, fresh pages", "GB/s", "higher", "ray", 3, 5),
    Line("PO2", "reused", "put 100 MB, reused pages", "GB/s", "higher", "ray", 0.7, 0.9),
    Line("PO3", "p50_ms", "get 100 MB, same node", "ms", "lower", "ray", 1, 0.4),
    Line("PO4", "p50_ms", "a task returns 100 MB", "ms", "lower", "ray", 0.7, 0.3),
    Line("PO5", "bytes", "a held ref, driver memory", "B", "lower", "unit", 1000, 400),
    Line("PN1", "plain", "get 100 MB of another node", "GB/s", "higher", "floor", 0.7, 0.9),
    Line("PN1", "locked", "... under CURVE", "GB/s", "higher", "floor", 0.7, 0.9),
    Line("PI1", "seconds", "import", "s", "lower", "unit", 0.15, 0.10),
    Line("PI2", "seconds", "init and first task", "s", "lower", "unit", 1.0, 0.4),
    Line("PI3", "mbytes", "memory with two idle workers", "MB", "lower", "unit", 150, 90),
    Line("PI3", "threads", "... threads", "", "lower", "unit", None, 20),
    Line("PI4", "seconds", "shutdown", "s", "lower", "unit", 0.5, 0.2),
    Line("PI5", "percent", "idle CPU", "% of a core", "lower", "unit", 2, 0.5),
    Line(
        "PF1", "seconds", "SIGKILL of the worker to first new item", "s", "lower", "unit", 0.3, 0.1
    ),
    Line(
        "PF2", "seconds", "SIGKILL of an actor to its next answer", "s", "lower", "unit", 0.4, 0.15
    ),
    Line("PF3", "seconds", "SIGKILL of a node to first new item", "s", "lower", "unit", 1.5, 0.5),
    Line(
        "PF4",
        "killed",
        "SIGKILL of a daemon until it is listed no more",
        "s",
        "lower",
        "unit",
        3,
        1,
    ),
    Line("PF4", "hung", "... SIGSTOP of a node", "s", "lower", "unit", 15, 8),
    Line("PF5", "missed", "first node killed; of 5 actors, no answer", "", "lower", "unit", 0, 0),
)

ROWS: Final[tuple[str, ...]] = tuple(dict.fromkeys(line.row for line in LINES))

#: Rows whose features zgen has; the others run only when they are named.
BUILT: Final[tuple[str, ...]] = (
    *("PS1", "PS2", "PS3", "PS4", "PS5", "PS6", "PS7", "PS8", "PS9", "PS10", "PS11"),
    *("PT1", "PT2"),
    *("PA1", "PA2", "PA3"),
    "PW1",
    *("PO1", "PO2", "PO3", "PO4", "PO5"),
    "PN1",
    *("PI1", "PI2", "PI3", "PI4", "PI5"),
    *("PF1", "PF2", "PF3", "PF4", "PF5"),
)

#: Rows for which a bare program would show nothing, or no more than another one's.
WITHOUT_FLOOR: Final[tuple[str, ...]] = (
    "PI4",
    "PI5",
    "PS9",
    "PA3",
    "PW1",
    "PF2",
    "PF3",
    "PF4",
    "PF5",
)

#: Rows for which Ray would need more than this machine.
WITHOUT_RAY: Final[tuple[str, ...]] = ("PN1",)

#: What measures a row, by its id or the first two letters of that.
FAMILIES: Final[dict[str, str]] = {
    "PS": "streams",
    "PT": "tasks",
    "PA": "actors",
    "PW": "waits",
    "PO": "objects",
    "PN": "nodes",
    "PI": "startup",
    "PF": "faults",
    **dict.fromkeys(("PF3", "PF4", "PF5"), "node_faults"),
}


def lines_of(rows: Iterable[str]) -> list[Line]:
    """List the figures of these rows, in the table's order."""
    wanted = list(rows)
    return [line for line in LINES if line.row in wanted]
