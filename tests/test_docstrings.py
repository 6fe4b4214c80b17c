"""Docstrings: the examples of all public functions run as printed, and all are written in one form."""

import ast
import doctest
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlx import catalog

ROOT = Path(__file__).parent.parent
FOLDERS = ("rlx", "envs", "experiments")
FUNCTIONS = catalog.public_functions()
SECTION = re.compile(r"( *)(?:Args|Attributes|Examples|Raises|References|Returns|Yields):")


def examples_of(name: str) -> doctest.DocTest:
    """The examples in a function's docstring, to be run in a namespace that holds nothing yet."""
    doc = inspect.getdoc(FUNCTIONS[name]) or ""
    return doctest.DocTestParser().get_doctest(doc, globs={}, name=name, filename=None, lineno=None)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_public_function_shows_an_example(name):
    doc = inspect.getdoc(FUNCTIONS[name]) or ""
    assert ">>>" in doc, f"{name} has no example"
    section = doc.index("\nExamples:\n")
    assert section < doc.index(">>>")
    assert section < doc.find("\nReferences:\n") or "\nReferences:\n" not in doc


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_examples_print_what_the_docstring_says(name):
    examples = examples_of(name)
    assert any(example.want for example in examples.examples), f"{name} has no example that prints"
    written = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    failed, tried = runner.run(examples, out=written.append)
    assert tried > 0
    assert failed == 0, "".join(written)


def docstrings() -> Iterator[tuple[str, str]]:
    """All docstrings of the sources, read without importing them, with the place of each."""
    files = {path.resolve() for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")}
    for path in sorted(files):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                doc = ast.get_docstring(node)
                if doc:
                    place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"
                    yield place, doc


def misindented(doc: str) -> list[str]:
    """Headings of sections whose first line is not indented by four spaces more than the heading."""
    lines = [*doc.split("\n"), ""]
    headings = ((heading, following, SECTION.fullmatch(heading)) for heading, following in zip(lines, lines[1:]))
    return [
        heading.strip()
        for heading, following, section in headings
        if section and not re.match(rf"{section[1]} {{4}}\S", following)
    ]


def test_docstrings_are_written_in_one_form():
    found = list(docstrings())
    assert len(found) > len(FUNCTIONS)
    assert [place for place, doc in found if "``" in doc] == []
    assert [(place, misindented(doc)) for place, doc in found if misindented(doc)] == []
