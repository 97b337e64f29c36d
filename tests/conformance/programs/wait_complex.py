"""seed: __streaming_generator_wait_complex: references and generators in one list."""

from collections.abc import Iterator
from typing import Any

import ray

ray.init(num_cpus=2, log_to_driver=False)


@ray.remote(num_returns="streaming")
def count_from(start: int) -> Iterator[int]:
    for number in range(start, start + 10):
        yield number


@ray.remote
def single(number: int) -> int:
    return number


waiting: list[Any] = [count_from.remote(0), single.remote(100), count_from.remote(10)]
waiting.append(single.remote(200))
taken: list[int] = []
while waiting:
    ready, waiting = ray.wait(waiting, num_returns=1)
    assert len(ready) == 1
    (item,) = ready
    if isinstance(item, ray.ObjectRefGenerator):
        try:
            taken.append(ray.get(next(item)))
        except StopIteration:
            continue
        waiting.append(item)
    else:
        taken.append(ray.get(item))
assert sorted(taken) == [*range(20), 100, 200]
assert [n for n in taken if n < 10] == list(range(10))
assert [n for n in taken if 10 <= n < 20] == list(range(10, 20))
ray.shutdown()
