"""A Python function of the conversation replies to the policy's turns; what it says is read and not learned from."""

import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.algorithms import grpo
from rlx.envs.language import calls, chat
from rlx.envs.language.text import from_texts
from rlx.policies import transformer
from rlx.training import responses
from tests.text_policy import CONFIG, PAIRS, WORDS, tokenizer

END, STOP = WORDS.index("<end>"), WORDS.index("<stop>")
OPTIONS = dict(
    end_token=["<end>", "<stop>"], prompt_length=4, response_length=3, num_turns=3, reply_length=4, failed=-1.0
)
TURN, REPLY = 3, 4


def said(role, content):
    return {"role": role, "content": content}


def turn(messages):
    """More, as often as the user spoke, unless the policy said a single word."""
    last = messages[-1]["content"].split()
    return None if len(last) == 1 else " ".join(["more"] * sum(message["role"] == "user" for message in messages))


def reward(messages, response, answer):
    """How long the conversation was, and whether the last word is that of the response."""
    return len(messages) + 0.5 * bool(response)


@pytest.fixture(scope="module")
def batch():
    task = from_texts(PAIRS, tokenizer(), turn=turn, reward=reward, **OPTIONS)
    params = jax.tree.map(lambda x: 2 * x, transformer.init(jax.random.key(0), CONFIG))
    problems = responses.draw(jax.random.key(1), task, "train", 8)
    roll = jax.jit(partial(responses.rollout, config=CONFIG, task=task, group_size=8))
    return task, params, problems, jax.device_get(roll(jax.random.key(2), params=params, problems=problems))


def heard(task, prompt, token, present):
    """A conversation as its tokens tell it: messages, replies and whether the last turn has ended, in plain Python."""
    text = lambda ids: " ".join(WORDS[token] for token in ids if token > STOP)
    messages, replies, ended = [said("user", prompt)], [], False
    for begin in range(0, task.response_length, TURN + REPLY):
        own = token[begin : begin + TURN][present[begin : begin + TURN]]
        if not len(own):
            break
        ended = own[-1] in (END, STOP)
        messages.append(said("assistant", text(own)))
        slots = slice(begin + TURN, begin + TURN + REPLY)
        reply = token[slots][present[slots]]
        if len(reply):
            # What comes next follows a real token.
            assert present[slots][-1]
            messages.append(said("user", text(reply)))
        replies.append((len(messages) - bool(len(reply)), text(reply)))
    return messages, replies, ended


def test_conversations_are_those_of_the_function(batch):
    task, _, problems, found = batch
    assert (task.num_turns, task.response_length, task.sees_all) == (3, 3 * TURN + 2 * REPLY, True)
    kinds = set()
    for index in np.ndindex(found.reward.shape):
        prompt, _ = task.pairs[problems.content[index[0]]]
        messages, replies, ended = heard(task, prompt, found.token[index], found.present[index])
        for number, (length, reply) in enumerate(replies[:2]):
            last = found.token[index][number * (TURN + REPLY) :][:TURN][
                found.where[index][number * (TURN + REPLY) :][:TURN]
            ]
            expected = turn(messages[:length]) if last[-1] in (END, STOP) else None
            assert reply == (expected or "")
            # Nothing is said after the end of a conversation.
            assert (expected is not None) == (len(replies) > number + 1)
        assert found.reward[index] == (len(messages) - 1 + 0.5 * bool(messages[-1]["content"]) if ended else -1)
        kinds.add((len(replies), bool(ended)))
    assert kinds >= {(1, True), (1, False), (2, True), (3, True)}


@pytest.mark.slow
def test_replies_are_read_and_not_learned_from(batch):
    task, params, _, found = batch
    place = np.arange(task.response_length) % (TURN + REPLY)
    assert found.present[..., place >= TURN].any() and not found.where[..., place >= TURN].any()
    np.testing.assert_array_equal(found.where[..., place < TURN], found.present[..., place < TURN])
    np.testing.assert_array_equal(
        found.step, np.where(found.present, np.arange(task.response_length) // (TURN + REPLY), -1)
    )
    index = tuple(np.argwhere(found.where[..., 2 * (TURN + REPLY)])[0])
    scores = jax.jit(lambda batch: grpo.score(CONFIG, params, batch).log_prob)(found)
    # The same conversation in one piece, without any padding.
    real, prompt = found.present[index], found.prompt[index][found.prompt_where[index]]
    whole = jnp.concatenate([prompt, found.token[index][real]])
    logits = transformer.apply(CONFIG, params, whole[None])[0]
    log_prob = jnp.take_along_axis(jax.nn.log_softmax(logits)[:-1], whole[1:, None], axis=-1)[len(prompt) - 1 :, 0]
    own = found.where[index]
    np.testing.assert_allclose(scores[index][own], log_prob[own[real]], atol=1e-5)

    # No gradient of the loss at a token of the environment.
    advantage = jnp.broadcast_to(jnp.arange(8.0)[:, None], scores.shape)
    loss = lambda log_prob: grpo.clipped_loss(
        found._replace(where=jnp.asarray(found.where), log_prob=log_prob, behavior_log_prob=scores, advantage=advantage)
    )
    gradient = np.asarray(jax.grad(loss)(scores))
    assert (gradient[~found.where] == 0).all() and (gradient[found.where] != 0).any()


def test_a_template_writes_what_is_around_a_reply(tmp_path):
    """As a tool's answer to a chat, and cut to what there is room for."""
    (tmp_path / "tokenizer_config.json").write_text("{}")
    turns = "{% if m.role == 'tool' %}+ {{ m.content }} = {% elif m.role == 'user' %}#### {{ m.content }} {% else %}"
    turns += "{{ m.content }} <end> {% endif %}"
    whole = "{% for m in messages %}" + turns + "{% endfor %}{% if add_generation_prompt %}less {% endif %}"
    (tmp_path / "own.jinja").write_text(whole)
    write = chat.template(tmp_path, str(tmp_path / "own.jinja"))
    told = []

    def longer(messages):
        told.append(messages)
        messages[0]["content"] = "changed"
        return "5 6 7 8"

    pairs = [([said("user", f"{n}")], "#### 1") for n in range(9)]
    options = OPTIONS | dict(num_turns=2, reply_length=6, reply_role="tool", turn=longer, write=write)
    task = from_texts(pairs, tokenizer(), test=pairs[:2], **options)
    problem = task.problem(0, "test")
    assert task.decode(problem.prompt) == "#### 0 less"
    tokens = jnp.array([WORDS.index("9"), STOP, task.pad_token])
    with pytest.warns(UserWarning, match="replies of more than 3 tokens are cut to these, as reply_length=6 says"):
        reply, real = jax.jit(partial(task.reply, turn=0))(problem, tokens, tokens != task.pad_token)
    assert [WORDS[token] for token in np.asarray(reply)] == ["+", "5", "6", "7", "=", "less"] and real.all()
    # Its changes are its own.
    assert told == [[said("user", "changed"), said("assistant", "9")]] and task.pairs[-2] == pairs[0]
    whole = jnp.concatenate([tokens, reply, jnp.array([WORDS.index("8"), END, task.pad_token])])

    def judged(messages, response, answer):
        told.append((messages, response))
        return 1.0

    task = from_texts(pairs, tokenizer(), test=pairs[:2], reward=judged, **options)
    assert float(jax.jit(task.verify)(problem, whole, whole != task.pad_token).reward) == 1
    assert told[-1] == ([*pairs[0][0], said("assistant", "9"), said("tool", "5 6 7")], "8")

    with pytest.raises(
        ValueError, match="reply_length must be above 3, the tokens that the chat template writes around"
    ):
        from_texts(pairs, tokenizer(), test=pairs[:2], **options | {"reply_length": 3})


def asked(function, count=4, **options):
    """Which of several turns a function replies to."""
    task = from_texts(PAIRS, tokenizer(), turn=function, reward=reward, **OPTIONS | options)
    tokens = jnp.broadcast_to(jnp.array([WORDS.index("9"), END, task.pad_token]), (count, TURN))
    problems = jax.vmap(task.problem)(jnp.arange(count))
    reply = jax.jit(jax.vmap(lambda *given: task.reply(*given, 0)))
    return np.asarray(reply(problems, tokens, tokens != task.pad_token)[1]).any(axis=1).tolist()


@pytest.mark.parametrize(
    "function, message",
    [
        (lambda messages: messages[9], "IndexError: list index out of range; the response was '9'"),
        (lambda messages: 5, "ValueError: turn must return a text, or None to end the conversation, got 5"),
        (lambda messages: exit(), "SystemExit"),
        (lambda messages: time.sleep(5), "TimeoutError: no result after 0.05 s"),
    ],
)
def test_a_function_that_fails_ends_the_conversation(function, message):
    with pytest.warns(UserWarning, match=f"the turn function failed, which ends the conversation: {message}"):
        assert asked(function, timeout=0.05, count=1) == [False]


def test_what_hangs_is_bounded_as_rewards_are(monkeypatch):
    monkeypatch.setattr(calls, "MAX_HANGING", 2)
    with pytest.warns(UserWarning, match="TooManyHanging: 2 earlier calls have not returned"):
        assert asked(lambda messages: time.sleep(2), timeout=0.05) == [False] * 4
    assert asked(lambda messages: "5") == [True] * 4


@pytest.mark.parametrize(
    "change, message",
    [
        ({"turn": 3}, "turn must be a function of .messages., got 3, which cannot be called"),
        ({"turn": lambda: "a"}, "turn is called with .messages., but .*too many positional"),
        ({"turn": "json:lods"}, "module 'json' of turn='json:lods' has no 'lods'; did you mean loads"),
        ({"num_turns": 1}, "num_turns must lie between 2 and 64, got 1"),
        ({"num_turns": 65}, "num_turns must lie between 2 and 64, got 65"),
        ({"reply_length": 0}, "reply_length must lie between 1 and 1048576, got 0"),
        ({"timeout": 0.0}, "timeout must be a positive number of seconds"),
    ],
)
def test_what_cannot_reply_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        from_texts(PAIRS, tokenizer(), **OPTIONS | {"turn": turn} | change)
