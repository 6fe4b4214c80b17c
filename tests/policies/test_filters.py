import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.policies import filtered_log_prob


def test_oracle() -> None:
    logits = jnp.log(jnp.array([0.7, 0.2, 0.09, 0.01]))
    log_prob = jax.vmap(lambda action: filtered_log_prob(logits, action))(jnp.arange(4))
    np.testing.assert_allclose(log_prob, [-0.346625, -1.599388, -2.397895, -1e4], rtol=2e-6)


def numpy_filtered(logits, action, kind, threshold, floor):
    log_p = logits - np.log(np.sum(np.exp(logits)))
    p = np.exp(log_p)
    if kind == "top_p":
        order = np.argsort(-p)
        kept = np.isin(np.arange(p.size), order[: 1 + np.searchsorted(np.cumsum(p[order]), threshold)])
    else:
        kept = p >= threshold * (p.max() if kind == "min_p" else 1)
    z = np.where(kept, log_p, floor)
    return z[action] - np.log(np.sum(np.exp(z - z.max()))) - z.max()


@pytest.mark.parametrize(("kind", "threshold"), [("min_p", 0.3), ("probability", 0.12), ("top_p", 0.7)])
def test_equals_numpy_and_finite_differences(rng, check_gradient, kind, threshold) -> None:
    logits, action = rng.normal(size=(12, 9)), rng.integers(9, size=12)
    options = {"kind": kind, "threshold": threshold, "floor": -5.0}
    expected = [numpy_filtered(*row, **options) for row in zip(logits, action, strict=True)]
    call = jax.jit(lambda logits: filtered_log_prob(logits.T, jnp.asarray(action), axis=0, **options))
    np.testing.assert_allclose(call(jnp.asarray(logits)), expected, rtol=1e-9)
    np.testing.assert_allclose(call(jnp.asarray(logits) + 50), expected, rtol=1e-9)
    assert min(expected) < -4.5 and max(expected) > -1
    check_gradient(call, jnp.asarray(logits))


@pytest.mark.parametrize(("kind", "everything"), [("min_p", 0.0), ("probability", 0.0), ("top_p", 1.0)])
def test_a_filter_that_keeps_all_is_none(rng, kind, everything) -> None:
    logits, action = jnp.asarray(rng.normal(size=(5, 6)), jnp.float32), jnp.arange(5)
    logits = logits.at[:, 5].set(-jnp.inf)
    expected = jax.nn.log_softmax(logits)[jnp.arange(5), action]
    found = filtered_log_prob(logits, action, kind=kind, threshold=everything)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_filter_that_keeps_nothing_is_uniform(rng) -> None:
    logits = jnp.asarray(rng.normal(size=6), jnp.float32)
    found = filtered_log_prob(logits, jnp.array(2), kind="probability", threshold=1.1, floor=-10.0)
    np.testing.assert_allclose(found, -np.log(6), rtol=1e-5)


def test_actions_are_indices(unannotated) -> None:
    with unannotated:
        with pytest.raises(ValueError, match="action must be an integer"):
            filtered_log_prob(jnp.zeros((2, 3)), jnp.zeros(2))
        with pytest.raises(ValueError, match="broadcast"):
            filtered_log_prob(jnp.zeros((2, 3)), jnp.zeros(3, int))
