"""`rlx ablate offline` and `rlx train LEARNER` on a dataset."""

import json

import numpy as np
import pytest

from rlx import cli, data
from rlx.cli.ablate_offline import LearnerScores, offline_learners, selection, selection_table
from rlx.recipes import make_program, recipe
from rlx.recipes.settings import settings


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Rows of the pendulum's shapes, which name it."""
    rng, rows = np.random.default_rng(0), 60
    last = np.arange(rows) % 20 == 19
    observation = rng.normal(size=(rows, 3))
    made = data.make_dataset(
        observation, rng.uniform(-2, 2, (rows, 1)), rng.normal(size=rows), observation, np.zeros(rows), last
    )
    path = tmp_path_factory.mktemp("data") / "pendulum.hdf5"
    data.write_dataset(path, made, {"env": "rlx:pendulum", "ref_min_score": -1000.0, "ref_max_score": 0.0})
    return str(path)


@pytest.mark.slow
def test_learners_side_by_side_leave_a_table_a_picture_and_a_summary(dataset, tmp_path, capsys):
    out = tmp_path / "comparison"
    words = [
        *("ablate", "offline", "--dataset", dataset, "--learners", "bc,bc@weighting=top@top_fraction=0.5"),
        *("--updates", "6", "--updates-per-step", "2", "--evaluations", "3", "--eval-episodes", "2", "--seeds", "2"),
        *("--quiet", "--run-dir", str(out)),
    ]
    assert cli.main(words) == 0
    printed = capsys.readouterr().out
    summary = json.loads((out / "summary.json").read_text())
    assert summary["metric"] == "eval_normalized_score" and list(summary["learners"]) == [
        "bc",
        "bc@weighting=top@top_fraction=0.5",
    ]
    for label, found in summary["learners"].items():
        assert len(found["score_per_seed"]) == 2 and found["evaluations_averaged"] == 3
        low, high = found["interval"]
        assert low <= found["interquartile_mean"] <= high
        assert found["best"]["chosen_among"] == 3 and found["updates_per_second"] > 0
        assert np.all(np.array(found["best"]["score_per_seed"]) >= found["score_per_seed"])
        config = json.loads((out / label / "config.json").read_text())
        assert config["env"] == "rlx:pendulum" and config["algorithm"] == "bc"
    assert summary["selection"]["bc"]["policies"] == 4 and "UCB bandit" in printed
    assert (out / "ablation.md").read_text() in printed and (out / "curve.png").stat().st_size > 0
    assert cli.main([*words, "--resume"]) == 0
    assert json.loads((out / "summary.json").read_text()) == summary


def test_settings_and_seeds_of_a_method_are_the_policies_that_a_bandit_chooses_among():
    of = lambda rows: LearnerScores(*[np.zeros(len(rows))] * 3, 2, 2, np.array(rows, float))
    scores = {
        "iql": of([[10.0, 12.0], [30.0, 32.0]]),
        "iql@expectile=0.9": of([[90.0, 92.0], [np.nan, np.nan]]),
        "bc": of([[5.0, 5.0]]),
    }
    found = selection(scores)
    assert list(found) == ["iql"] and found["iql"]["policies"] == 3
    curve = dict(zip(found["iql"]["budgets"], found["iql"]["score"]))
    # One evaluation chooses at random; three have seen all of them.
    np.testing.assert_allclose(curve[1], np.mean([11.0, 31.0, 91.0]), atol=4)
    assert curve[5] == curve[200] == pytest.approx(91.0)
    text = selection_table({"selection": found, "eval_episodes": 10})
    assert "| iql | 3 |" in text and "10 episodes" in text and selection_table({"selection": {}}) == ""


def test_each_bandit_has_some_of_many_policies():
    """As unifloral's code has it; the best of 20 of 200 is worth less than the best of all."""
    measured = np.repeat(np.arange(200.0)[:, None], 2, axis=1)
    found = selection({"iql": LearnerScores(*[np.zeros(200)] * 3, 2, 2, measured)})
    # Largest of 20 without replacement of 0 to 199: 20·201/21 − 1.
    np.testing.assert_allclose(found["iql"]["score"][-1], 20 * 201 / 21 - 1, atol=2)
    assert found["iql"]["policies"] == 200


@pytest.mark.parametrize(
    "words, message",
    [
        (["--learners", "bc,best"], "--learners must be among"),
        (["--learners", "bc,bc"], "different learners"),
        (["--learners", "td3_bc@alpha"], "LEARNER@NAME=VALUE"),
        (["--learners", "bc", "--resume"], "--resume needs --run-dir"),
        (["--learners", "bc", "--env", "none"], "estimate its return by rlx evaluate"),
        (["--learners", "bc", "--env", "rlx:point_maze", "--run-dir", "{}"], "name the environment"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained(words, message, dataset, tmp_path, capsys):
    words = [word.format(tmp_path / "run") for word in words]
    assert cli.main(["ablate", "offline", "--dataset", dataset, *words, "--quiet"]) != 0
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", offline_learners())
def test_every_field_of_a_learner_is_read(name, dataset):
    """One that nothing reads, inherited from another method, would be an option that does nothing."""
    found, read = recipe(name), set()

    class Watched(found.config):
        def __getattribute__(self, name):
            read.add(name)
            return super().__getattribute__(name)

    fields = set(settings(found.config))
    everything = {"bisimulation_weight": 0.1} if "bisimulation_weight" in fields else {}
    if found.config.sequence_length is None:
        everything["online_steps"] = 1000
    else:  # sequences are learned from a dataset alone
        fields -= {"online_steps", "num_envs", "updates_per_online_step", "mixing_ratio"}
    config = Watched(dataset=dataset, **everything)
    read.clear()  # the checks of values have read them all
    assert callable(make_program(found, config).step)
    assert fields <= read | {"total_steps"}, fields - read
