"""`rlx plot`: learning curves of one or several runs in one picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from rlx.cli.errors import CommandError
from rlx.cli.outputs import check_out
from rlx.cli.parsing import parse
from rlx.recipes import trained
from rlx.training.metrics import MetricsTable

DESCRIPTION = """\
Draw learning curves: the interquartile mean over seeds, with its 95 % bootstrap interval. Each environment gets axes of
its own, on which a label keeps its color.

examples:
  rlx plot runs/NAME                                        a sweep gives one curve for each setting
  rlx plot runs/A runs/B --labels mine theirs --out ab.png
  rlx plot runs/A1 runs/A2 runs/B1 runs/B2 --labels sac td3 sac td3
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
    if not options.runs:
        raise CommandError("rlx plot needs a run folder")
    check_out(options.out, (".png", ".svg", ".pdf"))
    records = [trained.read(run) for run in options.runs]
    labels = options.labels or _labels([record.folder.path for record in records])
    if len(labels) != len(records):
        raise CommandError(f"--labels must name each of the {len(records)} runs, got {len(labels)}")
    groups: dict[str, dict[str, MetricsTable]] = {}
    for label, record in zip(labels, records):
        group = groups.setdefault(record.config.env_name, {})
        if label in group:
            raise CommandError(f"--labels must differ within an environment, got {', '.join(labels)}")
        group[label] = trained.read_metrics(record)

    from rlx.training import plots

    plots.learning_curves(groups, y=options.y, x=options.x, out=options.out, title=options.title, theme=options.theme)
    print(f"wrote {options.out}")
    return 0


def _labels(paths: Sequence[Path]) -> tuple[str, ...]:
    """The shortest ends of the paths that tell them apart."""
    parts = [path.resolve().parts for path in dict.fromkeys(paths)]
    depth = 1
    while len({part[-depth:] for part in parts}) < len(parts) and depth < max(map(len, parts)):
        depth += 1
    return tuple("/".join(path.resolve().parts[-depth:]) for path in paths)
