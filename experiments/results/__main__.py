"""`python -m experiments.results`: write docs/results from the records."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from rlx.cli import run
from rlx.cli.parsing import parse

DESCRIPTION = """\
Write the pages of measurements, one of each benchmark and an index, from the records in experiments/benchmarks/results
and experiments/results. Nothing is measured: `python -m experiments.benchmarks NAME` does that.

examples:
  python -m experiments.results
  python -m experiments.results --out FOLDER
"""


@dataclasses.dataclass(frozen=True)
class Options:
    """Where to."""

    out: str = str(Path(__file__).parents[2] / "docs" / "results")
    """Folder of the pages, which link to records and pictures as from docs/results."""


def main(arguments: Sequence[str]) -> int:
    """`python -m experiments.results`."""
    options = parse(Options, arguments, prog="python -m experiments.results", description=DESCRIPTION)
    from experiments.results.pages import written

    folder = Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in written().items():
        (folder / name).write_text(text, encoding="utf-8")
        print(f"wrote {name}")
    return 0


if __name__ == "__main__":
    sys.exit(run(main, sys.argv[1:]))
