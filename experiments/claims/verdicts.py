"""From runs to verdicts: paired differences with bootstrap intervals, kept as JSON and shown as a page."""

from __future__ import annotations

import dataclasses
import importlib
import json
import pkgutil
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from experiments.claims import tuning
from experiments.claims.history import EARLIER_DESIGNS
from rlx.training.statistics import interquartile_mean

RESULTS = Path(__file__).parent / "results"
PICTURES = Path(__file__).parents[2] / "docs" / "claims"


@dataclasses.dataclass(frozen=True, eq=False)
class Finding:
    """One measured statement.

    Attributes:
        statement: what is expected, in words.
        measure: what the numbers are, with their unit.
        method: its values `[seed]`.
        baseline: what they are compared with, `[seed]`, or one number for a threshold.
        direction: where the method should lie.
        source: who expects it: the paper, or whoever wrote the claim.
        statistic: over seeds. The mean, where a claim is about the few seeds that an interquartile mean leaves out.
        data: what is learned from, where the claim's other findings have other data.
    """

    statement: str
    measure: str
    method: np.ndarray
    baseline: np.ndarray | float
    direction: Literal["higher", "lower"] = "higher"
    _: dataclasses.KW_ONLY
    source: Literal["paper", "prediction"]
    statistic: Literal["interquartile_mean", "mean"] = "interquartile_mean"
    data: str = ""


STATISTICS = {"interquartile_mean": interquartile_mean, "mean": np.mean}
RESAMPLES = 10_000
LEVEL = 0.05


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
        data: what is learned from, where it is the same for all findings.
        right_bench: where the paper's effect would show and what it would look like there, if it cannot show here; a
            sentence without its full stop.
    """

    method: str
    paper: str
    functions: tuple[str, ...]
    run: Callable[[Size], tuple]
    size: Size = Size()
    quick: Size = QUICK
    bench: str = "tabular"
    data: str = ""
    right_bench: str = ""


def claims() -> dict[str, Claim]:
    """All claims by name, from the modules of this package that have a table `CLAIMS`."""
    package = importlib.import_module("experiments.claims")
    modules = [importlib.import_module(f"experiments.claims.{m.name}") for m in pkgutil.iter_modules(package.__path__)]
    found = {name: claim for module in modules for name, claim in getattr(module, "CLAIMS", {}).items()}
    return dict(sorted(found.items()))


def judge(finding: Finding) -> dict[str, Any]:
    """A finding as numbers for JSON, without a verdict yet.

    Runs are paired by seed. `interval` is the 95 % bootstrap interval of the statistic of the differences, `p` the
    level at which such an interval would reach 0, and at least 2 / (resamples + 1). A run that diverged counts as the
    worst of its kind.
    """
    sign = 1.0 if finding.direction == "higher" else -1.0
    method = np.asarray(finding.method, np.float64)
    baseline = np.broadcast_to(np.asarray(finding.baseline, np.float64), method.shape)
    finite = np.concatenate([method[np.isfinite(method)], baseline[np.isfinite(baseline)]])
    worst = sign * np.min(sign * finite) if finite.size else 0.0
    method, baseline = (np.where(np.isfinite(x), x, worst) for x in (method, baseline))
    statistic, difference = STATISTICS[finding.statistic], method - baseline
    runs = np.random.default_rng(0).integers(len(difference), size=(RESAMPLES, len(difference)))
    estimates = statistic(difference[runs], axis=1)
    low, high = np.quantile(estimates, [0.025, 0.975])
    beyond = min(np.sum(estimates <= 0), np.sum(estimates >= 0)) + 1
    return {
        "statement": finding.statement,
        "source": finding.source,
        "data": finding.data,
        "measure": finding.measure,
        "direction": finding.direction,
        "statistic": finding.statistic,
        "method": float(statistic(method, axis=0)),
        "baseline": float(statistic(baseline, axis=0)),
        "difference": float(statistic(difference, axis=0)),
        "interval": [float(low), float(high)],
        "p": float(min(1.0, 2 * beyond / (RESAMPLES + 1))),
        "num_seeds": len(method),
        "per_seed": {"method": tuning.numbers(method), "baseline": tuning.numbers(baseline)},
    }


def with_verdicts(judged: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The findings of a claim with their verdicts, which allow for how many statements the claim makes.

    A statement is "shown" where the difference lies on the expected side and its p-value, multiplied as Holm (1979)
    does, is below 5 %; "contradicted" where the difference lies on the other side; "open" otherwise.
    """
    order = np.argsort([finding["p"] for finding in judged], kind="stable")
    adjusted = np.empty(len(judged))
    adjusted[order] = np.maximum.accumulate([(len(judged) - i) * judged[k]["p"] for i, k in enumerate(order)])
    found = []
    for finding, p in zip(judged, np.minimum(adjusted, 1.0), strict=True):
        expected = (finding["difference"] > 0) == (finding["direction"] == "higher")
        verdict = "open" if p >= LEVEL else "shown" if expected else "contradicted"
        found.append({**finding, "p_holm": float(p), "verdict": verdict})
    return found


def _of_picture(curves: Curves) -> dict[str, Any]:
    panels = {
        title: {name: [tuning.numbers(of_seed) for of_seed in np.asarray(values)] for name, values in lines.items()}
        for title, lines in curves.panels.items()
    }
    return curves._asdict() | {"x": tuning.numbers(curves.x), "panels": panels}


def record(name: str, claim: Claim, size: Size) -> dict[str, Any]:
    """Try a claim: what `results/NAME.json` holds, from which page and picture are made."""
    with tuning.recorded() as choices:
        findings, settings, *curves = claim.run(size)
    return {
        "name": name,
        "method": claim.method,
        "paper": claim.paper,
        "bench": claim.bench,
        "functions": list(claim.functions),
        "num_updates": size.num_updates,
        "settings": dict(settings),
        "choices": choices,
        "has_picture": bool(curves),
        "findings": with_verdicts([judge(finding) | {"data": finding.data or claim.data} for finding in findings]),
        "curves": _of_picture(curves[0]) if curves else None,
    }


def save(result: Mapping[str, Any], directory: Path = RESULTS) -> Path:
    """Write a record to `NAME.json` of a folder and its picture to `NAME.png`; the project's go to the page's."""
    path = directory / f"{result['name']}.json"
    text = json.dumps(result, indent=1, ensure_ascii=False)
    # The innermost lists, mostly of a number for each seed, on a line each.
    text = re.sub(r"\[\n *([^][{}]*?)\n *\]", lambda found: "[" + re.sub(r"\n *", " ", found[1]) + "]", text)
    path.write_text(text + "\n")
    draw(result, PICTURES if directory == RESULTS else directory)
    return path


def draw(result: Mapping[str, Any], directory: Path = PICTURES) -> None:
    """Write the picture of a record to `NAME.png`, if it holds curves."""
    if not (curves := result.get("curves")):
        return
    from rlx.training import plots

    directory.mkdir(parents=True, exist_ok=True)
    panels = {
        title: {name: np.array(values, float) for name, values in lines.items()}
        for title, lines in curves["panels"].items()
    }
    plots.panels(
        panels,
        np.array(curves["x"]),
        x_label=curves["x_label"],
        y_label=curves["y_label"],
        out=directory / f"{result['name']}.png",
        title=result["method"],
    )


def results(directory: Path = RESULTS) -> list[dict[str, Any]]:
    """The records there are, by name."""
    return [json.loads(path.read_text()) for path in sorted(directory.glob("*.json"))]


PAGE = """\
# Claims of papers, tried

Generated by `make docs` from `experiments/claims/results`, which `python -m experiments.claims NAME` measures. Method
and baseline see the same seeds, the same number of samples and gradient steps, and the same grids of hyperparameters,
from which each takes its best on seeds apart; where the best lies at the edge of a grid, the next values are tried too.
Numbers are statistics over seeds, interquartile means unless a measure says that it is the mean; the interval is the
95 % bootstrap interval of the paired difference. p is the level at which such an interval would reach zero, multiplied
for the number of statements that a claim makes (Holm, 1979), and at least 0.0002 before that. A statement is **shown**
where p is below 0.05 and the difference lies on the expected side, **contradicted** where it is and lies on the other
side, and **open** otherwise. A verdict says on which side a difference lies, not that it matters: read it with its
size. "Expected by" tells what the paper says from what we predicted, such as a threshold, a comparison or a control of
our own. Where a dash stands there and under p, a claim was measured before settings were chosen in this way, and before
its data were as they are described: its verdict counts for less.

Of {count} statements {shown} are shown, {open} are open and {contradicted} are contradicted. {of_papers} of them are
said by papers; of these {of_papers_shown} are shown and {of_papers_contradicted} contradicted.
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
the mean of a run's last two evaluations, and decides which learning rate a side takes.""",
        "updates of 128 responses",
    ),
}
"""What claims are tried on: heading, what to know of it, and what their sizes count."""


def markdown(records: Sequence[Mapping[str, Any]]) -> str:
    """The verdicts as a page."""
    findings = [finding for record in records for finding in record["findings"]]
    of_all, of_papers = (
        [finding["verdict"] for finding in findings if source in (None, finding.get("source"))]
        for source in (None, "paper")
    )
    counts = {verdict: of_all.count(verdict) for verdict in ("shown", "open", "contradicted")}
    counts |= {f"of_papers_{verdict}": of_papers.count(verdict) for verdict in ("shown", "contradicted")}
    known, lines = claims(), [PAGE.format(count=len(of_all), of_papers=len(of_papers), **counts)]
    for bench, (heading, text, unit) in BENCHES.items():
        of_bench = [record for record in records if record["bench"] == bench]
        if of_bench:
            lines += [f"## {heading}", "", text, "", *_table(of_bench), "", "### Settings", ""]
            lines += [*(_settings(record, unit, known.get(record["name"])) for record in of_bench), ""]
    measured = {record["name"] for record in records}
    if waiting := [f"`{name}` ({claim.method})" for name, claim in known.items() if name not in measured]:
        lines += ["## Not measured yet", "", f"Written, and not run at full size: {', '.join(waiting)}.", ""]
    lines += ["## Designs that came before", ""]
    lines += ["A design that is chosen after a result must say so: these were, and their verdicts count for less.", ""]
    lines += [
        f"- {record['method']}: {EARLIER_DESIGNS[record['name']]}."
        for record in records
        if record["name"] in EARLIER_DESIGNS
    ]
    return "\n".join(lines) + "\n"


EXPECTED_BY = {"paper": "the paper", "prediction": "us"}


def _table(records: Sequence[Mapping[str, Any]]) -> list[str]:
    has_data = any(finding.get("data") for record in records for finding in record["findings"])
    titles = ["method", "statement", "expected by", *["data"] * has_data, "measure"]
    titles += ["method", "baseline", "difference [95 %]", "seeds", "p"]
    lines = [f"| {' | '.join(titles)} | verdict |", f"| {'--- | ' * len(titles)}--- |"]
    for record in records:
        for i, finding in enumerate(record["findings"]):
            low, high = finding["interval"]
            is_mean = finding.get("statistic") == "mean"
            cells = [
                f"**{record['method']}** {record['paper']}" if i == 0 else "",
                finding["statement"],
                EXPECTED_BY.get(finding.get("source"), "–"),
                *[finding.get("data") or "–"] * has_data,
                finding["measure"] + "; mean over seeds" * is_mean,
                f"{finding['method']:.3g}",
                f"{finding['baseline']:.3g}",
                f"{finding['difference']:+.3g} [{low:+.3g}, {high:+.3g}]",
                str(finding["num_seeds"]),
                f"{finding['p_holm']:.2g}" if "p_holm" in finding else "–",
                finding["verdict"],
            ]
            # A bar inside a cell, as around an absolute value, would end it.
            lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    pictures = [record for record in records if record["has_picture"]]
    for record in pictures:
        lines += ["", f"![{record['method']}](claims/{record['name']}.png)"]
    return lines


def _settings(record: Mapping[str, Any], unit: str, claim: Claim | None) -> str:
    settings = ", ".join(f"{key}: {value}" for key, value in record["settings"].items())
    functions = ", ".join(f"`{function}`" for function in record["functions"])
    text = f"{record['num_updates']:,} {unit}; {settings}"
    if choices := record.get("choices"):
        at_ends = [
            f"{name} {choice['chosen'][name]:g}"
            for choice in choices
            for name, place in choice["at"].items()
            if place != "inside"
        ]
        count = len(choices)
        text += f". {count} choice{'s' * (count != 1)} of settings, "
        text += f"at the bound of a ladder: {', '.join(at_ends)}" if at_ends else "each best inside of what was tried"
    if claim and claim.right_bench:
        text += f". {claim.right_bench}"
    return f"- {record['method']} ({functions}): {text}."
