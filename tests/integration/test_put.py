"""`put`: what may be put, what comes back, how long it lives."""

from __future__ import annotations

import copy
import gc
import pickle
from typing import Any

import pytest

import zgen
from tests.integration.watching import wait_until
from zgen.runtime.process import Runtime

pytestmark = pytest.mark.usefixtures("runtime")


@zgen.remote
def length(value: Any) -> int:
    return len(value)


@pytest.mark.parametrize(
    "value",
    [None, 0, True, "text", b"bytes", 1.5, 2j, [1, [2]], {"k": {1, 2}}, ValueError("kept"), int],
    ids=lambda value: type(value).__name__,
)
def test_what_was_put_comes_back(value: Any) -> None:
    got = zgen.get(zgen.put(value))
    assert type(got) is type(value)
    assert repr(got) == repr(value)


@pytest.mark.parametrize("size", [0, 4095, 4096, 1 << 20, 32 << 20])
def test_buffers_of_every_size_come_back(size: int) -> None:
    value = bytearray(b"z") * size
    assert zgen.get(zgen.put(value)) == value
    assert bytes(zgen.get(zgen.put(pickle.PickleBuffer(value)))) == bytes(value)


def test_an_exception_that_was_put_is_returned_and_not_raised() -> None:
    assert isinstance(zgen.get(zgen.put(KeyError("k"))), KeyError)


def test_a_put_object_is_a_copy() -> None:
    value = [1]
    ref = zgen.put(value)
    value.append(2)
    first = zgen.get(ref)
    first.append(3)
    assert zgen.get(ref) == [1]


def test_each_put_is_an_object_of_its_own() -> None:
    refs = [zgen.put("same") for _ in range(10)]
    assert len(dict.fromkeys(refs)) == 10
    assert len({ref.hex() for ref in refs}) == 10
    assert refs[0] == refs[0]
    assert refs[0] != refs[1]
    assert refs[0] != refs[0].hex()


def test_one_put_object_serves_many_tasks() -> None:
    ref = zgen.put(bytes(1 << 20))
    assert zgen.get([length.remote(ref) for _ in range(30)]) == [1 << 20] * 30


def test_references_and_generators_cannot_be_put() -> None:
    @zgen.remote
    def stream() -> Any:
        yield 1

    for value in (zgen.put(1), stream.remote()):
        with pytest.raises(TypeError):
            zgen.put(value)


def test_what_cannot_be_pickled_cannot_be_put_and_leaves_nothing(runtime: Runtime) -> None:
    before = len(runtime.machine.owner.refs.records)
    with pytest.raises(TypeError, match="pickle"):
        zgen.put(n for n in range(1))
    assert len(runtime.machine.owner.refs.records) == before


def test_tasks_can_put_and_use_what_they_put() -> None:
    @zgen.remote
    def work() -> Any:
        ref = zgen.put([1, 2, 3])
        return zgen.get(ref), zgen.get(length.remote(ref))

    assert zgen.get(work.remote()) == ([1, 2, 3], 3)


def bytes_held(runtime: Runtime) -> int:
    with runtime.loop.lock:  # the I/O thread takes dropped references out
        return runtime.machine.owner.refs.bytes_held()


def test_the_value_goes_with_the_last_reference(runtime: Runtime) -> None:
    first = zgen.put(bytes(8 << 20))
    second = first
    del first
    gc.collect()
    assert zgen.get(length.remote(second)) == 8 << 20
    del second
    wait_until(lambda: bytes_held(runtime) < 1 << 20, 10, "the value is freed")


def test_a_loop_of_puts_holds_one_value_at_a_time(runtime: Runtime) -> None:
    ref = zgen.put(b"")
    for _ in range(100):
        ref = zgen.put(bytes(4 << 20))
        assert bytes_held(runtime) < 200 << 20
    del ref
    wait_until(lambda: not runtime.machine.owner.refs.records, 10, "all are freed")


def test_a_reference_is_not_a_sequence_and_names_itself() -> None:
    ref = zgen.put([1])
    with pytest.raises(TypeError, match=r"zgen\.get"):
        iter(ref)
    assert repr(ref) == f"ObjectRef({ref.hex()})"
    assert hash(ref) == hash(ref)
    with pytest.raises(TypeError):
        pickle.dumps(ref)


def test_what_holds_references_and_handles_can_be_copied() -> None:
    ref, handle = zgen.put([1]), zgen.remote(type("Empty", (), {})).remote()
    for copied in (copy.copy, copy.deepcopy):
        assert copied(ref) is ref
        assert copied(handle) is handle
    held: dict[str, Any] = copy.deepcopy({"refs": [ref], "value": [1]})
    assert held["refs"][0] is ref
