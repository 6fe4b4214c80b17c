"""What a finished run reached: `summary.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlx.training.compiled import params_digest
from rlx.training.metrics import MetricsTable, setting_label
from rlx.training.statistics import aggregate

LAST_EVALUATIONS = 10
"""Most evaluations at the end of a run whose mean is its normalized score; of a run with few, at most a tenth."""


def summarize(
    table: MetricsTable,
    params: Any,
    *,
    swept: Sequence[str],
    diverged: Mapping[int, Mapping[str, Any]],
    config: Mapping[str, Any],
    **totals: Any,
) -> dict[str, Any]:
    """Final returns by seed and by setting, with intervals and digests of the parameters.

    Runs that are scored (`eval_normalized_score`) have their score at the end beside: the mean over the last
    evaluations, as papers on learning from datasets report it.

    Args:
        table: all rows of metrics.
        params: of the learners at the end, host arrays with a leading axis `[run]`.
        swept: names of swept hyperparameters.
        diverged: what a `Guard` noticed.
        config: what `config.json` holds.
        **totals: further entries.
    """
    last = np.asarray(table["update"]) == np.max(table["update"])
    column = {name: np.ma.filled(values[last].astype(float), np.nan) for name, values in table.columns.items()}
    nothing = np.full(last.sum(), np.nan)
    # A run that diverged has no final return, whatever its last evaluation says.
    final = np.where([run in diverged for run in range(last.sum())], np.nan, column.get("eval_return_mean", nothing))
    stochastic = column.get("eval_stochastic_return_mean", nothing)
    averaged, scores = _last_scores(table, diverged)
    per_run = [
        {
            "seed": int(column["seed"][run]),
            "hyperparameters": (setting := {name: float(column[name][run]) for name in swept}),
            "label": setting_label(setting, table.choices),
            "final_return": _number(final[run]),
            "final_return_stochastic": _number(stochastic[run]),
            **({"normalized_score": _number(scores[run])} if averaged else {}),
            "params_sha256": params_digest(params, run),
            "diverged": diverged.get(run),
        }
        for run in range(len(final))
    ]
    settings = {}
    for run in per_run if swept else ():
        settings.setdefault(tuple(run["hyperparameters"].items()), []).append(run)
    values = lambda of, name: [np.nan if run[name] is None else run[name] for run in of]
    return {
        **{name: config.get(name) for name in ("algorithm", "env")},
        **totals,
        "num_runs": len(per_run),
        **_against_the_start(table),
        "final_return": aggregate(final),
        **({"normalized_score": aggregate(scores) | {"evaluations_averaged": averaged}} if averaged else {}),
        "runs": per_run,
        "settings": [
            {"hyperparameters": dict(setting), "label": setting_label(dict(setting), table.choices)}
            | aggregate(values(of, "final_return"))
            | ({"normalized_score": aggregate(values(of, "normalized_score"))} if averaged else {})
            for setting, of in settings.items()
        ],
    }


def _last_scores(table: MetricsTable, diverged: Mapping[int, Any]) -> tuple[int, np.ndarray]:
    """How many of the last evaluations count, and the mean score `[run]` over them; none for runs without a score."""
    if "eval_normalized_score" not in table:
        return 0, np.empty(0)
    update = np.asarray(table["update"])
    score = np.ma.filled(table["eval_normalized_score"].astype(float), np.nan)
    evaluated = np.unique(update[~np.ma.getmaskarray(table["eval_normalized_score"])])
    averaged = int(np.clip(len(evaluated) // 10, 1, LAST_EVALUATIONS))
    rows = np.array([score[update == when] for when in evaluated[-averaged:]])
    if not len(rows):
        return 0, np.empty(0)
    last = rows.mean(axis=0)
    last[[run for run in diverged if run < len(last)]] = np.nan
    return averaged, last


def _against_the_start(table: MetricsTable) -> dict[str, Any]:
    """What runs began with, and how many evaluations fell below it, in the interquartile mean over runs.

    Empty for runs whose start is not evaluated.
    """
    update = np.asarray(table["update"])
    if np.min(update) > 0:
        return {}
    measured = table["eval_return_mean"].astype(float)
    at = {u: np.ma.filled(measured[update == u], np.nan) for u in np.unique(update[~np.ma.getmaskarray(measured)])}
    start, *later = (aggregate(values) for _, values in sorted(at.items()))
    level = -np.inf if start["interquartile_mean"] is None else start["interquartile_mean"]
    below = sum(of["interquartile_mean"] is not None and of["interquartile_mean"] < level for of in later)
    return {"start_return": start, "evaluations": len(later), "evaluations_below_start": below}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
