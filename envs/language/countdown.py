"""Countdown: reach a number from others by arithmetic, in any way there is."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key

from rlx.envs.language.protocol import END, SPECIAL, Problem, TokenTask, Verdict, compact, has_ended, make_problem

FAR = 10_000
"""Values of expressions end here."""


def countdown(*, numbers: int = 3, largest: int = 9, limit: int = 99) -> TokenTask:
    """Reaching a target from given numbers, each used at most once, by + − and ×, written in postfix.

    `3 8 2 :22 ` is answered by `3 8 *2 -<end>`; any expression of that value will do. An operation is a step of
    reasoning. Every target can be reached: it is made from two or more of the numbers, without leaving 0 to `limit` on
    the way; a response may leave that range.

    Args:
        numbers: how many there are.
        largest: largest of them; the smallest is 1.
        limit: largest target; every number up to it is a token.

    Raises:
        ValueError: for fewer than two numbers or more than 100, or a limit below twice the largest number or above
            `FAR`.
    """
    if not 2 <= numbers <= 100:
        raise ValueError(f"numbers must lie between 2 and 100, got {numbers}")
    if largest < 1 or not 2 * largest <= limit <= FAR:
        raise ValueError(
            f"limit must be at least twice largest ≥ 1 and at most {FAR}, got limit={limit} and largest={largest}"
        )
    vocabulary = (*SPECIAL, "+", "-", "*", ":", *(f"{i} " for i in range(limit + 1)))
    plus, colon, zero = 2, 5, 6
    length = 2 * numbers
    operate = lambda x, y: jnp.stack([x + y, x - y, x * y])

    def generate(key: Key[Array, ""]) -> Problem:
        number_key, count_key, operator_key, order_key = jax.random.split(key, 4)
        number = jax.random.randint(number_key, (numbers,), 1, largest + 1)
        count = jax.random.randint(count_key, (), 2, numbers + 1)

        def apply(value, next_one):
            x, key, counts = next_one
            results = operate(value, x)
            # Sums of small and differences of large values always fit, so that one of the three does.
            fits = (results >= 0) & (results <= limit)
            kind = jax.random.categorical(key, jnp.where(fits, 0.0, -jnp.inf))
            return jnp.where(counts, results[kind], value), kind

        keys = jax.random.split(operator_key, numbers - 1)
        target, operator = jax.lax.scan(apply, number[0], (number[1:], keys, jnp.arange(1, numbers) < count))
        shown = jax.random.permutation(order_key, number)
        tokens = jnp.concatenate([shown + zero, jnp.array([colon]), target[None] + zero])
        return make_problem(tokens, jnp.ones(numbers + 2, bool), (number, operator, count, target))

    def solve(problem: Problem) -> Int[Array, " response"]:
        number, operator, count, _ = problem.content
        used = jnp.arange(1, numbers) < count
        pairs = jnp.stack([number[1:] + zero, operator + plus], axis=1).reshape(-1)
        tokens = jnp.concatenate([number[:1] + zero, pairs, jnp.array([END])])
        where = jnp.concatenate([jnp.ones(1, bool), jnp.repeat(used, 2), jnp.ones(1, bool)])
        return compact(tokens, where, length)

    def verify(problem: Problem, tokens: Int[Array, " response"], where: Bool[Array, " response"]) -> Verdict:
        number, _, _, target = problem.content
        given = jnp.sum(number[:, None] + zero == jnp.arange(len(vocabulary)), axis=0)

        def read(carry, token_and_where):
            stack, depth, left, valid = carry
            token, counts = token_and_where
            is_number, is_operator = token >= zero, (token >= plus) & (token < colon)
            y, x = stack[jnp.maximum(depth - 1, 0)], stack[jnp.maximum(depth - 2, 0)]
            # Far out of range nothing can come back in the few operations there are, and nothing overflows.
            result = jnp.clip(operate(x, y)[jnp.clip(token - plus, 0, 2)], -FAR, FAR)
            fine = jnp.where(is_number, left[token] > 0, jnp.where(is_operator, depth >= 2, token == END))
            place = jnp.where(is_number, depth, jnp.maximum(depth - 2, 0))
            value = jnp.where(is_number, token - zero, result)
            acts = counts & fine & (is_number | is_operator)
            stack = jnp.where(acts, stack.at[place].set(value), stack)
            depth = depth + acts * jnp.where(is_number, 1, -1)
            left = jnp.where(acts & is_number, left.at[token].add(-1), left)
            valid = valid & (fine | ~counts)
            return (stack, depth, left, valid), (valid, is_operator & counts)

        start = (jnp.zeros(length + 1, jnp.int32), jnp.zeros((), jnp.int32), given, jnp.ones((), bool))
        (stack, depth, _, valid), (valid_so_far, operations) = jax.lax.scan(read, start, (tokens, where))
        whole = valid & (depth == 1) & has_ended(tokens, where)
        correct = whole & (stack[0] == target)
        done = jnp.cumsum(operations)
        step = jnp.where(where, done - operations, -1)
        broken = jnp.argmin(valid_so_far)
        # A value that is wrong, or none, shows at the end only.
        last = jnp.maximum(jnp.sum(where) - 1, 0)
        wrong = jnp.where(valid, last, jnp.argmax(step == step[broken]))
        return Verdict(
            correct=correct,
            answer=jnp.where(whole, stack[0] + FAR, -1),
            first_error=jnp.where(correct, length, wrong),
            step=step,
        )

    return TokenTask("countdown", vocabulary, numbers + 2, length, generate, solve, verify)
