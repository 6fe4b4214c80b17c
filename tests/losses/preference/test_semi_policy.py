import jax
import jax.numpy as jnp
import numpy as np

from rlx.losses.preference import denoising_dpo, seppo

ERRORS = ([0.50, 0.40], [0.60, 0.55], [0.501, 0.398], [0.598, 0.553])


def value_and_slopes(loss, *args, **options):
    def evaluate(args):
        value, back = jax.vjp(lambda *args: loss(*args, **options), *args)
        return value, back(jnp.ones_like(value))

    return jax.jit(evaluate)(args)


def test_oracles(float64) -> None:
    errors = [jnp.array(x) for x in ERRORS]
    sign, slopes = value_and_slopes(seppo, *errors)
    np.testing.assert_allclose(sign, [0.002476, 0.126928], atol=1e-6)
    np.testing.assert_allclose(value_and_slopes(seppo, *errors, flip="indicator")[0], [0.002476, 4.01815], atol=1e-5)
    plain, plain_slopes = value_and_slopes(denoising_dpo, *errors)
    # The first winner is fitted better than by the checkpoint: the sample is a loser, as in the plain loss.
    np.testing.assert_allclose(sign[0], plain[0])
    np.testing.assert_allclose([x[0] for x in slopes[:2]], [x[0] for x in plain_slopes[:2]], rtol=1e-12)
    # The second is not: the sample becomes a second winner, whose error falls.
    assert slopes[1][0] < 0 < slopes[1][1] and plain_slopes[1][1] < 0
    _, indicator_slopes = value_and_slopes(seppo, *errors, flip="indicator")
    assert indicator_slopes[1][1] == 0 and indicator_slopes[0][1] > 0


def test_at_the_checkpoint_only_the_winner_is_learned() -> None:
    winner, sample = (jnp.array(x) for x in ERRORS[:2])
    value, slopes = value_and_slopes(seppo, winner, sample, winner, sample)
    np.testing.assert_allclose(value, np.log(2), rtol=1e-6)
    np.testing.assert_allclose(slopes[0], 1000)
    assert not any(np.any(slope) for slope in slopes[1:])
