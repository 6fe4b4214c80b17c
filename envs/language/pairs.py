"""Preferences that are texts or chats: a prompt, a response that is preferred and one that is not, of a JSONL file.

task = from_jsonl("pairs.jsonl", tokenizer, end_token="<|im_end|>", prompt_length=256, response_length=512)
task.pairs_of("train")
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
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
from jaxtyping import Array, Bool, Int, Key

from rlx.envs.language import chat
from rlx.envs.language.protocol import Problem, Verdict, hash_of
from rlx.envs.language.text import TextTask
from rlx.envs.registry import nearest

KEYS = ("prompt", "chosen", "rejected")


class Preference(NamedTuple):
    """Texts: a prompt, the response that is preferred, and one that is not.

    Attributes:
        prompt: what the policy is asked.
        chosen: the better response.
        rejected: the worse one.
        is_chat: a chat template wrote them: the prompt has all special tokens that it shall have.
    """

    prompt: str
    chosen: str
    rejected: str
    is_chat: bool = False


class TokenPairs(NamedTuple):
    """Preferences as tokens.

    Attributes:
        prompt: padded on the left.
        prompt_where: True at real tokens.
        token: of the chosen response and of the rejected one, padded on the right.
        where: True at real tokens.
    """

    prompt: Int[np.ndarray, "pair prompt"]
    prompt_where: Bool[np.ndarray, "pair prompt"]
    token: Int[np.ndarray, "pair 2 response"]
    where: Bool[np.ndarray, "pair 2 response"]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PairsTask(TextTask):
    """Prompts of preferences. No verifier knows what else is good: right is the chosen response alone, word for word.

    Attributes:
        tokens: the preferences of each split, "train" and "test".
    """

    tokens: dict[str, TokenPairs]

    def pairs_of(self, split: str) -> TokenPairs:
        """The preferences of a split, "train" or "test"."""
        return self.tokens[split]


def read_jsonl(path: str | os.PathLike, *, folder: str | os.PathLike | None = None) -> list[Preference]:
    """Reads a file of one JSON object per line, each with `prompt`, `chosen` and `rejected`, all texts or all chats.

    A chat is a list of messages, each with the texts `role` and `content`. `chosen` and `rejected` hold the assistant's
    turns, and may repeat the prompt's messages before them; where there is no `prompt`, the messages that they share
    are it.

    Args:
        path: the file.
        folder: a model in Hugging Face's format, whose chat template writes chats as texts; rows of texts need none.

    Raises:
        ImportError: a row is a chat, and the library jinja2 is not installed.
        ValueError: a line is no JSON object, lacks a text or a chat, mixes the two or has a chat that the template
            cannot write, or there is no line; the message says which row.
    """
    found = []
    # A file of texts needs neither a template nor jinja2, so both wait for the first chat.
    template = functools.cache(lambda: None if folder is None else chat.template(folder))
    # Bytes: a text file would also break lines at characters that may stand within JSON's strings.
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                found.append(_preference(line, f"{path}, row {number}", template))
    if not found:
        raise ValueError(f"{path} is empty; it must hold a JSON object with {', '.join(KEYS)} on each line")
    return found


def _preference(line: bytes, where: str, template: Callable[[], Callable[..., str] | None]) -> Preference:
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{where}: each row must be a JSON object: {error}") from error
    if not isinstance(row, dict):
        raise ValueError(f"{where}: each row must be a JSON object, got {row!r:.80}")
    if chats := [key for key in KEYS if isinstance(row.get(key), list)]:
        try:
            write = template()
            if write is None:
                raise ValueError(f"{chats[0]!r} is a chat; name the folder whose chat template writes it: folder=…")
            return Preference(*chat.texts(row, write), is_chat=True)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
    for key in KEYS:
        if key not in row:
            raise ValueError(f"{where}: no {key!r}; {nearest(key, row)}")
        if not isinstance(row[key], str):
            raise ValueError(f"{where}: {key!r} must be a text, got {row[key]!r:.80}")
    return Preference(*(row[key] for key in KEYS))


def from_texts(
    preferences: Sequence[Preference],
    tokenizer: Any,
    *,
    end_token: str | int,
    prompt_length: int = 256,
    response_length: int = 256,
    template: str = "{prompt}",
    test: Sequence[Preference] | None = None,
    test_share: float = 0.1,
    name: str = "pairs",
) -> PairsTask:
    """Preferences as tokens, and a task of their prompts, whose solutions are the chosen responses.

    A pair whose prompt does not fit is left out, and so is one whose responses no longer differ once they are cut to
    what fits; a warning counts them. No prompt is both trained and tested on.

    Args:
        preferences: as `read_jsonl` returns them.
        tokenizer: a `tokenizers.Tokenizer`, a tokenizer of transformers, or anything with `encode(text)`,
            `decode(ids)` and a length, the number of its tokens. A prompt of texts gets the special tokens that it
            adds, unless it begins with them already; a chat has those of its template.
        end_token: text or number of the token that ends a response; one that has it already gets no second, and blanks
            that a template writes behind it are cut.
        prompt_length: most tokens of a prompt.
        response_length: most tokens of a response, its end included; longer ones are cut and have no end.
        template: what the policy sees, with `{prompt}` where the prompt goes.
        test: the preferences to test on, where there are such; otherwise the last ones.
        test_share: their share.
        name: of the task.

    Raises:
        ValueError: a count below one, a share outside of (0, 1), a template without `{prompt}`, an end that is not one
            token, no pair left of a split, or no token left for padding.
    """
    for key, count in (("prompt_length", prompt_length), ("response_length", response_length)):
        if count < 1:
            raise ValueError(f"{key} must be at least 1, got {count}")
    if not 0 < test_share < 1:
        raise ValueError(f"test_share must lie between 0 and 1, got {test_share}")
    if "{prompt}" not in template:
        raise ValueError(f"template must hold {{prompt}}, got {template!r}")
    size = tokenizer.get_vocab_size() if hasattr(tokenizer, "get_vocab_size") else len(tokenizer)
    ids = lambda encoded: list(getattr(encoded, "ids", encoded))
    has_choice = "add_special_tokens" in inspect.signature(tokenizer.encode).parameters
    bare = {"add_special_tokens": False} if has_choice else {}
    to_tokens = lambda text: ids(tokenizer.encode(text, **bare))
    to_text = lambda tokens: tokenizer.decode([token for token in tokens if token < size])
    end = to_tokens(end_token) if isinstance(end_token, str) else [end_token]
    if len(end) != 1 or not 0 <= end[0] < size:
        raise ValueError(f"end_token must be one of the tokenizer's {size} tokens, got {end_token!r}, which is {end}")

    if test is None:
        count = max(1, round(test_share * len(preferences)))
        preferences, test = preferences[:-count], preferences[-count:]
    held_out = {row.prompt for row in test}
    rows = {"train": [row for row in preferences if row.prompt not in held_out], "test": list(test)}

    def asked(row: Preference) -> list[int]:
        text = template.replace("{prompt}", row.prompt)
        own, full = to_tokens(text), ids(tokenizer.encode(text))
        if row.is_chat:
            return own
        # A text that a chat template wrote may begin with the token that the tokenizer puts in front of all.
        added = next((n for n in range(len(full)) if full[n : n + len(own)] == own), 0)
        return full[added:] if own[:added] == full[:added] else full

    def response(text: str) -> list[int]:
        tokens = to_tokens(text)
        last = len(tokens) - tokens[::-1].index(end[0]) if end[0] in tokens else 0
        # Templates write a line's end behind a turn, which the policy never does: its turn is over.
        if last and not to_text(tokens[last:]).strip():
            return tokens[:last][:response_length]
        return (tokens + end)[:response_length]

    tokens: dict[str, list[tuple[list[int], list[int], list[int]]]] = {}
    for split, of in rows.items():
        found = [(asked(row), response(row.chosen), response(row.rejected)) for row in of]
        tokens[split] = [row for row in found if 0 < len(row[0]) <= prompt_length and row[1] != row[2]]
        if not tokens[split]:
            raise ValueError(
                f"there must be pairs to train and to test on; of {len(of)} to {split} on none has a prompt of 1 to "
                f"prompt_length={prompt_length} tokens and responses that differ within response_length="
                f"{response_length} tokens"
            )
        if left := len(of) - len(tokens[split]):
            warnings.warn(
                f"{left} of {len(of)} pairs to {split} on are left out: prompts with more than prompt_length="
                f"{prompt_length} tokens, or responses that are the same within response_length={response_length}",
                stacklevel=2,
            )
    # Whatever no text holds can fill up, since masks tell what is real; the last tokens are the least common.
    used = {token for of in tokens.values() for row in of for part in row for token in part}
    pad = next((token for token in reversed(range(size)) if token not in used and token != end[0]), None)
    if pad is None:
        raise ValueError(f"all of the tokenizer's {size} tokens occur in the texts; it needs one more for padding")

    arrays = {split: _arrays(of, prompt_length, response_length, pad) for split, of in tokens.items()}
    # The prompts and chosen responses of both splits, one behind the other, as constants of a program.
    prompt, where, chosen = (
        jnp.asarray(np.concatenate(parts))
        for parts in zip(*((of.prompt, of.prompt_where, of.token[:, 0]) for of in arrays.values()), strict=True)
    )
    count, total = len(tokens["train"]), len(prompt)

    def drawn(first: int, last: int, key: Key[Array, ""]) -> Problem:
        index = jax.random.randint(key, (), first, last)
        return Problem(prompt[index], where[index], index)

    def verify(problem: Problem, tokens: Int[Array, " response"], real: Bool[Array, " response"]) -> Verdict:
        correct = jnp.all(jnp.where(real, tokens, pad) == chosen[problem.content])
        first_error = jnp.where(correct, response_length, 0)
        return Verdict(correct, hash_of(tokens, real), first_error, jnp.where(real, 0, -1))

    return PairsTask(
        name=name,
        vocabulary=tuple(to_text([token]) for token in range(size)),
        prompt_length=prompt_length,
        turn_length=response_length,
        generate=partial(drawn, 0, total),
        solve=lambda problem: chosen[problem.content],
        verify=verify,
        pairs=[(row.prompt, row.chosen) for of in rows.values() for row in of],
        splits={"train": partial(drawn, 0, count), "test": partial(drawn, count, total)},
        to_tokens=to_tokens,
        to_text=to_text,
        pad_token=pad,
        end_token=end[0],
        tokens=arrays,
    )


def from_jsonl(
    path: str | os.PathLike,
    tokenizer: Any,
    *,
    test: str | os.PathLike | None = None,
    folder: str | os.PathLike | None = None,
    **options: Any,
) -> PairsTask:
    """The preferences of a file, as the command line names it.

    Args:
        path: of `read_jsonl`.
        tokenizer: of `from_texts`.
        test: a file to test on, where there is one.
        folder: of `read_jsonl`, for files of chats.
        **options: the others of `from_texts`; `end_token` among them.

    Raises:
        ImportError: as `read_jsonl`.
        ValueError: there is no such option, or as these two functions.
    """
    known = [key for key in inspect.signature(from_texts).parameters if key not in ("preferences", "tokenizer", "name")]
    for key in options:
        if key not in known:
            raise ValueError(f"{path} has no option {key!r}; {nearest(key, known)}")
    held_out = None if test is None else read_jsonl(test, folder=folder)
    return from_texts(read_jsonl(path, folder=folder), tokenizer, test=held_out, name=Path(path).stem, **options)


def _arrays(
    rows: Sequence[tuple[list[int], list[int], list[int]]], prompt_length: int, response_length: int, pad: int
) -> TokenPairs:
    prompt = np.full((len(rows), prompt_length), pad, np.int32)
    token = np.full((len(rows), 2, response_length), pad, np.int32)
    for row, (asked, *responses) in enumerate(rows):
        prompt[row, prompt_length - len(asked) :] = asked
        for number, response in enumerate(responses):
            token[row, number, : len(response)] = response
    return TokenPairs(prompt, prompt != pad, token, token != pad)
