from __future__ import annotations

from pathlib import Path

import pytest

from scripts import docs_check

ROOT = Path(__file__).parents[2]


def project(root: Path, documents: dict[str, str]) -> Path:
    for name, text in documents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def test_the_links_of_this_project_lead_somewhere() -> None:
    assert docs_check.check(ROOT, execute=False) == []


def test_blocks_of_one_document_run_in_order_as_one_program(tmp_path: Path) -> None:
    text = "```python\nx = 1\n```\n\nprose\n\n* item\n\n  ```python\n  assert x == 1\n  ```\n"
    assert docs_check.check(project(tmp_path, {"README.md": text, "docs/a/b.md": text})) == []


def test_each_document_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    documents = {"README.md": "```python\nx = 1\n```\n", "docs/a.md": "```python\nprint(x)\n```\n"}
    (fault,) = docs_check.check(project(tmp_path, documents))
    assert fault.startswith("docs/a.md:1: exit status 1")
    assert "NameError" in fault


def test_a_block_that_fails_is_reported_with_its_line_in_the_document(tmp_path: Path) -> None:
    text = "# Title\n\nprose\n\n```python\nx = 1\nassert x == 2\n```\n"
    (fault,) = docs_check.check(project(tmp_path, {"README.md": text}))
    assert "line 7" in fault


def test_a_block_that_hangs_is_ended() -> None:
    program = ["import time", "time.sleep(60)"]
    (fault,) = docs_check.run("a.md", program, timeout_s=0.5)
    assert "did not end within 0.5 s" in fault


@pytest.mark.parametrize("language", ["", "console", "text", "bash", "pycon", "toml"])
def test_other_blocks_do_not_run(tmp_path: Path, language: str) -> None:
    text = f"```{language}\nraise SystemExit(1)\n```\n"
    assert docs_check.check(project(tmp_path, {"README.md": text})) == []


def test_blocks_of_documents_for_developers_do_not_run(tmp_path: Path) -> None:
    text = "```python\nraise SystemExit(1)\n```\n"
    assert docs_check.check(project(tmp_path, {"CONTRIBUTING.md": text})) == []


def test_a_fence_inside_a_longer_fence_is_text(tmp_path: Path) -> None:
    text = "````text\n```python\nraise SystemExit(1)\n```\n````\n"
    assert docs_check.check(project(tmp_path, {"README.md": text})) == []


def test_a_block_that_is_never_closed_is_a_fault(tmp_path: Path) -> None:
    documents = {"README.md": "one\n\n```text\nx\n"}
    assert docs_check.check(project(tmp_path, documents)) == [
        "README.md:3: the block is never closed"
    ]


@pytest.mark.parametrize(
    ("link", "faults"),
    [
        ("[a](docs/a.md)", 0),
        ("[a](docs/a.md#a-title-of-its-own)", 0),
        ("[a](#here)", 0),
        ("[a](https://example.org/nowhere)", 0),
        ("`[a](nowhere.md)`", 0),
        ("[a](nowhere.md)", 1),
        ("![a](nowhere.png)", 1),
        ("[a](docs/a.md#nowhere)", 1),
        ("[a](#nowhere)", 1),
        ("[a](docs/a.md) and [b](nowhere.md) and [c](docs/b.md)", 2),
    ],
)
def test_a_link_leads_to_a_file_and_a_heading(tmp_path: Path, link: str, faults: int) -> None:
    documents = {"README.md": f"# Here\n\n{link}\n", "docs/a.md": "## A title, of its own\n"}
    assert len(docs_check.check(project(tmp_path, documents))) == faults
