"""The score of a run over its last evaluations, as papers on learning from datasets report it."""

import numpy as np
import pytest

from rlx.training.metrics import MetricsTable
from rlx.training.summary import summarize


def table(reports, evaluated_every=1, scored=True):
    """Two runs, whose scores are the number of the update, and 100 more."""
    made = MetricsTable()
    for update in range(1, reports + 1):
        score = np.array([update, 100.0 + update])
        score = score if update % evaluated_every == 0 else np.ma.masked_all(2)
        scores = {"eval_normalized_score": score} if scored else {}
        made.append(
            {"seed": np.arange(2), "update": update, "gradient_steps": update, "eval_return_mean": score} | scores
        )
    return made


def summary(made, diverged=()):
    params = {"weight": np.zeros((2, 1), np.float32)}
    lost = {run: {"metric": "q", "update": 1} for run in diverged}
    return summarize(made, params, swept=(), diverged=lost, config={"algorithm": "iql", "env": "rlx:pendulum"})


@pytest.mark.parametrize(
    "reports, every, averaged, expected",
    [(200, 1, 10, 195.5), (200, 4, 5, 192.0), (20, 1, 2, 19.5), (10, 1, 1, 10.0), (3, 1, 1, 3.0)],
)
def test_it_is_the_mean_of_the_last_ten_or_of_a_tenth_of_few(reports, every, averaged, expected):
    found = summary(table(reports, every))
    assert found["normalized_score"]["evaluations_averaged"] == averaged
    assert [run["normalized_score"] for run in found["runs"]] == [expected, expected + 100]
    assert found["normalized_score"]["interquartile_mean"] == expected + 50


def test_each_setting_of_a_sweep_has_its_own():
    made = MetricsTable()
    for update in (1, 2):
        score = np.array([1.0, 2.0, 30.0, 40.0]) * update
        rows = {"seed": np.array([0, 1, 0, 1]), "beta": np.array([1.0, 1.0, 9.0, 9.0]), "update": update}
        made.append(rows | {"eval_return_mean": score, "eval_normalized_score": score})
    params = {"weight": np.zeros((4, 1), np.float32)}
    found = summarize(made, params, swept=("beta",), diverged={}, config={})
    scores = {x["hyperparameters"]["beta"]: x["normalized_score"]["interquartile_mean"] for x in found["settings"]}
    assert scores == {1.0: 3.0, 9.0: 70.0}


def test_a_diverged_run_has_none():
    found = summary(table(20), diverged=(1,))
    assert [run["normalized_score"] for run in found["runs"]] == [19.5, None]
    assert found["normalized_score"]["num_finite"] == 1


def test_runs_without_a_score_are_as_they_were():
    found = summary(table(20, scored=False))
    assert "normalized_score" not in found and "normalized_score" not in found["runs"][0]
