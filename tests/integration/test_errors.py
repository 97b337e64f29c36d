"""What errors tell: fields, sentences, remote tracebacks; and that they travel."""

from __future__ import annotations

import ctypes
import os
import pickle
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

import zgen
from tests.integration.gates import Gate
from zgen.exceptions import SystemFailure, TaskError, WorkerCrashedError, ZgenError
from zgen.limits import LOG_TAIL_LINES

pytestmark = pytest.mark.usefixtures("runtime")


@zgen.remote
def divide(by: int) -> float:
    return inner(by)


def inner(by: int) -> float:
    return 1 / by  # the line that raises


@zgen.remote(max_retries=0)
def die(lines: list[str], how: Any, pid_file: Path | None = None) -> None:
    if pid_file is not None:
        pid_file.write_text(str(os.getpid()))
    for line in lines:
        print(line)
    print("to the error output", file=sys.stderr)
    how()


def kill_myself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def read_nowhere() -> None:
    ctypes.string_at(0)


def caught(ref: Any) -> ZgenError:
    with pytest.raises(ZgenError) as raised:
        zgen.get(ref)
    return raised.value


# -- errors of user code ---------------------------------------------------------------------------
def test_the_remote_traceback_shows_the_users_frames_and_no_others() -> None:
    error = caught(divide.remote(0))
    text = str(error)
    assert isinstance(error, TaskError)
    assert "in divide" in text
    assert "in inner" in text
    assert "ZeroDivisionError: division by zero" in text
    assert re.search(r'test_errors\.py", line \d+', text)
    assert "runner.py" not in text
    assert f"worker pid={error.pid}" in text
    assert text.startswith("divide() raised")


def test_source_lines_are_in_the_remote_traceback() -> None:
    assert "# the line that raises" in str(caught(divide.remote(0)))


def test_causes_and_contexts_are_in_the_remote_traceback() -> None:
    @zgen.remote
    def chained() -> None:
        try:
            {}["missing"]  # type: ignore[index]  # it raises
        except KeyError as error:
            raise RuntimeError("could not go on") from error

    text = str(caught(chained.remote()))
    assert "KeyError: 'missing'" in text
    assert "direct cause" in text
    assert "RuntimeError: could not go on" in text


def test_the_fields_tell_where_it_was_raised() -> None:
    error = caught(divide.options(name="quotient", max_retries=0).remote(0))
    assert isinstance(error, TaskError)
    assert error.function_name == "quotient"
    assert error.attempt == 0
    assert error.pid not in (0, os.getpid())
    assert isinstance(error.cause, ZeroDivisionError)
    assert error.remote_traceback.strip() in str(error)


def test_notes_of_the_users_exception_are_kept() -> None:
    @zgen.remote
    def noted() -> None:
        error = ValueError("wrong")
        error.add_note("while testing")
        raise error

    error = caught(noted.remote())
    assert error.__notes__ == ["while testing"]
    assert "while testing" in str(error)


def test_the_drivers_own_traceback_is_fresh_each_time() -> None:
    ref = divide.remote(0)
    lengths = []
    for _ in range(3):
        frames, count = caught(ref).__traceback__, 0
        while frames is not None:
            frames, count = frames.tb_next, count + 1
        lengths.append(count)
    assert len(dict.fromkeys(lengths)) == 1


def test_a_syntax_error_and_a_recursion_error_travel() -> None:
    with pytest.raises(SyntaxError) as raised:
        zgen.get(zgen.remote(lambda: compile("1 +", "formula", "eval")).remote())
    assert (raised.value.filename, raised.value.lineno) == ("formula", 1)

    def endless() -> Any:
        return endless()

    with pytest.raises(RecursionError):
        zgen.get(zgen.remote(endless).remote())


class Closed(Exception):
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")

    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("error", [SyntaxError(*["no", "four"]), Closed()], ids=["odd", "closed"])
def test_an_error_whose_traceback_cannot_be_written_costs_no_worker(error: Exception) -> None:
    @zgen.remote(max_retries=0)
    def items() -> Any:
        yield os.getpid()
        raise error

    stream = items.remote()
    pid = zgen.get(next(stream))
    failure = caught(next(stream))
    assert isinstance(failure, TaskError)
    assert (failure.pid, type(error).__name__ in str(failure)) == (pid, True)
    assert "raise error" in str(failure)


def test_an_argument_that_cannot_be_unpickled_is_an_error_of_the_task() -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return int, ("not a number",)

    with pytest.raises(ValueError, match="not a number") as raised:
        zgen.get(divide.remote(Trap()))  # type: ignore[call-overload]  # a wrong argument
    assert isinstance(raised.value, TaskError)


def test_a_function_that_cannot_be_unpickled_is_the_same_error_for_every_call() -> None:
    class Trap:
        def __call__(self) -> int:
            return 1

        def __reduce__(self) -> Any:
            return int, ("not a number",)

    function = zgen.remote(num_cpus=1)(Trap())
    for ref in [function.remote() for _ in range(4)]:
        with pytest.raises(ValueError, match="not a number"):
            zgen.get(ref)


def test_an_argument_that_cannot_be_pickled_raises_at_the_call() -> None:
    with pytest.raises(TypeError, match="pickle"):
        divide.remote(sys._getframe())  # type: ignore[call-overload]  # a wrong argument


@pytest.mark.parametrize("by", [0, "text"])
def test_caught_errors_pickle_with_class_fields_and_sentence(by: Any) -> None:
    error = caught(divide.remote(by))
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert isinstance(again, TaskError)
    assert isinstance(error, TaskError)
    assert isinstance(again, type(again.cause))
    assert str(again) == str(error)
    assert again.args == error.args
    assert (again.function_name, again.pid) == (error.function_name, error.pid)


# -- deaths of workers -----------------------------------------------------------------------------
def test_a_signal_is_told_with_the_last_lines_and_what_to_do(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    error = caught(die.remote(["loading", "half done"], kill_myself, pid_file))
    assert isinstance(error, WorkerCrashedError)
    assert isinstance(error, SystemFailure)
    assert (error.signal, error.exit_code) == (signal.SIGKILL, None)
    assert (error.task_name, error.attempts, error.may_have_run) == ("die", 1, True)
    assert error.pid == int(pid_file.read_text())
    assert sorted(error.log_tail.split("\n")) == ["half done", "loading", "to the error output"]
    text = str(error)
    for part in (f"pid={error.pid}", "signal 9", "die()", "half done", "max_retries"):
        assert part in text


def test_an_exit_code_is_told() -> None:
    error = caught(die.remote(["bye"], lambda: os._exit(33)))
    assert isinstance(error, WorkerCrashedError)
    assert (error.signal, error.exit_code) == (None, 33)
    assert "exit code 33" in str(error)
    assert "bye" in error.log_tail


@pytest.mark.parametrize(("code", "told"), [(None, 0), (0, 0), (5, 5), ("a text", 1), (True, 1)])
def test_sys_exit_ends_the_worker_as_it_ends_any_process(code: Any, told: int) -> None:
    error = caught(die.remote([], lambda: sys.exit(code)))
    assert isinstance(error, WorkerCrashedError)
    assert (error.signal, error.exit_code) == (None, told)
    assert ("a text" in error.log_tail) is (code == "a text")


def test_a_segmentation_fault_is_told() -> None:
    error = caught(die.remote([], read_nowhere))
    assert isinstance(error, WorkerCrashedError)
    assert error.signal == signal.SIGSEGV


def test_only_the_last_lines_are_kept() -> None:
    error = caught(die.remote([f"line {number}" for number in range(100)], kill_myself))
    assert isinstance(error, WorkerCrashedError)
    lines = error.log_tail.split("\n")
    assert len(lines) == LOG_TAIL_LINES
    assert "line 99" in lines
    assert "line 10" not in lines


def test_a_crash_under_a_stream_is_told_the_same_way(gate: Gate) -> None:
    @zgen.remote(max_retries=1)
    def crash() -> Any:
        print("about to fall")
        yield 1
        gate.wait()
        kill_myself()

    stream = crash.remote()
    assert zgen.get(next(stream)) == 1
    gate.open()
    error = caught(next(stream))
    assert isinstance(error, WorkerCrashedError)
    assert (error.task_name, error.signal, error.attempts) == ("crash", signal.SIGKILL, 2)
    assert error.log_tail == "about to fall"
    assert list(stream) == []


def test_crash_errors_pickle_with_fields_and_sentence() -> None:
    error = caught(die.remote(["last words"], kill_myself))
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is WorkerCrashedError
    assert vars(again) == vars(error)
    assert str(again) == str(error)


def test_other_tasks_go_on_after_a_crash() -> None:
    refs = [divide.remote(1) for _ in range(20)]
    error = caught(die.remote([], kill_myself))
    refs += [divide.remote(1) for _ in range(20)]
    assert isinstance(error, WorkerCrashedError)
    assert zgen.get(refs) == [1.0] * 40
