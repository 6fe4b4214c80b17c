"""Off-policy training: what the replay holds, that it resumes exactly, and that seeds do not meet."""

import json
import shutil

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from rlx.algorithms import with_running_normalization
from rlx.training.fit import fit
from rlx.training.interaction import uniform_actions
from rlx.training.program import make_train
from tests.training.off_policy_toy import assert_same, make_learner, make_replay, replay_program
from tests.training.toy import LIMIT, Toy

pytestmark = pytest.mark.long(minutes=0.5)

UPDATES = 6


def run(run_dir=None, *, seeds=(0, 1, 2), build=make_replay, **options):
    return fit(
        build,
        seeds=seeds,
        hyperparameters={"learning_rate": [1e-2] * len(seeds)},
        num_envs=4,
        steps_per_update=8,
        initial_steps=16,
        num_updates=UPDATES,
        updates_per_report=2,
        run_dir=run_dir,
        config={"algorithm": "td3", "env": "toy"},
        quiet=True,
        **options,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    return path, run(path)


def test_the_newest_transitions_are_kept_in_order():
    """14 places for 4 + 3·8 transitions, the reward of each made of what it reached."""

    class Counting(Toy):
        def step(self, state, action, key):
            state, out = super().step(state, action, key)
            return state, out._replace(reward=100 * out.next_observation[1] + out.next_observation[0])

    program = replay_program(
        Counting(),
        make_learner(),
        num_envs=4,
        unroll_length=2,
        updates_per_step=2,
        batch_size=2,
        buffer_size=14,
        warmup_steps=4,
    )
    state = program.init(jax.random.key(0))
    assert not state.source.past.is_full and state.source.past.current_index == 4
    for _ in range(3):
        state, _ = program.step(state)
    assert state.source.past.is_full and state.source.past.current_index == 28 % 14
    held = jax.tree.map(lambda x: np.asarray(x[0]), state.source.past.experience)
    time = held.next_observation[:, 0]
    # The seven steps of four environments: 1, 2 … 5 and again 1, 2. The last 14 transitions begin within the fourth.
    np.testing.assert_array_equal(time, np.repeat([4, 5, 1, 2], 4)[2:])
    np.testing.assert_array_equal(held.truncated, time == LIMIT)
    np.testing.assert_array_equal(held.observation[:, 0], time - 1)
    # What an episode reached belongs to the same episode, also where the next one has begun.
    np.testing.assert_array_equal(held.observation[:, 1], held.next_observation[:, 1])
    np.testing.assert_allclose(held.reward, 100 * held.next_observation[:, 1] + time, rtol=1e-6)
    # Of the fourth step, those of the first two environments had to make room.
    np.testing.assert_array_equal(held.observation[:2, 1], held.observation[4:6, 1])


@pytest.mark.slow
@pytest.mark.parametrize("warmup_policy", ["uniform", "untrained"])
def test_the_random_start_acts_uniformly_or_by_the_policy_as_it_begins(warmup_policy):
    learner = make_learner()
    certain = learner._replace(act=lambda state, observation, key: (jnp.full((len(observation), 1), 0.25), {}))
    program = replay_program(
        Toy(), certain, num_envs=2, updates_per_step=2, warmup_steps=40, warmup_policy=warmup_policy
    )
    actions = np.asarray(program.init(jax.random.key(0)).source.past.experience.action)[0, :40, 0]
    if warmup_policy == "untrained":
        np.testing.assert_array_equal(actions, 0.25)
    else:
        assert len(np.unique(actions)) == 40 and actions.min() < -0.7 and actions.max() > 0.7


@pytest.mark.slow
def test_minibatches_come_from_what_is_there():
    """A replay that is far from full must not give its empty places."""
    seen = []
    learner = make_learner()
    spying = learner._replace(
        update=lambda state, batch, key: (
            jax.debug.callback(lambda *x: seen.append(x), batch.next_observation[:, 0], batch.truncated),
            (state, {"loss": jnp.zeros(())}),
        )[1]
    )
    program = replay_program(
        Toy(), spying, num_envs=2, updates_per_step=4, batch_size=64, buffer_size=1000, warmup_steps=9
    )
    jax.block_until_ready(jax.jit(program.step)(program.init(jax.random.key(0))))
    jax.effects_barrier()
    # Five random steps of each environment and one of the policy: the last begins the second episode.
    time, truncated = (np.concatenate(x) for x in zip(*seen))
    assert time.shape == (4 * 64,)
    values, counts = np.unique(time, return_counts=True)
    np.testing.assert_array_equal(values, [1, 2, 3, 4, 5])
    np.testing.assert_allclose(counts / time.size, np.array([2, 1, 1, 1, 1]) / 6, atol=0.08)
    np.testing.assert_array_equal(truncated, time == LIMIT)


@pytest.mark.slow
def test_a_normalizing_learner_sees_every_transition_once():
    """Moments are those of all that the replay holds, the random steps included."""
    learner = with_running_normalization(make_learner())
    program = replay_program(
        Toy(), learner, num_envs=4, unroll_length=2, updates_per_step=2, batch_size=8, buffer_size=64, warmup_steps=8
    )
    state, _ = jax.jit(make_train(program, 3))(jax.random.key(0))
    held = np.asarray(state.source.past.experience.observation[0, : 8 + 3 * 8], np.float64)
    moments = state.learner.observation_moments
    assert moments.count == len(held) and state.learner.learner.step == 3 * 2
    np.testing.assert_allclose(moments.mean, held.mean(0), rtol=1e-5)
    np.testing.assert_allclose(moments.variance, held.var(0), rtol=1e-5)
    assert set(state.params) == {"actor", "critic"}


def test_a_run_counts_its_random_steps(whole):
    _, fitted = whole
    np.testing.assert_array_equal(fitted.metrics["env_steps"], np.repeat([32, 48, 64], 3))
    assert fitted.summary["total_steps"] == 64
    assert (fitted.state.learner.step == 4 * UPDATES).all()
    # 64 steps of 4 environments are 16 each: three episodes have ended.
    np.testing.assert_array_equal(fitted.state.source.acting.episodes.finished, 3)
    for name in ("critic_loss", "actor_loss", "q", "return_mean", "eval_return_mean"):
        assert np.isfinite(fitted.metrics[name].astype(float).filled(np.nan)).all(), name


def test_a_resumed_run_is_the_same_with_its_replay(whole, tmp_path):
    path, fitted = whole
    shutil.copytree(path, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / str(UPDATES))
    (tmp_path / "run" / "summary.json").unlink()
    resumed = run(tmp_path / "run", resume=True)
    assert resumed.resumed_from == 4
    assert_same(resumed.state, fitted.state)
    ours, theirs = (json.loads((p / "summary.json").read_text())["runs"] for p in (tmp_path / "run", path))
    assert ours == theirs


@pytest.mark.slow
def test_a_replay_may_be_left_out_of_checkpoints(whole, tmp_path):
    """The learner comes back as it was; the replay begins anew, so the run goes on, but not as it would have."""
    path, fitted = whole
    lean = run(tmp_path / "run", replay_in_checkpoints=False)
    assert_same(lean.state, fitted.state)  # leaving out changes nothing while it runs
    # Of the arrays, since the books that the storage format keeps of its files differ by more from save to save.
    stored = lambda folder: ocp.PyTreeCheckpointHandler().metadata(folder.resolve() / "checkpoints" / "4" / "default")
    size = lambda folder: sum(
        np.prod(array.shape, dtype=int) * array.dtype.itemsize for array in jax.tree.leaves(stored(folder).tree)
    )
    assert size(tmp_path / "run") < size(path)
    shutil.rmtree(tmp_path / "run" / "checkpoints" / str(UPDATES))
    (tmp_path / "run" / "summary.json").unlink()
    resumed = run(tmp_path / "run", resume=True, replay_in_checkpoints=False)
    assert resumed.resumed_from == 4 and resumed.summary is not None
    # 16 random transitions and those of two updates, where the uninterrupted replay has those of six.
    np.testing.assert_array_equal(resumed.state.source.past.current_index, 16 + 2 * 8)
    np.testing.assert_array_equal(resumed.state.learner.step, fitted.state.learner.step)


@pytest.mark.slow
def test_a_seed_alone_is_the_seed_in_company(whole):
    _, fitted = whole
    alone = run(seeds=[1])
    assert_same(
        jax.tree.map(lambda x: x[0], alone.state),
        jax.tree.map(lambda x: x[1], fitted.state),
        rtol=1e-4,
        atol=1e-5,
    )


def test_the_whole_run_is_a_function_of_a_key():
    program = make_replay(warmup_steps=0)
    train = jax.jit(jax.vmap(make_train(program, 3)))
    state, metrics = train(jax.random.split(jax.random.key(0), 2))
    assert metrics["critic_loss"].shape == (2, 3)
    np.testing.assert_array_equal(state.source.past.current_index, 3 * 8)
    assert set(state.params) == {"actor", "critic"}


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_envs": 0}, "num_envs must be at least 1, got 0"),
        ({"warmup_policy": "expert"}, "warmup_policy must be one of 'uniform', 'untrained', got 'expert'"),
        ({"updates_per_step": 3}, "multiple of the 2 gradient steps"),
        ({"buffer_size": 7}, "at least 16, got 7"),
        ({"buffer_size": 9, "warmup_steps": 0, "batch_size": 10}, "at least 20, got 9"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_replay(**options)


def test_random_actions_fill_their_space():
    space = gymnasium.spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([0.0, 5.0], np.float32))
    actions = uniform_actions(space)(jnp.zeros((2000, 3)), jax.random.key(0))
    np.testing.assert_allclose(actions.min(0), space.low, atol=0.02)
    np.testing.assert_allclose(actions.max(0), space.high, atol=0.02)
    drawn = uniform_actions(gymnasium.spaces.Discrete(3, start=1))(jnp.zeros(100), jax.random.key(0))
    assert set(np.asarray(drawn).tolist()) == {1, 2, 3}
    with pytest.raises(ValueError, match="bounded Box or a Discrete"):
        uniform_actions(gymnasium.spaces.Box(-np.inf, np.inf, (1,)))
