import jax
import jax.numpy as jnp
import numpy as np

from rlx.losses import preference
from rlx.losses.preference import dpo

group_alignment = jax.jit(preference.group_alignment, static_argnames="axis")
LOG_PROB = jnp.array([-12, -10.5, -11.2, -13])
REFERENCE = jnp.array([-12.4, -10.1, -11.2, -12])
REWARD = jnp.array([1.0, 0, 1, 0])


def slope(log_prob, *args, **options):
    return jax.jit(jax.grad(lambda log_prob: group_alignment(log_prob, *args, **options).sum()))(log_prob)


def numpy_group_alignment(log_prob, reference, reward, where, temperature):
    losses = []
    for q in range(len(reward)):
        d, pairs = log_prob[q] - reference[q], []
        for i in np.flatnonzero(where[q]):
            for j in np.flatnonzero(where[q]):
                if reward[q, i] > reward[q, j]:
                    pairs.append(np.logaddexp(0, -temperature * (d[i] - d[j])))
        losses.append(np.mean(pairs) if pairs else 0)
    return losses


def test_oracle() -> None:
    np.testing.assert_allclose(group_alignment(LOG_PROB, REFERENCE, REWARD), 0.354449, rtol=2e-6)
    expected = np.array([-0.12696, 0.177834, -0.167563, 0.116689])
    np.testing.assert_allclose(slope(LOG_PROB, REFERENCE, REWARD), expected, rtol=1e-5)
    order = jnp.array([2, 0, 3, 1])
    permuted = slope(LOG_PROB[order], REFERENCE[order], REWARD[order])
    np.testing.assert_allclose(permuted, expected[order], rtol=1e-5)


def test_equals_numpy_and_finite_differences(rng, check_gradient) -> None:
    log_prob, reference = rng.normal(size=(2, 5, 6))
    reward, where = rng.integers(0, 3, (5, 6)).astype(float), rng.random((5, 6)) < 0.7
    reward[0], where[1] = 1, False
    arrays, mask = [jnp.asarray(x) for x in (log_prob, reference, reward)], jnp.asarray(where)
    expected = numpy_group_alignment(log_prob, reference, reward, where, 0.7)
    np.testing.assert_allclose(group_alignment(*arrays, temperature=0.7, where=mask), expected, rtol=1e-11)
    swapped = group_alignment(*[x.T for x in arrays], temperature=0.7, where=mask.T, axis=0)
    np.testing.assert_allclose(swapped, expected, rtol=1e-11)
    check_gradient(jax.jit(lambda x: group_alignment(x, *arrays[1:], where=mask)), arrays[0])
    np.testing.assert_allclose(slope(*arrays, where=mask).sum(-1), 0, atol=1e-14)


def test_limits() -> None:
    assert group_alignment(LOG_PROB, REFERENCE, jnp.ones(4)) == 0
    assert not np.any(slope(LOG_PROB, REFERENCE, jnp.ones(4)))
    shifted = group_alignment(LOG_PROB + 3, REFERENCE, REWARD)
    np.testing.assert_allclose(shifted, group_alignment(LOG_PROB, REFERENCE, REWARD), rtol=1e-5)
    pair = dpo(LOG_PROB[0], LOG_PROB[1], REFERENCE[0], REFERENCE[1], beta=0.3)
    np.testing.assert_allclose(
        group_alignment(LOG_PROB[:2], REFERENCE[:2], REWARD[:2], temperature=0.3), pair, rtol=1e-6
    )
