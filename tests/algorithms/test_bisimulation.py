"""The bisimulation loss as slots of a learner: its value, whom its gradient reaches, and what it composes with."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rlx import policies
from rlx.algorithms import bisimulation, cql, edac, td3, td3_bc
from rlx.algorithms.actor_critic import Auxiliary, GradientStep, Slots, combined, initial_state
from rlx.algorithms.learner import Transition

SPACE = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
SIZE, FEATURES, GAMMA = 8, 2, 0.9
RNG = np.random.default_rng(0)
UNIFORM = {"activation": "relu", "initialization": "uniform"}
ENCODED = policies.encoded_critic((), (4,), feature_size=FEATURES, num=2)


def make_batch(size=SIZE):
    array = lambda *shape: jnp.float32(RNG.normal(size=(size, *shape)))
    done = jnp.arange(size) % 4 == 3
    extras = {"next_action": array(2)}
    return Transition(array(3), jnp.clip(array(2), -1, 1), array(), done, ~done & False, array(3), extras)


BATCH = make_batch()


def slots(weight=0.5, **options):
    features = gymnasium.spaces.Box(-np.inf, np.inf, (FEATURES,))
    return bisimulation.slots(
        ENCODED,
        policies.critic((), **UNIFORM),
        policies.gaussian_policy(features, (), squash="identity", state_dependent_std=True, **UNIFORM),
        optax.adam(1e-2),
        weight=weight,
        discount=GAMMA,
        **options,
    )


@pytest.fixture(scope="module")
def step():
    """What the critics' penalty sees, with fresh models."""
    params = ENCODED.critic.init(jax.random.key(0), BATCH.observation[0], BATCH.action[0])
    models = slots().auxiliary.init(jax.random.key(1), BATCH)
    return GradientStep(BATCH, initial_state({"critic": params}, {}, targets=(), auxiliary=models), jax.random.key(2))


def linear(params, x):
    layer = params["params"]["Dense_0"]
    return x @ np.asarray(layer["kernel"], float) + np.asarray(layer["bias"], float)


def member(tree, i):
    return jax.tree.map(lambda x: np.asarray(x[i], float), tree)


def numpy_models(step, i):
    """Reward, mean and scale of the next features, and the targets of both models, of one member."""
    encoder, models = member(step.state.params["critic"]["encoder"], i), member(step.state.auxiliary.params, i)
    z, following = (linear(encoder, np.asarray(x, float)) for x in (BATCH.observation, BATCH.next_observation))
    inputs = np.concatenate([z, BATCH.action], 1)
    output = linear({"params": models["transition"]["params"]["mlp"]}, inputs)
    mean, raw = output[:, :FEATURES], output[:, FEATURES:]
    scale = np.log1p(np.exp(raw + np.log(np.expm1(1 - 1e-3)))) + 1e-3
    return z, linear(models["reward"], inputs)[:, 0], mean, scale, following


def numpy_loss(z, reward, mean, scale, other):
    loss = []
    for one, two in enumerate(other):
        apart = np.sqrt(np.sum((mean[one] - mean[two]) ** 2) + np.sum((scale[one] - scale[two]) ** 2))
        target = abs(reward[one] - reward[two]) + GAMMA * apart
        loss.append((np.linalg.norm(z[one] - z[two]) - target) ** 2)
    return np.array(loss)


@pytest.mark.slow
def test_the_penalty_is_the_loss_of_every_member_over_random_pairs(step):
    found = slots(0.5).critic_penalty(step)
    other = np.asarray(jax.random.permutation(step.key, SIZE))
    assert found.shape == (2, SIZE) and set(other) == set(range(SIZE))
    for i in range(2):
        z, reward, mean, scale, _ = numpy_models(step, i)
        np.testing.assert_allclose(found[i], 0.5 * numpy_loss(z, reward, mean, scale, other), rtol=1e-3, atol=1e-5)


def test_its_gradient_reaches_the_encoder_through_the_features_alone(step):
    def total(params, models):
        seen = step._replace(state=step.state._replace(params={"critic": params}, auxiliary=models))
        return jnp.sum(slots(1.0).critic_penalty(seen))

    parts = step.state.params["critic"], step.state.auxiliary
    of_critic, of_models = jax.grad(total, argnums=(0, 1), allow_int=True)(*parts)
    assert all(jnp.any(x) for x in jax.tree.leaves(of_critic["encoder"]["params"]["Dense_0"]["kernel"]))
    assert not any(jnp.any(x) for x in jax.tree.leaves((of_critic["head"], of_models.params)))
    # Central differences with reward and transition held where they are.
    other = np.asarray(jax.random.permutation(step.key, SIZE))
    _, *predicted, _ = numpy_models(step, 0)
    encoder = member(step.state.params["critic"]["encoder"], 0)["params"]["Dense_0"]
    for index in ((0, 0), (2, 1)):
        ends = []
        for sign in (1, -1):
            kernel = encoder["kernel"].copy()
            kernel[index] += sign * 1e-5
            z = np.asarray(BATCH.observation, float) @ kernel + encoder["bias"]
            ends.append(numpy_loss(z, *predicted, other).sum())
        expected = (ends[0] - ends[1]) / 2e-5
        np.testing.assert_allclose(of_critic["encoder"]["params"]["Dense_0"]["kernel"][0][index], expected, rtol=2e-2)


@pytest.mark.slow
def test_the_models_are_trained_on_the_features_as_they_are(step):
    added = slots()
    models, notes, metrics = added.auxiliary.update(step.state.auxiliary, step)
    other = np.asarray(jax.random.permutation(step.key, SIZE))
    expected = np.zeros(3)
    for i in range(2):
        z, reward, mean, scale, following = numpy_models(step, i)
        normalized = (following - mean) / scale
        nll = np.sum(normalized**2 / 2 + np.log(scale) + np.log(2 * np.pi) / 2, axis=1)
        error = np.mean((reward - np.asarray(BATCH.reward)) ** 2)
        expected += [error, nll.mean(), numpy_loss(z, reward, mean, scale, other).mean() / 2]
    names = ("latent_reward_loss", "latent_transition_loss", "bisimulation")
    np.testing.assert_allclose([metrics[name] for name in names], expected, rtol=1e-3)
    assert notes is None
    old = step.state.auxiliary.params
    assert all(jnp.any(x != y) for x, y in zip(jax.tree.leaves(models.params), jax.tree.leaves(old)))


def parts(critic):
    return policies.deterministic(SPACE, (4,)), critic, optax.adam(1e-2), optax.adam(1e-2)


def stochastic_parts(critic):
    policy = policies.gaussian_policy(SPACE, (4,), squash="tanh", state_dependent_std=True, **UNIFORM)
    return policy, critic, optax.adam(1e-2), optax.adam(1e-2), optax.adam(1e-2)


LEARNERS = {
    "td3_bc": lambda **settings: td3_bc.learner(*parts(ENCODED.critic), policy_delay=1, **settings),
    # Those that have a penalty or models of their own.
    "edac": lambda **settings: edac.learner(*stochastic_parts(ENCODED.critic), **settings),
    "cql": lambda **settings: cql.learner(
        *stochastic_parts(ENCODED.critic), num_actions=2, gap_target=1.0, max_target_backup=True, **settings
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNERS)
def test_without_weight_a_learner_is_what_it_is_without_and_with_it_its_encoder_differs(name):
    def trained(**settings):
        learner = LEARNERS[name](**settings)

        def update(state, key):
            return learner.update(state, BATCH, key)

        state = learner.init(jax.random.key(0), BATCH)
        return jax.lax.scan(update, state, jax.random.split(jax.random.key(1), 2))

    @jax.jit
    def both(weight):
        (plain, metrics), (added, more) = trained(), trained(added=(slots(weight),))
        return plain, metrics, added, more

    plain, metrics, added, more = both(0.0)
    own = added.auxiliary[0]
    close = lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7)
    jax.tree.map(close, (plain.params, plain.auxiliary, metrics), (added.params, own, {k: more[k] for k in metrics}))
    _, _, added, more = both(1.0)
    encoders = [x.params["critic"]["encoder"]["params"]["Dense_0"]["kernel"] for x in (plain, added)]
    assert not np.allclose(*encoders, atol=1e-4) and np.isfinite(more["bisimulation"]).all()


@pytest.mark.slow
def test_features_come_to_be_as_far_apart_as_what_follows():
    """The loss falls by far where it counts, and not where it does not."""
    batch = make_batch(64)

    @jax.jit
    @jax.vmap
    def measured(weight):
        learner = td3.learner(*parts(ENCODED.critic), policy_delay=1, discount=GAMMA, added=(slots(weight),))
        state = learner.init(jax.random.key(0), batch)
        keys = jax.random.split(jax.random.key(1), 200)
        return jax.lax.scan(lambda state, key: learner.update(state, batch, key), state, keys)[1]["bisimulation"]

    without, with_loss = np.asarray(measured(jnp.array([0.0, 1.0])))
    assert with_loss[-20:].mean() < 0.3 * min(with_loss[0], without[-20:].mean())


def test_several_methods_see_what_is_their_own():
    """Penalties are added; keys, models and notes are not shared."""

    def method(scale):
        auxiliary = Auxiliary(
            lambda key, example: scale * jax.random.uniform(key),
            lambda state, step: (state + step.penalty.mean(), state, {f"seen_{scale}": step.penalty}),
        )
        return Slots(
            target_penalty=lambda step: scale * jnp.ones(3),
            critic_penalty=lambda step: scale * jnp.ones((2, 3)) * (step.state.auxiliary > 0),
            actor_penalty=lambda step: scale * step.notes,
            auxiliary=auxiliary,
        )

    alone = method(2.0)
    assert combined(alone) is alone and combined() == combined(Slots(), Slots()) == Slots()
    key = jax.random.key(0)
    several = combined(alone, Slots(critic_penalty=lambda step: 5 * jnp.ones(3)), method(3.0))
    states = several.auxiliary.init(key, BATCH)
    assert states[1] is None and states[0] == alone.auxiliary.init(key, BATCH) and states[2] != 1.5 * states[0]
    seen = GradientStep(None, initial_state({}, {}, targets=(), auxiliary=states), key)
    np.testing.assert_array_equal(several.target_penalty(seen), [5, 5, 5])
    penalty = several.critic_penalty(seen)
    assert [x.shape for x in penalty] == [(2, 3), (3,), (2, 3)]
    updated, notes, metrics = several.auxiliary.update(states, seen._replace(penalty=penalty))
    np.testing.assert_allclose([updated[0], updated[2]], [states[0] + 2, states[2] + 3], rtol=1e-6)
    assert set(metrics) == {"seen_2.0", "seen_3.0"}
    np.testing.assert_allclose(several.actor_penalty(seen._replace(notes=notes)), 2 * states[0] + 3 * states[2])
