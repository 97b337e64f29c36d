"""Which references a value has that is being pickled for zgen."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from zgen.ids import ObjectId
from zgen.wire.value import NestedRef


class _Found(threading.local):
    """The references that the value has which this thread pickles for zgen; None if it does not."""

    refs: dict[ObjectId, NestedRef] | None = None


_found: Final = _Found()


def collect(ref: NestedRef) -> bool:
    """Note a reference inside what is being pickled; return False if that is not for zgen."""
    if _found.refs is None:
        return False
    _found.refs[ref.object] = ref
    return True


@contextmanager
def collecting() -> Iterator[dict[ObjectId, NestedRef]]:
    """Note the references in what the block pickles."""
    found: dict[ObjectId, NestedRef] = {}
    before, _found.refs = _found.refs, found
    try:
        yield found
    finally:
        _found.refs = before
