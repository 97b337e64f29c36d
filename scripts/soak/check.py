"""How an operation of the soak is bounded, and how its items are checked."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import zgen
from scripts.soak import bodies
from scripts.soak.tally import WrongError

#: What an operation may take, in seconds, before it counts as hung.
BOUND_S: Final = 120.0


class Work:
    """One run of an operation.

    Attributes:
        dice: What it chooses by.
        seed: What its values follow from.
        notes: File in which bodies note their runs that may run once.
        name: Name of the run, unlike all others.
        checked: Items that were checked.
        doing: What it is at, for people.
        waits: From when to when it waited for items, by the monotonic clock.
    """

    def __init__(self, name: str, notes: str, bound_s: float = BOUND_S) -> None:
        """Begin; all that follows, follows from the name."""
        self.dice: Final = random.Random(name)
        self.seed: Final = self.dice.randrange(1 << 30)
        self.notes: Final = notes
        self.name: Final = name
        self.checked = 0
        self.doing = "begins"
        self.waits: Final[list[tuple[float, float]]] = []
        self._until = time.monotonic() + bound_s

    @property
    def left_s(self) -> float:
        """Seconds until it counts as hung."""
        return max(0.0, self._until - time.monotonic())

    def get(self, ref: Any, doing: str) -> Any:
        """Return a value, or values."""
        self.doing = f"get of {doing} {ref!r}"[:200]
        began = time.monotonic()
        try:
            return zgen.get(ref, timeout=self.left_s)
        finally:
            self.waits.append((began, time.monotonic()))

    def check(self, got: Any, index: int, size_bytes: int = 0, seed: int | None = None) -> None:
        """Check one item.

        Raises:
            WrongError: It is another one, or none at all.
        """
        wanted = bodies.value(self.seed if seed is None else seed, index, size_bytes)
        self.checked += 1
        if _same(got, wanted):
            return
        found = index_of(got)
        if found is None or found == index:
            raise WrongError("wrong", f"item {index} of {self.name} is {got!r:.200}")
        kind = "lost" if found > index else "repeated"
        raise WrongError(kind, f"item {index} of {self.name} is number {found}: {got!r:.200}")

    def equal(self, got: Any, wanted: Any, what: str) -> None:
        """Check a result.

        Raises:
            WrongError: It is another one.
        """
        self.checked += 1
        if got != wanted:
            raise WrongError("wrong", f"{what} is {got!r:.300}, expected {wanted!r:.300}")

    def next(self, stream: Any, index: int) -> Any:
        """Return the next reference of a stream.

        Raises:
            WrongError: It has ended.
        """
        self.doing = f"next of item {index} of {stream!r}"
        began = time.monotonic()
        try:
            return stream.next(timeout=self.left_s)
        except StopIteration:
            raise WrongError("lost", f"{self.name}: no item {index} in {stream!r}") from None
        finally:
            self.waits.append((began, time.monotonic()))

    def read(
        self,
        stream: Any,
        count: int,
        size_bytes: int = 0,
        *,
        first: int = 0,
        pause_s: float = 0.0,
        seed: int | None = None,
    ) -> None:
        """Take and check the items from ``first`` to ``count``."""
        for index in range(first, count):
            ref = self.next(stream, index)
            self.check(self.get(ref, f"item {index}"), index, size_bytes, seed)
            del ref
            if pause_s:
                time.sleep(pause_s)

    def end(self, stream: Any) -> None:
        """Check that a stream has no more items.

        Raises:
            WrongError: It has.
        """
        self.doing = f"end of {stream!r}"
        try:
            ref = stream.next(timeout=self.left_s)
        except StopIteration:
            return
        raise WrongError("repeated", f"{self.name}: one more item, {self.get(ref, 'it')!r:.300}")


def index_of(got: Any) -> int | None:
    """Return which item a value says that it is; None if it does not."""
    if isinstance(got, tuple) and len(got) == 3:
        return int(got[1])
    try:
        head = bytes(memoryview(got)[:8])
    except TypeError:
        return None
    return int.from_bytes(head) if len(head) == 8 else None


def amount_of(values: Iterable[Any]) -> str:
    """Return what ``bodies.digest`` returns of these."""
    found = hashlib.md5()
    for each in values:
        found.update(each if not isinstance(each, tuple) else repr(each).encode())
    return found.hexdigest()


def _same(got: Any, wanted: Any) -> bool:
    if isinstance(wanted, tuple):
        return type(got) is tuple and got == wanted
    if type(got) is not type(wanted):
        return False
    return bool(memoryview(got) == memoryview(wanted))


@dataclass(frozen=True)
class Operation:
    """A kind of work.

    Attributes:
        run: Does it, and raises what it may not raise.
        weight: How often it is chosen, beside the others.
        allowed: Errors that a fault explains; all others are wrong.
    """

    run: Callable[[Work], None]
    weight: int = 2
    allowed: tuple[type[BaseException], ...] = ()


def is_one_of(error: BaseException | None, kinds: tuple[type[BaseException], ...]) -> bool:
    """Return whether an error, or what a remote function raised, is one of these."""
    while error is not None:
        if isinstance(error, kinds):
            return True
        error = getattr(error, "cause", None)
    return False
