"""SAC's update against float64 NumPy with finite differences, its slots, and its limits."""

import inspect
from typing import NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rlx import policies
from rlx.algorithms import cql, sac
from rlx.algorithms.actor_critic import Auxiliary, Slots, combined
from rlx.policies import Network
from tests.algorithms.linear import (
    ACTION,
    BOX,
    OBSERVATION,
    SAMPLES,
    assert_close,
    in_float64,
    make_batch,
    numpy_descend,
    numpy_q,
    on_device,
)

GAMMA, TAU, RATE, REWARD_SCALE, TARGET_ENTROPY, STD = 0.9, 0.1, 0.05, 2.0, -1.5, 0.7
NOISE = np.random.default_rng(7).normal(size=(3, SAMPLES, ACTION))


class KnownNoise(NamedTuple):
    """A tanh-squashed Gaussian of fixed scale that always draws the same: what NumPy can repeat."""

    mean: jax.Array

    @property
    def base(self):
        return self

    def rsample(self, key, shape=()):
        return self.mean + STD * NOISE[: shape[0]] if shape else self.mean + STD * NOISE[0]

    sample = rsample

    def mode(self):
        return self.mean

    def action(self, raw):
        return jnp.tanh(raw)

    def log_prob(self, raw):
        normal = -0.5 * jnp.square((raw - self.mean) / STD) - jnp.log(STD) - 0.5 * jnp.log(2 * jnp.pi)
        return jnp.sum(normal - jnp.log1p(-jnp.square(jnp.tanh(raw))), axis=-1)


def linear_policy():
    init = lambda key, observation: {"w": 0.3 * jax.random.normal(key, (OBSERVATION, ACTION))}
    return Network(init, lambda params, observation: KnownNoise(observation @ params["w"]))


def numpy_sample(params, observation, noise):
    raw = observation @ params["w"] + STD * noise
    normal = -0.5 * noise**2 - np.log(STD) - 0.5 * np.log(2 * np.pi)
    return np.tanh(raw), (normal - np.log(1 - np.tanh(raw) ** 2)).sum(-1)


def make_learner(policy=None, num=2, hidden=(), temperature_optimizer=None, make=sac.learner, **options):
    return make(
        linear_policy() if policy is None else policy,
        policies.action_critic(hidden, num=num),
        optax.sgd(RATE),
        optax.sgd(RATE),
        optax.sgd(RATE) if temperature_optimizer is None else temperature_optimizer,
        **(dict(discount=GAMMA, tau=TAU, target_entropy=TARGET_ENTROPY, reward_scale=REWARD_SCALE) | options),
    )


def one_update(learner, batch):
    batch = on_device(batch)
    state = in_float64(learner.init(jax.random.key(0), batch))
    new_state, metrics = jax.jit(learner.update)(state, batch, jax.random.key(1))
    return jax.tree.map(np.asarray, state), jax.tree.map(np.asarray, new_state), metrics


def slots():
    """A penalty in every place."""
    q = policies.action_critic((), num=2).apply
    return Slots(
        target_penalty=lambda step: 0.3 * jnp.sum(step.next_action**2, -1),
        critic_penalty=lambda step: 0.2 * step.q**2,
        actor_penalty=lambda step: (
            0.4 * step.log_prob * q(step.state.params["critic"], step.batch.observation, step.action)[0]
        ),
    )


CQL = dict(make=cql.learner, weight=0.0, num_actions=3)


@pytest.mark.parametrize("variant", ["sac", "slots", "sac-n", "cql, best of three", "cql, no entropy"])
def test_one_update_in_float64(rng, float64, variant):
    """Temperature, then policy, then critics, each with what came before it, then the targets."""
    count = 3 if variant == "cql, best of three" else 1
    options = {
        "slots": dict(added=(slots(),)),
        "sac-n": dict(num=5),
        "cql, best of three": dict(max_target_backup=True, backup_entropy=True, **CQL),
        "cql, no entropy": CQL,
    }.get(variant, {})
    with_slots, with_entropy = variant == "slots", variant != "cql, no entropy"
    batch = make_batch(rng)
    learner = make_learner(initial_temperature=0.5, **options)
    state, new_state, metrics = one_update(learner, batch)
    actor, critic, log_alpha = state.params["actor"], state.params["critic"], state.params["log_temperature"]

    _, log_prob = numpy_sample(actor, batch.observation, NOISE[0])
    log_alpha = log_alpha + RATE * (log_prob + TARGET_ENTROPY).mean()
    alpha = np.exp(log_alpha)

    def actor_loss(params):
        action, log_prob = numpy_sample(params, batch.observation, NOISE[0])
        q = numpy_q(critic, batch.observation, action)
        return (alpha * log_prob - q.min(0) + with_slots * 0.4 * log_prob * q[0]).mean()

    new_actor = numpy_descend(actor_loss, actor, RATE)
    next_values = []
    for noise in NOISE[:count]:
        next_action, next_log_prob = numpy_sample(new_actor, batch.next_observation, noise)
        next_value = numpy_q(critic, batch.next_observation, next_action).min(0)
        entropy = with_entropy * alpha * next_log_prob
        next_values.append((next_value, next_value - entropy - with_slots * 0.3 * (next_action**2).sum(-1)))
    best = np.argmax([value for value, _ in next_values], axis=0)
    next_value = np.take_along_axis(np.stack([soft for _, soft in next_values]), best[None], 0)[0]
    target = REWARD_SCALE * batch.reward + np.where(batch.terminated, 0.0, GAMMA * next_value)

    def critic_loss(params):
        q = numpy_q(params, batch.observation, batch.action)
        return ((q - target) ** 2).mean(-1).sum() + with_slots * 0.2 * (q**2).mean(-1).sum()

    assert_close(new_state.params["log_temperature"], log_alpha, rtol=1e-12)
    assert_close(new_state.params["actor"], new_actor)
    assert_close(new_state.params["critic"], numpy_descend(critic_loss, critic, RATE))
    assert_close(metrics["actor_loss"] + metrics.get("actor_penalty", 0.0), actor_loss(actor))
    assert_close(metrics["critic_loss"] + metrics.get("critic_penalty", 0.0), critic_loss(critic))
    assert_close(metrics["entropy"], -log_prob.mean())
    assert_close(metrics["temperature"], alpha)
    expected = jax.tree.map(lambda new, old: TAU * new + (1 - TAU) * old, new_state.params["critic"], critic)
    assert_close(new_state.target_params["critic"], expected, rtol=1e-12)
    assert new_state.step == 1


def test_a_fixed_temperature_stays_and_the_default_target_counts_dimensions(rng, float64):
    batch = make_batch(rng)
    fixed = sac.learner(
        linear_policy(), policies.action_critic(()), optax.sgd(RATE), optax.sgd(RATE), None, initial_temperature=0.3
    )
    state, new_state, metrics = one_update(fixed, batch)
    assert new_state.params["log_temperature"] == state.params["log_temperature"]
    assert "entropy" in metrics
    _, default, _ = one_update(make_learner(target_entropy=None), batch)
    _, stated, _ = one_update(make_learner(target_entropy=-float(ACTION)), batch)
    assert_close(default.params, stated.params, rtol=1e-12)


def test_a_method_may_replace_the_loss_of_the_actor_and_the_value_of_the_next_observation(rng, float64):
    batch = make_batch(rng)
    ascends = Slots(
        actor_loss=lambda step: -2.0 * step.log_prob,
        next_value=lambda state, batch, key: (jnp.arange(6.0), batch.action),
        target_penalty=lambda step: 3.0 * step.next_action[:, 0],
    )
    state, new_state, metrics = one_update(make_learner(added=(ascends,)), batch)
    log_prob = lambda params: numpy_sample(params, batch.observation, NOISE[0])[1]
    descended = numpy_descend(lambda params: (-2.0 * log_prob(params)).mean(), state.params["actor"], RATE)
    assert_close(new_state.params["actor"], descended)
    bootstrapped = np.arange(6.0) - 3.0 * batch.action[:, 0]
    target = REWARD_SCALE * batch.reward + np.where(batch.terminated, 0.0, GAMMA * bootstrapped)
    np.testing.assert_allclose(metrics["target"], target.mean(), rtol=1e-6)


def test_auxiliary_models_are_trained_after_the_critics(rng, float64):
    """What they note reaches the policy through their state, an update later."""
    models = Auxiliary(
        init=lambda key, example: jnp.zeros(()),
        update=lambda state, step: (state + jnp.mean(step.target), None, {"noted": state}),
    )
    added = (Slots(auxiliary=models, actor_penalty=lambda step: jnp.full(6, step.state.auxiliary)),)
    learner, batch = make_learner(added=added), on_device(make_batch(rng))
    state = learner.init(jax.random.key(0), batch)
    state, first = jax.jit(learner.update)(state, batch, jax.random.key(1))
    _, second = jax.jit(learner.update)(state, batch, jax.random.key(2))
    assert first["actor_penalty"] == first["noted"] == 0
    np.testing.assert_allclose([second["actor_penalty"], second["noted"]], first["target"], rtol=1e-6)


@pytest.mark.slow
def test_penalties_of_zero_change_nothing(rng):
    zero = lambda step: jnp.zeros(SAMPLES)
    batch = on_device(make_batch(rng))
    policy = policies.policy(BOX, (4,), kind="tanh", log_std_bounds=(-20.0, 2.0))
    plain = make_learner(policy, hidden=(4,))
    zeros = (Slots(target_penalty=zero, critic_penalty=zero, actor_penalty=zero),)
    slots = make_learner(policy, hidden=(4,), added=zeros)
    state = plain.init(jax.random.key(0), batch)
    expected, _ = jax.jit(plain.update)(state, batch, jax.random.key(1))
    actual, metrics = jax.jit(slots.update)(state, batch, jax.random.key(1))
    assert_close(actual, expected, rtol=1e-5, atol=1e-6)
    assert metrics["critic_penalty"] == metrics["actor_penalty"] == 0


@pytest.mark.slow
def test_the_entropy_approaches_its_target(rng):
    """Where all actions are worth the same, only the temperature moves the policy."""
    batch = on_device(make_batch(rng))
    learner = sac.learner(
        policies.policy(BOX, (8,), kind="tanh", log_std_bounds=(-20.0, 2.0), initial_std=0.05),
        policies.action_critic((8,)),
        optax.adam(3e-3),
        optax.set_to_zero(),
        optax.adam(3e-3),
        target_entropy=0.5,
    )
    state = learner.init(jax.random.key(0), batch)
    run = lambda state, key: jax.lax.scan(
        lambda state, key: learner.update(state, batch, key), state, jax.random.split(key, 2000)
    )
    _, metrics = jax.jit(run)(state, jax.random.key(1))
    assert metrics["entropy"][0] < -1
    np.testing.assert_allclose(metrics["entropy"][-500:].mean(), 0.5, atol=0.15)


def test_actions_are_within_bounds_and_the_mode_is_the_middle_of_them(rng):
    policy = policies.policy(BOX, (4,), kind="tanh", log_std_bounds=(-20.0, 2.0))
    learner = make_learner(policy)
    state = learner.init(jax.random.key(0), on_device(make_batch(rng)))
    observation = jnp.zeros((4000, OBSERVATION))
    action, extras = learner.act(state, observation, jax.random.key(1))
    assert extras == {} and (action >= BOX.low).all() and (action <= BOX.high).all()
    np.testing.assert_allclose(np.median(action, axis=0), learner.mode(state, observation)[0], atol=0.15)


@pytest.mark.parametrize(
    ("added", "message"),
    [
        (
            Slots(critic_penalty=lambda step: 0.0),
            "added must be a tuple of rlx.algorithms.actor_critic.Slots, got None",
        ),
        ((lambda step: 0.0,), "added must be a tuple of rlx.algorithms.actor_critic.Slots, got <function"),
        (2 * (Slots(actor_loss=lambda step: 0.0),), "a learner has one actor_loss, got 2"),
    ],
)
def test_what_cannot_be_added_is_refused(added, message):
    # Without the tests' own checks of types.
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(combined)(*added)


@pytest.mark.parametrize("half", [0.4, 3.0])
def test_the_target_entropy_is_that_of_actions_in_unit_bounds(half, rng):
    """The same policy in other units asks for the same: with 17 actions within ±0.4, −17 nats would else be −1.4."""
    spaces = [gymnasium.spaces.Box(-bound, bound, (ACTION,)) for bound in (1.0, half)]
    temperatures = []
    data = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32 if x.dtype == float else None), make_batch(rng))
    for space in spaces:
        learner = sac.learner(
            policies.policy(space, (8,), kind="tanh"),
            policies.action_critic((8,)),
            *[optax.sgd(0.1)] * 3,
            target_entropy=-1.0 * ACTION,
        )
        batch = data._replace(action=jnp.clip(data.action, -1, 1) * space.high)
        state = learner.init(jax.random.key(0), batch)
        state, _ = jax.jit(learner.update)(state, batch, jax.random.key(1))
        temperatures.append(state.params["log_temperature"])
    np.testing.assert_allclose(temperatures[0], temperatures[1], rtol=1e-4)
    assert abs(temperatures[0]) > 1e-3
