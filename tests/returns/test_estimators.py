import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rlx import returns

T, N = 7, 3


def numpy_gae(reward, discount, value, next_value, lambda_, truncation):
    """The sum over k of δ_{t+k} times the product of the decays before it, written out."""
    advantage = np.zeros_like(value, np.float64)
    for n in range(value.shape[1]):
        for t in range(value.shape[0]):
            weight = 1.0
            for s in range(t, value.shape[0]):
                delta = reward[s, n] + discount[s, n] * next_value[s, n] - value[s, n]
                advantage[t, n] += weight * delta
                if discount[s, n] == 0 or truncation[s, n]:
                    break
                weight *= discount[s, n] * lambda_
    return advantage


@pytest.fixture
def rollout(rng) -> dict[str, np.ndarray]:
    terminated, truncation = rng.random((2, T, N)) < 0.25
    return {
        "reward": rng.normal(size=(T, N)),
        "discount": 0.97 * ~terminated,
        "value": rng.normal(size=(T, N)),
        "next_value": rng.normal(size=(T, N)),
        "truncation": truncation & ~terminated,
    }


def test_gae_oracle() -> None:
    advantage = returns.gae(
        jnp.array([1.0, 0.0, 2.0]),
        jnp.array([0.99, 0.0, 0.99]),
        jnp.array([0.5, 0.2, 0.1]),
        jnp.array([0.2, 0.1, 0.7]),
    )
    np.testing.assert_allclose(advantage, [0.5099, -0.2, 2.593], rtol=1e-5)


@pytest.mark.parametrize("lambda_", [0.0, 0.5, 0.95, 1.0])
def test_gae_equals_the_sum_written_out(rollout, float64, lambda_) -> None:
    expected = numpy_gae(**rollout, lambda_=lambda_)
    arrays = {key: jnp.asarray(x) for key, x in rollout.items()}
    np.testing.assert_allclose(returns.gae(**arrays, lambda_=lambda_), expected, rtol=1e-12)
    swapped = {key: x.T for key, x in arrays.items()}
    np.testing.assert_allclose(returns.gae(**swapped, lambda_=lambda_, axis=1).T, expected, rtol=1e-12)


def test_gae_takes_truncation_as_numbers_and_a_scalar_discount(rollout) -> None:
    arrays = {key: jnp.asarray(x, jnp.float32) for key, x in rollout.items()} | {"discount": 0.9}
    flags = arrays | {"truncation": jnp.asarray(rollout["truncation"])}
    np.testing.assert_array_equal(returns.gae(**arrays), returns.gae(**flags))


episodes = hnp.arrays(np.float64, (5, 3), elements=st.floats(-10, 10))
fractions = st.floats(0, 1)


@given(episodes, episodes, fractions, fractions)
def test_truncation_separates_two_episodes(first, second, discount, lambda_) -> None:
    with jax.enable_x64(True):
        options = {"lambda_": lambda_}
        alone = [
            returns.gae(*jnp.asarray(e).T[:1], discount, *jnp.asarray(e).T[1:], **options) for e in (first, second)
        ]
        joined = jnp.concatenate([jnp.asarray(first), jnp.asarray(second)]).T
        cut = jnp.arange(10) == 4
        together = returns.gae(joined[0], discount, joined[1], joined[2], truncation=cut, **options)
        np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-9, atol=1e-9)


@given(episodes, fractions)
def test_lambda_zero_is_the_one_step_error(episode, discount) -> None:
    reward, value, next_value = episode.T
    with jax.enable_x64(True):
        advantage = returns.gae(*map(jnp.asarray, (reward, discount, value, next_value)), lambda_=0.0)
        np.testing.assert_allclose(advantage, reward + discount * next_value - value, atol=1e-12)


@given(episodes, fractions)
def test_lambda_one_is_the_discounted_return_less_the_value(episode, discount) -> None:
    reward, value, last = episode[:, 0], episode[:, 1], episode[-1, 2]
    next_value = np.append(value[1:], last)
    expected = [
        sum(discount**k * r for k, r in enumerate(reward[t:])) + discount ** (5 - t) * last - value[t] for t in range(5)
    ]
    with jax.enable_x64(True):
        advantage = returns.gae(*map(jnp.asarray, (reward, discount, value, next_value)), lambda_=1.0)
        np.testing.assert_allclose(advantage, expected, rtol=1e-9, atol=1e-9)


def test_termination_ends_bootstrap_and_trace() -> None:
    before = jnp.array([1.0, 2.0, 3.0])
    discount = jnp.array([0.9, 0.0, 0.9])
    one, other = (returns.gae(before, discount, before, jnp.array([1.0, v, v])) for v in (5.0, -7.0))
    np.testing.assert_array_equal(one[:2], other[:2])


def test_group_relative_oracle() -> None:
    reward = jnp.array([1.0, 0.0, 0.0, 1.0])
    np.testing.assert_allclose(returns.group_relative(reward), np.array([1, -1, -1, 1]) * 0.866024, rtol=1e-6)
    np.testing.assert_allclose(returns.group_relative(reward, scale="none"), [0.5, -0.5, -0.5, 0.5])


@pytest.mark.parametrize("center", ["group", "batch", "none"])
@pytest.mark.parametrize("scale", ["std", "batch_std", "none"])
def test_group_relative_equals_numpy(rng, float64, center, scale) -> None:
    reward, where = rng.normal(size=(4, 6)), rng.random((4, 6)) < 0.7
    where[:, :2] = True
    expected = np.zeros_like(reward)
    for i, j in zip(*np.nonzero(where), strict=True):
        groups = {"group": reward[i][where[i]], "batch": reward[where], "none": np.zeros(1)}
        spread = {"std": np.std(groups["group"], ddof=1), "batch_std": np.std(groups["batch"], ddof=1)}
        divisor = 1 if scale == "none" else spread[scale] + 0.01
        expected[i, j] = (reward[i, j] - groups[center].mean()) / divisor
    options = {"center": center, "scale": scale, "epsilon": 0.01}
    advantage = returns.group_relative(jnp.asarray(reward), where=jnp.asarray(where), **options)
    np.testing.assert_allclose(advantage, expected, rtol=1e-10)
    swapped = returns.group_relative(jnp.asarray(reward.T), where=jnp.asarray(where.T), axis=0, **options)
    np.testing.assert_allclose(swapped.T, expected, rtol=1e-10)


@given(st.floats(-1e4, 1e4, width=32), st.sampled_from([1, 3, 8]))
def test_equal_rewards_have_exactly_no_advantage(reward, size) -> None:
    np.testing.assert_array_equal(returns.group_relative(jnp.full(size, reward, jnp.float32)), 0)


def test_unknown_options() -> None:
    with pytest.raises(
        ValueError, match="center must be one of 'group', 'leave_one_out', 'batch', 'none', got 'median'"
    ):
        returns.group_relative(jnp.zeros(3), center="median")
    with pytest.raises(ValueError, match="scale must be one of 'std', 'batch_std', 'none', got 'range'"):
        returns.group_relative(jnp.zeros(3), scale="range")


NOTHING = [jnp.nan, jnp.inf, -jnp.inf]


@pytest.mark.parametrize("nothing", NOTHING)
def test_gae_reads_no_next_value_after_a_termination(nothing) -> None:
    reward, discount, value = jnp.array([1.0, 0.0, 2.0]), jnp.array([0.99, 0.0, 0.99]), jnp.array([0.5, 0.2, 0.1])

    def total(next_value):
        advantage = returns.gae(reward, discount, value, next_value)
        return jnp.sum(advantage), advantage

    slope, advantage = jax.grad(total, has_aux=True)(jnp.array([0.2, nothing, 0.7]))
    np.testing.assert_array_equal(advantage, returns.gae(reward, discount, value, jnp.array([0.2, 0.0, 0.7])))
    np.testing.assert_array_equal(slope, 0)


@pytest.mark.parametrize("nothing", NOTHING)
@pytest.mark.parametrize("end", ["termination", "truncation"])
def test_gae_reads_nothing_of_the_next_episode(end, nothing) -> None:
    cut = jnp.array([False, True, False, False])
    reward, value = jnp.array([1.0, 0.5, nothing, 0.0]), jnp.array([0.5, 0.2, 0.1, 0.3])
    discount = jnp.where(cut, 0.0, 0.9) if end == "termination" else jnp.full(4, 0.9)
    options = {"truncation": cut} if end == "truncation" else {}
    advantage = returns.gae(reward, discount, value, value, **options)
    alone = returns.gae(reward[:2], discount[:2], value[:2], value[:2])
    np.testing.assert_array_equal(advantage[:2], alone)
    assert not jnp.isfinite(advantage[2])
