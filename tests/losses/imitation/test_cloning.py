import jax
import jax.numpy as jnp
import numpy as np

from rlx.losses.imitation import behavior_cloning
from rlx.weighting import top_fraction


def test_oracle() -> None:
    loss = behavior_cloning(jnp.array([-1.2, -0.3]), weight=jnp.array([1.0, 2.0]))
    np.testing.assert_allclose(loss, [1.2, 0.6], rtol=1e-6)
    np.testing.assert_allclose(behavior_cloning(jnp.array([-1.2, -0.3])), [1.2, 0.3], rtol=1e-6)


def test_weights_are_constants_and_zero_ones_leave_nothing(rng) -> None:
    log_prob, weight = jnp.asarray(rng.uniform(-3, 0, 5)), jnp.array([0.0, 1.0, 2.0, 0.0, 0.5])
    slopes = jax.grad(lambda x, w: behavior_cloning(x, weight=w).sum(), argnums=(0, 1))(log_prob, weight)
    np.testing.assert_allclose(slopes[0], -weight)
    assert not slopes[1].any()


def test_percentage_bc_sees_the_best_trajectories_only() -> None:
    # Two trajectories of two and three transitions; the loss is an expectation over the kept transitions.
    probability = top_fraction(jnp.array([1.0, 5.0]), length=jnp.array([2.0, 3.0]), fraction=0.5)
    log_prob, trajectory = jnp.array([-9.0, -9.0, -1.0, -2.0, -3.0]), jnp.array([0, 0, 1, 1, 1])
    loss = behavior_cloning(log_prob, weight=probability[trajectory]).sum()
    np.testing.assert_allclose(loss, 2, rtol=1e-6)
