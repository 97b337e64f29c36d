"""seed: __streaming_generator_execute: an item is there once it is yielded; the body runs on."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import ray

ray.init(num_cpus=2, log_to_driver=False)
gate = Path(tempfile.mkdtemp()) / "gate"


@ray.remote(num_returns="streaming")
def steps(gate: str) -> Iterator[str]:
    yield "first"
    while not Path(gate).exists():
        time.sleep(0.01)
    yield "second"
    yield "third"


items = steps.remote(str(gate))
assert ray.get(next(items)) == "first"  # the body has not ended, and waits for us
gate.touch()
assert [ray.get(ref) for ref in items] == ["second", "third"]


@ray.remote(num_returns="streaming")
def eager(folder: str) -> Iterator[int]:
    for number in range(5):
        yield number
    Path(folder, "ran on").touch()


folder = tempfile.mkdtemp()
unread = eager.remote(folder)
until = time.monotonic() + 30
while not Path(folder, "ran on").exists():  # nobody asks for its items
    assert time.monotonic() < until
    time.sleep(0.01)
assert len(list(unread)) == 5
ray.shutdown()
