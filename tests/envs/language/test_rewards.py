"""A user's function scores texts from inside a compiled program, whatever it does."""

import contextlib
import itertools
import sys
import threading
import time
from decimal import Decimal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.envs.language import calls
from rlx.envs.language.rewards import final_answer, math_answer, text_reward
from rlx.envs.language.text import from_file
from rlx.recipes.language_tasks import named

END, PAD, LENGTH = 1, 0, 4
PAIRS = [("two", "2"), ("three", "3")]
WORDS = {2: "two", 3: "three", 4: "hang", 5: "raise", 6: "nan", 7: "none", 8: "exit", 9: "again"}


def decode(tokens):
    return " ".join(WORDS[token] for token in tokens)


def responses(*texts):
    """Tokens of responses that have ended, and where they are."""
    number = {word: token for token, word in WORDS.items()}
    rows = [[number[word] for word in text.split()] + [END] for text in texts]
    tokens = jnp.asarray([row + [PAD] * (LENGTH - len(row)) for row in rows])
    return tokens, tokens != PAD


def test_final_answers_are_equal_where_the_numbers_are():
    values = ["0", "-0.0", "7", "-7", "7.50", "1000", "1,000", "1000.0", "$1,000", "-$1,000.00", "12,345,678.25", "0.5"]
    exact = lambda text: Decimal(text.replace(",", "").replace("$", ""))
    for a, b in itertools.product(values, repeat=2):
        unmarked = f"so 3 * 4 = 5, that is {a}."
        for response in (unmarked, f"#### 9\nno:\n#### {a} \nDone 8", f"####{a}", rf"#### 9, or \boxed{{{a}}} of 8"):
            is_marked = response != unmarked
            for answer in (b, rf"\boxed{{{b}}}", f"as 1 + 1 = 2\n#### {b}"):
                assert math_answer("", response, answer) == (is_marked and exact(a) == exact(b)), (a, b)
                assert math_answer("", response, answer, last_number=True) == (exact(a) == exact(b)), (a, b)
        assert (final_answer(f"#### {a}") == final_answer(rf"\boxed{{{b}}}")) == (exact(a) == exact(b))
        assert (final_answer(unmarked, last_number=True) == final_answer(f"#### {b}")) == (exact(a) == exact(b))
    assert math_answer("", "", "") == math_answer("", "", "", last_number=True) == 0
    # More digits than Python would make an integer of.
    assert math_answer("", f"#### {'9' * 5000}.0", "9" * 5000) == 1


def test_the_last_number_is_taken_where_asked_for():
    # A minus between operands is no sign, and a list of numbers is not one number.
    answers = {
        "10-5": "5",
        "x = -5": "-5",
        "1, 2,3": "3",
        "1,0000": "0",
        ".50": "1/2",
        "no number": "",
        "− 5 or −6": "-6",
    }
    assert {text: final_answer(text, last_number=True) for text in answers} == answers
    assert {text: final_answer(text) for text in answers} == dict.fromkeys(answers, "")
    # Of the right answer only where that is a sentence.
    for response, answer, right in (
        ("that is 12.", "3 * 4 is 12.", 1), ("that is 2", r"\frac{3}{2}", 0), ("that is 5", "5 apples", 1),
        ("is 2", "1,2", 0), (r"\boxed{x}, not 2", "2", 0), ("none", "none", 0),
    ):  # fmt: skip
        assert math_answer("", response, answer, last_number=True) == right, (response, answer)


def test_files_ask_for_the_last_number(tmp_path):
    class Letters:
        letters = "# .0123456789abcdefghijklmnopqrstuvwxyz~"
        encode = lambda self, text: [self.letters.index(letter) for letter in text]
        decode = lambda self, tokens: "".join(self.letters[token] for token in tokens)
        __len__ = lambda self: len(self.letters)

    path = tmp_path / "numbers.jsonl"
    path.write_text('{"question": "two", "answer": "2"}\n{"question": "three", "answer": "3"}\n')
    options = {"end_token": ".", "prompt_length": 5, "response_length": 8, "test": str(path).replace("numbers", "test")}
    (tmp_path / "test.jsonl").write_text('{"question": "two", "answer": "2"}')

    def judged(**asked):
        task = from_file(path, Letters(), **options, **asked)
        rows = [task.encode(text) + [task.end_token] for text in ("is 2", "#### 2", "is 3")]
        tokens = jnp.asarray([row + [task.pad_token] * (8 - len(row)) for row in rows])
        problem = task.sample(jax.random.key(0), "test")
        verdict = jax.vmap(task.verify, (None, 0, 0))(problem, tokens, tokens != task.pad_token)
        return verdict.reward.tolist(), (verdict.answer >= 0).tolist()

    assert judged() == ([0, 1, 0], [False, True, False])
    _, asked = named(f"{path}@last_number=True")
    assert judged(**asked) == judged(reward=f"{math_answer.__module__}:math_answer", **asked) == ([1, 1, 0], [True] * 3)
    with pytest.raises(ValueError, match="last_number must be True or False, got 'yes'"):
        judged(last_number="yes")
    with pytest.raises(ValueError, match="last_number=True is of the default reward, math_answer; leave out reward"):
        judged(last_number=True, reward=lambda prompt, response, answer: 1.0)


def test_rewards_are_those_of_the_texts_however_deep_the_vmap():
    asked = []

    def function(prompt, response, answer):
        asked.append((prompt, response, answer))
        return len(response) - 100 * (prompt == "three")

    score = text_reward(function, PAIRS, decode=decode, end_token=END, answer_of=lambda text: text[:3])
    tokens, where = responses("two", "three three", "two three", "two")
    index = jnp.array([0, 1])
    # One batch of pairs by responses, of which each has one axis.
    reward, answer = jax.jit(jax.vmap(jax.vmap(score, (None, 0, 0)), (0, None, None)))(index, tokens, where)
    np.testing.assert_array_equal(reward, [[3, 11, 9, 3], [-97, -89, -91, -97]])
    assert asked[1] == ("two", "three three", "2") and asked[4] == ("three", "two", "3") and len(asked) == 8
    assert (answer >= 0).all() and (answer[:, 0] == answer[:, 2]).all() and (answer[:, 0] != answer[:, 1]).all()

    # What has not ended is not judged, and a reward that nobody reads is not asked for.
    unended = jnp.where(tokens == END, PAD, tokens)
    reward, answer = jax.vmap(score, (None, 0, 0))(index[0], unended, unended != PAD)
    assert not reward.any() and (answer == -1).all()
    jax.block_until_ready(jax.jit(lambda tokens: (score(0, tokens, tokens != PAD), tokens)[1])(tokens[0]))
    assert len(asked) == 8


@pytest.mark.parametrize("workers", [1, 3])
def test_a_failing_function_costs_its_response_only(workers):
    def function(prompt, response, answer):
        match response.split()[0]:
            case "raise":
                raise KeyError(f"no {response}")
            case "nan":
                return float("nan")
            case "none":
                return None
            case "exit":
                sys.exit(3)
            case "again":
                raise KeyboardInterrupt("not of the keyboard")
        return 1.0

    score = text_reward(function, PAIRS, decode=decode, end_token=END, failed=-2.0, workers=workers)
    texts = ["two", "raise", "nan", "three", "none", "exit", "raise again", "again", "two"]
    with pytest.warns(UserWarning) as warned:
        reward, answer = jax.jit(jax.vmap(score, (None, 0, 0)))(jnp.int32(0), *responses(*texts))
        reward.block_until_ready()
    np.testing.assert_array_equal(reward, [1, -2, -2, 1, -2, -2, -2, -2, 1])
    np.testing.assert_array_equal(answer == -1, True)
    kinds = {"KeyError": "'no raise'", "ValueError": "got nan", "TypeError": "'NoneType'", "SystemExit": "3"}
    kinds["KeyboardInterrupt"] = "not of the keyboard"
    for kind, message in kinds.items():
        (text,) = [str(warning.message) for warning in warned if f": {kind}: " in str(warning.message)]
        assert message in text and "gives -2" in text and "the response was '" in text


def test_answers_vote_together_where_they_are_equal():
    words = {
        token: text for token, text in enumerate([r"\boxed{\frac12}", "#### 0.5", r"\boxed{½}", "0.5", "#### 2"], 2)
    }
    score = text_reward(math_answer, [("", "1/2")], decode=lambda tokens: words[tokens[0]], end_token=END)
    tokens = jnp.asarray([[token, END] for token in words])
    reward, answer = jax.vmap(score, (None, 0, 0))(jnp.int32(0), tokens, tokens != PAD)
    np.testing.assert_array_equal(reward, [1, 1, 1, 0, 0])
    assert answer[0] == answer[1] == answer[2] != answer[4] and answer[0] >= 0 and answer[3] == -1


def test_calls_that_ask_the_program_to_stop_lose_no_room(monkeypatch):
    monkeypatch.setattr(calls, "MAX_HANGING", 2)

    def function(prompt, response, answer):
        if response != "two":
            raise KeyboardInterrupt
        return 1.0

    score = jax.jit(jax.vmap(text_reward(function, PAIRS, decode=decode, end_token=END, failed=-1.0), (None, 0, 0)))
    with pytest.warns(UserWarning, match="KeyboardInterrupt"):
        reward, _ = score(jnp.int32(0), *responses(*["again"] * 8, "two"))
        np.testing.assert_array_equal(reward, [-1] * 8 + [1])


def test_endless_loops_end_with_their_time(monkeypatch):
    monkeypatch.setattr(calls, "MAX_HANGING", 1000)

    def function(prompt, response, answer):
        while True:
            with contextlib.suppress(Exception):
                len(response)

    before = set(threading.enumerate())
    many = calls.Calls(
        function, otherwise=(-1.0, -1), failure="failed", about=lambda *texts: texts[1], timeout=0.05, workers=4
    )
    with pytest.warns(UserWarning, match="TimeoutError: no result after 0.05 s"):
        assert many([("", "two", "")] * 8) == [(-1.0, -1)] * 8
    for thread in set(threading.enumerate()) - before:
        thread.join(30)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    "name, message",
    [
        ("nosuch:f", "no module 'nosuch' for reward='nosuch:f'"),
        ("json.nosuch:f", "no module 'json.nosuch'"),
        ("json:lods", "module 'json' of reward='json:lods' has no 'lods'; did you mean loads"),
        ("json", "written module:function, got 'json'"),
    ],
)
def test_functions_are_found_by_name_or_missed(name, message):
    with pytest.raises(ValueError, match=message):
        calls.named_function(name, "reward")
    assert calls.named_function("rlx.envs.language.rewards:math_answer", "reward") is math_answer


@pytest.mark.parametrize(
    "change, message",
    [
        ({"function": 3.0}, "a function of .prompt, response, answer., got 3.0, which cannot be called"),
        ({"function": lambda response: 1.0}, "is called with .prompt, response, answer., but .*too many positional"),
        ({"timeout": float("nan")}, "timeout must be a positive number of seconds, .* got nan"),
        ({"timeout": 1e30}, "timeout must be a positive number of seconds, .* got 1e"),
        ({"failed": 1e300}, "failed must be a finite number"),
        ({"workers": 10**9}, "workers must be at least 1 and at most 1024, got 1000000000"),
    ],
)
def test_what_cannot_reward_is_refused(change, message):
    options = {"function": math_answer} | change
    with pytest.raises(ValueError, match=message):
        text_reward(options.pop("function"), PAIRS, decode=decode, end_token=END, **options)


def test_what_hangs_is_left_behind_and_bounded(monkeypatch):
    monkeypatch.setattr(calls, "MAX_HANGING", 2)
    released, asked = threading.Event(), []

    def function(prompt, response, answer):
        asked.append(response)
        if response == "hang":
            released.wait(30)
        return 1.0

    score = jax.jit(
        jax.vmap(text_reward(function, PAIRS, decode=decode, end_token=END, timeout=0.2), in_axes=(None, 0, 0))
    )
    begin = time.monotonic()
    with pytest.warns(UserWarning, match="TimeoutError: no result after 0.2 s; the response was 'hang'"):
        reward, _ = jax.block_until_ready(score(0, *responses("two", "hang", "three", "two", "hang")))
    np.testing.assert_array_equal(reward, [1, 0, 1, 1, 0])
    threads = threading.active_count()
    # While two hang nothing is begun, and nothing waits.
    with pytest.warns(UserWarning, match="TooManyHanging: 2 earlier calls have not returned"):
        reward, _ = jax.block_until_ready(score(0, *responses("hang", "two", "three", "two", "two")))
    assert not reward.any() and len(asked) == 5 and threading.active_count() <= threads
    assert time.monotonic() - begin < 15
    released.set()
    while threading.active_count() > threads - 2:
        time.sleep(0.01)
        assert time.monotonic() - begin < 25
    reward, _ = score(0, *responses("two", "three", "hang", "two", "two"))
    assert reward.all()


def test_workers_call_at_the_same_time():
    meeting = threading.Barrier(3)
    together = lambda prompt, response, answer: 1.0 + meeting.wait(10) * 0
    score = text_reward(together, PAIRS, decode=decode, end_token=END, workers=3, timeout=20.0)
    reward, _ = jax.vmap(score, (None, 0, 0))(jnp.int32(0), *responses("two", "two", "two"))
    assert reward.all()


@pytest.mark.parametrize("option", [{"timeout": 0}, {"failed": float("inf")}, {"workers": 0}])
def test_impossible_options_are_named(option):
    with pytest.raises(ValueError, match=f"{next(iter(option))} must be .*, got"):
        text_reward(math_answer, PAIRS, decode=decode, end_token=END, **option)
