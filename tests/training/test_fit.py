"""The host loop: exact resume, clean stops, diverged runs, sweeps, folders that are in use."""

import json
import os
import shutil
import signal
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.training import checkpoints, compiled, runs
from rlx.training.fit import fit
from rlx.training.guard import first_nonfinite
from rlx.training.metrics import MetricsTable
from tests.training.toy import LIMIT, Toy, make_program

pytestmark = pytest.mark.long(minutes=0.7)

TIMING = ("sps", "wall_time")


def run(run_dir=None, *, build=make_program, seeds=(0, 1, 2), rates=None, updates=6, config=None, **options):
    rates = [1e-2] * len(seeds) if rates is None else rates
    return fit(
        build,
        seeds=seeds,
        hyperparameters={"learning_rate": rates},
        num_envs=8,
        steps_per_update=32,
        num_updates=updates,
        updates_per_report=2,
        run_dir=run_dir,
        config={"algorithm": "ppo", "env": "toy", "config": {"size": 8} if config is None else config},
        quiet=True,
        **options,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    return path, run(path)


def assert_same_run(path, other):
    ours, theirs = json.loads((path / "summary.json").read_text()), json.loads((other / "summary.json").read_text())
    assert ours["runs"] == theirs["runs"]
    ours, theirs = MetricsTable.read(path / "metrics.parquet"), MetricsTable.read(other / "metrics.parquet")
    assert list(ours.columns) == list(theirs.columns)
    for name, column in ours.columns.items():
        if name not in TIMING:
            np.testing.assert_array_equal(column.filled(-1), theirs[name].filled(-1), err_msg=name)


def test_a_run_folder_holds_its_results(whole):
    path, fitted = whole
    table = MetricsTable.read(path / "metrics.parquet")
    assert list(table.columns)[:3] == ["seed", "update", "env_steps"]
    np.testing.assert_array_equal(table["seed"], [0, 1, 2] * 3)
    np.testing.assert_array_equal(table["env_steps"], np.repeat([64, 128, 192], 3))
    summary = json.loads((path / "summary.json").read_text())
    assert summary == json.loads(json.dumps(fitted.summary))
    assert [r["seed"] for r in summary["runs"]] == [0, 1, 2]
    assert len({r["params_sha256"] for r in summary["runs"]}) == 3
    assert summary["total_steps"] == 192 and summary["final_return"]["num_finite"] == 3
    config = json.loads((path / "config.json").read_text())
    assert config["config"] == {"size": 8} and {"versions", "devices", "git", "command"} <= set(config)
    assert any((path / "tensorboard").iterdir())


def stop_after(updates, number=signal.SIGTERM):
    """A build whose program raises a signal once `updates` updates are done."""

    def build(setting):
        program = make_program(setting)

        def step(state):
            state, metrics = program.step(state)
            raise_signal = lambda n: os.kill(os.getpid(), number) if n == updates else None
            jax.debug.callback(raise_signal, state.update)
            return state, metrics

        return program._replace(step=step)

    return build


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_stops_and_the_resumed_run_is_the_same(whole, tmp_path, number):
    path, _ = whole
    stopped = run(tmp_path / "run", build=stop_after(2, number), reports_per_checkpoint=100)
    assert stopped.stopped_by == number and stopped.summary is None
    assert int(stopped.state.update[0]) < 6
    resumed = run(tmp_path / "run", resume=True)
    assert resumed.stopped_by is None and 0 < resumed.resumed_from < 6
    assert_same_run(path, tmp_path / "run")


@pytest.mark.parametrize("damage", ["everything", "arrays"])
def test_a_damaged_checkpoint_is_skipped_with_a_warning(whole, tmp_path, damage):
    path, _ = whole
    shutil.copytree(path, tmp_path / "run")
    newest = tmp_path / "run" / "checkpoints" / "6"
    for file in (newest if damage == "everything" else newest / "default").rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:10])
    with pytest.warns(UserWarning, match=f"checkpoint {newest.name} .* is skipped"):
        resumed = run(tmp_path / "run", resume=True)
    assert resumed.resumed_from == 4
    assert_same_run(path, tmp_path / "run")


def test_a_finished_run_resumes_to_itself(whole):
    path, fitted = whole
    before = (path / "summary.json").read_bytes()
    again = run(path, resume=True)
    assert again.resumed_from == 6
    jax.tree.map(np.testing.assert_array_equal, again.state.params, fitted.state.params)
    assert (path / "summary.json").read_bytes() == before


def test_an_occupied_folder_and_a_changed_config_are_refused(whole):
    path, _ = whole
    with pytest.raises(runs.RunError, match="already holds a run: add --resume"):
        run(path)
    with pytest.raises(runs.RunError, match="size: 8 -> 9"):
        run(path, resume=True, config={"size": 9})
    with pytest.raises(ValueError, match="multiple of updates_per_report=2, got 5"):
        run(updates=5)


def test_a_diverged_run_is_named_and_spoils_no_other(whole):
    """Seed 1 starts with a learning rate of NaN."""
    _, fitted = whole
    with pytest.warns(RuntimeWarning, match=r"seed 1 \(run 1\): .* became NaN at update \d.*other 2 go on"):
        mixed = run(rates=[1e-2, np.nan, 1e-2])
    for run_index in (0, 2):
        assert mixed.summary["runs"][run_index] == fitted.summary["runs"][run_index]
    lost = mixed.summary["runs"][1]
    assert lost["final_return"] is None and lost["diverged"]["update"] == 1
    assert mixed.summary["final_return"]["num_finite"] == 2


def test_a_resumed_run_remembers_what_diverged_before(tmp_path):
    rates = [1e-2, np.nan, 1e-2]
    with pytest.warns(RuntimeWarning, match="seed 1"):
        run(tmp_path / "run", rates=rates, build=stop_after(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # it has been said
        resumed = run(tmp_path / "run", rates=rates, resume=True)
    assert resumed.resumed_from > 0
    assert resumed.summary["runs"][1]["diverged"]["update"] == 1


def test_when_every_run_diverges_training_ends():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(FloatingPointError, match="every run has diverged: seed 0"):
            run(rates=[np.nan] * 3)


def test_first_nonfinite_finds_the_update_and_exempts_unfinished_episodes():
    metrics = {
        "episodes": np.array([[0, 0, 3], [0, 2, 3], [1, 1, 1]]),
        "return_mean": np.array([[np.nan, np.nan, 1.0], [np.nan, np.nan, 1.0], [1.0, 1.0, 1.0]]),
        "policy_loss": np.array([[1.0, 1.0, 1.0], [1.0, 1.0, np.nan], [1.0, -np.inf, 0.0]]),
    }
    assert first_nonfinite(metrics) == {
        1: {"metric": "return_mean", "value": "NaN", "update": 2},
        2: {"metric": "policy_loss", "value": "infinite", "update": 2},
    }


def test_a_sweep_is_an_axis_and_each_setting_equals_its_own_run(whole):
    _, fitted = whole
    swept = run(seeds=[0, 1, 0, 1], rates=[1e-2, 1e-2, 1e-4, 1e-4], swept=["learning_rate"])
    assert list(swept.metrics.columns)[:3] == ["seed", "learning_rate", "update"]
    for index in (0, 1):
        many, one = (f.state.params["policy"]["params"]["log_std"][index] for f in (swept, fitted))
        np.testing.assert_allclose(many, one, rtol=1e-5)
    assert [s["hyperparameters"] for s in swept.summary["settings"]] == [
        {"learning_rate": 1e-2},
        {"learning_rate": 1e-4},
    ]
    assert swept.summary["runs"][2]["hyperparameters"] == {"learning_rate": 1e-4}


def test_runs_one_by_one_equal_runs_side_by_side(whole, monkeypatch):
    """Bit for bit the same as each run alone, which goes through the same program."""
    _, fitted = whole
    monkeypatch.setattr(compiled, "ENVS_TO_MAP_RUNS", 1)
    mapped, alone = run(), run(seeds=[1])
    for many, one, side_by_side in zip(*(jax.tree.leaves(f.state.params) for f in (mapped, alone, fitted))):
        np.testing.assert_array_equal(many[1], one[0])
        np.testing.assert_allclose(many, side_by_side, rtol=1e-4, atol=1e-5)


def test_best_and_newest_checkpoints_stay(tmp_path):
    state = lambda x: {"w": jnp.full(3, x), "key": jax.random.key(int(x)), "empty": jnp.zeros((0, 2))}
    manager = checkpoints.open_manager(tmp_path, keep=2)
    for update, score in enumerate([1.0, 9.0, 2.0, 3.0, 4.0]):
        checkpoints.save(manager, update, state(float(update)), {"eval_return_mean": score})
    manager.wait_until_finished()
    assert sorted(manager.all_steps()) == [1, 3, 4] and manager.best_step() == 1
    template = jax.eval_shape(lambda: state(0.0))
    restored, update = checkpoints.restore(manager, template)
    assert update == 4
    np.testing.assert_array_equal(restored["w"], [4.0] * 3)
    np.testing.assert_array_equal(jax.random.key_data(restored["key"]), jax.random.key_data(jax.random.key(4)))
    assert restored["empty"].shape == (0, 2)
    best, _ = checkpoints.restore(manager, template, update=1)
    np.testing.assert_array_equal(best["w"], [1.0] * 3)
    with pytest.raises(checkpoints.CheckpointError, match="no readable checkpoint"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        checkpoints.restore(manager, template, update=17)
    manager.close()


def test_toy_returns_are_bounded(whole):
    _, fitted = whole
    returns = np.array([r["final_return"] for r in fitted.summary["runs"]])
    assert (np.abs(returns) <= LIMIT).all() and Toy.max_episode_steps == LIMIT
