"""A task of several turns: look values up in a table that only the environment knows, then add them."""

from __future__ import annotations

import string

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key

from rlx.envs.language.protocol import END, PAD, SPECIAL, Problem, TokenTask, Verdict, hash_of, make_problem


def tool(*, keys: int = 8, terms: int = 2) -> TokenTask:
    """Adding values that have to be looked up: one query a turn, then the sum.

    `b+f=` asks for the sum of two entries of a table that is drawn anew for every problem. A turn `b<end>` is replied
    to with the value of the entry, such as `7;`; after as many turns as there are terms, the last turn is the sum,
    such as `12<end>`. A query of anything but a single key is replied to with `?;`. A turn is a step of reasoning.

    Args:
        keys: entries of the table, each a letter.
        terms: how many are to be added, and so how many queries there are.

    Raises:
        ValueError: for fewer than two or more than 26 keys, or fewer than one or more than eleven terms.
    """
    if not 2 <= keys <= 26:
        raise ValueError(f"keys must lie between 2 and 26, got {keys}")
    if not 1 <= terms <= 11:
        raise ValueError(f"terms must lie between 1 and 11, got {terms}")
    vocabulary = (*SPECIAL, "+", "=", ";", "?", *"0123456789", *string.ascii_lowercase[:keys])
    plus, equals, done, unknown, zero = 2, 3, 4, 5, 6
    first_key = zero + 10
    turn_length, reply_length = 3, 2

    def generate(key: Key[Array, ""]) -> Problem:
        table_key, term_key = jax.random.split(key)
        table = jax.random.randint(table_key, (keys,), 0, 10)
        asked = jax.random.randint(term_key, (terms,), 0, keys)
        symbols = jnp.full(terms, plus).at[-1].set(equals)
        tokens = jnp.stack([asked + first_key, symbols], axis=1).reshape(-1)
        return make_problem(tokens, jnp.ones(2 * terms, bool), (table, asked))

    def reply(problem: Problem, tokens: Int[Array, " turn"], where: Bool[Array, " turn"], turn: int):
        table, _ = problem.content
        entry = tokens[0] - first_key
        single = where[0] & where[1] & (tokens[1] == END) & (entry >= 0)
        value = jnp.where(single, table[jnp.clip(entry, 0, keys - 1)] + zero, unknown)
        # A turn without a token is one that a sequence never reached.
        return jnp.stack([value, jnp.asarray(done)]).astype(jnp.int32), jnp.full(reply_length, where[0])

    def sum_of(problem: Problem) -> Int[Array, " turn"]:
        """The last turn that is right."""
        table, asked = problem.content
        total = jnp.sum(table[asked])
        one = jnp.stack([total + zero, jnp.asarray(END), jnp.asarray(PAD)])
        two = jnp.stack([total // 10 + zero, total % 10 + zero, jnp.asarray(END)])
        return jnp.where(total < 10, one, two).astype(jnp.int32)

    def solve(problem: Problem) -> Int[Array, " response"]:
        table, asked = problem.content
        query = jnp.stack([asked + first_key, jnp.full(terms, END), jnp.full(terms, PAD)], axis=1)
        answer = jnp.stack([table[asked] + zero, jnp.full(terms, done)], axis=1)
        turns = jnp.concatenate([query, answer], axis=1).reshape(-1)
        return jnp.concatenate([turns, sum_of(problem)]).astype(jnp.int32)

    def verify(problem: Problem, tokens: Int[Array, " response"], where: Bool[Array, " response"]) -> Verdict:
        right = solve(problem)
        length = len(right)
        turn = jnp.arange(length) // (turn_length + reply_length)
        shown, last = jnp.where(where, tokens, PAD), turn == terms
        correct = jnp.all((shown == right) | ~last)
        # Entries may be looked up in any order, each as often as it is a term.
        _, asked = problem.content
        queries = shown.reshape(-1)[: terms * (turn_length + reply_length)].reshape(terms, -1)
        entry, single = queries[:, 0] - first_key, queries[:, 1] == END
        before = jnp.sum((entry[:, None] == entry) & jnp.tri(terms, k=-1, dtype=bool), axis=1)
        useful = single & (before < jnp.sum(entry[:, None] == asked, axis=1))
        fine = jnp.append(useful, correct)
        return Verdict(
            correct=correct,
            answer=hash_of(tokens, where & last),
            first_error=jnp.where(jnp.all(fine), length, jnp.argmin(fine) * (turn_length + reply_length)),
            step=jnp.where(where, turn, -1),
        )

    return TokenTask(
        "tool",
        vocabulary,
        2 * terms,
        turn_length,
        generate,
        solve,
        verify,
        num_turns=terms + 1,
        reply_length=reply_length,
        reply=reply,
    )
