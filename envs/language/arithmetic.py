"""Sums: of two numbers by hand, column by column, and of several modulo a number, one after the other."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key

from rlx.envs.language.protocol import (
    END,
    PAD,
    SPECIAL,
    Problem,
    TokenTask,
    Verdict,
    against,
    compact,
    has_ended,
    hash_of,
    make_problem,
)


def addition(*, digits: int = 3, carries: bool = True, forgetful: float = 0.0) -> TokenTask:
    """Adding two numbers as it is taught: sum and carry of each column from the right, then the result.

    `95+8=` is answered by `31`, `01` (5 + 8 is 3, carry 1; 9 + 0 + 1 is 0, carry 1), `;103<end>`. A column is a step of
    reasoning, and the result is the last one. Right is what has the right result after the last `;`.

    Args:
        digits: most digits of a number; both have from one to that many.
        carries: write out the columns; otherwise the response is the result alone.
        forgetful: share of the problems whose solution, as `solve` gives it, forgets every carry. A policy that is
            warmed up on these errs as they do, and has the right answer from the verifier alone.

    Raises:
        ValueError: for fewer than one digit, or more than eight; for a share outside of [0, 1].
    """
    if not 1 <= digits <= 8:
        raise ValueError(f"digits must lie between 1 and 8, got {digits}")
    if not 0 <= forgetful <= 1:
        raise ValueError(f"forgetful must lie between 0 and 1, got {forgetful}")
    vocabulary = (*SPECIAL, *"0123456789", "+", "=", ";")
    zero, plus, equals, then = (vocabulary.index(text) for text in ("0", "+", "=", ";"))
    powers = jnp.asarray(10 ** np.arange(digits + 1), jnp.int32)
    prompt_length, length = 2 * digits + 2, (2 * digits + 1) * carries + digits + 2

    def number(key: Key[Array, ""]) -> Int[Array, ""]:
        size_key, digit_key = jax.random.split(key)
        size = jax.random.randint(size_key, (), 1, digits + 1)
        # No leading zeros, but 0 itself is a number.
        low = jnp.where(size == 1, 0, powers[size - 1])
        return jax.random.randint(digit_key, (), low, powers[size])

    def written(value: Int[Array, ""], room: int) -> tuple[Int[Array, " room"], Bool[Array, " room"]]:
        """Digits of a number, the most significant first, and where they are not leading zeros."""
        place = powers[:room][::-1]
        return value // place % 10 + zero, (value >= place) | (place == 1)

    def generate(key: Key[Array, ""]) -> Problem:
        a, b = jax.vmap(number)(jax.random.split(key))
        (a_digits, a_where), (b_digits, b_where) = written(a, digits), written(b, digits)
        symbol, always = lambda token: jnp.array([token]), jnp.ones(1, bool)
        tokens = jnp.concatenate([a_digits, symbol(plus), b_digits, symbol(equals)])
        return make_problem(tokens, jnp.concatenate([a_where, always, b_where, always]), (a, b))

    def solution(
        problem: Problem, carrying: Bool[Array, ""] | bool = True
    ) -> tuple[Int[Array, " response"], Int[Array, " response"]]:
        a, b = problem.content
        column_sum = a // powers[:-1] % 10 + b // powers[:-1] % 10
        total = jnp.where(carrying, a + b, jnp.sum(column_sum % 10 * powers[:-1]))
        result, result_where = written(total, digits + 1)
        tokens, where, step = [], [], []
        if carries:
            below = powers[1:]
            carry = (a % below + b % below) // below * carrying
            carried = jnp.concatenate([jnp.zeros(1, jnp.int32), carry[:-1]])
            columns = jnp.stack([(column_sum + carried) % 10, carry], axis=1) + zero
            used = jnp.maximum(a, b) >= powers[:-1]
            used = used.at[0].set(True)
            tokens += [columns.reshape(-1), jnp.array([then])]
            where += [jnp.repeat(used, 2), jnp.ones(1, bool)]
            step += [jnp.repeat(jnp.arange(digits), 2), jnp.array([digits])]
        tokens += [result, jnp.array([END])]
        where += [result_where, jnp.ones(1, bool)]
        step += [jnp.full(digits + 2, digits)]
        where = jnp.concatenate(where)
        place = lambda x: compact(jnp.concatenate(x), where, length)
        filled = jnp.arange(length) < jnp.sum(where)
        return place(tokens), jnp.where(filled, place(step), -1)

    def verify(problem: Problem, tokens: Int[Array, " response"], where: Bool[Array, " response"]) -> Verdict:
        right, step = solution(problem)
        index = jnp.arange(length)
        begin = jnp.max(jnp.where(where & (tokens == then), index + 1, 0)) if carries else 0
        part = where & (index >= begin) & (tokens != END)
        # Without a `;` there is no result, only columns.
        part = part & ((begin > 0) | (not carries))
        a, b = problem.content
        result = compact(*written(a + b, digits + 1), length)
        same = jnp.all(compact(tokens, part, length) == result)
        in_result = (jnp.cumsum(tokens == then) > 0) | (not carries)
        own_step = jnp.where(in_result, digits, jnp.minimum(index // 2, digits - 1))
        return Verdict(
            correct=same & has_ended(tokens, where),
            answer=hash_of(tokens, part),
            first_error=against(right, step, tokens, where),
            step=jnp.where(where, own_step, -1),
        )

    def solve(problem: Problem) -> Int[Array, " response"]:
        a, b = problem.content
        # By lot, but always the same for a problem.
        drawn = jax.random.uniform(jax.random.fold_in(jax.random.fold_in(jax.random.key(0), a), b))
        return solution(problem, drawn >= forgetful)[0]

    return TokenTask("addition", vocabulary, prompt_length, length, generate, solve, verify)


def modular_arithmetic(*, terms: int = 4, modulus: int = 11, steps: bool = True) -> TokenTask:
    """Sums, differences and products modulo a number, taken from left to right, every intermediate result written.

    With modulus 11, `3+9*2=` is answered by `1,2<end>`: 3 + 9 is 1, times 2 is 2. An intermediate result is a step of
    reasoning. Right is what ends in the right number.

    Args:
        terms: most numbers of a problem; there are from two to that many.
        modulus: of the arithmetic; every number below it is a token.
        steps: write the intermediate results; otherwise the response is the last one alone.

    Raises:
        ValueError: for fewer than two terms or more than 1000, or a modulus below 2 or above 1000.
    """
    if not 2 <= terms <= 1000:
        raise ValueError(f"terms must lie between 2 and 1000, got {terms}")
    if not 2 <= modulus <= 1000:
        raise ValueError(f"modulus must lie between 2 and 1000, got {modulus}")
    vocabulary = (*SPECIAL, "+", "-", "*", "=", ",", *map(str, range(modulus)))
    plus, equals, comma, zero = (vocabulary.index(text) for text in ("+", "=", ",", "0"))
    prompt_length, length = 2 * terms, 2 * (terms - 1) if steps else 2

    def generate(key: Key[Array, ""]) -> Problem:
        count_key, number_key, operator_key = jax.random.split(key, 3)
        count = jax.random.randint(count_key, (), 2, terms + 1)
        number = jax.random.randint(number_key, (terms,), 0, modulus)
        operator = jax.random.randint(operator_key, (terms - 1,), 0, 3)
        symbols = jnp.concatenate([operator + plus, jnp.array([equals])])
        symbols = jnp.where(jnp.arange(terms) == count - 1, equals, symbols)
        tokens = jnp.stack([number + zero, symbols], axis=1).reshape(-1)
        return make_problem(tokens, jnp.repeat(jnp.arange(terms) < count, 2), (number, operator, count))

    def results(problem: Problem) -> tuple[Int[Array, " step"], Int[Array, ""]]:
        """Intermediate results, of which the first count − 1 are meant, and the last of those."""
        number, operator, count = problem.content

        def apply(value, next_one):
            x, kind = next_one
            value = jnp.stack([value + x, value - x, value * x])[kind] % modulus
            return value, value

        _, values = jax.lax.scan(apply, number[0], (number[1:], operator))
        return values, values[count - 2]

    def solve(problem: Problem) -> Int[Array, " response"]:
        values, last = results(problem)
        if not steps:
            return jnp.stack([last + zero, jnp.asarray(END)]).astype(jnp.int32)
        place, count = jnp.arange(terms - 1), problem.content[2]
        after = jnp.where(place == count - 2, END, comma)
        tokens = jnp.stack([values + zero, after], axis=1).reshape(-1)
        return compact(tokens, jnp.repeat(place < count - 1, 2), length)

    def verify(problem: Problem, tokens: Int[Array, " response"], where: Bool[Array, " response"]) -> Verdict:
        right, (_, last) = solve(problem), results(problem)
        count = jnp.sum(where)
        final = tokens[jnp.maximum(count - 2, 0)]
        step = jnp.where(where, jnp.arange(length) // 2, -1)
        of_solution = jnp.where(right != PAD, jnp.arange(length) // 2, -1)
        ended = has_ended(tokens, where) & (count >= 2)
        return Verdict(
            correct=ended & (final == last + zero),
            answer=jnp.where(ended & (final >= zero), final, -1),
            first_error=against(right, of_solution, tokens, where),
            step=step,
        )

    return TokenTask("modular_arithmetic", vocabulary, prompt_length, length, generate, solve, verify)
