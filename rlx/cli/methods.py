"""`rlx methods`: what language models can be trained by, and on which tasks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from rlx.cli.parsing import parse

DESCRIPTION = """\
List the methods that --method of a recipe for language models takes, with what each changes and its hyperparameters,
and the tasks of --task.
"""


@dataclasses.dataclass(frozen=True)
class Options:
    """Nothing to choose."""


def main(arguments: Sequence[str]) -> int:
    """`rlx methods`."""
    parse(Options, arguments, prog="rlx methods", description=DESCRIPTION)
    from rlx.envs import language
    from rlx.recipes import RECIPES, recipe

    for name in RECIPES:
        found = recipe(name)
        if found.methods is not None:
            rows = [
                (label, entry.slots, settings(entry.hyperparameters), entry.paper.replace("arXiv:", ""))
                for label, entry in found.methods().items()
            ]
            print("\n".join([f"methods of rlx train {name}", *columns(rows), ""]))
    print("\n".join(["tasks", *columns([(name, settings(language.options(name))) for name in language.names()])]))
    return 0


def settings(options: Mapping[str, Any]) -> str:
    """Names and defaults, as they are written after a name on the command line."""
    return "".join(f"@{name}={value}" for name, value in options.items())


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines, their cells below each other."""
    widths = [max(map(len, cells)) for cells in zip(*rows)]
    return ["  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths)).rstrip() for row in rows]
