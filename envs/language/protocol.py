"""What a task of tokens is: prompts, a verifier of responses, and a solution of every problem."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key, PyTree

PAD, END = 0, 1
SPECIAL = ("<pad>", "<end>")
"""The first two tokens of every vocabulary."""

TEST_SHARE = 1 / 8
"""Share of all problems that is held out."""


class Problem(NamedTuple):
    """One problem.

    Attributes:
        prompt: tokens, padded on the left.
        where: True at real tokens.
        content: what the verifier needs.
    """

    prompt: Int[Array, " prompt"]
    where: Bool[Array, " prompt"]
    content: PyTree


class Verdict(NamedTuple):
    """What a verifier says of a response.

    Attributes:
        correct: the final answer is right, and the response has ended.
        answer: a number for the final answer, equal for equal answers; −1 where there is none.
        first_error: index of the first token of the first wrong step; the length of a response where none is wrong.
        step: number of the step of reasoning that each token belongs to; −1 outside of any.
    """

    correct: Bool[Array, ""]
    answer: Int[Array, ""]
    first_error: Int[Array, ""]
    step: Int[Array, " response"]


def no_reply(problem: Problem, tokens: Int[Array, " turn"], where: Bool[Array, " turn"], turn: int):
    """The environment of a single turn has nothing to say."""
    return jnp.zeros(0, jnp.int32), jnp.zeros(0, bool)


@dataclasses.dataclass(frozen=True, eq=False)
class TokenTask:
    """A task as pure functions of one problem, to be vmapped.

    Attributes:
        name: what it is called.
        vocabulary: text of each token; the first two are padding and the end of a turn.
        prompt_length: tokens of a prompt.
        turn_length: tokens that the policy may write in a turn.
        generate: `key -> Problem`, any problem.
        solve: `problem -> tokens [response]`, a right response, ended and padded.
        verify: `(problem, tokens [response], where [response]) -> Verdict`.
        num_turns: turns of the policy.
        reply_length: tokens that the environment appends between two of them.
        reply: `(problem, tokens [turn], where [turn], turn) -> (tokens [reply], where [reply])`, its answer to a turn,
            whose last token is real; one without a real token ends the response.
        sees_all: `reply` is given all tokens of the response so far instead of those of the last turn.
    """

    name: str
    vocabulary: tuple[str, ...]
    prompt_length: int
    turn_length: int
    generate: Callable[[Key[Array, ""]], Problem]
    solve: Callable[[Problem], Int[Array, " response"]]
    verify: Callable[[Problem, Int[Array, " response"], Bool[Array, " response"]], Verdict]
    num_turns: int = 1
    reply_length: int = 0
    reply: Callable[..., tuple[Int[Array, " reply"], Bool[Array, " reply"]]] = no_reply
    sees_all: bool = False

    pad_token = PAD
    end_token = END

    @property
    def response_length(self) -> int:
        """Tokens of a whole response: turns and the replies between them."""
        return self.num_turns * self.turn_length + (self.num_turns - 1) * self.reply_length

    def sample(self, key: Key[Array, ""], split: str = "train") -> Problem:
        """A problem of a split, "train" or "test".

        A hash of the prompt decides to which of them a problem belongs, so that they have no prompt in common
        whatever the keys.

        Raises:
            ValueError: for another split.
        """
        if split not in ("train", "test"):
            raise ValueError(f"split must be train or test, got {split!r}")

        def other(carry):
            key, _ = carry
            return is_held_out(self.generate(key).prompt) != (split == "test")

        def redraw(carry):
            key, _ = carry
            key, _ = jax.random.split(key)
            return key, ()

        key, _ = jax.lax.while_loop(other, redraw, (key, ()))
        return self.generate(key)

    def encode(self, text: str) -> list[int]:
        """Tokens of a text, each the longest that fits.

        Raises:
            ValueError: a part of the text is in no token.
        """
        by_length = sorted(range(len(self.vocabulary)), key=lambda token: -len(self.vocabulary[token]))
        tokens, position = [], 0
        while position < len(text):
            token = next((t for t in by_length if text.startswith(self.vocabulary[t], position)), None)
            if token is None:
                raise ValueError(
                    f"{self.name} has no token for {text[position:]!r}; it has {' '.join(self.vocabulary)}"
                )
            tokens.append(token)
            position += len(self.vocabulary[token])
        return tokens

    def decode(self, tokens: Sequence[int] | Array) -> str:
        """Text of tokens, without padding."""
        return "".join(self.vocabulary[int(token)] for token in tokens if int(token) != PAD)


def is_held_out(prompt: Int[Array, " prompt"]) -> Bool[Array, ""]:
    """Whether a prompt belongs to the test split: by a hash of its tokens, the same on every platform."""

    def mix(state, token):
        return (state ^ token.astype(jnp.uint32)) * jnp.uint32(16777619), None

    # FNV-1a, then the finalizer of MurmurHash3, without which similar prompts would lie close together.
    state, _ = jax.lax.scan(mix, jnp.uint32(2166136261), prompt)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        state = (state ^ (state >> shift)) * jnp.uint32(factor)
    return (state ^ (state >> 16)) < jnp.uint32(int(TEST_SHARE * 2**32))


def compact(
    tokens: Int[Array, " n"], where: Bool[Array, " n"], length: int, *, side: str = "left"
) -> Int[Array, " length"]:
    """The tokens that count, moved together to one side of an array of a given length; the rest is padding."""
    place = jnp.cumsum(where) - 1
    if side == "right":
        place = length - jnp.sum(where) + place
    return jnp.full(length, PAD, jnp.int32).at[jnp.where(where, place, length)].set(tokens, mode="drop")


def make_problem(tokens: Int[Array, " n"], where: Bool[Array, " n"], content: PyTree) -> Problem:
    """A problem whose prompt is the tokens that count."""
    prompt = compact(tokens.astype(jnp.int32), where, len(tokens), side="right")
    return Problem(prompt, prompt != PAD, content)


def has_ended(tokens: Int[Array, " n"], where: Bool[Array, " n"]) -> Bool[Array, ""]:
    """Whether the last token that counts is the end."""
    last = jnp.sum(where) - 1
    return (last >= 0) & (tokens[last] == END)


def hash_of(tokens: Int[Array, " n"], where: Bool[Array, " n"]) -> Int[Array, ""]:
    """A number for a sequence, equal for equal ones; −1 where nothing counts."""
    weight = jnp.asarray([pow(31, i, 2**32) for i in range(len(tokens))], jnp.uint32)
    place = jnp.where(where, jnp.cumsum(where) - 1, 0)
    terms = jnp.where(where, (tokens.astype(jnp.uint32) + 1) * weight[place], 0)
    value = (jnp.sum(terms, dtype=jnp.uint32) & jnp.uint32(0x7FFFFFFF)).astype(jnp.int32)
    return jnp.where(jnp.any(where), value, -1)


def against(
    solution: Int[Array, " response"],
    step: Int[Array, " response"],
    tokens: Int[Array, " response"],
    where: Bool[Array, " response"],
) -> Int[Array, ""]:
    """Index of the first token of the first step that differs from the only right way of doing it.

    Args:
        solution: the only right response, padded.
        step: number of the step that each of its tokens belongs to; −1 at padding.
        tokens: the response.
        where: True at its real tokens.
    """
    differs = jnp.where(where, tokens, PAD) != solution
    first = jnp.argmax(differs)
    begins = jnp.argmax(step == step[first])
    # What goes on after the solution's end is a step of its own.
    begins = jnp.where(step[first] < 0, first, begins)
    return jnp.where(jnp.any(differs), begins, len(solution))
