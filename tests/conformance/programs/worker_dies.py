"""A generator whose worker dies runs again: each item comes once and in order."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import ray

ray.init(num_cpus=2, log_to_driver=False)


@ray.remote(num_returns="streaming", max_retries=2)
def dies_once(folder: str) -> Iterator[int]:
    first = not Path(folder, "died").exists()
    for number in range(20):
        if number == 7 and first:
            Path(folder, "died").touch()
            os._exit(3)
        yield number


@ray.remote(num_returns="streaming", max_retries=0)
def dies() -> Iterator[int]:
    yield 1
    os._exit(3)


assert [ray.get(ref) for ref in dies_once.remote(tempfile.mkdtemp())] == list(range(20))

last = list(dies.remote())[-1]
try:
    ray.get(last)
except ray.exceptions.WorkerCrashedError:
    pass
else:
    raise AssertionError("no error")
ray.shutdown()
