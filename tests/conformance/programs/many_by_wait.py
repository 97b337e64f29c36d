"""One consumer reads many streams as they are ready, with no thread blocked on any of them."""

from collections.abc import Iterator
from typing import Any

import ray

ray.init(num_cpus=2, log_to_driver=False)


@ray.remote(num_returns="streaming", num_cpus=0.25)
def numbers(name: int, count: int) -> Iterator[tuple[int, int]]:
    for number in range(count):
        yield name, number


waiting: list[Any] = [numbers.remote(name, 5 + name) for name in range(12)]
seen: dict[int, list[int]] = {}
while waiting:
    ready, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=0.5)
    for items in ready:
        try:
            name, number = ray.get(next(items))
        except StopIteration:
            continue
        seen.setdefault(name, []).append(number)
        waiting.append(items)
assert seen == {name: list(range(5 + name)) for name in range(12)}
ray.shutdown()
