"""TD3's update against float64 NumPy with finite differences, its slots, and its limits."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rlx import policies
from rlx.algorithms import td3, td3_bc
from rlx.algorithms.actor_critic import Auxiliary, Slots, action_gradient
from rlx.losses.policy import value_maximization
from rlx.regularizers.behavior import action_distance
from tests.algorithms.linear import (
    ACTION,
    BOX,
    SAMPLES,
    assert_close,
    in_float64,
    make_batch,
    numpy_descend,
    numpy_q,
    on_device,
    part,
)

GAMMA, TAU, RATE, REWARD_SCALE = 0.9, 0.1, 0.05, 2.0


def make_learner(hidden=(), num=2, make=td3.learner, **options):
    return make(
        policies.deterministic(BOX, hidden),
        policies.action_critic(hidden, num=num),
        optax.sgd(RATE),
        optax.sgd(RATE),
        **(dict(low=BOX.low, high=BOX.high, discount=GAMMA, tau=TAU, smoothing_std=0.0) | options),
    )


def numpy_actor(params, observation):
    layer = params["params"]["Dense_0"]
    raw = observation @ layer["kernel"] + layer["bias"]
    return (BOX.high + BOX.low) / 2.0 + (BOX.high - BOX.low) / 2.0 * np.tanh(raw)


def distance(a, b, axis=-1):
    return ((a - b) ** 2).mean(axis)


def one_update(learner, batch, state=None):
    batch = on_device(batch)
    state = in_float64(learner.init(jax.random.key(0), batch)) if state is None else state
    new_state, metrics = jax.jit(learner.update)(state, batch, jax.random.key(1))
    return jax.tree.map(np.asarray, state), jax.tree.map(np.asarray, new_state), metrics


@pytest.mark.parametrize("with_slots", [False, True])
def test_one_update_in_float64(rng, float64, with_slots):
    """Two critic steps, one of the actor, then the targets; with the penalties of ReBRAC, a critic's, and TD3+BC's."""
    alpha, q = 2.5, policies.action_critic((), num=2).apply
    slots = Slots(
        target_penalty=lambda step: 0.3 * action_distance(step.next_action, step.batch.extras["next_action"]),
        critic_penalty=lambda step: 0.2 * step.q**2,
        actor_loss=lambda step: value_maximization(
            jnp.min(q(step.state.params["critic"], step.batch.observation, step.action), axis=0), alpha=alpha
        ),
        actor_penalty=lambda step: 0.7 * action_distance(step.action, step.batch.action),
    )
    learner = make_learner(reward_scale=REWARD_SCALE, added=(slots,) if with_slots else ())
    batch = make_batch(rng, minibatches=2)
    state, new_state, metrics = one_update(learner, batch)

    actor, critic = state.params["actor"], state.params["critic"]
    losses = []
    for index in range(2):
        b = part(batch, index)
        next_action = numpy_actor(actor, b.next_observation)
        penalty = 0.3 * distance(next_action, b.extras["next_action"]) if with_slots else 0.0
        next_value = np.minimum(*numpy_q(state.params["critic"], b.next_observation, next_action)) - penalty
        target = REWARD_SCALE * b.reward + np.where(b.terminated, 0.0, GAMMA * next_value)

        def critic_loss(params, b=b, target=target):
            q = numpy_q(params, b.observation, b.action)
            return ((q - target) ** 2).mean(-1).sum() + with_slots * 0.2 * (q**2).mean(-1).sum()

        losses.append(critic_loss(critic))
        critic = numpy_descend(critic_loss, critic, RATE)

    size = np.abs(numpy_q(critic, b.observation, numpy_actor(actor, b.observation)).min(0)).mean()

    def actor_loss(params):
        action = numpy_actor(params, b.observation)
        q = numpy_q(critic, b.observation, action)
        if not with_slots:
            return -q[0].mean()
        return -alpha / size * q.min(0).mean() + 0.7 * distance(action, b.action).mean()

    assert_close(new_state.params["critic"], critic)
    assert_close(new_state.params["actor"], numpy_descend(actor_loss, actor, RATE))
    assert_close(metrics["critic_loss"] + metrics.get("critic_penalty", 0.0), np.mean(losses))
    assert_close(metrics["actor_loss"] + metrics.get("actor_penalty", 0.0), actor_loss(actor))
    expected = jax.tree.map(lambda new, old: TAU * new + (1 - TAU) * old, new_state.params, state.target_params)
    assert_close(new_state.target_params, expected, rtol=1e-12)
    assert new_state.step == 2


def test_penalties_of_zero_change_nothing(rng):
    zero = lambda step: jnp.zeros(SAMPLES)
    batch = on_device(make_batch(rng, 2))
    run = lambda *added: jax.jit(make_learner((4,), smoothing_std=0.2, added=added).update)
    state = make_learner((4,)).init(jax.random.key(0), batch)
    plain, _ = run()(state, batch, jax.random.key(1))
    zeros = Slots(target_penalty=zero, critic_penalty=zero, actor_penalty=zero)
    slots, metrics = run(zeros)(state, batch, jax.random.key(1))
    assert_close(slots, plain, rtol=1e-6)
    assert metrics["critic_penalty"] == metrics["actor_penalty"] == 0


@pytest.mark.slow
def test_behavior_cloning_is_td3_for_a_large_scale_and_cloning_for_a_small_one(rng, float64):
    """TD3+BC: as α grows the actor's step becomes that of TD3, as it vanishes that of the penalty."""
    batch = make_batch(rng, 2)

    def actor_step(**options):
        state, new_state, _ = one_update(make_learner(**options), batch)
        step = jax.tree.map(lambda new, old: (new - old).ravel(), new_state.params["actor"], state.params["actor"])
        return np.concatenate(jax.tree.leaves(step))

    cosine = lambda a, b: a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    td3_step = actor_step()
    cloning = actor_step(make=td3_bc.learner, alpha=0.0)
    assert cosine(actor_step(make=td3_bc.learner, alpha=1e6), td3_step) > 1 - 1e-9
    np.testing.assert_allclose(actor_step(make=td3_bc.learner, alpha=1e-9), cloning, rtol=1e-6)
    assert abs(cosine(cloning, td3_step)) < 0.99
    # Scaling the values scales nothing in the loss of TD3+BC.
    state = in_float64(make_learner().init(jax.random.key(0), on_device(batch)))
    scaled = state._replace(params=state.params | {"critic": jax.tree.map(lambda x: 10 * x, state.params["critic"])})
    learner = td3_bc.learner(
        policies.deterministic(BOX, ()),
        policies.action_critic(()),
        optax.sgd(RATE),
        optax.set_to_zero(),
        low=BOX.low,
        high=BOX.high,
        alpha=2.5,
    )
    (_, one, _), (_, ten, _) = one_update(learner, batch, state), one_update(learner, batch, scaled)
    assert_close(one.params["actor"], ten.params["actor"])


def test_bootstraps_end_with_termination_and_not_with_truncation(rng):
    """What a terminated transition reached does not matter; what a truncated one reached does."""
    batch = on_device(make_batch(rng, 2))
    learner = make_learner((4,))
    state = learner.init(jax.random.key(0), batch)

    def moved(rows):
        away = jnp.where(rows[:, None], 1e3, batch.next_observation)
        return jax.jit(learner.update)(state, batch._replace(next_observation=away), jax.random.key(1))[1][
            "critic_loss"
        ]

    still = jax.jit(learner.update)(state, batch, jax.random.key(1))[1]["critic_loss"]
    assert moved(batch.terminated) == still
    assert moved(batch.truncated) != still


def test_exploration_stays_in_bounds_and_has_the_stated_size():
    learner = make_learner((4,), exploration_std=0.1)
    observation = jnp.zeros((4000, 3))
    state = learner.init(jax.random.key(0), on_device(make_batch(np.random.default_rng(0), 2)))
    action, extras = learner.act(state, observation, jax.random.key(1))
    assert extras == {}
    half = (BOX.high - BOX.low) / 2
    np.testing.assert_allclose(np.std(action / half, axis=0), 0.1, rtol=0.1)
    np.testing.assert_allclose(action.mean(0), learner.mode(state, observation)[0], atol=0.02)
    wild, _ = make_learner((4,), exploration_std=10.0).act(state, observation, jax.random.key(1))
    assert (wild >= BOX.low).all() and (wild <= BOX.high).all()


def test_auxiliary_models_see_the_critics_after_their_step_and_hand_notes_to_the_actor(rng, float64):
    critic = policies.action_critic((), num=2)

    def update(state, step):
        value = critic.apply(step.state.params["critic"], step.batch.observation, step.batch.action)
        return state + 1, {"value": value, "before": state}, {"noted": jnp.mean(value)}

    auxiliary = Auxiliary(lambda key, example: jnp.zeros(()) + 0.0 * example.action.sum(), update)

    def penalty(step):
        np.testing.assert_array_equal(step.action.shape, (SAMPLES, ACTION))
        return step.notes["value"][0] + 100 * step.state.auxiliary + 1e4 * step.notes["before"]

    batch = make_batch(rng, 2)
    state, new_state, metrics = one_update(
        make_learner(added=(Slots(auxiliary=auxiliary, actor_penalty=penalty),)), batch
    )
    assert new_state.auxiliary == 2
    last = part(batch, 1)
    value = numpy_q(new_state.params["critic"], last.observation, last.action)
    np.testing.assert_allclose(metrics["actor_penalty"], value[0].mean() + 200 + 1e4)
    _, plain, _ = one_update(make_learner(), batch)
    assert_close(new_state.params, plain.params, rtol=1e-12)  # what the actor notes of constants moves nothing


def test_gradients_of_an_ensemble_in_the_action(rng, float64):
    critic = policies.action_critic((5,), num=4, activation="tanh")
    observation, action = jnp.asarray(rng.normal(size=(7, 3))), jnp.asarray(rng.normal(size=(7, 2)))
    params = critic.init(jax.random.key(0), observation[0], action[0])
    gradient = action_gradient(critic, params, observation, action)
    assert gradient.shape == (4, 7, 2)
    for d in range(2):
        step = jnp.zeros(2).at[d].set(1e-5)
        ends = [critic.apply(params, observation, action + sign * step) for sign in (1, -1)]
        np.testing.assert_allclose(gradient[..., d], (ends[0] - ends[1]) / 2e-5, atol=1e-7)


def test_many_actions_of_a_state_need_no_copies_of_it(rng):
    critic = policies.action_critic((5,), num=3)
    observation, actions = jnp.asarray(rng.normal(size=(7, 3))), jnp.asarray(rng.normal(size=(4, 7, 2)))
    params = critic.init(jax.random.key(0), observation[0], actions[0, 0])
    together = critic.apply(params, observation, actions)
    assert together.shape == (3, 4, 7)
    for i in range(4):
        np.testing.assert_allclose(together[:, i], critic.apply(params, observation, actions[i]), atol=1e-6)


def test_what_cannot_be_is_refused(rng):
    with pytest.raises(ValueError, match="policy_delay must be at least 1, got 0"):
        make_learner(policy_delay=0)
    learner = make_learner(policy_delay=5)
    batch = on_device(make_batch(rng, 2))
    with pytest.raises(ValueError, match="takes 5 minibatches of one size, got a batch of 12"):
        learner.update(learner.init(jax.random.key(0), batch), batch, jax.random.key(0))
