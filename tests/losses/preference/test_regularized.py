import jax
import jax.numpy as jnp
import numpy as np

from rlx.losses.preference import dpo, rpo, vpo

PAIRS = tuple(jnp.array(x) for x in ([-12, -20, -7.5], [-14, -18.5, -9], [-13.0, -19, -8], [-13.5, -19.5, -7]))
CALIBRATION = jnp.array([-11.0, -18.0, -8.0]), jnp.array([-12.0, -17.0, -8.5])


def value_and_slopes(loss, *args, **options):
    def evaluate(args):
        value, back = jax.vjp(lambda *args: loss(*args, **options), *args)
        return value, back(jnp.ones_like(value))

    return jax.jit(evaluate)(args)


def test_rpo_oracle_and_its_gradient() -> None:
    value, slopes = value_and_slopes(rpo, *PAIRS, beta=0.5)
    np.testing.assert_allclose(value, [0.416871, 1.363262, 0.270679], atol=1e-6)
    np.testing.assert_allclose(slopes[0], [-0.162911, -0.368029, -0.11385], atol=1e-6)
    plain, plain_slopes = value_and_slopes(dpo, *PAIRS, beta=0.5)
    np.testing.assert_allclose(slopes[1], plain_slopes[1], rtol=1e-6)
    np.testing.assert_allclose(slopes[0], plain_slopes[0] - 0.005 * 0.5, rtol=1e-6)
    np.testing.assert_allclose(value, dpo(*PAIRS, beta=0.5, sft_weight=0.0025), rtol=1e-6)
    np.testing.assert_allclose(value_and_slopes(rpo, *PAIRS, beta=0.5, eta=0.0)[0], plain)


def test_rpo_pushes_the_chosen_response_of_a_saturated_pair() -> None:
    far = jnp.array([100.0]), jnp.array([-100.0]), jnp.zeros(1), jnp.zeros(1)
    np.testing.assert_allclose(value_and_slopes(rpo, *far, beta=1.0, eta=0.2)[1][0], -0.2, rtol=1e-6)


def test_rpo_with_another_baseline_leaves_the_pair_alone() -> None:
    with_baseline = lambda *args: rpo(*args[:4], baseline_log_prob=args[4], beta=0.5, eta=0.2)
    value, slopes = value_and_slopes(with_baseline, *PAIRS, CALIBRATION[0])
    plain, plain_slopes = value_and_slopes(dpo, *PAIRS, beta=0.5)
    np.testing.assert_allclose(value, plain - 0.1 * CALIBRATION[0], rtol=1e-6)
    np.testing.assert_allclose(slopes[:2], plain_slopes[:2], rtol=1e-6)
    np.testing.assert_allclose(slopes[4], -0.1, rtol=1e-6)


def test_vpo_oracle_and_laws() -> None:
    optimist, slopes = value_and_slopes(vpo, *PAIRS, *CALIBRATION, beta=0.5, alpha=0.1, sign=1.0)
    pessimist, _ = value_and_slopes(vpo, *PAIRS, *CALIBRATION, beta=0.5, alpha=0.1)
    np.testing.assert_allclose(optimist, [0.436871, 1.263262, 0.276929], atol=1e-6)
    np.testing.assert_allclose(pessimist, [0.336871, 1.363262, 0.226929], atol=1e-6)
    np.testing.assert_allclose((optimist + pessimist) / 2, dpo(*PAIRS, beta=0.5), rtol=1e-6)
    np.testing.assert_allclose(slopes[4], 0.05, rtol=1e-6)
    assert not np.any(slopes[5])


def test_pessimistic_vpo_on_the_chosen_response_is_rpo() -> None:
    shifted = vpo(*PAIRS, PAIRS[0], PAIRS[2], beta=0.5, alpha=0.3)
    constant = 0.5 * 0.3 * PAIRS[2]
    np.testing.assert_allclose(shifted, rpo(*PAIRS, beta=0.5, eta=0.3) + constant, rtol=1e-6)
