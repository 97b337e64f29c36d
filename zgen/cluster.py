"""`nodes cluster_resources available_resources`: what the cluster has, as this node sees it."""

import json
from typing import Any, Final

from zgen.exceptions import NodeDiedError
from zgen.runtime import start

_TIMEOUT_S: Final = 30.0


def nodes() -> list[dict[str, Any]]:
    """Return the live nodes of the cluster, that of this process first.

    Returns:
        Of each ``NodeID``, ``Alive``, ``Resources``, ``Available``, ``Labels`` and ``Address``.
        What is available on another node is what it said last.

    Raises:
        NodeDiedError: The node of this process is gone.
    """
    runtime = start.ensure()
    runtime.enter()
    runtime.refuse_if_lost()
    answer = runtime.questions.ask_node(_TIMEOUT_S)
    if answer is None:
        runtime.refuse_if_lost()
        raise NodeDiedError("", f"the node did not answer within {_TIMEOUT_S:g} s")
    return [
        {
            "NodeID": node["node"],
            "Alive": True,
            "Address": node["endpoint"],
            "Resources": _numbers(node["total"]),
            "Available": _numbers(node["free"]),
            "Labels": node["labels"],
        }
        for node in json.loads(answer)["nodes"]
    ]


def cluster_resources() -> dict[str, float]:
    """Return what all live nodes have together, by resource.

    Raises:
        NodeDiedError: The node of this process is gone.
    """
    return _sum([node["Resources"] for node in nodes()])


def available_resources() -> dict[str, float]:
    """Return what of that is not held now, by resource; what holds nothing back is left out.

    Raises:
        NodeDiedError: The node of this process is gone.
    """
    free = _sum([node["Available"] for node in nodes()])
    return {name: amount for name, amount in free.items() if amount}


def _numbers(amounts: dict[str, str]) -> dict[str, float]:
    return {name: max(0.0, float(text)) for name, text in amounts.items()}


def _sum(several: list[dict[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for amounts in several:
        for name, amount in amounts.items():
            total[name] = round(total.get(name, 0.0) + amount, 4)
    return total
