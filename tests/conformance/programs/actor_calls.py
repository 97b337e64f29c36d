"""Actors: state, order, errors, several results, names, and the end by `kill`."""

import time
from typing import Any

import ray

ray.init(num_cpus=2, log_to_driver=False)


@ray.remote
class Counter:
    def __init__(self, first: int = 0) -> None:
        self.number = first

    def add(self, step: int = 1) -> int:
        self.number += step
        return self.number

    def fail(self) -> None:
        raise KeyError("no")

    @ray.method(num_returns=2)
    def pair(self) -> tuple[int, int]:
        return self.number, -self.number

    def who(self) -> Any:
        return ray.get_runtime_context().get_actor_id()


cls: Any = Counter
counter = cls.options(name="counter", max_concurrency=1).remote(10)
assert ray.get([counter.add.remote() for _ in range(100)]) == list(range(11, 111))
assert ray.get(ray.get_actor("counter").add.remote(step=5)) == 115
assert ray.get(counter.pair.remote()) == [115, -115]
assert cls.options(name="counter", get_if_exists=True).remote() == counter
assert len(ray.get(counter.who.remote())) == 32
try:
    ray.get(counter.fail.remote())
except KeyError as error:
    assert isinstance(error, ray.exceptions.RayTaskError)
else:
    raise AssertionError("it did not raise")
try:
    cls.options(name="counter").remote()
except ValueError:
    pass
else:
    raise AssertionError("the name was free")
ray.kill(counter)
died = False
latest_s = time.monotonic() + 30
while not died:  # Ray's kill does not wait for the end: a call right behind it may still run
    assert time.monotonic() < latest_s, "it lives"
    try:
        ray.get(counter.add.remote())
    except ray.exceptions.RayActorError as error:
        assert isinstance(error, ray.exceptions.ActorDiedError)
        died = True
ray.shutdown()
