"""`rlx methods`: what policies over tokens can be trained by, and on which tasks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from rlx.cli.parsing import parse

DESCRIPTION = """\
List the methods of rlx train grpo --method, with what each changes and its hyperparameters, and the tasks of --task.
"""


@dataclasses.dataclass(frozen=True)
class Options:
    """Nothing to choose."""


def main(arguments: Sequence[str]) -> int:
    """`rlx methods`."""
    parse(Options, arguments, prog="rlx methods", description=DESCRIPTION)
    from rlx.envs import language
    from rlx.recipes.language_methods import METHODS

    rows = [
        (name, entry.slots, settings(entry.hyperparameters), entry.paper.replace("arXiv:", ""))
        for name, entry in METHODS.items()
    ]
    print("\n".join(["methods", *columns(rows), ""]))
    print("\n".join(["tasks", *columns([(name, settings(language.options(name))) for name in language.names()])]))
    return 0


def settings(options: Mapping[str, Any]) -> str:
    """Names and defaults, as they are written after a name on the command line."""
    return "".join(f"@{name}={value}" for name, value in options.items())


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines, their cells below each other."""
    widths = [max(map(len, cells)) for cells in zip(*rows)]
    return ["  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths)).rstrip() for row in rows]
