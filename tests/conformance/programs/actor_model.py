"""seed: __streaming_generator_actor_model: generators of regular, async and threaded actors."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import ray

ray.init(num_cpus=2, log_to_driver=False)


@ray.remote
class Regular:
    def numbers(self, count: int) -> Iterator[int]:
        for number in range(count):
            yield number

    @ray.method(num_returns="streaming")
    def declared(self, count: int) -> Iterator[int]:
        for number in range(count):
            yield number


@ray.remote
class Async:
    async def numbers(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number


def values(stream: Any) -> list[int]:
    assert isinstance(stream, ray.ObjectRefGenerator)
    return [ray.get(ref) for ref in stream]


kinds: list[Any] = [Regular, Async, Regular.options(max_concurrency=3)]  # type: ignore[attr-defined]
for kind in kinds:
    actor = kind.remote()
    streams = [actor.numbers.remote(5) for _ in range(3)]
    assert [values(stream) for stream in streams] == [list(range(5))] * 3
assert values(kinds[0].remote().declared.remote(4)) == list(range(4))
ray.shutdown()
