"""What the documents name exists, and what an operator may set is named. What it does, other tests tell."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("folder", ["gateway", "pool"])
def test_each_file_of_the_house_is_there(folder: str) -> None:
    """One that was renamed is looked for in vain by whoever comes next."""
    house = re.search(rf"^{folder}/ .*?(?=^\w+/ |^```)", ARCHITECTURE, re.MULTILINE | re.DOTALL)
    assert house is not None
    named = set(re.findall(r"\b\w+\.py\b", house[0]))
    assert len(named) > 20
    assert named - {path.name for path in (ROOT / folder).rglob("*.py")} == set()


def test_each_file_of_the_keeper_is_in_the_house() -> None:
    """The mind is drawn whole."""
    files = {path.name for path in (ROOT / "gateway/keeper").glob("*.py")} - {"__init__.py"}
    assert files - set(re.findall(r"\b\w+\.py\b", ARCHITECTURE)) == set()


def test_each_variable_that_is_read_is_documented() -> None:
    """By its name, in the README or for operators."""
    source = (ROOT / "gateway/environment.py").read_text()
    read = {name for names in re.findall(r'"([A-Z][A-Z_ ]+)"', source) for name in names.split()}
    assert "ROOMKEEPER_SLOTS" in read
    told = (ROOT / "README.md").read_text() + (ROOT / "docs/operations.md").read_text()
    assert {name for name in read if not re.search(rf"`{name}\b", told)} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_link_leads_somewhere(page: Path) -> None:
    """To a file that is there, and to a heading that it has."""
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, heading = link.partition("#")
        if path.startswith("http"):
            continue
        target = page.parent / path if path else page
        assert target.exists(), link
        if heading:
            assert heading in _headings(target), link


def _headings(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
