"""Finding a way through a grid: any that arrives will do."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key

from rlx.envs.language.protocol import END, PAD, SPECIAL, Problem, TokenTask, Verdict, has_ended, hash_of

MOVES = np.array([(-1, 0), (0, 1), (1, 0), (0, -1)], np.int32)


def path(*, size: int = 4, walls: float = 0.25) -> TokenTask:
    """Walking from start to goal in a grid with walls.

    The prompt holds the cells, row by row: `.` is free, `#` a wall, `S` the start, `G` the goal. The response is a
    walk, such as `RRDD<end>` with U R D L for up, right, down and left; any that does not leave the free cells and
    ends on the goal is right, and the solution is a shortest one. A move is a step of reasoning. There always is a
    way, of at most three times the size.

    Args:
        size: rows and columns.
        walls: share of the cells that are walls.

    Raises:
        ValueError: for a size below 2 or above 100, or walls outside of [0, 0.6].
    """
    if not 2 <= size <= 100:
        raise ValueError(f"size must lie between 2 and 100, got {size}")
    if not 0 <= walls <= 0.6:
        raise ValueError(f"walls must lie between 0 and 0.6, got {walls}")
    vocabulary = (*SPECIAL, ".", "#", "S", "G", "U", "R", "D", "L")
    free, wall, start_token, goal_token, up = range(2, 7)
    cells, longest = size * size, 3 * size
    length = longest + 1
    far = cells + 1
    rows = np.arange(cells) // size
    columns = np.arange(cells) % size
    inside = np.stack(
        [(rows + r >= 0) & (rows + r < size) & (columns + c >= 0) & (columns + c < size) for r, c in MOVES]
    )
    neighbor = jnp.asarray(np.where(inside, np.arange(cells) + (MOVES @ [size, 1])[:, None], np.arange(cells)))
    inside = jnp.asarray(inside)

    def distances(blocked: Bool[Array, " cell"], goal: Int[Array, ""]) -> Int[Array, " cell"]:
        """Moves from each cell to the goal, more than there are cells where there is no way."""
        at_goal = jnp.arange(cells) == goal

        def relax(carry):
            _, distance = carry
            around = jnp.where(inside, distance[neighbor], far)
            found = jnp.where(at_goal, 0, jnp.minimum(jnp.min(around, axis=0) + 1, far))
            return distance, jnp.where(blocked, far, found)

        first = jnp.where(at_goal, 0, far)
        _, distance = jax.lax.while_loop(lambda carry: jnp.any(carry[0] != carry[1]), relax, (first - 1, first))
        return distance

    def draw(key: Key[Array, ""]):
        wall_key, place_key = jax.random.split(key)
        places = jax.random.permutation(place_key, cells)
        start, goal = places[0], places[1]
        blocked = jax.random.bernoulli(wall_key, walls, (cells,)).at[places[:2]].set(False)
        return blocked, start, goal

    def generate(key: Key[Array, ""]) -> Problem:
        def without_way(key):
            blocked, start, goal = draw(key)
            return distances(blocked, goal)[start] > longest

        key = jax.lax.while_loop(without_way, lambda key: jax.random.split(key)[0], key)
        blocked, start, goal = draw(key)
        prompt = jnp.where(blocked, wall, free).at[start].set(start_token).at[goal].set(goal_token)
        return Problem(prompt.astype(jnp.int32), jnp.ones(cells, bool), (blocked, start, goal))

    def solve(problem: Problem) -> Int[Array, " response"]:
        blocked, start, goal = problem.content
        distance = distances(blocked, goal)

        def walk(cell, _):
            around = jnp.where(inside[:, cell], distance[neighbor[:, cell]], far)
            move = jnp.argmin(around)
            arrived = cell == goal
            return jnp.where(arrived, cell, neighbor[move, cell]), jnp.where(arrived, PAD, move + up)

        _, tokens = jax.lax.scan(walk, start, length=longest)
        tokens = jnp.append(tokens, PAD)
        return tokens.at[jnp.sum(tokens != PAD)].set(END).astype(jnp.int32)

    def verify(problem: Problem, tokens: Int[Array, " response"], where: Bool[Array, " response"]) -> Verdict:
        blocked, start, goal = problem.content

        def walk(cell, token_and_where):
            token, counts = token_and_where
            move = jnp.clip(token - up, 0, 3)
            moves = counts & (token >= up)
            fine = ~counts | (token == END) | (moves & inside[move, cell] & ~blocked[neighbor[move, cell]])
            return jnp.where(moves & fine, neighbor[move, cell], cell), fine

        end, fine = jax.lax.scan(walk, start, (tokens, where))
        correct = jnp.all(fine) & (end == goal) & has_ended(tokens, where)
        last = jnp.maximum(jnp.sum(where) - 1, 0)
        return Verdict(
            correct=correct,
            answer=jnp.where(has_ended(tokens, where), hash_of(tokens, where), -1),
            first_error=jnp.where(correct, length, jnp.where(jnp.all(fine), last, jnp.argmin(fine))),
            step=jnp.where(where, jnp.arange(length), -1),
        )

    return TokenTask("path", vocabulary, cells, length, generate, solve, verify)
