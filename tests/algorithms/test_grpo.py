"""An update of GRPO is a policy gradient on the policy's own tokens, and every slot sees what it is promised."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rlx import reduce
from rlx.algorithms import grpo, scoring, sft
from rlx.envs import language
from rlx.policies import transformer
from rlx.training import responses
from tests.sorting_policy import CONFIG, TASK

pytestmark = pytest.mark.long(minutes=0.6)

SHAPE = (4, 3)


@pytest.fixture(scope="module")
def params():
    return transformer.init(jax.random.key(0), CONFIG)


@pytest.fixture(scope="module")
def batch(params):
    problems = responses.draw(jax.random.key(1), TASK, "train", SHAPE[0])
    roll = jax.jit(partial(responses.rollout, config=CONFIG, task=TASK, group_size=SHAPE[1]))
    found = roll(jax.random.key(2), params=params, problems=problems)
    # Rewards of our own: a random policy sorts nothing.
    return found._replace(reward=jnp.array([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.5, 1.0]]))


def learner_from(params, *arguments, **options):
    """GRPO that begins with these parameters."""
    return grpo.learner(CONFIG, *arguments, params=lambda key: params, **options)


def begun(learner, batch):
    """The state that a learner begins with."""
    return learner.init(jax.random.key(0), batch)


def log_probs(params, batch):
    """Of the responses' tokens, by one plain forward pass over each."""
    whole = jnp.concatenate([batch.prompt, batch.token], axis=-1)
    where = jnp.concatenate([batch.prompt_where, batch.present], axis=-1)
    logits = transformer.apply(CONFIG, params, whole, where=where)[..., TASK.prompt_length - 1 : -1, :]
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), batch.token[..., None], axis=-1)[..., 0]
    return jnp.where(batch.where, chosen, 0.0)


def test_a_rollout_ends_where_it_says(batch):
    where, token = np.asarray(batch.where), np.asarray(batch.token)
    assert where.shape == (*SHAPE, TASK.response_length)
    np.testing.assert_array_equal(batch.present, batch.where)
    for row, own in zip(token.reshape(-1, where.shape[-1]), where.reshape(-1, where.shape[-1])):
        count = own.sum()
        assert own[:count].all() and (row[count:] == TASK.pad_token).all()
        assert (row[: count - 1] != TASK.end_token).all()
        assert count == len(row) or row[count - 1] == TASK.end_token
    # Members of a group answer the same prompt.
    assert (np.asarray(batch.prompt) == np.asarray(batch.prompt)[:, :1]).all()


@pytest.mark.parametrize("distribution", [False, True])
def test_one_step_is_a_step_of_policy_gradient(params, batch, distribution):
    uses = frozenset({"distribution"} if distribution else ())
    learner = learner_from(params, optax.sgd(0.1), grpo.Method(uses=uses))
    state, metrics = jax.jit(learner.update)(begun(learner, batch), batch, jax.random.key(3))

    reward = np.asarray(batch.reward, np.float64)
    advantage = (reward - reward.mean(1, keepdims=True)) / (reward.std(1, ddof=1, keepdims=True) + 1e-6)
    # At ratio 1 the clipped surrogate has the gradient of −A·log π; means of tokens, then of sequences.
    weight = advantage[..., None] / np.asarray(batch.length)[..., None] / advantage.size

    def objective(params):
        return -jnp.sum(jnp.where(batch.where, weight * log_probs(params, batch), 0.0))

    expected = jax.tree.map(lambda p, g: p - 0.1 * g, params, jax.jit(jax.grad(objective))(params))
    for got, wanted in zip(jax.tree.leaves(state.params["policy"]), jax.tree.leaves(expected)):
        np.testing.assert_allclose(got, wanted, atol=2e-6)
    assert int(state.update) == 1
    np.testing.assert_allclose(metrics["reward"], reward.mean(), rtol=1e-6)
    np.testing.assert_allclose(metrics["degenerate"], 0.25)
    np.testing.assert_allclose([metrics["behavior_kl"], metrics["log_ratio_max"]], 0.0, atol=1e-5)
    # It samples itself, so that no copy of it is kept.
    assert state.behavior_params is None and state.sampling_params is state.params["policy"]


@pytest.mark.slow
def test_adapters_are_trained_and_nothing_else(params, batch):
    """A step is one of gradient descent in the adapters, of policy and critic alike."""
    adapters = transformer.lora.init(jax.random.key(5), params, rank=2, matrices=("value", "up"))
    adapters = jax.tree.map(lambda x: x + 0.1, adapters)
    model = partial(transformer.lora.merge, params, scale=0.5)
    loss = lambda batch: reduce.token_mean(
        jnp.square(batch.value - 1.0) - batch.advantage * batch.log_prob, where=batch.where
    )
    method = grpo.Method(uses=frozenset({"value", "reference"}), loss=loss)
    learner = learner_from(adapters, optax.sgd(0.1), method, model=model)
    start = begun(learner, batch)
    start = start._replace(params=start.params | {"critic": start.params["critic"] | {"head": jnp.ones(16)}})
    state, _ = jax.jit(learner.update)(start, batch, jax.random.key(3))
    advantage = grpo.group_advantage(batch)

    def objective(learned):
        of_policy = grpo.score(CONFIG, model(learned["policy"]), batch).log_prob
        body = {name: part for name, part in learned["critic"].items() if name != "head"}
        value = scoring.features(CONFIG, model(body), batch) @ learned["critic"]["head"]
        return loss(batch._replace(advantage=advantage, log_prob=of_policy, value=value))

    gradient = jax.jit(jax.grad(objective))(start.params)
    expected = jax.tree.map(lambda p, g: p - 0.1 * g, start.params, gradient)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=3e-6), state.params, expected)
    assert jax.tree.structure(state.sampling_params) == jax.tree.structure(adapters)


def test_groups_of_equal_rewards_teach_nothing(params, batch):
    learner = learner_from(params, optax.sgd(0.1))
    same = batch._replace(reward=jnp.ones(SHAPE))
    state, metrics = jax.jit(learner.update)(begun(learner, same), same, jax.random.key(3))
    assert metrics["degenerate"] == 1 and metrics["gradient_norm"] == 0
    jax.tree.map(np.testing.assert_array_equal, state.params["policy"], params)


def test_slots_see_what_they_are_promised(params, batch):
    """Reference, values, memory, a shaped reward and a renewal of the sampling policy, over two updates."""
    seen = {}

    def loss(batch):
        seen.update({name: value.shape for name, value in batch._asdict().items() if hasattr(value, "shape")})
        penalty = jnp.square(batch.log_prob - batch.reference_log_prob) + jnp.square(batch.value - 1.0)
        return reduce.token_mean(penalty - batch.advantage * batch.log_prob, where=batch.where)

    method = grpo.Method(
        uses=frozenset({"reference", "distribution", "value"}),
        reward=lambda batch: batch.reward - 0.1,
        remember=lambda batch: batch._replace(memory=batch.memory + jnp.mean(batch.reward)),
        loss=loss,
        memory=lambda num_prompts, group_size: jnp.zeros(()),
        reference=grpo.averaged_reference(0.5),
    )
    learner = learner_from(params, optax.sgd(0.1), method, epochs=2, minibatches=2, renew_behavior=2)
    update = jax.jit(learner.update)
    start = begun(learner, batch)
    first, metrics = update(start, batch, jax.random.key(3))
    time, vocabulary = TASK.response_length, len(TASK.vocabulary)
    tokens_shape = (2, SHAPE[1], time)
    for name in ("log_prob", "behavior_log_prob", "reference_log_prob", "entropy", "value", "behavior_value", "where"):
        assert seen[name] == tokens_shape, name
    for name in ("logits", "behavior_logits", "reference_logits"):
        assert seen[name] == (*tokens_shape, vocabulary), name
    np.testing.assert_allclose(first.memory, np.mean(np.asarray(batch.reward)) - 0.1, rtol=1e-6)
    equal = lambda a, b: all(jax.tree.leaves(jax.tree.map(lambda x, y: bool(jnp.allclose(x, y, atol=1e-7)), a, b)))
    middle = jax.tree.map(lambda a, b: (a + b) / 2, first.params["policy"], params)
    assert equal(first.reference_params, middle)
    assert equal(first.behavior_params, params) and not equal(first.params["policy"], params)
    # The critic's head is taught to say 1.
    assert jnp.any(first.params["critic"]["head"] != 0)
    assert metrics["reference_kl"] >= 0
    second, _ = update(first, batch, jax.random.key(4))
    assert equal(second.behavior_params, second.params["policy"])


def test_settings_that_cannot_be(params, batch):
    with pytest.raises(ValueError, match="minibatches must divide the 4 prompts of an update, got 3"):
        learner = learner_from(params, optax.sgd(0.1), minibatches=3)
        learner.update(begun(learner, batch), batch, jax.random.key(0))
    with pytest.raises(ValueError, match="microbatch_size must be at least 1, got 0"):
        learner = learner_from(params, optax.sgd(0.1), microbatch_size=0)
        learner.update(begun(learner, batch), batch, jax.random.key(0))
    with pytest.raises(ValueError, match="epochs must be at least 1, got 0"):
        grpo.learner(CONFIG, optax.sgd(0.1), epochs=0)
    with pytest.raises(
        ValueError, match="a method may use reference, distribution, value, token_reward, solution; got logits"
    ):
        grpo.learner(CONFIG, optax.sgd(0.1), grpo.Method(uses=frozenset({"logits"})))


@pytest.mark.slow
def test_a_warm_up_raises_the_likelihood_of_solutions(params):
    learner = sft.learner(CONFIG, optax.adam(1e-2), params=lambda key: params)
    solved = responses.solutions(TASK, responses.draw(jax.random.key(5), TASK, "train", 16))
    assert bool(solved.correct.all())

    def step(state, key):
        return learner.update(state, solved, key)

    state, metrics = jax.jit(lambda s: jax.lax.scan(step, s, jax.random.split(jax.random.key(6), 60)))(
        begun(learner, solved)
    )
    expected = -np.sum(log_probs(params, solved)) / np.sum(np.asarray(solved.where))
    np.testing.assert_allclose(metrics["loss"][0], expected, rtol=1e-5)
    assert metrics["loss"][-1] < 0.3 * metrics["loss"][0]


@pytest.mark.slow
def test_a_task_of_several_turns(params):
    """Replies are read and not learned from, and each turn is written after the reply before it."""
    task = language.make("tool", keys=3, terms=2)
    config = dataclasses.replace(CONFIG, vocab_size=len(task.vocabulary), num_key_value_heads=2)
    own = transformer.init(jax.random.key(7), config)
    problems = responses.draw(jax.random.key(8), task, "train", 3)
    batch = jax.jit(partial(responses.rollout, config=config, task=task, group_size=2))(
        jax.random.key(9), params=own, problems=problems
    )
    turn, reply = task.turn_length, task.reply_length
    replies = np.zeros(task.response_length, bool)
    for i in range(task.num_turns - 1):
        replies[(i + 1) * turn + i * reply : (i + 1) * (turn + reply)] = True
    assert not np.asarray(batch.where)[..., replies].any() and np.asarray(batch.present)[..., replies].all()
    assert np.asarray(batch.where)[..., ~replies].any(axis=-1).all()
    # What the sampler thought of its tokens is what a plain pass over the whole of it says.
    scores = grpo.score(config, own, batch)
    again = grpo.score(config, own, batch, distribution=True)
    np.testing.assert_allclose(scores.log_prob, again.log_prob, atol=1e-5)
    np.testing.assert_allclose(scores.entropy, again.entropy, atol=1e-5)


def test_diagnostics_count_the_policys_own_tokens_only(batch):
    rng = np.random.default_rng(3)
    draw = lambda: jnp.asarray(rng.normal(size=batch.token.shape))
    seen = batch._replace(
        log_prob=draw(), behavior_log_prob=draw(), advantage=draw(), entropy=draw(), behavior_entropy=draw()
    )
    # Tokens that are not the policy's own may hold anything.
    nan = lambda x: jnp.where(batch.where, x, jnp.nan)
    where = np.asarray(batch.where)
    own = {name: np.asarray(getattr(seen, name), float)[where] for name in ("log_prob", "behavior_log_prob")}
    log_ratio, advantage = own["log_prob"] - own["behavior_log_prob"], np.asarray(seen.advantage, float)[where]
    ratio = np.exp(log_ratio)
    found = grpo.step_diagnostics(seen._replace(log_prob=nan(seen.log_prob), entropy=nan(seen.entropy)))
    expected = {
        "behavior_kl": (ratio - 1 - log_ratio).mean(),
        "log_ratio_max": np.abs(log_ratio).max(),
        "log_ratio_q01": np.quantile(log_ratio, 0.01),
        "log_ratio_q99": np.quantile(log_ratio, 0.99),
        "effective_sample_size": ratio.mean() ** 2 / (ratio**2).mean(),
        "ratio_above": (ratio[advantage > 0] > 1.2).mean(),
        "ratio_below": (ratio[advantage < 0] < 0.8).mean(),
        "entropy": np.asarray(seen.entropy, float)[where].mean(),
    }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, err_msg=name)
    found = grpo.batch_diagnostics(seen)
    covariance = np.cov(own["behavior_log_prob"], advantage, ddof=0)[0, 1]
    np.testing.assert_allclose(found["covariance"], covariance, rtol=1e-4)
    quarters = [[] for _ in range(4)]
    for index in np.ndindex(*where.shape[:2]):
        entropies = np.asarray(seen.behavior_entropy, float)[index][where[index]]
        for position, entropy in enumerate(entropies):
            quarters[4 * position // len(entropies)].append(entropy)
    for number, entropies in enumerate(quarters):
        np.testing.assert_allclose(found[f"entropy_quarter_{number + 1}"], np.mean(entropies), rtol=1e-5)


@pytest.mark.slow
def test_a_replayed_batch_is_corrected_for_the_policy_that_sampled_it(params, batch):
    """At a policy away from the one that sampled, the step is that of the ratio's gradient."""
    learner = learner_from(params, optax.sgd(0.1))
    said = log_probs(params, batch) + jnp.where(batch.where, 0.1, 0.0)
    given = batch._replace(behavior_log_prob=said, behavior_entropy=jnp.zeros_like(said))
    _, metrics = jax.jit(learner.update)(begun(learner, given), given, jax.random.key(3))
    np.testing.assert_allclose(metrics["log_ratio_max"], 0.1, atol=1e-4)
    np.testing.assert_allclose(metrics["behavior_kl"], np.exp(-0.1) - 1 + 0.1, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("distribution", [False, True])
def test_policies_are_scored_at_the_temperature_of_sampling(params, distribution):
    """What is learned is the policy that samples, π_T: a batch of it is on-policy, and its gradient that of log π_T."""
    problems = responses.draw(jax.random.key(1), TASK, "train", SHAPE[0])
    roll = jax.jit(partial(responses.rollout, config=CONFIG, task=TASK, group_size=SHAPE[1], temperature=2.0))
    batch = roll(jax.random.key(2), params=params, problems=problems)
    assert (batch.temperature == 2.0).all() and batch.temperature.shape == SHAPE
    batch = batch._replace(reward=jnp.arange(12.0).reshape(SHAPE) % 3)
    uses = frozenset({"reference", *(["distribution"] if distribution else [])})
    seen = {}

    def loss(part):
        jax.debug.callback(lambda **found: seen.update(found), said=part.log_prob, reference=part.reference_log_prob)
        return reduce.token_mean(-part.advantage * part.log_prob, where=part.where)

    learner = learner_from(params, optax.sgd(0.1), grpo.Method(uses=uses, loss=loss))
    state, metrics = jax.jit(learner.update)(begun(learner, batch), batch, jax.random.key(3))
    jax.effects_barrier()

    def log_prob(params):
        whole = jnp.concatenate([batch.prompt, batch.token], axis=-1)
        where = jnp.concatenate([batch.prompt_where, batch.present], axis=-1)
        logits = transformer.apply(CONFIG, params, whole, where=where)[..., TASK.prompt_length - 1 : -1, :]
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits / 2.0), batch.token[..., None], axis=-1)[..., 0]
        return jnp.where(batch.where, chosen, 0.0)

    advantage = grpo.group_advantage(batch)
    objective = lambda params: reduce.token_mean(-advantage * log_prob(params), where=batch.where)
    expected = jax.tree.map(lambda p, g: p - 0.1 * g, params, jax.jit(jax.grad(objective))(params))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), state.params["policy"], expected)
    of_start = np.sort(np.asarray(log_prob(params)).ravel())
    for name in ("said", "reference"):
        np.testing.assert_allclose(np.sort(seen[name].ravel()), of_start, atol=1e-5)
    np.testing.assert_allclose(metrics["log_ratio_max"], 0.0, atol=1e-5)


def test_the_policy_of_the_start_is_kept_where_drift_is_measured(params, batch):
    plain, measured = (learner_from(params, optax.sgd(0.1), measure_drift=kept) for kept in (False, True))
    assert begun(plain, batch).first_params is None
    state, _ = jax.jit(measured.update)(begun(measured, batch), batch, jax.random.key(3))
    jax.tree.map(np.testing.assert_array_equal, state.first_params, params)
    assert any(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a != b).any()), state.params["policy"], params)))


def test_a_learner_begins_with_what_its_key_gives(batch):
    """The key is the one of `init`, and the example says for how many prompts and responses a method remembers."""
    method = grpo.Method(memory=lambda num_prompts, group_size: jnp.zeros((num_prompts, group_size)))
    key = jax.random.key(7)
    state = grpo.learner(CONFIG, optax.sgd(0.1), method).init(key, batch)
    jax.tree.map(np.testing.assert_array_equal, state.params["policy"], transformer.init(key, CONFIG))
    assert state.memory.shape == SHAPE
    given = sft.learner(CONFIG, optax.sgd(0.1), params=jax.random.key_data).init(key, batch).params["policy"]
    np.testing.assert_array_equal(given, jax.random.key_data(key))


@pytest.mark.slow
@pytest.mark.parametrize("uses", [("value", "reference"), ("distribution",)])
def test_microbatches_change_no_gradient(params, batch, uses):
    """Whatever the loss makes of the whole minibatch: here of how what it is told of the tokens differs."""

    def loss(batch):
        of = [batch.log_prob, batch.entropy, *(x for x in (batch.value, batch.reference_log_prob) if x is not None)]
        spread = sum(jnp.std(jnp.where(batch.where, x, 0.0)) for x in of)
        return spread + grpo.clipped_loss(batch) + (0.0 if batch.logits is None else jnp.std(batch.logits))

    method = grpo.Method(uses=frozenset(uses), loss=loss)

    def after(size):
        learner = learner_from(params, optax.sgd(0.1), method, minibatches=2, microbatch_size=size, remat=size == 4)
        return jax.jit(learner.update)(begun(learner, batch), batch, jax.random.key(3))

    whole, metrics = after(None)
    for size in (4, 1):  # of the six responses of a minibatch: with a rest, and one by one
        state, again = after(size)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-6), state.params, whole.params)
        np.testing.assert_allclose(again["gradient_norm"], metrics["gradient_norm"], rtol=1e-5)
