import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.losses.value import conservative_q

ORACLE = jnp.array(1.0), jnp.array([0.5, 0.8]), jnp.array([1.2, 0.3])
DENSITIES = {"random_log_prob": jnp.log(0.25), "policy_log_prob": jnp.array([-1.0, -0.5])}


def numpy_gap(q, random_q, policy_q, random_log_prob, policy_log_prob, bound, temperature, importance):
    gap = np.empty(q.shape)
    for i in np.ndindex(q.shape):
        policy = [max(x, bound[i]) for x in policy_q[i]]
        values = [*random_q[i], q[i], *policy]
        if importance:
            values = [*(random_q[i] - random_log_prob), *(np.array(policy) - policy_log_prob[i])]
        gap[i] = temperature * np.log(sum(np.exp(x / temperature) for x in values)) - q[i]
    return gap


def test_oracles() -> None:
    np.testing.assert_allclose(conservative_q(*ORACLE, **DENSITIES), 2.286445, rtol=1e-6)
    np.testing.assert_allclose(conservative_q(*ORACLE, importance=False), 1.42148, rtol=1e-5)
    np.testing.assert_allclose(conservative_q(*ORACLE, **DENSITIES, lower_bound=jnp.array(2.0)), 2.866295, rtol=1e-6)
    slope = jax.grad(conservative_q, argnums=2)(*ORACLE, **DENSITIES, lower_bound=jnp.array(0.5))
    np.testing.assert_allclose(slope, [0.331311, 0], rtol=1e-5)


@pytest.mark.parametrize("importance", [True, False])
def test_equals_numpy_and_finite_differences(rng, float64, check_gradient, importance) -> None:
    q, bound = rng.normal(size=(2, 3, 4))
    random_q, policy_q, log_prob = (
        rng.normal(size=(3, 4, 5)),
        3 * rng.normal(size=(3, 4, 2)),
        rng.normal(size=(3, 4, 2)),
    )
    expected = numpy_gap(q, random_q, policy_q, -1.4, log_prob, bound, 0.6, importance)
    options = {
        "random_log_prob": -1.4,
        "policy_log_prob": jnp.asarray(log_prob),
        "lower_bound": jnp.asarray(bound),
        "temperature": 0.6,
        "importance": importance,
    }
    arrays = tuple(map(jnp.asarray, (q, random_q, policy_q)))
    function = jax.jit(lambda *x: conservative_q(*x, **options))
    np.testing.assert_allclose(function(*arrays), expected, rtol=1e-12)
    check_gradient(function, *arrays)
    clipped = jax.jit(lambda q: conservative_q(q, *arrays[1:], **options, min_gap=1.0, max_gap=2.0))
    np.testing.assert_allclose(clipped(arrays[0]), np.clip(expected, 1, 2))
    slope = jax.grad(lambda q: clipped(q).sum())(arrays[0])
    outside = (expected < 1) | (expected > 2)
    assert outside.any() and not slope[outside].any() and slope[~outside].all()


def test_densities_and_the_bound_are_constants(rng) -> None:
    q, random_q, policy_q = (jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((4,), (4, 3), (4, 3)))

    def gap(random_log_prob, policy_log_prob, lower_bound):
        options = {"policy_log_prob": policy_log_prob, "lower_bound": lower_bound}
        return conservative_q(q, random_q, policy_q, random_log_prob=random_log_prob, **options).sum()

    for slope in jax.jit(jax.grad(gap, argnums=(0, 1, 2)))(jnp.ones((4, 3)), jnp.ones((4, 3)), jnp.zeros(4)):
        assert not slope.any()


def test_laws(rng, float64) -> None:
    q, random_q, policy_q = (jnp.asarray(rng.normal(size=s)) for s in ((6,), (6, 3), (6, 3)))
    for importance in (True, False):
        gap = conservative_q(q, random_q, policy_q, importance=importance)
        shifted = conservative_q(q + 7, random_q + 7, policy_q + 7, importance=importance)
        np.testing.assert_allclose(shifted, gap, rtol=1e-10)
        no_bound = conservative_q(q, random_q, policy_q, lower_bound=jnp.full(6, -jnp.inf), importance=importance)
        np.testing.assert_allclose(no_bound, gap)
    assert (gap >= 0).all()
    largest = jnp.maximum(jnp.maximum(random_q.max(-1), policy_q.max(-1)), q)
    cold = conservative_q(q, random_q, policy_q, temperature=1e-4, importance=False)
    np.testing.assert_allclose(cold, largest - q, atol=1e-3)


def test_masked_log_probs_and_extreme_densities_do_no_harm() -> None:
    q, samples, where = jnp.zeros(3), jnp.zeros((3, 2)), jnp.array([True, True, False])
    log_prob = jnp.array([[-80.0, 0.0], [80.0, -80.0], [jnp.nan, jnp.inf]])
    options = {"random_log_prob": log_prob, "policy_log_prob": log_prob, "where": where}
    gap, slopes = jax.value_and_grad(lambda x: conservative_q(q, x, x, **options).sum())(samples)
    assert np.isfinite(gap) and np.isfinite(slopes).all() and not slopes[2].any()
