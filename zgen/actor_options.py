"""Options of actors: `ActorOptions`, and what is checked of them."""

from dataclasses import field, fields
from typing import Any, Final

from zgen.limits import ACTOR_CALLS_COUNT_MAX
from zgen.options import PER_YIELD, check_count, check_options, meant
from zgen.slotted import slotted

_PLACED: Final = ("scheduling_strategy", "label_selector")
_RESOURCES: Final = ("num_cpus", "num_gpus", "memory", "resources", *_PLACED)
DETACHED: Final = "detached"


@slotted
class ActorOptions:
    """How an actor is run.

    Attributes:
        num_cpus: CPUs that it holds while it lives; none by default.
        num_gpus: GPUs likewise.
        memory: Bytes of memory likewise, as an accounting unit.
        resources: Other resources likewise, by name.
        scheduling_strategy: Where it lives, as for tasks.
        label_selector: Labels that its node has, as for tasks.
        max_restarts: How often it may be made anew after its worker's death; -1 for ever.
        max_task_retries: How often a call may run again after a failure of the system; -1 for ever.
        max_concurrency: Calls that run at a time: more than one in threads, or in the event loop if
            a method is async, where 1000 is the default.
        max_pending_calls: Calls of one process that may be pending; -1 for any number.
        max_pending_items: Items of all generators of one actor together that may be there without
            being taken by ``next``; None or -1 for any number. Those that run share that evenly,
            and each may have one item in any case.
        max_pending_bytes: Bytes of them likewise, as they are pickled.
        concurrency_groups: Groups of methods with a number of their own, by name.
        name: Name by which ``get_actor`` finds it from anywhere in the cluster; empty for none.
        namespace: Where the name counts, or None for that of this program.
        get_if_exists: Whether to return the actor that has the name already.
        lifetime: ``"detached"`` for an actor that does not end with its creator: it lives until it
            is killed. It needs a name.
    """

    num_cpus: float | None = None
    num_gpus: float | None = None
    memory: float | None = None
    resources: dict[str, float] = field(default_factory=dict)
    scheduling_strategy: Any = None
    label_selector: dict[str, str] | None = None
    max_restarts: int = 0
    max_task_retries: int = 0
    max_concurrency: int | None = None
    max_pending_calls: int = -1
    max_pending_items: int | None = None
    max_pending_bytes: int | None = None
    concurrency_groups: dict[str, int] = field(default_factory=dict)
    name: str = ""
    namespace: str | None = None
    get_if_exists: bool = False
    lifetime: str | None = None


def check_actor_options(given: dict[str, Any]) -> dict[str, Any]:
    """Return ``given`` options in the form in which ``ActorOptions`` keeps them.

    Raises:
        ValueError: An option is unknown, or its value is out of range.
        TypeError: A value is of a wrong type.
    """
    given = meant(given)
    if given.get(PER_YIELD) == 1:  # which asks for nothing
        del given[PER_YIELD]
    lifetime = given.get("lifetime")
    if lifetime not in (None, "detached", "non_detached"):
        raise ValueError(f"lifetime must be 'detached' or 'non_detached', got {lifetime!r}")
    known = [each.name for each in fields(ActorOptions)]
    for name in given:
        if name not in known:
            raise ValueError(
                f"unknown option {name!r} for a remote class; known are {', '.join(known)}"
            )
    check_options({name: value for name, value in given.items() if name in _RESOURCES})
    kept = {name: value for name, value in given.items() if value is not None}
    for name, least in (("max_restarts", -1), ("max_task_retries", -1), ("max_pending_calls", -1)):
        if name in kept:
            check_count(name, kept[name], least)
    groups = kept.get("concurrency_groups", {})
    if not isinstance(groups, dict) or not all(isinstance(each, str) and each for each in groups):
        raise TypeError(f"concurrency_groups must be a dict of names to numbers, got {groups!r}")
    numbers = {f"concurrency_groups[{name!r}]": number for name, number in groups.items()}
    if "max_concurrency" in kept:
        numbers["max_concurrency"] = kept["max_concurrency"]
    for name, number in numbers.items():
        check_count(name, number, 1)
        if number > ACTOR_CALLS_COUNT_MAX:
            raise ValueError(f"{name} must be at most {ACTOR_CALLS_COUNT_MAX}, got {number}")
    for name in ("name", "namespace"):
        if not isinstance(kept.get(name, ""), str):
            raise TypeError(f"{name} must be a string, got {kept[name]!r}")
    return kept
