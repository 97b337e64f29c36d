"""Public names, re-exported; nothing else."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zgen import actor, async_streams, exceptions, state, streams
    from zgen.actor_handle import ActorHandle
    from zgen.actors import ActorClass, get_actor, kill
    from zgen.api import Context, get, init, is_initialized, put, shutdown, wait
    from zgen.cancellation import cancel
    from zgen.cluster import available_resources, cluster_resources, nodes
    from zgen.declare import method, remote
    from zgen.dynamic import DynamicObjectRefGenerator
    from zgen.handles import ObjectRef, ObjectRefGenerator, StreamingObjectRefGenerator
    from zgen.io.release import RELEASE as __version__
    from zgen.ref_tuples import RefTupleGenerator
    from zgen.resuming import stream_position
    from zgen.runtime_context import get_runtime_context
    from zgen.trace_events import timeline
    from zgen.typed_actor import TypedActor

__all__ = [
    "ActorClass",
    "ActorHandle",
    "Context",
    "DynamicObjectRefGenerator",
    "ObjectRef",
    "ObjectRefGenerator",
    "RefTupleGenerator",
    "StreamingObjectRefGenerator",
    "TypedActor",
    "__version__",
    "actor",
    "async_streams",
    "available_resources",
    "cancel",
    "cluster_resources",
    "exceptions",
    "get",
    "get_actor",
    "get_runtime_context",
    "init",
    "is_initialized",
    "kill",
    "method",
    "nodes",
    "put",
    "remote",
    "shutdown",
    "state",
    "stream_position",
    "streams",
    "timeline",
    "wait",
]

#: Public name -> module that has it. Imported on first use, so that the daemon never loads a
#: pickler.
_HOME = {
    "ActorClass": "zgen.actors",
    "ActorHandle": "zgen.actor_handle",
    "Context": "zgen.api",
    "DynamicObjectRefGenerator": "zgen.dynamic",
    "ObjectRef": "zgen.handles",
    "ObjectRefGenerator": "zgen.handles",
    "RefTupleGenerator": "zgen.ref_tuples",
    "StreamingObjectRefGenerator": "zgen.handles",
    "TypedActor": "zgen.typed_actor",
    "available_resources": "zgen.cluster",
    "cancel": "zgen.cancellation",
    "cluster_resources": "zgen.cluster",
    "get": "zgen.api",
    "get_actor": "zgen.actors",
    "get_runtime_context": "zgen.runtime_context",
    "init": "zgen.api",
    "is_initialized": "zgen.api",
    "kill": "zgen.actors",
    "method": "zgen.declare",
    "nodes": "zgen.cluster",
    "put": "zgen.api",
    "remote": "zgen.declare",
    "shutdown": "zgen.api",
    "stream_position": "zgen.resuming",
    "timeline": "zgen.trace_events",
    "wait": "zgen.api",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        found = getattr(import_module(_HOME[name]), name)
    elif name == "__version__":
        found = import_module("zgen.io.release").RELEASE
    elif name in ("actor", "async_streams", "exceptions", "state", "streams"):
        found = import_module(f"zgen.{name}")
    else:
        raise AttributeError(f"module 'zgen' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
