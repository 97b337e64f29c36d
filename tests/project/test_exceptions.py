"""Every error survives a trip to another process with its fields and its sentence."""

from __future__ import annotations

import copy
import inspect
import pickle
import types
import typing
from typing import Any

import pytest

from zgen import exceptions

SAMPLES: dict[object, Any] = {
    str: "why",
    int: 7,
    float: 0.5,
    bool: True,
    bytes: b"\x01\x02",
    list: ["a", "b"],
    tuple: ("a", "b"),
    dict: {"a": 1},
    BaseException: ValueError("cause"),
    Exception: ValueError("cause"),
    Any: "anything",
    object: "anything",
}


def every_error() -> list[type[exceptions.ZgenError]]:
    found: dict[type[exceptions.ZgenError], None] = {}
    for value in vars(exceptions).values():
        if isinstance(value, type) and issubclass(value, exceptions.ZgenError):
            found[value] = None
    return list(found)


def sample(annotation: object) -> Any:
    """Return a value of the annotated type, never None where there is anything else."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return sample(next(arm for arm in typing.get_args(annotation) if arm is not type(None)))
    if origin is typing.Literal:
        return typing.get_args(annotation)[0]
    if origin is tuple:
        parts = [part for part in typing.get_args(annotation) if part is not Ellipsis]
        return tuple([sample(part) for part in parts])
    supertype = getattr(annotation, "__supertype__", None)
    if supertype is not None:
        return sample(supertype)
    return SAMPLES[origin or annotation]


def made(cls: type[exceptions.ZgenError], *, all_fields: bool) -> exceptions.ZgenError:
    hints = typing.get_type_hints(cls.__init__)
    arguments: dict[str, Any] = {}
    for name, parameter in list(inspect.signature(cls).parameters.items()):
        variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if not variadic and (all_fields or parameter.default is parameter.empty):
            arguments[name] = sample(hints[name])
    return cls(**arguments)


def fields(error: BaseException) -> dict[str, str]:
    return {name: repr(value) for name, value in vars(error).items()}


@pytest.mark.parametrize("all_fields", [False, True])
@pytest.mark.parametrize("cls", every_error(), ids=lambda cls: cls.__name__)
def test_errors_pickle(cls: type[exceptions.ZgenError], all_fields: bool) -> None:
    error = made(cls, all_fields=all_fields)
    for protocol in (2, pickle.HIGHEST_PROTOCOL):
        again = pickle.loads(pickle.dumps(error, protocol))
        assert type(again) is cls
        assert fields(again) == fields(error)
        assert str(again) == str(error)
        assert again.may_have_run == error.may_have_run
    assert str(copy.copy(error)) == str(error)


@pytest.mark.parametrize("cls", every_error(), ids=lambda cls: cls.__name__)
def test_errors_say_something(cls: type[exceptions.ZgenError]) -> None:
    assert str(made(cls, all_fields=True)).strip()
    assert inspect.getdoc(cls)


@pytest.mark.parametrize("cls", every_error(), ids=lambda cls: cls.__name__)
def test_the_tree_in_the_docstring_shows_every_error(cls: type[exceptions.ZgenError]) -> None:
    assert cls.__name__ in (exceptions.__doc__ or "")


class Slotted(Exception):
    __slots__ = ("code", "unset")
    code: int


class Sealed(Exception):
    def __init_subclass__(cls) -> None:
        raise TypeError("sealed")


class NeedsArguments(Exception):
    def __new__(cls, code: int) -> NeedsArguments:
        return super().__new__(cls, code)

    def __init__(self, code: int) -> None:
        super().__init__(code)


def raised_as(cause: BaseException) -> exceptions.TaskError:
    return exceptions.TaskError(cause, "f", "Traceback ...", 7, 1).as_instance_of_cause()


def test_a_task_error_is_of_its_causes_class_too_and_stays_so_when_pickled() -> None:
    error = raised_as(FileNotFoundError(2, "No such file", "/nowhere"))
    error.may_have_run = False
    for each in (error, pickle.loads(pickle.dumps(error))):
        assert isinstance(each, FileNotFoundError)
        assert isinstance(each, exceptions.TaskError)
        assert (each.errno, each.filename) == (2, "/nowhere")
        assert (each.function_name, each.pid, each.attempt) == ("f", 7, 1)
        assert each.may_have_run is False
        assert str(each).startswith("f() raised in worker pid=7, attempt 1")
    assert type(error) is type(raised_as(FileNotFoundError()))


def test_fields_that_are_set_are_taken_over_from_slots() -> None:
    cause = Slotted("text")
    cause.code = 9
    error = raised_as(cause)
    assert isinstance(error, Slotted)
    assert error.code == 9
    assert not hasattr(error, "unset")


@pytest.mark.parametrize("cause", [Sealed("x"), NeedsArguments(1), Exception("x")])
def test_where_that_cannot_be_it_is_a_plain_task_error(cause: Exception) -> None:
    error = raised_as(cause)
    assert type(error) is exceptions.TaskError
    assert error.cause is cause


def test_a_group_of_exceptions_stays_one() -> None:
    error = raised_as(ExceptionGroup("two", [ValueError("a"), KeyError("b")]))
    assert isinstance(error, ExceptionGroup)
    assert error.message == "two"
    assert [type(each) for each in error.exceptions] == [ValueError, KeyError]


def test_the_cause_is_what_user_code_raised_first() -> None:
    first = raised_as(KeyError("k"))
    second = exceptions.TaskError(first, "g", "Traceback of g")
    assert type(second.cause) is KeyError
    assert isinstance(second.as_instance_of_cause(), KeyError)
    assert second.as_instance_of_cause().function_name == "g"
