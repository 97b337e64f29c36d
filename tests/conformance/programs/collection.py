"""seed: __streaming_generator_gc: what was taken lives on; the rest goes with the generator."""

import gc
from collections.abc import Iterator

import numpy
import ray

ray.init(num_cpus=2, object_store_memory=100_000_000, log_to_driver=False)


@ray.remote(num_returns="streaming")
def arrays(count: int) -> Iterator[numpy.ndarray]:
    for number in range(count):
        yield numpy.full(1_000_000, number, dtype=numpy.uint8)


items = arrays.remote(5)
kept = next(items)
del items
gc.collect()
assert ray.get(kept)[0] == 0
assert ray.get(kept).sum() == 0

for _ in range(30):  # three times what the store has room for: unread items are freed
    items = arrays.remote(10)
    ref = next(items)
    assert ray.get(ref).nbytes == 1_000_000
    ray.get(items.completed())
    del items, ref
assert ray.get(kept).sum() == 0
ray.shutdown()
