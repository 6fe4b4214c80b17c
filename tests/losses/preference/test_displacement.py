"""The failures of direct alignment, and the settings of `dpo` that temper them."""

import jax
import jax.numpy as jnp
import numpy as np

from rlx.diagnostics import likelihood_displacement, unseen_mass
from rlx.losses.preference import dpo

PAIRS = (
    jnp.array([-12.0, -20.0, -7.5]),
    jnp.array([-14.0, -18.5, -9.0]),
    jnp.array([-13.0, -19.0, -8.0]),
    jnp.array([-13.5, -19.5, -7.0]),
)


def slopes(*arrays, **options):
    return jax.grad(lambda c, r: dpo(c, r, *arrays[2:], **options).sum(), argnums=(0, 1))(*arrays[:2])


def test_two_strengths_oracle() -> None:
    options = {"beta": 0.5, "rejected_beta": 0.1}
    np.testing.assert_allclose(dpo(*PAIRS, **options), [0.455492, 1.037488, 0.493249], rtol=1e-5)
    chosen, rejected = slopes(*PAIRS, **options)
    np.testing.assert_allclose(rejected, [0.036586, 0.064566, 0.038936], rtol=1e-4)
    np.testing.assert_allclose(rejected / chosen, -0.2, rtol=1e-5)


def test_two_strengths_limits() -> None:
    np.testing.assert_allclose(dpo(*PAIRS, rejected_beta=0.1), dpo(*PAIRS), rtol=1e-6)
    chosen, rejected = slopes(*PAIRS, rejected_beta=0.0, sft_weight=0.5)
    assert not rejected.any()
    np.testing.assert_allclose(chosen, -0.1 * jax.nn.sigmoid(-0.1 * (PAIRS[0] - PAIRS[2])) - 0.5, rtol=1e-5)


def test_probability_slopes_diverge_as_the_rejected_response_vanishes() -> None:
    """The ratio of the slopes in probability space is π_w / π_l."""
    for rejected in (1e-1, 1e-3, 1e-5):
        loss = lambda p: dpo(jnp.log(p[0]), jnp.log(p[1]), jnp.log(0.2), jnp.log(0.2))
        slope = jax.grad(loss)(jnp.array([0.2, rejected]))
        np.testing.assert_allclose(-slope[1] / slope[0], 0.2 / rejected, rtol=1e-4)


def test_a_smaller_strength_for_the_rejected_response_keeps_the_mass_in_the_data() -> None:
    """The paper's toy: three prompts, ten responses, a small network, chosen responses improbable at the start."""
    prompt = jnp.arange(3)
    log_probs = lambda params: jax.nn.log_softmax(jnp.tanh(params["in"]) @ params["out"] + params["bias"])
    pairs = lambda log_prob: (log_prob[prompt, prompt], log_prob[prompt, prompt + 3])
    seen = jnp.arange(10) == jnp.stack([prompt, prompt + 3])[..., None]

    def train(rejected_beta, key):
        keys = jax.random.split(key)
        init = {"in": jax.random.normal(keys[0], (3, 16)), "out": jax.random.normal(keys[1], (16, 10)) / 4}
        init["bias"] = jnp.zeros(10).at[:3].set(-4)
        initial = log_probs(init)

        def loss(params):
            return dpo(*pairs(log_probs(params)), *pairs(initial), beta=0.5, rejected_beta=rejected_beta).mean()

        def step(params, _):
            return jax.tree.map(lambda x, slope: x - 0.1 * slope, params, jax.grad(loss)(params)), None

        final = log_probs(jax.lax.scan(step, init, length=400)[0])
        dispersed = unseen_mass(final, seen.any(0)) - unseen_mass(initial, seen.any(0))
        return likelihood_displacement(*pairs(final), *pairs(initial)) | {"dispersed": dispersed}

    over_seeds = jax.vmap(train, in_axes=(None, 0))
    moved = jax.vmap(over_seeds, in_axes=(0, None))(jnp.array([0.5, 0.1, 0.02]), jax.random.split(jax.random.key(0), 5))
    drop, gain, dispersed = (moved[name].mean(-1) for name in ("rejected_drop", "chosen_change", "dispersed"))
    assert (drop[0] > drop[1]).all() and (drop[1] > drop[2]).all() and (drop > 0).all()
    assert (gain[1:] > gain[0]).all() and (gain > 0).all()
    assert (dispersed[1:] < dispersed[0]).all()
