"""`rlx methods`: what language models can be trained by, and on which tasks."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import tyro

from rlx.cli.errors import CommandError
from rlx.cli.parsing import parse

DESCRIPTION = """\
List the methods that --method of a recipe for language models takes, with what each changes and its hyperparameters,
and the tasks of --task.

examples:
  rlx methods                all of them
  rlx methods dapo           that one: what it does, and of each setting whose choice its default is
"""


@dataclasses.dataclass(frozen=True)
class Options:
    """What to list."""

    name: Annotated[
        str | None,
        tyro.conf.Positional,
        tyro.conf.arg(help="A method: print what it does and where its settings come from.", metavar="[NAME]"),
    ] = None


def main(arguments: Sequence[str]) -> int:
    """`rlx methods [NAME]`."""
    options = parse(Options, arguments, prog="rlx methods", description=DESCRIPTION)
    from rlx.recipes import RECIPES, recipe

    tables = {name: found.methods() for name in RECIPES if (found := recipe(name)).methods is not None}
    print(listing(tables) if options.name is None else cards(tables, options.name))
    return 0


def listing(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """All methods, by recipe, and all tasks, a line for each."""
    from rlx.envs import language

    lines = []
    for recipe_name, methods in tables.items():
        rows = [
            (label, entry.slots, settings(entry.hyperparameters), entry.paper.replace("arXiv:", ""))
            for label, entry in methods.items()
        ]
        lines += [f"methods of rlx train {recipe_name}", *columns(rows), ""]
    lines += ["tasks", *columns([(name, settings(language.options(name))) for name in language.names()])]
    return "\n".join(lines)


def cards(tables: Mapping[str, Mapping[str, Any]], name: str) -> str:
    """Everything about the methods of a name.

    Raises:
        CommandError: there is none of that name.
    """
    from rlx.envs.registry import nearest

    found = [card(recipe_name, name, methods[name]) for recipe_name, methods in tables.items() if name in methods]
    if not found:
        raise CommandError(
            f"no method {name!r:.80}; {nearest(name, [label for of in tables.values() for label in of])}"
        )
    return "\n\n".join(found)


def card(recipe_name: str, name: str, entry: Any) -> str:
    """What a method does, its paper and code, and of each setting its default, its range and whose choice that is."""
    from rlx.recipes.language_methods.table import ORIGINS, WITHIN

    facts = [("paper", entry.paper), ("code", entry.code), ("changes", entry.slots)]
    lines = [f"rlx train {recipe_name} --method {name}", "", inspect.getdoc(entry.make), ""]
    lines += columns([(label, text) for label, text in facts if text])
    rows = [
        (option, str(default), WITHIN.get(option, ""), f"default: {ORIGINS[entry.origin[option]]}")
        for option, default in entry.hyperparameters.items()
    ]
    return "\n".join([*lines, "", "settings", *columns(rows)] if rows else lines)


def settings(options: Mapping[str, Any]) -> str:
    """Names and defaults, as they are written after a name on the command line."""
    return "".join(f"@{name}={value}" for name, value in options.items())


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines, their cells below each other."""
    widths = [max(map(len, cells)) for cells in zip(*rows)]
    return ["  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths)).rstrip() for row in rows]
