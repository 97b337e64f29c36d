"""What a remote generator cannot do raises, at once and by name."""

from collections.abc import Iterator
from typing import Any

import ray

ray.init(num_cpus=2, log_to_driver=False)


@ray.remote(num_returns="streaming")
def numbers(count: int) -> Iterator[int]:
    for number in range(count):
        yield number


def refused(call: Any, kind: type[Exception]) -> None:
    try:
        call()
    except kind:
        return
    raise AssertionError("it was not refused")


items = numbers.remote(3)
refused(lambda: items.send(1), NotImplementedError)
refused(lambda: items.throw(ValueError()), NotImplementedError)
refused(lambda: ray.get([items]), TypeError)
refused(lambda: ray.get("no reference"), ValueError)
refused(lambda: ray.wait(items), TypeError)
refused(lambda: ray.wait([items, items]), ValueError)
refused(lambda: ray.wait([items], num_returns=2), ValueError)
refused(lambda: ray.wait([items], num_returns=0), ValueError)
assert ray.wait([]) == ([], [])
assert [ray.get(ref) for ref in items] == [0, 1, 2]
ray.shutdown()
