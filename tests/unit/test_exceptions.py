"""Errors catch like their cause, survive a pickle, and say what died and what to do next."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from zgen import exceptions
from zgen.exceptions import (
    RAY_ALIASES,
    ActorDiedError,
    ActorError,
    ActorExistsError,
    ActorUnavailableError,
    CapacityError,
    GetTimeoutError,
    InternalError,
    NamespaceError,
    NameUnavailableError,
    NestedRefError,
    NodeDiedError,
    NodeStartError,
    ObjectLostError,
    ObjectReconstructionFailedError,
    ObjectStoreFullError,
    OutOfDiskError,
    OutOfMemoryError,
    ReplayLogError,
    ReplayMismatchError,
    StreamClosedError,
    SystemFailure,
    TaskCancelledError,
    TaskError,
    WorkerCrashedError,
    ZgenError,
)

TRACE = 'Traceback (most recent call last):\n  File "user.py", line 3\nValueError: bad\n'


def task_error(cause: BaseException, attempt: int = 0) -> TaskError:
    return TaskError(cause, "work", TRACE, 42, attempt)


def dual_of(cause: BaseException) -> TaskError:
    return task_error(cause).as_instance_of_cause()


class Slotted(Exception):
    __slots__ = ("code", "unset")

    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


class Demanding(Exception):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)
        self.second = second


class HardToMake(Exception):
    def __new__(cls, only: str) -> HardToMake:
        return super().__new__(cls, only)


class Sealed(Exception):
    def __init_subclass__(cls) -> None:
        raise RuntimeError("no subclasses, please")


# -- errors of user code -------------------------------------------------------------------------
def test_a_remote_value_error_is_caught_as_value_error_and_as_task_error() -> None:
    with pytest.raises(ValueError, match="work") as caught:
        raise dual_of(ValueError("bad"))
    error = caught.value
    assert isinstance(error, TaskError)
    assert isinstance(error.cause, ValueError)
    assert error.args == ("bad",)


def test_the_message_names_the_function_the_worker_and_the_line_that_raised() -> None:
    text = str(dual_of(ValueError("bad")))
    assert text.startswith("work() raised in worker pid=42\n\n")
    assert text.endswith("ValueError: bad")
    assert ", attempt 2" in str(task_error(ValueError("bad"), attempt=2))
    assert "attempt" not in str(task_error(ValueError("bad")))


def test_a_task_that_no_worker_ran_names_none() -> None:
    error = TaskError(ValueError("lost"), "work", "an argument of work() is an error:\nlost\n")
    assert str(error) == "work() failed\n\nan argument of work() is an error:\nlost"


def test_an_error_that_came_through_several_tasks_names_what_was_raised_first() -> None:
    first = ValueError("bad")
    inner = dual_of(first)
    outer = task_error(inner)
    assert outer.cause is first
    assert isinstance(outer.as_instance_of_cause(), ValueError)
    assert isinstance(outer.as_instanceof_cause(), ValueError), "the name of Ray's"


def test_a_dual_error_has_the_fields_that_the_cause_keeps_outside_its_dict() -> None:
    missing = dual_of(FileNotFoundError(2, "No such file", "here.txt"))
    assert isinstance(missing, FileNotFoundError)
    assert (missing.errno, missing.strerror, missing.filename) == (2, "No such file", "here.txt")
    broken = dual_of(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"))
    assert isinstance(broken, UnicodeDecodeError)
    assert (broken.encoding, broken.object, broken.start) == ("utf-8", b"\xff", 0)
    stopped = dual_of(StopIteration(5))
    assert isinstance(stopped, StopIteration)
    assert stopped.value == 5


def test_a_dual_error_has_the_slots_and_the_dict_of_the_cause() -> None:
    slotted = dual_of(Slotted(7))
    assert isinstance(slotted, Slotted)
    assert slotted.code == 7
    assert not hasattr(slotted, "unset")
    demanding = dual_of(Demanding("one", "two"))
    assert isinstance(demanding, Demanding)
    assert demanding.second == "two"


def test_a_group_stays_a_group() -> None:
    group = dual_of(ExceptionGroup("several", [ValueError("a"), KeyError("b")]))
    assert isinstance(group, ExceptionGroup)
    assert [type(each) for each in group.exceptions] == [ValueError, KeyError]


@pytest.mark.parametrize("cause", [KeyboardInterrupt(), SystemExit(3)])
def test_what_is_no_exception_stays_what_it_is(cause: BaseException) -> None:
    error = dual_of(cause)
    assert isinstance(error, TaskError)
    assert isinstance(error, type(cause))


@pytest.mark.parametrize(
    "cause",
    [
        Exception("plain"),
        ZgenError("plain"),
        HardToMake("it"),
        Sealed("it"),
    ],
    ids=lambda cause: type(cause).__name__,
)
def test_what_cannot_be_dual_stays_a_task_error(cause: Exception) -> None:
    error = task_error(cause)
    assert error.as_instance_of_cause() is error
    assert error.cause is cause


def test_a_memory_error_is_one() -> None:
    error = dual_of(MemoryError("too much"))
    assert isinstance(error, MemoryError)
    assert error.args == ("too much",)


def test_dual_classes_are_made_once() -> None:
    assert type(dual_of(KeyError("a"))) is type(dual_of(KeyError("b")))
    assert dual_of(Sealed("a")).__class__ is dual_of(Sealed("b")).__class__ is TaskError
    assert type(dual_of(KeyError("a"))).__name__ == "TaskError(KeyError)"


def test_a_dual_error_has_no_local_traceback() -> None:
    with pytest.raises(ValueError, match="bad") as caught:
        raise ValueError("bad")
    assert caught.value.__traceback__ is not None
    assert dual_of(caught.value).__traceback__ is None


@pytest.mark.parametrize(
    "cause",
    [
        ValueError("bad"),
        KeyError("key"),
        FileNotFoundError(2, "No such file", "here.txt"),
        ExceptionGroup("several", [ValueError("a")]),
        GetTimeoutError("late"),
        SystemExit(3),
        MemoryError(),
    ],
    ids=lambda cause: type(cause).__name__,
)
@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_a_dual_error_survives_a_pickle(cause: BaseException, protocol: int) -> None:
    error = dual_of(cause)
    again = pickle.loads(pickle.dumps(error, protocol))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert repr(again.cause) == repr(cause)
    assert repr(again.args) == repr(error.args)
    assert (again.pid, again.attempt, again.may_have_run) == (42, 0, True)


def every_error() -> list[type[ZgenError]]:
    made = [value for value in vars(exceptions).values() if isinstance(value, type)]
    return [cls for cls in dict.fromkeys(made) if issubclass(cls, ZgenError)]


@pytest.mark.parametrize("cls", every_error(), ids=lambda cls: cls.__name__)
def test_every_error_survives_a_pickle_and_a_copy_with_what_was_set_on_it(
    cls: type[ZgenError],
) -> None:
    make: Any = cls
    error: Any = task_error(ValueError("bad")) if cls is TaskError else make()
    error.may_have_run = not error.may_have_run
    error.note = "set later"
    copies: list[Any] = [pickle.loads(pickle.dumps(error)), copy.copy(error)]
    for again in copies:
        assert type(again) is cls
        assert str(again) == str(error)
        assert vars(again)["note"] == "set later"
        assert again.may_have_run == error.may_have_run


# -- what a person reads -------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("error", "names"),
    [
        (
            WorkerCrashedError("work", 42, None, 9, "last words", 3),
            ["pid=42", "signal 9", "work()", "3 times", "max_retries", "last words"],
        ),
        (WorkerCrashedError("work", 42, 1), ["pid=42", "exit code 1", "once", "max_retries"]),
        (
            WorkerCrashedError("work", 42, None, 9, attempts=0, may_have_run=False),
            ["pid=42", "signal 9", "before it began work()", "nothing of the task ran"],
        ),
        (
            NodeDiedError("0123456789", "killed"),
            ["node 01234567 died", "killed", "initialise it again"],
        ),
        (NodeDiedError("0123456789"), ["no reason known", "shut zgen down"]),
        (
            NodeDiedError("", "killed", True, "work", 42, 2, ("attempt 0: it raised",)),
            [
                "pid=42 died (killed)",
                "work()",
                "2 times",
                "max_retries",
                "\n  attempt 0: it raised",
            ],
        ),
        (
            OutOfMemoryError(10, 5, "work", 42, 2, ("attempt 0: it raised",)),
            ["10 bytes", "5", "pid=42", "work()", "2 times", "attempt 0: it raised"],
        ),
        (
            WorkerCrashedError("work", 42, 1, attempts=2, history=("attempt 0: it raised",)),
            ["2 times", "before that:\n  attempt 0: it raised"],
        ),
        (
            ActorDiedError("a1" * 8, "Counter", "it was killed", False, log_tail="bye"),
            ["Counter a1a1a1a1 is dead: it was killed", "did not run", "worker:\nbye"],
        ),
        (
            ActorDiedError("a1" * 8, "Counter", "of late", pid=7, signal=9),
            ["pid=7 died of signal 9 (of late)", "may have run", "max_restarts"],
        ),
        (ActorDiedError("a1" * 8, "Counter", pid=7, exit_code=3), ["pid=7 died of exit code 3;"]),
        (
            ActorDiedError("a1" * 8, "Counter", cause=TaskError(ValueError("no"), "f", "trace")),
            ["Counter a1a1a1a1 is dead", "its constructor raised", "trace"],
        ),
        (ActorError("a1" * 8, "", "lost"), ["actor (of an unknown class) a1a1a1a1", "lost"]),
        (
            ActorUnavailableError("a1" * 8, "Counter"),
            ["it restarts", "may have run", "max_task_retries"],
        ),
        (ActorUnavailableError("a1", "Counter", "gone", False), ["gone", "did not run"]),
        (ActorExistsError("name", "here"), ["'name'", "'here'", "get_if_exists"]),
        (NameUnavailableError("name", "here", "cut off"), ["'name'", "'here'", "cut off", "later"]),
        (ObjectLostError("0a0b", "its node died"), ["0a0b", "its node died"]),
        (ObjectReconstructionFailedError("0a0b", "why", "put"), ["0a0b", "why"]),
        (ReplayLogError("work", "it died", 9), ["work()", "it died", "9 bytes", "zgen.put()"]),
        (ReplayMismatchError("work", 5, 3), ["work()", "3 items", "5", "max_retries=0"]),
        (
            ReplayMismatchError("work", 5, 6, "yielded 6 items instead of 5"),
            ["lost, and yielded 6"],
        ),
        (StreamClosedError("work", "work() was closed"), ["work() was closed"]),
        (TaskCancelledError("0123456789"), ["task 01234567 was cancelled"]),
        (TaskCancelledError("0123456789", "by hand"), ["by hand"]),
        (CapacityError("ITEMS_COUNT_MAX"), ["ITEMS_COUNT_MAX"]),
        (CapacityError("X", "too many items"), ["too many items"]),
        (
            ObjectStoreFullError("10 bytes", (("worker 7", 9, 2),)),
            ["10 bytes", "9 bytes in 2 objects: worker 7", "object_store_memory", "drop"],
        ),
        (OutOfDiskError("10 bytes", (("worker 7", 9, 2),)), ["10 bytes", "worker 7", "free disk"]),
        (NamespaceError("no `ip`"), ["no `ip`", "Cluster(namespaces=True)", "as root"]),
        (InternalError("the story"), ["the story", "please report"]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, ZgenError) else "",
)
def test_the_sentence_names_what_died_and_what_to_do_next(
    error: ZgenError, names: list[str]
) -> None:
    for name in names:
        assert name in str(error)


def test_a_crash_without_output_shows_no_empty_tail() -> None:
    assert "last lines" not in str(WorkerCrashedError("work", 42, 1))


def test_fields_are_kept_beside_the_sentence() -> None:
    assert ObjectReconstructionFailedError("0a", "why", "put").reason == "put"
    for full in (ObjectStoreFullError, OutOfDiskError):
        assert full("m", (("0a", 9, 1),)).largest_holders == (("0a", 9, 1),)
        assert "holders" not in str(full("m"))
    assert ActorDiedError("a1").actor_id == "a1"
    assert not ActorDiedError("a1").actor_init_failed
    assert ActorDiedError("a1", cause=ValueError()).actor_init_failed
    assert StreamClosedError("work").task_name == "work"


def test_only_what_certainly_did_not_run_says_so() -> None:
    assert not NodeStartError("no").may_have_run
    assert not NestedRefError("no").may_have_run
    assert not WorkerCrashedError(may_have_run=False).may_have_run
    assert not NodeDiedError(may_have_run=False).may_have_run
    assert SystemFailure("?").may_have_run
    assert task_error(ValueError()).may_have_run


def test_errors_are_caught_as_what_python_calls_them() -> None:
    assert issubclass(GetTimeoutError, TimeoutError)
    assert issubclass(NestedRefError, TypeError)


def test_errors_say_what_happened_in_a_list_of_them_too() -> None:
    assert repr(SystemFailure("a disk burned")) == "SystemFailure('a disk burned')"
    errors = [task_error(ValueError("bad")), dual_of(ValueError("bad")), dual_of(Slotted(3))]
    assert list(map(repr, errors)) == [
        "TaskError(ValueError('bad'))",
        "TaskError(ValueError)(ValueError('bad'))",
        "TaskError(Slotted)(Slotted('code 3'))",
    ]


def test_programs_written_for_ray_find_its_names() -> None:
    for name, cls in RAY_ALIASES.items():
        assert getattr(exceptions, name) is cls
    assert all(issubclass(cls, ZgenError) for cls in RAY_ALIASES.values())
