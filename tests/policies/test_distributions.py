"""Action distributions against scipy and numerical integration."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from numpyro.distributions import Gamma

from rlx import policies

LOW, HIGH = np.float32([-2.0, 0.0]), np.float32([2.0, 3.0])
BOX = gymnasium.spaces.Box(LOW, HIGH)


@pytest.mark.parametrize("squash", ["clip", "identity"])
def test_gaussian_matches_scipy(squash, rng):
    mean, std = rng.normal(size=(5, 2)), rng.uniform(0.3, 2, size=2)
    raw = rng.normal(size=(5, 2)) * 3
    distribution = policies.gaussian(jnp.float32(mean), jnp.float32(std), LOW, HIGH, squash=squash)
    expected = scipy.stats.norm(mean, std).logpdf(raw).sum(-1)
    np.testing.assert_allclose(distribution.log_prob(jnp.float32(raw)), expected, rtol=1e-5)
    np.testing.assert_allclose(
        distribution.entropy(jax.random.key(0)), np.full(5, scipy.stats.norm(0, std).entropy().sum()), rtol=1e-5
    )
    action = distribution.action(jnp.float32(raw))
    np.testing.assert_allclose(action, np.clip(raw, LOW, HIGH) if squash == "clip" else raw, rtol=1e-6)
    np.testing.assert_array_equal(distribution.mode(), np.float32(mean))


def test_tanh_density_integrates_to_one_and_matches_the_change_of_variables():
    distribution = policies.gaussian(jnp.float32([0.3]), jnp.float32([0.8]), LOW[1:], HIGH[1:], squash="tanh")
    raw = np.linspace(-8, 8, 200_001)
    density = np.exp(np.float64(jax.vmap(distribution.log_prob)(jnp.float32(raw)[:, None])))
    action = np.float64(distribution.action(jnp.float32(raw)[:, None]))[:, 0]
    assert action.min() >= LOW[1] and action.max() <= HIGH[1]
    np.testing.assert_allclose(np.trapezoid(density, 1.5 * (np.tanh(raw) + 1)), 1.0, atol=1e-4)
    expected = scipy.stats.norm(0.3, 0.8).pdf(raw) / (1.5 * (1 - np.tanh(raw) ** 2))
    inner = np.abs(raw) < 4
    np.testing.assert_allclose(density[inner], expected[inner], rtol=1e-3)


def test_tanh_is_finite_where_it_saturates():
    distribution = policies.gaussian(jnp.float32([0.0]), jnp.float32([1.0]), squash="tanh")
    value, gradient = jax.value_and_grad(lambda x: distribution.log_prob(x[None]))(jnp.float32(80.0))
    assert np.isfinite(value) and np.isfinite(gradient)


def test_tanh_entropy_is_unbiased():
    distribution = policies.gaussian(jnp.float32([0.5]), jnp.float32([0.7]), LOW[:1], HIGH[:1], squash="tanh")
    raw = np.linspace(-10, 10, 100_001)
    pdf = scipy.stats.norm(0.5, 0.7).pdf(raw)
    exact = scipy.stats.norm(0.5, 0.7).entropy() + np.trapezoid(
        pdf * (np.log(2.0) + 2 * (np.log(2) - raw - np.logaddexp(0, -2 * raw))), raw
    )
    estimates = jax.vmap(distribution.entropy)(jax.random.split(jax.random.key(0), 20_000))
    assert abs(float(estimates.mean()) - exact) < 4 * float(estimates.std()) / np.sqrt(20_000)


def test_beta_matches_scipy_on_its_interval(rng):
    a, b = rng.uniform(1.1, 5, size=(2, 4, 2))
    distribution = policies.beta(jnp.float32(a), jnp.float32(b), LOW, HIGH)
    raw = rng.uniform(0.05, 0.95, size=(4, 2))
    scaled = scipy.stats.beta(a, b, loc=LOW, scale=HIGH - LOW)
    np.testing.assert_allclose(
        distribution.log_prob(jnp.float32(raw)),
        (scaled.logpdf(LOW + (HIGH - LOW) * raw) + np.log(2.0)).sum(-1) - 2 * np.log(2.0),
        rtol=1e-4,
    )
    np.testing.assert_allclose(distribution.entropy(jax.random.key(0)), scaled.entropy().sum(-1), rtol=1e-3)
    np.testing.assert_allclose(distribution.mode(), (a - 1) / (a + b - 2), rtol=1e-5)
    samples = distribution.action(distribution.sample(jax.random.key(1)))
    assert ((samples >= LOW) & (samples <= HIGH)).all()


def test_categorical_matches_scipy(rng):
    logits = rng.normal(size=(6, 3))
    distribution = policies.categorical(jnp.float32(logits))
    probability = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(
        distribution.entropy(jax.random.key(0)), scipy.stats.entropy(probability, axis=-1), rtol=1e-5
    )
    np.testing.assert_allclose(distribution.log_prob(jnp.zeros(6, int)), np.log(probability[:, 0]), rtol=1e-5)
    np.testing.assert_array_equal(distribution.mode(), logits.argmax(-1))


def test_mode_of_an_unknown_distribution_says_what_to_do():
    with pytest.raises(TypeError, match="mode.register"):
        policies.mode(Gamma(1.0))


@pytest.mark.parametrize("kind", ["gaussian", "gaussian_state", "tanh", "beta"])
def test_policies_start_near_the_middle_of_the_box(kind):
    policy = policies.policy(BOX, (32,), kind=kind)
    observation = jax.random.normal(jax.random.key(1), (7, 5))
    distribution = policy.apply(policy.init(jax.random.key(0), observation[0]), observation)
    action = distribution.action(distribution.mode())
    assert action.shape == (7, 2)
    # A clipped Gaussian starts at the mean 0; a squashed one at the middle of the interval.
    middle = np.zeros(2) if kind.startswith("gaussian") else (LOW + HIGH) / 2
    np.testing.assert_allclose(action, np.broadcast_to(middle, (7, 2)), atol=0.1)
    raw = distribution.sample(jax.random.key(2))
    assert distribution.log_prob(raw).shape == distribution.entropy(jax.random.key(3)).shape == (7,)


def test_initial_std_is_that_of_the_argument():
    for state_dependent in (False, True):
        policy = policies.gaussian_policy(BOX, (8,), state_dependent_std=state_dependent, initial_std=0.4)
        observation = jnp.zeros((1, 3))
        distribution = policy.apply(policy.init(jax.random.key(0), observation[0]), observation)
        np.testing.assert_allclose(distribution.base.base_dist.scale, np.full((1, 2), 0.4), rtol=1e-3)


def test_wrong_spaces_and_kinds_are_named():
    unbounded = gymnasium.spaces.Box(-np.inf, np.inf, (2,))
    with pytest.raises(ValueError, match="bounded"):
        policies.policy(unbounded, kind="tanh")
    with pytest.raises(ValueError, match="must be a Box"):
        policies.policy(gymnasium.spaces.Discrete(3), kind="gaussian")
    with pytest.raises(ValueError, match="Discrete"):
        policies.policy(BOX, kind="categorical")
    with pytest.raises(ValueError, match="kind must be one of"):
        policies.policy(BOX, kind="gauss")


@pytest.mark.slow
def test_layer_norm_and_torso_shapes():
    torso = policies.torso((16, 8), layer_norm=True, activation="relu")
    params = torso.init(jax.random.key(0), jnp.zeros(3))
    assert torso.apply(params, jnp.ones((4, 3))).shape == (4, 8)
    critic = policies.critic((16,))
    assert critic.apply(critic.init(jax.random.key(0), jnp.zeros(3)), jnp.ones((4, 5, 3))).shape == (4, 5)


@pytest.mark.parametrize("squash", ["clip", "identity", "tanh"])
def test_the_kl_of_gaussians_is_that_of_raw_actions(squash, rng):
    means, stds = rng.normal(size=(2, 5, 2)), rng.uniform(0.3, 2, size=(2, 2))
    one, two = (
        policies.gaussian(jnp.float32(m), jnp.float32(s), LOW, HIGH, squash=squash) for m, s in zip(means, stds)
    )
    expected = np.log(stds[1] / stds[0]) + (stds[0] ** 2 + (means[0] - means[1]) ** 2) / (2 * stds[1] ** 2) - 0.5
    np.testing.assert_allclose(one.kl(two), expected.sum(-1), rtol=1e-4)
    np.testing.assert_allclose(one.kl(one), np.zeros(5), atol=1e-6)


def test_the_kl_of_categoricals_and_betas_is_the_sum_or_integral(rng):
    logits = rng.normal(size=(2, 5, 4))
    log_p, log_q = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    one, two = (policies.categorical(jnp.float32(x)) for x in logits)
    np.testing.assert_allclose(one.kl(two), (np.exp(log_p) * (log_p - log_q)).sum(-1), rtol=1e-4)

    x = np.linspace(1e-6, 1 - 1e-6, 200_001)
    p, q = scipy.stats.beta(2.0, 3.0).pdf(x), scipy.stats.beta(1.5, 4.0).pdf(x)
    one, two = (policies.beta(jnp.float32([a]), jnp.float32([b])) for a, b in ((2.0, 3.0), (1.5, 4.0)))
    np.testing.assert_allclose(one.kl(two), np.trapezoid(p * np.log(p / q), x), rtol=1e-3)


def test_a_kl_that_nobody_knows_is_not_guessed():
    unknown = policies.ActionDistribution(Gamma(2.0, 1.0).to_event(0))
    assert unknown.kl(unknown) is None
    assert policies.gaussian(jnp.zeros(1), jnp.ones(1)).kl(unknown) is None
