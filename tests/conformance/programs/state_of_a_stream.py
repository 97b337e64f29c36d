"""next_ready and is_finished look without taking."""

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
    yield 1


items = held.remote(str(gate))
assert not items.next_ready()
assert not items.is_finished()
gate.touch()
ray.get(items.completed())
assert items.next_ready()
assert not items.is_finished()
assert ray.get(next(items)) == 1
for _ in range(2):
    try:
        next(items)
    except StopIteration:
        pass
    else:
        raise AssertionError("there is more")
assert items.is_finished()
assert not items.next_ready()
ray.shutdown()
