"""completed() is ready when the body has ended, also with an error that is an item."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import ray

ray.init(num_cpus=2, log_to_driver=False)
gate = Path(tempfile.mkdtemp()) / "gate"


@ray.remote(num_returns="streaming", max_retries=0)
def ends(gate: str, fail: bool) -> Iterator[int]:
    yield 1
    while not Path(gate).exists():
        time.sleep(0.01)
    if fail:
        raise ValueError("at the end")


good, bad = ends.remote(str(gate), False), ends.remote(str(gate), True)
assert ray.wait([good.completed(), bad.completed()], timeout=0.2)[0] == []
gate.touch()
assert ray.get(good.completed(), timeout=30) is None
assert ray.get(bad.completed(), timeout=30) is None
assert [ray.get(ref) for ref in good] == [1]
refs = list(bad)
assert len(refs) == 2
try:
    ray.get(refs[1])
except ValueError as error:
    assert "at the end" in str(error)
else:
    raise AssertionError("no error")
ray.shutdown()
