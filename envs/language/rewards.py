"""Rewards of texts: a user's Python function, called on the host from inside a compiled program.

`text_reward` makes a function of arrays out of one of texts, `(prompt, response, answer) -> number`. `math_answer` is
such a function: whether a response marks the right answer.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rlx.envs.language import answers
from rlx.envs.language.calls import Calls, check_function, check_limits, of_arrays

Reward = Callable[[Any, str, str], float]
"""`(prompt, response, answer) -> reward`; a prompt is a text, or the list of messages that a chat has."""

_LARGEST = float(np.finfo(np.float32).max)


def final_answer(text: str, *, last_number: bool = False) -> str:
    """The answer that a text marks: in the last `\\boxed{…}`, or else behind the last `####` of it, as in GSM8K.

    Equal numbers are written in one way: `#### 1,000` and `\\boxed{\\$1000.0}` give 1000, and 0.5 and `\\frac12` 1/2.

    Args:
        text: the text.
        last_number: take its last number where nothing is marked.

    Returns:
        The answer, or "" where there is none.
    """
    return answers.normal(answers.marked(text) or (answers.last_number(text) if last_number else ""))


def math_answer(prompt: str, response: str, answer: str, *, last_number: bool = False) -> float:
    """1 where the answer that a response marks is equal to the right one, else 0; `answers.equal` says when it is.

    Args:
        prompt: is not looked at.
        response: marks its answer by a box or `####`; see `final_answer`.
        answer: marks the right one, or is it as a whole.
        last_number: take the last number of a response that marks nothing, and of an answer that is a sentence.
    """
    given = answers.marked(response) or (answers.last_number(response) if last_number else "")
    if not given:
        return 0.0
    right = answers.marked(answer)
    if not right and last_number and answers.is_prose(answer):
        right = answers.last_number(answer)
    return float(answers.equal(given, right or answer))


def check_reward(function: Any) -> None:
    """Check that a reward can be called as one.

    Raises:
        ValueError: it is no function, or takes other arguments.
    """
    check_function(function, "reward", ("prompt", "response", "answer"))


def text_reward(
    function: Reward,
    pairs: Sequence[tuple[Any, str]],
    *,
    decode: Callable[[Sequence[int]], str],
    end_token: int | Sequence[int],
    read: Callable[..., tuple[Any, list[int]]] = lambda prompt, tokens, where: (prompt, tokens[where].tolist()),
    timeout: float = 5.0,
    failed: float = 0.0,
    workers: int = 1,
    answer_of: Callable[[str], str] = final_answer,
) -> Callable[..., tuple[Float[Array, ""], Int[Array, ""]]]:
    """A function of texts as one of arrays, to be jitted and vmapped; however deep, a batch is one call of the host.

    An exception, a time-out, or a result that is no finite number makes the reward `failed` and is warned of, each kind
    once; the run goes on. A response that has not ended gets `failed` without being looked at. How calls are made, and
    ended after their time, is told at the head of `rlx.envs.language.calls`.

    Args:
        function: `(prompt, response, answer) -> reward`. It is taken to be pure: a call whose result nobody uses is
            left out of the compiled program, as it is in a warm-up.
        pairs: (prompt, answer) of each problem.
        decode: from tokens to text; it gets the response without what ended it.
        end_token: what ends a response, one token or several of which any does.
        read: `(prompt, tokens [response], where [response]) -> (prompt, tokens of the response)` as the function is
            told them; of a conversation the last turn is the response, and what was said before is the prompt.
        timeout: seconds that a call may take.
        failed: the reward of a response that could not be scored.
        workers: calls at the same time. More than one is of use where the function waits, for another process or a
            server; it must then be safe to call from several threads.
        answer_of: from a response to its final answer, for majority votes; "" for none.

    Returns:
        `(index of the pair, tokens [response], where [response]) -> (reward, answer)`, the answer as a number that is
        equal for equal ones, or −1.

    Raises:
        ValueError: `function` is none that takes three texts, `timeout` is not positive or longer than a thread can
            wait, `failed` is no finite float32, or there is no worker, or more than `MAX_WORKERS`.
    """
    check_reward(function)
    check_limits(timeout, workers)
    if not abs(failed) <= _LARGEST:
        raise ValueError(f"failed must be a finite number, got {failed}")
    ends = set(np.atleast_1d(end_token).tolist())

    def judged(prompt: Any, response: str, answer: str) -> tuple[float, int]:
        # A chat may be changed by who is given it.
        reward = float(function(copy.deepcopy(prompt), response, answer))
        if not abs(reward) <= _LARGEST:
            raise ValueError(f"the reward must be a finite number, got {reward}")
        own = answer_of(response)
        return reward, zlib.crc32(own.encode()) & 0x7FFFFFFF if own else -1

    calls = Calls(
        judged,
        otherwise=(failed, -1),
        failure=f"the reward function failed, which gives {failed:g}",
        about=lambda prompt, response, answer: response,
        timeout=timeout,
        workers=workers,
    )

    def on_rows(index, tokens, where):
        responses = [read(pairs[at][0], row, real) for at, row, real in zip(index, tokens, where, strict=True)]
        ended = [row for row, (_, response) in enumerate(responses) if response and response[-1] in ends]
        reward, answer = np.full(index.size, failed, np.float32), np.full(index.size, -1, np.int32)
        texts = ((responses[row][0], decode(responses[row][1][:-1]), pairs[index[row]][1]) for row in ended)
        for row, outcome in zip(ended, calls(texts), strict=True):
            reward[row], answer[row] = outcome
        return reward, answer

    return of_arrays(on_rows, jax.ShapeDtypeStruct((), jnp.float32), jax.ShapeDtypeStruct((), jnp.int32))
