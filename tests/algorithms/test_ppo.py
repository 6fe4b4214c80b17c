"""PPO's update against an independent float64 NumPy computation, and the meaning of its options."""

from typing import NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rlx import controllers, policies
from rlx.algorithms import Transition, ppo, with_running_normalization
from tests.algorithms.linear import assert_close, numpy_descend

TIME, ENV, OBSERVATION, HIDDEN = 4, 3, 2, 3
BOX = gymnasium.spaces.Box(-1.0, 1.0, (2,))
CLIP, GAMMA, LAMBDA, VALUE_COEFFICIENT, ENTROPY_COEFFICIENT = 0.2, 0.9, 0.8, 0.7, 0.03


def make_learner(optimizer=None, **options):
    defaults = dict(
        update_epochs=1,
        num_minibatches=1,
        discount=GAMMA,
        lambda_=LAMBDA,
        value_coefficient=VALUE_COEFFICIENT,
        regularizers={"entropy": (ENTROPY_COEFFICIENT, ppo.negative_entropy)},
    )
    return ppo.learner(
        policies.policy(BOX, (HIDDEN,)),
        policies.critic((HIDDEN,)),
        optax.sgd(1.0) if optimizer is None else optimizer,
        **(defaults | options),
    )


@pytest.fixture
def batch(rng):
    observation = rng.normal(size=(TIME + 1, ENV, OBSERVATION))
    terminated = np.zeros((TIME, ENV), bool)
    truncated = np.zeros((TIME, ENV), bool)
    terminated[1, 0], truncated[2, 1], truncated[3, 2] = True, True, True
    done = terminated | truncated
    reached = rng.normal(size=(TIME, ENV, OBSERVATION))
    raw = rng.normal(size=(TIME, ENV, 2))
    return Transition(
        observation=observation[:-1],
        action=np.clip(raw, -1, 1),
        reward=rng.normal(size=(TIME, ENV)),
        terminated=terminated,
        truncated=truncated,
        next_observation=np.where(done[..., None], reached, observation[1:]),
        extras={"raw_action": raw, "log_prob": rng.normal(size=(TIME, ENV)) * 0.4 - 2.8},
    )


@pytest.fixture
def batch32(batch):
    """The batch in the dtypes of training; NumPy's own are for the float64 oracle."""
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32 if x.dtype == float else None), batch)


@pytest.fixture
def example(batch32):
    return jax.tree.map(lambda x: x[0], batch32)


def numpy_network(params, x):
    layers = params["params"]
    layers = layers.get("mlp", layers)
    x = np.tanh(x @ layers["Dense_0"]["kernel"] + layers["Dense_0"]["bias"])
    return x @ layers["Dense_1"]["kernel"] + layers["Dense_1"]["bias"]


def numpy_targets(params, batch):
    """Advantages and targets by the definition: a sum over the rest of the episode, no recursion."""
    value = numpy_network(params["critic"], batch.observation)[..., 0]
    next_value = numpy_network(params["critic"], batch.next_observation)[..., 0]
    delta = batch.reward + GAMMA * (1 - batch.terminated) * next_value - value
    advantage = np.zeros_like(delta)
    for env in range(ENV):
        for start in range(TIME):
            weight = 1.0
            for t in range(start, TIME):
                advantage[start, env] += weight * delta[t, env]
                if batch.terminated[t, env] or batch.truncated[t, env]:
                    break
                weight *= GAMMA * LAMBDA
    return advantage, advantage + value


def numpy_loss(params, batch, advantage, target):
    """The PPO objective, with A and G as constants."""
    mean = numpy_network(params["policy"], batch.observation)
    log_std = params["policy"]["params"]["log_std"]
    raw = batch.extras["raw_action"]
    log_prob = (-0.5 * ((raw - mean) / np.exp(log_std)) ** 2 - log_std - 0.5 * np.log(2 * np.pi)).sum(-1)
    ratio = np.exp(log_prob - batch.extras["log_prob"])
    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    surrogate = -np.minimum(ratio * advantage, np.clip(ratio, 1 - CLIP, 1 + CLIP) * advantage)
    value = numpy_network(params["critic"], batch.observation)[..., 0]
    entropy = (0.5 * np.log(2 * np.pi * np.e) + log_std).sum()
    return {
        "policy_loss": surrogate.mean(),
        "value_loss": VALUE_COEFFICIENT * 0.5 * ((value - target) ** 2).mean(),
        "entropy_loss": -ENTROPY_COEFFICIENT * entropy,
        "clip_fraction": (np.abs(ratio - 1) > CLIP).mean(),
        "approximate_kl": (ratio - 1 - np.log(ratio)).mean(),
    }


def test_one_update_is_the_gradient_of_the_objective_in_float64(batch, example, float64):
    """SGD with step size 1 on one minibatch moves the parameters by minus the gradient."""
    learner = make_learner()
    state = learner.init(jax.random.key(0), example)
    state = jax.tree.map(lambda x: x.astype(jnp.float64) if x.dtype == jnp.float32 else x, state)
    params = jax.tree.map(np.asarray, state.params)
    new_state, metrics = jax.jit(learner.update)(state, batch, jax.random.key(1))

    advantage, target = numpy_targets(params, batch)
    expected = numpy_loss(params, batch, advantage, target)
    assert 0 < expected["clip_fraction"] < 1  # the data must reach both branches of the clip
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-9, err_msg=name)

    total = lambda p: sum(v for k, v in numpy_loss(p, batch, advantage, target).items() if k.endswith("loss"))
    leaves, structure = jax.tree.flatten(params)
    for i, leaf in enumerate(leaves):
        gradient = np.zeros_like(leaf)
        for index in np.ndindex(leaf.shape):
            ends = []
            for sign in (1, -1):
                moved = leaf.copy()
                moved[index] += sign * 1e-6
                ends.append(total(jax.tree.unflatten(structure, [*leaves[:i], moved, *leaves[i + 1 :]])))
            gradient[index] = (ends[0] - ends[1]) / 2e-6
        step = np.asarray(jax.tree.leaves(new_state.params)[i]) - leaf
        np.testing.assert_allclose(step, -gradient, rtol=1e-5, atol=1e-8)


@pytest.mark.slow
def test_first_ratio_is_one_although_observations_are_normalized(example):
    """The update uses the moments that acted; the new ones are for the next rollout."""
    learner = with_running_normalization(make_learner(), on_policy=True)
    state = learner.init(jax.random.key(0), example)
    observation = 5 + 3 * jax.random.normal(jax.random.key(1), (TIME, ENV, OBSERVATION))
    for _ in range(2):
        action, extras = learner.act(state, observation, jax.random.key(2))
        batch = Transition(
            observation,
            action,
            jnp.ones((TIME, ENV)),
            jnp.zeros((TIME, ENV), bool),
            jnp.zeros((TIME, ENV), bool),
            observation,
            extras,
        )
        state, metrics = jax.jit(learner.update)(state, batch, jax.random.key(3))
        np.testing.assert_allclose(metrics["ratio_max"], 1.0, atol=1e-5)
        assert metrics["clip_fraction"] == 0
    np.testing.assert_allclose(state.observation_moments.mean, observation.mean((0, 1)), rtol=1e-4)


@pytest.mark.slow
def test_target_kl_stops_the_gradient_steps(batch32, example):
    run = lambda **options: jax.jit(make_learner(update_epochs=5, optimizer=optax.sgd(0.1), **options).update)
    state = make_learner().init(jax.random.key(0), example)
    free, _ = run()(state, batch32, jax.random.key(1))
    stopped, metrics = run(target_kl=0.0)(state, batch32, jax.random.key(1))
    loose, _ = run(target_kl=1e6)(state, batch32, jax.random.key(1))
    assert free.step == 5 and stopped.step == 0 and metrics["update_fraction"] == 0
    jax.tree.map(np.testing.assert_array_equal, stopped.params, state.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), loose.params, free.params)


def test_adaptive_kl_adds_a_penalty_and_moves_its_coefficient(batch32, example):
    learner = make_learner(adaptive_kl=controllers.adaptive_kl(target=1e-6))
    state = learner.init(jax.random.key(0), example)
    new_state, metrics = jax.jit(learner.update)(state, batch32, jax.random.key(1))
    np.testing.assert_allclose(metrics["kl_loss"], metrics["approximate_kl"], rtol=1e-6)  # coefficient 1
    np.testing.assert_allclose(new_state.kl_controller.coefficient, 2.0)


def test_slots_replace_the_surrogate_and_add_regularizers(batch32, example):
    learner = make_learner(
        surrogate=lambda b: -b.log_prob,
        regularizers={"twice": (2.0, lambda b: b.value**2), "value": (0.5, lambda b: b.value)},
    )
    state = learner.init(jax.random.key(0), example)
    _, metrics = jax.jit(learner.update)(state, batch32, jax.random.key(1))
    params = jax.tree.map(lambda x: np.asarray(x, float), state.params)
    value = numpy_network(params["critic"], np.asarray(batch32.observation, float))[..., 0]
    np.testing.assert_allclose(metrics["twice_loss"], 2 * (value**2).mean(), rtol=1e-5)


@pytest.mark.slow
def test_hyperparameters_are_vmappable(batch32, example):
    """A sweep over every number at once equals the settings run one by one."""

    def update(setting):
        learner = make_learner(
            optax.chain(optax.clip_by_global_norm(setting["norm"]), optax.adam(setting["rate"])),
            discount=setting["discount"],
            lambda_=setting["lambda_"],
            clip=setting["clip"],
            reward_scale=setting["scale"],
            value_coefficient=setting["value"],
            regularizers={"entropy": (setting["entropy"], ppo.negative_entropy)},
            target_kl=setting["kl"],
        )
        return learner.update(learner.init(jax.random.key(0), example), batch32, jax.random.key(1))[0].params

    names = ("norm", "rate", "discount", "lambda_", "clip", "scale", "value", "entropy", "kl")
    settings = {name: jnp.linspace(0.1 + 0.01 * i, 0.9, 3) for i, name in enumerate(names)}
    swept = jax.jit(jax.vmap(update))(settings)
    one = jax.jit(update)
    for i in range(3):
        alone = one({name: values[i] for name, values in settings.items()})
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a[i], b, rtol=1e-5, atol=1e-6), swept, alone)


def test_shared_torso_trains_all_three_parts(batch32, example):
    learner = ppo.learner(
        policies.policy(BOX, ()),
        policies.critic(()),
        optax.sgd(0.1),
        torso=policies.torso((HIDDEN,)),
        num_minibatches=2,
        normalize_reward=True,
    )
    state = learner.init(jax.random.key(0), example)
    new_state, _ = jax.jit(learner.update)(state, batch32, jax.random.key(1))
    for part in ("torso", "policy", "critic"):
        moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), state.params[part], new_state.params[part])
        assert max(jax.tree.leaves(moved)) > 0, part


@pytest.mark.parametrize("rate", [0.25, optax.linear_schedule(0.25, 0.0, 4)])
def test_the_learning_rate_is_reported(batch32, example, rate):
    learner = make_learner(optax.inject_hyperparams(optax.adam)(learning_rate=rate), num_minibatches=2)
    _, metrics = jax.jit(learner.update)(learner.init(jax.random.key(0), example), batch32, jax.random.key(1))
    # The rate of the second and last step.
    np.testing.assert_allclose(metrics["learning_rate"], 0.25 if rate == 0.25 else 0.25 * 3 / 4)


def numpy_kl(params, other, batch):
    """KL of one Gaussian policy from another, averaged over the batch."""
    means = [numpy_network(x["policy"], batch.observation) for x in (params, other)]
    stds = [np.exp(x["policy"]["params"]["log_std"]) for x in (params, other)]
    per_dimension = np.log(stds[1] / stds[0]) + (stds[0] ** 2 + (means[0] - means[1]) ** 2) / (2 * stds[1] ** 2) - 0.5
    return per_dimension.sum(-1).mean()


@pytest.mark.parametrize(("target", "factor"), [(1e-9, 1 / 1.5), (1.0, 1.5)])
def test_the_adaptive_learning_rate_is_moved_before_every_step_but_the_first(batch, example, float64, target, factor):
    """Three steps of gradient descent on the whole batch, by a rate that the KL before the step has moved."""
    learner = make_learner(
        optax.inject_hyperparams(optax.sgd)(learning_rate=2e-3),
        update_epochs=3,
        adaptive_learning_rate=controllers.kl_adaptive_learning_rate(target=target),
    )
    state = learner.init(jax.random.key(0), example)
    state = jax.tree.map(lambda x: x.astype(jnp.float64) if x.dtype == jnp.float32 else x, state)
    new_state, metrics = jax.jit(learner.update)(state, batch, jax.random.key(1))

    first = params = jax.tree.map(np.asarray, state.params)
    advantage, estimate = numpy_targets(first, batch)
    total = lambda p: sum(v for k, v in numpy_loss(p, batch, advantage, estimate).items() if k.endswith("loss"))
    for index in range(3):
        kl = numpy_kl(first, params, batch)
        assert index == 0 or (kl > 2 * target if factor < 1 else kl < target / 2)
        params = numpy_descend(total, params, 2e-3 * factor**index)
    np.testing.assert_allclose(metrics["learning_rate"], 2e-3 * factor**2, rtol=1e-9)
    assert_close(new_state.params, params)


def test_the_kl_of_distributions_without_a_closed_form_is_estimated(batch32):
    class Unknown(NamedTuple):
        offset: float

        def log_prob(self, action):
            return -jnp.sum(jnp.abs(action - self.offset), -1)

    action = batch32.extras["raw_action"][0]
    behavior, moved = Unknown(0.0), Unknown(0.3)
    seen = ppo.Minibatch(None, action, behavior.log_prob(action), None, None, None)
    log_ratio = np.asarray(moved.log_prob(action) - behavior.log_prob(action))
    found = ppo.kl_from_behavior(behavior, moved, seen)
    np.testing.assert_allclose(found, np.exp(log_ratio) - 1 - log_ratio, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("optimizer", "got"),
    [
        (optax.adam(1e-3), "none"),
        (optax.inject_hyperparams(optax.adam)(learning_rate=lambda step: 1e-3 / (1 + step)), "a schedule"),
    ],
)
def test_a_learning_rate_that_cannot_be_moved_is_refused(example, optimizer, got):
    learner = make_learner(optimizer, adaptive_learning_rate=controllers.kl_adaptive_learning_rate())
    with pytest.raises(ValueError, match=f"adaptive_learning_rate needs an optimizer whose state holds .* got {got}"):
        learner.init(jax.random.key(0), example)


def test_bad_arguments_are_named(batch, example):
    with pytest.raises(ValueError, match="normalize_advantage must be minibatch, batch or none; got 'yes'"):
        make_learner(normalize_advantage="yes")
    with pytest.raises(ValueError, match="num_minibatches must be at least 1, got 0"):
        make_learner(num_minibatches=0)
    learner = make_learner(num_minibatches=5)
    with pytest.raises(ValueError, match="must divide the 4 x 3 = 12 samples of a rollout, got 5"):
        learner.update(learner.init(jax.random.key(0), example), batch, jax.random.key(1))


def test_a_surrogate_and_the_estimate_of_the_entropy_draw_apart(batch32, example):
    """Both draw one uniform number by the key that they are given."""

    class Drawing(NamedTuple):
        mean: jax.Array

        def log_prob(self, action):
            return -jnp.sum(jnp.square(action - self.mean), -1)

        def entropy(self, key):
            return jnp.full(self.mean.shape[:1], jax.random.uniform(key))

    learner = ppo.learner(
        policies.Network(lambda key, x: jnp.zeros((OBSERVATION, 2)), lambda params, x: Drawing(x @ params)),
        policies.critic((HIDDEN,)),
        optax.sgd(0.0),
        update_epochs=1,
        num_minibatches=1,
        surrogate=lambda batch: jnp.full(batch.advantage.shape, jax.random.uniform(batch.key)),
    )
    _, metrics = learner.update(learner.init(jax.random.key(0), example), batch32, jax.random.key(1))
    assert metrics["entropy"] != metrics["policy_loss"]
