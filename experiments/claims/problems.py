"""Sequence tasks with a verifier, small enough that what a softmax policy does in them is known exactly.

A policy is a table of logits `[state, token]`. Sequences start at a prompt's state, and a token leads to the next
state, so bandits (one token), trees and languages differ in their tables alone.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray


class Problem(NamedTuple):
    """A task: prompts, the states that tokens lead to, and the sequences that are rewarded.

    Attributes:
        start: first state of each prompt.
        next_state: where a token leads.
        solutions: rewarded sequences of each prompt.
        reward: what each of them earns; every other sequence earns 0.
        logits: the initial policy.
    """

    start: Int[Array, " prompt"]
    next_state: Int[Array, "state token"]
    solutions: Int[Array, "prompt solution time"]
    reward: Float[Array, "prompt solution"]
    logits: Float[Array, "state token"]

    @property
    def horizon(self) -> int:
        """Tokens of a sequence."""
        return self.solutions.shape[-1]


class Rollout(NamedTuple):
    """Sampled sequences with their rewards."""

    state: Int[Array, "prompt group time"]
    token: Int[Array, "prompt group time"]
    reward: Float[Array, "prompt group"]


def bandit(mean_reward: np.ndarray, *, logits: np.ndarray | None = None) -> Problem:
    """A contextual bandit: one token, a reward for each.

    Args:
        mean_reward: rewards `[context, arm]`.
        logits: initial policy of the same shape; uniform if None.
    """
    contexts, arms = np.shape(mean_reward)
    return Problem(
        start=jnp.arange(contexts),
        next_state=jnp.tile(jnp.arange(contexts)[:, None], (1, arms)),
        solutions=jnp.tile(jnp.arange(arms)[None, :, None], (contexts, 1, 1)),
        reward=jnp.asarray(mean_reward, jnp.float32),
        logits=jnp.zeros((contexts, arms)) if logits is None else jnp.asarray(logits, jnp.float32),
    )


def password_tree(depth: int = 8, *, branching: int = 2, num_prompts: int = 1, seed: int = 0) -> Problem:
    """A tree in which one leaf is rewarded: every prefix is a state of its own, so nothing generalizes.

    Args:
        depth: tokens of the password.
        branching: tokens to choose from.
        num_prompts: trees, each with a password of its own.
        seed: of the passwords.
    """
    nodes = sum(branching**level for level in range(depth))
    child = branching * np.arange(nodes)[:, None] + 1 + np.arange(branching)
    # The last token leads out of the tree; a state is needed there, and none is read.
    child = np.minimum(child, nodes - 1)
    offset = nodes * np.arange(num_prompts)
    passwords = np.random.default_rng(seed).integers(branching, size=(num_prompts, 1, depth))
    return Problem(
        start=jnp.asarray(offset),
        next_state=jnp.asarray(np.concatenate([child + shift for shift in offset])),
        solutions=jnp.asarray(passwords),
        reward=jnp.ones((num_prompts, 1)),
        logits=jnp.zeros((nodes * num_prompts, branching)),
    )


def language(
    vocabulary: int = 12,
    length: int = 6,
    *,
    num_solutions: int = 4,
    num_prompts: int = 4,
    confidence: float = 0.0,
    likelihood: float = 0.0,
    seed: int = 0,
) -> Problem:
    """Sequences of which a few are valid; the policy sees the position and the last token.

    Solutions of a prompt that share a bigram at a position share the parameter, so tokens generalize a little.

    Args:
        vocabulary: tokens.
        length: tokens of a sequence.
        num_solutions: valid sequences of each prompt.
        num_prompts: prompts, with tables of their own.
        confidence: standard deviation of the initial logits, as a pretrained policy is not uniform.
        likelihood: added to the initial logits of the solutions' tokens, so that some samples succeed at the start.
        seed: of solutions and logits.
    """
    rng = np.random.default_rng(seed)
    states = 1 + (length - 1) * vocabulary
    token = np.arange(vocabulary)
    # State 0 is the beginning; state 1 + (t - 1)·V + a is position t after token a.
    after = [np.tile(1 + token, (1, 1))]
    for position in range(1, length):
        step = np.minimum(1 + position * vocabulary + token, states - 1)
        after.append(np.tile(step, (vocabulary, 1)))
    table = np.concatenate(after)
    solutions = np.stack([_distinct(rng, vocabulary, length, num_solutions) for _ in range(num_prompts)])
    logits = confidence * rng.normal(size=(num_prompts, states, vocabulary))
    for prompt, solution in itertools.product(range(num_prompts), range(num_solutions)):
        state = 0
        for chosen in solutions[prompt, solution]:
            logits[prompt, state, chosen] += likelihood
            state = table[state, chosen]
    return Problem(
        start=jnp.asarray(states * np.arange(num_prompts)),
        next_state=jnp.asarray(np.concatenate([table + states * prompt for prompt in range(num_prompts)])),
        solutions=jnp.asarray(solutions),
        reward=jnp.ones((num_prompts, num_solutions)),
        logits=jnp.asarray(logits.reshape(-1, vocabulary), jnp.float32),
    )


def _distinct(rng: np.random.Generator, vocabulary: int, length: int, count: int) -> np.ndarray:
    found: set[tuple[int, ...]] = set()
    while len(found) < count:
        found.add(tuple(rng.integers(vocabulary, size=length).tolist()))
    return np.array(sorted(found))


def sample(problem: Problem, logits: Float[Array, "state token"], key: PRNGKeyArray, group: int) -> Rollout:
    """Draw `group` sequences for each prompt, and verify them."""
    state = jnp.broadcast_to(problem.start[:, None], (len(problem.start), group))

    def choose(state, key):
        token = jax.random.categorical(key, logits[state])
        return problem.next_state[state, token], (state, token)

    _, (states, tokens) = jax.lax.scan(choose, state, jax.random.split(key, problem.horizon))
    states, tokens = jnp.moveaxis(states, 0, -1), jnp.moveaxis(tokens, 0, -1)
    return Rollout(states, tokens, verify(problem, tokens))


def verify(problem: Problem, token: Int[Array, "prompt group time"]) -> Float[Array, "prompt group"]:
    """The reward of sequences."""
    matches = jnp.all(token[:, :, None] == problem.solutions[:, None], axis=-1)
    return jnp.sum(matches * problem.reward[:, None], axis=-1)


def visited(problem: Problem, token: Int[Array, "prompt sequence time"]) -> Int[Array, "prompt sequence time"]:
    """The states at which the tokens of given sequences are chosen."""
    start = jnp.broadcast_to(problem.start[:, None], token.shape[:-1])
    follow = lambda state, chosen: (problem.next_state[state, chosen], state)
    _, states = jax.lax.scan(follow, start, jnp.moveaxis(token, -1, 0))
    return jnp.moveaxis(states, 0, -1)


def solution_log_prob(problem: Problem, logits: Float[Array, "state token"]) -> Float[Array, "prompt solution time"]:
    """Exact log-probability of every token of every solution, given the tokens before it."""
    log_policy = jax.nn.log_softmax(logits)

    def follow(state, token):
        return problem.next_state[state, token], log_policy[state, token]

    state = jnp.broadcast_to(problem.start[:, None], problem.solutions.shape[:2])
    _, log_prob = jax.lax.scan(follow, state, jnp.moveaxis(problem.solutions, -1, 0))
    return jnp.moveaxis(log_prob, 0, -1)


def occupancy(problem: Problem, logits: Float[Array, "state token"]) -> Float[Array, "time state"]:
    """Exact probability of being in a state at each position, prompts being equally likely."""
    policy = jax.nn.softmax(logits)
    first = jnp.zeros(len(logits)).at[problem.start].add(1 / len(problem.start))

    def advance(visited, _):
        flow = visited[:, None] * policy
        return jnp.zeros_like(visited).at[problem.next_state].add(flow), visited

    _, visited = jax.lax.scan(advance, first, length=problem.horizon)
    return visited


def token_entropy(problem: Problem, logits: Float[Array, "state token"]) -> Float[Array, ""]:
    """Exact entropy of a token given its past, averaged over positions and prompts, in nats."""
    log_policy = jax.nn.log_softmax(logits)
    entropy = -jnp.sum(jnp.exp(log_policy) * log_policy, axis=-1)
    return jnp.mean(occupancy(problem, logits) @ entropy)


def evaluate(problem: Problem, logits: Float[Array, "state token"]) -> dict[str, Float[Array, ""]]:
    """Exact measures of a policy, averaged over prompts.

    Returns:
        `success`: expected reward of one sample; `pass_at_8` and `pass_at_32`: probability that one of so many
        samples is rewarded; `distinct_in_64`: expected number of different solutions in 64 samples; `entropy`.
    """
    probability = jnp.exp(jnp.sum(solution_log_prob(problem, logits), axis=-1))
    rewarded = jnp.sum(probability * (problem.reward > 0), axis=-1)
    at_least_once = lambda p, samples: -jnp.expm1(samples * jnp.log1p(-jnp.minimum(p, 1 - 1e-7)))
    return {
        "success": jnp.mean(jnp.sum(probability * problem.reward, axis=-1)),
        "pass_at_8": jnp.mean(at_least_once(rewarded, 8)),
        "pass_at_32": jnp.mean(at_least_once(rewarded, 32)),
        "distinct_in_64": jnp.mean(jnp.sum(at_least_once(probability, 64), axis=-1)),
        "entropy": token_entropy(problem, logits),
    }
