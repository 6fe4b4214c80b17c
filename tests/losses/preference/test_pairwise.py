import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.losses.preference import denoising_dpo, dpo, implicit_reward, ipo, pair_loss, simpo

PAIRS = tuple(jnp.array(x) for x in ([-12, -20, -7.5], [-14, -18.5, -9], [-13.0, -19, -8], [-13.5, -19.5, -7]))
RATIOS = np.array([1, -1, 0.5]), np.array([-0.5, 1, -2])
REWARDS = {
    "forward_kl": [0.632121, -1.718282, 0.393469],
    "jensen_shannon": [0.379885, -0.620115, 0.21907],
    "alpha": [0.786939, -1.297443, 0.442398],
    "pearson": [3.436564, -1.264241, 1.297443],
    "neyman": [0.864665, -6.389056, 0.632121],
    "chi_mixed": [2.718282, -1.632121, 1.148721],
    "squared_log": [0.367879, -2.718282, 0.303265],
}
LOSSES = {
    "reverse_kl": [0.386871, 1.313262, 0.251929],
    "forward_kl": [0.423351, 1.444279, 0.033112],
    "jensen_shannon": [0.541528, 0.974077, 0.362983],
    "chi_mixed": [0.152146, 2.282786, 0.126133],
    "squared_log": [0.438865, 1.736772, 0.000531],
}
LINKS = {
    "logistic": lambda m, beta: np.logaddexp(0, -m),
    "hinge": lambda m, beta: np.maximum(0, 1 - m),
    "square": lambda m, beta: ((m - 0.5) / beta) ** 2,
    "exponential": lambda m, beta: np.exp(-m),
}


def value_and_slopes(loss, *args, **options):
    """Losses, and the gradients of their sum in the first two arguments; compiled as one."""

    @jax.jit
    def evaluate(args):
        def total(chosen, rejected):
            value = loss(chosen, rejected, *args[2:], **options)
            return value.sum(), value

        slopes, value = jax.grad(total, (0, 1), has_aux=True)(*args[:2])
        return value, *slopes

    return evaluate(args)


def test_dpo_oracles() -> None:
    losses = jax.jit(lambda pairs: [dpo(*pairs, beta=0.5, divergence=name) for name in LOSSES])(PAIRS)
    np.testing.assert_allclose(losses, list(LOSSES.values()), atol=2e-6)
    rewards = jax.jit(lambda p: [implicit_reward(p[0], p[2], beta=1.0, divergence=name) for name in REWARDS])(PAIRS)
    np.testing.assert_allclose(rewards, list(REWARDS.values()), atol=2e-6)
    hinge, square = jax.jit(lambda p: [dpo(*p, beta=0.5, link=link) for link in ("hinge", "square")])(PAIRS)
    np.testing.assert_allclose(hinge, [0.25, 2, 0])
    np.testing.assert_allclose(square, [0.25, 9, 2.25])
    value, slope, _ = value_and_slopes(dpo, *PAIRS, beta=0.5, label=0.9)
    np.testing.assert_allclose(value, [0.461871, 1.213262, 0.376929], atol=1e-6)
    np.testing.assert_allclose(slope, [-0.110411, -0.315529, -0.06135], atol=1e-6)
    value, _, _ = value_and_slopes(dpo, *PAIRS, beta=0.5, label=jnp.array([0.9, 0.2, 0.6]))
    np.testing.assert_allclose(value, [0.461871, 0.513262, 0.751929], atol=1e-6)


@pytest.mark.parametrize("link", LINKS)
def test_dpo_equals_numpy_and_finite_differences(float64, check_gradient, rng, link) -> None:
    chosen, rejected, reference_chosen, reference_rejected = arrays = rng.uniform(-3, 0, (4, 30))
    label, margin, where = rng.uniform(0, 1.3, 30), rng.normal(size=30), rng.random(30) < 0.7
    m = 0.4 * np.expm1(chosen - reference_chosen) * 2 - 0.7 * np.expm1(rejected - reference_rejected) * 2 - margin
    expected = label * LINKS[link](m, 0.4) + (1 - label) * LINKS[link](-m, 0.4) - 0.3 * chosen
    poison = lambda x: jnp.where(where, x, jnp.nan)
    options = {"beta": 0.4, "rejected_beta": 0.7, "link": link, "divergence": "pearson", "sft_weight": 0.3}
    loss = jax.jit(lambda pairs, where, **more: dpo(*pairs, where=where, **options, **more))
    value = loss([poison(x) for x in arrays], jnp.asarray(where), margin=poison(margin), label=poison(label))
    np.testing.assert_allclose(value, np.where(where, expected, 0), rtol=1e-12)
    given = [jnp.asarray(x) for x in arrays]
    check_gradient(jax.jit(lambda c, r: dpo(c, r, *given[2:], margin=jnp.asarray(margin), **options)), *given[:2])


def test_masked_pairs_of_any_option_have_no_gradient() -> None:
    where, hole, empty = jnp.array([True, False, True]), jnp.array([1.0, jnp.nan, 2.0]), jnp.array([3, 0, 4])
    holes = {option: hole for option in ("beta", "label", "margin", "sft_weight")}
    for case in (
        value_and_slopes(dpo, *PAIRS, where=where, **holes),
        value_and_slopes(ipo, *PAIRS, chosen_length=empty, where=where),
        value_and_slopes(simpo, *PAIRS[:2], empty, empty, where=where),
    ):
        assert np.isfinite(case).all() and not np.any(np.stack(case)[:, 1])


@pytest.mark.parametrize("link", LINKS)
def test_family_laws(float64, rng, link) -> None:
    pairs = chosen, rejected, reference_chosen, reference_rejected = list(jnp.asarray(rng.uniform(-30, 0, (4, 30))))
    loss = jax.jit(lambda *pairs, label=1.0: dpo(*pairs, label=label, beta=0.3, link=link))
    value, chosen_slope, rejected_slope = value_and_slopes(dpo, *pairs, beta=0.3, link=link)
    np.testing.assert_allclose(chosen_slope, -rejected_slope)
    shifted = loss(chosen + 5, rejected + 5, reference_chosen - 7, reference_rejected - 7)
    np.testing.assert_allclose(shifted, value, rtol=1e-9)
    swapped = loss(rejected, chosen, reference_rejected, reference_chosen, label=0.2)
    np.testing.assert_allclose(swapped, loss(*pairs, label=0.8), rtol=1e-12)


def test_at_the_reference_every_divergence_gives_log_two(float64) -> None:
    losses = lambda c, r: [dpo(c, r, c, r, divergence=name) for name in ("reverse_kl", *REWARDS)]
    np.testing.assert_allclose(jax.jit(losses)(*PAIRS[:2]), np.log(2), rtol=1e-6)


def test_label_is_the_preference_that_the_loss_fits(float64) -> None:
    label = jnp.array([0.1, 0.3, 0.5, 0.9])
    slope = lambda margin, label: jax.grad(lambda m: pair_loss(m, label=label).sum())(margin)
    np.testing.assert_allclose(jax.jit(slope)(jnp.log(label / (1 - label)), label), 0, atol=1e-15)
    assert not np.any(jax.jit(jax.grad(lambda label: pair_loss(jnp.arange(4.0), label=label).sum()))(label))


def test_margins_of_160_stay_finite() -> None:
    ends = [jnp.array([80.0, -80.0]), jnp.array([-80.0, 80.0]), jnp.zeros(2), jnp.zeros(2)]
    together = lambda *pairs: jnp.stack([dpo(*pairs, beta=1.0, link=link, label=1.2) for link in LINKS])
    assert all(np.isfinite(x).all() for x in value_and_slopes(together, *ends))


def test_ipo_is_the_square_link_and_divides_by_lengths() -> None:
    loss = jax.jit(ipo)
    np.testing.assert_allclose(loss(*PAIRS, beta=0.5), [0.25, 9, 2.25])
    lengths = np.array([4, 5, 6]), np.array([7, 2, 3])
    expected = (RATIOS[0] / lengths[0] - RATIOS[1] / lengths[1] - 1 / (2 * 0.3)) ** 2
    options = dict(zip(("chosen_length", "rejected_length"), map(jnp.asarray, lengths), strict=True))
    np.testing.assert_allclose(loss(*PAIRS, beta=0.3, **options), expected, rtol=2e-6)


def test_simpo_oracles() -> None:
    lengths = jnp.array([6, 10, 5]), jnp.array([7, 8, 6])
    loss = jax.jit(simpo)
    np.testing.assert_allclose(loss(*PAIRS[:2], *lengths), [0.974077, 0.632599, 0.974077], atol=1e-6)
    step = loss(jnp.array([-12.0]), jnp.array([-14.0]), 6, 7, beta=2.5, margin=0.5)
    np.testing.assert_allclose(step, 0.974077, atol=1e-6)
    rewards = [2 * np.asarray(x) / np.asarray(n) for x, n in zip(PAIRS[:2], lengths, strict=True)]
    m = rewards[0] - rewards[1] - 0.1
    expected = 0.8 * np.logaddexp(0, -m) + 0.2 * np.logaddexp(0, m)
    np.testing.assert_allclose(loss(*PAIRS[:2], *lengths, margin=0.1, label=0.8), expected, rtol=1e-6)


def test_denoising_dpo_oracle_and_its_dynamic_strength(float64) -> None:
    errors = [jnp.array(x) for x in ([0.50, 0.40], [0.60, 0.55], [0.501, 0.398], [0.598, 0.553])]
    np.testing.assert_allclose(jax.jit(denoising_dpo)(*errors), [0.002476, 10.000045], atol=1e-6)
    value, slope, _ = value_and_slopes(denoising_dpo, *errors, beta=jnp.array([0.0, 3.0]))
    assert abs(value[0] - np.log(2)) < 1e-12 and slope[0] == 0
    same, opposite, _ = value_and_slopes(dpo, *(-e for e in errors), beta=jnp.array([0.0, 3.0]))
    np.testing.assert_allclose(value, same, rtol=1e-12)
    np.testing.assert_allclose(slope, -opposite, rtol=1e-12)


def test_options_of_another_shape_are_named(unannotated) -> None:
    with unannotated, pytest.raises(ValueError, match="label"):
        dpo(*PAIRS, label=jnp.ones((3, 1)))
    with pytest.raises(ValueError, match="link must be one of"):
        dpo(*PAIRS, link="probit")
