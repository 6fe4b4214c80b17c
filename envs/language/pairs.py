"""Preferences that are texts or chats: a prompt, a response that is preferred and one that is not, of a file.

task = from_file("pairs.jsonl", tokenizer, end_token="<|im_end|>", prompt_length=256, response_length=512)
task.pairs_of("train")
"""

from __future__ import annotations

import dataclasses
import functools
import os
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from rlx.envs.language import chat, files
from rlx.envs.language.option_types import check, declared
from rlx.envs.language.protocol import Problem, Verdict, hash_of
from rlx.envs.language.text import TextTask, check_shape
from rlx.envs.language.tokens import Tokens

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


def read_file(
    path: str | os.PathLike, *, folder: str | os.PathLike | None = None, chat_template: str = ""
) -> list[Preference]:
    """Reads a file of one JSON object per line, or of Parquet, each row with `prompt`, `chosen` and `rejected`.

    They are all texts or all chats. A chat is a list of messages, each with the texts `role` and `content`. `chosen`
    and `rejected` hold the assistant's turns, and may repeat the prompt's messages before them; where there is no
    `prompt`, the messages that they share are it.

    Args:
        path: the file; its name ends with .parquet where it is one.
        folder: a model in Hugging Face's format, whose chat template writes chats as texts; rows of texts need none.
        chat_template: another template, see `rlx.envs.language.chat.template`.

    Raises:
        ImportError: a row is a chat, and the library jinja2 is not installed.
        ValueError: there is no such file, it is damaged, a row lacks a text or a chat, mixes the two or has a chat that
            the template cannot write, or there is no row; the message says which.
    """
    found = []
    # A file of texts needs neither a template nor jinja2, so both wait for the first chat.
    template = functools.cache(lambda: None if folder is None else chat.template(folder, chat_template))
    for where, row in files.read_rows(path, kind="row"):
        try:
            found.append(_preference(row, template))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
    if not found:
        raise ValueError(f"{path} is empty; each of its rows must have {', '.join(KEYS)}")
    return found


def _preference(row: dict[str, Any], template: Callable[[], Callable[..., str] | None]) -> Preference:
    if chats := [key for key in KEYS if isinstance(row.get(key), list)]:
        write = template()
        if write is None:
            raise ValueError(f"{chats[0]!r} is a chat; name the folder whose chat template writes it: folder=…")
        return Preference(*chat.texts(row, write), is_chat=True)
    return Preference(*(files.text_of(row, key) for key in KEYS))


def from_texts(
    preferences: Sequence[Preference],
    tokenizer: Any,
    *,
    end_token: str | int | Sequence[str | int],
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
        preferences: as `read_file` returns them.
        tokenizer: a `tokenizers.Tokenizer`, a tokenizer of transformers, or anything with `encode(text)`,
            `decode(ids)` and a length, the number of its tokens. A prompt of texts gets the special tokens that it
            adds, unless it begins with them already; a chat has those of its template.
        end_token: text or number of the token that ends a response, or several of which any does; a response that has
            one already gets no second, which is the first of them, and blanks that a template writes behind it are cut.
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
    check_shape(prompt_length, response_length, template, test_share)
    tokens = Tokens(tokenizer)
    ends = tokens.ends(end_token)

    if test is None:
        count = max(1, round(test_share * len(preferences)))
        preferences, test = preferences[:-count], preferences[-count:]
    held_out = {row.prompt for row in test}
    rows = {"train": [row for row in preferences if row.prompt not in held_out], "test": list(test)}

    def asked(row: Preference) -> list[int]:
        text = template.replace("{prompt}", row.prompt)
        return tokens.bare(text) if row.is_chat else tokens.whole(text)

    def response(text: str) -> list[int]:
        own = tokens.bare(text)
        last = max((place for place, token in enumerate(own, 1) if token in ends), default=0)
        # Templates write a line's end behind a turn, which the policy never does: its turn is over.
        if last and not tokens.text(own[last:]).strip():
            return own[:last][:response_length]
        return [*own, ends[0]][:response_length]

    kept: dict[str, list[Preference]] = {}
    tables: dict[str, list[tuple[list[int], list[int], list[int]]]] = {}
    for split, of in rows.items():
        found = [(asked(row), response(row.chosen), response(row.rejected)) for row in of]
        fits = [at for at, row in enumerate(found) if 0 < len(row[0]) <= prompt_length and row[1] != row[2]]
        kept[split], tables[split] = [of[at] for at in fits], [found[at] for at in fits]
        if not fits:
            raise ValueError(
                f"there must be pairs to train and to test on; of {len(of)} to {split} on none has a prompt of 1 to "
                f"prompt_length={prompt_length} tokens and responses that differ within response_length="
                f"{response_length} tokens"
            )
        if left := len(of) - len(fits):
            warnings.warn(
                f"{left} of {len(of)} pairs to {split} on are left out: prompts with more than prompt_length="
                f"{prompt_length} tokens, or responses that are the same within response_length={response_length}",
                stacklevel=2,
            )
    pad = tokens.unused(ends, *(part for of in tables.values() for row in of for part in row))

    arrays = {split: _arrays(of, prompt_length, response_length, pad) for split, of in tables.items()}
    # The prompts and chosen responses of both splits, one behind the other, as constants of a program.
    prompt, where, chosen = (
        jnp.asarray(np.concatenate(parts))
        for parts in zip(*((of.prompt, of.prompt_where, of.token[:, 0]) for of in arrays.values()), strict=True)
    )
    count, total = len(tables["train"]), len(prompt)

    def problem(index: Int[Array, ""]) -> Problem:
        return Problem(prompt[index], where[index], index)

    def verify(problem: Problem, token: Int[Array, " response"], real: Bool[Array, " response"]) -> Verdict:
        correct = jnp.all(jnp.where(real, token, pad) == chosen[problem.content])
        first_error = jnp.where(correct, response_length, 0)
        return Verdict(correct, hash_of(token, real), first_error, jnp.where(real, 0, -1))

    return PairsTask(
        name=name,
        vocabulary=tuple(tokens.text([token]) for token in range(tokens.size)),
        prompt_length=prompt_length,
        turn_length=response_length,
        generate=lambda key: problem(jax.random.randint(key, (), 0, total)),
        solve=lambda problem: chosen[problem.content],
        verify=verify,
        pairs=[(row.prompt, row.chosen) for of in kept.values() for row in of],
        counts={"train": count, "test": total - count},
        row=problem,
        to_tokens=tokens.bare,
        to_text=tokens.text,
        pad_token=pad,
        end_token=ends[0],
        end_tokens=ends,
        tokens=arrays,
    )


def from_file(
    path: str | os.PathLike,
    tokenizer: Any,
    *,
    test: str | os.PathLike | None = None,
    folder: str | os.PathLike | None = None,
    chat_template: str = "",
    **options: Any,
) -> PairsTask:
    """The preferences of a file, as the command line names it.

    Args:
        path: of `read_file`.
        tokenizer: of `from_texts`.
        test: a file to test on, where there is one.
        folder: of `read_file`, for files of chats, as is `chat_template`.
        chat_template: another template than the folder's.
        **options: the others of `from_texts`; `end_token` among them.

    Raises:
        ImportError: as `read_file`.
        ValueError: there is no such option, or as these two functions.
    """
    known = declared(from_texts, without=("preferences", "tokenizer", "test", "name"))
    known |= declared(from_file, without=("path", "tokenizer", "options"))
    check(os.fspath(path), options | {"test": test, "folder": folder, "chat_template": chat_template}, known)
    read = partial(read_file, folder=folder, chat_template=chat_template)
    held_out = None if test is None else read(test)
    return from_texts(read(path), tokenizer, test=held_out, name=Path(path).stem, **options)


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
