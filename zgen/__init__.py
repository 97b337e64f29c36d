"""Public names, re-exported; nothing else."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zgen import exceptions
    from zgen.api import Context, get, init, is_initialized, put, shutdown, wait
    from zgen.cancellation import cancel
    from zgen.handles import ObjectRef, ObjectRefGenerator, StreamingObjectRefGenerator
    from zgen.io.release import RELEASE as __version__
    from zgen.remote_function import remote

__all__ = [
    "Context",
    "ObjectRef",
    "ObjectRefGenerator",
    "StreamingObjectRefGenerator",
    "__version__",
    "cancel",
    "exceptions",
    "get",
    "init",
    "is_initialized",
    "put",
    "remote",
    "shutdown",
    "wait",
]

#: Public name -> module that has it. Imported on first use, so that the daemon never loads a
#: pickler.
_HOME = {
    "Context": "zgen.api",
    "ObjectRef": "zgen.handles",
    "ObjectRefGenerator": "zgen.handles",
    "StreamingObjectRefGenerator": "zgen.handles",
    "cancel": "zgen.cancellation",
    "get": "zgen.api",
    "init": "zgen.api",
    "is_initialized": "zgen.api",
    "put": "zgen.api",
    "remote": "zgen.remote_function",
    "shutdown": "zgen.api",
    "wait": "zgen.api",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        found = getattr(import_module(_HOME[name]), name)
    elif name == "__version__":
        found = import_module("zgen.io.release").RELEASE
    elif name == "exceptions":
        found = import_module("zgen.exceptions")
    else:
        raise AttributeError(f"module 'zgen' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
