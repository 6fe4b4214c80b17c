"""An evaluation on a file asks each of its test prompts once: figures are exact, and the same for every key."""

from functools import partial
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from rlx.envs.language.text import from_texts
from rlx.policies import transformer
from rlx.training import responses
from rlx.training.sources.pairs import is_pair, sampled
from tests.sorting_policy import CONFIG as SORTING_CONFIG
from tests.sorting_policy import TASK as SORTING
from tests.text_policy import CONFIG, PAIRS, tokenizer

COUNT = 7
ASKED = set()


def reward(prompt, response, answer):
    """Of an empty response a little, of another one all."""
    ASKED.add(prompt)
    return 1.0 if response else 0.25


@pytest.fixture(scope="module")
def task():
    options = dict(prompt_length=4, response_length=4, test=PAIRS[::4][:COUNT], reward=reward)
    return from_texts(PAIRS, tokenizer(), end_token=["<end>", "="], **options)


@pytest.fixture(scope="module")
def params():
    return jax.tree.map(lambda x: 3 * x, transformer.init(jax.random.key(22), CONFIG))


@pytest.fixture(scope="module")
def expected(task, params):
    """What greedy responses to each test prompt come to, counted in float64."""
    alone = partial(responses.rollout, jax.random.key(0), CONFIG, params, task, group_size=1, temperature=0.0)
    greedy = jax.jit(lambda index: alone(problems=responses.listed(task, "test", index)))(np.arange(COUNT))
    length, rewards = np.asarray(greedy.length[:, 0], float), []
    for token, count in zip(np.asarray(greedy.token[:, 0]), length.astype(int), strict=True):
        own = token[:count].tolist()
        rewards.append(reward("", task.decode(own[:-1]), "") if own[-1] in task.end_tokens else 0.0)
    assert sorted(set(rewards)) == [0, 0.25, 1]
    return {
        "eval_return_mean": np.mean(rewards),
        "eval_return_std": np.std(rewards),
        "eval_accuracy": np.mean(np.array(rewards) >= 1),
        "eval_episode_length": np.mean(length),
        "eval_num_prompts": COUNT,
    }


def test_all_test_prompts_are_asked_once(task, params, expected):
    """Three at a time, so that the last batch goes beyond the end by two, which count for nothing."""
    state = SimpleNamespace(params={"policy": params}, first_params=params)
    evaluate = responses.evaluator(task, CONFIG, num_prompts=3, num_samples=2)
    ASKED.clear()
    found = jax.device_get(jax.jit(partial(evaluate, state))(jax.random.key(0)))
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6, err_msg=name)
    assert ASKED.issubset(prompt for prompt, _ in task.pairs[-COUNT:])
    assert found["eval_drift"] == 0 and found["eval_entropy"] > 0


def test_seeds_side_by_side_have_the_same_prompts(task, params, expected):
    """All prompts at once: greedy figures are those of any other size of batches, and samples differ by their keys."""
    evaluate = responses.evaluator(task, CONFIG, num_prompts=100, num_samples=2)
    of_key = lambda key: evaluate(SimpleNamespace(params={"policy": params}), key)
    found = jax.device_get(jax.jit(jax.vmap(of_key))(jax.random.split(jax.random.key(3), 2)))
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], [value] * 2, rtol=1e-6, err_msg=name)
    assert found["eval_entropy"][0] != found["eval_entropy"][1] and "eval_drift" not in found


def test_tasks_without_an_end_are_drawn_from():
    params = transformer.init(jax.random.key(0), SORTING_CONFIG)
    state = SimpleNamespace(params={"policy": params})
    evaluate = responses.evaluator(SORTING, SORTING_CONFIG, num_prompts=4, num_samples=2)
    assert not isinstance(SORTING, responses.ListedTask)
    assert not {"eval_accuracy", "eval_num_prompts"} & set(jax.eval_shape(partial(evaluate, state), jax.random.key(0)))


def test_prompts_of_a_list_may_be_drawn_too(task, params):
    state = SimpleNamespace(params={"policy": params})
    evaluate = responses.evaluator(task, CONFIG, num_prompts=1, num_samples=1, exact=False)
    ASKED.clear()
    found = jax.jit(partial(evaluate, state))(jax.random.key(0))
    assert len(ASKED) <= 1 and not {"eval_accuracy", "eval_num_prompts"} & set(found)


def test_pairs_are_made_of_each_prompt_once(task, params):
    draw = partial(sampled, config=CONFIG, task=task, split="test", num_prompts=COUNT, num_samples=6, at_once=3)
    found = jax.jit(draw)(jax.random.key(1), params=params)
    assert len(np.unique(np.asarray(found.prompt), axis=0)) == COUNT and np.asarray(is_pair(found)).any()
