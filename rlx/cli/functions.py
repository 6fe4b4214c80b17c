"""`rlx functions`: the catalog of the function library."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence
from typing import Annotated

import tyro

from rlx.cli.errors import CommandError
from rlx.cli.options import Switch
from rlx.cli.parsing import parse
from rlx.envs.registry import nearest

DESCRIPTION = """\
List the losses, regularizers, estimators and controllers of the library, as their docstrings describe them.
† marks a reconstruction: no exact formula was published.

examples:
  rlx functions                            all of them
  rlx functions --search entropy           those that speak of entropy
  rlx functions --paper 2505.22617         those of one paper
  rlx functions clipped_surrogate          the docstring of one
"""


@dataclasses.dataclass(frozen=True)
class Options:
    """What to list."""

    name: Annotated[
        str | None,
        tyro.conf.Positional,
        tyro.conf.arg(help="A function, with or without its module: print its docstring.", metavar="[NAME]"),
    ] = None
    search: str = ""
    """Only functions in whose name or docstring this word occurs."""
    paper: str = ""
    """Only functions of this paper, by its arXiv identifier."""
    markdown: Switch = False
    """Print docs/functions.md."""


def main(arguments: Sequence[str]) -> int:
    """`rlx functions [NAME] [--search WORD] [--paper ARXIV]`."""
    options = parse(Options, arguments, prog="rlx functions", description=DESCRIPTION)
    from rlx import catalog

    if options.name is not None:
        print(card(options.name))
        return 0
    found = catalog.entries(search=options.search, paper=options.paper)
    if not found:
        wanted = " and ".join(repr(word) for word in (options.search, options.paper) if word)
        raise CommandError(f"no function matches {wanted}; rlx functions lists them all")
    print(catalog.markdown(found) if options.markdown else table(found), end="" if options.markdown else "\n")
    return 0


def card(name: str) -> str:
    """Signature and docstring of one function, or of all functions of that name.

    Raises:
        CommandError: there is none of that name.
    """
    from rlx import catalog

    functions = catalog.public_functions()
    wanted = [full for full in functions if full == name or full.endswith(f".{name}")]
    if not wanted:
        raise CommandError(f"no function {name!r}; {nearest(name, [full.rpartition('.')[2] for full in functions])}")
    return "\n\n".join(
        f"{full}{inspect.signature(functions[full])}\n\n{inspect.getdoc(functions[full])}" for full in wanted
    )


def table(found: Sequence) -> str:
    """Entries of the catalog, by slot, one line each."""
    lines, slot = [], None
    width = max(len(entry.name.rpartition(".")[2]) for entry in found) + 2
    for entry in found:
        if entry.slot != slot:
            slot = entry.slot
            lines += ["", f"rlx.{slot}"] if lines else [f"rlx.{slot}"]
        name = entry.name.rpartition(".")[2] + (" †" if entry.reconstruction else "")
        papers = f"  [{', '.join(entry.papers)}]" if entry.papers else ""
        lines.append(f"  {name:<{width}}  {entry.summary}{papers}")
    return "\n".join(lines)
