"""`rlx plot`: learning curves of one or several runs in one picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from rlx.cli.errors import CommandError
from rlx.cli.parsing import parse
from rlx.recipes import trained

DESCRIPTION = """\
Draw learning curves: the interquartile mean over seeds, with its 95 % bootstrap interval.

examples:
  rlx plot runs/NAME                                        a sweep gives one curve for each setting
  rlx plot runs/A runs/B --labels mine theirs --out ab.png
  rlx plot runs/NAME --y approximate_kl --x wall_time
"""


@dataclasses.dataclass(frozen=True)
class Options:
    """What to draw."""

    runs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(help="Run folders.", metavar="RUN [RUN ...]")]
    out: Annotated[str, tyro.conf.arg(help="Where to write: .png, .svg or .pdf.")] = "curve.png"
    y: Annotated[str, tyro.conf.arg(help="Metric; a column of metrics.parquet.")] = "eval_return_mean"
    x: Annotated[str | None, tyro.conf.arg(help="Time: env_steps, gradient_steps, update or wall_time.")] = None
    labels: Annotated[tuple[str, ...], tyro.conf.arg(help="A name for each run; None given: their folders'.")] = ()
    title: Annotated[str | None, tyro.conf.arg(help="Title of the picture.")] = None
    theme: Annotated[Literal["light", "dark"], tyro.conf.arg(help="Colors.")] = "light"


def main(arguments: Sequence[str]) -> int:
    """`rlx plot RUN …`."""
    options = parse(Options, arguments, prog="rlx plot", description=DESCRIPTION)
    folders = [trained.read(run).folder for run in options.runs]
    if not folders:
        raise CommandError("rlx plot needs a run folder")
    labels = options.labels or _labels([folder.path for folder in folders])
    if len(labels) != len(folders):
        raise CommandError(f"--labels must name each of the {len(folders)} runs, got {len(labels)}")
    if len(set(labels)) < len(labels):
        raise CommandError(f"--labels must differ, got {', '.join(labels)}")
    if Path(options.out).suffix.lower() not in (".png", ".svg", ".pdf"):
        raise CommandError(f"--out must end in .png, .svg or .pdf, got {options.out!r}")

    from rlx.training import plots

    plots.learning_curve(
        {label: folder.metrics for label, folder in zip(labels, folders)},
        y=options.y,
        x=options.x,
        out=options.out,
        title=options.title,
        theme=options.theme,
    )
    print(f"wrote {options.out}")
    return 0


def _labels(paths: Sequence[Path]) -> tuple[str, ...]:
    """The shortest ends of the paths that tell them apart."""
    parts = [path.resolve().parts for path in dict.fromkeys(paths)]
    depth = 1
    while len({part[-depth:] for part in parts}) < len(parts) and depth < max(map(len, parts)):
        depth += 1
    return tuple("/".join(path.resolve().parts[-depth:]) for path in paths)
