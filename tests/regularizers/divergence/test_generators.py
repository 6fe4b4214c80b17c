import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.regularizers.divergence import f_conjugate, f_derivative, f_generator

GENERATORS = {
    "reverse_kl": lambda t: t * np.log(t),
    "forward_kl": lambda t: -np.log(t),
    "jensen_shannon": lambda t: t * np.log(2 * t / (t + 1)) + np.log(2 / (t + 1)),
    "total_variation": lambda t: abs(t - 1) / 2,
    "pearson": lambda t: (t - 1) ** 2,
    "neyman": lambda t: (1 - t) ** 2 / t,
    "squared_hellinger": lambda t: (np.sqrt(t) - 1) ** 2,
    "alpha": lambda t: ((t - 1) - (t**0.7 - 1) / 0.7) / 0.3,
    "chi_mixed": lambda t: (t - 1) ** 2 / 2 + t * np.log(t),
    "squared_log": lambda t: np.log(t) ** 2 / 2,
}
SLOPES_AT_ONE = {"reverse_kl": 1, "forward_kl": -1, "chi_mixed": 1}


def every_member(function):
    """The function for all divergences at once, so that it compiles once."""
    return lambda x: jnp.stack([function(x, divergence=name, alpha=0.3) for name in GENERATORS])


def test_table_equals_the_formulas(float64, rng) -> None:
    ratio = np.exp(np.append(rng.normal(size=50), 0))
    centered = every_member(functools.partial(f_derivative, centered=True))
    members = jax.jit(lambda x: [every_member(f_generator)(x), every_member(f_derivative)(x), centered(x)])
    for name, value, slope, centered_slope in zip(GENERATORS, *members(jnp.log(ratio)), strict=True):
        np.testing.assert_allclose(value, GENERATORS[name](ratio), rtol=1e-9, atol=1e-12)
        expected = (GENERATORS[name](ratio + 1e-6) - GENERATORS[name](ratio - 1e-6)) / 2e-6
        at_one = SLOPES_AT_ONE.get(name, 0)
        np.testing.assert_allclose(slope, expected, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(centered_slope, expected - at_one, rtol=1e-6, atol=1e-6)
        assert value[-1] == centered_slope[-1] == 0 and slope[-1] == at_one


@pytest.mark.parametrize("function", [f_derivative, f_generator])
def test_gradients_equal_finite_differences(check_gradient, rng, function) -> None:
    check_gradient(jax.jit(every_member(function)), jnp.asarray(rng.normal(size=10)))


@pytest.mark.parametrize("function", [f_derivative, f_generator])
def test_values_and_gradients_are_finite_at_extreme_ratios(function) -> None:
    extreme = jnp.array([-1e3, -160.0, -80.0, 80.0, 160.0, 1e3])
    value, slope = jax.jit(lambda x: (every_member(function)(x), jax.jacrev(every_member(function))(x)))(extreme)
    assert np.isfinite(value).all() and np.isfinite(slope).all()


CONJUGATES = [name for name in GENERATORS if name not in ("chi_mixed", "squared_log")]


def test_conjugate_is_the_supremum(float64) -> None:
    ratio = np.concatenate([[1e-30, 1.0], np.exp(np.linspace(-18, 9, 200_001))])
    x = np.array([-3.0, -1.0, -0.5, -0.1, 0.3])
    together = jax.jit(lambda x: jnp.stack([f_conjugate(x, divergence=name, alpha=0.3) for name in CONJUGATES]))
    for name, actual in zip(CONJUGATES, together(jnp.asarray(x)), strict=True):
        expected = np.max(x[:, None] * ratio - GENERATORS[name](ratio), -1)
        expected = np.where((name == "forward_kl") & (x > 0), np.inf, expected)
        np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=2e-7)


def test_conjugate_has_the_inverse_slope_and_young_equality(float64) -> None:
    log_ratio = jnp.linspace(-2, 2, 9)

    @jax.jit
    def dual(log_ratio):
        def member(name):
            conjugate = functools.partial(f_conjugate, divergence=name, alpha=0.3)
            x = f_derivative(log_ratio, divergence=name, alpha=0.3)
            value, slope = jax.vmap(jax.value_and_grad(conjugate))(x)
            return slope, value - x * slope + f_generator(log_ratio, divergence=name, alpha=0.3)

        return [member(name) for name in CONJUGATES if name != "total_variation"]

    for slope, young in dual(log_ratio):
        np.testing.assert_allclose(slope, jnp.exp(log_ratio), rtol=1e-10)
        np.testing.assert_allclose(young, 0, atol=1e-12)


def test_conjugate_oracles_and_its_domain() -> None:
    @jax.jit
    def both(x):
        return {n: jax.vmap(jax.value_and_grad(functools.partial(f_conjugate, divergence=n)))(x) for n in CONJUGATES}

    x = jnp.array([-3.0, -2.0, -1.0, 0.0, 2.0])
    inside = both(x)
    np.testing.assert_allclose(inside["pearson"][0], [-1, -1, -0.75, 0, 3])
    np.testing.assert_allclose(inside["pearson"][1], np.maximum(x / 2 + 1, 0))
    np.testing.assert_allclose(inside["reverse_kl"][0], np.exp(x - 1), rtol=1e-6)
    beyond = jnp.array([0.01, np.log(2) + 0.01, 1.01, 2.01, 5.0])
    values = both(beyond)
    bounds = {"forward_kl": 0, "jensen_shannon": np.log(2), "neyman": 1, "squared_hellinger": 1, "alpha": 2}
    for name, bound in bounds.items():
        value, slope = values[name]
        assert (np.isinf(value) == (beyond > bound)).all() and not np.any(slope[beyond > bound])
    with pytest.raises(ValueError, match="chi_mixed"):
        f_conjugate(x, divergence="chi_mixed")


def test_alpha_reaches_its_named_members(float64, rng) -> None:
    log_ratio, x = jnp.asarray(rng.normal(size=(2, 20))) * 0.5

    @jax.jit
    def family(alpha):
        options = {"divergence": "alpha", "alpha": alpha}
        return f_derivative(log_ratio, **options), f_generator(log_ratio, **options), f_conjugate(x, **options)

    for alpha, name, factor in ((0.0, "reverse_kl", 1), (1.0, "forward_kl", 1), (0.5, "squared_hellinger", 2)):
        slope, value, conjugate = family(alpha)
        exact = f_derivative(log_ratio, divergence=name, centered=True)
        np.testing.assert_allclose(slope, factor * exact, rtol=1e-12)
        # The member itself may have another linear term, which cancels in the mean under p.
        linear = SLOPES_AT_ONE.get(name, 0) * jnp.expm1(log_ratio)
        exact = f_generator(log_ratio, divergence=name) - linear
        np.testing.assert_allclose(value, factor * exact, atol=1e-12)
        np.testing.assert_allclose(conjugate, family(alpha + 1e-7)[2], atol=1e-5)
