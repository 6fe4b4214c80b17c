"""Supervised fine-tuning on responses: the warm-up before a policy is rewarded for its own.

References:
    Ouyang et al. (2022). Training Language Models to Follow Instructions with Human Feedback. arXiv:2203.02155.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, PRNGKeyArray, PyTree

from rlx import reduce
from rlx.algorithms.actor_critic import descend
from rlx.algorithms.learner import Learner
from rlx.algorithms.responses import Responses
from rlx.algorithms.scoring import score
from rlx.losses.imitation import behavior_cloning
from rlx.policies import transformer


class SFTState(NamedTuple):
    """What is learned: parameters, by the name that GRPO has them under, state of the optimizer, and steps taken."""

    params: dict[str, PyTree]
    optimizer_state: PyTree
    update: Int[Array, ""]


def learner(
    config: transformer.Config,
    optimizer: optax.GradientTransformation,
    *,
    params: Callable[[PRNGKeyArray], PyTree] | None = None,
    model: Callable[[PyTree], PyTree] = lambda params: params,
    remat: bool = False,
    microbatch_size: int | None = None,
) -> Learner:
    """Maximum likelihood of responses: −log π(token), averaged over all tokens of a batch.

    Args:
        config: structure of the policy.
        optimizer: of what is learned.
        params: what is learned, as it begins, from the key that `init` is given, as of `grpo.learner`.
        model: from what is learned to the policy's parameters, as of `grpo.learner`.
        remat: static; recompute layers in the backward pass, for less memory.
        microbatch_size: static; responses that are scored at a time, as of `grpo.learner`.
    """

    make_params = partial(transformer.init, config=config) if params is None else params

    def init(key: PRNGKeyArray, example: Responses) -> SFTState:
        params = {"policy": make_params(key)}
        return SFTState(params, optimizer.init(params), jnp.zeros((), jnp.int32))

    def update(state: SFTState, batch: Responses, key: PRNGKeyArray) -> tuple[SFTState, dict[str, Array]]:
        def objective(params: dict[str, PyTree]):
            found = score(config, model(params["policy"]), batch, remat=remat, microbatch_size=microbatch_size)
            loss = reduce.token_mean(behavior_cloning(found.log_prob, where=batch.where), where=batch.where)
            return loss, {"loss": loss, "entropy": reduce.token_mean(found.entropy, where=batch.where)}

        params, optimizer_state, metrics = descend(optimizer, objective, state.params, state.optimizer_state)
        return SFTState(params, optimizer_state, state.update + 1), jax.tree.map(jax.lax.stop_gradient, metrics)

    return Learner(init, update)
