"""Updates of DQN and PQN against float64 NumPy written apart, n-step returns of the replay, and ε-greedy actions."""

from collections import namedtuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rlx import envs, policies
from rlx.algorithms import Transition, dqn
from rlx.training import sources
from rlx.training.program import make_program, make_train
from rlx.training.sources.replay import spanning
from tests.algorithms.linear import assert_close, in_float64, numpy_descend, on_device

GAMMA, TAU, RATE, REWARD_SCALE = 0.9, 0.25, 0.05, 2.0
OBSERVATION, ACTIONS, SAMPLES = 3, 4, 7
DISCRETE = gymnasium.spaces.Discrete(ACTIONS)
LINEAR = policies.q_network(DISCRETE, ())


def numpy_q(params, observation):
    """Values of all actions by the only layer."""
    layer = params["params"]["MLP_0"]["Dense_0"]
    return observation @ layer["kernel"] + layer["bias"]


def make_batch(rng, *shape):
    """Transitions of which some end an episode, the one way or the other."""
    ends = rng.integers(0, 5, size=shape)
    return Transition(
        observation=rng.normal(size=(*shape, OBSERVATION)),
        action=rng.integers(0, ACTIONS, size=shape),
        reward=rng.normal(size=shape),
        terminated=ends == 0,
        truncated=ends == 1,
        next_observation=rng.normal(size=(*shape, OBSERVATION)),
        extras={},
    )


def in_pieces(state):
    return jax.tree.map(np.asarray, state)


def begin(learner, batch):
    """A state in float64 whose target network is another than its Q-network."""
    state = in_float64(learner.init(jax.random.key(0), on_device(batch)))
    if state.target_params is None:
        return state
    return state._replace(target_params=jax.tree.map(lambda x: jnp.cos(7 * x), state.params))


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("steps", [None, 3])
def test_one_update_of_dqn_in_float64(rng, float64, double, steps):
    learner = dqn.learner(
        LINEAR,
        optax.sgd(RATE),
        discount=GAMMA,
        double=double,
        target_period=1,
        tau=TAU,
        reward_scale=REWARD_SCALE,
        loss=dqn.squared_error,
    )
    batch = make_batch(rng, SAMPLES)
    spans = np.ones(SAMPLES, int) if steps is None else rng.integers(1, steps + 1, size=SAMPLES)
    if steps is not None:
        batch = batch._replace(extras={"steps": spans})
    assert batch.terminated.any() and batch.truncated.any()
    state = begin(learner, batch)
    new_state, metrics = jax.jit(learner.update)(state, on_device(batch), jax.random.key(1))
    state, new_state = in_pieces(state), in_pieces(new_state)

    target = []
    for i in range(SAMPLES):
        reached = batch.next_observation[i]
        later = numpy_q(state.target_params, reached)
        chosen = np.argmax(numpy_q(state.params, reached)) if double else np.argmax(later)
        follows = 0.0 if batch.terminated[i] else GAMMA ** spans[i] * later[chosen]
        target.append(REWARD_SCALE * batch.reward[i] + follows)

    def loss(params):
        q = numpy_q(params, batch.observation)
        return np.mean([0.5 * (q[i, batch.action[i]] - target[i]) ** 2 for i in range(SAMPLES)])

    assert_close(new_state.params, numpy_descend(loss, state.params, RATE))
    assert_close(metrics["critic_loss"], loss(state.params))
    expected = jax.tree.map(lambda new, old: TAU * new + (1 - TAU) * old, new_state.params, state.target_params)
    assert_close(new_state.target_params, expected, rtol=1e-12)
    assert new_state.step == 1


def test_the_conservative_gap_is_added_in_float64(rng, float64):
    weight = 0.7
    learner = dqn.learner(
        LINEAR,
        optax.sgd(RATE),
        discount=GAMMA,
        loss=dqn.squared_error,
        conservative_weight=weight,
    )
    batch = make_batch(rng, SAMPLES)
    state = begin(learner, batch)
    new_state, metrics = jax.jit(learner.update)(state, on_device(batch), jax.random.key(1))
    state, new_state = in_pieces(state), in_pieces(new_state)
    rows = np.arange(SAMPLES)
    chosen = np.argmax(numpy_q(state.params, batch.next_observation), axis=1)
    later = numpy_q(state.target_params, batch.next_observation)[rows, chosen]
    target = batch.reward + GAMMA * ~batch.terminated * later

    def gap(params):
        q = numpy_q(params, batch.observation)
        return np.mean(np.log(np.sum(np.exp(q), axis=1)) - q[rows, batch.action])

    def loss(params):
        error = numpy_q(params, batch.observation)[rows, batch.action] - target
        return np.mean(0.5 * error**2) + weight * gap(params)

    assert_close(new_state.params, numpy_descend(loss, state.params, RATE))
    assert_close(metrics["conservative_gap"], gap(state.params))


@pytest.mark.slow
def test_log_probabilities_are_those_of_the_exploring_policy(rng):
    learner = dqn.learner(LINEAR, optax.sgd(RATE), epsilon=0.3)
    batch = on_device(make_batch(rng, 5))
    state = learner.init(jax.random.key(0), batch)
    keys = jax.random.split(jax.random.key(1), 4000)
    drawn = jax.vmap(lambda key: learner.act(state, batch.observation, key)[0])(keys)
    for action in range(ACTIONS):
        found = jnp.exp(learner.log_prob(state, batch.observation, jnp.full(5, action)))
        np.testing.assert_allclose(found, np.mean(np.asarray(drawn) == action, axis=0), atol=0.03)


def test_what_is_learned_from_a_dataset_alone_counts_no_environment_steps(rng):
    learner = dqn.learner(LINEAR, optax.sgd(RATE))
    state = learner.init(jax.random.key(0), on_device(make_batch(rng, 2)))
    assert learner.observe(state, None) is state


@pytest.mark.slow
def test_double_q_learning_differs_where_the_networks_disagree(rng, float64):
    """Otherwise the oracle above could not tell them apart."""
    batch = make_batch(rng, SAMPLES)
    targets = []
    for double in (True, False):
        learner = dqn.learner(LINEAR, optax.sgd(RATE), double=double)
        _, metrics = learner.update(begin(learner, batch), on_device(batch), jax.random.key(1))
        targets.append(float(metrics["target"]))
    # The value of the other's choice is at most that of the own.
    assert targets[0] < targets[1] - 1e-3


def test_the_target_network_is_copied_every_few_steps(rng):
    learner = dqn.learner(LINEAR, optax.sgd(RATE), target_period=3, tau=1.0)
    batch = on_device(make_batch(rng, SAMPLES))
    state = learner.init(jax.random.key(0), batch)
    first, update = state.target_params, jax.jit(learner.update)
    for step in range(1, 7):
        state, _ = update(state, batch, jax.random.key(step))
        if step % 3 == 0:
            assert_close(state.target_params, state.params)
            first = state.params
        else:
            assert_close(state.target_params, first)
            assert not np.allclose(jax.tree.leaves(state.params)[1], jax.tree.leaves(first)[1])


def test_huber_is_the_error_clipped_to_one():
    q, target = jnp.array([0.0, 0.5, 3.0, -4.0]), jnp.array([0.0, 0.0, 0.0, 0.0])
    assert_close(jax.grad(lambda q: dqn.huber(q, target).sum())(q), [0.0, 0.5, 1.0, -1.0])
    assert_close(jax.grad(lambda target: dqn.huber(q, target).sum())(target), jnp.zeros(4))


def test_transitions_of_several_steps_end_with_their_episode(rng, float64):
    """Against a loop over the steps of each stretch; the last stretch has no end, others have one at each place."""
    n = 3
    stretch = make_batch(rng, 8, n)
    terminated, truncated = np.zeros((8, n), bool), np.zeros((8, n), bool)
    terminated[0, 0] = terminated[1, 1] = terminated[2, 2] = truncated[3, 0] = truncated[4, 1] = truncated[5, 2] = True
    # What follows the first end is another episode, whatever it holds.
    terminated[6, 1], truncated[6, 0] = True, True
    reward = stretch.reward.copy()
    reward[0, 1] = np.nan
    stretch = stretch._replace(terminated=terminated, truncated=truncated, reward=reward)
    found = jax.jit(spanning)(on_device(stretch), GAMMA)
    for i in range(8):
        total, last = 0.0, 0
        for k in range(n):
            total, last = total + GAMMA**k * reward[i, k], k
            if terminated[i, k] or truncated[i, k]:
                break
        assert found.extras["steps"][i] == last + 1
        assert found.terminated[i] == terminated[i, last] and found.truncated[i] == truncated[i, last]
        np.testing.assert_allclose(found.reward[i], total, rtol=1e-12)
        np.testing.assert_array_equal(found.next_observation[i], stretch.next_observation[i, last])
        np.testing.assert_array_equal(found.observation[i], stretch.observation[i, 0])
        assert found.action[i] == stretch.action[i, 0]


Step = namedtuple("Step", "observation next_observation reward terminated truncated")


class Counting:
    """Observes its episode's tag and the step that it is at; ends after five steps, the one way or the other."""

    max_episode_steps = 5
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, key):
        state = jnp.stack([jax.random.uniform(key), 0.0])
        return state, state

    def step(self, state, action, key):
        reached = state + jnp.array([0.0, 1.0])
        ended, tag_is_large = reached[1] == 5, state[0] > 0.5
        first, _ = self.reset(key)
        state = jnp.where(ended, first, reached)
        out = Step(
            observation=state,
            next_observation=reached,
            reward=reached[1],
            terminated=ended & tag_is_large,
            truncated=ended & ~tag_is_large,
        )
        return state, out


@pytest.mark.slow
def test_the_replay_draws_neighbors_of_one_environment():
    environment, n_step = Counting(), 3
    learner = dqn.learner(policies.q_network(environment.action_space, (4,)), optax.sgd(0.0), epsilon=0.5)
    # So small a buffer that it wraps around many times.
    source = sources.replay(
        environment, learner, num_envs=3, batch_size=64, buffer_size=64, warmup_steps=9, n_step=n_step, discount=GAMMA
    )
    state, _ = jax.jit(make_train(make_program(source, learner), 50))(jax.random.key(0))
    drawn = jax.device_get(jax.jit(lambda key: source.draw(state.source, None, key))(jax.random.key(1)))
    tag, before = drawn.observation.T
    tag_then, after = drawn.next_observation.T
    steps = np.minimum(n_step, 5 - before)
    np.testing.assert_array_equal(tag, tag_then)
    np.testing.assert_array_equal(drawn.extras["steps"], steps)
    np.testing.assert_array_equal(after - before, steps)
    np.testing.assert_array_equal(drawn.terminated, (after == 5) & (tag > 0.5))
    np.testing.assert_array_equal(drawn.truncated, (after == 5) & (tag <= 0.5))
    rewards = [sum(GAMMA**k * (b + k + 1) for k in range(int(m))) for b, m in zip(before, steps)]
    np.testing.assert_allclose(drawn.reward, rewards, rtol=1e-6)
    assert len(np.unique(tag)) > 5 and drawn.terminated.any() and drawn.truncated.any() and (steps < 3).any()
    assert int(state.learner.env_steps) == 9 + 50 * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(n_step=5, warmup_steps=2), "n_step=5 steps of each environment"),
        (dict(n_step=0), "n_step"),
        (dict(n_step=200, warmup_steps=210, buffer_size=300), "at least 400"),
    ],
)
def test_a_replay_that_cannot_span_so_many_steps_says_so(options, message):
    environment = envs.make("rlx:chain")
    learner = dqn.learner(policies.q_network(environment.action_space, ()), optax.sgd(0.1))
    with pytest.raises(ValueError, match=message):
        sources.replay(environment, learner, **(dict(num_envs=2, batch_size=4) | options))


def numpy_lambda_target(params, batch, lambda_):
    """Backwards over each environment's steps, as the paper defines it."""
    time, env = batch.reward.shape
    target = np.zeros((time, env))
    for e in range(env):
        for t in reversed(range(time)):
            value = numpy_q(params, batch.next_observation[t, e]).max()
            if batch.terminated[t, e]:
                follows = 0.0
            elif batch.truncated[t, e] or t == time - 1:
                follows = value
            else:
                follows = (1 - lambda_) * value + lambda_ * target[t + 1, e]
            target[t, e] = REWARD_SCALE * batch.reward[t, e] + GAMMA * follows
    return target


def make_rollout(rng, time, env):
    """Like `make_batch`, but what a step reaches is what the next acts on, unless an episode ended."""
    batch = make_batch(rng, time, env)
    done = batch.terminated | batch.truncated
    follows = np.concatenate([batch.observation[1:], batch.next_observation[-1:]])
    return batch._replace(next_observation=np.where(done[..., None], batch.next_observation, follows))


@pytest.mark.parametrize("lambda_", [0.0, 0.65, 1.0])
def test_one_update_of_pqn_in_float64(rng, float64, lambda_):
    time, env = 6, 5
    learner = dqn.parallel_learner(
        LINEAR,
        optax.sgd(RATE),
        discount=GAMMA,
        lambda_=lambda_,
        update_epochs=1,
        num_minibatches=1,
        reward_scale=REWARD_SCALE,
    )
    batch = make_rollout(rng, time, env)
    assert batch.terminated[:-1].any() and batch.truncated[:-1].any() and not batch.terminated[-1].all()
    state = begin(learner, batch)
    new_state, metrics = jax.jit(learner.update)(state, on_device(batch), jax.random.key(1))
    state = in_pieces(state)
    target = numpy_lambda_target(state.params, batch, lambda_)

    def loss(params):
        q = numpy_q(params, batch.observation)
        taken = np.take_along_axis(q, batch.action[..., None], -1)[..., 0]
        return 0.5 * ((taken - target) ** 2).mean()

    assert_close(new_state.params, numpy_descend(loss, state.params, RATE))
    assert_close(metrics["target"], target.mean())
    assert new_state.target_params is None and new_state.step == 1


@pytest.mark.slow
def test_targets_of_pqn_at_their_limits(rng):
    """λ = 0: one step and the value reached. λ = 1: the rewards up to the end, which a termination leaves alone."""
    batch = make_rollout(rng, 4, 1)._replace(
        truncated=np.zeros((4, 1), bool), terminated=np.array([[False], [False], [False], [True]])
    )
    params = in_pieces(LINEAR.init(jax.random.key(0), jnp.zeros(OBSERVATION)))
    one_step = REWARD_SCALE * batch.reward + GAMMA * ~batch.terminated * numpy_q(params, batch.next_observation).max(-1)
    to_go = [sum(GAMMA ** (k - t) * REWARD_SCALE * batch.reward[k, 0] for k in range(t, 4)) for t in range(4)]
    for lambda_, expected in ((0.0, one_step), (1.0, np.array(to_go))):
        learner = dqn.parallel_learner(
            LINEAR,
            optax.sgd(0.0),
            discount=GAMMA,
            lambda_=lambda_,
            update_epochs=1,
            num_minibatches=1,
            reward_scale=REWARD_SCALE,
        )
        state = learner.init(jax.random.key(0), on_device(batch))
        _, metrics = learner.update(state, jax.tree.map(lambda x: jnp.asarray(x), batch), jax.random.key(1))
        np.testing.assert_allclose(metrics["target"], expected.mean(), rtol=1e-5)


def test_every_sample_of_a_rollout_is_learned_from_once_an_epoch(rng):
    """A network whose gradient counts the visits of each sample."""
    time, env, epochs = 4, 6, 3
    counting = policies.Network(
        init=lambda key, observation: jnp.zeros(time * env),
        apply=lambda params, observation: params[observation.astype(jnp.int32)][..., None] * jnp.ones(2),
    )
    learner = dqn.parallel_learner(
        counting, optax.sgd(1.0), update_epochs=epochs, num_minibatches=time, loss=lambda q, _: -q * env
    )
    index = jnp.arange(time * env, dtype=jnp.float32).reshape(time, env)
    batch = on_device(make_batch(rng, time, env))._replace(
        observation=index, next_observation=index, action=jnp.zeros((time, env), jnp.int32)
    )
    state = learner.init(jax.random.key(0), batch)
    state, _ = jax.jit(learner.update)(state, batch, jax.random.key(1))
    np.testing.assert_allclose(state.params, epochs, rtol=1e-6)
    assert state.step == epochs * time
    with pytest.raises(ValueError, match="divide the 24 samples"):
        dqn.parallel_learner(counting, optax.sgd(1.0), num_minibatches=5).update(state, batch, jax.random.key(1))


def test_actions_are_random_as_often_as_epsilon_says():
    count, epsilon = 40_000, 0.3
    q = jnp.broadcast_to(jnp.array([0.0, 1.0, 5.0, 2.0]), (count, ACTIONS))
    action = dqn.epsilon_greedy(jax.random.key(0), q, epsilon)
    share = np.bincount(action, minlength=ACTIONS) / count
    expected = np.full(ACTIONS, epsilon / ACTIONS)
    expected[2] += 1 - epsilon
    # Five standard deviations of a share.
    np.testing.assert_allclose(share, expected, atol=5 * np.sqrt(0.25 / count))
    assert np.all(dqn.epsilon_greedy(jax.random.key(0), q, 0.0) == 2)


def test_epsilon_falls_with_the_environment_steps_that_were_observed(rng):
    epsilon = dqn.linear_epsilon(1.0, 0.1, 100)
    assert_close([epsilon(step) for step in (0, 50, 100, 1000)], [1.0, 0.55, 0.1, 0.1], rtol=1e-6)
    learner = dqn.learner(LINEAR, optax.sgd(RATE), epsilon=epsilon)
    batch = on_device(make_batch(rng, 5, 10))
    state = learner.init(jax.random.key(0), jax.tree.map(lambda x: x[0], batch))
    for steps in (50, 100):
        state = learner.observe(state, batch)
        assert state.env_steps == steps
    _, metrics = learner.update(state, jax.tree.map(lambda x: x[0], batch), jax.random.key(0))
    assert_close(metrics["epsilon"], 0.1, rtol=1e-6)
    far = learner.observe(state._replace(env_steps=jnp.array(dqn.LAST_COUNTED_STEP - 1, jnp.int32)), batch)
    assert far.env_steps == dqn.LAST_COUNTED_STEP


def test_advantages_of_a_dueling_network_say_nothing_of_the_state(rng):
    network = policies.q_network(DISCRETE, (8, 5), dueling=True)
    observation = jnp.asarray(rng.normal(size=(6, OBSERVATION)), jnp.float32)
    params = network.init(jax.random.key(0), observation[0])
    q = network.apply(params, observation)
    assert q.shape == (6, ACTIONS)
    # The output layer of the stream of advantages: its bias alone moves no mean over the actions.
    bias = lambda x: {**x, "MLP_2": {**x["MLP_2"], "Dense_1": {**x["MLP_2"]["Dense_1"], "bias": jnp.arange(4.0)}}}
    moved = network.apply({"params": bias(params["params"])}, observation)
    assert_close(moved.mean(-1), q.mean(-1), atol=1e-5)
    assert not np.allclose(moved, q)
    # The stream of the value moves all actions alike.
    value = lambda x: {**x, "MLP_1": {**x["MLP_1"], "Dense_1": {**x["MLP_1"]["Dense_1"], "bias": jnp.ones(1)}}}
    assert_close(network.apply({"params": value(params["params"])}, observation) - q, jnp.ones((6, 4)), rtol=1e-5)
    with pytest.raises(ValueError, match="hidden layer"):
        policies.q_network(DISCRETE, (), dueling=True)
    with pytest.raises(ValueError, match="Discrete"):
        policies.q_network(gymnasium.spaces.Box(-1.0, 1.0, (2,)))


@pytest.mark.slow
def test_images_are_seen_as_they_are():
    """A convolution that moves with the image, leading axes that are free, bytes that are scaled."""
    network = policies.q_network(DISCRETE, (8,), channels=(5, 3), layer_norm=True, pixel_scale=1 / 255)
    image = jax.random.randint(jax.random.key(0), (2, 3, 10, 9, 4), 0, 256).astype(jnp.uint8)
    params = network.init(jax.random.key(1), image[0, 0])
    assert params["params"]["Conv_1"]["kernel"].shape == (3, 3, 5, 3)
    assert params["params"]["MLP_0"]["Dense_0"]["kernel"].shape == (6 * 5 * 3, 8)
    q = network.apply(params, image)
    assert q.shape == (2, 3, ACTIONS)
    assert_close(network.apply(params, image[1, 2]), q[1, 2], rtol=1e-4, atol=1e-5)
    unscaled = policies.q_network(DISCRETE, (8,), channels=(5, 3), layer_norm=True)
    assert_close(unscaled.apply(params, image / 255), q, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_convolution_is_that_of_the_library():
    """The product of patches that stands for it on a CPU, against a sum over the kernel's places in float64."""
    network = policies.q_network(DISCRETE, (), channels=(5,), activation="tanh")
    rng = np.random.default_rng(0)
    image = rng.normal(size=(3, 7, 6, 4)).astype(np.float32)
    params = jax.tree.map(lambda x: x + 0.1, network.init(jax.random.key(1), jnp.asarray(image[0])))
    kernel, bias = (np.float64(params["params"]["Conv_0"][name]) for name in ("kernel", "bias"))
    convolved = np.zeros((3, 5, 4, 5)) + bias
    for n, row, column, i, j in np.ndindex(3, 5, 4, 3, 3):
        convolved[n, row, column] += np.float64(image[n, row + i, column + j]) @ kernel[i, j]
    dense = {name: np.float64(x) for name, x in params["params"]["MLP_0"]["Dense_0"].items()}
    expected = np.tanh(convolved).reshape(3, -1) @ dense["kernel"] + dense["bias"]
    assert_close(network.apply(params, jnp.asarray(image)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dqn", "n-step dueling dqn", "pqn"])
def test_the_chain_is_walked_to_its_end(kind):
    """The near end gives a little, the far one much; uniform actions seldom get there."""
    environment = envs.make("rlx:chain")
    network = policies.q_network(environment.action_space, (32,), layer_norm=kind == "pqn", dueling="dueling" in kind)
    epsilon = dqn.linear_epsilon(1.0, 0.05, 8000 if kind == "pqn" else 3000)
    if kind == "pqn":
        learner = dqn.parallel_learner(
            network, optax.radam(5e-3), discount=0.95, epsilon=epsilon, num_minibatches=4, update_epochs=4
        )
        source = sources.rollouts(environment, learner, num_envs=16, unroll_length=16)
        updates = 60
    else:
        n_step = 3 if "n-step" in kind else 1
        learner = dqn.learner(
            network, optax.adam(5e-3), discount=0.95, epsilon=epsilon, target_period=20, tau=1.0, double=True
        )
        source = sources.replay(
            environment,
            learner,
            num_envs=16,
            batch_size=64,
            updates_per_step=2,
            buffer_size=8192,
            warmup_steps=512,
            n_step=n_step,
            discount=0.95,
        )
        updates = 350
    state, metrics = jax.jit(make_train(make_program(source, learner), updates))(jax.random.key(0))
    everywhere = jnp.eye(environment.observation_space.shape[0])
    assert metrics["epsilon"][-1] < 0.06
    assert np.all(learner.mode(state.learner, everywhere) == 1)
