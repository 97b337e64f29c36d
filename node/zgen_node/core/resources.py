"""Fixed-point resource vectors.

Rules of this file: arithmetic on shapes and their text for people. Amounts are ints in ten-
thousandths, so sums come out even and two processes agree on them.
"""

from itertools import pairwise
from typing import Final

from zgen.limits import SHAPE_NAMES_COUNT_MAX
from zgen.wire.lease import Shape

#: One whole unit of a resource.
UNIT: Final = 10_000
CPU: Final = "CPU"


def shape_fault(shape: Shape) -> str:
    """Return what is wrong with a shape that came from a peer; empty if nothing is."""
    if len(shape) > SHAPE_NAMES_COUNT_MAX:
        return f"a shape has at most {SHAPE_NAMES_COUNT_MAX} names, got {len(shape)}"
    if any(amount <= 0 for _, amount in shape):
        return "a shape's amounts are positive"
    names = [name for name, _ in shape]
    if any(left >= right for left, right in pairwise(names)):
        return "a shape's names are sorted, each once"
    return ""


def amount_of(shape: Shape, name: str) -> int:
    """Return how much of ``name`` the shape holds, in ten-thousandths."""
    return next((amount for known, amount in shape if known == name), 0)


def amount_text(amount: int) -> str:
    """Return an amount as a decimal number: ``10_000`` is ``1``, ``5_000`` is ``0.5``."""
    sign, size = ("-", -amount) if amount < 0 else ("", amount)
    whole, part = divmod(size, UNIT)
    return f"{sign}{whole}.{part:04d}".rstrip("0").rstrip(".")


def option_text(name: str, amount: int) -> str:
    """Return an amount as the option that asks for it: ``num_cpus=2``."""
    option = _OPTIONS.get(name, f"resources[{name!r}]")
    return f"{option}={amount_text(amount)}"


#: Resources that have an option of their own.
_OPTIONS: Final = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}


class Resources:
    """What a node has and what of it is free.

    Attributes:
        total: All of it; never changes.
    """

    def __init__(self, total: Shape) -> None:
        """Start with everything free."""
        self.total = total
        self._total: dict[str, int] = dict(total)
        #: Name -> amount not held; below zero while more is held than there is.
        self._free: dict[str, int] = dict(total)

    @property
    def free(self) -> Shape:
        """What is not held, by name; zeroes stay in, and less than nothing may be there."""
        return tuple(sorted(self._free.items()))

    def feasible(self, shape: Shape) -> bool:
        """Return whether the node could hold ``shape`` if all of it were free."""
        return all(self._total.get(name, 0) >= amount for name, amount in shape)

    def fits(self, shape: Shape) -> bool:
        """Return whether ``shape`` is free now."""
        return all(self._free.get(name, 0) >= amount for name, amount in shape)

    def take(self, shape: Shape) -> None:
        """Hold ``shape``, even where more is held then than there is; it must be feasible."""
        for name, amount in shape:
            self._free[name] -= amount

    def give(self, shape: Shape) -> None:
        """Let go of ``shape``, which was taken before."""
        for name, amount in shape:
            self._free[name] += amount
            assert self._free[name] <= self._total[name], f"more {name} given than was taken"

    def infeasible_text(self, shape: Shape) -> str:
        """Say what ``shape`` needs that the node never has."""
        return "; ".join(
            f"needs {option_text(name, amount)}, this node has {amount_text(has)}"
            for name, amount in shape
            if (has := self._total.get(name, 0)) < amount
        )

    def busy_text(self, shape: Shape) -> str:
        """Say what ``shape`` needs that is not free now; empty if it fits."""
        return "; ".join(
            f"needs {option_text(name, amount)}, "
            f"{amount_text(max(free, 0))} of {amount_text(self._total[name])} free"
            for name, amount in shape
            if (free := self._free[name]) < amount
        )
