"""``@slotted``: the dataclass of this project's many small records.

A dataclass whose ``repr`` and ``==`` are shared by all of them instead of compiled for each one.
There are some two hundred such classes, nearly all made by ``import zgen``, and compiling is what
that costs: half of it goes with the two methods.
"""

from dataclasses import dataclass
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform()
def slotted(cls: type[T], /, *, frozen: bool = False) -> type[T]:
    """Make ``cls`` a dataclass with slots, compared by its fields and not hashable."""
    if cls.__doc__ is None:
        cls.__doc__ = cls.__name__  # or dataclasses computes the signature to put it there
    namespace: Any = cls
    namespace.__repr__, namespace.__eq__, namespace.__hash__ = _repr, _eq, None
    return dataclass(slots=True, repr=False, eq=False, frozen=frozen)(cls)


def _repr(self: Any) -> str:
    shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__dataclass_fields__)
    return f"{type(self).__qualname__}({shown})"


def _eq(self: Any, other: Any) -> Any:
    if type(other) is not type(self):
        return NotImplemented
    names = self.__dataclass_fields__
    return all(getattr(self, name) == getattr(other, name) for name in names)
