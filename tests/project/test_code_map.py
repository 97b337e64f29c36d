from __future__ import annotations

from pathlib import Path

from scripts import code_map

DOCUMENT = """# Title

| File | Responsibility |
|---|---|
| `zgen/api.py` | what `users` call |
| `zgen/core/owner.py` | old words |
| `zgen/core/gone.py` | gone |
| `zgen/ids.py` | ids |

Prose.

| File | Responsibility |
|---|---|
| `node/zgen_node/cli.py` | arguments |
"""

UPDATED = """# Title

| File | Responsibility |
|---|---|
| `zgen/api.py` | what `users` call |
| `zgen/core/owner.py` | new `words` \\| more |
| `zgen/core/task_table.py` | tasks |
| `zgen/ids.py` | ids |
| `zgen/wire/codec.py` | CURVE and frames |

Prose.

| File | Responsibility |
|---|---|
| `node/zgen_node/cli.py` | arguments |
| `node/zgen_node/core/node.py` | the daemon |
"""

MODULES = {
    "zgen/api.py": "What ``users`` call.",
    "zgen/core/owner.py": "New ``words`` | more.",
    "zgen/core/task_table.py": "Tasks.",
    "zgen/ids.py": "Ids.",
    "zgen/wire/codec.py": "CURVE and frames.",
    "node/zgen_node/cli.py": "Arguments.",
    "node/zgen_node/core/node.py": "The daemon.",
}


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_rows_are_corrected_removed_and_added_beside_their_folder() -> None:
    assert code_map.updated(DOCUMENT, MODULES) == UPDATED


def test_a_map_that_is_right_stays_as_it_is() -> None:
    assert code_map.updated(UPDATED, MODULES) == UPDATED


def test_what_the_script_wrote_has_no_faults(tmp_path: Path) -> None:
    write(tmp_path, "ARCHITECTURE.md", DOCUMENT)
    for name, first in MODULES.items():
        write(tmp_path, name, f'"""{first}"""\n')
    write(tmp_path, "zgen/__init__.py", '"""Public names."""\n')
    assert len(code_map.faults(tmp_path)) == 6
    assert code_map.main(tmp_path) == 0
    assert code_map.faults(tmp_path) == []
    assert "| `zgen/__init__.py` | public names |" in (tmp_path / "ARCHITECTURE.md").read_text()


def test_a_bare_package_file_below_the_top_needs_no_row(tmp_path: Path) -> None:
    write(tmp_path, "zgen/core/__init__.py", '"""Pure."""\n')
    assert code_map.modules(tmp_path) == {}
    write(tmp_path, "zgen/core/__init__.py", '"""Pure."""\nx = 1\n')
    assert code_map.modules(tmp_path) == {"zgen/core/__init__.py": "Pure."}
