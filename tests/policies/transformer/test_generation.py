import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.policies import transformer
from rlx.policies.transformer import Config
from rlx.policies.transformer.generation import _draw

pytestmark = pytest.mark.long(minutes=0.5)

VOCAB = 11
CONFIG = Config(VOCAB, 16, 24, 2, num_heads=4, num_key_value_heads=2, head_dim=4, tie_embeddings=False)
STOP = (3, 7)


@pytest.fixture(scope="module", autouse=True)
def quick_compilation():
    """As for functions: each program runs once, on a few numbers."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@functools.cache
def parameters(seed=0):
    """With logits that differ."""
    params = jax.jit(transformer.init, static_argnums=1)(jax.random.key(seed), CONFIG)
    return params | {"unembedding": {"kernel": 20 * params["unembedding"]["kernel"]}}


@pytest.fixture(scope="module")
def prompts():
    """Prompts of 5, 2 and 4 tokens [3, 5] with their mask."""
    where = jnp.arange(5) >= jnp.array([[0], [3], [1]])
    return jnp.where(where, jnp.asarray(np.random.default_rng(2).integers(0, VOCAB, (3, 5))), 0), where


@jax.jit
def _generate(key, params, prompt, where, temperature, top_p, min_p, stop_tokens):
    options = {"temperature": temperature, "top_k": 8, "top_p": top_p, "min_p": min_p}
    return transformer.generate(
        key, CONFIG, params, prompt, where=where, max_new_tokens=7, stop_tokens=stop_tokens, pad_token=10, **options
    )


def generate(key, params, prompt, where, temperature=1.0, top_p=1.0, min_p=0.0, stop_tokens=STOP):
    """One program for all settings."""
    return _generate(key, params, prompt, where, temperature, top_p, min_p, jnp.asarray(stop_tokens))


@jax.jit
def full_logits(params, prompt, where, generation):
    """Logits of what follows each token, by one forward pass over prompts and generated tokens."""
    tokens = jnp.concatenate([prompt, generation.tokens], 1)
    return transformer.apply(CONFIG, params, tokens, where=jnp.concatenate([where, generation.where], 1))[:, :-1]


def pick(log_probs, tokens):
    return np.take_along_axis(np.asarray(log_probs), np.asarray(tokens)[..., None], -1)[..., 0]


def numpy_distribution(logits, temperature, top_k, top_p, min_p):
    """Probabilities after each filter in turn, on the sorted tokens of one distribution."""
    probability = np.exp((logits - np.max(logits)) / temperature)
    order = np.argsort(-probability, kind="stable")
    kept = order[: top_k or len(order)]
    share = probability[kept] / probability[kept].sum()
    kept = [token for n, token in enumerate(kept) if n == 0 or share[:n].sum() < top_p]
    kept = [token for token in kept if probability[token] >= min_p * probability[order[0]]]
    filtered = np.zeros_like(probability)
    filtered[kept] = probability[kept]
    return filtered / filtered.sum()


def test_filters_equal_numpy(rng, float64) -> None:
    logits = 2 * rng.normal(size=(20, VOCAB))
    filtered = jax.jit(transformer.sampling_log_prob, static_argnames="top_k")
    for temperature, top_k, top_p, min_p in (
        (1.0, None, 1.0, 0.0), (0.7, 4, 1.0, 0.0), (1.5, None, 0.6, 0.0), (1.0, 30, 1.0, 0.2), (1.3, 6, 0.8, 0.25),
        (1.0, None, 1e-6, 0.0), (1.0, None, 1.0, 1.0), (0.5, 1, 0.9, 0.1),
    ):  # fmt: skip
        actual = filtered(jnp.asarray(logits), temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
        expected = [numpy_distribution(row, temperature, top_k, top_p, min_p) for row in logits]
        np.testing.assert_allclose(np.exp(actual), expected, atol=1e-12, err_msg=f"{temperature, top_k, top_p, min_p}")
    greedy = filtered(jnp.asarray(logits), temperature=0.0, top_p=0.9, min_p=0.1)
    np.testing.assert_array_equal(np.exp(greedy), np.arange(VOCAB) == np.argmax(logits, -1)[:, None])
    # Equal probabilities stay together.
    tied = filtered(jnp.array([1.0, 1.0, 0.0, 1.0]), top_k=2)
    np.testing.assert_allclose(np.exp(tied), [1 / 3, 1 / 3, 0, 1 / 3])


@pytest.mark.slow
def test_greedy_takes_the_argmax_of_the_whole(prompts) -> None:
    generation = generate(jax.random.key(0), parameters(), *prompts, temperature=0.0, stop_tokens=(99, 99))
    assert np.all(generation.where)
    logits = full_logits(parameters(), *prompts, generation)[:, 4:]
    np.testing.assert_array_equal(generation.tokens, np.argmax(logits, -1))
    np.testing.assert_array_equal(generation.behavior_log_prob, 0)
    np.testing.assert_allclose(generation.log_prob, pick(jax.nn.log_softmax(logits), generation.tokens), atol=1e-4)


def test_log_probabilities_equal_those_of_a_full_pass(prompts) -> None:
    options = {"temperature": 1.4, "top_p": 0.9, "min_p": 0.02}
    generation = generate(jax.random.key(1), parameters(), *prompts, **options)
    where, logits = np.asarray(generation.where), full_logits(parameters(), *prompts, generation)[:, 4:]
    assert 0 < where.sum() < where.size
    sampled = transformer.sampling_log_prob(logits, top_k=8, **options)
    for actual, log_probs in (
        (generation.log_prob, jax.nn.log_softmax(logits)),
        (generation.behavior_log_prob, sampled),
    ):
        np.testing.assert_allclose(actual[where], pick(log_probs, generation.tokens)[where], atol=1e-4)
        assert not np.any(actual[~where])
    # Up to and including the first stop token, and nothing but padding after it.
    for tokens, row in zip(np.asarray(generation.tokens), where, strict=True):
        ends = np.flatnonzero(np.isin(tokens, STOP) & row)
        length = ends[0] + 1 if len(ends) else len(row)
        np.testing.assert_array_equal(row, np.arange(len(row)) < length)
        assert np.all(tokens[length:] == 10)


@pytest.mark.slow
def test_frequencies_are_those_of_the_distribution() -> None:
    """χ² of 4096 draws with each of three settings, which are an axis; a removed token is never drawn."""
    settings = np.array([[1.0, 1.0, 0.0], [1.5, 0.8, 0.0], [0.8, 1.0, 0.1]], np.float32)
    prompt = jnp.array([[1, 2, 5]])

    @jax.jit
    def draw(key, params):
        state = transformer.prefill(CONFIG, params, prompt, capacity=4)
        group = transformer.repeat(state, 4096)
        one = lambda setting: transformer.decode(
            key,
            CONFIG,
            params,
            group,
            max_new_tokens=1,
            top_k=9,
            **dict(zip(("temperature", "top_p", "min_p"), setting)),
        )[0]
        return state.logits[0], jax.vmap(one)(jnp.asarray(settings))

    logits, generation = draw(jax.random.key(2), parameters())
    for tokens, (temperature, top_p, min_p) in zip(generation.tokens[..., 0], settings, strict=True):
        expected = numpy_distribution(np.asarray(logits, np.float64), temperature, 9, top_p, min_p)
        counts = np.bincount(tokens, minlength=VOCAB)
        kept = expected > 0
        assert 1 < kept.sum() < VOCAB and not np.any(counts[~kept])
        chi_square = np.sum((counts - 4096 * expected)[kept] ** 2 / (4096 * expected[kept]))
        assert chi_square < 30  # of at most 8 degrees of freedom: exceeded with probability 2e-4


@pytest.mark.parametrize("vocab", [1, 15, 1000])
def test_a_draw_inverts_the_cumulative_probability(rng, vocab) -> None:
    """From end to end, with most of the tokens removed."""
    uniform = np.append(np.linspace(0, 1, 300, endpoint=False), 1 - 2.0**-24).astype(np.float32)
    probability = rng.exponential(size=(len(uniform), vocab)) * (rng.random((len(uniform), vocab)) < 0.1)
    probability[:, vocab // 2] += 1e-3  # some token is left in every row
    probability /= probability.sum(-1, keepdims=True)
    token = np.asarray(jax.jit(_draw)(jnp.asarray(uniform), jnp.log(jnp.asarray(probability, jnp.float32))))
    above = np.cumsum(probability, -1)
    below = above - probability
    assert token.min() >= 0 and token.max() < vocab
    of_token = lambda x: np.take_along_axis(x, token[:, None], -1)[:, 0]
    assert np.all(of_token(probability) > 0)
    assert np.all(of_token(below) <= uniform + 1e-6) and np.all(uniform <= of_token(above) + 1e-6)


@pytest.mark.slow
def test_stops_early_and_at_the_end_of_the_cache(prompts) -> None:
    @functools.partial(jax.jit, static_argnames="capacity")
    def decode(stop_tokens, where, *, capacity):
        state = transformer.prefill(CONFIG, parameters(), prompts[0], where=prompts[1], capacity=capacity)
        return transformer.decode(
            jax.random.key(3), CONFIG, parameters(), state, max_new_tokens=7, stop_tokens=stop_tokens, where=where
        )

    everywhere = jnp.ones(3, bool)
    generation, state = decode(jnp.arange(VOCAB), everywhere, capacity=12)
    assert state.cache.length == 5 + 1 and np.array_equal(generation.where.sum(-1), [1, 1, 1])
    _, state = decode(jnp.arange(VOCAB), ~everywhere, capacity=12)
    assert state.cache.length == 5
    never = jnp.full(VOCAB, -1)
    generation, _ = decode(never, everywhere.at[1].set(False), capacity=12)
    np.testing.assert_array_equal(generation.where.sum(-1), [7, 0, 7])
    generation, state = decode(never, everywhere, capacity=8)
    np.testing.assert_array_equal(generation.where.sum(-1), [3, 3, 3])
    assert np.all(np.isfinite(state.logits))


def test_a_sequence_does_not_depend_on_the_others(prompts) -> None:
    key, (prompt, where) = jax.random.key(4), prompts
    whole = generate(key, parameters(), prompt, where)
    wider = [jnp.pad(x[:2], ((0, 0), (2, 0))) for x in (prompt, where)]
    part = generate(key, parameters(), *wider)
    for a, b in zip(whole, part, strict=True):
        np.testing.assert_allclose(a[:2], b, atol=1e-5)


def test_seeds_are_an_axis(prompts) -> None:
    key = jax.random.key(3)
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), parameters(0), parameters(1))
    generation = jax.jit(jax.vmap(lambda params: generate(key, params, *prompts)))(both)
    alone = [generate(key, parameters(seed), *prompts) for seed in (0, 1)]
    lengths = [generation.where.sum(-1).max() for generation in alone]
    assert lengths[0] != lengths[1]
    jax.tree.map(
        lambda together, *each: np.testing.assert_allclose(together, np.stack(each), atol=1e-5), generation, *alone
    )


def test_seeds_share_the_loop_and_the_slots_of_the_cache(prompts) -> None:
    """Else every step would copy the cache in order to choose between old and new."""

    def length(key):
        state = transformer.prefill(CONFIG, parameters(), prompts[0], where=prompts[1], capacity=12)
        return transformer.decode(key, CONFIG, parameters(), state, max_new_tokens=7, stop_tokens=STOP)[1].cache.length

    keys = jax.random.split(jax.random.key(6), (2, 2))
    # A vmap refuses to return without an axis what has one.
    assert jax.eval_shape(jax.vmap(jax.vmap(length, out_axes=None), out_axes=None), keys).shape == ()


@pytest.mark.slow
def test_samples_are_constants(prompts) -> None:
    """A loss may sample inside: without that, `while_loop` would refuse to be differentiated in reverse."""
    score = lambda params: jnp.sum(generate(jax.random.key(8), params, *prompts).log_prob)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(jax.grad(score)(parameters())))


def test_turns_continue_from_the_cache(prompts) -> None:
    """Policy, environment, policy; the environment says 2, 0 and 3 tokens, and the second sequence then is over."""
    reply = jnp.array([[4, 5, 0], [0, 0, 0], [6, 8, 9]])
    said = jnp.array([[True, True, False], [False] * 3, [True] * 3])

    @jax.jit
    def episode(key, params):
        keys = jax.random.split(key)
        options = {"max_new_tokens": 4, "stop_tokens": STOP}
        state = transformer.prefill(CONFIG, params, prompts[0], where=prompts[1], capacity=16)
        first, state = transformer.decode(keys[0], CONFIG, params, state, **options)
        held = state.logits[1]
        state = transformer.prefill(CONFIG, params, reply, where=said, state=state)
        same = jnp.all(state.logits[1] == held)
        second, _ = transformer.decode(keys[1], CONFIG, params, state, where=jnp.any(said, -1), **options)
        return first, second, same

    first, second, same = episode(jax.random.key(7), parameters())
    assert same and not np.any(second.where[1]) and 0 < np.sum(second.where) < 8
    context = [jnp.concatenate(x, 1) for x in ((prompts[0], first.tokens, reply), (prompts[1], first.where, said))]
    logits = full_logits(parameters(), *context, second)
    for row in (0, 2):
        # The first token follows the last real one of the context, which need not be in its last column.
        last = np.flatnonzero(context[1][row])[-1]
        logits_row = jnp.concatenate([logits[row, last][None], logits[row, -3:]])
        expected = pick(jax.nn.log_softmax(logits_row), second.tokens[row])
        spoken = np.asarray(second.where[row])
        np.testing.assert_allclose(second.log_prob[row][spoken], expected[spoken], atol=1e-4)


def test_wrong_input_is_named(prompts, unannotated) -> None:
    params, (prompt, where) = parameters(), prompts
    state = jax.eval_shape(lambda: transformer.prefill(CONFIG, params, prompt, where=where, capacity=6))
    with unannotated:
        with pytest.raises(ValueError, match="give either capacity or state, got capacity=None and state=NoneType"):
            transformer.prefill(CONFIG, params, prompt)
        with pytest.raises(ValueError, match="between 1 and the cache's capacity 6, got 7"):
            transformer.decode(jax.random.key(0), CONFIG, params, state, max_new_tokens=7)
        for options, message in (
            ({"temperature": -1.0}, "temperature must be at least 0, got -1.0"),
            ({"top_k": 0}, "top_k must be at least 1, or None, got 0"),
            ({"top_p": 0.0}, r"top_p must be in \(0, 1\], or None, got 0.0"),
            ({"min_p": 1.5}, r"min_p must be in \[0, 1\], or None, got 1.5"),
        ):
            with pytest.raises(ValueError, match=message):
                transformer.sampling_log_prob(jnp.zeros(4), **options)


def test_bfloat16(prompts) -> None:
    config = dataclasses.replace(CONFIG, dtype="bfloat16")
    run = lambda key: transformer.generate(key, config, parameters(), prompts[0], where=prompts[1], max_new_tokens=2)
    generation = jax.jit(run)(jax.random.key(0))
    assert generation.log_prob.dtype == jnp.float32 and np.all(generation.log_prob < 0)
