"""seed: __streaming_generator_asyncio: async for and __anext__ step it, await gets items."""

import asyncio
from collections.abc import Iterator

import ray

ray.init(num_cpus=2, log_to_driver=False)


@ray.remote(num_returns="streaming")
def words(text: str) -> Iterator[str]:
    for word in text.split():
        yield word


@ray.remote(num_returns="streaming", max_retries=0)
def fails() -> Iterator[str]:
    yield "good"
    raise LookupError("bad")


async def main() -> None:
    seen = []
    async for ref in words.remote("one two three"):
        word = await ref
        seen.append(word)
    assert seen == ["one", "two", "three"]

    items = words.remote("first second")
    assert aiter(items) is items
    assert await (await items.__anext__()) == "first"
    assert ray.get(next(items)) == "second"
    for _ in range(2):
        try:
            await items.__anext__()
        except StopAsyncIteration:
            pass
        else:
            raise AssertionError("there is more")

    refs = [ref async for ref in fails.remote()]
    assert await refs[0] == "good"
    try:
        await refs[1]
    except LookupError as error:
        assert "bad" in str(error)
    else:
        raise AssertionError("no error")
    assert len(refs) == 2


asyncio.run(main())
ray.shutdown()
