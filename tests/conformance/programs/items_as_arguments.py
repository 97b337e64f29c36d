"""An item is a reference like any other: tasks take it, whether it is a value or an error."""

from collections.abc import Iterator
from typing import Any

import ray

ray.init(num_cpus=2, log_to_driver=False)


@ray.remote(num_returns="streaming", max_retries=0)
def numbers_then_error(count: int) -> Iterator[int]:
    for number in range(count):
        yield number
    raise ValueError("after the numbers")


@ray.remote
def add(first: int, second: int = 0) -> int:
    return first + second


@ray.remote(num_returns="streaming")
def repeat(value: Any, count: int) -> Iterator[Any]:
    for _ in range(count):
        yield value


items = list(numbers_then_error.remote(4))
sums = [add.remote(ref, second=10) for ref in items[:-1]]
assert ray.get(sums) == [10, 11, 12, 13]
assert ray.get(add.remote(sums[0], sums[1])) == 21
assert [ray.get(ref) for ref in repeat.remote(items[3], 3)] == [3, 3, 3]
try:
    ray.get(add.remote(items[4]))
except ray.exceptions.RayTaskError as error:
    assert "after the numbers" in str(error)
else:
    raise AssertionError("no error")
ray.shutdown()
