"""Where a node joins that comes back."""

from __future__ import annotations

from pathlib import Path

from zgen_node.io.rejoining import bounded_seeds, note_rejoin, noted_rejoin
from zgen_node.limits import SEEDS_COUNT_MAX


def test_what_a_node_notes_its_supervisor_reads(tmp_path: Path) -> None:
    assert noted_rejoin(str(tmp_path)) is None
    note_rejoin(str(tmp_path), ("tcp://a", "tcp://b"))
    assert noted_rejoin(str(tmp_path)) == ["tcp://a", "tcp://b"]


def test_a_node_that_comes_back_again_and_again_knows_its_first_seeds_and_the_latest() -> None:
    seeds = ["tcp://first"]
    for life in range(3 * SEEDS_COUNT_MAX):
        seeds = bounded_seeds([f"tcp://{life}", f"tcp://{life}", *seeds])
        assert seeds[0] == f"tcp://{life}"
        assert seeds[-1] == "tcp://first"
        assert len(seeds) == min(life + 2, SEEDS_COUNT_MAX)
