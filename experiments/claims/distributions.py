"""Claims that need no groups of rollouts: on durations, on ties between actions, and on f-divergences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from experiments.claims.findings import Result, final
from experiments.claims.training import Tuned, tune_and_train
from experiments.claims.verdicts import Claim, Finding, Size
from rlx import reduce
from rlx.diagnostics import optimal_multiplicity
from rlx.losses import policy
from rlx.regularizers.divergence import f_derivative
from rlx.regularizers.entropy import categorical_entropy
from rlx.rewards import effective_reward
from rlx.tabular import soft_policy_stability_bound
from rlx.weighting import duration

ACTORS = 8
SECONDS = np.array([1.0, 10.0])
PAYOFF = np.array([0.5, 1.0])


def commit(key: Array, logits: Float[Array, " arm"]) -> Float[Array, "actor slot"]:
    """Ten seconds in which an actor repeats the arm that it drew: a share π of the time goes to each arm.

    This is the premise of the paper's formula: arms are seen in proportion to π/Δt.
    """
    arm = jax.random.categorical(key, logits, shape=(ACTORS, 1))
    slots = jnp.arange(10)
    return jnp.where(slots < 10 / jnp.asarray(SECONDS)[arm], arm, -1)


def redraw(key: Array, logits: Float[Array, " arm"]) -> Float[Array, "actor slot"]:
    """A hundred seconds in which an actor draws again after each arm: what the clock cuts off is lost, a little."""
    arm = jax.random.categorical(key, logits, shape=(ACTORS, 100))
    ends = jnp.cumsum(jnp.asarray(SECONDS)[arm], axis=1)
    return jnp.where(ends <= 100, arm, -1)


def bandit_train(
    collect: Callable[..., Array], *, weighted: bool, centered: bool, num_updates: int
) -> Callable[[Array, Any], dict[str, Array]]:
    """Policy gradient on two arms from what actors complete until a clock runs out."""

    def train(key: Array, learning_rate: Any) -> dict[str, Array]:
        optimizer = optax.adam(learning_rate)

        def update(carry, key):
            logits, state = carry
            arm = collect(key, logits)
            where = arm >= 0
            reward = jnp.asarray(PAYOFF, jnp.float32)[arm]
            advantage = reward - reduce.token_mean(reward, where=where) if centered else reward
            weight = duration(jnp.asarray(SECONDS, jnp.float32)[arm], where=where) if weighted else 1.0

            def loss(logits: Array):
                per_action = policy.policy_gradient(jax.nn.log_softmax(logits)[arm], advantage, where=where)
                return reduce.token_mean(weight * per_action, where=where)

            updates, state = optimizer.update(jax.grad(loss)(logits), state)
            logits = optax.apply_updates(logits, updates)
            probability = jax.nn.softmax(logits)
            return (logits, state), {"slow": probability[1], "success": probability @ jnp.asarray(PAYOFF, jnp.float32)}

        logits = jnp.zeros(2)
        _, curves = jax.lax.scan(update, (logits, optimizer.init(logits)), jax.random.split(key, num_updates))
        return curves

    return train


def duration_weight(size: Size) -> Result:
    """A fast arm (1 s, reward 0.5) and a slow, better one (10 s, reward 1), from equal probabilities.

    All have the rate that is best with the weight: the plain gradient's own is the lowest there is, at which it learns
    nothing, as what it learns is wrong.
    """

    def trained(collect: Callable[..., Array], rates: Sequence[float], *, weighted=False, centered=False) -> Tuned:
        train = bandit_train(collect, weighted=weighted, centered=centered, num_updates=size.num_updates)
        return tune_and_train(train, num_seeds=size.num_seeds, learning_rates=rates)

    weighted = trained(commit, size.learning_rates, weighted=True)
    rate = (weighted.learning_rate,)
    plain, centered = (trained(commit, rate, centered=centered) for centered in (False, True))
    again = trained(redraw, rate)
    slow = lambda tuned: final(tuned.curves["slow"])
    measure = "final probability of the slow, better arm"
    findings = [
        Finding(
            "the plain policy gradient ends at the fast arm",
            f"{measure}, against 0.5",
            slow(plain),
            0.5,
            "lower",
            source="paper",
        ),
        Finding(
            "weighted by duration it ends at the better arm",
            f"{measure}, against 0.5",
            slow(weighted),
            0.5,
            source="paper",
        ),
        Finding(
            "the weight earns more",
            "final mean reward of an action, against the plain gradient's",
            final(weighted.curves["success"]),
            final(plain.curves["success"]),
            source="paper",
        ),
        Finding(
            "the plain gradient ends at the fast arm also with the batch's mean as baseline",
            f"{measure}, against 0.5",
            slow(centered),
            0.5,
            "lower",
            source="prediction",
        ),
        Finding(
            "the plain gradient ends at the fast arm also where actors draw again after each action",
            f"{measure}, against 0.5",
            slow(again),
            0.5,
            "lower",
            source="prediction",
        ),
    ]
    return findings, {"learning rate of all": weighted.learning_rate}


def policy_cliff(size: Size) -> Result:
    """Random decision processes in which every action has a copy, so that two actions are optimal in every state."""
    states, pairs, discount, noise, weight = 20, 4, 0.9, 1e-3, 1e-3
    temperatures = (0.01, 0.1, 0.5)

    def values(reward: Array, transition: Array, aggregate: Callable[[Array], Array]) -> Array:
        # 0.9^300 is below the rounding of float32.
        backup = lambda _, q: reward + discount * transition @ aggregate(q)
        return jax.lax.fori_loop(0, 300, backup, reward)

    def optimal(reward: Array, transition: Array, tolerance: float = 1e-5) -> Array:
        """Uniform over the optimal actions; the tolerance is above the rounding of values near 10."""
        q = values(reward, transition, lambda q: jnp.max(q, axis=-1))
        best = q >= jnp.max(q, axis=-1, keepdims=True) - tolerance
        return best / optimal_multiplicity(q, tolerance=tolerance)[:, None]

    def soft(reward: Array, transition: Array, temperature: float) -> Array:
        soft_value = lambda q: temperature * jax.nn.logsumexp(q / temperature, axis=-1)
        return jax.nn.softmax(values(reward, transition, soft_value) / temperature)

    def run(key: Array) -> dict[str, Array]:
        reward_key, other_key, transition_key, noise_key = jax.random.split(key, 4)
        twice = lambda x: jnp.concatenate([x, x], axis=1)
        reward = twice(jax.random.uniform(reward_key, (states, pairs)))
        transition = twice(jax.random.dirichlet(transition_key, jnp.ones(states), (states, pairs)))
        other = jax.random.uniform(other_key, reward.shape)
        moved = reward + jax.random.uniform(noise_key, reward.shape, minval=-noise, maxval=noise)
        gap = jnp.max(jnp.abs(moved - reward))
        distance = lambda p, q: jnp.max(0.5 * jnp.sum(jnp.abs(p - q), axis=-1))

        best = optimal(reward, transition)
        result = {
            "multiplicity": jnp.mean(jnp.sum(best > 0, axis=-1)),
            "hard": distance(best, optimal(moved, transition)),
        }
        for temperature in temperatures:
            policies = (soft(r, transition, temperature) for r in (reward, moved))
            result[f"soft {temperature}"] = distance(*policies)
            result[f"bound {temperature}"] = soft_policy_stability_bound(
                gap, temperature=temperature, discount=discount
            )
        # Copies lead to the same states, so that the second reward of the action alone breaks the tie.
        mixed = effective_reward(jnp.stack([reward, other], axis=-1), jnp.array([1.0, weight]))
        chosen = jnp.argmax(optimal(mixed, transition), axis=-1)
        preferred = jnp.argmax(jnp.where(best > 0, other, -jnp.inf), axis=-1)
        return result | {"broken": jnp.mean(chosen == preferred)}

    keys = jax.vmap(jax.random.key)(jnp.arange(size.num_seeds))
    measured = jax.tree.map(np.asarray, jax.jit(jax.vmap(run))(keys))
    measure = "largest total variation over states after a change of rewards by at most 0.001"
    findings = [
        Finding(
            "the optimal policy jumps",
            f"{measure}; uniform over optimal actions, against 0.1",
            measured["hard"],
            0.1,
            source="paper",
        ),
        *(
            Finding(
                f"at temperature {temperature} the soft policy keeps to its bound",
                f"{measure}, against the bound",
                measured[f"soft {temperature}"],
                measured[f"bound {temperature}"],
                "lower",
                source="paper",
            )
            for temperature in temperatures
        ),
        Finding(
            "a second reward breaks ties however small its weight",
            "share of states with the action that it prefers among the optimal ones, weight 0.001, against 0.9",
            measured["broken"],
            0.9,
            source="paper",
        ),
    ]
    return findings, {"mean number of optimal actions": round(float(measured["multiplicity"].mean()), 3)}


DIVERGENCES = ("forward_kl", "jensen_shannon", "total_variation", "reverse_kl")


def f_dpg(size: Size) -> Result:
    """A reference over 50 outcomes, conditioned on ten of them being allowed, approached along four divergences.

    A table can be equal to the target, so that in the end all divergences agree; they differ in the way there. Hence
    both: one small learning rate for all, with which nothing has converged, and the tuned ones.
    """
    outcomes, valid, samples, num_updates = 50, 10, 256, 2 * size.num_updates
    slow = (0.02,)

    def trained(divergence: str, learning_rates: Sequence[float]) -> Tuned:
        def train(key: Array, learning_rate: Any) -> dict[str, Array]:
            optimizer = optax.adam(learning_rate)
            reference_key, key = jax.random.split(key)
            reference = jax.nn.log_softmax(jax.random.normal(reference_key, (outcomes,)))
            score = policy.constraint_target(reference, jnp.arange(outcomes) < valid)

            def update(carry, index_and_key):
                logits, state, normalizer = carry
                index, key = index_and_key
                outcome = jax.random.choice(key, outcomes, (samples,), p=jax.nn.softmax(logits))
                log_prob = jax.nn.log_softmax(logits)[outcome]
                # Z is the mean of its estimates so far: one of them alone has a large variance.
                estimate = jnp.exp(policy.log_normalizer(score[outcome], log_prob))
                normalizer = normalizer + (estimate - normalizer) / (index + 1)
                log_normalizer = jnp.log(jnp.maximum(normalizer, 1e-6))
                log_ratio = jnp.clip(log_prob - (score[outcome] - log_normalizer), -30, 30)
                baseline = jnp.mean(-f_derivative(log_ratio, divergence=divergence))

                def loss(logits: Array):
                    per_sample = policy.f_dpg(
                        jax.nn.log_softmax(logits)[outcome],
                        log_prob,
                        score[outcome],
                        log_normalizer=log_normalizer,
                        divergence=divergence,
                        baseline=baseline,
                    )
                    return jnp.mean(per_sample)

                updates, state = optimizer.update(jax.grad(loss)(logits), state)
                logits = optax.apply_updates(logits, updates)
                probability = jax.nn.softmax(logits)
                curves = {
                    "valid": jnp.sum(probability[:valid]),
                    "entropy": categorical_entropy(logits[:valid]),
                    "distance": 0.5 * jnp.sum(jnp.abs(probability - jax.nn.softmax(score))),
                }
                return (logits, state, normalizer), curves

            carry = (reference, optimizer.init(reference), jnp.zeros(()))
            steps = (jnp.arange(num_updates), jax.random.split(key, num_updates))
            _, curves = jax.lax.scan(update, carry, steps)
            return curves

        # Every divergence has the same target, and the distance to it is what all rates are chosen by.
        return tune_and_train(
            train,
            num_seeds=size.num_seeds,
            learning_rates=learning_rates,
            score=lambda curves: -final(curves["distance"]),
        )

    label = dict(zip(DIVERGENCES, ("forward KL", "Jensen–Shannon", "total variation", "reverse KL"), strict=True))
    units = {"valid": "P(valid)", "entropy": "entropy within the valid outcomes (nats)"}

    def compare(runs: dict[str, Tuned], place: str, what: str, above: str, below: str) -> Finding:
        statement = f"{label[above]} has more {'valid mass' if what == 'valid' else 'diversity'} than {label[below]}"
        ends = (final(runs[name].curves[what]) for name in (above, below))
        # The paper recommends the Jensen–Shannon divergence between the other two; total variation is ours to compare.
        source = "prediction" if above == "total_variation" else "paper"
        return Finding(statement, f"final {units[what]}, {place}", *ends, source=source)

    on_the_way = {divergence: trained(divergence, slow) for divergence in DIVERGENCES}
    tuned = {divergence: trained(divergence, size.learning_rates) for divergence in DIVERGENCES}
    ways = [
        (on_the_way, f"learning rate {slow[0]} for all"),
        (tuned, "tuned learning rates"),
    ]
    findings = [
        compare(runs, place, what, above, below)
        for runs, place in ways
        for what, above, below in (
            ("entropy", "forward_kl", "reverse_kl"),
            ("valid", "reverse_kl", "forward_kl"),
            ("entropy", "jensen_shannon", "reverse_kl"),
            ("valid", "jensen_shannon", "forward_kl"),
            ("entropy", "total_variation", "reverse_kl"),
            ("valid", "total_variation", "forward_kl"),
        )
    ]
    summary = lambda runs, name: ", ".join(f"{final(runs[name].curves[what]).mean():.3f}" for what in units)
    return findings, {
        "gradient steps": num_updates,
        "tuned learning rates": ", ".join(f"{tuned[name].learning_rate} for {label[name]}" for name in DIVERGENCES),
        "P(valid) and entropy at 0.02": "; ".join(f"{summary(on_the_way, name)} {label[name]}" for name in DIVERGENCES),
        "tuned": "; ".join(f"{summary(tuned, name)} {label[name]}" for name in DIVERGENCES),
    }


CLAIMS = {
    "duration": Claim(
        "duration-aware gradients",
        "(Yang et al., 2025, arXiv 2509.01684)",
        ("rlx.weighting.duration",),
        duration_weight,
    ),
    "policy_cliff": Claim(
        "Policy Cliff",
        "(Xu, 2025, arXiv 2507.20150)",
        (
            "rlx.tabular.soft_policy_stability_bound",
            "rlx.diagnostics.optimal_multiplicity",
            "rlx.rewards.effective_reward",
        ),
        policy_cliff,
    ),
    "f_dpg": Claim(
        "f-DPG",
        "(Go et al., 2023, arXiv 2302.08215)",
        (
            "rlx.losses.policy.f_dpg",
            "rlx.losses.policy.constraint_target",
            "rlx.losses.policy.log_normalizer",
            "rlx.regularizers.divergence.f_derivative",
        ),
        f_dpg,
    ),
}
