"""What a dataset says about a policy: against the exact value of a small process, and from the command line."""

import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from rlx import cli, data, envs
from rlx.algorithms.learner import Learner
from rlx.cli.evaluate import reporting
from rlx.recipes import off_policy_evaluation as ope
from rlx.recipes.datasets import collect
from rlx.training.interaction import uniform_actions

DISCOUNT, LENGTH = 0.9, 4
# Two states, the first of an episode at random; action 1 in state s leads to the other with the chance of s.
MOVES, REWARD = np.array([0.8, 0.4]), np.array([[0.0, 0.3], [1.0, -0.5]])
POLICY, BEHAVIOR = np.array([[0.2, 0.8], [0.9, 0.1]]), np.array([[0.5, 0.5], [0.7, 0.3]])


def exact_value():
    """Of a first state at random and `LENGTH` steps, after which the task ends."""
    value = np.zeros(2)
    for _ in range(LENGTH):
        stays, moves = value, MOVES * value[::-1] + (1 - MOVES) * value
        q = REWARD + DISCOUNT * np.stack([stays, moves], axis=1)
        value = np.sum(POLICY * q, axis=1)
    return value.mean()


def observed(state, time):
    """State and time, one-hot: the value depends on both."""
    return np.concatenate([np.eye(2)[state], np.eye(LENGTH + 1)[time]], axis=-1)


def logged(num_episodes, seed=0):
    rng, rows = np.random.default_rng(seed), []
    for _ in range(num_episodes):
        state = rng.integers(2)
        for time in range(LENGTH):
            action = int(rng.random() < BEHAVIOR[state, 1])
            following = 1 - state if action and rng.random() < MOVES[state] else state
            last = time == LENGTH - 1
            rows.append((observed(state, time), action, REWARD[state, action], observed(following, time + 1), last))
            state = following
    observation, action, reward, next_observation, last = map(np.array, zip(*rows))
    return data.make_dataset(observation, action, reward, next_observation, last, np.zeros(len(rows)))


def learner_of(table):
    """A policy of two actions by its table of chances, as a learner without parameters."""
    table = jnp.asarray(table, jnp.float32)
    chances = lambda observation: observation[..., :2] @ table
    return Learner(
        init=None,
        update=None,
        act=lambda state, observation, key: (jax.random.categorical(key, jnp.log(chances(observation))), {}),
        mode=lambda state, observation: jnp.argmax(chances(observation), axis=-1),
        log_prob=lambda state, observation, action: jnp.log(
            jnp.take_along_axis(chances(observation), action[..., None], axis=-1)[..., 0]
        ),
    )


FITTING = ope.Fitting(
    steps=800, cloning_steps=300, members=4, batch_size=128, learning_rate=3e-3, tau=0.05, hidden_sizes=(32,)
)


def test_every_estimate_is_near_the_exact_value():
    found = ope.evaluate(
        learner_of(POLICY),
        (),
        logged(600),
        spaces.Discrete(2),
        discount=DISCOUNT,
        stochastic=True,
        fitting=FITTING,
    )
    exact = exact_value()
    logged_value = found.estimates["logged episodes"].value
    assert abs(logged_value - exact) > 0.15, "the behavior is worth something else, or the test shows nothing"
    for name in list(found.estimates)[1:]:
        value, low, high, _ = found.estimates[name]
        np.testing.assert_allclose(value, exact, atol=0.12, err_msg=name)
        assert low < value < high and high - low < 0.6, name
    assert len(found.estimates) == 5 and 60 < found.effective_episodes < 600


def test_the_behavior_is_cloned():
    dataset = logged(300)
    found = ope.fit_behavior(dataset, spaces.Discrete(2), jax.random.key(0), fitting=FITTING)
    state, action = np.argmax(dataset.observation[:, :2], axis=1), np.asarray(dataset.action)
    np.testing.assert_allclose(np.exp(found), BEHAVIOR[state, action], atol=0.15)


@pytest.mark.slow
def test_importance_weights_ask_no_replicate():
    """Eleven networks on every row for the values of one."""
    dataset, asked = logged(3), []

    def value(observation, key, members=None):
        asked.append((len(observation), members))
        return jnp.zeros((1, len(observation)))

    fitted = ope.FittedValues(value, lambda observation, action, members=None: value(observation, None, members))
    zeros = jnp.zeros(dataset.num_rows)
    ope._importance(learner_of(POLICY), (), dataset, zeros, fitted, None, DISCOUNT)
    assert asked == [(12, 1), (12, 1), (3, 1)]
    fitting = ope.Fitting(steps=1, members=2, batch_size=4, hidden_sizes=(4,))
    policy, counts = learner_of(POLICY).mode, ope._bootstrap_counts(3, 2, 0)
    fitted = ope.fit_values(
        lambda observation, key: policy((), observation),
        dataset,
        spaces.Discrete(2),
        counts,
        jax.random.key(0),
        discount=DISCOUNT,
        fitting=fitting,
    )
    rows = dataset.observation, dataset.action
    np.testing.assert_allclose(fitted.q(*rows, 1), fitted.q(*rows)[:1], rtol=1e-6)
    assert fitted.value(rows[0], jax.random.key(0)).shape == (3, 12)


@pytest.mark.slow
def test_known_densities_of_the_behavior_are_not_estimated(monkeypatch):
    monkeypatch.setattr(ope, "fit_behavior", None)
    dataset = logged(40)
    state = np.argmax(dataset.observation[:, :2], axis=1)
    known = jnp.log(jnp.asarray(BEHAVIOR[state, np.asarray(dataset.action)], jnp.float32))
    fitting = ope.Fitting(steps=2, members=2, batch_size=8, hidden_sizes=(4,))
    found = ope.evaluate(
        learner_of(BEHAVIOR),
        (),
        dataset,
        spaces.Discrete(2),
        discount=DISCOUNT,
        stochastic=True,
        behavior_log_prob=known,
        fitting=fitting,
    )
    # The policy is the behavior: every episode counts once.
    np.testing.assert_allclose(found.effective_episodes, 40, rtol=1e-5)
    names = ("logged episodes", "importance sampling (WIS)", "importance sampling, per decision (CWPDIS)")
    values = [found.estimates[name].value for name in names]
    np.testing.assert_allclose(values, values[0], rtol=1e-5)


def test_a_policy_without_a_density_has_values_alone():
    def no_density(state, observation, action):
        raise ValueError("a deterministic policy gives its actions no density")

    fitting = ope.Fitting(steps=2, members=2, batch_size=8, hidden_sizes=(4,))
    for log_prob in (None, no_density):
        found = ope.evaluate(
            learner_of(POLICY)._replace(log_prob=log_prob),
            (),
            logged(3),
            spaces.Discrete(2),
            discount=DISCOUNT,
            stochastic=True,
            fitting=fitting,
        )
        assert list(found.estimates) == ["logged episodes", "fitted Q evaluation"] and found.effective_episodes is None


def test_rows_are_seen_some_at_a_time_and_laid_out_by_episode(monkeypatch):
    monkeypatch.setattr(ope, "ROWS_AT_ONCE", 4)
    rows = jnp.arange(10.0)
    np.testing.assert_array_equal(ope._by_rows(lambda x: jnp.stack([x, -x]), rows), [rows, -rows])
    dataset = logged(3)
    steps = ope._by_episode(dataset)
    assert steps.where.all() and steps.index.tolist() == np.arange(3 * LENGTH).reshape(3, LENGTH).tolist()
    shorter = data.concatenate([dataset, data.select_episodes(dataset, [0])])
    cut = shorter._replace(episode_start=jnp.array([0, 2, 8, 12], jnp.int32))
    assert ope._by_episode(cut).where.sum(axis=1).tolist() == [2, 6, 4, 4]


def test_values_come_to_rest_within_the_steps_there_are():
    """Reward 1 for ever is worth 1 / (1 − γ); with a τ of 0.005 such values would have gone a third of the way."""
    x, cut = np.ones((12, 1)), np.arange(12) % 4 == 3
    for discount in (0.9, 0.5):
        found = ope.evaluate(
            learner_of(POLICY)._replace(mode=lambda state, observation: jnp.zeros(observation.shape[:-1], jnp.int32)),
            (),
            data.make_dataset(x, np.zeros(12, int), np.ones(12), x, np.zeros(12), cut),
            spaces.Discrete(2),
            discount=discount,
            fitting=ope.Fitting(steps=800, members=2, batch_size=8, learning_rate=3e-3, hidden_sizes=(8,)),
        )
        np.testing.assert_allclose(found.estimates["fitted Q evaluation"].value, 1 / (1 - discount), rtol=0.02)


@pytest.mark.parametrize(
    "steps, discount, expected", [(20_000, 0.99, 0.035), (10**6, 0.99, 0.005), (20_000, 0.999, 0.1), (9, 1.0, 0.1)]
)
def test_targets_move_as_fast_as_the_steps_ask(steps, discount, expected):
    assert ope.target_step(steps, discount) == pytest.approx(expected)
    error = (1 - expected * (1 - discount)) ** steps
    assert error < 1.001 * np.exp(-7) or steps < (ope.steps_to_rest(discount) if discount < 1 else np.inf)


def test_few_replicates_have_a_wider_interval():
    value, low, high, kind = ope._replicated(1.0, 0.0, 2.0)
    # Student's t with one degree of freedom has its 97.5 % quantile at tan(0.475 π).
    np.testing.assert_allclose([low, high], 1 + np.array([-1, 1]) * np.tan(0.475 * np.pi) * np.sqrt(2), rtol=1e-6)
    assert value == 1.0 and "2 bootstrap replicates" in kind


def test_a_fit_says_how_long_it_takes():
    stream, now = io.StringIO(), iter([0.0, 40.0, 50.0, 80.0, 100.0])
    report = reporting(stream=stream, clock=lambda: next(now))
    for done in (0, 1000, 2000, 3000, 4000):
        report("values", done, 4000)
    assert stream.getvalue().splitlines() == [
        "  fitting values: 0 of 4,000 gradient steps",
        "  fitting values: 1,000 of 4,000 gradient steps",
        "  fitting values: 3,000 of 4,000 gradient steps, 20 s left",
        "  fitting values: 4,000 of 4,000 gradient steps",
    ]


def test_a_policy_with_a_memory_is_refused():
    with pytest.raises(ValueError, match="memory cannot be evaluated"):
        ope.evaluate(learner_of(POLICY)._replace(memory=lambda n: None), (), logged(2), None, discount=0.9)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of IQL on a few steps of the pendulum, and its dataset."""
    folder = tmp_path_factory.mktemp("evaluate")
    environment = envs.make("rlx:pendulum", max_episode_steps=5)
    made = collect(environment, uniform_actions(environment.action_space), jax.random.key(0), 40)
    path = folder / "pendulum.hdf5"
    data.write_dataset(path, made, {"env": "rlx:pendulum", "ref_min_score": -60.0, "ref_max_score": 0.0})
    words = ["train", "iql", "--dataset", str(path), "--run-dir", str(folder / "run"), "--seeds", "1", "--quiet"]
    words += ["--total-steps", "20", "--updates-per-step", "1", "--hidden-sizes", "4", "--batch-size", "4"]
    words += ["--max-episode-steps", "2", "--eval-episodes", "1", "--reports", "20", "--evaluations", "20"]
    assert cli.main([*words, "--no-rollout", "--checkpoints", "1"]) == 0
    return folder


SMALL = ["--steps", "4", "--cloning-steps", "2", "--members", "2", "--hidden-sizes", "4", "--batch-size", "4"]


@pytest.mark.slow
def test_a_run_is_evaluated_on_its_own_dataset_from_the_command_line(run, tmp_path, capsys):
    out = tmp_path / "estimates.json"
    assert cli.main(["evaluate", str(run / "run"), "--stochastic", "--out", str(out), *SMALL]) == 0
    printed, warned = capsys.readouterr()
    assert "about 7,000 gradient steps at a discount of 0.99 and may be far off after 4: add --steps 7000" in warned
    assert "fitted Q evaluation" in printed and "effective episodes" in printed and "γ 0.99" in printed
    written = json.loads(out.read_text())
    assert len(written["estimates"]) == 5 and written["discount"] == 0.99
    assert cli.main(["evaluate", str(run / "run"), "--discount", "0.5", "--quiet", *SMALL]) == 0
    printed = capsys.readouterr().out
    assert "importance" not in printed and "deterministic" in printed and "γ 0.5" in printed


@pytest.mark.slow
def test_a_scored_run_says_its_score_over_the_last_evaluations(run):
    summary = json.loads((run / "run" / "summary.json").read_text())
    from rlx.training.metrics import MetricsTable

    measured = MetricsTable.read(run / "run" / "metrics.parquet")["eval_normalized_score"].compressed()
    assert len(measured) == 20 and summary["normalized_score"]["evaluations_averaged"] == 2
    np.testing.assert_allclose(summary["runs"][0]["normalized_score"], np.mean(measured[-2:]), rtol=1e-6)
    assert "Normalized score" in (run / "run" / "report.html").read_text()


@pytest.mark.parametrize(
    "words, message",
    [
        (["--discount", "1"], "--discount must be in [0, 1)"),
        (["--steps", "0"], "--steps must be in"),
        (["--members", "1"], "--members must be in"),
        (["--hidden-sizes", "0"], "--hidden-sizes must be positive"),
        ([], "no run folder"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(words, message, capsys):
    assert cli.main(["evaluate", "nowhere", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.slow
def test_a_dataset_of_other_shapes_is_refused(run, tmp_path, capsys):
    data.write_dataset(tmp_path / "other.hdf5", logged(2))
    assert cli.main(["evaluate", str(run / "run"), "--dataset", str(tmp_path / "other.hdf5")]) == 2
    assert "has observations of the shape (7,), the policy's are of (3,)" in capsys.readouterr().err
