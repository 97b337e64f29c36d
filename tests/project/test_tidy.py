from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from scripts import tidy

Write = Callable[[str, str], None]


@pytest.fixture(autouse=True)
def no_allowances(monkeypatch: pytest.MonkeyPatch) -> None:
    """The made-up project has none of the files that this one lets be long."""
    for place in list(tidy.LONG_ALLOWED):
        monkeypatch.delitem(tidy.LONG_ALLOWED, place)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A project that breaks no rule, and the means to break one."""

    def put(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    put("pyproject.toml", '[project]\nversion = "1.2.0"\n')
    put("CHANGELOG.md", "## [Unreleased]\n\n## [1.2.0]\n\n## [1.1.0]\n")
    put(
        "ARCHITECTURE.md",
        "| File | Responsibility |\n|---|---|\n"
        "| `zgen/ids.py` | id types and `their` derivation |\n",
    )
    put("zgen/ids.py", '"""Id types and their derivation."""\n')
    put("zgen/core/__init__.py", '"""Pure."""\n')
    put("node/zgen_node/core/__init__.py", '"""Pure."""\n')
    put("tests/unit/test_ids.py", "")
    return put


def faults(rule: tidy.Rule, root: Path) -> list[str]:
    return [f"{fault.path}:{fault.line}" for fault in rule(root)]


def test_a_clean_tree_has_no_faults(
    tmp_path: Path, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tidy.main(tmp_path) == 0
    assert capsys.readouterr().out == ""


def test_main_prints_each_fault_and_fails(
    tmp_path: Path, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write("scripts/utils.py", "")
    assert tidy.main(tmp_path) == 1
    assert capsys.readouterr().out.startswith("scripts/utils.py:1: file-names: ")


@pytest.mark.parametrize(
    ("name", "lines_max"),
    [("zgen/a.py", 400), ("node/zgen_node/a.py", 400), ("scripts/a.py", 400), ("tests/a.py", 600)],
)
def test_a_file_of_more_lines_than_allowed_is_a_fault(
    tmp_path: Path, write: Write, name: str, lines_max: int
) -> None:
    write(name, "x = 1\n" * lines_max)
    assert faults(tidy.length, tmp_path) == []
    write(name, "x = 1\n" * (lines_max + 1))
    assert faults(tidy.length, tmp_path) == [f"{name}:{lines_max + 1}"]


@pytest.mark.parametrize("keyword", ["def", "async def"])
def test_a_function_of_more_than_sixty_lines_is_a_fault(
    tmp_path: Path, write: Write, keyword: str
) -> None:
    write("zgen/a.py", f"\n{keyword} f():\n" + "    x = 1\n" * 59)
    assert faults(tidy.length, tmp_path) == []
    write("zgen/a.py", f"\n{keyword} f():\n" + "    x = 1\n" * 60)
    assert faults(tidy.length, tmp_path) == ["zgen/a.py:2"]


def test_a_decision_record_allows_a_longer_file_and_function(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("zgen/a.py", "def f():\n" + "    x = 1\n" * 500)
    monkeypatch.setitem(tidy.LONG_ALLOWED, "zgen/a.py", "docs/decisions/0099-long.md")
    assert faults(tidy.length, tmp_path) == ["zgen/a.py:1"]
    monkeypatch.setitem(tidy.LONG_ALLOWED, "zgen/a.py:f", "docs/decisions/0099-long.md")
    assert faults(tidy.length, tmp_path) == []


def test_an_allowance_names_a_file_and_a_record_that_exist(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(tidy.LONG_ALLOWED, "zgen/gone.py:f", "docs/decisions/0099-long.md")
    assert len(faults(tidy.allowances, tmp_path)) == 2
    write("zgen/gone.py", "")
    write("docs/decisions/0099-long.md", "")
    assert faults(tidy.allowances, tmp_path) == []


@pytest.mark.parametrize(
    "place", ["zgen/core/a.py", "zgen/wire/a.py", "zgen/limits.py", "node/zgen_node/core/a.py"]
)
@pytest.mark.parametrize("code", ["{1}", "{y for y in ()}", "set()", "frozenset((1,))"])
def test_a_set_in_a_pure_floor_is_a_fault(
    tmp_path: Path, write: Write, place: str, code: str
) -> None:
    write(place, f"\nx = {code}\n")
    assert faults(tidy.no_sets, tmp_path) == [f"{place}:2"]


def test_dicts_anywhere_and_sets_above_the_pure_floors_are_fine(
    tmp_path: Path, write: Write
) -> None:
    write("zgen/core/a.py", "x = {}\ny = {1: None}\nz = {k: None for k in y}\n")
    write("zgen/io/a.py", "x = {1}\n")
    assert faults(tidy.no_sets, tmp_path) == []


@pytest.mark.parametrize(
    "name",
    [
        "zgen/utils.py",
        "zgen/core/_base.py",
        "zgen/helpers/a.py",
        "node/zgen_node/manager.py",
        "scripts/misc.py",
        "tests/unit/test_common.py",
        "zgen/core/ref_utils.py",
        "zgen/core/ref_table_part2.py",
    ],
)
def test_a_name_that_says_nothing_is_a_fault(tmp_path: Path, write: Write, name: str) -> None:
    write(name, "")
    assert faults(tidy.file_names, tmp_path) == [f"{name}:1"]


@pytest.mark.parametrize("word", ["TO" + "DO", "FIX" + "ME", "X" + "XX"])
def test_a_todo_needs_an_issue_number(tmp_path: Path, write: Write, word: str) -> None:
    write("zgen/ids.py", f"# {word}(#12): later\n# {word}: later\n")
    assert faults(tidy.todos, tmp_path) == ["zgen/ids.py:2"]


@pytest.mark.parametrize(
    "path", ["/" + "home/someone/x", "/" + "root/x", "/" + "Users/someone", "/" + "work/x"]
)
@pytest.mark.parametrize("name", ["README.md", "Makefile", "zgen/ids.py", "docs/a.md"])
def test_the_path_of_a_persons_folder_is_a_fault(
    tmp_path: Path, write: Write, path: str, name: str
) -> None:
    write(name, f"\nsee '{path}'\n")
    assert faults(tidy.private_paths, tmp_path) == [f"{name}:2"]


def test_a_relative_path_with_such_a_name_in_it_is_fine(tmp_path: Path, write: Write) -> None:
    write("README.md", "docs/" + "work/a.md and $XDG_RUNTIME_DIR/zgen\n")
    assert faults(tidy.private_paths, tmp_path) == []


def test_hidden_folders_are_not_searched(tmp_path: Path, write: Write) -> None:
    write(".venv/a.py", "/" + "home/someone")
    assert faults(tidy.private_paths, tmp_path) == []


def test_a_module_without_a_row_is_a_fault(tmp_path: Path, write: Write) -> None:
    write("zgen/new.py", '"""New."""\n')
    assert faults(tidy.map_of_the_code, tmp_path) == ["zgen/new.py:1"]


def test_a_package_file_needs_a_row_only_when_it_has_code(tmp_path: Path, write: Write) -> None:
    write("zgen/io/__init__.py", '"""Sockets."""\n')
    assert faults(tidy.map_of_the_code, tmp_path) == []
    write("zgen/io/__init__.py", '"""Sockets."""\nx = 1\n')
    assert faults(tidy.map_of_the_code, tmp_path) == ["zgen/io/__init__.py:1"]


def test_a_module_without_a_docstring_is_a_fault(tmp_path: Path, write: Write) -> None:
    write("zgen/ids.py", "x = 1\n")
    assert "zgen/ids.py:1" in faults(tidy.map_of_the_code, tmp_path)


def test_a_docstring_that_differs_from_its_row_is_a_fault(tmp_path: Path, write: Write) -> None:
    write("zgen/ids.py", '"""Id types."""\n')
    assert faults(tidy.map_of_the_code, tmp_path) == ["zgen/ids.py:1"]


def test_a_row_without_a_module_is_a_fault(tmp_path: Path, write: Write) -> None:
    (tmp_path / "zgen/ids.py").unlink()
    assert faults(tidy.map_of_the_code, tmp_path) == ["ARCHITECTURE.md:3"]


def test_a_second_row_for_a_module_is_a_fault(tmp_path: Path, write: Write) -> None:
    row = "| `zgen/ids.py` | id types and their derivation |\n"
    write("ARCHITECTURE.md", row + row)
    assert faults(tidy.map_of_the_code, tmp_path) == ["ARCHITECTURE.md:2"]


@pytest.mark.parametrize(
    ("changelog", "number"),
    [
        ("## [Unreleased]\n", 0),
        ("## [1.2.0]\n", 0),
        ("## [Unreleased]\n## [1.1.0]\n", 1),
        ("## [1.3.0]\n## [1.2.0]\n", 1),
        ("nothing\n", 1),
    ],
)
def test_changelog_and_project_agree_on_the_version(
    tmp_path: Path, write: Write, changelog: str, number: int
) -> None:
    write("CHANGELOG.md", changelog)
    assert len(faults(tidy.version, tmp_path)) == number


def test_a_project_without_a_version_is_a_fault(tmp_path: Path, write: Write) -> None:
    write("pyproject.toml", "[project]\n")
    assert faults(tidy.version, tmp_path) == ["pyproject.toml:1"]
