"""Where work may run, and what the cluster has, on a cluster of one node."""

from __future__ import annotations

from typing import Any

import pytest

import zgen
from zgen.util.scheduling_strategies import NodeAffinitySchedulingStrategy

pytestmark = pytest.mark.usefixtures("runtime")


def get(refs: Any) -> Any:
    return zgen.get(refs, timeout=20)


def test_the_cluster_is_this_node_and_work_may_ask_for_it() -> None:
    (node,) = zgen.nodes()
    assert (node["Alive"], node["Labels"]) == (True, {})
    assert node["NodeID"] == zgen.get_runtime_context().get_node_id()
    assert zgen.cluster_resources() == node["Resources"]
    assert zgen.available_resources().keys() <= node["Resources"].keys()

    @zgen.remote
    def where() -> str:
        return zgen.get_runtime_context().get_node_id()

    here = NodeAffinitySchedulingStrategy(node["NodeID"])
    for strategy in ("SPREAD", here):
        assert get(where.options(scheduling_strategy=strategy).remote()) == node["NodeID"]


def test_work_that_no_node_may_run_waits() -> None:
    placed = zgen.remote(label_selector={"zone": "east"})(lambda: None)
    ref = placed.remote()
    assert zgen.wait([ref], timeout=0.2) == ([], [ref])
    zgen.cancel(ref)
    with pytest.raises(zgen.exceptions.TaskCancelledError):
        get(ref)
