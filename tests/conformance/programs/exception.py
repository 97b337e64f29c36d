"""seed: __streaming_generator_exception: what a body raises is its last item."""

from collections.abc import Iterator

import ray

ray.init(num_cpus=2, log_to_driver=False)


class Unlucky(Exception):
    """An error class of the program's own."""


@ray.remote(num_returns="streaming", max_retries=0)
def fails_at(position: int) -> Iterator[int]:
    for number in range(10):
        if number == position:
            raise Unlucky(f"at {position}")
        yield number


for position in (0, 1, 2, 5):
    items = fails_at.remote(position)
    for expected in range(position):
        assert ray.get(next(items)) == expected
    ref = next(items)  # next itself does not raise
    for _ in range(2):
        try:
            ray.get(ref)
        except Unlucky as error:
            assert isinstance(error, ray.exceptions.RayTaskError)
            assert f"at {position}" in str(error)
        else:
            raise AssertionError("no error")
    for _ in range(3):
        try:
            next(items)
        except StopIteration:
            pass
        else:
            raise AssertionError("there is more")
ray.shutdown()
