"""A model may end its turn by any of several tokens, and each of them is one: to sampling, to rewards, to pairs."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.envs.language import pairs
from rlx.envs.language.text import from_texts
from rlx.envs.language.tokens import Tokens, ends_of
from rlx.policies import transformer
from rlx.training import responses
from tests.text_policy import CONFIG, PAIRS, WORDS, tokenizer

END, STOP, PAD = WORDS.index("<end>"), WORDS.index("<stop>"), WORDS.index("spare")
LENGTHS = {"prompt_length": 4, "response_length": 6}


def folder(path, tokenizer_config=None, generation=None):
    for name, content in (("tokenizer_config.json", tokenizer_config), ("generation_config.json", generation)):
        (path / name).unlink(missing_ok=True)
        if content is not None:
            (path / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    "tokenizer_config, generation, ends",
    [
        ({"eos_token": "<end>"}, {"eos_token_id": [STOP, END]}, (END, STOP)),
        ({"eos_token": {"content": "<stop>"}}, {"eos_token_id": END}, (STOP, END)),
        ({"eos_token": "<stop>"}, {"temperature": 0.6}, (STOP,)),
        ({}, {"eos_token_id": [STOP, END]}, (STOP, END)),
        (None, {"eos_token_id": STOP}, (STOP,)),
        ({"eos_token": "<end>"}, {"eos_token_id": None}, (END,)),
    ],
)
def test_a_folder_names_all_its_ends(tmp_path, tokenizer_config, generation, ends):
    assert Tokens(tokenizer()).ends(ends_of(folder(tmp_path, tokenizer_config, generation))) == ends


@pytest.mark.parametrize(
    "generation, message",
    [
        (
            {"eos_token_id": ["<end>"]},
            r"generation_config.json: eos_token_id must be a whole number or a list of them, go",
        ),
        ({"eos_token_id": 1.0}, "eos_token_id must be a whole number or a list of them, got 1.0"),
        ({"eos_token_id": True}, "eos_token_id must be a whole number or a list of them, got True"),
        ("[", "generation_config.json must be JSON"),
        (
            {},
            "tokenizer_config.json names no eos_token, and there is no generation_config.json with eos_token_id; say",
        ),
    ],
)
def test_what_names_no_end_is_one_line(tmp_path, generation, message):
    with pytest.raises(ValueError, match=message):
        ends_of(folder(tmp_path, {}, generation))


@pytest.mark.parametrize("token", [99, -1, [1, 99], [], "+ ="])
def test_an_end_must_be_a_token(token):
    with pytest.raises(ValueError, match="end_token must be"):
        from_texts(PAIRS, tokenizer(), end_token=token, **LENGTHS)


@pytest.mark.slow
def test_sampling_stops_at_any_end_and_scores_what_ended():
    told = []

    def reward(prompt, response, answer):
        told.append(response)
        return 1.0

    options = dict(reward=reward, failed=-1.0, workers=1, **LENGTHS)
    task = from_texts(PAIRS, tokenizer(), end_token=["<end>", STOP], **options)
    assert (task.end_token, task.end_tokens, task.pad_token) == (END, (END, STOP), PAD)
    # Solutions end by the first of them.
    solution = np.asarray(task.solve(task.problem(0)))
    assert solution[(solution != PAD)][-1] == END

    params = jax.tree.map(lambda x: 2 * x, transformer.init(jax.random.key(0), CONFIG))
    problems = responses.draw(jax.random.key(1), task, "train", 8)
    roll = jax.jit(partial(responses.rollout, config=CONFIG, task=task, group_size=16))
    batch = jax.device_get(roll(jax.random.key(2), params=params, problems=problems))
    ended = {END: 0, STOP: 0}
    for index in np.ndindex(batch.reward.shape):
        own = batch.token[index][batch.present[index]]
        ends = np.isin(own, [END, STOP])
        # The end is the last token, and nothing but the end of the room stops a response without one.
        assert not ends[:-1].any() and (ends[-1] or len(own) == task.response_length)
        assert batch.reward[index] == (1.0 if ends[-1] else -1.0)
        if ends[-1]:
            ended[int(own[-1])] += 1
    assert min(ended.values()) > 2 and len(told) == sum(ended.values())
    assert not any("<stop>" in response or "<end>" in response for response in told)

    # What goes on from given tokens is over where any end is given.
    given = jnp.zeros((8, 16, 6), jnp.int32).at[..., 0].set(WORDS.index("more")).at[..., 1].set(STOP)
    again = roll(
        jax.random.key(2), params=params, problems=problems, given=(given, jnp.arange(6) < jnp.full((8, 16, 1), 2))
    )
    assert (np.asarray(again.length) == 2).all() and (np.asarray(again.reward) == 1).all()


def test_a_response_of_a_pair_has_one_end():
    rows = [pairs.Preference(f"{n} =", chosen, "4 <end>") for n, chosen in enumerate(("3", "3 <stop>", "3 <end>", "3"))]
    task = pairs.from_texts(rows, tokenizer(), end_token=["<end>", "<stop>"], **LENGTHS)
    of = task.pairs_of("train")
    chosen = [of.token[row, 0][of.where[row, 0]].tolist() for row in range(3)]
    three = WORDS.index("3")
    assert chosen == [[three, END], [three, STOP], [three, END]] and task.end_tokens == (END, STOP)
