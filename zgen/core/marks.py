"""Coverage marks: rare branches say that they were reached, and the simulator asserts it.

Outside the simulator there is no collector and a mark costs one comparison. A mark never changes
what a machine does.
"""

from collections.abc import Callable

_collect: Callable[[str], None] | None = None


def reached(mark: str) -> None:
    """Note that the branch named ``mark`` ran."""
    if _collect is not None:
        _collect(mark)


def collect_with(collect: Callable[[str], None] | None) -> None:
    """Send marks to ``collect`` from now on, or to nobody."""
    global _collect  # the one switch of this module
    _collect = collect
