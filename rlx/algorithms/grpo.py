"""Group-relative policy optimization of a Transformer: whole responses, judged by a verifier, against their group.

Every published variant changes one slot of an update (`Method`); the defaults are GRPO's.

References:
    Shao et al. (2024). DeepSeekMath: Pushing the Limits of Mathematical Reasoning in Open Language Models.
    arXiv:2402.03300.
    Yu et al. (2025). DAPO: An Open-Source LLM Reinforcement Learning System at Scale. arXiv:2503.14476 (dynamic
    sampling).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from rlx import reduce, returns
from rlx.algorithms.learner import Learner
from rlx.algorithms.responses import Responses, batch_diagnostics, step_diagnostics
from rlx.losses import policy as policy_losses
from rlx.policies import transformer
from rlx.regularizers.entropy import categorical_entropy
from rlx.types import Scalar


def group_advantage(batch: Any, **options: Any) -> Float[Array, "prompt group time"]:
    """GRPO's: the standardized reward of the sequence, for each of its tokens; options of `group_relative`.

    `batch` is `Responses`, or anything else with `reward` and `token`.
    """
    return jnp.broadcast_to(returns.group_relative(batch.reward, **options)[..., None], batch.token.shape)


def clipped_loss(batch: Responses, **options: Any) -> Float[Array, ""]:
    """The clipped surrogate, averaged over each sequence's tokens and then over sequences; options of the surrogate."""
    per_token = policy_losses.clipped_surrogate(
        batch.log_prob, batch.behavior_log_prob, batch.advantage, where=batch.where, **options
    )
    return reduce.sequence_mean(per_token, where=batch.where)


def token_loss(
    batch: Any, surrogate: Callable[..., Array] = policy_losses.clipped_surrogate, **options: Any
) -> Float[Array, ""]:
    """A surrogate of the tokens' ratios, averaged over all tokens; options of the surrogate.

    `batch` is `Responses`, or anything else with their log-probabilities, advantages and mask.
    """
    per_token = surrogate(batch.log_prob, batch.behavior_log_prob, batch.advantage, where=batch.where, **options)
    return reduce.token_mean(per_token, where=batch.where)


def with_solutions(batch: Responses, replaced: Bool[Array, "prompt group"]) -> Responses:
    """The batch with the task's solution in place of some responses: tokens, masks and the behavior's log-probability.

    Rewards, advantages and what was said of the old responses stay as they are.
    """
    choose = lambda new, old: jnp.where(replaced[..., None], new[:, None], old)
    return batch._replace(
        token=choose(batch.solution, batch.token),
        present=choose(batch.solution_present, batch.present),
        where=choose(batch.solution_where, batch.where),
        behavior_log_prob=choose(batch.solution_log_prob, batch.behavior_log_prob),
    )


def keep_reference(params: PyTree, reference_params: PyTree, update: Int[Array, ""]) -> PyTree:
    """A frozen reference: the policy that training began with."""
    return reference_params


def averaged_reference(rate: Scalar) -> Callable:
    """A reference that follows the policy as an exponential moving average, by `rate` of the way in each update."""
    return lambda params, reference, update: optax.incremental_update(params, reference, rate)


def renewed_reference(every: int) -> Callable:
    """A reference that is set to the policy after every so many updates."""
    return lambda params, reference, update: jax.tree.map(
        lambda new, old: jnp.where((update + 1) % every == 0, new, old), params, reference
    )


class Method(NamedTuple):
    """The slots of an update; the defaults are GRPO's without a KL penalty.

    Attributes:
        uses: what a batch must hold beside the policy's own log-probabilities and entropies: any of "reference"
            (`reference_log_prob`), "distribution" (logits of all policies in use), "value" (a critic of tokens) and
            "solution" (of the task, to each prompt).
        reward: shapes the reward, from the sampled batch.
        advantage: from the sampled batch, before any step, to advantages of tokens.
        remember: from the sampled batch, with advantages, to the batch that the gradient steps see, its memory updated.
        loss: the scalar that a gradient step descends.
        memory: the method's state at the start, for a number of prompts and a size of groups.
        conclude: from the batch under the policy after the last gradient step to the memory; a pass over the batch
            more.
        temperature: from the memory to the temperature that is sampled at.
        reference: `(params, reference_params, update) -> reference_params` after an update.
        prefer: score of each prompt in a batch that was drawn too large; those of the highest score are learned from.
            The default prefers groups in which rewards differ (DAPO's dynamic sampling); without oversampling all are
            kept.
    """

    uses: frozenset[str] = frozenset()
    reward: Callable[[Responses], Float[Array, "prompt group"]] = lambda batch: batch.reward
    advantage: Callable[[Responses], Float[Array, "prompt group time"]] = group_advantage
    remember: Callable[[Responses], Responses] = lambda batch: batch
    loss: Callable[[Responses], Float[Array, ""]] = clipped_loss
    memory: Callable[[int, int], PyTree] = lambda num_prompts, group_size: ()
    conclude: Callable[[Responses], PyTree] | None = None
    temperature: Callable[[PyTree], Scalar] = lambda memory: 1.0
    reference: Callable[[PyTree, PyTree, Array], PyTree] = keep_reference
    prefer: Callable[[Responses], Float[Array, " prompt"]] = lambda batch: ~batch.degenerate * 1.0


GRPO_METHOD = Method()


class GRPOState(NamedTuple):
    """Everything that training carries on.

    Attributes:
        params: `{"policy"}` and, for a method that uses values, `{"critic"}`.
        behavior_params: the policy that samples, where it is not the one in training (`renew_behavior` above 1).
        reference_params: the policy that the method stays close to; None unless it uses one.
        optimizer_state: of the optimizer.
        memory: of the method.
        update: updates done.
        first_params: the policy at the start, which evaluations measure the drift from; None where they do not.
    """

    params: dict[str, PyTree]
    behavior_params: PyTree | None
    reference_params: PyTree
    optimizer_state: PyTree
    memory: PyTree
    update: Int[Array, ""]
    first_params: PyTree = None

    @property
    def sampling_params(self) -> PyTree:
        """The policy that samples."""
        return self.params["policy"] if self.behavior_params is None else self.behavior_params


USES = ("reference", "distribution", "value", "solution")


class TokenScores(NamedTuple):
    """What a model says of the tokens of responses.

    Attributes:
        log_prob: of each token.
        entropy: of the distribution that it was drawn from.
        logits: of that distribution, or None.
    """

    log_prob: Float[Array, "prompt group time"]
    entropy: Float[Array, "prompt group time"]
    logits: Float[Array, "prompt group time vocab"] | None


def in_microbatches(function: Callable[[Responses], PyTree], batch: Responses, size: int | None) -> PyTree:
    """What a function of responses gives for each, computed for `size` of them at a time.

    The backward pass computes what the function did anew, again for so many at a time: whatever is made of the results
    then has the gradient of the whole batch, in the memory of a microbatch.

    Args:
        function: of a batch, whose results have the leading axes `[prompt, group]`; only tokens, masks and
            temperatures are those of a microbatch.
        batch: the responses.
        size: static; how many at a time; None for all at once.

    Raises:
        ValueError: a size below one.
    """
    if size is not None and size < 1:
        raise ValueError(f"microbatch_size must be at least 1, got {size}")
    shape = batch.token.shape[:2]
    count = shape[0] * shape[1]
    if size is None or size >= count:
        return function(batch)
    names = ("prompt", "prompt_where", "token", "present", "where", "temperature")
    known = {name: getattr(batch, name) for name in names if getattr(batch, name) is not None}
    rows = {name: x.reshape(count, *x.shape[2:]) for name, x in known.items()}

    @jax.checkpoint
    def of_rows(rows: dict[str, Array]) -> PyTree:
        found = function(batch._replace(**{name: x[:, None] for name, x in rows.items()}))
        return jax.tree.map(lambda x: x[:, 0], found)

    whole = count - count % size
    chunks = {name: x[:whole].reshape(-1, size, *x.shape[1:]) for name, x in rows.items()}
    found = jax.tree.map(lambda x: x.reshape(whole, *x.shape[2:]), jax.lax.map(of_rows, chunks))
    if whole < count:
        rest = of_rows({name: x[whole:] for name, x in rows.items()})
        found = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), found, rest)
    return jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), found)


def features(config: transformer.Config, params: PyTree, batch: Responses, *, remat: bool = False) -> Array:
    """Representations from which each token of the responses is predicted `[prompt, group, time, hidden]`."""
    tokens = jnp.concatenate([batch.prompt, batch.token], axis=-1)
    where = jnp.concatenate([batch.prompt_where, batch.present], axis=-1)
    x, _ = transformer.hidden(config, params, tokens, where=where, remat=remat)
    return x[..., batch.prompt.shape[-1] - 1 : -1, :]


def score(
    config: transformer.Config,
    params: PyTree,
    batch: Responses,
    *,
    temperature: Scalar | Float[Array, "prompt group"] | None = None,
    distribution: bool = False,
    remat: bool = False,
    microbatch_size: int | None = None,
) -> TokenScores:
    """Log-probabilities and entropies of the responses' tokens under a policy.

    Args:
        config: structure of the policy.
        params: its parameters; carry the gradient.
        batch: with the tokens.
        temperature: that the logits are divided by, one or that of each response; None for 1.
        distribution: keep the logits, `[prompt, group, time, vocab]` in float32; otherwise they exist in chunks only.
        remat: recompute each layer in the backward pass.
        microbatch_size: static; responses that are scored at a time, as of `in_microbatches`.
    """
    heat = None if temperature is None else jnp.broadcast_to(temperature, batch.token.shape[:2])
    batch = batch._replace(temperature=heat)
    scored = partial(_score, config, params, distribution=distribution, remat=remat)
    return in_microbatches(scored, batch, microbatch_size)


def _score(
    config: transformer.Config,
    params: PyTree,
    batch: Responses,
    *,
    distribution: bool,
    remat: bool,
) -> TokenScores:
    x = features(config, params, batch, remat=remat)
    if batch.temperature is not None:  # logits are linear in the representations
        x = x / batch.temperature[..., None, None].astype(x.dtype)
    if not distribution:
        unembedding = params["embedding"].T if config.tie_embeddings else params["unembedding"]["kernel"]
        found = transformer.token_statistics(x, unembedding, batch.token, where=batch.where)
        return TokenScores(found.log_prob, found.entropy, None)
    logits = transformer.unembed(config, params, x)
    log_prob = jnp.take_along_axis(jax.nn.log_softmax(logits), batch.token[..., None], axis=-1)[..., 0]
    kept = lambda x: jnp.where(batch.where, x, 0.0)
    return TokenScores(kept(log_prob), kept(categorical_entropy(logits)), logits)


def learner(
    config: transformer.Config,
    optimizer: optax.GradientTransformation,
    method: Method = GRPO_METHOD,
    *,
    params: Callable[[PRNGKeyArray], PyTree] | None = None,
    model: Callable[[PyTree], PyTree] = lambda params: params,
    epochs: int = 1,
    minibatches: int = 1,
    renew_behavior: int = 1,
    remat: bool = False,
    microbatch_size: int | None = None,
    measure_drift: bool = False,
) -> Learner:
    """GRPO, or another method, as a learner from `Responses`.

    What a batch says of the policy that sampled it (`behavior_log_prob`) is believed, since that may be an earlier one;
    where it says nothing, it is the sampling policy of the state. All policies are scored at the temperature that a
    response was sampled at, so that the policy in training is the one that samples, and its batch on-policy.

    Args:
        config: structure of the policy, and of the critic where the method uses one.
        optimizer: of all parameters.
        method: what is optimized.
        params: what is learned, as it begins, from the key that `init` is given: a random policy (the default), a
            warmed-up one, loaded weights, or adapters to them.
        model: from what is learned to the policy's parameters: the same, or for adapters
            `partial(transformer.lora.attach, weights)`; states then hold adapters alone, whoever has the weights.
        epochs: static; passes over each batch.
        minibatches: static; gradient steps of a pass, each on whole groups.
        renew_behavior: static; the sampling policy becomes the trained one after every so many updates; batches in
            between are stale.
        remat: static; recompute layers in the backward pass, for less memory.
        microbatch_size: static; responses that are scored, forward and backward, at a time; None for all of a
            minibatch. It bounds the memory of a gradient step, whose gradient stays the same.
        measure_drift: static; keep the policy of the start, from which evaluations then tell the divergence.

    Raises:
        ValueError: a count below one, or a method that uses what does not exist.
    """
    make_params = partial(transformer.init, config=config) if params is None else params
    for name, count in (("epochs", epochs), ("minibatches", minibatches), ("renew_behavior", renew_behavior)):
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
    if unknown := method.uses - set(USES):
        raise ValueError(f"a method may use {', '.join(USES)}; got {', '.join(sorted(unknown))}")
    distribution = "distribution" in method.uses

    def init(key: PRNGKeyArray, example: Responses) -> GRPOState:
        policy_params = make_params(key)
        params = {"policy": policy_params}
        if "value" in method.uses:
            params["critic"] = policy_params | {"head": jnp.zeros(config.hidden_size)}
        return GRPOState(
            params=params,
            behavior_params=policy_params if renew_behavior > 1 else None,
            reference_params=policy_params if "reference" in method.uses else None,
            optimizer_state=optimizer.init(params),
            memory=method.memory(*example.reward.shape),
            update=jnp.zeros((), jnp.int32),
            first_params=policy_params if measure_drift else None,
        )

    def scored(params: PyTree, batch: Responses, *, remat: bool = False) -> TokenScores:
        return score(
            config,
            model(params),
            batch,
            temperature=batch.temperature,
            distribution=distribution,
            remat=remat,
            microbatch_size=microbatch_size,
        )

    def in_training(params: dict[str, PyTree], batch: Responses) -> Responses:
        found = scored(params["policy"], batch, remat=remat)
        batch = batch._replace(log_prob=found.log_prob, entropy=found.entropy, logits=found.logits)
        if "critic" in params:
            batch = batch._replace(value=value(params["critic"], batch))
        return batch

    def value(critic: PyTree, batch: Responses) -> Float[Array, "prompt group time"]:
        body = model({name: part for name, part in critic.items() if name != "head"})
        head = critic["head"].astype(jnp.float32)
        of_rows = lambda batch: features(config, body, batch, remat=remat).astype(jnp.float32) @ head
        return in_microbatches(of_rows, batch, microbatch_size)

    def sampled(state: GRPOState, batch: Responses, key: PRNGKeyArray) -> Responses:
        """The batch as slots see it before any gradient step."""
        replayed = batch.behavior_log_prob is not None
        if replayed:
            behavior = TokenScores(batch.behavior_log_prob, batch.behavior_entropy, batch.behavior_logits)
        else:
            behavior = scored(state.sampling_params, batch)
        now = behavior
        if replayed or renew_behavior > 1:
            now = scored(state.params["policy"], batch)
        batch = batch._replace(
            log_prob=now.log_prob,
            behavior_log_prob=behavior.log_prob,
            entropy=now.entropy,
            behavior_entropy=behavior.entropy,
            logits=now.logits,
            behavior_logits=behavior.logits,
            key=key,
            update=state.update,
            memory=state.memory,
        )
        if state.reference_params is not None:
            reference = scored(state.reference_params, batch)
            batch = batch._replace(reference_log_prob=reference.log_prob, reference_logits=reference.logits)
        if "critic" in state.params:
            now = value(state.params["critic"], batch)
            batch = batch._replace(value=now, behavior_value=now)
        if batch.solution is not None:
            alone = batch._replace(
                prompt=batch.prompt[:, :1],
                prompt_where=batch.prompt_where[:, :1],
                token=batch.solution[:, None],
                present=batch.solution_present[:, None],
                where=batch.solution_where[:, None],
                temperature=None if batch.temperature is None else batch.temperature[:, :1],
            )
            batch = batch._replace(solution_log_prob=scored(state.sampling_params, alone).log_prob[:, 0])
        batch = batch._replace(reward=method.reward(batch))
        return method.remember(batch._replace(advantage=method.advantage(batch)))

    def update(state: GRPOState, batch: Responses, key: PRNGKeyArray) -> tuple[GRPOState, dict[str, Array]]:
        num_prompts = batch.reward.shape[0]
        if num_prompts % minibatches:
            raise ValueError(f"minibatches must divide the {num_prompts} prompts of an update, got {minibatches}")
        slot_key, steps_key = jax.random.split(key)
        batch = sampled(state, batch, slot_key)

        def gradient_step(carry, index_and_key):
            params, optimizer_state = carry
            index, key = index_and_key
            # Only what has the prompts' axis is cut; the rest goes to every minibatch whole.
            whole = dict(update=batch.update, memory=batch.memory)
            part = jax.tree.map(lambda x: x[index], batch._replace(key=None, **dict.fromkeys(whole)))
            part = part._replace(key=key, **whole)

            def objective(params):
                seen = in_training(params, part)
                loss = method.loss(seen)
                return loss, {"loss": loss} | step_diagnostics(jax.lax.stop_gradient(seen))

            gradient = jax.grad(objective, has_aux=True)
            found, metrics = gradient(params)
            changes, optimizer_state = optimizer.update(found, optimizer_state, params)
            metrics["gradient_norm"] = optax.tree.norm(found)
            return (optax.apply_updates(params, changes), optimizer_state), metrics

        size = num_prompts // minibatches
        orders = jax.vmap(lambda key: jax.random.permutation(key, num_prompts))(jax.random.split(steps_key, epochs))
        indices = orders.reshape(epochs * minibatches, size)
        keys = jax.random.split(jax.random.fold_in(steps_key, 1), len(indices))
        (params, optimizer_state), metrics = jax.lax.scan(
            gradient_step, (state.params, state.optimizer_state), (indices, keys)
        )
        metrics = jax.tree.map(jnp.mean, metrics) | {"log_ratio_max": jnp.max(metrics["log_ratio_max"])}
        if method.conclude is not None:
            batch = batch._replace(memory=method.conclude(jax.lax.stop_gradient(in_training(params, batch))))
        behavior = state.behavior_params
        if behavior is not None:
            renew = (state.update + 1) % renew_behavior == 0
            behavior = jax.tree.map(lambda new, old: jnp.where(renew, new, old), params["policy"], behavior)
        reference = state.reference_params
        if reference is not None:
            reference = method.reference(params["policy"], reference, state.update)
        state = GRPOState(
            params=params,
            behavior_params=behavior,
            reference_params=reference,
            optimizer_state=optimizer_state,
            memory=batch.memory,
            update=state.update + 1,
            first_params=state.first_params,
        )
        return state, metrics | batch_diagnostics(batch)

    return Learner(init, update)
