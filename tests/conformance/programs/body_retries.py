"""retry_exceptions: a body that raises starts again, and what is known already is not repeated."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import ray

ray.init(num_cpus=2, log_to_driver=False)


@ray.remote(num_returns="streaming", max_retries=3, retry_exceptions=[ConnectionError])
def flaky(folder: str) -> Iterator[int]:
    tries = len(list(Path(folder).iterdir()))
    Path(folder, str(tries)).touch()
    for number in range(6):
        if number == 3 and tries < 2:
            raise ConnectionError("try again")
        yield number


@ray.remote(num_returns="streaming", max_retries=3, retry_exceptions=[ConnectionError])
def otherwise(folder: str) -> Iterator[int]:
    Path(folder, str(len(list(Path(folder).iterdir())))).touch()
    yield 0
    raise KeyError("no retry for this one")


folder = tempfile.mkdtemp()
assert [ray.get(ref) for ref in flaky.remote(folder)] == list(range(6))
assert len(list(Path(folder).iterdir())) == 3

folder = tempfile.mkdtemp()
refs = list(otherwise.remote(folder))
assert ray.get(refs[0]) == 0
try:
    ray.get(refs[1])
except KeyError:
    pass
else:
    raise AssertionError("no error")
assert len(list(Path(folder).iterdir())) == 1
ray.shutdown()
