import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.losses.policy import advantage_leftover

VARIANTS = ("trajectory", "token", "reference_free", "kl")
EXAMPLE = (
    jnp.array([[-0.5, -1.2, -0.3], [-2.0, -0.1, -0.4]]),
    jnp.array([[-0.6, -1.0, -0.3], [-1.0, -0.2, -0.9]]),
    jnp.array([0.4, -0.3]),
)
WHERE = jnp.array([[True, True, True], [True, True, False]])


def slope(log_prob, *args, **options):
    return jax.jit(jax.grad(lambda log_prob: advantage_leftover(log_prob, *args, **options).sum()))(log_prob)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0.72387, 0]),
        ({"variant": "token"}, [0.734025, 0]),
        ({"variant": "reference_free"}, [0.8, 0]),
        ({"variant": "kl", "kl_coefficient": 0.1}, [0.79, -0.09]),
    ],
)
def test_oracle(options, expected) -> None:
    np.testing.assert_allclose(advantage_leftover(*EXAMPLE, where=WHERE, **options), expected, rtol=2e-5, atol=1e-7)


def test_trajectory_gradient_oracle() -> None:
    gradient = slope(*EXAMPLE, where=WHERE)
    np.testing.assert_allclose(gradient, [[-0.361935] * 3, [0, 0, 0]], rtol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_equals_numpy_with_masks_and_extreme_ratios(rng, float64, variant) -> None:
    log_prob, reference = -rng.exponential(size=(2, 5, 7))
    log_prob[1], reference[2] = -90.0, -90.0  # ratios of e^-630 and e^630 over the response
    advantage, where = rng.normal(size=5) + 0.5, rng.random((5, 7)) < 0.7
    expected, gradient = np.zeros(5), np.zeros((5, 7))
    for i in range(5):
        gain = max(advantage[i], 0)
        with np.errstate(over="ignore"):
            whole = np.exp((log_prob - reference)[i][where[i]].sum())
            single = np.exp((log_prob - reference)[i])
        for t in np.flatnonzero(where[i]):
            ratio = {"trajectory": whole, "token": single[t]}.get(variant, 1.0)
            weight = gain * min(max(ratio, 0.3), 1.7)
            expected[i] -= weight * log_prob[i, t]
            gradient[i, t] -= weight
            if variant == "kl":
                expected[i] += 0.2 * (log_prob - reference)[i, t]
                gradient[i, t] += 0.2
    arrays = [jnp.asarray(x) for x in (log_prob, reference, advantage)]
    options = {"variant": variant, "clip": 0.7, "kl_coefficient": 0.2, "where": jnp.asarray(where)}
    np.testing.assert_allclose(advantage_leftover(*arrays, **options), expected, rtol=1e-12)
    np.testing.assert_allclose(slope(*arrays, **options), gradient, rtol=1e-12)
    across = [arrays[0].T, arrays[1].T, arrays[2]]
    loss = advantage_leftover(*across, **{**options, "where": options["where"].T}, axis=0)
    np.testing.assert_allclose(loss, expected, rtol=1e-12)


def test_limits(rng, float64) -> None:
    log_prob, reference = map(jnp.asarray, -rng.exponential(size=(2, 4, 6)))
    advantage = jnp.array([0.5, 2.0, 0.0, -1.0])
    plain = advantage_leftover(log_prob, reference, advantage, variant="reference_free")
    np.testing.assert_allclose(plain, -jnp.maximum(advantage, 0) * log_prob.sum(-1), rtol=1e-12)
    for variant in VARIANTS[:3]:
        at_reference = advantage_leftover(log_prob, log_prob, advantage, variant=variant)
        np.testing.assert_allclose(at_reference, plain, rtol=1e-12)
        unclipped = advantage_leftover(log_prob, reference, advantage, variant=variant, clip=0.0)
        np.testing.assert_allclose(unclipped, plain, rtol=1e-12)
        assert not np.any(advantage_leftover(log_prob - 500, reference, advantage, variant=variant, clip=jnp.inf)[2:])


def test_unknown_variant_is_named() -> None:
    with pytest.raises(ValueError, match="variant must be one of 'trajectory'.*'sequence'"):
        advantage_leftover(*EXAMPLE, variant="sequence")
