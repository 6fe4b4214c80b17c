"""Token statistics in chunks against the plain ones: values, gradients, masks, memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.policies.transformer import model
from rlx.policies.transformer.config import Config
from rlx.policies.transformer.scoring import TokenStatistics, token_log_prob, token_statistics

WIDTH, VOCAB = 5, 11


def plain(hidden, unembedding, token, temperature=1.0):
    """The definition, with all logits at once."""
    log_p = jax.nn.log_softmax(
        (hidden @ unembedding).astype(jnp.float32 if hidden.itemsize < 4 else None) / temperature
    )
    log_prob = jnp.take_along_axis(log_p, token[..., None], -1)[..., 0]
    return TokenStatistics(log_prob, -jnp.sum(jnp.exp(log_p) * log_p, -1))


def problem(rng, *batch, dtype=None):
    hidden, unembedding = rng.normal(size=(*batch, WIDTH)), rng.normal(size=(WIDTH, VOCAB))
    return jnp.asarray(hidden, dtype), jnp.asarray(unembedding, dtype), jnp.asarray(rng.integers(VOCAB, size=batch))


def weighted(function, of_log_prob, of_entropy):
    """A scalar whose gradient has different cotangents for both statistics at every token."""

    def loss(*args):
        statistics = function(*args)
        return jnp.sum(of_log_prob * statistics.log_prob) + jnp.sum(of_entropy * statistics.entropy), statistics

    return loss


def differentiated(function, args, weights):
    """Gradients of hidden, unembedding and temperature; statistics."""
    return jax.jit(jax.grad(weighted(function, *weights), (0, 1, 3), has_aux=True))(*args)


def assert_close(ours, theirs, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), ours, theirs)


@pytest.mark.parametrize("batch, chunk", [((2, 3, 7), 13), ((7,), 1)])
def test_values_and_gradients_are_those_of_the_definition(rng, float64, batch, chunk):
    args = (*problem(rng, *batch), jnp.asarray(0.7))
    weights = jnp.asarray(rng.normal(size=(2, *batch)))
    chunked = lambda h, w, t, temperature: token_statistics(h, w, t, temperature=temperature, chunk=chunk)
    assert_close(differentiated(chunked, args, weights), differentiated(plain, args, weights), rtol=0, atol=1e-10)


def test_float32_is_close_and_bfloat16_is_summed_in_float32(rng):
    args = (*problem(rng, 3, 8, dtype="float32"), jnp.float32(1.0))
    weights = jnp.asarray(rng.normal(size=(2, 3, 8)), "float32")
    chunked = lambda h, w, t, temperature: token_statistics(h, w, t, temperature=temperature, chunk=6)
    expected = differentiated(plain, args, weights)
    assert_close(differentiated(chunked, args, weights), expected, rtol=1e-4, atol=1e-5)

    # Float32 masters of the output matrix keep a float32 gradient under bfloat16 products.
    hidden, *rest = args
    (of_hidden, of_unembedding, _), statistics = differentiated(chunked, (hidden.astype("bfloat16"), *rest), weights)
    assert of_hidden.dtype == "bfloat16" and of_unembedding.dtype == "float32"
    assert {x.dtype.name for x in statistics} == {"float32"}
    np.testing.assert_allclose(of_unembedding, expected[0][1], atol=0.1)

    # Logits of several ten thousands, where p log p is 0 · −∞ if it is not taken care.
    gradients, statistics = differentiated(chunked, (1e4 * hidden, *rest), weights)
    assert all(jnp.isfinite(x).all() for x in gradients)
    assert jnp.isfinite(statistics.log_prob).all() and jnp.all(statistics.entropy < 1e-3)


def test_masked_tokens_are_zero_in_value_and_gradient_even_over_nan(rng, float64):
    hidden, unembedding, token = problem(rng, 2, 6)
    where = jnp.asarray(rng.random((2, 6)) < 0.6)
    spoiled = jnp.where(where[..., None], hidden, jnp.nan), unembedding, jnp.where(where, token, -100), jnp.asarray(1.0)
    weights = jnp.asarray(rng.normal(size=(2, 2, 6)))
    ours = differentiated(lambda h, w, t, _: token_statistics(h, w, t, where=where, chunk=4), spoiled, weights)
    only = lambda *args: TokenStatistics(*(jnp.where(where, x, 0) for x in plain(*args[:3])))
    theirs = differentiated(only, (hidden, unembedding, token, jnp.asarray(1.0)), weights)
    assert_close(ours, theirs, rtol=0, atol=1e-10)
    assert jnp.isnan(token_statistics(hidden, unembedding, jnp.full((2, 6), VOCAB)).log_prob).all()


def test_seeds_and_temperatures_are_axes(rng):
    """Seed i of a batch of seeds equals seed i alone, forward and backward."""
    hidden, _, token = problem(rng, 3, 2, 6, dtype="float32")
    unembedding = jnp.asarray(rng.normal(size=(3, WIDTH, VOCAB)), "float32")
    args = hidden, unembedding, token, jnp.asarray([0.5, 1.0, 2.0])
    chunked = lambda h, w, t, temperature: token_statistics(h, w, t, temperature=temperature, chunk=5)
    one = jax.grad(weighted(chunked, 1.0, 0.5), (0, 1, 3), has_aux=True)
    together, alone = jax.jit(jax.vmap(one))(*args), jax.jit(one)
    for i in range(3):
        assert_close(jax.tree.map(lambda x: x[i], together), alone(*(x[i] for x in args)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tied, start", [(True, 4), (False, 1)])
def test_a_model_scores_tokens_as_its_logits_do(rng, tied, start):
    config = Config(VOCAB, 8, 12, 1, num_heads=2, num_key_value_heads=1, head_dim=4, tie_embeddings=tied)
    params = jax.jit(model.init, static_argnums=1)(jax.random.key(0), config)
    params["embedding"] *= 50
    tokens = jnp.asarray(rng.integers(VOCAB, size=(2, 9)))
    where = jnp.asarray([[False] * 3 + [True] * 6, [True] * 7 + [False] * 2])

    def expected(params):
        logits = model.apply(config, params, tokens, where=where)[:, :-1]
        statistics = plain(logits, jnp.eye(VOCAB), tokens[:, 1:], 1.3)
        counts = where[:, 1:] & where[:, :-1]
        return jax.tree.map(lambda x: jnp.where(counts, x, 0)[:, start - 1 :], statistics)

    def scored(params):
        return token_log_prob(config, params, tokens, where=where, start=start, temperature=1.3, chunk=6, remat=True)

    def run(function):
        if not tied:  # gradients take long to compile, and differ by a transposition only
            return jax.jit(function)(params)
        loss = lambda params: (sum(map(jnp.sum, statistics := function(params))), statistics)
        return jax.jit(jax.grad(loss, has_aux=True))(params)

    ours, theirs = run(scored), run(expected)
    assert all(x.shape == (2, 9 - start) for x in (ours[1] if tied else ours))
    assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_arguments_that_do_not_fit_are_refused(rng, unannotated):
    hidden, unembedding, token = problem(rng, 2, 6)
    with unannotated:
        for arguments, options, message in (
            ((hidden, unembedding.T, token), {}, r"hidden must have the shape \(2, 6, 11\) of token \(2, 6\)"),
            ((hidden, unembedding, token[0]), {}, r"hidden must have the shape \(6, 5\)"),
            ((hidden, unembedding, token), {"chunk": 0}, "chunk must be at least 1 token, got 0"),
            ((hidden, unembedding, token), {"where": token > 0, "chunk": 0}, "chunk must"),
            ((hidden, unembedding, token), {"where": token}, "where must be a boolean mask"),
            ((hidden, unembedding, token), {"where": token[0] > 0}, r"where must have the shape \(2, 6\)"),
        ):
            with pytest.raises(ValueError, match=message):
                token_statistics(*arguments, **options)
        config = Config(VOCAB, 8)
        for start in (0, 6):
            with pytest.raises(ValueError, match=f"start must be a time after the first, 1 to 5, got {start}"):
                token_log_prob(config, {}, token, start=start)


@pytest.mark.parametrize("width, times", [(64, 12), (256, 8)])
def test_memory_is_a_fraction_of_the_plain_version_at_a_real_vocabulary(width, times):
    """1,024 tokens of a vocabulary of 151,936: the compiler's own account of temporaries, nothing is run."""
    jax.config.update("jax_disable_most_optimizations", False)  # as users compile; the next module sets it anew
    shape = lambda *shape, dtype="float32": jax.ShapeDtypeStruct(shape, dtype)
    args = shape(8, 128, width), shape(width, 151_936), shape(8, 128, dtype="int32")

    def temporaries(function):
        gradient = jax.grad(weighted(function, 1.0, 1.0), (0, 1), has_aux=True)
        return jax.jit(gradient).lower(*args).compile().memory_analysis().temp_size_in_bytes

    chunked = temporaries(lambda *args: token_statistics(*args, chunk=128))
    ratio = temporaries(plain) / chunked
    print(f"width {width}: {chunked / 2**20:.0f} MiB, {ratio:.1f} times less than plain")
    assert ratio > times
    # Not even the half of one array [batch, time, vocab].
    assert chunked < 8 * 128 * 151_936 * 4 / 2
