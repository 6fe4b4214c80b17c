"""Questions and answers become tasks: every text is found again, and no prompt is both trained and tested on."""

import json
import os
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from rlx.envs.language.text import from_file, from_texts, read_file
from rlx.envs.language.tokens import ends_of
from rlx.policies import transformer
from rlx.training import responses

PAIRS = [(f"{a} + {b} =", f"sum #### {a + b}") for a in range(10) for b in range(10)]
LENGTHS = {"prompt_length": 6, "response_length": 5}


@pytest.fixture(scope="module")
def tokenizer():
    words = ["<pad>", "<end>", "<begin>", "+", "=", "sum", "####", "add", *map(str, range(20))]
    tokenizer = Tokenizer(models.WordLevel({word: token for token, word in enumerate(words)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["<pad>", "<end>", "<begin>"])
    return tokenizer


@pytest.fixture(scope="module")
def task(tokenizer):
    return from_texts(PAIRS, tokenizer, end_token="<end>", template="add {prompt}", **LENGTHS)


class Letters:
    """A tokenizer that is nobody's: each letter is a token."""

    letters = "~.0123456789+=abcdefgh"

    def __len__(self):
        return len(self.letters)

    def encode(self, text):
        return [self.letters.index(letter) for letter in text]

    def decode(self, tokens):
        return "".join(self.letters[token] for token in tokens)


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_file_is_read_line_by_line(tmp_path):
    # A separator of lines may stand within a text.
    first = json.dumps({"question": "a\u2028b?", "answer": "1\n#### 1", "id": 7}, ensure_ascii=False)
    path = write(tmp_path / "pairs.jsonl", "\ufeff" + first, "", '{"question": "ü", "answer": "2"}')
    assert read_file(path) == [("a\u2028b?", "1\n#### 1"), ("ü", "2")]
    path = write(tmp_path / "named.jsonl", '{"problem": "p", "solution": "s"}')
    assert read_file(path, prompt="problem", answer="solution") == [("p", "s")]
    path = write(tmp_path / "numbers.jsonl", '{"question": "q", "answer": 4}', '{"question": "q", "answer": -0.5}')
    assert read_file(path) == [("q", "4"), ("q", "-0.5")]


@pytest.mark.parametrize(
    "lines, message",
    [
        (['{"question": "q", "answer": "a"}', '{"question": "q", '], "line 2: each line must be a JSON object: Expect"),
        (["[1, 2]"], r"line 1: each line must be a JSON object, got \[1, 2\]"),
        (["", '{"question": "q", "answr": "a"}'], "line 2: no 'answer'; did you mean answr"),
        (['{"question": "q", "answer": [4]}'], r"line 1: 'answer' must be a text or a number, got \[4\]"),
        (['{"question": "q", "answer": true}'], "line 1: 'answer' must be a text or a number, got True"),
        (['{"question": 4, "answer": 4}'], "line 1: 'question' must be a text, got 4"),
        (["", ""], "bad.jsonl is empty; each of its rows must have 'question' and 'answer'"),
        (["[" * 100_000 + "]" * 100_000], "line 1: each line must be a JSON object: maximum recursion depth"),
        (['{"question": "q", "answer": "\\ud800"}'], "line 1: 'answer' must be a text of whole characters"),
        (['{"question": "q", "answer": ' + "1" * 5000 + "}"], "line 1: each line must be a JSON object: Exceeds"),
    ],
)
def test_a_broken_line_is_named(tmp_path, lines, message):
    with pytest.raises(ValueError, match=message):
        read_file(write(tmp_path / "bad.jsonl", *lines))


def test_what_is_no_file_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, found in (("nowhere.jsonl", "there is none"), ("pipe", "it is no file"), (".", "it is a folder")):
        with pytest.raises(ValueError, match=f"must be a file, but {found}"):
            read_file(tmp_path / name)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"timeout": "nan"}, "train.jsonl: timeout must be a finite number, got 'nan'"),
        ({"timeout": float("inf")}, "timeout must be a finite number, got inf"),
        ({"workers": 1.5}, "workers must be a whole number, got 1.5"),
        ({"test": 5}, "test must be a text or a PathLike or None, got 5"),
        ({"test": "nowhere.jsonl"}, "nowhere.jsonl must be a file, but there is none"),
        ({"prompt": ["q"]}, r"prompt must be a text, got \['q'\]"),
        ({"answer_of": "last"}, "answer_of must be a function, got 'last'"),
    ],
)
def test_options_have_types(tmp_path, tokenizer, options, message):
    rows = [json.dumps({"question": question, "answer": answer}) for question, answer in PAIRS]
    with pytest.raises(ValueError, match=message):
        from_file(write(tmp_path / "train.jsonl", *rows), tokenizer, end_token=1, **options)


@pytest.mark.parametrize("template", ["add {prompt}", "<begin> add {prompt}"])
def test_a_prompt_begins_once(tokenizer, template):
    """Whether its template writes the token that the tokenizer puts in front, or not."""
    beginning = Tokenizer.from_str(tokenizer.to_str())
    beginning.post_processor = processors.TemplateProcessing(single="<begin> $A", special_tokens=[("<begin>", 2)])
    problem = from_texts(PAIRS, beginning, end_token="<end>", template=template, **LENGTHS).problem(0)
    assert np.asarray(problem.prompt)[np.asarray(problem.where)].tolist()[:2] == [2, 7]


def test_a_tokenizer_that_fails_is_told():
    with pytest.raises(ValueError, match="the tokenizer fails at 'Q': substring not found"):
        from_texts([("Q", "a"), ("b", "a")], Letters(), end_token=".", test=[("c", "a")])


def test_problems_are_those_of_their_split_and_solutions_are_right(task):
    assert isinstance(task, responses.Task)
    draw = jax.jit(partial(responses.draw, task=task, count=300), static_argnames="split")
    prompts = {}
    for split in ("train", "test"):
        problems = draw(jax.random.key(0), split=split)
        texts = [task.pairs[index] for index in np.asarray(problems.content)]
        assert [task.decode(prompt) for prompt in np.asarray(problems.prompt)] == [
            f"add {prompt}" for prompt, _ in texts
        ]
        np.testing.assert_array_equal(problems.where, problems.prompt != task.pad_token)
        assert (np.diff(np.asarray(problems.where).astype(int), axis=1) >= 0).all()
        prompts[split] = {prompt for prompt, _ in texts}
    assert not prompts["train"] & prompts["test"] and len(prompts["train"]) > 80 and 5 <= len(prompts["test"]) <= 20
    with pytest.raises(ValueError, match="split must be train or test, got 'dev'"):
        task.sample(jax.random.key(0), "dev")

    verify = jax.jit(jax.vmap(task.verify))
    batch = jax.jit(partial(responses.solutions, task))(problems)
    assert batch.correct.all() and (batch.first_error == task.response_length).all() and (batch.answer > 0).all()
    assert [task.decode(token) for token in np.asarray(batch.token[:, 0])] == [answer for _, answer in texts]
    np.testing.assert_array_equal(batch.token[:, 0, 3], task.end_token)
    # Another number is wrong, and so is a response without an end.
    for token, place in ((task.encode("3 + 3")[0], 2), (task.pad_token, 3)):
        changed = batch.token[:, 0].at[:, place].set(token)
        verdict = verify(problems, changed, changed != task.pad_token)
        right = np.array([answer == "sum #### 3" for _, answer in texts]) & (place == 2)
        np.testing.assert_array_equal(verdict.correct, right)
        np.testing.assert_array_equal(verdict.first_error, np.where(right, task.response_length, 0))
        np.testing.assert_array_equal(verdict.reward, right)


def test_a_policy_is_rewarded_for_what_it_writes(tokenizer):
    length = lambda prompt, response, answer: len(response.split()) / 4 + (prompt == answer)
    task = from_texts(PAIRS, tokenizer, end_token="<end>", reward=length, threshold=0.5, failed=-1.0, **LENGTHS)
    # Two tokens that the tokenizer does not have: models are often larger.
    config = transformer.Config(
        vocab_size=len(task.vocabulary) + 2,
        hidden_size=8,
        intermediate_size=8,
        num_layers=1,
        num_heads=1,
        num_key_value_heads=1,
        head_dim=8,
    )
    params = transformer.init(jax.random.key(0), config)
    problems = responses.draw(jax.random.key(1), task, "train", 16)
    roll = jax.jit(partial(responses.rollout, config=config, task=task, group_size=8))
    batch = roll(jax.random.key(2), params=params, problems=problems)
    verdict = jax.jit(jax.vmap(jax.vmap(task.verify, (None, 0, 0))))(problems, batch.token, batch.present)
    batch, verdict = jax.device_get((batch, verdict))
    kinds = set()
    for index in np.ndindex(batch.correct.shape):
        own = batch.token[index][batch.present[index]]
        known = sum(2 < token < len(task.vocabulary) for token in own)
        expected = known / 4 if own[-1] == task.end_token else -1
        assert verdict.reward[index] == expected and batch.correct[index] == (expected >= 0.5)
        kinds.add(expected)
    assert kinds >= {-1, 0.25, 0.5}


def test_any_tokenizer_will_do_and_what_does_not_fit_is_told():
    pairs = [(f"{a}+{b}=", f"{a + b}") for a in range(5, 10) for b in range(10)]
    options = {"end_token": ".", "prompt_length": 4, "response_length": 2}
    with pytest.warns(UserWarning) as warned:
        task = from_texts([*pairs, ("1000+1=", "1001")], Letters(), test=[("1+1=", "2"), ("5+5=", "10")], **options)
    (unmarked, left_out, cut) = [str(warning.message) for warning in warned]
    assert "no answer marks itself by" in unmarked and "last_number=True" in unmarked
    assert (
        "1 of 50 training problems are left out: their prompts have more than prompt_length=4 tokens, up to 7"
        in left_out
    )
    assert "35 of 51 answers have more than response_length=2 tokens, their end included, up to 3" in cut
    # Those to test on are not trained on, and padding is a letter that is in none of the texts.
    assert ("5+5=", "10") not in task.pairs[:-2] and len(task.pairs) == 51
    assert task.vocabulary[task.pad_token] == "h" and task.vocabulary[task.end_token] == "."
    problem = task.sample(jax.random.key(0), "test")._replace(content=jnp.int32(50))
    cut = task.solve(problem)
    assert task.decode(cut) == "10" and not task.verify(problem, cut, cut != task.pad_token).correct


@pytest.mark.parametrize(
    "change, message",
    [
        ({"end_token": "cd"}, r"end_token must be one of the tokenizer's 22 tokens, got 'cd', which is \[16, 17\]"),
        ({"end_token": 22}, "end_token must be one of the tokenizer's 22 tokens, got 22"),
        ({"prompt_length": 0}, "prompt_length must lie between 1 and 1048576, got 0"),
        ({"response_length": 10**30}, "response_length must lie between 1 and 1048576, got 1"),
        ({"reward": 3.0}, "got 3.0, which cannot be called"),
        ({"prompt_length": 1}, "prompt_length=1 leaves none of 2 training problems: their prompts have 2 to 2 tokens"),
        ({"test_share": 1.0}, "test_share must lie between 0 and 1, got 1.0"),
        ({"test": []}, "problems to train and to test on, got 2 and 0"),
        ({"template": "Q: "}, "template must hold {prompt}, got 'Q: '"),
        ({"failed": 1.0}, "threshold must be above failed=1.0, got 1.0"),
        ({"pairs": [("", "a"), ("b", "a")]}, r"a prompt must have at least one token, got \('', 'a'\)"),
        ({"pairs": [("ab", Letters.letters), ("cd", "e")]}, "all of the tokenizer's 22 tokens occur"),
    ],
)
def test_impossible_options_are_named(change, message):
    options = {"pairs": [("ab", "a"), ("cd", "b")], "end_token": ".", "test": [("ef", "c")]} | change
    with pytest.raises(ValueError, match=message):
        from_texts(options.pop("pairs"), Letters(), **options)


def test_files_rewards_and_ends_have_names(tmp_path, tokenizer):
    rows = [json.dumps({"q": question, "answer": answer}) for question, answer in PAIRS]
    train, test = write(tmp_path / "train.jsonl", *rows), write(tmp_path / "test.jsonl", *rows[:10])
    options = {"prompt": "q", "end_token": 1, "reward": "rlx.envs.language.rewards:math_answer"} | LENGTHS
    task = from_file(train, tokenizer, test=test, **options)
    assert task.pairs == PAIRS[10:] + PAIRS[:10] and (task.name, task.end_token) == ("train", 1)
    solution = task.solve(problem := task.sample(jax.random.key(0)))
    assert task.verify(problem, solution, solution != task.pad_token).correct
    with pytest.raises(ValueError, match="no option 'tests'; did you mean test"):
        from_file(train, tokenizer, tests=test, **options)
    for content in ({"eos_token": "<end>"}, {"eos_token": {"content": "<end>"}}):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(content))
        assert ends_of(tmp_path) == ["<end>"]
    (tmp_path / "tokenizer_config.json").write_text("{}")
    with pytest.raises(ValueError, match="tokenizer_config.json names no eos_token"):
        ends_of(tmp_path)
