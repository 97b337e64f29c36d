"""Dice of one member: numbers that follow from a seed given from outside."""

from hashlib import blake2b
from typing import Final, TypeVar

T = TypeVar("T")

_MASK: Final = (1 << 64) - 1


class Dice:
    """A sequence of numbers, spread well enough to choose members by.

    Source: the splitmix64 generator.
    """

    def __init__(self, seed: bytes) -> None:
        """Start the sequence of ``seed``."""
        self._state = int.from_bytes(blake2b(seed, digest_size=8).digest(), "big")

    def below(self, bound: int) -> int:
        """Return a number from 0 to ``bound - 1``."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        return scattered(self._state) % bound

    def shuffle(self, items: list[T]) -> None:
        """Put ``items`` into another order, in place."""
        for last in range(len(items) - 1, 0, -1):
            other = self.below(last + 1)
            items[last], items[other] = items[other], items[last]


def scattered(number: int) -> int:
    """Return a number of 64 bits that looks drawn by chance, the same for the same ``number``."""
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & _MASK
    return number ^ (number >> 31)
