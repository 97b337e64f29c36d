"""A program for Ray: what it has of each row of docs/reference/ray-and-zgen.md, as JSON.

Each function tries one thing out and returns a word: ``yes``, ``private`` (by a name that begins
with an underscore), ``no``.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import ray


@ray.remote(max_retries=0)
def numbers(count: int) -> Any:
    for number in range(count):  # noqa: UP028, since Ray's worker sends into what it runs
        yield number
    return "done"


@ray.remote
def passed_on(items: Any) -> Any:
    return items


def _raises(call: Any, kind: type[BaseException]) -> bool:
    try:
        call()
    except kind:
        return True
    return False


def streaming() -> str:
    values = [ray.get(ref) for ref in numbers.remote(3)]
    return "yes" if values == [0, 1, 2] else "no"


def close() -> str:
    items = numbers.remote(3)
    refused = _raises(items.close, NotImplementedError) and not hasattr(items, "__enter__")
    return "no" if refused else "yes"


def two_way() -> str:
    items = numbers.remote(3)
    refused = _raises(lambda: items.send(1), NotImplementedError)
    refused = refused and _raises(lambda: items.throw(ValueError()), NotImplementedError)
    return "no" if refused else "yes"


def return_value() -> str:
    items = numbers.remote(0)
    try:
        next(items)
    except StopIteration as end:
        if end.value is not None:
            return "yes"
    return "no" if ray.get(items.completed()) is None else "yes"


def hand_over() -> str:
    return "no" if _raises(lambda: passed_on.remote(numbers.remote(3)), TypeError) else "yes"


def fan_out() -> str:
    names = ("tee", "fan_out", "subscribe", "broadcast", "share")
    return "yes" if [name for name in names if hasattr(numbers.remote(1), name)] else "no"


def _takes(**options: Any) -> bool:
    """Tell whether there are such options for a task, given where it is declared."""
    return not _raises(lambda: ray.remote(**options)(lambda: None), ValueError)


def window_in_items() -> str:
    if _takes(generator_backpressure_num_objects=2):
        return "yes"
    return "private" if _takes(_generator_backpressure_num_objects=2) else "no"


def window_in_bytes() -> str:
    if _takes(generator_backpressure_num_bytes=2) or _takes(generator_backpressure_bytes=2):
        return "yes"
    private = _takes(_generator_backpressure_num_bytes=2) or _takes(_generator_backpressure_bytes=2)
    return "private" if private else "no"


def several_refs_per_yield() -> str:
    if _takes(num_objects_per_yield=2):
        return "yes"
    return "private" if _takes(_num_objects_per_yield=2) else "no"


def resume() -> str:
    """A body that is killed once after three items: how many yields ran again?"""
    with tempfile.TemporaryDirectory() as folder:
        log = os.path.join(folder, "log")

        @ray.remote(max_retries=1)
        def logged(path: str) -> Iterator[int]:
            for number in range(4):
                with open(path, "a+") as file:
                    file.write(f"{number}\n")
                    file.flush()
                    file.seek(0)
                    count = len(file.readlines())
                if count == 4:
                    os._exit(1)
                yield number

        assert [ray.get(ref) for ref in logged.remote(log)] == [0, 1, 2, 3]
        with open(log) as file:
            return "no" if file.read().split().count("0") == 2 else "yes"


def timeout_per_item() -> str:
    items = numbers.remote(1)
    if not _raises(lambda: items.next(timeout=1), AttributeError):
        return "yes"
    return "private" if hasattr(items, "_next_sync") else "no"


def combinators() -> str:
    """Ray's take references; a generator is none."""
    if not (hasattr(ray.util, "as_completed") and hasattr(ray.util, "map_unordered")):
        return "no"
    refused = _raises(lambda: list(ray.util.as_completed([numbers.remote(2)])), Exception)
    return "references only" if refused else "yes"


def typed() -> str:
    return "no" if _raises(lambda: ray.ObjectRefGenerator[int], TypeError) else "yes"


def detached_actors() -> str:
    class Counter:
        def count(self) -> int:
            return 1

    actor = ray.remote(Counter).options(name="counter", lifetime="detached").remote()
    found = ray.get(ray.get_actor("counter").count.remote())
    ray.kill(actor)
    return "yes" if found == 1 else "no"


def environments() -> str:
    return "yes" if _takes(runtime_env={"env_vars": {"A": "1"}}) else "no"


def worker_reuse_limit() -> str:
    return "yes" if _takes(max_calls=1) else "no"


def placement_groups() -> str:
    return "yes" if hasattr(ray.util, "placement_group") else "no"


def a_key_by_default() -> str:
    return "no" if os.environ.get("RAY_USE_TLS", "0") in ("0", "") else "yes"


FEATURES = (
    streaming,
    close,
    two_way,
    return_value,
    hand_over,
    fan_out,
    window_in_items,
    window_in_bytes,
    several_refs_per_yield,
    resume,
    timeout_per_item,
    combinators,
    typed,
    detached_actors,
    environments,
    worker_reuse_limit,
    placement_groups,
    a_key_by_default,
)

if __name__ == "__main__":
    ray.init(num_cpus=2, log_to_driver=False)
    found = {feature.__name__: feature() for feature in FEATURES}
    ray.shutdown()
    json.dump(found, sys.stdout)
