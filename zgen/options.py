"""Options of tasks, resources of nodes, and their validation."""

from dataclasses import field
from typing import Any, Final

from zgen.io.methods import MethodFacts
from zgen.limits import (
    ITEMS_COUNT_MAX,
    MAX_RETRIES_DEFAULT,
    PER_YIELD_COUNT_MAX,
    RETURNS_COUNT_MAX,
    WINDOW_BYTES_MAX,
)
from zgen.slotted import slotted
from zgen.util.scheduling_strategies import strategy_from
from zgen.wire.lease import ANYWHERE, Demand, PlacedShape
from zgen.wire.task import LOCK_STEP, STREAMING

#: Resources are counted in ten-thousandths.
UNIT: Final = 10_000
_AMOUNT_MAX: Final = 1 << 49
PENDING_ITEMS: Final = "max_pending_items"
PENDING_BYTES: Final = "max_pending_bytes"
TWO_WAY: Final = "two_way"
PER_YIELD: Final = "num_objects_per_yield"
#: Options about how far ahead of its consumer a generator may be, and what its yields are.
FLOW: Final = (PENDING_ITEMS, PENDING_BYTES, TWO_WAY, PER_YIELD)
#: Ray's names of options -> ours.
_ALIASES: Final = {
    "_generator_backpressure_num_objects": PENDING_ITEMS,
    "_actor_generator_backpressure_num_objects": PENDING_ITEMS,
    "_num_objects_per_yield": PER_YIELD,
}
_MAY_BE_NONE: Final = (
    *("num_returns", "num_cpus", "num_gpus", "memory"),
    *(PENDING_ITEMS, PENDING_BYTES),
)
#: Options of Ray that are about its own records, and mean nothing here.
_WITHOUT_MEANING: Final = ("enable_task_events", "_metadata", "_labels")
#: Options of Ray that zgen does not have -> what asks for nothing, beside None.
_ASK_FOR_NOTHING: Final[dict[str, Any]] = {
    "runtime_env": {},
    "max_calls": 0,
    "accelerator_type": None,
}


@slotted
class TaskOptions:
    """How a remote function is run.

    Attributes:
        num_returns: ``"streaming"``, ``"dynamic"`` for one reference to all that was yielded, a
            number of results, or None for streaming where the function is a generator function and
            1 elsewhere.
        num_cpus: CPUs that it holds while it runs; 1 by default.
        num_gpus: GPUs likewise.
        memory: Bytes of memory likewise, as an accounting unit.
        resources: Other resources likewise, by name.
        max_retries: How often it may run again after a failure of the system; -1 for ever.
        retry_exceptions: True, or the exception classes after which it may run again too.
        name: What messages call it.
        scheduling_strategy: Where it runs: ``"DEFAULT"``, ``"SPREAD"``, or a class of
            ``zgen.util.scheduling_strategies``.
        label_selector: Labels that its node has: a value, ``"!value"``, ``"in(a, b)"`` or
            ``"!in(a, b)"`` for each.
        max_pending_items: Items of a generator that may be there without being taken by ``next``;
            more are not yielded before. None or -1 for any number.
        max_pending_bytes: Bytes of them that may, as they are pickled; an item that is larger comes
            alone. None or -1 for any number.
        two_way: Whether values can be sent into the generator: it yields an item when it is asked
            for it by ``next``, ``send`` or ``throw``, and not before.
        num_objects_per_yield: How many values each ``yield`` of a generator has, in a tuple or a
            list: each of them gets a reference of its own, and ``next`` returns a tuple of them.
    """

    num_returns: int | str | None = None
    num_cpus: float | None = None
    num_gpus: float | None = None
    memory: float | None = None
    resources: dict[str, float] = field(default_factory=dict)
    max_retries: int = MAX_RETRIES_DEFAULT
    retry_exceptions: bool | tuple[type[BaseException], ...] = False
    name: str = ""
    scheduling_strategy: Any = None
    label_selector: dict[str, str] | None = None
    max_pending_items: int | None = None
    max_pending_bytes: int | None = None
    two_way: bool = False
    num_objects_per_yield: int = 1

    @property
    def window(self) -> int:
        """Items of a stream that may be there without being taken; 0 for any number.

        ``LOCK_STEP`` of a two-way one.
        """
        return LOCK_STEP if self.two_way else _window(self.max_pending_items, ITEMS_COUNT_MAX)

    @property
    def window_bytes(self) -> int:
        """Bytes of a stream that may be there without being taken; 0 for any number."""
        return _window(self.max_pending_bytes, WINDOW_BYTES_MAX)


def windows_in(given: dict[str, Any]) -> dict[str, Any]:
    """Return options with windows as they are counted: 0 for any number, or ``LOCK_STEP``.

    Raises:
        ValueError: They do not go together.
        TypeError: A value is of a wrong type.
    """
    flow: dict[str, Any] = {name: given[name] for name in FLOW if name in given}
    chosen = TaskOptions(**check_options(flow)) if flow else None
    kept = {name: value for name, value in given.items() if name not in flow}
    if chosen is not None and (PENDING_ITEMS in flow or TWO_WAY in flow):
        kept[PENDING_ITEMS] = chosen.window
    if chosen is not None and PENDING_BYTES in flow:
        kept[PENDING_BYTES] = chosen.window_bytes
    if chosen is not None and PER_YIELD in flow:
        kept[PER_YIELD] = chosen.num_objects_per_yield
    return kept


def windows_of(name: str, facts: MethodFacts, items_max: int, bytes_max: int) -> tuple[int, int]:
    """Return how many items and bytes of calls of a method may wait; ``LOCK_STEP`` if two-way.

    Args:
        name: The method.
        facts: What is known of it.
        items_max: Items that all streams of its actor may have; 0 for any number.
        bytes_max: Bytes likewise.

    Raises:
        ValueError: It is two-way and no stream.
    """
    window = check_two_way(facts.window, facts.returns_count, name)
    if window == LOCK_STEP or facts.returns_count != STREAMING:
        return window, 0
    return narrower(window, items_max), narrower(facts.window_bytes, bytes_max)


def narrower(first: int, second: int) -> int:
    """Return the smaller of two windows, of which 0 is none."""
    return min(first, second) if first and second else first or second


def _window(chosen: int | None, most: int) -> int:
    return min(max(chosen or 0, 0), most)


def meant(given: dict[str, Any]) -> dict[str, Any]:
    """Return ``given`` options by our names, without those of Ray's that ask for nothing here.

    Raises:
        ValueError: An option is there by both names, or a window is out of range.
    """
    kept: dict[str, Any] = {}
    for name, value in given.items():
        if name in _WITHOUT_MEANING or (
            name in _ASK_FOR_NOTHING and value in (None, _ASK_FOR_NOTHING[name])
        ):
            continue
        ours = _ALIASES.get(name, name)
        if ours in kept:
            raise ValueError(f"{ours} and {name} are the same option: give one of them")
        if ours in (PENDING_ITEMS, PENDING_BYTES):
            _check_window(name, value)
        kept[ours] = value
    return kept


def check_options(given: dict[str, Any]) -> dict[str, Any]:
    """Return ``given`` options in the form in which ``TaskOptions`` keeps them.

    Raises:
        ValueError: An option is unknown, or its value is out of range.
        TypeError: A value is of a wrong type.
    """
    checked = meant(given)
    for name, value in list(checked.items()):
        if name not in TaskOptions.__dataclass_fields__:
            known = ", ".join(TaskOptions.__dataclass_fields__)
            raise ValueError(f"unknown option {name!r} for a remote function; known are {known}")
        if value is None and name not in _MAY_BE_NONE:
            del checked[name]
    for name in ("num_cpus", "num_gpus", "memory"):
        if checked.get(name) is not None:
            check_amount(name, checked[name])
    if checked.get("resources") is not None:
        check_resources(checked["resources"])
        for name in checked["resources"]:
            if name in ("CPU", "GPU", "memory"):
                raise ValueError(f"resources[{name!r}]: use num_cpus, num_gpus or memory instead")
    _check_num_returns(checked.get("num_returns"))
    retries = checked.get("max_retries", 0)
    if type(retries) is not int or retries < -1:
        raise ValueError(f"max_retries must be an integer >= -1, got {retries!r}")
    if "retry_exceptions" in checked:
        checked["retry_exceptions"] = _check_retry_exceptions(checked["retry_exceptions"])
    if not isinstance(checked.get("name", ""), str):
        raise TypeError(f"name must be a string, got {checked['name']!r}")
    if type(checked.get(TWO_WAY, False)) is not bool:
        raise TypeError(f"two_way must be a bool, got {checked[TWO_WAY]!r}")
    for name in (PENDING_ITEMS, PENDING_BYTES):
        if checked.get(TWO_WAY) and (checked.get(name) or -1) > 0:
            raise ValueError(f"two_way=True yields nothing unasked, and so does not take {name}")
    _check_per_yield(checked.get(PER_YIELD, 1))
    strategy_from(checked.get("scheduling_strategy"), checked.get("label_selector"))
    return checked


def _check_per_yield(value: Any) -> None:
    if type(value) is not int or not 1 <= value <= PER_YIELD_COUNT_MAX:
        raise ValueError(
            f"{PER_YIELD} must be an integer between 1 and {PER_YIELD_COUNT_MAX}, got {value!r}"
        )


def _check_window(name: str, value: Any) -> None:
    if value == 0 and type(value) is int:
        raise ValueError(f"{name}=0 is not allowed: nothing could ever be yielded; -1 is none")
    if value is not None and (type(value) is not int or value < -1):
        raise ValueError(f"{name} must be an integer >= 1, or -1 or None, got {value!r}")


def check_two_way(window: int, returns_count: int, name: str) -> int:
    """Return the window of a stream, 0 for what is none.

    Raises:
        ValueError: It is two-way and no stream.
    """
    if window == LOCK_STEP and returns_count != STREAMING:
        raise ValueError(f'two_way=True, but {name}() does not run as num_returns="streaming"')
    return window if returns_count == STREAMING else 0


def check_facts(facts: MethodFacts, name: str) -> None:
    """Check that what is known of a method goes together.

    Raises:
        ValueError: It does not.
    """
    window = check_two_way(facts.window, facts.returns_count, name)
    check_yields(facts.per_yield, window, facts.returns_count, name)


def check_yields(per_yield: int, window: int, returns_count: int, name: str) -> int:
    """Return how many items each yield of a generator makes.

    Raises:
        ValueError: They are several, and it is no stream, or a two-way one.
    """
    if per_yield > 1 and returns_count != STREAMING:
        raise ValueError(
            f'{PER_YIELD}={per_yield}, but {name}() does not run as num_returns="streaming"'
        )
    if per_yield > 1 and window == LOCK_STEP:
        raise ValueError(
            f"{PER_YIELD}={per_yield}, but {name}() is two-way: each input is answered by one item"
        )
    return per_yield


def check_count(name: str, value: Any, least: int) -> None:
    """Check an option that counts something.

    Raises:
        ValueError: It is no integer, or less than ``least``.
    """
    if type(value) is not int or value < least:
        raise ValueError(f"{name} must be an integer >= {least}, got {value!r}")
    if value > RETURNS_COUNT_MAX:
        raise ValueError(f"{name} must be at most {RETURNS_COUNT_MAX}, got {value}")


def check_amount(name: str, amount: Any) -> None:
    """Check an amount of a resource.

    Raises:
        TypeError: It is not a number.
        ValueError: It is negative or finer than one ten-thousandth.
    """
    if isinstance(amount, bool) or not isinstance(amount, (int, float)):
        raise TypeError(f"{name} must be a number, got {amount!r}")
    if not 0 <= amount < _AMOUNT_MAX:
        raise ValueError(f"{name} must be at least 0 and less than {_AMOUNT_MAX}, got {amount!r}")
    if amount and round(amount * UNIT) == 0:
        raise ValueError(f"{name}={amount!r} is finer than the smallest amount, 0.0001")


def check_resources(resources: Any) -> None:
    """Check amounts of resources by name.

    Raises:
        TypeError: It is no dict of names to numbers.
        ValueError: An amount is out of range.
    """
    if not isinstance(resources, dict):
        raise TypeError(f"resources must be a dict, got {resources!r}")
    for name, amount in resources.items():
        if not isinstance(name, str) or not name:
            raise TypeError(f"resources: a name must be a string that is not empty, got {name!r}")
        check_amount(f"resources[{name!r}]", amount)


def node_resources(
    num_cpus: Any, num_gpus: Any, resources: dict[str, float] | None
) -> dict[str, float]:
    """Return the resources beside CPUs of a node that is to be started, once all are checked.

    Raises:
        TypeError: An amount is no number, or ``resources`` is no dict of them.
        ValueError: An amount is out of range.
    """
    for name, amount in (("num_cpus", num_cpus), ("num_gpus", num_gpus)):
        if amount is not None:
            check_amount(name, amount)
    if resources is not None:
        check_resources(resources)
    return {**(resources or {}), **({} if num_gpus is None else {"GPU": num_gpus})}


def _check_num_returns(value: Any) -> None:
    if value is None or value in ("streaming", "dynamic"):
        return
    if type(value) is not int:
        raise ValueError(
            f'num_returns must be "streaming", "dynamic" or an integer >= 0, got {value!r}'
        )
    if not 0 <= value <= RETURNS_COUNT_MAX:
        raise ValueError(f"num_returns must be between 0 and {RETURNS_COUNT_MAX}, got {value}")


def _check_retry_exceptions(value: Any) -> bool | tuple[type[BaseException], ...]:
    if isinstance(value, bool):
        return value
    if not isinstance(value, (list, tuple)) or not all(
        isinstance(c, type) and issubclass(c, BaseException) for c in value
    ):
        raise TypeError(
            f"retry_exceptions must be a bool or a list of exception classes, got {value!r}"
        )
    return tuple(value)


def demand_of(options: TaskOptions) -> Demand:
    """Return what a task needs: resources in whole ten-thousandths, and where it may run."""
    amounts = dict(options.resources)
    amounts["CPU"] = 1 if options.num_cpus is None else options.num_cpus
    amounts["GPU"] = options.num_gpus or 0
    amounts["memory"] = options.memory or 0
    kept = [(name, round(amount * UNIT)) for name, amount in amounts.items() if amount]
    shape = tuple(sorted(kept))
    strategy = strategy_from(options.scheduling_strategy, options.label_selector)
    return shape if strategy == ANYWHERE else PlacedShape(shape, strategy)
