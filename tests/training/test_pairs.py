"""Pairs are what a verifier, or a file, says they are."""

import dataclasses
import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from rlx.algorithms import dpo
from rlx.envs.language import pairs as files
from rlx.envs.language.protocol import Verdict, is_held_out
from rlx.policies import transformer
from rlx.recipes.preference_methods import make_method
from rlx.training import sources
from rlx.training.program import make_program
from rlx.training.sources.pairs import is_pair, sampled
from tests.sorting_policy import CONFIG, TASK


def verify(problem, token, where):
    """A task that a random policy sometimes solves: to begin with an even token, and to end."""
    last = token[jnp.sum(where) - 1]
    correct = (token[0] % 2 == 0) & (last == TASK.end_token)
    return Verdict(correct, jnp.int32(0), jnp.int32(0), jnp.where(where, 0, -1))


EASY = dataclasses.replace(TASK, verify=verify)


@pytest.fixture(scope="module")
def params():
    return transformer.init(jax.random.key(0), CONFIG)


@pytest.mark.slow
def test_of_each_prompt_a_right_and_a_wrong_response_are_a_pair(params):
    draw = partial(sampled, config=CONFIG, task=EASY, split="train", num_prompts=20, num_samples=4, at_once=8)
    found = jax.jit(draw)(jax.random.key(1), params=params)
    valid = np.asarray(is_pair(found))
    count = valid.sum()
    assert 3 < count < 20 and valid[:count].all() and not valid[count:].any()
    correct = jax.vmap(jax.vmap(lambda token, where: verify(None, token, where).correct))(found.token, found.where)
    np.testing.assert_array_equal(correct[:count], [[True, False]] * count)
    np.testing.assert_array_equal(found.reward, np.where(valid[:, None], [1.0, 0.0], 0.0))
    assert not np.asarray(found.present)[count:].any() and not np.asarray(jax.vmap(is_held_out)(found.prompt)).any()
    # A right response beats all wrong ones and half of the other right ones, so both win rates differ by n/2/(n - 1).
    np.testing.assert_allclose((found.win_rate[:, 0] - found.win_rate[:, 1])[:count], 2 / 3, rtol=1e-6)
    assert (np.asarray(found.win_rate) >= 0).all() and (np.asarray(found.win_rate) <= 1).all()


@pytest.mark.slow
def test_a_source_draws_pairs_with_what_the_first_policy_thinks_of_them(params):
    """KTO's, with a third response: the widest batch that there is."""
    loss = make_method("kto")
    learner = dpo.learner(CONFIG, optax.sgd(1.0), loss, params=lambda key: params)
    options = dict(num_prompts=20, num_samples=4, num_held_out=9, batch_size=8, updates_per_step=2)
    program = make_program(sources.pairs(EASY, CONFIG, loss, **options), learner)
    begun = jax.jit(program.init)(jax.random.key(0))
    kept = begun.source.pairs
    state, metrics = jax.jit(program.step)(begun)
    assert float(metrics["pair_share"]) == np.mean(is_pair(kept))
    assert state.learner.update == 2 and state.learner.first_params is None

    source = sources.pairs(EASY, CONFIG, loss, **options)
    batch = jax.jit(lambda state, key: source.draw(state.source, None, key))(state, jax.random.key(4))
    assert batch.token.shape == (8, 3, TASK.response_length) and not np.asarray(batch.degenerate).any()
    first = dpo.log_probs(CONFIG, params, batch)
    np.testing.assert_allclose(batch.reference_log_prob, first, atol=1e-5)
    assert np.abs(np.asarray(dpo.log_probs(CONFIG, state.params["policy"], batch) - first)).max() > 1e-3
    # The third responses are those preferred to the prompts of other pairs.
    chosen = {tuple(row) for row in np.asarray(kept.token)[:, 0].tolist()}
    assert all(tuple(row) in chosen for row in np.asarray(batch.token)[:, 2].tolist())

    held_out = state.learner.held_out
    assert len(held_out.reward) == 9 and np.asarray(jax.vmap(is_held_out)(held_out.prompt[:, 0])).all()
    told = dpo.evaluator(CONFIG, loss)(begun.learner)
    assert float(told["eval_pair_accuracy"]) == 0.5 and abs(float(told["eval_margin"])) < 1e-5


@pytest.mark.slow
def test_pairs_that_are_given_are_no_part_of_the_state(params):
    given = tuple(
        sampled(jax.random.key(seed), CONFIG, params, EASY, split, count, num_samples=4)
        for seed, (split, count) in enumerate((("train", 12), ("test", 5)))
    )
    learner = dpo.learner(CONFIG, optax.sgd(0.1), make_method("simpo"), params=lambda key: params)
    source = sources.pairs(EASY, CONFIG, make_method("simpo"), given=given, batch_size=4, updates_per_step=1)
    program = make_program(source, learner)
    state = program.init(jax.random.key(0))
    # A loss without a reference leaves nothing but how far the passes over the pairs have come.
    assert not jax.tree.leaves(state.source._replace(order=()))
    batch = source.draw(state.source, None, jax.random.key(1))
    known = {tuple(row) for row in np.asarray(given[0].prompt)[np.asarray(is_pair(given[0]))].tolist()}
    assert {tuple(row) for row in np.asarray(batch.prompt)[:, 0].tolist()} <= known
    np.testing.assert_array_equal(state.learner.held_out.token, given[1].token)


def test_wrong_counts_are_named():
    with pytest.raises(ValueError, match="num_samples must be at least 2"):
        sources.pairs(EASY, CONFIG, num_samples=1)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        sources.pairs(EASY, CONFIG, batch_size=0)


WORDS = ["<pad>", "<end>", "a", "b", "c", "good", "bad", "spare"]


@pytest.fixture(scope="module")
def tokenizer():
    tokenizer = Tokenizer(models.WordLevel({word: token for token, word in enumerate(WORDS)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


ROWS = [{"prompt": prompt, "chosen": "good", "rejected": "bad bad <end>"} for prompt in ("a", "a b", "b", "c", "b c")]


def write(path, rows):
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def test_a_file_of_pairs_is_read(tokenizer, tmp_path):
    path = write(tmp_path / "some.jsonl", [*ROWS[:2], "", *ROWS[2:]])
    assert files.read_file(path)[2] == ("b", "good", "bad bad <end>", False)
    options = dict(end_token="<end>", prompt_length=3, response_length=4)
    task = files.from_file(path, tokenizer, **options)
    train, test = task.pairs_of("train"), task.pairs_of("test")
    assert task.name == "some" and len(train.prompt) == 4 and len(test.prompt) == 1
    pad = task.pad_token
    assert WORDS[pad] == "spare" and task.end_token == 1
    np.testing.assert_array_equal(train.prompt[1], [pad, 2, 3])
    np.testing.assert_array_equal(train.prompt_where[1], [False, True, True])
    # An end is added where there is none.
    np.testing.assert_array_equal(train.token[1], [[5, 1, pad, pad], [6, 6, 1, pad]])
    np.testing.assert_array_equal(train.where[1], [[True, True, False, False], [True, True, True, False]])
    np.testing.assert_array_equal(test.prompt[0], [pad, 3, 4])

    problem = task.sample(jax.random.key(0), "test")
    np.testing.assert_array_equal(problem.prompt, test.prompt[0])
    solution = task.solve(problem)
    assert task.decode(solution) == "good <end>"
    right = task.verify(problem, solution, solution != pad)
    wrong = task.verify(problem, jnp.asarray(test.token[0, 1]), jnp.asarray(test.where[0, 1]))
    assert bool(right.correct) and not bool(wrong.correct)

    other = write(tmp_path / "other.jsonl", ROWS[:1])
    task = files.from_file(path, tokenizer, test=other, **options)
    # A prompt that is tested on is not trained on.
    assert len(task.pairs_of("train").prompt) == 4 and len(task.pairs_of("test").prompt) == 1
    np.testing.assert_array_equal(task.pairs_of("test").prompt[0], [pad, pad, 2])


def test_pairs_that_do_not_fit_or_differ_are_left_out(tokenizer):
    rows = [files.Preference(*row.values()) for row in ROWS]
    rows[0] = files.Preference("a b c a", "good", "bad")
    rows[1] = files.Preference("a", "b b good", "b b bad")
    with pytest.warns(UserWarning, match="2 of 4 pairs to train on are left out"):
        task = files.from_texts(rows, tokenizer, end_token="<end>", prompt_length=3, response_length=2)
    assert len(task.pairs_of("train").prompt) == 2
    # What is left out is none of the task's problems.
    assert task.pairs == [("b", "good"), ("c", "good"), ("b c", "good")] and task.counts == {"train": 2, "test": 1}
    with pytest.raises(ValueError, match="of 4 to train on none has a prompt of 1 to prompt_length=3 tokens"):
        files.from_texts([rows[0]] * 4 + rows[3:4], tokenizer, end_token="<end>", prompt_length=3)


@pytest.mark.parametrize(
    "row, message",
    [
        ('{"prompt": "a", "chosen": ', "row 2: each row must be a JSON object"),
        ("[1]", "row 2: each row must be a JSON object"),
        ({"prompt": "a", "chosen": "b", "reject": "c"}, "row 2: no 'rejected'; did you mean reject"),
        ({"prompt": "a", "chosen": 1, "rejected": "c"}, "row 2: 'chosen' must be a text, got 1"),
        (
            {"prompt": [{"role": "user", "content": "a"}], "chosen": "b", "rejected": "c"},
            "row 2: 'prompt' is a chat; name the folder whose chat template writes it",
        ),
    ],
)
def test_a_bad_row_is_named(tmp_path, row, message):
    path = write(tmp_path / "bad.jsonl", [ROWS[0], row, ROWS[1]])
    with pytest.raises(ValueError) as error:
        files.read_file(path)
    assert message in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(ValueError, match="is empty"):
        files.read_file(write(tmp_path / "empty.jsonl", [""]))


def test_unknown_options_get_the_nearest_name(tokenizer, tmp_path):
    path = write(tmp_path / "some.jsonl", ROWS)
    with pytest.raises(ValueError, match="has no option 'prompt_len'; did you mean prompt_length"):
        files.from_file(path, tokenizer, end_token="<end>", prompt_len=3)
