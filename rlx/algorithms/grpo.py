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
from rlx.algorithms.scoring import TokenScores, judge, score
from rlx.losses import policy as policy_losses
from rlx.policies import transformer
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
            (`reference_log_prob`), "distribution" (logits of all policies in use), "value" (a critic of tokens),
            "token_reward" (a reward model of tokens) and "solution" (of the task, to each prompt, with its verdict).
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
        max_rounds: static; batches of prompts that are sampled at most until there are enough groups with a score
            above 0; where there are too few, the other groups are not learned from. With 1 all that is sampled is.
        retries: static; the second half of each group goes on from where the first half first went wrong, and both
            learn from what comes after that; a response that was right has no second one.
        critic_rate: step size of the critic, or of the reward model, in units of the policy's.
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
    max_rounds: int = 1
    retries: bool = False
    critic_rate: float = 1.0


GRPO_METHOD = Method()


class GRPOState(NamedTuple):
    """Everything that training carries on.

    Attributes:
        params: `{"policy"}` and, for a method that uses them, `{"critic"}` and `{"reward_model"}`.
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


USES = ("reference", "distribution", "value", "token_reward", "solution")
JUDGES = {"value": "critic", "token_reward": "reward_model"}
"""What a method uses of tokens → the model that says it: one like the policy, with a head."""


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
    packed_share: float = 0.0,
    measure_drift: bool = False,
    critic_optimizer: optax.GradientTransformation | None = None,
) -> Learner:
    """GRPO, or another method, as a learner from `Responses`.

    What a batch says of the policy that sampled it (`behavior_log_prob`) is believed, since that may be an earlier one;
    where it says nothing, it is the sampling policy of the state. All policies are scored at the temperature that a
    response was sampled at, so that the policy in training is the one that samples, and its batch on-policy.

    Args:
        config: structure of the policy, and of the critic or the reward model where the method uses one.
        optimizer: of the policy.
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
        packed_share: static; policies score responses that are packed into this share of as many rows, as of
            `rlx.algorithms.scoring.score`; a critic and a reward model do not.
        measure_drift: static; keep the policy of the start, from which evaluations then tell the divergence.
        critic_optimizer: of the critic and of the reward model, each with a state and a clipping of its own; None for
            one like `optimizer`. The method says by `critic_rate` how its step size should compare.

    Raises:
        ValueError: a count below one, a method that uses what does not exist, or packing of what is not packed.
    """
    make_params = partial(transformer.init, config=config) if params is None else params
    for name, count in (("epochs", epochs), ("minibatches", minibatches), ("renew_behavior", renew_behavior)):
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
    if unknown := method.uses - set(USES):
        raise ValueError(f"a method may use {', '.join(USES)}; got {', '.join(sorted(unknown))}")
    judges = [name for what, name in JUDGES.items() if what in method.uses]
    if judges:
        transforms = {name: critic_optimizer or optimizer for name in judges} | {"policy": optimizer}
        optimizer = optax.multi_transform(transforms, {name: name for name in transforms})
    distribution = "distribution" in method.uses
    if packed_share and (distribution or microbatch_size is not None):
        raise ValueError(
            f"packed_share must be 0 for a method that uses distributions, and with microbatch_size; got {packed_share}"
        )

    def init(key: PRNGKeyArray, example: Responses) -> GRPOState:
        policy_params = make_params(key)
        params = {"policy": policy_params}
        params |= {name: policy_params | {"head": jnp.zeros(config.hidden_size)} for name in judges}
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
            packed_share=packed_share,
        )

    def in_training(params: dict[str, PyTree], batch: Responses) -> Responses:
        found = scored(params["policy"], batch, remat=remat)
        batch = batch._replace(log_prob=found.log_prob, entropy=found.entropy, logits=found.logits)
        if "critic" in params:
            batch = batch._replace(value=judged(params["critic"], batch))
        if "reward_model" in params:
            batch = batch._replace(token_reward=judged(params["reward_model"], batch, after=True))
        return batch

    def judged(params: PyTree, batch: Responses, *, after: bool = False) -> Float[Array, "prompt group time"]:
        body = model({name: part for name, part in params.items() if name != "head"})
        return judge(config, body, params["head"], batch, after=after, remat=remat, microbatch_size=microbatch_size)

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
            now = judged(state.params["critic"], batch)
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
