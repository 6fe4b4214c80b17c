"""The laboratory of tokens: what is given is gone on with, repairs and verdicts are right, sides lose what they say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.claims import sequence_help, sequence_outcomes, sequence_turns
from experiments.claims.sequence_length import with_detours
from experiments.claims.sequence_rollouts import joined, repaired
from experiments.claims.sequence_training import few_prompts
from rlx.algorithms.responses import Responses
from rlx.envs import language
from rlx.policies import transformer
from rlx.training import responses
from rlx.training.responses import judged

pytestmark = pytest.mark.long(minutes=0.5)

ADDITION = language.make("addition", digits=2)
judge = jax.jit(judged, static_argnums=0)
draw = jax.jit(responses.draw, static_argnums=(1, 2, 3))
solutions = jax.jit(lambda task, problems: jax.vmap(task.solve)(problems), static_argnums=0)


def answers(texts, task=ADDITION, prompt="95+8="):
    """Responses to one prompt, judged."""
    a, b = (int(number) for number in prompt[:-1].split("+"))
    shown = jnp.asarray([[0] * (task.prompt_length - len(prompt)) + task.encode(prompt)])
    problem = language.protocol.Problem(shown, shown != 0, (jnp.array([a]), jnp.array([b])))
    rows = [task.encode(text) for text in texts]
    token = jnp.asarray([[row + [0] * (task.response_length - len(row)) for row in rows]])
    return problem, judge(task, problem, token, token != 0, token != 0)


def test_a_repair_puts_one_symbol_right():
    right = "3101;103<end>"
    problem, batch = answers([right, "3101;104<end>", "3101<end>", "2101;113<end>", "3101;1035"])
    assert batch.correct.tolist() == [[True, False, False, False, False]]
    fixed = jax.jit(lambda *given: repaired(ADDITION, *given))(problem, batch)
    texts = [ADDITION.decode(row) for row in fixed.token[0]]
    assert texts == [right, right, "3101;", "3101;113<end>", right]
    assert fixed.correct.tolist() == [[True, True, False, False, True]]
    assert fixed.where.sum(-1).tolist() == [[9, 9, 5, 9, 9]]


@pytest.mark.slow
def test_second_attempts_are_judged_apart():
    task = sequence_turns.two_attempts(ADDITION)
    right, wrong = "3101;103<end>", "3101;113<end>"
    room = ADDITION.response_length
    filled = lambda text: ADDITION.encode(text) + [0] * (room - len(ADDITION.encode(text)))
    problem, _ = answers([right])
    pairs = [(a, b) for a in (right, wrong) for b in (right, wrong)]
    token = jnp.asarray([[filled(a) + ADDITION.encode("=") + filled(b) for a, b in pairs]])
    batch = judge(task, problem, token, token != 0, token != 0)
    first, second = sequence_turns.attempts(batch)
    assert first.tolist() == [[True, True, False, False]] and second.tolist() == [[True, False, True, False]]
    measured = sequence_turns.of_attempts(problem, batch)
    expected = {"first_accuracy": 0.5, "improvement": 0.0, "edited": 0.5, "spoiled": 0.5}
    assert {name: float(value) for name, value in measured.items()} == expected
    many = draw(jax.random.key(0), ADDITION, "train", 64)
    shown = np.asarray(solutions(sequence_turns.two_attempts(ADDITION, mistakes=0.5), many))
    differs = shown[:, :room] != shown[:, -room:]
    assert set(differs.sum(-1).tolist()) == {0, 1} and 20 < differs.sum() < 44
    np.testing.assert_array_equal(shown[:, -room:], solutions(ADDITION, many))
    # The bonus is the second attempt's: 11, −10, ... against the mean of the others.
    batch = batch._replace(update=jnp.asarray(5))
    advantage = sequence_turns.score_side({"bonus": 10.0, "until": 3.0}).method.advantage(batch)
    reward = np.array([1.0, -10.0, 11.0, 0.0])
    np.testing.assert_allclose(advantage[0, :, room + 1], reward - (reward.sum() - reward) / 3, rtol=1e-6)
    np.testing.assert_allclose(advantage[0, :, 0], np.array([2, 2, -2, -2]) / 3, rtol=1e-6)
    early = sequence_turns.score_side({"bonus": 10.0, "until": 9.0}).method.advantage(batch)
    np.testing.assert_allclose(early[0, :, 0], np.array([2, -2, 2, -2]) / 3, rtol=1e-6)
    np.testing.assert_allclose(early[0, :, room + 1], early[0, :, 0])


@pytest.mark.slow
def test_detours_are_right_and_longer_and_few_prompts_come_again():
    task = language.make("path", size=3)
    problems = draw(jax.random.key(0), task, "train", 64)
    direct, verbose = (np.asarray(solutions(t, problems)) for t in (task, with_detours(task)))
    verdicts = judge(task, problems, verbose[:, None], verbose[:, None] != 0, verbose[:, None] != 0)
    assert np.asarray(verdicts.correct).all()
    extra = (verbose != 0).sum(-1) - (direct != 0).sum(-1)
    assert set(extra.tolist()) >= {0, 2, 4} and (extra % 2 == 0).all() and (extra >= 0).all()
    few = few_prompts(task, 8)
    rows = lambda problems: {tuple(row) for row in np.asarray(problems.prompt).tolist()}
    train, test = (rows(draw(jax.random.key(1), few, split, 64)) for split in ("train", "test"))
    assert train == rows(few.problems()) and len(train) <= 8 and len(test) > 32 and not train & test


def sampled(log_prob, correct, **fields):
    """A batch on the policy that sampled it."""
    shape = log_prob.shape
    base = dict(
        prompt=jnp.zeros((*shape[:2], 1), int),
        prompt_where=jnp.ones((*shape[:2], 1), bool),
        token=jnp.zeros(shape, int),
        present=jnp.ones(shape, bool),
        where=jnp.ones(shape, bool),
        reward=correct * 1.0,
        correct=correct,
        answer=jnp.zeros(shape[:2], int),
        first_error=jnp.zeros(shape[:2], int),
        step=jnp.zeros(shape, int),
        log_prob=log_prob,
        behavior_log_prob=log_prob,
        entropy=jnp.zeros(shape),
        update=jnp.asarray(7),
        key=jax.random.key(0),
    )
    return Responses(**base | fields)


def gradient(side, batch):
    """Of a side's loss in the log-probabilities, after its advantages and notes."""
    batch = batch._replace(advantage=side.method.advantage(batch))
    batch = side.method.remember(batch)
    return np.asarray(jax.grad(lambda x: side.method.loss(batch._replace(log_prob=x)))(batch.log_prob)), batch


def test_the_gate_takes_the_demonstration_where_all_fails():
    rng = np.random.default_rng(0)
    log_prob = jnp.asarray(-rng.exponential(size=(2, 4, 5)), jnp.float32)
    # The last of a group is the demonstration; in the first group nothing else is right.
    correct = jnp.array([[False, False, False, True], [True, False, True, True]])
    found, batch = gradient(
        sequence_help.hpt_side({"gated": 1.0, "share": 0.0, "until": 0.0}), sampled(log_prob, correct)
    )
    expected = np.zeros((2, 4, 5))
    expected[0, 3] = -1 / 5 / 2  # −log π, mean over tokens, then over prompts
    expected[1, :3] = -(np.array([1, 0, 1]) - 2 / 3)[:, None] / (3 * 5) / 2
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8)
    assert float(batch.memory["supervised"]) == 0.5
    half, _ = gradient(sequence_help.hpt_side({"gated": 0.0, "share": 0.5, "until": 0.0}), sampled(log_prob, correct))
    np.testing.assert_allclose(half[:, 3], -1 / 5 / 4, rtol=1e-5)
    np.testing.assert_allclose(half[1, :3], expected[1, :3] / 2, rtol=1e-5)
    first, _ = gradient(sequence_help.hpt_side({"gated": 0.0, "share": 0.0, "until": 8.0}), sampled(log_prob, correct))
    assert (first[:, :3] == 0).all() and (first[:, 3] < 0).all()


def test_refinements_have_a_shaped_probability():
    rng = np.random.default_rng(1)
    log_prob = jnp.asarray(-rng.exponential(size=(1, 3, 4)), jnp.float32)
    correct, off = jnp.array([[False, False, True]]), jnp.array([[False, False, True]])
    batch = sampled(log_prob, correct, extras=off)
    advantage = np.array([-1, -1, 2]) / 3
    expected = np.tile(-advantage[:, None], (1, 4)) / (3 * 4)
    plain, _ = gradient(sequence_help.critique_side({"refine": 1.0, "shaped": 0.0}), batch)
    np.testing.assert_allclose(plain[0], expected, rtol=1e-5)
    shaped, _ = gradient(sequence_help.critique_side({"refine": 1.0, "shaped": 1.0}), batch)
    probability = np.exp(np.asarray(log_prob, np.float64))[0, 2]
    expected[2] *= 0.1 * probability / (probability + 0.1) ** 2
    np.testing.assert_allclose(shaped[0], expected, rtol=1e-5)


@pytest.mark.slow
def test_oreal_clones_one_and_pushes_one_away():
    rng = np.random.default_rng(2)
    log_prob = jnp.asarray(-rng.exponential(size=(3, 4, 5)), jnp.float32)
    correct = jnp.array([[True, True, False, False], [False] * 4, [True, False, False, False]])
    value = jnp.asarray(rng.normal(size=(3, 4, 5)), jnp.float32)
    batch = sampled(log_prob, correct, value=value, behavior_value=value, reference_log_prob=log_prob)
    plain, kept = gradient(sequence_outcomes.oreal_side({"negative": 0.5, "credit": 0.0}), batch)
    used = np.asarray(kept.where)
    assert (used == used[..., :1]).all()
    assert (used[..., 0] & np.asarray(correct)).sum(1).tolist() == [1, 0, 1]
    assert (used[..., 0] & ~np.asarray(correct)).sum(1).tolist() == [1, 0, 1]
    # Leave-one-out: 1 − 1/3 and −2/3 of a group with two right ones, 1 and −1/3 of one with one. Two of each class.
    size = {(0, True): 2 / 3, (0, False): -2 / 3, (2, True): 1, (2, False): -1 / 3}
    expected = np.zeros((3, 4, 5))
    for prompt, member in np.argwhere(used[..., 0]):
        right = bool(correct[prompt, member])
        expected[prompt, member] = -size[prompt, right] * (1 if right else 0.5) / (2 * 5)
    np.testing.assert_allclose(plain, expected, rtol=1e-5, atol=1e-8)
    # Credit is what the scores after each token say of it, so far.
    credited, _ = gradient(sequence_outcomes.oreal_side({"negative": 0.5, "credit": 1.0}), batch)
    scores = np.asarray(value, np.float64)
    scores = np.concatenate([scores[..., 1:], scores[..., -1:]], axis=-1)
    verdict = 1 / (1 + np.exp(-np.cumsum(scores, -1) / np.arange(1, 6)))
    verdict = np.where(np.asarray(correct)[..., None], verdict, 1 - verdict)
    np.testing.assert_allclose(credited, expected * np.clip(2 * verdict - 1, 0, 1), rtol=1e-4, atol=1e-7)


def test_steps_are_compared_from_one_state():
    rng = np.random.default_rng(3)
    log_prob = jnp.asarray(-rng.exponential(size=(1, 3, 6)), jnp.float32)
    correct = jnp.array([[True, False, False]])
    value = jnp.asarray(rng.normal(size=(1, 3, 6)), jnp.float32)
    batch = sampled(
        log_prob,
        correct,
        value=value,
        token=jnp.asarray([[[2, 3, 4, 5, 6, 1], [2, 3, 4, 4, 6, 1], [2, 3, 7, 1, 0, 0]]]),
        where=jnp.asarray([[[1] * 6, [1] * 6, [1, 1, 1, 1, 0, 0]]], bool),
        step=jnp.asarray([[[0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 2, 2], [0, 0, 2, 2, -1, -1]]]),
        first_error=jnp.asarray([[6, 4, 2]]),
        extras=jnp.asarray([[[1, 1, 0, 0, 0, 0]] * 3], bool),
    )
    for verifier, values in ((0.0, None), (1.0, np.array([1.0, 1.0, 0.0]))):
        side = sequence_outcomes.step_side({"verifier": verifier})
        found, prepared = gradient(side, batch)
        if values is None:
            values = 1 / (1 + np.exp(-np.asarray(value, np.float64)[0, :, 4]))
            values[2] = 0.0  # it has ended, wrong
        np.testing.assert_allclose(prepared.advantage[0, :, 0], values - values.mean(), rtol=1e-5, atol=1e-7)
        expected = np.zeros((3, 6))
        expected[:, 2:4] = -((values - values.mean()) / sequence_outcomes.BETA)[:, None] / 3
        np.testing.assert_allclose(found[0], expected, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_retries_learn_from_the_pivot_on_and_right_responses_have_none():
    task = language.make("tool", terms=1, keys=4)
    config = transformer.Config(
        vocab_size=len(task.vocabulary), hidden_size=8, intermediate_size=16, num_layers=1, num_heads=1,
        num_key_value_heads=1, head_dim=8,
    )  # fmt: skip
    params = transformer.init(jax.random.key(0), config)
    problems = draw(jax.random.key(0), task, "train", 32)
    sample = jax.jit(lambda key: sequence_turns.retried(key, config, params, task, problems, group_size=4))
    batch = sample(jax.random.key(1))
    pivot, counts = (np.asarray(x) for x in batch.extras)
    first_error, right = np.asarray(batch.first_error), np.asarray(batch.correct)
    np.testing.assert_array_equal(pivot[:, :2], np.where(right[:, :2], 0, first_error[:, :2] // 5))
    np.testing.assert_array_equal(counts, np.concatenate([np.ones((32, 2), bool), ~right[:, :2]], axis=1))
    # The turn that went wrong is told, so that nothing goes wrong before a later one.
    retry = counts[:, 2:]
    assert retry.any() and ((first_error[:, 2:] // 5 > pivot[:, :2]) | right[:, 2:])[retry].all()
    learned = np.asarray(sequence_turns.pivotal(batch))
    turn = np.arange(task.response_length) // 5
    expected = np.asarray(batch.where) & (turn >= pivot[..., None]) & counts[..., None]
    np.testing.assert_array_equal(learned, expected)
    assert joined(batch, batch).token.shape == (32, 8, task.response_length)
