"""Every page of the documents can be found from the first one."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
LINK = re.compile(r"\]\(([^)#]+\.md)[^)]*\)")


def linked(page: Path) -> list[Path]:
    """Return the pages that a page has links to."""
    return [(page.parent / link).resolve() for link in LINK.findall(page.read_text("utf-8"))]


def test_the_site_has_the_pages_of_the_index() -> None:
    settings = (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8")
    listed = {DOCS / page for page in re.findall(r": ([\w/-]+\.md)$", settings, re.MULTILINE)}
    assert listed == {*linked(DOCS / "index.md"), DOCS / "index.md"}


def test_every_page_has_a_line_in_the_index_or_in_the_list_of_decisions() -> None:
    index, decisions = DOCS / "index.md", DOCS / "decisions" / "README.md"
    listed = {*linked(index), *linked(decisions), index}
    pages = sorted(DOCS.rglob("*.md"))
    assert len(pages) > 40
    assert not [page.relative_to(DOCS).as_posix() for page in pages if page not in listed]
