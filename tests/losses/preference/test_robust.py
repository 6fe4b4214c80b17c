import jax
import jax.numpy as jnp
import numpy as np

from rlx.losses.preference import debiased_label, dpo, pair_loss, robust_dpo

PAIRS = tuple(jnp.array(x) for x in ([-12, -20, -7.5], [-14, -18.5, -9], [-13.0, -19, -8], [-13.5, -19.5, -7]))


def test_oracle() -> None:
    value, back = jax.vjp(jax.jit(lambda c: robust_dpo(c, *PAIRS[1:], beta=0.5, flip_rate=0.2)), PAIRS[0])
    np.testing.assert_allclose(value, [0.136871, 1.646595, -0.164738], atol=1e-6)
    np.testing.assert_allclose(back(jnp.ones(3))[0], [-0.327077, -0.532196, -0.278017], atol=1e-6)
    np.testing.assert_allclose(robust_dpo(*PAIRS, flip_rate=0.0), dpo(*PAIRS), rtol=1e-6)


def test_loss_of_noisy_labels_averages_to_that_of_clean_ones(float64, rng) -> None:
    margin, label = jnp.asarray(rng.normal(size=20) * 3), debiased_label(0.3)
    np.testing.assert_allclose(label, 0.7 / 0.4)
    for link in ("logistic", "hinge", "square", "exponential"):
        noisy = jax.jit(lambda m, link=link: pair_loss(m, link=link, label=label))
        clean = jax.jit(lambda m, link=link: pair_loss(m, link=link))(margin)
        np.testing.assert_allclose(0.7 * noisy(margin) + 0.3 * noisy(-margin), clean, rtol=1e-9, atol=1e-12)


def test_population_minimizer_is_the_clean_reward_gap(float64) -> None:
    gap = jnp.array([1.0, 2.0, 3.0])
    clean = jax.nn.sigmoid(gap)
    seen = 0.8 * clean + 0.2 * (1 - clean)

    @jax.jit
    def slopes(margin, label):
        risk = lambda m: (seen * pair_loss(m, label=label) + (1 - seen) * pair_loss(-m, label=label)).sum()
        return jax.grad(risk)(margin)

    # The minimizers of DPO, conservative DPO and robust DPO under 20 % flips, rounded.
    for margin, label, precision in (
        ([0.5694, 0.9869, 1.2171], 1.0, 2e-5),
        ([0.3358, 0.5627, 0.6764], 0.8, 2e-5),
        (gap, debiased_label(0.2), 1e-12),
    ):
        np.testing.assert_allclose(slopes(jnp.asarray(margin), label), 0, atol=precision)


def test_flip_rate_is_cut_below_one_half() -> None:
    np.testing.assert_allclose(debiased_label(jnp.array([-0.1, 0.0, 0.5, 0.9])), [1, 1, 25.5, 25.5], rtol=1e-5)
