"""Training from a dataset: exact resume, seeds that do not meet, data that is no constant of the program."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx import data
from rlx.training import compiled, plots, report
from rlx.training.compiled import Build
from rlx.training.fit import fit
from rlx.training.sharding import make_mesh
from tests.training.off_policy_toy import assert_same, dataset_program, make_dataset, make_learner, make_offline


def build():
    return Build(lambda setting, dataset: make_offline(setting, dataset), make_dataset())


def run(run_dir=None, *, seeds=(0, 1, 2), **options):
    return fit(
        build(),
        seeds=seeds,
        hyperparameters={"learning_rate": [1e-2] * len(seeds)},
        num_envs=0,
        steps_per_update=4,
        steps_name="gradient_steps",
        num_updates=6,
        updates_per_report=2,
        run_dir=run_dir,
        config={"algorithm": "td3_bc", "env": "toy"},
        quiet=True,
        **options,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    return path, run(path, reports_per_evaluation=3)


def test_a_run_counts_gradient_steps_and_can_be_drawn(whole):
    path, fitted = whole
    assert list(fitted.metrics.columns)[:3] == ["seed", "update", "gradient_steps"]
    np.testing.assert_array_equal(fitted.metrics["gradient_steps"], np.repeat([8, 16, 24], 3))
    assert "return_mean" not in fitted.metrics and "env_steps" not in fitted.metrics
    # Two reports without an evaluation, whose best checkpoint is nobody's business yet.
    np.testing.assert_array_equal(np.ma.getmaskarray(fitted.metrics["eval_return_mean"]), [True] * 6 + [False] * 3)
    assert (fitted.state.learner.step == 24).all()
    plots.learning_curve({"": path / "metrics.parquet"}, out=path / "curve.png")
    assert "Gradient steps" in report.write_report(path).read_text()


def test_a_resumed_run_is_the_same(whole, tmp_path):
    path, fitted = whole
    shutil.copytree(path, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "6")
    (tmp_path / "run" / "summary.json").unlink()
    resumed = run(tmp_path / "run", resume=True, reports_per_evaluation=3)
    assert resumed.resumed_from == 4
    assert_same(resumed.state, fitted.state)


def test_a_seed_alone_is_the_seed_in_company(whole):
    _, fitted = whole
    alone = run(seeds=[1])
    assert_same(
        jax.tree.map(lambda x: x[0], alone.state), jax.tree.map(lambda x: x[1], fitted.state), rtol=1e-4, atol=1e-5
    )


@pytest.mark.slow
def test_the_data_is_an_argument_of_the_program(monkeypatch):
    """As a constant, a million transitions would be compiled into it."""
    sizes = []
    lower = jax.stages.Lowered.compile
    monkeypatch.setattr(jax.stages.Lowered, "compile", lambda self: (sizes.append(len(self.as_text())), lower(self))[1])
    for rows in (50, 50_000):
        dataset = make_dataset(rows)
        compiled.compile_runs(
            Build(lambda setting, dataset: make_offline(setting, dataset), dataset),
            np.arange(2),
            {},
            updates_per_report=1,
            mesh=make_mesh(2, 1),
        )
    small, large = sorted(sizes[:3]), sorted(sizes[3:])
    assert all(b < a + 1000 for a, b in zip(small, large)), (small, large)


def test_updates_see_the_rows_of_the_sampler():
    """Only rows whose weight is not 0, with what the sampler knows of them."""
    dataset = make_dataset()
    good = np.asarray(dataset.reward) > 0.5
    table = data.alias_table(good.astype(float))
    seen = []

    def spy(state, batch, key):
        jax.debug.callback(lambda *x: seen.append(x), batch.reward, batch.extras["index"], batch.observation)
        return state, {"loss": jnp.mean(batch.reward)}

    sampler = lambda dataset, key, count: data.sample(dataset, key, count, weight=table)
    learner = make_learner()._replace(update=spy)
    program = dataset_program(dataset, learner, batch_size=16, updates_per_step=6, sampler=sampler)
    _, metrics = jax.jit(program.step)(program.init(jax.random.key(0)))
    jax.effects_barrier()
    reward, index, observation = (np.concatenate(x) for x in zip(*seen))
    assert reward.shape == (96,) and (reward > 0.5).all()
    np.testing.assert_array_equal(observation, dataset.observation[index])
    np.testing.assert_allclose(metrics["loss"], reward.mean(), rtol=1e-5)
    assert len(np.unique(index)) > good.sum() / 2


@pytest.mark.parametrize(
    "options, message",
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"updates_per_step": 5}, "multiple of the 2 gradient steps"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_offline(**options)
