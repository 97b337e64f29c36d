"""Show that N nodes give N times the items of one, until the caller is the limit.

    python -m scripts.scaling                   1, 2 and 4 nodes, bodies that sleep 2 ms an item
    python -m scripts.scaling --pause-ms 0.2    until the caller is the limit

Nodes of one CPU each on this machine, one stream on each; the bodies sleep, since the nodes share
the cores. The driver reads all streams as their items come. Exits with 1 if more nodes do not give
as many times the items, within a tenth, although the caller was idle.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "node")]

import zgen  # noqa: E402  # the paths above come first
from zgen.testing import Cluster  # noqa: E402

WARM_UP_COUNT: Final = 50
#: Share of a core from which on the caller counts as the limit.
BUSY_SHARE: Final = 0.7


@zgen.remote(max_retries=0)
def paced(count: int, pause_s: float) -> Iterator[int]:
    """Yield at a pace that a sleep sets."""
    for i in range(count):
        time.sleep(pause_s)
        yield i


def rate(nodes_count: int, pause_s: float, lasts_s: float) -> tuple[float, float]:
    """Return the items per second of so many nodes, and the driver's share of a core."""
    with Cluster(profile="lan") as cluster:
        for i in range(nodes_count):
            cluster.add_node(num_cpus=1, resources={f"n{i}": 1})
        with zgen.init(address=cluster.address, key=cluster.key):
            places = [{"resources": {f"n{i}": 1}} for i in range(nodes_count)]
            warm = [paced.options(**place).remote(WARM_UP_COUNT, 0.0) for place in places]
            for stream in warm:
                assert len(list(stream)) == WARM_UP_COUNT
            count = round(lasts_s / (pause_s + 1e-4))
            streams = [paced.options(**place).remote(count, pause_s) for place in places]
            for stream in streams:
                zgen.get(next(stream), timeout=60)  # all of them run
            began, used = time.monotonic(), time.process_time()
            read = _read_all(streams)
            took_s = time.monotonic() - began
            return read / took_s, (time.process_time() - used) / took_s


def _read_all(streams: list[zgen.ObjectRefGenerator[int]]) -> int:
    """Read streams to their ends, whichever has items; return how many items there were."""
    read = 0
    left = list(streams)
    while left:
        ready, _ = zgen.wait(left, timeout=60)
        assert ready, "no item came"
        for stream in ready:
            try:
                zgen.get(next(stream))
                read += 1
            except StopIteration:
                left.remove(stream)
    return read


def main(arguments: list[str]) -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--pause-ms", type=float, default=2.0, help="sleep before each item")
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each stream runs")
    given = parser.parse_args(arguments)
    print(
        "| nodes | items/s | times one node | the caller's share of a core |\n|---:|---:|---:|---:|"
    )
    one, missed = 0.0, False
    for count in given.nodes:
        found, share = rate(count, given.pause_ms / 1000, given.seconds)
        one = one or found / count
        missed |= found / one < 0.9 * count and share < BUSY_SHARE
        limit = " (the limit)" if share >= BUSY_SHARE else ""
        row = f"| {count} | {found:,.0f} | {found / one:.2f} | {share:.2f}{limit} |"
        print(row, flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
