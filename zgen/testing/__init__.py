"""What tests of programs that use zgen want: clusters to break, and a look at what is left."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zgen.testing.cluster import Cluster, Here, Node

__all__ = ["Cluster", "Here", "Node"]


def __getattr__(name: str) -> Any:
    if name not in __all__:  # imported on first use: pytest loads the plugin beside it every time
        raise AttributeError(f"module 'zgen.testing' has no attribute {name!r}")
    return getattr(import_module("zgen.testing.cluster"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
