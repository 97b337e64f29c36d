"""The nodes of a cluster and what waits there, as text and as JSON for `zgen status`."""

from typing import Any


def overview(states: list[dict[str, Any]], silent: dict[str, str] | None = None) -> dict[str, Any]:
    """Return what some nodes say of the cluster: its nodes, their resources, and what waits.

    Args:
        states: Reports of nodes, as ``zgen.io.inquiry.query_node`` returns them.
        silent: Why others said nothing, by id.
    """
    found: dict[str, dict[str, Any]] = {}
    for state in states:
        for node in state["nodes"]:
            # What a node says of itself is newer than what others have heard.
            if node["node"] == state["node"] or node["node"] not in found:
                found[node["node"]] = node
    for state in states:
        found[state["node"]].update(_load(state))
    waiting = [
        {"node": state["node"], "what": lease["what"], "waits_for": lease["waits_for"]}
        for state in states
        for lease in state["leases"]
        if lease["waits_for"]
    ]
    nodes = list(found.values())
    return {
        "nodes": nodes,
        "total": _sum([node["total"] for node in nodes]),
        "free": _sum([node["free"] for node in nodes]),
        "waiting": waiting,
        "silent": silent or {},
    }


def nodes_text(nodes: list[dict[str, Any]]) -> str:
    """Return a line for each node."""
    lines = []
    for node in nodes:
        labels = ", ".join(f"{name}={value}" for name, value in node["labels"].items())
        told = _amounts(node["free"], node["total"]) or "no resources, as of a driver"
        more = [f"{node['queued']} waiting"] if node["queued"] else []
        more += ["draining"] if node.get("draining") else []
        more += [labels] if labels else []
        lines.append("  ".join([node["node"][:8], node["tcp"] or node["endpoint"], told, *more]))
    return "\n".join(lines)


def node_text(state: dict[str, Any]) -> str:
    """Return what a node says of itself, for people."""
    free, total = state["free"], state["total"]
    amounts = ", ".join(f"{free.get(name, 0)} of {total[name]} {name} free" for name in total)
    lines = [
        f"node {state['node'][:8]} at {state['endpoint']} (daemon pid={state['daemon_pid']})",
        f"  resources  {amounts or 'none'}",
        f"  jobs       {len(state['jobs'])}",
    ]
    for kind in ("workers", "leases"):
        by_state: dict[str, int] = {}
        for entry in state[kind]:
            by_state[entry["state"]] = by_state.get(entry["state"], 0) + 1
        told = ", ".join(f"{count} {name}" for name, count in sorted(by_state.items()))
        lines.append(f"  {kind:<10} {told or 'none'}")
    if state["access"]:
        lines.insert(1, f"  open at    {state['access']}")
    if drains := state.get("draining"):
        lines.append(f"  draining   {drains['waits_for'] or 'nothing is left'}")
    waiting = [lease for lease in state["leases"] if lease["waits_for"]]
    lines.extend(f"  waiting    {lease['what']}: {lease['waits_for']}" for lease in waiting[:10])
    return "\n".join(lines)


def overview_text(found: dict[str, Any]) -> str:
    """Return an overview for people."""
    count = len(found["nodes"])
    lines = [f"{count} node{'s' if count != 1 else ''}", nodes_text(found["nodes"])]
    lines.append(f"together  {_amounts(found['free'], found['total']) or 'nothing'}")
    lines += [f"silent    node {node[:8]}: {why}" for node, why in found["silent"].items()]
    for node in found["nodes"]:
        if kept := node.get("drains_for"):
            lines.append(f"draining  node {node['node'][:8]} waits for {kept}")
    lines += [f"waiting   {each['what']}: {each['waits_for']}" for each in found["waiting"][:20]]
    return "\n".join(lines)


def _load(state: dict[str, Any]) -> dict[str, Any]:
    """Return what a node itself knows of what runs there."""
    load = {"workers": len(state.get("workers", ())), "jobs": len(state.get("jobs", ()))}
    load["leases"] = sum(1 for lease in state["leases"] if lease.get("worker"))
    drains = state.get("draining")
    return {**load, "drains_for": drains["waits_for"]} if drains else load


def _amounts(free: dict[str, Any], total: dict[str, Any]) -> str:
    return ", ".join(f"{free.get(name, 0)} of {total[name]} {name} free" for name in total)


def _sum(several: list[dict[str, str]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for amounts in several:
        for name, text in amounts.items():
            total[name] = round(total.get(name, 0.0) + float(text), 4)
    return {name: int(amount) if amount.is_integer() else amount for name, amount in total.items()}
