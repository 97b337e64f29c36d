"""Golden transcripts: three processes, one story each, readable in review.

``UPDATE_GOLDEN=1`` writes them anew.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from tests.sim.cluster import Cluster, Settings
from tests.sim.programs import Consumer, Plan
from zgen.ids import ObjectId, TaskId, object_id
from zgen.limits import MS, SECOND
from zgen.sim.trace import Trace, difference

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
#: Nothing of what these tell matters to the story.
NOISE = re.compile(r"TimerDue\(\)|InboxDrained\(\)|(?:Transmit|Arrived)\(\S+ ack \d+\)$")

Story = Callable[[Cluster, Consumer], None]


def transcript(story: Story) -> list[str]:
    """Return what happens while one driver acts out ``story`` on a node of one CPU."""
    trace = Trace(kept_max=None)
    cluster = Cluster(1, Settings(cpus=10_000, prestart=False), trace)
    cluster.begin_program = lambda user: story(cluster, user)
    cluster.begin()
    cluster.world.run(1 * SECOND)
    for user in cluster.drivers.values():
        assert not user.refs
        assert not user.handles
    cluster.leave_all()
    cluster.world.run(2 * SECOND)
    cluster.promises.leaks.at_rest()
    return [line for line in trace.lines() if not NOISE.search(line)]


def compare(name: str, lines: list[str]) -> None:
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    changed = difference(path.read_text(encoding="utf-8").splitlines(), lines)
    assert not changed, f"{path.name} differs; UPDATE_GOLDEN=1 writes it anew\n{changed}"


def read_all(cluster: Cluster, user: Consumer, stream: TaskId) -> None:
    def took(names: list[ObjectId], ended: bool) -> None:
        cluster.promises.took(user, stream, names, ended)
        user.drop(names, (stream,) if ended else ())
        if not ended:
            user.next(stream, 8, took)

    user.next(stream, 8, took)


def test_a_stream_goes_on_after_its_worker_died() -> None:
    def story(cluster: Cluster, user: Consumer) -> None:
        root = (cluster.root_task_of(user.life), 0)
        plan = Plan([["yield", 2, 1 * MS, 0], ["die", 1], ["yield", 1, 1 * MS, 0]])
        read_all(cluster, user, user.submit(plan, root, 0))

    compare("stream_goes_on", transcript(story))


def test_a_task_that_waits_for_its_child_gives_its_cpu_back() -> None:
    def story(cluster: Cluster, user: Consumer) -> None:
        root = (cluster.root_task_of(user.life), 0)
        child = Plan([["sleep", 1 * MS]], returns=1)
        parent = Plan([["spawn", child.to_json()], ["gather"]], returns=1)
        result = object_id(user.submit(parent, root, 0), 0)
        user.get(result, lambda value: user.drop([result]))

    compare("nested_task", transcript(story))
