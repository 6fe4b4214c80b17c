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

from rlx.training import checkpoints, lock, program, runs
from rlx.training.disk import DiskError
from rlx.training.fit import fit, size_note
from rlx.training.guard import first_nonfinite
from rlx.training.metrics import MetricsTable, atomic_path
from rlx.training.statistics import interquartile_mean
from rlx.training.writers import Writer
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


@pytest.mark.slow
def test_what_runs_begin_with_is_evaluated_where_that_is_asked_for(whole, tmp_path):
    path, _ = whole
    stopped = run(tmp_path / "run", evaluate_start=True, make_writers=stop_at_a_report(), reports_per_evaluation=1)
    assert stopped.stopped_by is not None
    summary = run(tmp_path / "run", evaluate_start=True, resume=True).summary
    table, plain = (MetricsTable.read(folder / "metrics.parquet") for folder in (tmp_path / "run", path))
    np.testing.assert_array_equal(table["update"], np.repeat([0, 2, 4, 6], 3))
    start, later = (np.asarray(table["eval_return_mean"]).reshape(4, 3)[rows] for rows in (0, slice(1, None)))
    assert np.ma.getmaskarray(table["sps"])[:3].all() and np.ma.getmaskarray(table["policy_loss"])[:3].all()
    np.testing.assert_array_equal(later, np.asarray(plain["eval_return_mean"]).reshape(3, 3))
    level = interquartile_mean(start)
    np.testing.assert_allclose(summary["start_return"]["interquartile_mean"], level)
    assert summary["evaluations"] == 3
    assert summary["evaluations_below_start"] == sum(interquartile_mean(row) < level for row in later)


def stop_at_a_report(number=signal.SIGTERM):
    """Writers that raise a signal at the first report, of 64 steps."""
    write = lambda step, values: os.kill(os.getpid(), number) if step == 64 else None
    return lambda resume_step: [Writer(write, lambda: None)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_stops_and_the_resumed_run_is_the_same(whole, tmp_path, number):
    path, _ = whole
    stopped = run(tmp_path / "run", make_writers=stop_at_a_report(number), reports_per_checkpoint=100)
    assert stopped.stopped_by == number and stopped.summary is None
    assert int(stopped.state.update[0]) < 6
    resumed = run(tmp_path / "run", resume=True)
    assert resumed.stopped_by is None and 0 < resumed.resumed_from < 6
    assert_same_run(path, tmp_path / "run")


@pytest.mark.slow
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


def folder_state(path):
    files = [file for file in sorted(path.rglob("*")) if file.is_file() and file.name != lock.NAME]
    return {str(file): file.read_bytes() for file in files}


@pytest.mark.slow
def test_where_no_checkpoint_can_be_read_nothing_is_touched(whole, tmp_path):
    path = shutil.copytree(whole[0], tmp_path / "run")
    for file in path.glob("checkpoints/*/default/_METADATA"):
        file.write_text("garbage")
    before = folder_state(path)
    with pytest.raises(runs.RunError, match="no readable checkpoint .*nothing was changed; --restart moves this run"):
        run(path, resume=True)
    assert folder_state(path) == before
    shutil.rmtree(path / "checkpoints")
    with pytest.raises(runs.RunError, match="is a finished run whose checkpoints are gone.*--restart"):
        run(path, resume=True)


def test_damaged_metrics_are_set_aside_and_an_empty_checkpoint_too(whole, tmp_path):
    path = shutil.copytree(whole[0], tmp_path / "run")
    shutil.rmtree(path / "checkpoints" / "6")
    (path / "checkpoints" / "999").mkdir()
    (path / "metrics.parquet").write_bytes(b"PAR1 half a file")
    (path / "divergence.json").write_text("[3]")
    (path / ".metrics.4711.parquet").touch()
    with pytest.warns() as noted:
        resumed = run(path, resume=True)
    said = " | ".join(str(warning.message) for warning in noted)
    assert "goes on without its earlier rows; what was there is in metrics.old.parquet now" in said
    assert "checkpoint 999" in said and "divergence.json is damaged" in said
    assert resumed.resumed_from == 4 and resumed.summary["runs"] == whole[1].summary["runs"]
    assert (path / "metrics.old.parquet").read_bytes() == b"PAR1 half a file"
    assert not (path / ".metrics.4711.parquet").exists()
    np.testing.assert_array_equal(np.unique(MetricsTable.read(path / "metrics.parquet")["update"]), [6])


@pytest.mark.slow
def test_each_start_is_recorded_and_a_change_of_numbers_needs_leave(whole, tmp_path):
    path = shutil.copytree(whole[0], tmp_path / "run")
    record = json.loads((path / "config.json").read_text())
    numerics = record["starts"][0]["numerics"]
    assert {"devices", "mesh", "x64", "matmul_precision", "rlx", "jax"} <= set(numerics)
    record["starts"] = [{"update": 0, "numerics": numerics | {"jax": "0.1.0", "devices": "64 x gpu"}}]
    (path / "config.json").write_text(json.dumps(record))
    shutil.rmtree(path / "checkpoints" / "6")
    with pytest.raises(runs.RunError, match=r"other devices, .*devices: 64 x gpu -> .*jax: 0.1.0 -> .*--allow-changes"):
        run(path, resume=True)
    assert len(json.loads((path / "config.json").read_text())["starts"]) == 1
    run(path, resume=True, allow_changes=True)
    starts = json.loads((path / "config.json").read_text())["starts"]
    assert [start["update"] for start in starts] == [0, 4] and starts[1]["numerics"] == numerics
    with pytest.raises(ValueError, match=r"seeds must be in \[0, 2147483647\], got 4294967296"):
        run(seeds=[2**32])


@pytest.mark.slow
def test_after_a_full_disk_the_resumed_run_is_the_same(whole, tmp_path, monkeypatch):
    write, count = MetricsTable.write, []

    def full(table, path):
        count.append(path)
        if len(count) > 2:
            with atomic_path(path):
                raise OSError(28, "No space left on device")
        write(table, path)

    monkeypatch.setattr(MetricsTable, "write", full)
    with pytest.raises(DiskError, match="^No space left on device: .*metrics.parquet cannot be written; make room$"):
        run(tmp_path / "run")
    monkeypatch.undo()
    resumed = run(tmp_path / "run", resume=True)
    assert resumed.resumed_from == 4
    assert_same_run(whole[0], tmp_path / "run")


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


@pytest.mark.slow
def test_a_resumed_run_remembers_what_diverged_before(tmp_path):
    rates = [1e-2, np.nan, 1e-2]
    with pytest.warns(RuntimeWarning, match="seed 1"):
        run(tmp_path / "run", rates=rates, make_writers=stop_at_a_report())
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


@pytest.mark.slow
def test_runs_one_by_one_equal_runs_side_by_side():
    """Bit for bit the same as each run alone, which goes through the same program."""
    mapped, alone, fitted = run(batching="map"), run(batching="map", seeds=[1]), run(batching="vmap")
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
    restored, update = checkpoints.restore(tmp_path, template)
    assert update == 4
    np.testing.assert_array_equal(restored["w"], [4.0] * 3)
    np.testing.assert_array_equal(jax.random.key_data(restored["key"]), jax.random.key_data(jax.random.key(4)))
    assert restored["empty"].shape == (0, 2)
    best, _ = checkpoints.restore(tmp_path, template, update=1)
    np.testing.assert_array_equal(best["w"], [1.0] * 3)
    with pytest.raises(checkpoints.CheckpointError, match="no readable checkpoint"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        checkpoints.restore(tmp_path, template, update=17)
    manager.close()


def test_toy_returns_are_bounded(whole):
    _, fitted = whole
    returns = np.array([r["final_return"] for r in fitted.summary["runs"]])
    assert (np.abs(returns) <= LIMIT).all() and Toy.max_episode_steps == LIMIT


def test_the_size_of_large_checkpoints_is_said_with_the_way_round():
    """Eight seeds of a million transitions of 500 numbers: 16 GB, of which the parameters are 4 MB."""
    layout = {"learner": program.BY_RUN, "source": {"environments": program.BY_ENV, "replay": program.REPLAY}}
    of = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.float32)
    template = {"learner": of(8, 131_072), "source": {"environments": of(8, 16), "replay": of(8, 1_000_000, 500)}}
    note = size_note(layout, template, replay=True)
    assert note == (
        "a checkpoint takes 14.9 GiB, of which the replay is 14.9 GiB; --no-replay-in-checkpoints leaves it out"
    )
    assert size_note(layout, template, replay=False) is None
    template["learner"] = of(8, 100_000_000)
    assert size_note(layout, template, replay=False) == "a checkpoint takes 2.98 GiB"
