"""A generator function with a fixed number of results gives that many references at once."""

from collections.abc import Iterator

import ray

ray.init(num_cpus=2, log_to_driver=False)


@ray.remote(num_returns=3)
def three() -> Iterator[str]:
    yield "a"
    yield "b"
    yield "c"


@ray.remote(num_returns=3, max_retries=0)
def too_few() -> Iterator[int]:
    yield 1


@ray.remote(num_returns=2)
def pair() -> tuple[int, int]:
    return 1, 2


refs = three.remote()
assert isinstance(refs, list)
assert ray.get(refs) == ["a", "b", "c"]
assert ray.get(pair.remote()) == [1, 2]
assert three.options(num_returns=0).remote() is None

failed = too_few.remote()
for ref in failed[1:]:
    try:
        ray.get(ref)
    except ValueError:
        continue
    raise AssertionError("no error")
ray.shutdown()
