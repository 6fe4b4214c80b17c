import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx import controllers


def test_moments_of_batches_equal_those_of_all_data(rng) -> None:
    batches = [rng.normal(loc=5, scale=(1, 10, 0.1), size=(4, n, 3)).astype(np.float32) for n in (5, 1, 30)]
    init, update = controllers.running_moments()
    state = init(jnp.zeros(3))
    for batch in batches:
        _, state = update(state, jnp.asarray(batch))
    everything = np.concatenate([b.reshape(-1, 3) for b in batches]).astype(np.float64)
    assert state.count == len(everything)
    np.testing.assert_allclose(state.mean, everything.mean(0), rtol=1e-5)
    np.testing.assert_allclose(state.variance, everything.var(0), rtol=1e-4)


def test_moments_of_a_pytree_with_a_mask(rng) -> None:
    example = {"position": jnp.zeros(2), "camera": (jnp.zeros(()), jnp.zeros((2, 2)))}
    x = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=(3, 7, *leaf.shape)), jnp.float32), example)
    where = rng.random((3, 7)) < 0.5
    _, state = controllers.running_moments().update(
        controllers.running_moments().init(example), x, where=jnp.asarray(where)
    )
    assert state.count == where.sum()
    kept = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64)[where], x)
    close = lambda actual, desired: np.testing.assert_allclose(actual, desired, rtol=1e-4, atol=1e-6)
    jax.tree.map(close, state.mean, jax.tree.map(lambda leaf: leaf.mean(0), kept))
    jax.tree.map(close, state.variance, jax.tree.map(lambda leaf: leaf.var(0), kept))


def test_moments_keep_a_small_spread_around_a_large_mean(rng) -> None:
    data = (1e4 + 0.1 * rng.normal(size=(100, 64))).astype(np.float32)
    state = controllers.running_moments().init(jnp.zeros(()))
    for batch in data:
        state = controllers.update_moments(state, jnp.asarray(batch))
    np.testing.assert_allclose(state.mean, data.mean(dtype=np.float64), rtol=1e-7)
    np.testing.assert_allclose(state.variance, data.var(dtype=np.float64), rtol=2e-2)


@pytest.mark.parametrize("count", [1e9, 1e12])
def test_moments_do_not_drift_after_a_billion_samples(count) -> None:
    state = controllers.MomentsState(jnp.float32(count), jnp.float32(0.3), jnp.float32(1.5))

    def step(state, key):
        x = 0.3 + jnp.sqrt(1.5) * jax.random.normal(key, (100,))
        return controllers.update_moments(state, x), None

    state, _ = jax.jit(lambda s: jax.lax.scan(step, s, jax.random.split(jax.random.key(0), 20_000)))(state)
    np.testing.assert_allclose([state.mean, state.variance], [0.3, 1.5], rtol=1e-3)


def test_before_the_first_batch_normalize_only_clips() -> None:
    state = controllers.running_moments().init(jnp.zeros(2))
    x = jnp.array([[0.5, -3.0], [20.0, -20.0]])
    np.testing.assert_allclose(controllers.normalize(state, x), [[0.5, -3], [10, -10]], rtol=1e-6)


def test_an_empty_batch_changes_nothing() -> None:
    state = controllers.MomentsState(jnp.float32(3), jnp.float32(2), jnp.float32(4))
    after = controllers.update_moments(state, jnp.full(5, jnp.nan), where=jnp.zeros(5, bool))
    assert after == state


def test_normalize_and_back(rng) -> None:
    x = jnp.asarray(rng.normal(loc=3, scale=2, size=(50, 4)), jnp.float32)
    normalized, state = controllers.running_moments().update(controllers.running_moments().init(x[0]), x)
    np.testing.assert_allclose(normalized.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(normalized.std(0), 1, rtol=1e-4)
    np.testing.assert_allclose(controllers.denormalize(state, normalized), x, rtol=1e-5, atol=1e-5)


def test_moments_name_wrong_arrays(unannotated) -> None:
    init, update = controllers.running_moments()
    state = init({"a": jnp.zeros(3), "b": jnp.zeros(())})
    with unannotated:
        with pytest.raises(ValueError, match="example must be a floating-point array, got dtype int32"):
            init(jnp.arange(3))
        with pytest.raises(ValueError, match=r"x has shape \(5, 2\); its last axes must be .* \(3,\)"):
            update(state, {"a": jnp.zeros((5, 2)), "b": jnp.zeros(5)})
        with pytest.raises(ValueError, match="all leaves of x must have the same batch axes"):
            update(state, {"a": jnp.zeros((5, 3)), "b": jnp.zeros(4)})
        for function in (controllers.normalize, controllers.denormalize, controllers.update_moments):
            with pytest.raises(ValueError, match="x must be a floating-point array, got dtype int32"):
                function(init(jnp.zeros(3)), jnp.ones((2, 3), jnp.int32))


def test_return_scale_equals_a_loop(rng) -> None:
    T, N, discount = 20, 3, 0.9
    reward, done = rng.normal(size=(T, N)).astype(np.float32), rng.random((T, N)) < 0.2
    init, update = controllers.running_return_scale(discount=discount)
    state = init(jnp.zeros(N))
    for part in (slice(0, 8), slice(8, T)):
        scaled, state = update(state, jnp.asarray(reward[part]), jnp.asarray(done[part]))
    returns = np.zeros((T, N))
    for n in range(N):
        carried = 0.0
        for t in range(T):
            carried = returns[t, n] = reward[t, n] + discount * carried
            carried *= not done[t, n]
    np.testing.assert_allclose(state.moments.variance, returns.var(), rtol=1e-5)
    np.testing.assert_allclose(scaled, reward[8:] / np.sqrt(returns.var() + 1e-8), rtol=1e-5)
    np.testing.assert_allclose(state.episode_return, returns[-1] * ~done[-1], rtol=1e-5)


def test_return_scale_does_not_depend_on_the_reward_scale(rng) -> None:
    reward, done = jnp.asarray(rng.normal(size=(30, 2)), jnp.float32), jnp.zeros((30, 2), bool)
    init, update = controllers.running_return_scale(discount=0.99, epsilon=0.0)
    one, ten = (update(init(jnp.zeros(2)), factor * reward, done)[0] for factor in (1.0, 10.0))
    np.testing.assert_allclose(one, ten, rtol=1e-5)


def test_return_scale_names_wrong_shapes(unannotated) -> None:
    init, update = controllers.running_return_scale(discount=0.9)
    with (
        unannotated,
        pytest.raises(ValueError, match=r"reward \(5, 4\) .* must both be \[time, \*env\].*\(3,\)"),
    ):
        update(init(jnp.zeros(3)), jnp.zeros((5, 4)), jnp.zeros((5, 4), bool))


@pytest.mark.parametrize(
    ("kl", "expected"),
    [(0.016, 2.0), (0.014, 1.0), (0.01, 1.0), (0.007, 1.0), (0.006, 0.5), (jnp.nan, 1.0), (jnp.inf, 2.0)],
)
def test_adaptive_kl_moves_out_of_the_band(kl, expected) -> None:
    init, update = controllers.adaptive_kl(target=0.01)
    coefficient, state = update(init(1.0), kl)
    assert coefficient == state.coefficient == expected


def test_adaptive_kl_stays_in_its_limits() -> None:
    init, update = controllers.adaptive_kl(target=0.01, low=0.4, high=3.0)
    up = down = init(1.0)
    for _ in range(5):
        (_, up), (_, down) = update(up, 1.0), update(down, 0.0)
    np.testing.assert_allclose([up.coefficient, down.coefficient], [3, 0.4], rtol=1e-6)


def test_adaptive_kl_settles_at_the_target() -> None:
    # A policy whose KL falls as the coefficient rises: the coefficient ends where the KL is within the band.
    init, update = controllers.adaptive_kl(target=0.01)
    response = lambda coefficient: 0.5 / coefficient
    state = init(1.0)
    for _ in range(20):
        _, state = update(state, response(state.coefficient))
    assert 0.01 / 1.5 <= response(state.coefficient) <= 0.01 * 1.5


def test_ewma_equals_the_weighted_mean(rng) -> None:
    samples, decay = rng.normal(size=(6, 4)).astype(np.float32), 0.8
    init, update = controllers.ewma_params(decay=decay)
    state = init({"w": jnp.asarray(samples[0])})
    for sample in samples[1:]:
        mean, state = update(state, {"w": jnp.asarray(sample)})
    np.testing.assert_allclose(
        mean["w"], np.average(samples, axis=0, weights=decay ** np.arange(5, -1, -1)), rtol=1e-5, atol=1e-6
    )


def test_ewma_without_memory_keeps_the_latest() -> None:
    init, update = controllers.ewma_params(decay=0.0)
    mean, _ = update(init(jnp.zeros(2)), jnp.array([3.0, 4.0]))
    np.testing.assert_array_equal(mean, [3, 4])


def test_scale_parallel_environments_oracle() -> None:
    settings = {"base_num_envs": 2048, "num_steps": 64, "num_minibatches": 32}
    assert controllers.scale_parallel_environments(2**20, **settings) == (16384, 4096, 1.0)
    assert controllers.scale_parallel_environments(2048, **settings) == (32, 4096, 1.0)
    assert controllers.scale_parallel_environments(4 * 2048, **settings, rule="sqrt") == (32, 4 * 4096, 2.0)


@pytest.mark.parametrize("rule", ["fixed_minibatch_size", "sqrt"])
@pytest.mark.parametrize("num_envs", [64, 128, 1024])
def test_every_transition_is_in_one_minibatch(rule, num_envs) -> None:
    scale = controllers.scale_parallel_environments(
        num_envs, base_num_envs=64, num_steps=16, num_minibatches=4, rule=rule
    )
    assert scale.num_minibatches * scale.minibatch_size == num_envs * 16


def test_scale_parallel_environments_names_what_does_not_divide() -> None:
    with pytest.raises(ValueError, match="7 transitions do not divide into 3 minibatches"):
        controllers.scale_parallel_environments(7, base_num_envs=7, num_steps=1, num_minibatches=3)
    with pytest.raises(ValueError, match="rule must be one of 'fixed_minibatch_size', 'sqrt', got 'linear'"):
        controllers.scale_parallel_environments(8, base_num_envs=8, num_steps=1, num_minibatches=1, rule="linear")
