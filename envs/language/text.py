"""Problems that are texts: pairs of a prompt and an answer, of a file or any other source, for any tokenizer.

    pairs = read_file("train.jsonl")
    task = from_texts(pairs, tokenizer, end_token="<|im_end|>", prompt_length=256, response_length=512)

Their tokens are part of the compiled program; only responses are seen by the host, where a Python function scores them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
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

from rlx.envs.language import chat, files
from rlx.envs.language.answers import marked
from rlx.envs.language.calls import named_function
from rlx.envs.language.option_types import check, declared
from rlx.envs.language.protocol import TEST_SHARE, Problem, TokenTask, no_reply
from rlx.envs.language.rewards import Reward, check_reward, final_answer, math_answer, text_reward
from rlx.envs.language.tokens import MAX_LENGTH, Tokens
from rlx.envs.language.turns import Turn, check_turns, conversation, text_replies

Pair = tuple[str | chat.Chat, str]
"""A prompt, a text or a list of messages, and what the reward function is told of its answer: a solution, a number,
cases to test a program with."""


class TextVerdict(NamedTuple):
    """What a verifier says of a response: a `Verdict`, and the reward.

    Attributes:
        correct: the reward reaches the threshold.
        answer: a number for the final answer, equal for equal answers; −1 where there is none.
        first_error: a response is one step: 0 where it is wrong, its length where it is right.
        step: number of the turn at real tokens, −1 elsewhere.
        reward: of the user's function.
    """

    correct: Bool[Array, ""]
    answer: Int[Array, ""]
    first_error: Int[Array, ""]
    step: Int[Array, " response"]
    reward: Float[Array, ""]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class TextTask(TokenTask):
    """A task of texts, whose problems are a list.

    Attributes:
        pairs: the problems: first those of the training split, then those of the test split.
        counts: how many problems each split has.
        row: `index -> Problem`, of all problems in their order.
        to_tokens: of a text.
        to_text: of tokens.
        pad_token: what fills prompts and responses up; it occurs in none of them.
        end_token: what ends a solution.
        end_tokens: what ends a response: this one, or any of several.
    """

    pairs: Sequence[Pair]
    counts: dict[str, int]
    row: Callable[[Int[Array, ""]], Problem]
    to_tokens: Callable[[str], list[int]]
    to_text: Callable[[Sequence[int]], str]
    pad_token: int
    end_token: int
    end_tokens: tuple[int, ...]

    def num_problems(self, split: str) -> int:
        """How many problems a split has, "train" or "test".

        Raises:
            ValueError: for another split.
        """
        if split not in self.counts:
            raise ValueError(f"split must be train or test, got {split!r}")
        return self.counts[split]

    def problem(self, index: Int[Array, ""], split: str = "train") -> Problem:
        """One of the problems of a split.

        Args:
            index: below `num_problems`.
            split: "train" or "test".

        Raises:
            ValueError: for another split.
        """
        return self.row(index + self._first(split))

    def sample(self, key: Key[Array, ""], split: str = "train") -> Problem:
        """A problem of a split, "train" or "test", at random.

        Raises:
            ValueError: for another split.
        """
        first, count = self._first(split), self.num_problems(split)
        return self.row(jax.random.randint(key, (), first, first + count))

    def encode(self, text: str) -> list[int]:
        """Tokens of a text."""
        return self.to_tokens(text)

    def decode(self, tokens: Sequence[int] | Array) -> str:
        """Text of tokens, without padding."""
        return self.to_text([token for token in map(int, tokens) if token != self.pad_token])

    def _first(self, split: str) -> int:
        return 0 if split == "train" else self.counts["train"]


def read_file(path: str | os.PathLike, *, prompt: str = "question", answer: str = "answer") -> list[Pair]:
    """Reads a file of one JSON object per line, or of Parquet with the same columns; the defaults are GSM8K's names.

    Args:
        path: the file; its name ends with .parquet where it is one.
        prompt: key of the prompt, a text or a chat: a list of messages, each with the texts `role` and `content`.
        answer: key of the answer, a text or a number; `reward_model.ground_truth` is a key of an object in the row.

    Raises:
        ValueError: there is no such file, it is damaged, a row lacks a key or has another value under it, or there is
            no row; the message says which.
    """
    pairs = []
    for where, row in files.read_rows(path):
        try:
            of, key = files.column(row, prompt)
            is_chat = isinstance(of.get(key), list)
            asked = chat.messages_of(key, of[key]) if is_chat else files.text_of(of, key)
            pairs.append((asked, files.text_of(*files.column(row, answer), numbers=True)))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
    if not pairs:
        raise ValueError(f"{path} is empty; each of its rows must have {prompt!r} and {answer!r}")
    return pairs


def from_texts(
    pairs: Sequence[Pair],
    tokenizer: Any,
    *,
    end_token: str | int | Sequence[str | int],
    prompt_length: int = 256,
    response_length: int = 256,
    template: str = "{prompt}",
    write: Callable[..., str] | None = None,
    reward: Reward | str = math_answer,
    threshold: float = 1.0,
    turn: Turn | str | None = None,
    num_turns: int = 4,
    reply_length: int = 128,
    reply_role: str = "user",
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
        pairs: as `read_file` returns them.
        tokenizer: a `tokenizers.Tokenizer`, a tokenizer of transformers, or anything with `encode(text)`,
            `decode(ids)` and a length, the number of its tokens. A prompt that is a text gets the special tokens that
            it adds, unless it begins with them already; a chat has those of its template.
        end_token: text or number of the token that ends a response, or several of which any does; the first of them
            ends solutions.
        prompt_length: most tokens of a prompt.
        response_length: most tokens of a response, its end included; of a conversation, most of each turn.
        template: what the policy sees, with `{prompt}` where the prompt goes: instructions, or a format of chats.
        write: the template of prompts that are chats, as `rlx.envs.language.chat.template` returns it.
        reward: `(prompt, response, answer) -> number`, or where to find it, `"module:function"`. It gets the prompt
            without the template, and the response without its end; of a conversation the policy's last turn as the
            response, and all messages before it as the prompt. The default compares what the response marks by
            `\\boxed{…}` or `####` with the answer, as mathematics.
        threshold: a reward from which on a response counts as correct.
        turn: `messages -> text`, or where to find it: what the environment replies to a turn of the policy, whose
            message is the last; None ends the conversation. Without it, a response is a single turn.
        num_turns: most turns of the policy, where there is a function that replies.
        reply_length: most tokens of a reply, with what the chat template writes around it; a longer one is cut.
        reply_role: role of the replies' messages, such as user or tool.
        test: the pairs to test on, where there are such; prompts among them are not trained on. Otherwise a hash of
            the prompt decides.
        test_share: share of the prompts that it holds out.
        timeout: seconds that a call of a function may take.
        failed: reward of a response that has not ended, or for which the function fails; see `text_reward`.
        workers: calls of a function at the same time.
        answer_of: from a response to its final answer, for majority votes.
        last_number: of a response that marks no answer, take its last number; for the default of `reward`.
        name: of the task.

    Raises:
        ValueError: a count below one, a share outside of (0, 1), a template without `{prompt}`, an end that is not one
            token, a threshold that `failed` reaches, no problem left of a split, a chat without a template for it, no
            token left for padding, replies that have no room, or `last_number` beside a reward of one's own.
    """
    check_shape(prompt_length, response_length, template, test_share)
    if not failed < threshold:
        raise ValueError(f"threshold must be above failed={failed}, got {threshold}")
    reward = named_function(reward, "reward") if isinstance(reward, str) else reward
    turn = named_function(turn, "turn") if isinstance(turn, str) else turn
    if last_number:
        if reward is not math_answer or answer_of is not final_answer:
            raise ValueError("last_number=True is of the default reward, math_answer; leave out reward and answer_of")
        reward, answer_of = partial(math_answer, last_number=True), partial(final_answer, last_number=True)
    check_reward(reward)
    if turn is not None:
        check_turns(turn, num_turns, reply_length)
    tokens = Tokens(tokenizer)
    ends = tokens.ends(end_token)

    train, test = _splits(pairs, test, test_share)
    if reward is math_answer and not any(marked(answer) for _, answer in pairs):
        warnings.warn(
            "no answer marks itself by \\boxed{…} or ####, and responses must: ask for that in template=…, or give "
            "last_number=True",
            stacklevel=2,
        )
    shown = partial(_shown, tokens=tokens, template=template, write=write)
    train, train_prompts = _fitting("training", train, shown, prompt_length)
    test, test_prompts = _fitting("test", test, shown, prompt_length)
    problems, prompts = [*train, *test], [*train_prompts, *test_prompts]
    solutions = _cut([tokens.bare(answer) + [ends[0]] for _, answer in problems], response_length)
    pad = tokens.unused(*prompts, *solutions, ends)
    prompt_table, solution_table = _Table(prompts), _Table(solutions)

    limits = {"timeout": timeout, "workers": workers}
    score = partial(text_reward, reward, problems, decode=tokens.text, end_token=ends, failed=failed, **limits)
    if turn is None:
        num_turns, reply_length, reply = 1, 0, no_reply
        score = score(answer_of=answer_of)
    else:
        is_chat = any(not isinstance(prompt, str) for prompt, _ in problems)
        talk = conversation(
            tokens,
            ends,
            pad,
            turn_length=response_length,
            reply_length=reply_length,
            role=reply_role,
            write=write if is_chat else None,
        )
        answered = text_replies(turn, [prompt for prompt, _ in problems], talk, **limits)
        reply = lambda problem, tokens, where, turn: answered(problem.content, tokens, where)
        score = score(answer_of=answer_of, read=talk.read)
    total = num_turns * response_length + (num_turns - 1) * reply_length

    def problem(index: Int[Array, ""]) -> Problem:
        prompt, where = prompt_table.row(index, prompt_length, pad, side="right")
        return Problem(prompt, where, index)

    def verify(problem: Problem, tokens: Int[Array, " response"], where: Bool[Array, " response"]) -> TextVerdict:
        reward, answer = score(problem.content, tokens, where)
        correct = reward >= threshold
        step = jnp.arange(total) // (response_length + reply_length)
        return TextVerdict(correct, answer, jnp.where(correct, total, 0), jnp.where(where, step, -1), reward)

    return TextTask(
        name=name,
        vocabulary=tuple(tokens.text([token]) for token in range(tokens.size)),
        prompt_length=prompt_length,
        turn_length=response_length,
        generate=lambda key: problem(jax.random.randint(key, (), 0, len(problems))),
        solve=lambda problem: solution_table.row(problem.content, total, pad)[0],
        verify=verify,
        num_turns=num_turns,
        reply_length=reply_length,
        reply=reply,
        sees_all=True,
        pairs=problems,
        counts={"train": len(train), "test": len(test)},
        row=problem,
        to_tokens=tokens.bare,
        to_text=tokens.text,
        pad_token=pad,
        end_token=ends[0],
        end_tokens=ends,
    )


def from_file(
    path: str | os.PathLike,
    tokenizer: Any,
    *,
    prompt: str = "question",
    answer: str = "answer",
    test: str | os.PathLike | None = None,
    folder: str | os.PathLike | None = None,
    chat_template: str = "",
    **options: Any,
) -> TextTask:
    """The task of a file, as the command line names it.

    Args:
        path: of `read_file`, as are `prompt` and `answer`.
        tokenizer: of `from_texts`.
        prompt: key of the prompt.
        answer: key of the answer.
        test: a file to test on, where there is one.
        folder: a model in Hugging Face's format, whose chat template writes prompts that are chats.
        chat_template: another template, see `rlx.envs.language.chat.template`.
        **options: the others of `from_texts`; `end_token` among them.

    Raises:
        ImportError: a prompt is a chat, and the library jinja2 is not installed.
        ValueError: there is no such option, a chat template where no prompt is a chat, or as these two functions.
    """
    known = declared(from_file, from_texts, without=("path", "pairs", "tokenizer", "options", "write", "name"))
    # Of a file's name, not of the pairs in it.
    known["test"] = declared(from_file)["test"]
    named = {"prompt": prompt, "answer": answer, "test": test, "folder": folder, "chat_template": chat_template}
    check(os.fspath(path), options | named, known)
    read = partial(read_file, prompt=prompt, answer=answer)
    pairs, held_out = read(path), None if test is None else read(test)
    write = None
    if any(not isinstance(asked, str) for asked, _ in [*pairs, *(held_out or ())]):
        if folder is not None:
            write = chat.template(folder, chat_template)
    elif chat_template:
        raise ValueError(
            f"chat_template={chat_template!r:.200} is for prompts that are lists of messages, and {path} has "
            "texts alone"
        )
    return from_texts(pairs, tokenizer, test=held_out, write=write, name=Path(path).stem, **options)


def check_shape(prompt_length: int, response_length: int, template: str, test_share: float) -> None:
    """Raises ValueError where a task of texts cannot have these options."""
    for key, count in (("prompt_length", prompt_length), ("response_length", response_length)):
        if not 1 <= count <= MAX_LENGTH:
            raise ValueError(f"{key} must lie between 1 and {MAX_LENGTH}, got {count}")
    if not 0 < test_share < 1:
        raise ValueError(f"test_share must lie between 0 and 1, got {test_share}")
    if "{prompt}" not in template:
        raise ValueError(f"template must hold {{prompt}}, got {template!r:.80}")


def _splits(pairs: Sequence[Pair], test: Sequence[Pair] | None, test_share: float) -> tuple[list[Pair], list[Pair]]:
    """The pairs to train and to test on, which have no prompt in common."""
    test = [pair for pair in pairs if _is_held_out(pair[0], test_share)] if test is None else list(test)
    held_out = {_key(prompt) for prompt, _ in test}
    train = [pair for pair in pairs if _key(pair[0]) not in held_out]
    if not train or not test:
        raise ValueError(
            f"there must be problems to train and to test on, got {len(train)} and {len(test)}; give more, or change "
            f"test_share={test_share}"
        )
    return train, test


def _shown(prompt: str | chat.Chat, *, tokens: Tokens, template: str, write: Callable[..., str] | None) -> list[int]:
    """What the policy sees of a prompt."""
    if isinstance(prompt, str):
        return tokens.whole(template.replace("{prompt}", prompt))
    if write is None:
        raise ValueError(
            f"a prompt is a chat; name the folder whose chat template writes it: folder=…; got {prompt!r:.80}"
        )
    return tokens.bare(template.replace("{prompt}", write(prompt, add_generation_prompt=True)))


def _fitting(
    kind: str, pairs: Sequence[Pair], to_tokens: Callable[[Any], list[int]], length: int
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


def _cut(solutions: list[list[int]], length: int) -> list[list[int]]:
    """Solutions without what does not fit, of which a warning tells."""
    if long := sum(len(solution) > length for solution in solutions):
        warnings.warn(
            f"{long} of {len(solutions)} answers have more than response_length={length} tokens, their end "
            f"included, up to {max(map(len, solutions))}; their solutions are cut",
            stacklevel=3,
        )
    return [solution[:length] for solution in solutions]


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


def _key(prompt: str | chat.Chat) -> str:
    """A text that is the same for equal prompts."""
    return prompt if isinstance(prompt, str) else json.dumps(prompt, sort_keys=True, default=str)


def _is_held_out(prompt: str | chat.Chat, share: float) -> bool:
    """By a hash of the prompt: it stays in its split whatever is added to the file, and so does each copy of it."""
    return int.from_bytes(hashlib.sha256(_key(prompt).encode()).digest()[:8]) < share * 2**64
