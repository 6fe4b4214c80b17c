import jax.numpy as jnp
import numpy as np
import pytest

from rlx.weighting import entropy_discriminator_mask


def numpy_mask(log_prob, entropy, advantage, where, threshold, baseline=None, max_fraction=None):
    s = np.exp(log_prob) * (entropy + log_prob)
    z = s - (s[where].mean() if baseline is None else baseline)
    sigma = z[where].std()
    dropped = [i for i in np.argsort(z) if where[i] and advantage[i] < 0 and z[i] < -threshold * sigma]
    if max_fraction is not None:
        dropped = dropped[: max(1, int(max_fraction * where.sum()))]
    mask = where.copy()
    mask[dropped] = False
    return mask


def test_oracle() -> None:
    log_prob, entropy = jnp.log(jnp.array([0.5, 0.3, 0.9, 0.05])), jnp.array([1.03, 1.03, 0.4, 1.5])
    punished = entropy_discriminator_mask(log_prob, entropy, -jnp.ones(4), threshold=1)
    np.testing.assert_array_equal(punished, [True, True, True, False])
    assert entropy_discriminator_mask(log_prob, entropy, jnp.ones(4), threshold=1).all()


@pytest.mark.parametrize("max_fraction", [None, 0.05])
@pytest.mark.parametrize("centered", [False, True])
def test_equals_numpy(rng, float64, centered, max_fraction) -> None:
    log_prob, entropy = rng.uniform(-4, 0, 200), rng.uniform(0, 3, 200)
    advantage, where = rng.normal(size=200), rng.random(200) < 0.7
    baseline = rng.normal(scale=0.3, size=200) if centered else None
    expected = numpy_mask(log_prob, entropy, advantage, where, 0.4, baseline, max_fraction)
    assert 5 < (where & ~expected).sum() < 40
    hide = lambda x: jnp.asarray(np.where(where, x, np.nan))
    found = entropy_discriminator_mask(
        *map(hide, (log_prob, entropy, advantage)),
        threshold=0.4,
        baseline=None if baseline is None else hide(baseline),
        max_fraction=max_fraction,
        where=jnp.asarray(where),
    )
    np.testing.assert_array_equal(found, expected)


def test_at_least_one_token_may_be_dropped(rng) -> None:
    log_prob, entropy = jnp.asarray(rng.uniform(-4, 0, (2, 50)), jnp.float32), jnp.ones((2, 50))
    call = lambda **options: entropy_discriminator_mask(log_prob, entropy, -entropy, threshold=0.5, **options)
    assert (~call()).sum() > 1 and (~call(max_fraction=1e-4)).sum() == 1


def test_equal_tokens_are_all_kept() -> None:
    assert entropy_discriminator_mask(-jnp.ones(5), jnp.ones(5), -jnp.ones(5), threshold=-1.0).all()
