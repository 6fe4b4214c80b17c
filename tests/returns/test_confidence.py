import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.returns import confidence_penalty


def test_oracle() -> None:
    log_prob = jnp.array([[-1.0, -2]] * 3)
    reference = jnp.array([[-2.0, -3], [-0.5, -0.5], [-3, -3]])
    found = confidence_penalty(jnp.array([-1.0, -1, 1]), log_prob, reference)
    np.testing.assert_allclose(found, [-3.126928, -1.126928, 1], rtol=1e-6)


@pytest.mark.parametrize("normalize_length", [False, True])
def test_equals_numpy(rng, float64, normalize_length) -> None:
    log_prob, reference = rng.uniform(-3, 0, (2, 7, 5))
    advantage, where = rng.normal(size=7), rng.random((7, 5)) < 0.6
    where[0], advantage[0] = False, -1
    expected = advantage.copy()
    for i in range(7):
        c = (log_prob - reference)[i][where[i]].sum() / (max(where[i].sum(), 1) if normalize_length else 1)
        if advantage[i] < 0:
            expected[i] *= 1 + 0.6 * np.log1p(np.exp(c))
    options = {"coefficient": 0.6, "normalize_length": normalize_length}
    arrays = [jnp.asarray(np.where(where, x, np.nan)) for x in (log_prob, reference)]
    found = confidence_penalty(jnp.asarray(advantage), *arrays, where=jnp.asarray(where), **options)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    turned = confidence_penalty(
        jnp.asarray(advantage), *(x.T for x in arrays), where=jnp.asarray(where).T, axis=0, **options
    )
    np.testing.assert_allclose(turned, expected, rtol=1e-9)


def test_limits_and_order() -> None:
    confidence = jnp.array([[-1e4], [-1.0], [0.0], [1.0], [1e4]])
    wrong = confidence_penalty(-jnp.ones(5), confidence, jnp.zeros((5, 1)))
    np.testing.assert_allclose(wrong[jnp.array([0, 2, 4])], [-1, -1 - np.log(2), -1 - 1e4], rtol=1e-6)
    assert (jnp.diff(wrong) < 0).all()
    np.testing.assert_array_equal(confidence_penalty(jnp.ones(5), confidence, jnp.zeros((5, 1))), 1)
    np.testing.assert_array_equal(confidence_penalty(-jnp.ones(5), confidence, jnp.zeros((5, 1)), coefficient=0), -1)
    assert not np.any(jax.grad(lambda x: confidence_penalty(-jnp.ones(5), x, jnp.zeros((5, 1))).sum())(confidence))
