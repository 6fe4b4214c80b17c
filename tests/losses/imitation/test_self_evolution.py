import jax
import jax.numpy as jnp
import numpy as np

from rlx.losses.imitation import self_evolution_target


def test_oracle_and_the_limits_of_alpha() -> None:
    action, past = jnp.array([1.0, -0.2]), jnp.array([0.4, 0.6])
    np.testing.assert_allclose(self_evolution_target(action, past, alpha=0.5)[0], 0.7, rtol=1e-6)
    np.testing.assert_allclose((0.4 - self_evolution_target(action, past, alpha=0.5)[0]) ** 2, 0.09, rtol=1e-5)
    np.testing.assert_array_equal(self_evolution_target(action, past, alpha=0), action)
    np.testing.assert_array_equal(self_evolution_target(action, past, alpha=1), past)


def test_a_good_past_policy_brings_the_target_nearer_to_the_clean_action(rng) -> None:
    clean = rng.normal(size=2000)
    noisy, past = clean + rng.normal(0, 0.8, 2000), clean + rng.normal(0, 0.4, 2000)
    target = self_evolution_target(jnp.asarray(noisy, jnp.float32), jnp.asarray(past, jnp.float32), alpha=0.3)
    # Independent errors: the variance is 0.7²·0.64 + 0.3²·0.16.
    np.testing.assert_allclose(np.mean((target - clean) ** 2), 0.49 * 0.64 + 0.09 * 0.16, rtol=0.1)


def test_no_gradient_flows_into_the_target() -> None:
    slopes = jax.grad(lambda a, p: self_evolution_target(a, p, alpha=0.3).sum(), (0, 1))(jnp.ones(2), jnp.zeros(2))
    assert not np.any(slopes)
