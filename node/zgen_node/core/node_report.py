"""The node's state as JSON, for people and tools.

Rules of this file: reads the tables and changes nothing. Fields are only ever added.
"""

from typing import Any

from zgen.ids import PeerId
from zgen.wire.cluster import NodeState
from zgen.wire.lease import Shape
from zgen.wire.session import Address
from zgen_node.core.jobs import Job
from zgen_node.core.lease_table import Lease, LeaseTable
from zgen_node.core.resources import amount_text
from zgen_node.core.staffing import Staffing
from zgen_node.core.storage import Storage
from zgen_node.core.worker_pool import Worker


def node_report(
    address: Address,
    staffing: Staffing,
    storage: Storage,
    nodes: list[NodeState],
    counts: dict[str, int],
    now_ns: int,
) -> dict[str, Any]:
    """Return what a ``NodeReport`` says, as JSON."""
    leases = staffing.leases
    return {
        "node": address.peer.hex(),
        "incarnation": address.incarnation,
        "endpoint": address.endpoint,
        "total": _amounts(leases.resources.total),
        "free": _amounts(leases.resources.free),
        "jobs": [_job(job, now_ns) for job in staffing.jobs],
        "workers": [_worker(worker, now_ns) for worker in staffing.pool.all()],
        "leases": [_lease(lease, leases, now_ns) for lease in leases.all()],
        "store": storage.report(),
        "nodes": [_node(node) for node in nodes],
        "counts": dict(sorted(counts.items())),
    }


def _amounts(shape: Shape) -> dict[str, str]:
    return {name: amount_text(amount) for name, amount in shape}


def _node(state: NodeState) -> dict[str, Any]:
    return {
        "node": state.address.peer.hex(),
        "endpoint": state.address.endpoint,
        "tcp": state.address.tcp,
        "total": _amounts(state.total),
        "free": _amounts(state.free),
        "labels": dict(state.labels),
        "queued": state.queued_count,
        "draining": state.draining,
    }


def _job(job: Job, now_ns: int) -> dict[str, Any]:
    return {
        "job": job.job.hex(),
        "driver": job.driver.hex(),
        "pid": job.pid,
        "age_ms": (now_ns - job.registered_ns) // 1_000_000,
        "failed_starts": job.failed_starts,
    }


def _worker(worker: Worker, now_ns: int) -> dict[str, Any]:
    return {
        "worker": worker.worker.hex(),
        "pid": worker.pid,
        "state": worker.state.value,
        "ending": worker.ending,
        "job": worker.job.hex(),
        "lease": worker.lease.hex() if worker.lease is not None else None,
        "age_ms": (now_ns - worker.spawned_ns) // 1_000_000,
    }


def _lease(lease: Lease, leases: LeaseTable, now_ns: int) -> dict[str, Any]:
    return {
        "lease": lease.lease.hex(),
        "owner": lease.owner.hex(),
        "job": lease.job.hex(),
        "shape": _amounts(lease.shape),
        "what": lease.what,
        "state": lease.state.value,
        "worker": _hex(lease.worker),
        "waits_for": leases.waits_for(lease) if lease.worker is None else "",
        "age_ms": (now_ns - lease.asked_ns) // 1_000_000,
    }


def _hex(peer: PeerId | None) -> str | None:
    return peer.hex() if peer is not None else None
