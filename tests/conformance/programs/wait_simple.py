"""seed: __streaming_generator_wait_simple: a generator is ready if next would not block."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import ray

ray.init(num_cpus=2, log_to_driver=False)
gate = Path(tempfile.mkdtemp()) / "gate"


@ray.remote(num_returns="streaming")
def held(gate: str) -> Iterator[int]:
    while not Path(gate).exists():
        time.sleep(0.01)
    yield 5


items = held.remote(str(gate))
ready, unready = ray.wait([items], timeout=0.2)
assert (ready, unready) == ([], [items])
assert ray.wait([items], timeout=0)[0] == []
gate.touch()
ready, unready = ray.wait([items])
assert ready == [items]
assert not unready
assert ray.get(next(items)) == 5  # wait has taken nothing
ready, _ = ray.wait([items])  # and one that is over is ready, too
assert ready == [items]
try:
    next(items)
except StopIteration:
    pass
else:
    raise AssertionError("there is more")
ray.shutdown()
