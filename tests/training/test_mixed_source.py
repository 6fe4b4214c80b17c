"""From a dataset to an environment in one run: exact shares, exact resume, no action before its time."""

import shutil

import jax
import numpy as np
import pytest

from rlx import data
from rlx.algorithms.learner import Transition
from rlx.training import evaluation, sources
from rlx.training.compiled import Build
from rlx.training.fit import fit
from rlx.training.program import make_program
from tests.training.off_policy_toy import assert_same, make_dataset, make_learner
from tests.training.toy import LIMIT, Toy

PRETRAINING, ONLINE, ENVS, UNROLL, BATCH, ROWS = 2, 4, 3, 4, 8, 50


def make_source(dataset=None, learner=None, **options):
    defaults = dict(
        pretraining_steps=PRETRAINING,
        capacity=ONLINE * UNROLL,
        num_rows=ROWS,
        num_envs=ENVS,
        unroll_length=UNROLL,
        batch_size=BATCH,
        updates_per_step=4,
    )
    dataset = make_dataset(ROWS) if dataset is None else dataset
    return sources.mixed(dataset, learner or make_learner(), Toy(), **(defaults | options))


def make_mixed(setting=None, dataset=None, **options):
    learner = make_learner(setting)
    source = make_source(dataset, learner, **options)
    return make_program(source, learner, evaluation.episodes(Toy(), learner, num_episodes=2))


@pytest.fixture(scope="module")
def states():
    """The states of a run after each of its steps, from the first on."""
    program = make_mixed(return_discount=0.9, sampler=with_returns)
    step, state = jax.jit(program.step), jax.jit(program.init)(jax.random.key(0))
    found = [(state, {})]
    for _ in range(PRETRAINING + ONLINE + 1):
        found.append(step(found[-1][0]))
    return found


def with_returns(dataset, key, count):
    batch = data.sample(dataset, key, count)
    return batch._replace(extras=batch.extras | {"return_to_go": batch.reward})


def test_it_acts_after_the_steps_on_the_dataset_and_counts_what_it_does(states):
    each = ENVS * UNROLL
    assert [int(metrics["online_steps"]) for _, metrics in states[1:]] == [
        0,
        0,
        each,
        2 * each,
        3 * each,
        4 * each,
        5 * each,
    ]
    first, last = states[0][0].source, states[PRETRAINING][0].source
    jax.tree.map(np.testing.assert_array_equal, (first.acting, first.log), (last.acting, last.log))
    state, metrics = states[PRETRAINING + ONLINE]
    assert metrics["episodes"] == ENVS * (ONLINE * UNROLL // LIMIT) and metrics["episode_length"] == LIMIT
    # Only so much is kept: after one more step the first window has made room.
    for count in (ONLINE, ONLINE + 1):
        log = states[PRETRAINING + count][0].source.log
        assert log.length == count * UNROLL
        np.testing.assert_array_equal(np.asarray(log.rows.observation[..., 0]) % 1, 0)
        steps = (np.arange(count * UNROLL) % LIMIT)[-ONLINE * UNROLL :]
        places = np.arange(count * UNROLL)[-ONLINE * UNROLL :] % (ONLINE * UNROLL)
        np.testing.assert_array_equal(log.rows.observation[places, 0, 0], steps)
        np.testing.assert_array_equal(log.rows.reward, log.rows.action[..., 0])
        np.testing.assert_array_equal(log.rows.truncated[places, 1], steps == LIMIT - 1)


@pytest.mark.parametrize("ratio, shares", [(0.0, (0, 0)), (0.3, (2, 2)), (0.5, (4, 4)), (1.0, (8, 8)), (None, (6, 4))])
def test_the_share_of_the_dataset_in_each_minibatch_is_exact(states, ratio, shares):
    """In proportion: 50 of 62 transitions, then 50 of 98."""
    source = make_source(mixing_ratio=ratio, return_discount=0.9, sampler=with_returns)
    draw = jax.jit(lambda state, key: source.draw(state, None, key))
    for count, share in ((0, BATCH), (1, shares[0]), (ONLINE, shares[1])):
        state = states[PRETRAINING + count][0].source
        batch = draw(state, jax.random.key(count))
        minibatches = np.asarray(batch.extras["index"]).reshape(-1, BATCH)
        np.testing.assert_array_equal(np.sum(minibatches >= 0, axis=1), share)
        of_dataset = np.asarray(batch.extras["index"]) >= 0
        np.testing.assert_array_equal(
            np.asarray(batch.observation)[of_dataset],
            np.asarray(make_dataset(ROWS).observation)[np.asarray(batch.extras["index"])[of_dataset]],
        )
        rest = np.asarray(batch.observation)[~of_dataset, 0]
        assert (rest == rest.astype(int)).all() and (rest < LIMIT).all()


@pytest.mark.slow
def test_until_then_minibatches_are_those_of_the_dataset_alone(states):
    dataset = make_dataset(ROWS)
    alone = sources.dataset(dataset, make_learner(), batch_size=BATCH, updates_per_step=4, sampler=with_returns)
    source = make_source(dataset, return_discount=0.9, sampler=with_returns)
    key = jax.random.key(5)
    for state, _ in states[: PRETRAINING + 1]:
        assert_same(source.draw(state.source, None, key), alone.draw((), None, key))
    program = make_program(alone, make_learner())
    step, state = jax.jit(program.step), jax.jit(program.init)(jax.random.key(0))
    for _ in range(PRETRAINING):
        state, _ = step(state)
    assert_same(state.learner, states[PRETRAINING][0].learner, rtol=1e-5, atol=1e-6)


def test_runs_side_by_side_act_together_or_not_at_all():
    """With an axis of runs the loop would go on while any run does, and choose between old and new states."""

    def conditions(function, *arguments):
        equations = jax.make_jaxpr(jax.vmap(function))(*arguments).eqns
        return [x.params["cond_jaxpr"].out_avals[0].shape for x in equations if x.primitive.name == "while"]

    program = make_mixed()
    states = jax.eval_shape(jax.vmap(program.init), jax.random.split(jax.random.key(0), 2))
    assert conditions(program.step, states) == [()]
    assert conditions(lambda count: jax.lax.fori_loop(0, count, lambda _, x: 2 * x, 1), np.arange(2)) == [(2,)]


def run(run_dir=None, *, seeds=(0, 1, 2), **options):
    return fit(
        Build(lambda setting, dataset: make_mixed(setting, dataset), make_dataset(ROWS)),
        seeds=seeds,
        hyperparameters={"learning_rate": [1e-2] * len(seeds)},
        num_envs=ENVS,
        steps_per_update=4,
        steps_name="gradient_steps",
        num_updates=PRETRAINING + ONLINE,
        updates_per_report=1,
        run_dir=run_dir,
        config={"algorithm": "td3", "env": "toy"},
        quiet=True,
        **options,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    return path, run(path, reports_per_evaluation=3)


@pytest.mark.slow
def test_a_run_that_is_resumed_while_it_acts_is_the_same(whole, tmp_path):
    path, fitted = whole
    assert fitted.metrics["online_steps"].tolist() == np.repeat([0, 0, 12, 24, 36, 48], 3).tolist()
    np.testing.assert_array_equal(fitted.metrics["gradient_steps"], np.repeat([4, 8, 12, 16, 20, 24], 3))
    shutil.copytree(path, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "6")
    (tmp_path / "run" / "summary.json").unlink()
    resumed = run(tmp_path / "run", resume=True, reports_per_evaluation=3)
    assert resumed.resumed_from == 5
    assert_same(resumed.state, fitted.state)


@pytest.mark.slow
def test_experience_may_be_left_out_of_checkpoints(whole, tmp_path):
    path, fitted = whole
    assert_same(run(tmp_path / "run", replay_in_checkpoints=False, reports_per_evaluation=3).state, fitted.state)
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "6")
    (tmp_path / "run" / "summary.json").unlink()
    resumed = run(tmp_path / "run", resume=True, replay_in_checkpoints=False, reports_per_evaluation=3)
    assert resumed.resumed_from == 5 and resumed.metrics["online_steps"].tolist()[-1] == 48
    np.testing.assert_array_equal(resumed.state.source.log.length, UNROLL)
    np.testing.assert_array_equal(
        resumed.state.source.acting.episodes.finished, fitted.state.source.acting.episodes.finished
    )


@pytest.mark.slow
def test_a_seed_alone_is_the_seed_in_company(whole):
    _, fitted = whole
    alone = run(seeds=[1])
    pick = lambda fitted, i: jax.tree.map(lambda x: x[i], fitted.state.learner)
    assert_same(pick(alone, 0), pick(fitted, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_envs": 0}, "num_envs must be at least 1, got 0"),
        ({"capacity": 7}, "capacity must be a multiple of unroll_length=4, got 7"),
        ({"mixing_ratio": -1.0}, r"mixing_ratio must be in \[0, 1\], or None, got -1"),
        ({"updates_per_step": 5}, "multiple of the 2 gradient steps"),
        ({"learner": make_learner()._replace(memory=lambda count: ())}, "memory"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_source(**options)


def test_an_example_is_a_batch(states):
    source = make_source(return_discount=0.9, sampler=with_returns)
    shapes = jax.eval_shape(source.draw, states[0][0].source, None, jax.random.key(0))
    example = jax.eval_shape(source.example, jax.random.key(0))
    assert isinstance(shapes, Transition) and jax.tree.structure(shapes) == jax.tree.structure(example)
