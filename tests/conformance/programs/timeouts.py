"""A bound on a get is kept, and what did not come in time can be got later."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import ray

ray.init(num_cpus=2, log_to_driver=False)
gate = Path(tempfile.mkdtemp()) / "gate"


@ray.remote(num_returns="streaming")
def held(gate: str) -> Iterator[str]:
    yield "now"
    while not Path(gate).exists():
        time.sleep(0.01)
    yield "later"


items = held.remote(str(gate))
completed = items.completed()
assert ray.get(next(items), timeout=30) == "now"
for timeout in (0, 0.1):
    try:
        ray.get(completed, timeout=timeout)
    except ray.exceptions.GetTimeoutError as error:
        assert isinstance(error, TimeoutError)
    else:
        raise AssertionError("no error")
gate.touch()
assert ray.get(completed, timeout=30) is None
assert ray.get(next(items), timeout=0) == "later"
ray.shutdown()
