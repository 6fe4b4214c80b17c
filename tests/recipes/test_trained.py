"""Reading run folders: what a person gets to know of one that is damaged, and which checkpoint is taken."""

import dataclasses
import json
import os

import numpy as np
import pytest

from rlx.recipes import recipe, trained
from rlx.training import checkpoints
from rlx.training.metrics import MetricsTable
from rlx.training.runs import FORMAT, RunError

PLAN = {"seeds": 2, "first_seed": 0, "sweep": {}, "reports": 3, "evaluations": 3, "num_updates": 3}


def write_run(path, algorithm="ppo", *, rows=3, runs=2, **changes):
    """A run folder without checkpoints, as training leaves it but for `changes` of its plan."""
    values = dataclasses.asdict(recipe(algorithm).config()) | PLAN | {"updates_per_report": 1} | changes
    path.mkdir()
    saved = {"format": FORMAT, "algorithm": algorithm, "env": values.get("env", ""), "config": values}
    (path / "config.json").write_text(json.dumps(saved))
    table = MetricsTable()
    for update in range(1, rows + 1):
        table.append(
            {"seed": np.arange(runs), "update": update, "env_steps": 8 * update, "eval_return_mean": np.arange(runs)}
        )
    if rows:
        table.write(path / "metrics.parquet")
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sweep": []}, "sweep must be an object of lists"),
        ({"sweep": {"learning_rate": 0.1}}, "sweep must hold a list of values of learning_rate"),
        ({"sweep": {"learning_rate": []}}, "sweep must hold a list of values of learning_rate"),
        ({"sweep": {"learning_rate": ["a"]}}, "learning_rate must be a number"),
        ({"sweep": {"num_envs": [1]}}, "sweep names 'num_envs', which cannot be swept"),
        ({"seeds": "8"}, "seeds must be a number, got '8'"),
        ({"seeds": 0}, "seeds must be in"),
        ({"seeds": None}, "seeds must be a number, got None"),
        ({"num_updates": -3}, "num_updates must be in"),
        ({"num_updates": 1.5}, "num_updates must be a whole number"),
        ({"num_updates": float("inf")}, "num_updates must be"),
        ({"replay_in_checkpoints": 1}, "replay_in_checkpoints must be True or False"),
        ({"hidden_sizes": [[1]]}, "hidden_sizes must be a number"),
        ({"hidden_sizes": {"a": 1}}, "hidden_sizes must be a tuple"),
        ({"learning_rate": "fast"}, "learning_rate must be a number"),
        ({"learning_rate": 10**400}, "config.json"),
        ({"env": 3}, "env must be a string"),
    ],
    ids=str,
)
def test_a_value_that_no_run_has_is_named(tmp_path, changes, message):
    write_run(tmp_path / "run", **changes)
    with pytest.raises(RunError, match=message) as error:
        trained.read(tmp_path / "run")
    assert "config.json" in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 500


def _folder(path):
    path.unlink()
    path.mkdir()


def _pipe(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_folder, "config.json must be a file"),
        (_pipe, "config.json must be a file"),
        (lambda path: path.unlink(), "is not a run folder: it has no config.json"),
        (lambda path: path.write_text('{"config":' * 100_000), "config.json is not readable as JSON"),
        (lambda path: path.write_text("[1]"), "config.json must hold a JSON object, got list"),
        (lambda path: path.write_text("{}"), "is not the config of a run of rlx train"),
        (lambda path: path.write_text('{"config": {}, "algorithm": ["ppo"]}'), "is not the config of a run"),
        (lambda path: path.write_text('{"config": {}, "algorithm": "ppo", "format": 99}'), "is a run of a later rlx"),
        (lambda path: path.write_text('{"config": {}, "algorithm": "ppo", "format": 2}'), "seeds must be a number"),
        (lambda path: path.write_text('{"config": {}, "algorithm": "pop", "format": 2}'), "did you mean ppo"),
        (lambda path: path.write_bytes(b"\x80\x04}."), "config.json is not readable as JSON"),
    ],
)
def test_a_config_that_is_none_is_named(tmp_path, damage, message):
    damage(write_run(tmp_path / "run") / "config.json")
    with pytest.raises(RunError, match=message) as error:
        trained.read(tmp_path / "run")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": 0}, "metrics.parquet"),
        ({"runs": 5}, "holds 5 runs, config.json says 2"),
        ({"sweep": {"clip": [0.1, 0.2]}}, "must begin with the columns seed, clip, update"),
    ],
    ids=str,
)
def test_metrics_of_another_run_are_refused(tmp_path, options, message):
    record = trained.read(write_run(tmp_path / "run", **options))
    with pytest.raises(RunError, match=message):
        trained.read_metrics(record)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"\x80\x04}."])
def test_metrics_that_are_none_are_named(tmp_path, content):
    record = trained.read(write_run(tmp_path / "run"))
    record.folder.metrics.write_bytes(content)
    with pytest.raises(RunError, match="metrics.parquet"):
        trained.read_metrics(record)


def test_settings_that_differ_little_are_told_apart():
    rows = {"seed": np.zeros(2, int), "learning_rate": np.array([1e-9, 2e-9]), "update": 1, "eval_return_mean": [0, 1]}
    table = MetricsTable(rows | {"eval_return_mean": np.array([1.0, 0.0])})
    assert trained.choose_member(table, setting={"learning_rate": 2e-9}).index == 1


@pytest.mark.parametrize("wanted", ["²", "9" * 5000, "-1", "01"])
def test_a_number_that_is_no_checkpoint_is_said(wanted):
    with pytest.raises(RunError, match="no checkpoint .*; there are best, latest, 1, 2"):
        trained.choose_checkpoint([1, 2], MetricsTable(), trained.Member(0, 0, {}), wanted)


@pytest.mark.parametrize(("wanted", "order"), [("best", [2, 3, 1]), ("latest", [3, 2, 1]), (1, [1])])
def test_other_checkpoints_stand_in_for_the_best_and_the_latest(tmp_path, monkeypatch, wanted, order):
    record = trained.read(write_run(tmp_path / "run"))
    for update in (1, 2, 3):
        (record.folder.checkpoints / str(update)).mkdir(parents=True)
    table = MetricsTable()
    for update, value in ((1, 1.0), (2, 3.0), (3, 2.0)):
        table.append({"seed": np.arange(2), "update": update, "eval_return_mean": value})
    asked = []
    monkeypatch.setattr(checkpoints, "restore", lambda folder, template, *, update, kept: asked.extend(update))
    monkeypatch.setattr(trained, "state_template", lambda record: ({}, {}))
    trained.restore_all(record, table, trained.Member(0, 0, {}), wanted)
    assert asked == order
