"""Methods of a class of actors, as handles know them and as workers find them."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from zgen.ids import FunctionId
from zgen.io import methods
from zgen.io.methods import MethodFacts
from zgen.wire.task import STREAMING


def traced(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def outer(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return outer


class Base:
    field = 1

    def inherited(self) -> str:
        return "base"

    def overridden(self) -> str:
        return "base"


class Actor(Base):
    def __init__(self, number: int) -> None:
        self.number = number

    def overridden(self) -> str:
        return f"derived {self.number}"

    def stream(self, count: int) -> Iterator[int]:
        yield count

    @staticmethod
    def static(a: int, b: int = 2) -> int:
        return a + b

    @classmethod
    def whole(cls, a: int) -> tuple[type, int]:
        return cls, a

    @traced
    def wrapped(self, a: int) -> int:
        return self.number + a

    @property
    def computed(self) -> int:
        return self.number


class AsyncActor(Base):
    async def work(self) -> None:
        return None


class AsyncStreams(Base):
    async def stream(self) -> AsyncIterator[int]:
        yield 1


def facts(name: str, chosen: dict[str, Any] | None = None) -> MethodFacts:
    function = dict(methods.members(Actor))[name]
    return methods.facts_of(Actor, name, function, chosen or {})


def test_methods_are_the_functions_of_the_class_and_its_bases_without_the_constructor() -> None:
    names = [name for name, _ in methods.members(Actor)]
    assert names == ["inherited", "overridden", "static", "stream", "whole", "wrapped"]


def test_an_async_method_makes_the_whole_actor_async() -> None:
    assert [methods.is_async(cls) for cls in (Actor, AsyncActor, AsyncStreams)] == [
        False,
        True,
        True,
    ]


def test_generator_methods_stream_unless_they_say_otherwise() -> None:
    assert facts("stream").returns_count == STREAMING
    assert facts("stream", {"num_returns": 3}).returns_count == 3
    assert facts("stream", {"num_returns": "streaming"}).returns_count == STREAMING
    assert facts("inherited").returns_count == 1
    with pytest.raises(ValueError, match=r"Actor\.inherited\(\) is not a generator"):
        facts("inherited", {"num_returns": "streaming"})


@pytest.mark.parametrize(
    ("name", "args", "fits"),
    [
        ("inherited", (), True),
        ("inherited", (1,), False),
        ("stream", (1,), True),
        ("stream", (), False),
        ("static", (1,), True),
        ("static", (1, 2), True),
        ("static", (1, 2, 3), False),
        ("whole", (1,), True),
        ("whole", (), False),
        ("wrapped", (1,), True),
        ("wrapped", (1, 2), False),
    ],
)
def test_what_a_call_must_fit_leaves_the_instance_out(
    name: str, args: tuple[int, ...], fits: bool
) -> None:
    signature = facts(name).signature
    assert signature is not None
    try:
        signature.bind(*args)
    except TypeError:
        assert not fits
    else:
        assert fits


def test_methods_are_found_on_the_class_even_if_a_field_has_their_name() -> None:
    actor = Actor(5)
    actor.__dict__["inherited"] = "hidden"
    found = dict(methods.bound_methods(actor, Actor))
    assert found["inherited"]() == "base"
    assert found["overridden"]() == "derived 5"
    assert found["static"](1) == 3
    assert found["whole"](1) == (Actor, 1)
    assert found["wrapped"](1) == 6
    assert list(found["stream"](2)) == [2]


def test_methods_of_one_class_have_names_of_their_own() -> None:
    one, other = FunctionId(b"1" * 16), FunctionId(b"2" * 16)
    named = [methods.method_id(cls, name) for cls in (one, other) for name in ("a", "b")]
    assert len(dict.fromkeys(named)) == 4
    assert all(len(name) == 16 for name in named)


@pytest.mark.parametrize(
    ("function", "counts"),
    [
        (lambda: None, (0, 0)),
        (lambda a, b=1: None, (1, 2)),
        (lambda a, /, b, *, c=1: None, (2, 2)),
        (lambda a, *rest: None, (1, sys.maxsize)),
        (lambda **named: None, (0, 0)),
        (lambda a, *, c: None, (0, -1)),
    ],
)
def test_so_many_positional_arguments_fit_without_a_closer_look(
    function: Any, counts: tuple[int, int]
) -> None:
    assert methods.positional_counts(inspect.signature(function)) == counts
