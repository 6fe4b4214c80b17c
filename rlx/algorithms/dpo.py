"""Direct preference optimization of a Transformer and its kin: of two responses to a prompt, one is preferred.

The loss is any function of `rlx.losses.preference`, or one of your own: the names of its arguments say what it is told
of a batch (`ARGUMENTS`), and so whether it needs a reference policy, lengths, or responses to other prompts.

References:
    Rafailov et al. (2023). Direct Preference Optimization: Your Language Model is Secretly a Reward Model.
    arXiv:2305.18290.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from rlx import reduce
from rlx.algorithms.grpo import TokenScores, score
from rlx.algorithms.learner import Learner
from rlx.algorithms.responses import Responses
from rlx.losses import preference
from rlx.policies import transformer
from rlx.regularizers.divergence import kl_categorical, kl_estimate

CHOSEN, REJECTED, UNRELATED = 0, 1, 2
"""Which response of a group is which; the third, to another prompt, is there for losses that use it."""


class Argument(NamedTuple):
    """What a loss may be told.

    Attributes:
        of: from a batch, with the policy's log-probabilities, to the argument.
        uses: what the batch must hold: any of "reference" (`reference_log_prob`), "distribution" (`logits` and
            `reference_logits`) and "unrelated" (a third response), or "length", which tells that rewards are per token.
    """

    of: Callable[[Responses], Array]
    uses: frozenset[str] = frozenset()


def _sums(log_prob: Array) -> Array:
    """Of chosen and rejected response; log-probabilities are 0 at what is not the policy's own."""
    return jnp.sum(log_prob[:, :UNRELATED], axis=-1)


def _lengths(batch: Responses) -> Array:
    # A prompt without a pair has empty responses.
    return jnp.maximum(batch.length[:, :UNRELATED], 1) * 1.0


def _differs(batch: Responses, response: int, other: int) -> Array:
    """Where a response has not the other's token."""
    differs = batch.token[:, response] != batch.token[:, other]
    return batch.where[:, response] & (differs | ~batch.where[:, other])


def _unrelated_kl(batch: Responses) -> Array:
    log_ratio = jnp.sum((batch.log_prob - batch.reference_log_prob)[:, UNRELATED], axis=-1)
    return reduce.mean(log_ratio, where=~batch.degenerate)


def _divergence(batch: Responses) -> Array:
    return kl_categorical(batch.reference_logits[:, CHOSEN], batch.logits[:, CHOSEN])


_REFERENCE, _LENGTH = frozenset({"reference"}), frozenset({"length"})
_reference_of_chosen = Argument(lambda batch: _sums(batch.reference_log_prob)[:, CHOSEN], _REFERENCE)
_reference_of_rejected = Argument(lambda batch: _sums(batch.reference_log_prob)[:, REJECTED], _REFERENCE)

ARGUMENTS: dict[str, Argument] = {
    "chosen_log_prob": Argument(lambda batch: _sums(batch.log_prob)[:, CHOSEN]),
    "rejected_log_prob": Argument(lambda batch: _sums(batch.log_prob)[:, REJECTED]),
    "reference_chosen_log_prob": _reference_of_chosen,
    "reference_rejected_log_prob": _reference_of_rejected,
    # The policy that training began with is also the one that wrote the pairs.
    "behavior_chosen_log_prob": _reference_of_chosen,
    "behavior_rejected_log_prob": _reference_of_rejected,
    "chosen_length": Argument(lambda batch: _lengths(batch)[:, CHOSEN], _LENGTH),
    "rejected_length": Argument(lambda batch: _lengths(batch)[:, REJECTED], _LENGTH),
    "chosen_reward": Argument(lambda batch: batch.extras["win_rate"][:, CHOSEN]),
    "rejected_reward": Argument(lambda batch: batch.extras["win_rate"][:, REJECTED]),
    "calibration_log_prob": Argument(lambda batch: jnp.mean(_sums(batch.log_prob), axis=-1)),
    "reference_calibration_log_prob": Argument(
        lambda batch: jnp.mean(_sums(batch.reference_log_prob), axis=-1), _REFERENCE
    ),
    # Of each response `[pair, response]`.
    "log_prob": Argument(lambda batch: _sums(batch.log_prob)),
    "reference_log_prob": Argument(lambda batch: _sums(batch.reference_log_prob), _REFERENCE),
    "reward": Argument(lambda batch: batch.reward[:, :UNRELATED]),
    "win_rate": Argument(lambda batch: batch.extras["win_rate"]),
    "desirable": Argument(lambda batch: jnp.broadcast_to(jnp.array([True, False]), (len(batch.reward), 2))),
    "kl": Argument(_unrelated_kl, frozenset({"reference", "unrelated"})),
    # Of each token `[pair, time]`.
    "chosen_token_log_prob": Argument(lambda batch: batch.log_prob[:, CHOSEN]),
    "rejected_token_log_prob": Argument(lambda batch: batch.log_prob[:, REJECTED]),
    "reference_chosen_token_log_prob": Argument(lambda batch: batch.reference_log_prob[:, CHOSEN], _REFERENCE),
    "reference_rejected_token_log_prob": Argument(lambda batch: batch.reference_log_prob[:, REJECTED], _REFERENCE),
    "chosen_where": Argument(lambda batch: batch.where[:, CHOSEN]),
    "rejected_where": Argument(lambda batch: batch.where[:, REJECTED]),
    "chosen_span": Argument(lambda batch: _differs(batch, CHOSEN, REJECTED)),
    "rejected_span": Argument(lambda batch: _differs(batch, REJECTED, CHOSEN)),
    "chosen_kl": Argument(_divergence, frozenset({"reference", "distribution"})),
}
"""What a loss may be told, by the name of its argument; log-probabilities are summed over tokens but where the name
says `token`. Rewards are win rates, and the calibration responses of VPO are both of the pair."""


def arguments_of(loss: Callable[..., Array]) -> tuple[str, ...]:
    """Names of what a loss is told: its arguments that have no default.

    Raises:
        ValueError: a name that is not in `ARGUMENTS`.
    """
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(loss).parameters.values()
    names = tuple(x.name for x in parameters if x.default is x.empty and x.kind in kinds)
    for name in names:
        if name not in ARGUMENTS:
            close = difflib.get_close_matches(name, ARGUMENTS, n=1)
            meant = f"did you mean {close[0]}?" if close else f"choose from {', '.join(ARGUMENTS)}"
            raise ValueError(f"a loss cannot be told {name!r} of pairs; {meant}")
    return names


def uses(loss: Callable[..., Array]) -> frozenset[str]:
    """What a loss needs beside log-probabilities, in the words of `Argument.uses`.

    Raises:
        ValueError: it takes what pairs do not have.
    """
    return frozenset().union(*(ARGUMENTS[name].uses for name in arguments_of(loss)))


def loss_of(loss: Callable[..., Array], batch: Responses) -> Float[Array, ""]:
    """The mean of a loss over the pairs of a batch, or over their responses where it is one of single responses.

    Args:
        loss: told by the names of its arguments; gives `[pair]` or `[pair, response]`.
        batch: with the log-probabilities of the policy, and what the loss uses.

    Raises:
        ValueError: it takes what pairs do not have, or gives an array of another shape.
    """
    found = loss(**{name: ARGUMENTS[name].of(batch) for name in arguments_of(loss)})
    shape = (len(batch.reward), UNRELATED)
    if found.shape not in (shape[:1], shape):
        raise ValueError(f"a loss must give an array of the shape {shape[:1]} or {shape}, got {found.shape}")
    counts = ~batch.degenerate
    return reduce.mean(found, where=counts if found.ndim == 1 else counts[:, None])


class DPOState(NamedTuple):
    """Everything that training carries on.

    Attributes:
        params: `{"policy"}`.
        optimizer_state: of the optimizer.
        update: updates done.
        first_params: the policy that training began with, which is the reference; None where batches say what it
            thinks of them, and evaluations do not measure the drift from it.
        held_out: pairs to evaluate on, as `rlx.training.sources.pairs` leaves them here.
    """

    params: dict[str, PyTree]
    optimizer_state: PyTree
    update: Int[Array, ""]
    first_params: PyTree = None
    held_out: Responses | None = None


def learner(
    config: transformer.Config,
    optimizer: optax.GradientTransformation,
    loss: Callable[..., Array] = preference.dpo,
    *,
    params: Callable[[PRNGKeyArray], PyTree] | None = None,
    model: Callable[[PyTree], PyTree] = lambda params: params,
    remat: bool = False,
    microbatch_size: int | None = None,
    measure_drift: bool = False,
) -> Learner:
    """Preference optimization as a learner from `Responses` in groups of two: the chosen one, then the rejected one.

    A pair whose rewards are equal is none and does not count. The reference is the policy at the start; what it thinks
    of a batch is `reference_log_prob`, or else computed anew from a copy of it that the state then holds.

    Args:
        config: structure of the policy.
        optimizer: of what is learned.
        loss: a function of `rlx.losses.preference`, or another whose arguments `ARGUMENTS` has.
        params: what is learned, as it begins, from the key that `init` is given, as of `grpo.learner`.
        model: from what is learned to the policy's parameters, as of `grpo.learner`.
        remat: static; recompute layers in the backward pass, for less memory.
        microbatch_size: static; responses that are scored at a time, as of `grpo.learner`.
        measure_drift: static; keep the policy of the start, from which evaluations then tell the divergence.

    Raises:
        ValueError: a loss that takes what pairs do not have.
    """
    make_params = partial(transformer.init, config=config) if params is None else params
    needed = uses(loss)
    distribution = "distribution" in needed

    def init(key: PRNGKeyArray, example: Responses) -> DPOState:
        first_params = make_params(key)
        missing = "reference" in needed and (distribution or example.reference_log_prob is None)
        params = {"policy": first_params}
        return DPOState(
            params=params,
            optimizer_state=optimizer.init(params),
            update=jnp.zeros((), jnp.int32),
            first_params=first_params if missing or measure_drift else None,
        )

    def scored(params: PyTree, batch: Responses, *, remat: bool = False) -> TokenScores:
        options = dict(distribution=distribution, remat=remat, microbatch_size=microbatch_size)
        return score(config, model(params), batch, **options)

    def update(state: DPOState, batch: Responses, key: PRNGKeyArray) -> tuple[DPOState, dict[str, Array]]:
        if "reference" in needed and (distribution or batch.reference_log_prob is None):
            reference = scored(state.first_params, batch)
            batch = batch._replace(reference_log_prob=reference.log_prob, reference_logits=reference.logits)

        def objective(params: dict[str, PyTree]) -> tuple[Array, dict[str, Array]]:
            found = scored(params["policy"], batch, remat=remat)
            seen = batch._replace(log_prob=found.log_prob, logits=found.logits)
            value = loss_of(loss, seen)
            return value, {"loss": value} | jax.lax.stop_gradient(diagnostics(loss, seen))

        gradient, metrics = jax.grad(objective, has_aux=True)(state.params)
        changes, optimizer_state = optimizer.update(gradient, state.optimizer_state, state.params)
        state = state._replace(
            params=optax.apply_updates(state.params, changes),
            optimizer_state=optimizer_state,
            update=state.update + 1,
        )
        return state, metrics | {"gradient_norm": optax.tree.norm(gradient)}

    return Learner(init, update)


def implicit_reward(loss: Callable[..., Array], batch: Responses) -> Float[Array, "pair 2"]:
    """What a loss compares of two responses, in nats: DPO's implicit reward over β.

    It is log π − log π_ref, or log π for a loss without a reference, and per token for one that divides by lengths.
    """
    needed, reward = uses(loss), _sums(batch.log_prob)
    if "reference" in needed:
        reward = reward - _sums(batch.reference_log_prob)
    return reward / _lengths(batch) if "length" in needed else reward


def diagnostics(loss: Callable[..., Array], batch: Responses) -> dict[str, Float[Array, ""]]:
    """How a policy tells pairs apart.

    Args:
        loss: what is optimized.
        batch: with the log-probabilities of the policy and, where the loss uses them, of the reference.

    Returns:
        `pair_accuracy` (share of the pairs whose chosen response has the larger `implicit_reward`, ties half), `margin`
        (mean difference of the two, nats), `chosen_log_prob` and `rejected_log_prob` (nats per response) and, where a
        reference is known, `reference_kl`: KL(reference ‖ policy) per token, estimated (k3) on the pairs' tokens.
    """
    counts = ~batch.degenerate
    reward = implicit_reward(loss, batch)
    margin = reward[:, CHOSEN] - reward[:, REJECTED]
    log_prob = _sums(batch.log_prob)
    metrics = {
        "pair_accuracy": reduce.mean((1 + jnp.sign(margin)) / 2, where=counts),
        "margin": reduce.mean(margin, where=counts),
        "chosen_log_prob": reduce.mean(log_prob[:, CHOSEN], where=counts),
        "rejected_log_prob": reduce.mean(log_prob[:, REJECTED], where=counts),
    }
    if batch.reference_log_prob is not None:
        where = (batch.where & counts[:, None, None])[:, :UNRELATED]
        log_prob, reference = (x[:, :UNRELATED] for x in (batch.log_prob, batch.reference_log_prob))
        metrics["reference_kl"] = reduce.token_mean(kl_estimate(reference, log_prob, where=where), where=where)
    return metrics


def evaluator(
    config: transformer.Config,
    loss: Callable[..., Array] = preference.dpo,
    *,
    model: Callable[[PyTree], PyTree] = lambda params: params,
    batch_size: int = 64,
) -> Callable[[DPOState], dict[str, Array]]:
    """An evaluator of a learner of pairs on the held-out ones of its state.

    Args:
        config: structure of the policy.
        loss: what is optimized.
        model: from what is learned to the policy's parameters, as of `grpo.learner`.
        batch_size: pairs that are looked at side by side.

    Returns:
        `state -> metrics`: those of `diagnostics`, their names preceded by `eval_`.
    """

    def evaluate(state: DPOState) -> dict[str, Array]:
        params, held_out = model(state.params["policy"]), state.held_out
        held_out = held_out._replace(log_prob=log_probs(config, params, held_out, batch_size=batch_size))
        return {f"eval_{name}": value for name, value in diagnostics(loss, held_out).items()}

    return evaluate


def log_probs(
    config: transformer.Config, params: PyTree, batch: Responses, *, batch_size: int = 64
) -> Float[Array, "pair response time"]:
    """Log-probabilities of the tokens of many pairs, some pairs at a time."""
    alone = lambda pair: score(config, params, jax.tree.map(lambda x: x[None], pair)).log_prob[0]
    return jax.lax.map(alone, batch, batch_size=batch_size)
