"""`rlx ablate`: variants of an algorithm side by side, everything else equal."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from rlx.cli.errors import CommandError
from rlx.envs.registry import nearest
from rlx.recipes import ABLATIONS

HELP = """\
usage: rlx ablate WHAT [OPTIONS]

what can be compared:
{ablations}

Each answers to --help with its options and examples, and leaves one table and one picture.
"""


def main(arguments: Sequence[str]) -> int:
    """`rlx ablate WHAT …`."""
    if not arguments or arguments[0] in ("-h", "--help"):
        width = max(map(len, ABLATIONS))
        lines = "\n".join(f"  {name:<{width}}  {what}" for name, (_, what) in ABLATIONS.items())
        print(HELP.format(ablations=lines), end="")
        return 0
    name, *rest = arguments
    if name not in ABLATIONS:
        raise CommandError(f"nothing to compare under {name!r}; {nearest(name, ABLATIONS)}")
    module, _ = ABLATIONS[name]
    return importlib.import_module(module).main(rest, name)
