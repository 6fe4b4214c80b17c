import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.controllers import best_length


@pytest.mark.parametrize("mode", ["min", "mean"])
def test_equals_lists_of_all_correct_lengths(rng, mode) -> None:
    prompts, seen = 5, [[] for _ in range(5)]
    summary = lambda lengths: {"min": np.min, "mean": np.mean}[mode](lengths) if lengths else np.inf
    init, update = best_length(mode=mode)
    state, update = init(jnp.full(prompts, jnp.inf)), jax.jit(update)
    for _ in range(6):
        prompt, length = rng.integers(0, prompts, (3, 4)), rng.integers(1, 500, (3, 4)).astype(np.float32)
        correct, where = rng.random((2, 3, 4)) < 0.5
        prompt[0] = rng.integers(0, 2)  # several correct responses of one prompt in one batch
        length[~where] = np.nan
        expected = np.where(where, np.array([summary(lengths) for lengths in seen])[prompt], 0)
        history, state = update(
            state, jnp.asarray(prompt), jnp.asarray(length), jnp.asarray(correct), where=jnp.asarray(where)
        )
        np.testing.assert_allclose(history, expected, rtol=1e-5)
        for p, l, counts in zip(prompt.ravel(), length.ravel(), (correct & where).ravel(), strict=True):
            if counts:
                seen[p].append(l)
    np.testing.assert_allclose(state.history, [summary(lengths) for lengths in seen], rtol=1e-5)
    np.testing.assert_array_equal(state.count, [len(lengths) for lengths in seen])


def test_wrong_responses_leave_no_trace_and_the_best_never_grows() -> None:
    init, update = best_length()
    state = init(jnp.array([50.0, jnp.inf]))
    _, state = update(state, jnp.array([0, 1]), jnp.array([10.0, 10.0]), jnp.array([False, False]))
    np.testing.assert_allclose(state.history, [50, jnp.inf])
    _, state = update(state, jnp.array([0, 1]), jnp.array([80.0, 30.0]), jnp.array([True, True]))
    np.testing.assert_allclose(state.history, [50, 30])


def test_errors_name_the_argument(unannotated) -> None:
    with pytest.raises(ValueError, match="mode must be one of"):
        best_length(mode="median")
    init, update = best_length()
    state = init(jnp.full(2, jnp.inf))
    with unannotated, pytest.raises(ValueError, match=r"do not broadcast.*length \(3,\)"):
        update(state, jnp.array([0, 1]), jnp.ones(3), jnp.array([True, True]))
