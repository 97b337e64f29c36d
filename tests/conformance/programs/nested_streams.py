"""Generators that read generators, deeper than there are CPUs."""

from collections.abc import Iterator

import ray

ray.init(num_cpus=2, log_to_driver=False)


@ray.remote(num_returns="streaming")
def source(count: int) -> Iterator[int]:
    for number in range(count):
        yield number


@ray.remote(num_returns="streaming")
def doubled(depth: int, count: int) -> Iterator[int]:
    inner = doubled.remote(depth - 1, count) if depth else source.remote(count)
    for ref in inner:
        yield 2 * ray.get(ref)


assert [ray.get(ref) for ref in doubled.remote(3, 10)] == [16 * number for number in range(10)]
ray.shutdown()
