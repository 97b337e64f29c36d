"""Which references a value has that is being pickled for zgen."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from zgen.ids import ObjectId
from zgen.wire.value import NestedRef


class _Found(threading.local):
    """The references that the value has which this thread pickles for zgen; None if it does not.

    Attributes:
        takes_streams: Whether generators may be in it, too.
    """

    refs: dict[ObjectId, NestedRef] | None = None
    takes_streams = False


_found: Final = _Found()


def takes_streams() -> bool:
    """Return whether this thread pickles a value for zgen, of which one process gets each copy."""
    return _found.refs is not None and _found.takes_streams


def collect(ref: NestedRef) -> bool:
    """Note a reference inside what is being pickled; return False if that is not for zgen."""
    if _found.refs is None:
        return False
    _found.refs[ref.object] = ref
    return True


@contextmanager
def collecting(*, streams: bool = True) -> Iterator[dict[ObjectId, NestedRef]]:
    """Note the references in what the block pickles; generators may be in it if ``streams``."""
    found: dict[ObjectId, NestedRef] = {}
    before = _found.refs, _found.takes_streams
    _found.refs, _found.takes_streams = found, streams
    try:
        yield found
    finally:
        _found.refs, _found.takes_streams = before
