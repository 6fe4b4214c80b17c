"""Relative links of the documentation lead to files, and their anchors to headings."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def anchors(document: Path) -> set[str]:
    """What can be linked to in a document: its headings, as GitHub names them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead(document: Path) -> list[str]:
    """Links of a document that lead nowhere in the repository."""
    # A link may be around code, so code that stands in brackets stays.
    text = re.sub(r"\[`([^`\n]*)`\]", r"[\1]", document.read_text(encoding="utf-8"))
    found = []
    for link in LINK.findall(CODE.sub("", text)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_to_files(document):
    assert dead(document) == []


def test_dead_links_are_found(tmp_path):
    document = tmp_path / "page.md"
    document.write_text(
        "# A *fine* page\n[a](page.md#a-fine-page) [b](no.md) [c](#none) [d](https://e.org) `[e](f)` [`g`](h)\n"
    )
    assert dead(document) == ["no.md", "#none", "h"]
