"""``@slotted``: the dataclass of this project's many small records.

A dataclass whose ``repr`` and ``==`` are shared by all of them, and whose ``__init__`` is compiled
when the first one of its class is made. There are some two hundred such classes, nearly all made by
``import zgen``, and compiling is what that costs; one process makes instances of half of them.
"""

from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform()
def slotted(cls: type[T], /, *, frozen: bool = False) -> type[T]:
    """Make ``cls`` a dataclass with slots, compared by its fields and not hashable."""
    if cls.__doc__ is None:
        cls.__doc__ = cls.__name__  # or dataclasses computes the signature to put it there
    namespace: Any = cls
    namespace.__repr__, namespace.__eq__, namespace.__hash__ = _repr, _eq, None
    made = dataclass(slots=True, init=False, repr=False, eq=False, frozen=frozen)(cls)

    def compile_first(self: Any, *args: Any, **named: Any) -> None:
        # Two threads may both do it, to the same effect.
        made.__init__ = _compile_init(made, frozen)  # type: ignore[method-assign]
        made.__init__(self, *args, **named)

    made.__init__ = compile_first  # type: ignore[method-assign]
    return made


def _compile_init(cls: Any, frozen: bool) -> Callable[..., None]:
    """Return what sets each field of ``cls`` to its argument or to its default."""
    names: dict[str, Any] = {"__name__": cls.__module__}  # frames ask whose code runs
    names |= {"__set": object.__setattr__, "__unset": MISSING}
    parameters, lines = ["self"], []
    for field in fields(cls):
        name, parameter, value = field.name, field.name, field.name
        if field.default_factory is not MISSING:
            names[f"__make_{name}"] = field.default_factory
            parameter, default = f"{name}=__unset", f"__make_{name}()"
            value = f"{default} if {name} is __unset else {name}"
        elif field.default is not MISSING:
            names[f"__default_{name}"] = field.default
            default = f"__default_{name}"
            parameter = f"{name}={default}"
        else:
            default = ""
        if field.init:
            parameters.append(parameter)
        elif not default:
            continue
        else:
            value = default
        lines.append(f"__set(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    body = "\n  ".join(lines or ["pass"])
    exec(f"def __init__({', '.join(parameters)}):\n  {body}", names)
    init: Callable[..., None] = names["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    return init


def _repr(self: Any) -> str:
    shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__dataclass_fields__)
    return f"{type(self).__qualname__}({shown})"


def _eq(self: Any, other: Any) -> Any:
    if type(other) is not type(self):
        return NotImplemented
    names = self.__dataclass_fields__
    return all(getattr(self, name) == getattr(other, name) for name in names)
