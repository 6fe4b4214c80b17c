"""From runs to verdicts: paired differences with bootstrap intervals, kept as JSON and shown as a page."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from experiments.claims.history import EARLIER_DESIGNS
from rlx.training.statistics import bootstrap_interval, interquartile_mean

RESULTS = Path(__file__).parent / "results"
PICTURES = Path(__file__).parents[2] / "docs" / "claims"


class Finding(NamedTuple):
    """One measured statement.

    Attributes:
        statement: what is expected, in words.
        measure: what the numbers are, with their unit.
        method: its values `[seed]`.
        baseline: what they are compared with, `[seed]`, or one number for a threshold.
        direction: where the method should lie.
    """

    statement: str
    measure: str
    method: np.ndarray
    baseline: np.ndarray | float
    direction: Literal["higher", "lower"] = "higher"


class Size(NamedTuple):
    """How much a claim is tried: `Size()` for the record, `QUICK` to see that it runs."""

    num_seeds: int = 32
    num_updates: int = 200

    @property
    def learning_rates(self) -> tuple[float, ...]:
        from experiments.claims.training import LEARNING_RATES

        return LEARNING_RATES if self.num_seeds > 2 else LEARNING_RATES[1:2]


QUICK = Size(num_seeds=2, num_updates=3)


class Curves(NamedTuple):
    """What a claim's picture shows.

    Attributes:
        x: along the horizontal axis `[point]`.
        x_label: what that is.
        y_label: what the values are.
        panels: title of a panel → name of a line → its values `[seed, point]`.
    """

    x: np.ndarray
    x_label: str
    y_label: str
    panels: Mapping[str, Mapping[str, np.ndarray]]


class Claim(NamedTuple):
    """A paper's claim and how it is tried.

    Attributes:
        method: its short name.
        paper: authors, year and arXiv identifier.
        functions: what of rlx it uses, beside its baseline's.
        run: from a size to findings, the settings that were chosen (learning rates above all) and, where it has a
            picture, its curves.
        size: of the record.
        quick: to see that it runs.
        bench: which of `BENCHES` it is tried on.
    """

    method: str
    paper: str
    functions: tuple[str, ...]
    run: Callable[[Size], tuple]
    size: Size = Size()
    quick: Size = QUICK
    bench: str = "tabular"


def claims() -> dict[str, Claim]:
    """All claims by name, from the modules of this package that have a table `CLAIMS`."""
    package = importlib.import_module("experiments.claims")
    modules = [importlib.import_module(f"experiments.claims.{m.name}") for m in pkgutil.iter_modules(package.__path__)]
    found = {name: claim for module in modules for name, claim in getattr(module, "CLAIMS", {}).items()}
    return dict(sorted(found.items()))


def best_of(choices: Sequence[Any], scores: Sequence[np.ndarray]) -> Any:
    """The choice whose scores `[seed]` have the highest interquartile mean; one that diverged has none."""
    means = [float(interquartile_mean(of_choice)) for of_choice in scores]
    return choices[int(np.argmax(np.nan_to_num(means, nan=-np.inf)))]


def judge(finding: Finding) -> dict[str, Any]:
    """A finding as numbers for JSON, with its verdict.

    Runs are paired by seed. The statement is "shown" where the 95 % bootstrap interval of the interquartile mean of
    the differences lies on the expected side of 0, "contradicted" where it lies on the other side, "open" otherwise.
    A run that diverged counts as the worst of its kind.
    """
    sign = 1.0 if finding.direction == "higher" else -1.0
    method = np.asarray(finding.method, np.float64)
    baseline = np.broadcast_to(np.asarray(finding.baseline, np.float64), method.shape)
    finite = np.concatenate([method[np.isfinite(method)], baseline[np.isfinite(baseline)]])
    worst = sign * np.min(sign * finite) if finite.size else 0.0
    method, baseline = (np.where(np.isfinite(x), x, worst) for x in (method, baseline))
    low, high = (float(end) for end in bootstrap_interval(method - baseline))
    favorable = sign * np.array([low, high])
    verdict = "shown" if favorable.min() > 0 else "contradicted" if favorable.max() < 0 else "open"
    return {
        "statement": finding.statement,
        "measure": finding.measure,
        "direction": finding.direction,
        "method": float(interquartile_mean(method)),
        "baseline": float(interquartile_mean(baseline)),
        "difference": float(interquartile_mean(method - baseline)),
        "interval": [low, high],
        "num_seeds": len(method),
        "verdict": verdict,
    }


def record(name: str, claim: Claim, size: Size) -> tuple[dict[str, Any], Curves | None]:
    """Try a claim: what `results/NAME.json` holds, and what its picture shows."""
    findings, settings, *curves = claim.run(size)
    return {
        "name": name,
        "method": claim.method,
        "paper": claim.paper,
        "bench": claim.bench,
        "functions": list(claim.functions),
        "num_updates": size.num_updates,
        "settings": dict(settings),
        "has_picture": bool(curves),
        "findings": [judge(finding) for finding in findings],
    }, curves[0] if curves else None


def save(result: Mapping[str, Any], curves: Curves | None = None, directory: Path = RESULTS) -> Path:
    """Write a record to `NAME.json` of a folder and its picture to `NAME.png`; the project's go to the page's."""
    path = directory / f"{result['name']}.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    if curves is not None:
        from rlx.training import plots

        pictures = PICTURES if directory == RESULTS else directory
        pictures.mkdir(parents=True, exist_ok=True)
        plots.panels(
            curves.panels,
            curves.x,
            x_label=curves.x_label,
            y_label=curves.y_label,
            out=pictures / f"{result['name']}.png",
            title=result["method"],
        )
    return path


def results(directory: Path = RESULTS) -> list[dict[str, Any]]:
    """The records there are, by name."""
    return [json.loads(path.read_text()) for path in sorted(directory.glob("*.json"))]


PAGE = """\
# Claims of papers, tried

Generated by `make docs` from `experiments/claims/results`, which `python -m experiments.claims NAME` measures. Method
and baseline see the same seeds, the same number of samples and gradient steps, and grids of hyperparameters of the same
size, from which each takes its best on seeds apart. Numbers are interquartile means over seeds; the interval is the
95 % bootstrap interval of the paired difference. A statement is **shown** where that interval lies on the expected side
of zero, **contradicted** where it lies on the other side, and **open** otherwise. A verdict says on which side a
difference lies, not that it matters: read it with its size.

Of {count} statements {shown} are shown, {open} are open and {contradicted} are contradicted.
"""

BENCHES = {
    "tabular": (
        "Tabular problems",
        """\
Bandits, trees and small languages. Policies are softmax tables, so success rates and entropies are exact. A table is no
network: where prompts share no parameters, nothing transfers between them, and a paper's effect may need that.""",
        "updates",
    ),
    "datasets": (
        "Learning from datasets",
        """\
Point maze, pendulum and Brax's hopper, with logs made here. Scores are normalized: 0 is a random policy, 100 the best
behavior (a controller for maze and pendulum, the trained policy for the hopper). The score of a run is the mean of its
last evaluations.""",
        "gradient steps",
    ),
    "tokens": (
        "Language models",
        """\
Transformers of two layers on problems whose answers are verified. Each seed has one policy, warmed up on the task's own
solutions, which method and baseline both start from. Accuracy is that of samples at temperature 1 on held-out prompts,
the mean of a run's last two evaluations, and decides which of three learning rates a side takes.""",
        "updates of 128 responses",
    ),
}
"""What claims are tried on: heading, what to know of it, and what their sizes count."""


def markdown(records: Sequence[Mapping[str, Any]]) -> str:
    """The verdicts as a page."""
    verdicts = [finding["verdict"] for record in records for finding in record["findings"]]
    lines = [PAGE.format(count=len(verdicts), **{v: verdicts.count(v) for v in ("shown", "open", "contradicted")})]
    for bench, (heading, text, unit) in BENCHES.items():
        of_bench = [record for record in records if record["bench"] == bench]
        if of_bench:
            lines += [f"## {heading}", "", text, "", *_table(of_bench), "", "### Settings", ""]
            lines += [*(_settings(record, unit) for record in of_bench), ""]
    measured = {record["name"] for record in records}
    if waiting := [f"`{name}` ({claim.method})" for name, claim in claims().items() if name not in measured]:
        lines += ["## Not measured yet", "", f"Written, and not run at full size: {', '.join(waiting)}.", ""]
    lines += ["## Designs that came before", ""]
    lines += ["A design that is chosen after a result must say so: these were, and their verdicts count for less.", ""]
    lines += [
        f"- {record['method']}: {EARLIER_DESIGNS[record['name']]}."
        for record in records
        if record["name"] in EARLIER_DESIGNS
    ]
    return "\n".join(lines) + "\n"


def _table(records: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = ["| method | statement | measure | method | baseline | difference [95 %] | seeds | verdict |"]
    lines += ["| --- | --- | --- | --- | --- | --- | --- | --- |"]
    for record in records:
        for i, finding in enumerate(record["findings"]):
            low, high = finding["interval"]
            cells = [
                f"**{record['method']}** {record['paper']}" if i == 0 else "",
                finding["statement"],
                finding["measure"],
                f"{finding['method']:.3g}",
                f"{finding['baseline']:.3g}",
                f"{finding['difference']:+.3g} [{low:+.3g}, {high:+.3g}]",
                str(finding["num_seeds"]),
                finding["verdict"],
            ]
            # A bar inside a cell, as around an absolute value, would end it.
            lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    pictures = [record for record in records if record["has_picture"]]
    for record in pictures:
        lines += ["", f"![{record['method']}](claims/{record['name']}.png)"]
    return lines


def _settings(record: Mapping[str, Any], unit: str) -> str:
    settings = ", ".join(f"{key}: {value}" for key, value in record["settings"].items())
    functions = ", ".join(f"`{function}`" for function in record["functions"])
    return f"- {record['method']} ({functions}): {record['num_updates']:,} {unit}; {settings}."
