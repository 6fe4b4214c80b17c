"""What a finished run reached: `summary.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlx.training.compiled import params_digest
from rlx.training.metrics import MetricsTable, setting_label
from rlx.training.statistics import aggregate


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
    per_run = [
        {
            "seed": int(column["seed"][run]),
            "hyperparameters": (setting := {name: float(column[name][run]) for name in swept}),
            "label": setting_label(setting, table.choices),
            "final_return": _number(final[run]),
            "final_return_stochastic": _number(stochastic[run]),
            "params_sha256": params_digest(params, run),
            "diverged": diverged.get(run),
        }
        for run in range(len(final))
    ]
    settings = {}
    for run in per_run if swept else ():
        settings.setdefault(tuple(run["hyperparameters"].items()), []).append(run["final_return"])
    return {
        **{name: config.get(name) for name in ("algorithm", "env")},
        **totals,
        "num_runs": len(per_run),
        **_against_the_start(table),
        "final_return": aggregate(final),
        "runs": per_run,
        "settings": [
            {"hyperparameters": dict(setting), "label": setting_label(dict(setting), table.choices)}
            | aggregate([np.nan if value is None else value for value in values])
            for setting, values in settings.items()
        ],
    }


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
