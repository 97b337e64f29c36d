"""Arrays come as they were yielded, read-only, and may be kept after the generator is gone."""

from collections.abc import Iterator

import numpy
import ray

ray.init(num_cpus=2, log_to_driver=False)


@ray.remote(num_returns="streaming")
def frames(count: int) -> Iterator[numpy.ndarray]:
    frame = numpy.zeros((500, 500))
    for number in range(count):
        frame[:] = number  # the same array again: an item is what it was when it was yielded
        yield frame


@ray.remote
def total(frame: numpy.ndarray) -> float:
    return float(frame.sum())


kept = []
for number, ref in enumerate(frames.remote(6)):
    frame = ray.get(ref)
    assert frame.shape == (500, 500)
    assert (frame == number).all()
    assert not frame.flags.writeable
    assert ray.get(total.remote(ref)) == number * 250_000.0
    kept.append(frame)
assert [float(frame[0, 0]) for frame in kept] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
ray.shutdown()
