"""What type checkers say of functions, their arguments and what they return; nothing of it runs.

Each line with ``assert_type`` is a case, and so is each with ``wrong:``, of which both mypy and
pyright must find that it is an error.
"""

from __future__ import annotations

from typing import Any, NoReturn, assert_type

import zgen
from zgen import DynamicObjectRefGenerator, ObjectRef


# -- functions -------------------------------------------------------------------------------------
@zgen.remote
def half(number: int, label: str = "", *, exact: bool = False) -> float:
    return number / 2


@zgen.remote(num_cpus=2, max_retries=0)
def words(text: str) -> list[str]:
    return text.split()


@zgen.remote
def nothing() -> None: ...


@zgen.remote
def total(*numbers: int, **named: int) -> int:
    return sum(numbers)


@zgen.remote
def wide(a: int, b: str, c: bytes, d: float, e: bool, f: list[int]) -> str:
    return b


assert_type(half.remote(1), ObjectRef[float])
assert_type(half.remote(1, "a"), ObjectRef[float])
assert_type(half.remote(number=1, label="a", exact=True), ObjectRef[float])
assert_type(words.remote("a b"), ObjectRef[list[str]])
assert_type(nothing.remote(), ObjectRef[None])
assert_type(total.remote(1, 2, 3, four=4), ObjectRef[int])
assert_type(half.options(num_cpus=1, name="x").remote(1), ObjectRef[float])
assert_type(half.options(num_cpus=1).options(name="x").remote(1), ObjectRef[float])
assert_type(zgen.remote(len).remote([1]), ObjectRef[int])
half.remote("1")  # wrong: of another type
half.remote()  # wrong: missing
half.remote(1, "a", True)  # wrong: too many
half.remote(1, labels="a")  # wrong: no such name
half.remote(1, exact="yes")  # wrong: of another type, by name
half.options(num_cpus=1).remote("1")  # wrong: after options too
words.remote(1)  # wrong: after a decorator with options
nothing.remote(1)  # wrong: takes none
total.remote("1")  # wrong: each of any number
total.remote(four="4")  # wrong: each of any name


def never() -> None:
    assert_type(half(1), NoReturn)


# -- references as arguments -----------------------------------------------------------------------
number: ObjectRef[int] = zgen.put(1)
text: ObjectRef[str] = zgen.put("a")
numbers = [number, number]

assert_type(half.remote(number), ObjectRef[float])
assert_type(half.remote(number, text), ObjectRef[float])
assert_type(half.remote(1, text), ObjectRef[float])
assert_type(half.remote(number, label="a", exact=True), ObjectRef[float])
assert_type(half.remote(zgen.put(1)), ObjectRef[float])
assert_type(half.options(num_cpus=1).remote(number), ObjectRef[float])
assert_type(total.remote(number, 2, number), ObjectRef[int])
assert_type(total.remote(*numbers), ObjectRef[int])
assert_type(
    wide.remote(number, text, zgen.put(b""), zgen.put(0.5), zgen.put(True), zgen.put([1])),
    ObjectRef[str],
)
assert_type(wide.remote(1, "b", b"", 0.5, True, zgen.put([1])), ObjectRef[str])
half.remote(text)  # wrong: a reference to another type
half.remote(number, number)  # wrong: and further on
half.remote(number, exact="yes")  # wrong: the others are checked too
half.remote(number, text, text)  # wrong: too many
total.remote(text)  # wrong: each of any number
nothing.remote(number)  # wrong: takes none


# -- several results -------------------------------------------------------------------------------
@zgen.remote(num_returns=2)
def pair(number: int) -> tuple[int, str]:
    return number, "a"


@zgen.remote(num_returns=0)
def silent(number: int) -> None: ...


@zgen.remote(num_returns="dynamic")
def dynamic(number: int) -> list[int]:
    return [number]


assert_type(pair.remote(1), list[ObjectRef[Any]])
assert_type(silent.remote(1), None)
assert_type(dynamic.remote(1), ObjectRef[DynamicObjectRefGenerator[Any]])
assert_type(half.options(num_returns=3).remote(1), list[ObjectRef[Any]])
assert_type(half.options(num_returns=0, num_cpus=1).remote(1), None)
assert_type(half.options(num_returns=1).remote(1), ObjectRef[Any])
assert_type(pair.remote(number), list[ObjectRef[Any]])
pair.remote("1")  # wrong: parameters are kept
half.options(num_returns=2).remote("1")  # wrong: here too
