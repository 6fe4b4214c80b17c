"""Putting things in order, and closing brackets: one right token after the other."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key

from rlx.envs.language.protocol import (
    END,
    PAD,
    SPECIAL,
    Problem,
    TokenTask,
    Verdict,
    against,
    has_ended,
    hash_of,
    make_problem,
)

PAIRS = ("()", "[]", "{}", "<>")


def sorting(*, length: int = 6, symbols: int = 10) -> TokenTask:
    """Sorting numbers: `4271=` is answered by `1247<end>`. A place is a step of reasoning.

    Args:
        length: most numbers; there are from two to that many, and one may come several times.
        symbols: how many different numbers there are, each a token.

    Raises:
        ValueError: for fewer than two or more than 1000 numbers or symbols.
    """
    for name, value in (("length", length), ("symbols", symbols)):
        if not 2 <= value <= 1000:
            raise ValueError(f"{name} must lie between 2 and 1000, got {value}")
    # Numbers of one digit need no space between them.
    texts = [str(i) if symbols <= 10 else f"{i} " for i in range(symbols)]
    vocabulary = (*SPECIAL, "=", *texts)
    equals, first = 2, 3

    def generate(key: Key[Array, ""]) -> Problem:
        count_key, number_key = jax.random.split(key)
        count = jax.random.randint(count_key, (), 2, length + 1)
        number = jax.random.randint(number_key, (length,), 0, symbols) + first
        tokens = jnp.append(number, equals)
        return make_problem(tokens, jnp.append(jnp.arange(length) < count, True), (number, count))

    def solve(problem: Problem) -> Int[Array, " response"]:
        number, count = problem.content
        beyond = symbols + first
        ordered = jnp.sort(jnp.where(jnp.arange(length) < count, number, beyond))
        return _ended(jnp.where(ordered == beyond, PAD, ordered))

    return TokenTask("sorting", vocabulary, length + 1, length + 1, generate, solve, _only_right_sequence(solve))


def brackets(*, length: int = 8, kinds: int = 3) -> TokenTask:
    """Closing what is open: `([{}=` is answered by `])<end>`. A bracket is a step of reasoning.

    Args:
        length: most brackets of a prompt; there are from one to that many, and at least one is open at the end.
        kinds: how many pairs of brackets there are.

    Raises:
        ValueError: for no bracket or more than 1000, or fewer than one or more than four kinds.
    """
    if not 1 <= length <= 1000:
        raise ValueError(f"length must lie between 1 and 1000, got {length}")
    if not 1 <= kinds <= len(PAIRS):
        raise ValueError(f"kinds must lie between 1 and {len(PAIRS)}, got {kinds}")
    vocabulary = (*SPECIAL, "=", *(pair[0] for pair in PAIRS[:kinds]), *(pair[1] for pair in PAIRS[:kinds]))
    equals, opening, closing = 2, 3, 3 + kinds

    def generate(key: Key[Array, ""]) -> Problem:
        count_key, walk_key = jax.random.split(key)
        count = jax.random.randint(count_key, (), 1, length + 1)

        def put(carry, index_and_key):
            stack, depth = carry
            index, key = index_and_key
            open_key, kind_key = jax.random.split(key)
            # With one bracket open and none left to come, closing it would leave nothing to answer.
            last = index == count - 1
            opens = (depth == 0) | (last & (depth == 1)) | jax.random.bernoulli(open_key, 0.6)
            kind = jax.random.randint(kind_key, (), 0, kinds)
            token = jnp.where(opens, kind + opening, stack[jnp.maximum(depth - 1, 0)] + closing)
            counts = index < count
            stack = jnp.where(opens & counts, stack.at[depth].set(kind), stack)
            return (stack, depth + counts * jnp.where(opens, 1, -1)), token

        start = (jnp.zeros(length, jnp.int32), jnp.zeros((), jnp.int32))
        (stack, depth), tokens = jax.lax.scan(put, start, (jnp.arange(length), jax.random.split(walk_key, length)))
        where = jnp.append(jnp.arange(length) < count, True)
        return make_problem(jnp.append(tokens, equals), where, (stack, depth))

    def solve(problem: Problem) -> Int[Array, " response"]:
        stack, depth = problem.content
        place = depth - 1 - jnp.arange(length)
        return _ended(jnp.where(place >= 0, stack[jnp.maximum(place, 0)] + closing, PAD))

    return TokenTask("brackets", vocabulary, length + 1, length + 1, generate, solve, _only_right_sequence(solve))


def _ended(tokens: Int[Array, " n"]) -> Int[Array, " response"]:
    """Tokens, padded on the right, with the end after the last of them."""
    tokens = jnp.append(tokens, PAD)
    return tokens.at[jnp.sum(tokens != PAD)].set(END).astype(jnp.int32)


def _only_right_sequence(solve):
    """A verifier for problems of which the solution is the only right response, each token a step."""

    def verify(problem: Problem, tokens: Int[Array, " response"], where: Bool[Array, " response"]) -> Verdict:
        right = solve(problem)
        index = jnp.arange(len(right))
        return Verdict(
            correct=jnp.all(jnp.where(where, tokens, PAD) == right),
            answer=jnp.where(has_ended(tokens, where), hash_of(tokens, where), -1),
            first_error=against(right, jnp.where(right == PAD, -1, index), tokens, where),
            step=jnp.where(where, index, -1),
        )

    return verify
