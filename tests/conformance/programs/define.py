"""seed: __streaming_generator_define: a generator function streams, and says so by its type."""

from collections.abc import Iterator

import ray

ray.init(num_cpus=2, log_to_driver=False)


@ray.remote(num_returns="streaming")
def squares(count: int) -> Iterator[int]:
    for number in range(count):
        yield number * number


@ray.remote
def also_streams(count: int) -> Iterator[int]:
    for number in range(count):
        yield number


@ray.remote
def plain() -> int:
    return 7


items = squares.remote(4)
assert isinstance(items, ray.ObjectRefGenerator)
assert isinstance(also_streams.remote(1), ray.ObjectRefGenerator)
assert isinstance(plain.remote(), ray.ObjectRef)
assert iter(items) is items

ref = next(items)
assert isinstance(ref, ray.ObjectRef)
assert ray.get(ref) == 0
assert ray.get(list(items)) == [1, 4, 9]
ray.shutdown()
