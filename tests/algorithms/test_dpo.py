"""A learner of pairs follows the gradient of its loss, whichever it is, and keeps no more than that loss needs."""

import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rlx.algorithms import dpo
from rlx.losses import preference
from rlx.policies import transformer
from rlx.recipes.preference_methods import METHODS, make_method
from rlx.regularizers.divergence.generators import DIVERGENCES
from rlx.training import responses
from rlx.training.sources.pairs import Pairs, as_responses, taken
from tests.sorting_policy import CONFIG, TASK

LENGTHS = np.array([[4, 4], [4, 2], [1, 3], [0, 0]])
"""Of chosen and rejected; the last prompt has no pair."""


@pytest.fixture(scope="module")
def params():
    return transformer.init(jax.random.key(0), CONFIG)


@pytest.fixture(scope="module")
def pairs():
    problems = responses.draw(jax.random.key(1), TASK, "train", len(LENGTHS))
    token = jax.random.randint(jax.random.key(2), (*LENGTHS.shape, TASK.response_length), 2, CONFIG.vocab_size)
    where = np.arange(TASK.response_length) < LENGTHS[..., None]
    reward = jnp.array([[1.0, 0.0]] * 3 + [[0.0, 0.0]])
    win_rate = jnp.array([[0.75, 0.25], [1.0, 0.5], [0.8, 0.1], [0.5, 0.5]])
    token = jnp.where(where, token, TASK.pad_token)
    return Pairs(problems.prompt, problems.where, token, jnp.asarray(where), jnp.asarray(where), reward, win_rate)


@pytest.fixture(scope="module")
def batch(pairs):
    """Pairs, with what another policy, the reference, thinks of them."""
    found = as_responses(pairs)
    return found._replace(reference_log_prob=log_probs(transformer.init(jax.random.key(9), CONFIG), found))


@jax.jit
def log_probs(params, batch):
    """Of the responses' tokens, by one plain forward pass over each."""
    whole = jnp.concatenate([batch.prompt, batch.token], axis=-1)
    where = jnp.concatenate([batch.prompt_where, batch.present], axis=-1)
    logits = transformer.apply(CONFIG, params, whole, where=where)[..., TASK.prompt_length - 1 : -1, :]
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), batch.token[..., None], axis=-1)[..., 0]
    return jnp.where(batch.where, chosen, 0.0)


def dpo_oracle(policy, reference):
    margin = 0.5 * ((policy - reference)[:3] @ [1.0, -1.0])
    return np.mean(np.log1p(np.exp(-margin))), margin / 0.5


def simpo_oracle(policy, reference):
    per_token = (policy[:3] / LENGTHS[:3]) @ [1.0, -1.0]
    return np.mean(np.log1p(np.exp(-(2.0 * per_token - 0.5)))), per_token


@pytest.mark.parametrize(
    "method, oracle",
    [(make_method("dpo", beta=0.5), dpo_oracle), (make_method("simpo"), simpo_oracle)],
    ids=["dpo", "simpo"],
)
def test_an_update_follows_the_gradient_that_an_oracle_tells(params, batch, method, oracle):
    sums = lambda x: np.asarray(x, np.float64).sum(-1)
    reference = sums(batch.reference_log_prob)

    def expected(params):
        return oracle(sums(log_probs(params, batch)), reference)

    learner = dpo.learner(CONFIG, optax.sgd(1.0), method, params=lambda key: params)
    state, metrics = jax.jit(learner.update)(learner.init(jax.random.key(0), batch), batch, jax.random.key(3))
    loss, margin = expected(params)
    policy = sums(log_probs(params, batch))[:3]
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(metrics["margin"], margin.mean(), rtol=1e-4)
    np.testing.assert_allclose(metrics["pair_accuracy"], (margin > 0).mean(), rtol=1e-6)
    np.testing.assert_allclose(metrics["chosen_log_prob"], policy[:, 0].mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["rejected_log_prob"], policy[:, 1].mean(), rtol=1e-5)

    flat, unravel = jax.flatten_util.ravel_pytree(params)
    step = np.asarray(flat - jax.flatten_util.ravel_pytree(state.params["policy"])[0], np.float64)
    np.testing.assert_allclose(metrics["gradient_norm"], np.linalg.norm(step), rtol=1e-4)
    for entry in np.argsort(-np.abs(step))[[0, 3, 30, 100]]:
        at = lambda change: expected(unravel(flat.at[entry].add(change)))[0]
        # Of the fourth order: single precision allows no step small enough for the second.
        difference = (8 * (at(0.002) - at(-0.002)) - (at(0.004) - at(-0.004))) / 0.024
        np.testing.assert_allclose(step[entry], difference, rtol=0.01, atol=2e-4)


def test_the_reference_divergence_is_estimated_on_the_tokens_of_pairs(params, batch):
    found = batch._replace(log_prob=log_probs(params, batch))
    log_ratio = np.asarray(found.log_prob - found.reference_log_prob, np.float64)[np.asarray(batch.where)]
    told = dpo.diagnostics(preference.dpo, found)["reference_kl"]
    np.testing.assert_allclose(told, np.mean(np.exp(log_ratio) - 1 - log_ratio), rtol=1e-4)


@pytest.mark.parametrize("name", METHODS)
def test_a_state_has_a_copy_of_the_policy_only_where_the_loss_asks_for_it(params, batch, name):
    loss = make_method(name)
    alone = batch._replace(reference_log_prob=None)
    has_copy = lambda example, **options: (
        dpo.learner(CONFIG, optax.sgd(0.1), loss, params=lambda key: params, **options)
        .init(jax.random.key(0), example)
        .first_params
        is not None
    )
    uses_reference = "no reference" not in METHODS[name].slots
    assert ("reference" in dpo.uses(loss)) == uses_reference
    assert has_copy(alone) == uses_reference
    # What the reference thinks is in the batch; only a divergence over the vocabulary needs the policy itself.
    assert has_copy(batch) == (name == "rrpo")
    assert has_copy(alone, measure_drift=True)


@pytest.mark.slow
def test_a_reference_that_is_computed_anew_is_the_one_that_batches_tell(params, batch):
    learner = dpo.learner(CONFIG, optax.sgd(0.5), params=lambda key: params)
    update, key = jax.jit(learner.update), jax.random.key(3)
    alone = batch._replace(reference_log_prob=None)
    kept, _ = update(learner.init(key, alone), alone, key)
    kept, metrics = update(kept, alone, key)
    told = batch._replace(reference_log_prob=log_probs(params, batch))
    given, _ = update(learner.init(key, told), told, key)
    given, expected = update(given, told, key)
    assert float(metrics["margin"]) > 0.01
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), kept.params, given.params)
    np.testing.assert_allclose(metrics["loss"], expected["loss"], rtol=1e-4)


LOSSES = {
    **{name: make_method(name) for name in METHODS},
    "ipo per token": make_method("ipo", per_token=True),
    **{f"dpo by {name}": make_method("dpo", divergence=name) for name in DIVERGENCES if name != "total_variation"},
    **{f"dpo by a link {name}": make_method("dpo", link=name) for name in ("hinge", "square", "exponential")},
    # As they are in the library.
    **{
        f.__name__: f
        for f in (
            preference.dpo, preference.ipo, preference.simpo, preference.kto, preference.sppo, preference.rpo,
            preference.vpo, preference.robust_dpo, preference.dno, preference.inpo, preference.group_alignment,
        )
    },
    **{
        f"semantics of {name}": partial(preference.semantic_preference_loss, win=win, lose=lose)
        for name, (win, lose) in preference.SEMANTICS.items()
    },
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
def test_the_slot_takes_the_losses_of_the_library(pairs, name):
    """Their gradient raises what is chosen over what is rejected, and leaves a prompt without a pair alone."""
    batch = taken(pairs, jnp.arange(4), unrelated="unrelated" in dpo.uses(LOSSES[name]))
    draw = lambda seed, *more: jax.random.normal(jax.random.key(seed), (*batch.token.shape, *more))
    batch = batch._replace(reference_log_prob=jnp.where(batch.where, -1.0 - 0.1 * jnp.abs(draw(0)), 0.0))
    batch = batch._replace(logits=draw(1, 5), reference_logits=draw(2, 5))
    log_prob = jnp.where(batch.where, batch.reference_log_prob + 0.05 * draw(3), 0.0)
    loss, gradient = jax.value_and_grad(lambda x: dpo.loss_of(LOSSES[name], batch._replace(log_prob=x)))(log_prob)
    assert loss.shape == () and np.isfinite(loss) and np.isfinite(gradient).all()
    assert not np.asarray(gradient)[3].any()
    chosen, rejected = (np.asarray(gradient)[:3, response].sum(-1) for response in (dpo.CHOSEN, dpo.REJECTED))
    assert (chosen - rejected < -1e-6).all()


def test_single_responses_are_held_against_the_divergence_on_responses_to_other_prompts(pairs):
    batch = taken(pairs, jnp.arange(4), unrelated=True)
    # Of three pairs, the next one is half of them further on.
    for row in range(3):
        np.testing.assert_array_equal(batch.token[row, dpo.UNRELATED], pairs.token[(row + 1) % 3, dpo.CHOSEN])
    log_ratio = np.array([[1.0, -1.0, 0.5], [0.3, 0.2, 0.4], [2.0, 0.1, -0.1], [9.0, 9.0, 9.0]])
    spread = lambda x: jnp.asarray(x, jnp.float32)[..., None] * (jnp.arange(TASK.response_length) == 0)
    batch = batch._replace(log_prob=spread(log_ratio - 5.0), reference_log_prob=spread(np.full((4, 3), -5.0)))
    gain = 0.1 * (log_ratio[:3, :2] - (0.5 + 0.4 - 0.1) / 3)
    expected = 1 / (1 + np.exp(gain * [1.0, -1.0]))
    np.testing.assert_allclose(dpo.loss_of(make_method("kto"), batch), expected.mean(), rtol=1e-5)


def test_a_loss_says_what_is_wrong_with_it(batch):
    with pytest.raises(ValueError, match="cannot be told 'chosen_logprob' of pairs; did you mean chosen_log_prob"):
        dpo.learner(CONFIG, optax.sgd(0.1), lambda chosen_logprob: chosen_logprob)
    with pytest.raises(ValueError, match=r"shape \(4,\) or \(4, 2\), got \(\)"):
        dpo.loss_of(lambda chosen_log_prob: chosen_log_prob.sum(), batch._replace(log_prob=batch.reference_log_prob))


REWARD = np.array([1.0, 0.2, -0.5, 0.8, 0.0, -1.2])
REFERENCE = np.array([0.1, 0.3, 0.2, 0.05, 0.25, 0.1])
BETTER = 1 / (1 + np.exp(-(REWARD[:, None] - REWARD)))
"""P(row ≻ column) by Bradley and Terry."""


@pytest.mark.parametrize(
    "name, exponent",
    # DPO finds the reward behind the preferences; IPO stops at how often a response wins against the reference.
    [("dpo", REWARD / 0.5), ("ipo", BETTER @ REFERENCE / 0.5)],
)
def test_a_table_of_responses_goes_to_the_fixed_point(name, exponent):
    """Logits of six responses, and the exact expectation over all pairs that the reference writes."""
    loss = make_method(name, beta=0.5)
    chosen, rejected = (index.ravel() for index in np.indices((6, 6)))
    weight = jnp.asarray((REFERENCE[:, None] * REFERENCE * BETTER).ravel(), jnp.float32)
    reference = jnp.log(jnp.asarray(REFERENCE, jnp.float32))
    assert set(dpo.arguments_of(loss)) == set(list(inspect.signature(preference.dpo).parameters)[:4])

    def objective(logits):
        log_prob = jax.nn.log_softmax(logits)
        told = dict(chosen_log_prob=log_prob[chosen], rejected_log_prob=log_prob[rejected])
        told |= dict(reference_chosen_log_prob=reference[chosen], reference_rejected_log_prob=reference[rejected])
        return jnp.sum(weight * loss(**told))

    optimizer = optax.adam(optax.exponential_decay(0.05, 100, 0.8))

    def step(carry, _):
        logits, state = carry
        changes, state = optimizer.update(jax.grad(objective)(logits), state)
        return (optax.apply_updates(logits, changes), state), None

    (logits, _), _ = jax.jit(partial(jax.lax.scan, step, length=2000))((reference, optimizer.init(reference)))
    expected = REFERENCE * np.exp(exponent)
    expected /= expected.sum()
    assert np.abs(expected - REFERENCE).sum() / 2 > 0.05
    assert np.abs(np.asarray(jax.nn.softmax(logits)) - expected).sum() / 2 < 1e-2
