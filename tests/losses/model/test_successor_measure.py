import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.losses import model
from rlx.policies import task_embedding

implied_reward, successor_measure = jax.jit(model.implied_reward), jax.jit(model.successor_measure)

F = jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
B = jnp.array([[0.5, 0.5], [1.0, -1.0], [0.0, 1.0]])


def numpy_successor_measure(forward, backward, targets, target_backward, discount, where):
    loss = np.zeros(len(discount))
    for i in np.flatnonzero(where):
        errors = []
        for j in np.flatnonzero(where):
            target = discount[i] * min(f[i] @ target_backward[j] for f in targets)
            if i != j:
                errors.append((forward[i] @ backward[j] - target) ** 2)
        loss[i] = np.mean(errors) / 2 - forward[i] @ backward[i]
    return loss


def test_successor_measure_oracle() -> None:
    loss = successor_measure(F, B, 0.5 * F, B, jnp.full(3, 0.98))
    np.testing.assert_allclose(loss, [-0.434975, 1.081281, -0.934975], atol=1e-6)


def test_successor_measure_equals_numpy_and_finite_differences(rng, check_gradient) -> None:
    forward, backward, target_backward = rng.normal(size=(3, 5, 3))
    targets, discount = rng.normal(size=(2, 5, 3)), rng.uniform(size=5)
    where = np.array([True, True, False, True, True])
    constants = [jnp.asarray(x) for x in (targets, target_backward, discount)]
    loss = lambda f, b: successor_measure(f, b, *constants, where=jnp.asarray(where))
    expected = numpy_successor_measure(forward, backward, targets, target_backward, discount, where)
    np.testing.assert_allclose(loss(jnp.asarray(forward), jnp.asarray(backward)), expected, rtol=1e-10)
    check_gradient(jax.jit(loss), jnp.asarray(forward), jnp.asarray(backward))
    both = loss(jnp.asarray(targets), jnp.asarray(backward))  # an ensemble of F
    np.testing.assert_allclose(both[1], loss(jnp.asarray(targets[1]), jnp.asarray(backward)), rtol=1e-10)


def test_the_exact_successor_measure_minimizes_the_loss(rng, float64) -> None:
    """On a chain of 4 states with uniform data the density is 4·Σ_t γ^t P^{t+1}, whose gradient vanishes."""
    gamma, step = 0.8, np.eye(4)[[1, 2, 3, 0]] * 0.7 + 0.3 / 4
    density = 4 * step @ np.linalg.inv(np.eye(4) - gamma * step)
    state, reached = jnp.asarray(np.divmod(np.arange(16), 4))
    prob = jnp.asarray(step.ravel() / 4)  # of each transition

    def of_batch(table, batch):
        """Loss of the first of two transitions. Identity features make M_ij an entry of a table."""
        features = table[state[batch]], jnp.eye(4)[reached[batch]]
        targets = jnp.asarray(density)[reached[batch]], jnp.eye(4)[reached[batch]]
        return successor_measure(*features, *targets, jnp.full(2, gamma))[0]

    batches = jnp.stack(jnp.meshgrid(jnp.arange(16), jnp.arange(16), indexing="ij"), -1).reshape(-1, 2)
    each = jax.vmap(of_batch, (None, 0))
    total = lambda table: jnp.sum(each(table, batches) * jnp.prod(prob[batches], -1))
    # γ·M̄ at s' stands for γ·E[M(s', ·)], and the diagonal for the first step: M = 4P + γPM.
    np.testing.assert_allclose(jax.grad(total)(jnp.asarray(density)), 0, atol=1e-12)
    assert np.abs(jax.grad(total)(jnp.asarray(density) + 0.1)).max() > 1e-3


def test_implied_reward_oracle() -> None:
    np.testing.assert_allclose(implied_reward(B, jnp.array([1.0, -1.0])), [0.666667, 2.666667, -0.666667], rtol=1e-5)


def test_implied_reward_equals_numpy_and_finite_differences(rng, check_gradient) -> None:
    feature, z = rng.normal(size=(8, 3)), rng.normal(size=(8, 3))
    where = np.arange(8) != 2
    kept = feature[where]
    inverse = np.linalg.inv(kept.T @ kept / 7 + 0.1 * np.eye(3))
    expected = np.where(where, np.einsum("iz,zy,iy->i", feature, inverse, z), 0)
    reward = lambda feature, z: implied_reward(feature, z, ridge=0.1, where=jnp.asarray(where))
    np.testing.assert_allclose(reward(jnp.asarray(feature), jnp.asarray(z)), expected, rtol=1e-9)
    check_gradient(jax.jit(reward), jnp.asarray(feature), jnp.asarray(z))


@pytest.mark.parametrize("kind", ["mean", "least_squares"])
def test_the_implied_reward_of_a_task_is_the_reward_that_gave_it(rng, float64, kind) -> None:
    # Features of unit second moment, of which the reward is a combination: both embeddings invert.
    feature = jnp.asarray(np.linalg.qr(rng.normal(size=(9, 3)))[0] * 3)
    reward = feature @ jnp.array([0.5, -1.0, 2.0])
    z = task_embedding(feature, reward, kind=kind, normalize=False)
    np.testing.assert_allclose(implied_reward(feature, z), reward, rtol=1e-9)
