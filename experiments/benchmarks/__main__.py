"""`python -m experiments.benchmarks`: measure speed, and returns beside other trainers."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from rlx.cli import run
from rlx.cli.errors import CommandError
from rlx.envs.registry import nearest

FOLDER = Path(__file__).parent

HELP = """\
usage: python -m experiments.benchmarks NAME [NAME ...] [OPTIONS]

Measure speed. Options go to each benchmark named; python -m experiments.benchmarks NAME --help lists them.

benchmarks:
{benchmarks}

examples:
  python -m experiments.benchmarks efficiency
  python -m experiments.benchmarks all --quick
"""


def main(arguments: Sequence[str]) -> int:
    """`python -m experiments.benchmarks [NAME …] [OPTIONS]`."""
    known = benchmarks()
    flags = next((i for i, word in enumerate(arguments) if word.startswith("-")), len(arguments))
    names, options = list(arguments[:flags]), list(arguments[flags:])
    if not names:
        if options and options[0] not in ("-h", "--help", "--list"):
            raise CommandError(f"{options[0]} needs the name of a benchmark before it; {nearest('', known)}")
        width = max(map(len, known), default=0)
        lines = "\n".join(f"  {name:<{width}}  {summary}" for name, summary in known.items())
        print(HELP.format(benchmarks=lines or "  none"), end="")
        return 0
    names = list(known) if names == ["all"] else names
    for name in names:
        if name not in known:
            raise CommandError(f"no benchmark {name!r}; {nearest(name, [*known, 'all'])}")
    for name in names:
        importlib.import_module(f"experiments.benchmarks.{name}").main(options)
    return 0


def benchmarks() -> dict[str, str]:
    """Name -> what it measures, of every module in the folder that has a `main`. None is imported."""
    found = {}
    for path in sorted(FOLDER.glob("[!_]*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body):
            found[path.stem] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return found


if __name__ == "__main__":
    sys.exit(run(main, sys.argv[1:]))
