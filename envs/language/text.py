"""Problems that are texts: pairs of a prompt and an answer, of a JSONL file or any other source, for any tokenizer.

    pairs = read_jsonl("train.jsonl")
    task = from_texts(pairs, tokenizer, end_token="<|im_end|>", prompt_length=256, response_length=512)

Their tokens are part of the compiled program; only responses are seen by the host, where a Python function scores them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from rlx.envs.language import files
from rlx.envs.language.answers import marked
from rlx.envs.language.option_types import check, declared
from rlx.envs.language.protocol import TEST_SHARE, Problem, TokenTask
from rlx.envs.language.rewards import Reward, check_reward, final_answer, math_answer, named_reward, text_reward
from rlx.envs.language.tokens import Tokens

MAX_LENGTH = 2**20
"""Most tokens of a prompt, and of a response: more than any model was made for."""

Pair = tuple[str, str]
"""A prompt and what the reward function is told of its answer: a solution, a number, cases to test a program with."""


class TextVerdict(NamedTuple):
    """What a verifier says of a response: a `Verdict`, and the reward.

    Attributes:
        correct: the reward reaches the threshold.
        answer: a number for the final answer, equal for equal answers; −1 where there is none.
        first_error: a response is one step: 0 where it is wrong, its length where it is right.
        step: 0 at real tokens, −1 elsewhere.
        reward: of the user's function.
    """

    correct: Bool[Array, ""]
    answer: Int[Array, ""]
    first_error: Int[Array, ""]
    step: Int[Array, " response"]
    reward: Float[Array, ""]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class TextTask(TokenTask):
    """A task of texts, whose problems are drawn from a list.

    Attributes:
        pairs: the problems: first those of the training split, then those of the test split.
        splits: `key -> Problem` of each split.
        to_tokens: of a text.
        to_text: of tokens.
        pad_token: what fills prompts and responses up; it occurs in none of them.
        end_token: what ends a response.
    """

    pairs: Sequence[Pair]
    splits: dict[str, Callable[[Key[Array, ""]], Problem]]
    to_tokens: Callable[[str], list[int]]
    to_text: Callable[[Sequence[int]], str]
    pad_token: int
    end_token: int

    def sample(self, key: Key[Array, ""], split: str = "train") -> Problem:
        """A problem of a split, "train" or "test".

        Raises:
            ValueError: for another split.
        """
        if split not in self.splits:
            raise ValueError(f"split must be train or test, got {split!r}")
        return self.splits[split](key)

    def encode(self, text: str) -> list[int]:
        """Tokens of a text."""
        return self.to_tokens(text)

    def decode(self, tokens: Sequence[int] | Array) -> str:
        """Text of tokens, without padding."""
        return self.to_text([token for token in map(int, tokens) if token != self.pad_token])


def read_jsonl(path: str | os.PathLike, *, prompt: str = "question", answer: str = "answer") -> list[Pair]:
    """Reads a file of one JSON object per line; the defaults are GSM8K's names.

    Args:
        path: the file.
        prompt: key of the prompt.
        answer: key of the answer, a text or a number.

    Raises:
        ValueError: there is no such file, a line is no JSON object, lacks a key or has a value under it that is no
            text, or there is no line; the message says which.
    """
    pairs = []
    for where, row in files.read_rows(path):
        try:
            pairs.append((files.text_of(row, prompt), files.text_of(row, answer, numbers=True)))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
    if not pairs:
        raise ValueError(f"{path} is empty; it must hold a JSON object with {prompt!r} and {answer!r} on each line")
    return pairs


def end_of(folder: str | os.PathLike) -> str:
    """The token by which a model in Hugging Face's format ends its turn, as its tokenizer_config.json says.

    Raises:
        ValueError: there is no such file, or it does not say.
    """
    file = Path(folder) / "tokenizer_config.json"
    token = files.read_object(file).get("eos_token")
    token = token.get("content") if isinstance(token, dict) else token
    if not isinstance(token, str) or not token:
        raise ValueError(f"{file} names no eos_token; say by which token a response ends: end_token=…")
    return token


def from_texts(
    pairs: Sequence[Pair],
    tokenizer: Any,
    *,
    end_token: str | int,
    prompt_length: int = 256,
    response_length: int = 256,
    template: str = "{prompt}",
    reward: Reward | str = math_answer,
    threshold: float = 1.0,
    test: Sequence[Pair] | None = None,
    test_share: float = TEST_SHARE,
    timeout: float = 5.0,
    failed: float = 0.0,
    workers: int = 1,
    answer_of: Callable[[str], str] = final_answer,
    last_number: bool = False,
    name: str = "text",
) -> TextTask:
    """A task of pairs of a prompt and an answer.

    A prompt that does not fit is left out, since a part of it would be another problem, and a warning counts them. An
    answer that does not fit stays: responses can be shorter than it. Its solution is cut and has no end, so that a
    warm-up imitates its beginning. No prompt is both trained and tested on.

    Args:
        pairs: as `read_jsonl` returns them.
        tokenizer: a `tokenizers.Tokenizer`, a tokenizer of transformers, or anything with `encode(text)`,
            `decode(ids)` and a length, the number of its tokens. A prompt gets the special tokens that it adds.
        end_token: text or number of the token that ends a response.
        prompt_length: most tokens of a prompt.
        response_length: most tokens of a response, its end included.
        template: what the policy sees, with `{prompt}` where the prompt goes: instructions, or a format of chats.
        reward: `(prompt, response, answer) -> number`, or where to find it, `"module:function"`. It gets the prompt
            without the template, and the response without its end. The default compares what the response marks by
            `\\boxed{…}` or `####` with the answer, as mathematics.
        threshold: a reward from which on a response counts as correct.
        test: the pairs to test on, where there are such; prompts among them are not trained on. Otherwise a hash of
            the prompt decides.
        test_share: share of the prompts that it holds out.
        timeout: seconds that a call of the reward function may take.
        failed: reward of a response that has not ended, or for which the function fails; see `text_reward`.
        workers: calls of the function at the same time.
        answer_of: from a response to its final answer, for majority votes.
        last_number: of a response that marks no answer, take its last number; for the default of `reward`.
        name: of the task.

    Raises:
        ValueError: a count below one, a share outside of (0, 1), a template without `{prompt}`, an end that is not one
            token, a threshold that `failed` reaches, no problem left of a split, no token left for padding, or
            `last_number` beside a reward of one's own.
    """
    check_shape(prompt_length, response_length, template, test_share)
    if not failed < threshold:
        raise ValueError(f"threshold must be above failed={failed}, got {threshold}")
    reward = named_reward(reward) if isinstance(reward, str) else reward
    if last_number:
        if reward is not math_answer or answer_of is not final_answer:
            raise ValueError("last_number=True is of the default reward, math_answer; leave out reward and answer_of")
        reward, answer_of = partial(math_answer, last_number=True), partial(final_answer, last_number=True)
    check_reward(reward)
    tokens = Tokens(tokenizer)
    end = tokens.end(end_token)

    test = [pair for pair in pairs if _is_held_out(pair[0], test_share)] if test is None else list(test)
    held_out = {prompt for prompt, _ in test}
    train = [pair for pair in pairs if pair[0] not in held_out]
    if reward is math_answer and not any(marked(answer) for _, answer in pairs):
        warnings.warn(
            "no answer marks itself by \\boxed{…} or ####, and responses must: ask for that in template=…, or give "
            "last_number=True",
            stacklevel=2,
        )
    if not train or not test:
        raise ValueError(
            f"there must be problems to train and to test on, got {len(train)} and {len(test)}; give more, or change "
            f"test_share={test_share}"
        )
    shown = lambda prompt: tokens.whole(template.replace("{prompt}", prompt))
    train, train_prompts = _fitting("training", train, shown, prompt_length)
    test, test_prompts = _fitting("test", test, shown, prompt_length)
    problems, prompts = [*train, *test], [*train_prompts, *test_prompts]
    solutions = [tokens.bare(answer) + [end] for _, answer in problems]
    if long := sum(len(solution) > response_length for solution in solutions):
        warnings.warn(
            f"{long} of {len(solutions)} answers have more than response_length={response_length} tokens, their end "
            f"included, up to {max(map(len, solutions))}; their solutions are cut",
            stacklevel=2,
        )
    solutions = [solution[:response_length] for solution in solutions]
    # Whatever no text holds can fill up, since masks tell what is real; the last tokens are the least common.
    used = {token for ids in (*prompts, *solutions, [end]) for token in ids}
    pad = next((token for token in reversed(range(tokens.size)) if token not in used), None)
    if pad is None:
        raise ValueError(
            f"all of the tokenizer's {tokens.size} tokens occur in the texts; it needs one more for padding"
        )

    prompt_table, solution_table = _Table(prompts), _Table(solutions)
    score = text_reward(
        reward,
        problems,
        decode=tokens.text,
        end_token=end,
        timeout=timeout,
        failed=failed,
        workers=workers,
        answer_of=answer_of,
    )

    def problem(index: Int[Array, ""]) -> Problem:
        prompt, where = prompt_table.row(index, prompt_length, pad, side="right")
        return Problem(prompt, where, index)

    def draw(first: int, last: int) -> Callable[[Key[Array, ""]], Problem]:
        return lambda key: problem(jax.random.randint(key, (), first, last))

    def verify(problem: Problem, tokens: Int[Array, " response"], where: Bool[Array, " response"]) -> TextVerdict:
        reward, answer = score(problem.content, tokens, where)
        correct = reward >= threshold
        first_error = jnp.where(correct, response_length, 0)
        return TextVerdict(correct, answer, first_error, jnp.where(where, 0, -1), reward)

    return TextTask(
        name=name,
        vocabulary=tuple(tokens.text([token]) for token in range(tokens.size)),
        prompt_length=prompt_length,
        turn_length=response_length,
        generate=draw(0, len(problems)),
        solve=lambda problem: solution_table.row(problem.content, response_length, pad)[0],
        verify=verify,
        pairs=problems,
        splits={"train": draw(0, len(train)), "test": draw(len(train), len(problems))},
        to_tokens=tokens.bare,
        to_text=tokens.text,
        pad_token=pad,
        end_token=end,
    )


def from_jsonl(
    path: str | os.PathLike,
    tokenizer: Any,
    *,
    prompt: str = "question",
    answer: str = "answer",
    test: str | os.PathLike | None = None,
    **options: Any,
) -> TextTask:
    """The task of a file, as the command line names it.

    Args:
        path: of `read_jsonl`, as are `prompt` and `answer`.
        tokenizer: of `from_texts`.
        prompt: key of the prompt.
        answer: key of the answer.
        test: a file to test on, where there is one.
        **options: the others of `from_texts`; `end_token` among them.

    Raises:
        ValueError: there is no such option, or as these two functions.
    """
    known = declared(from_jsonl, from_texts, without=("path", "pairs", "tokenizer", "options", "name"))
    # Of a file's name, not of the pairs in it.
    known["test"] = declared(from_jsonl)["test"]
    check(os.fspath(path), options | {"prompt": prompt, "answer": answer, "test": test}, known)
    read = partial(read_jsonl, prompt=prompt, answer=answer)
    held_out = None if test is None else read(test)
    return from_texts(read(path), tokenizer, test=held_out, name=Path(path).stem, **options)


def check_shape(prompt_length: int, response_length: int, template: str, test_share: float) -> None:
    """Raises ValueError where a task of texts cannot have these options."""
    for key, count in (("prompt_length", prompt_length), ("response_length", response_length)):
        if not 1 <= count <= MAX_LENGTH:
            raise ValueError(f"{key} must lie between 1 and {MAX_LENGTH}, got {count}")
    if not 0 < test_share < 1:
        raise ValueError(f"test_share must lie between 0 and 1, got {test_share}")
    if "{prompt}" not in template:
        raise ValueError(f"template must hold {{prompt}}, got {template!r:.80}")


def _fitting(
    kind: str, pairs: Sequence[Pair], to_tokens: Callable[[str], list[int]], length: int
) -> tuple[list[Pair], list[list[int]]]:
    """The pairs whose prompts have at most `length` tokens, and those tokens."""
    tokens = [to_tokens(prompt) for prompt, _ in pairs]
    if [] in tokens:
        raise ValueError(f"a prompt must have at least one token, got {pairs[tokens.index([])]}")
    longest = max(map(len, tokens))
    fits = [row for row, ids in enumerate(tokens) if len(ids) <= length]
    if not fits:
        raise ValueError(
            f"prompt_length={length} leaves none of {len(pairs)} {kind} problems: their prompts have "
            f"{min(map(len, tokens))} to {longest} tokens"
        )
    if len(fits) < len(pairs):
        warnings.warn(
            f"{len(pairs) - len(fits)} of {len(pairs)} {kind} problems are left out: their prompts have more than "
            f"prompt_length={length} tokens, up to {longest}",
            stacklevel=3,
        )
    return [pairs[row] for row in fits], [tokens[row] for row in fits]


class _Table:
    """Rows of different lengths, one behind the other: padded ones would be a constant many times as large."""

    def __init__(self, rows: Sequence[Sequence[int]]):
        self.tokens = jnp.asarray(np.concatenate([np.asarray(row, np.int32) for row in rows]))
        self.begin = jnp.asarray(np.cumsum([0, *map(len, rows)]), jnp.int32)

    def row(
        self, index: Int[Array, ""], length: int, pad: int, *, side: str = "left"
    ) -> tuple[Int[Array, " length"], Bool[Array, " length"]]:
        """A row on one side of an array, and where it is."""
        count = self.begin[index + 1] - self.begin[index]
        place = jnp.arange(length) - (length - count if side == "right" else 0)
        where = (place >= 0) & (place < count)
        return jnp.where(where, self.tokens[self.begin[index] + place], pad), where


def _is_held_out(prompt: str, share: float) -> bool:
    """By a hash of the prompt: it stays in its split whatever is added to the file, and so does each copy of it."""
    return int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:8]) < share * 2**64
