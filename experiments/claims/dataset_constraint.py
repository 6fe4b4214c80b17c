"""Which action the policy stays near: the data's at the state, a better one that is generated, the nearest pair's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from experiments.claims import logged
from experiments.claims.logged import Logged
from experiments.claims.offline_training import QUICK, SMALL, Trained, train, tune_and_train
from experiments.claims.verdicts import Claim, Curves, Finding, Size
from rlx import data, policies

# Half of the usual steps: PRDC compares every batch with the whole dataset.
SIZE = Size(num_seeds=8, num_updates=10_000)
MARGIN = 5.0
"""Points of normalized score that a method may lie below another and still count as no worse."""
FAILURE = 20.0
"""Points below TD3+BC at which TD3 has failed."""
ALPHAS = (2.5, 40.0)
"""What is tried first for each method, the papers' two on locomotion: α is in all of them, and all else stays."""
OFF_POLICY = 1e6
"""α of TD3+BC at which nothing but the value counts, and it is TD3."""
# Three times the papers' step sizes for a hundredth of their steps, and generators as wide as the other networks.
RATES = {"learning_rate": 1e-3, "critic_learning_rate": 1e-3}
OPTIONS = {"a2pr": {"vae_hidden_sizes": (64, 64)}}
NAMES = {"td3_bc": "TD3+BC", "a2pr": "A2PR", "prdc": "PRDC"}
BETA = 2.0
NUM_PROBED = 500

Problem = tuple[Logged, dict[str, Any]]


def a2pr(size: Size) -> tuple:
    """A better action of a generator in place of the data's, where most of the data are bad and actions hardly vary.

    Random data, in which all actions are, TD3 learns from without any constraint. Here a weak swing-up does nearly the
    same each time that it comes to a state, and so does a better one, in a fifth of the data. PRDC takes part on the
    hopper, whose data are as the paper mixes them: a tenth of a medium policy.
    """
    is_quick = size.num_seeds <= QUICK.num_seeds
    problems = _problems(
        size,
        pendulum=lambda rows: logged.pendulum({"weak": 0.8, "expert": 0.2}, num_steps=rows),
        hopper=lambda rows: logged.hopper({"random": 0.9, "medium": 0.1}, num_steps=rows),
    )
    described = {name: source.description for name, (source, _) in problems.items()}
    runs, value_errors = {}, {}
    for name, problem in problems.items():
        others = ("a2pr", "prdc") if name == "hopper" else ("a2pr",)
        # TD3 is of the same program as TD3+BC, while that is there.
        runs[name] = _tuned(problem, "td3_bc", size=size) | {"TD3": _trained(problem, OFF_POLICY, size)}
        runs[name] |= _tuned(problem, *others, size=size)
        value_errors[name] = {
            learner: _value_error(runs[name][learner], problem[0], is_quick) for learner in ("A2PR", "TD3")
        }
    findings = [
        finding
        for problem, of in runs.items()
        for other in ("TD3+BC", "PRDC")
        if other in of
        for finding in _comparisons(problem, "A2PR", other, of, described)
    ]
    findings += _failing(runs, described)
    findings += _less_overestimation("A2PR", value_errors, described)
    return findings, _settings(runs, value_errors), _curves(runs)


def prdc(size: Size) -> tuple:
    """The action of the nearest pair of the data in place of the one at the state, where policies are mixed.

    Distances are compared at one α, PRDC's: how far a policy strays is what α says, and the methods may have chosen
    apart.
    """
    is_quick = size.num_seeds <= QUICK.num_seeds
    problems = _problems(
        size,
        pendulum=lambda rows: logged.pendulum({"weak": 0.5, "expert": 0.5}, num_steps=rows),
        hopper=lambda rows: logged.hopper({"medium": 0.5, "expert": 0.5}, num_steps=rows),
    )
    described = {name: source.description for name, (source, _) in problems.items()}
    runs, value_errors, findings = {}, {}, []
    for name, problem in problems.items():
        of = _tuned(problem, "td3_bc", "prdc", size=size)
        alpha = of["PRDC"].setting["alpha"]
        alike = of["TD3+BC"] if alpha == of["TD3+BC"].setting["alpha"] else _trained(problem, alpha, size)
        of["TD3"] = _trained(problem, OFF_POLICY, size)
        value_errors[name] = {learner: _value_error(of[learner], problem[0], is_quick) for learner in ("PRDC", "TD3")}
        (own, nearest), (own_alike, nearest_alike) = (_distances(run, problem[0]) for run in (of["PRDC"], alike))
        what = "‖(2·s, π(s)) − (2·s_i, a_i)‖ to the nearest row i"
        findings += [
            *_comparisons(name, "PRDC", "TD3+BC", of, described),
            Finding(
                f"the policy is farther from the action at the state on the {name}",
                "mean ‖π(s) − a‖; the baseline is TD3+BC with the same α",
                own,
                own_alike,
                source="prediction",
                data=described[name],
            ),
            Finding(
                f"but not by 5 % from the nearest pair on the {name}",
                f"mean {what}; the baseline is 1.05 times that of TD3+BC with the same α",
                nearest,
                1.05 * nearest_alike,
                "lower",
                source="prediction",
                data=described[name],
            ),
        ]
        runs[name] = of
    findings += _failing(runs, described)
    findings += _less_overestimation("PRDC", value_errors, described)
    return findings, _settings(runs, value_errors), _curves(runs)


def _problems(size: Size, **makers: Callable[[int], Logged]) -> dict[str, Problem]:
    """Datasets by name, and what of the training is particular to them; only the first to see that a claim runs."""
    if size.num_seeds <= QUICK.num_seeds:
        name = next(iter(makers))
        return {name: (makers[name](400), {"eval_episodes": 2, "num_evaluations": 2})}
    # The hopper's episodes take most of the time of its runs.
    options = {"hopper": {"eval_episodes": 5}}
    return {name: (make(5_000), options.get(name, {})) for name, make in makers.items()}


def _tuned(problem: Problem, *learners: str, size: Size) -> dict[str, Trained]:
    source, options = problem
    settings = [RATES | {"alpha": alpha} for alpha in ALPHAS]
    return {
        NAMES[name]: tune_and_train(name, source, settings, size=size, **options, **OPTIONS.get(name, {}))
        for name in learners
    }


def _trained(problem: Problem, alpha: float, size: Size) -> Trained:
    """TD3+BC with a given α."""
    source, options = problem
    steps = {"num_seeds": size.num_seeds, "num_steps": size.num_updates}
    return train("td3_bc", source, RATES | {"alpha": alpha}, **steps, **options)


def _comparisons(
    problem: str, method: str, other: str, runs: Mapping[str, Trained], described: Mapping[str, str]
) -> list[Finding]:
    score, baseline = runs[method].last, runs[other].last
    return [
        Finding(
            f"no {MARGIN:.0f} points below {other} on the {problem}",
            f"normalized score; the baseline is that of {other} less {MARGIN:.0f}",
            score,
            baseline - MARGIN,
            source="prediction",
            data=described[problem],
        ),
        Finding(
            f"better than {other} on the {problem}",
            f"normalized score; the baseline has {other}",
            score,
            baseline,
            source="paper",
            data=described[problem],
        ),
    ]


def _failing(runs: Mapping[str, Mapping[str, Trained]], described: Mapping[str, str]) -> list[Finding]:
    """That there is something to mend: TD3, held to nothing, fails on data of which TD3+BC makes something."""
    return [
        Finding(
            f"control: without a constraint TD3 fails on the {problem}",
            f"normalized score of TD3; the baseline is that of TD3+BC less {FAILURE:.0f}",
            of["TD3"].last,
            of["TD3+BC"].last - FAILURE,
            "lower",
            source="prediction",
            data=described[problem],
        )
        for problem, of in runs.items()
    ]


def _less_overestimation(
    method: str, value_errors: Mapping[str, Mapping[str, np.ndarray]], described: Mapping[str, str]
) -> list[Finding]:
    return [
        Finding(
            f"values overestimate less than TD3's on the {problem}",
            "Q(s, π(s)) less the discounted return from s, mean over first states; the baseline has TD3",
            of[method],
            of["TD3"],
            "lower",
            source="paper",
            data=described[problem],
        )
        for problem, of in value_errors.items()
    ]


def _value_error(run: Trained, source: Logged, is_quick: bool) -> Float[np.ndarray, " seed"]:
    """Q_1(s, π(s)) less the discounted return that follows, mean over first states of episodes.

    Values know of no time limit, so there is none here; what comes after the last step counts for 0.7 %.
    """
    num_episodes, num_steps, discount = (2, 10, 0.99) if is_quick else (32, 500, 0.99)
    environment = dataclasses.replace(source.environment, max_episode_steps=None)
    critic = policies.action_critic(SMALL["critic_hidden_sizes"])
    _, mean, scale = data.normalize_observations(source.dataset)
    start_key, step_key = jax.random.split(jax.random.key(0))
    start_keys = jax.random.split(start_key, num_episodes)
    step_keys = jax.random.split(step_key, (num_steps, num_episodes))

    def measure(state: PyTree[Array]) -> Float[Array, ""]:
        states, first = jax.vmap(environment.reset)(start_keys)

        def interact(carry: tuple, now: tuple[Array, Array]):
            (states, observation, alive), (time, keys) = carry, now
            states, step = jax.vmap(environment.step)(states, run.learner.mode(state, observation), keys)
            reward = alive * discount**time * step.reward
            return (states, step.observation, alive & ~(step.terminated | step.truncated)), reward

        start = states, first, jnp.ones(num_episodes, bool)
        _, rewards = jax.lax.scan(interact, start, (jnp.arange(num_steps), step_keys))
        action = run.learner.mode(state, first)
        value = critic.apply(state.params["critic"], (first - mean) / scale, action)[0]
        return jnp.mean(value - rewards.sum(0))

    return run.probe(measure)


def _distances(run: Trained, source: Logged) -> tuple[Float[np.ndarray, " seed"], Float[np.ndarray, " seed"]]:
    """Mean distance of the policy's action from the data's at the same state, and of the pair from the nearest one."""
    dataset = source.dataset
    normalized, _, _ = data.normalize_observations(dataset)
    keys = jnp.concatenate([BETA * normalized.observation, dataset.action], axis=-1)
    count = min(NUM_PROBED, dataset.num_rows)
    rows = jax.random.choice(jax.random.key(0), dataset.num_rows, (count,), replace=False)

    def measure(state: PyTree[Array]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        action = run.learner.mode(state, dataset.observation[rows])
        query = jnp.concatenate([BETA * normalized.observation[rows], action], axis=-1)
        _, nearest = data.nearest_neighbor(query, keys)
        return jnp.stack([jnp.mean(jnp.linalg.norm(action - dataset.action[rows], axis=-1)), jnp.mean(nearest)])

    own, nearest = run.probe(measure).T
    return own, nearest


def _settings(
    runs: Mapping[str, Mapping[str, Trained]], value_errors: Mapping[str, Mapping[str, np.ndarray]]
) -> dict[str, Any]:
    def told(problem: str, learner: str, run: Trained) -> str:
        error = value_errors[problem].get(learner)
        words = [] if learner == "TD3" else [f"α {run.setting['alpha']:g}"]
        words += [f"score {run.last.mean():.0f}"]
        return ", ".join(words if error is None else [*words, f"value too high by {error.mean():.3g}"])

    return {
        f"{learner} on the {problem}": told(problem, learner, run)
        for problem, of in runs.items()
        for learner, run in of.items()
    }


def _curves(runs: Mapping[str, Mapping[str, Trained]]) -> Curves:
    panels = {problem: {learner: run.score for learner, run in of.items()} for problem, of in runs.items()}
    steps = next(iter(runs.values()))["TD3"].steps
    return Curves(steps, "gradient steps", "normalized score", panels)


CLAIMS = {
    "a2pr": Claim(
        "A2PR",
        "(Liu et al., 2024, arXiv 2405.19909)",
        ("rlx.regularizers.behavior.advantage_guided", "rlx.losses.generative.conditional_vae"),
        a2pr,
        SIZE,
        QUICK,
        "datasets",
    ),
    "prdc": Claim(
        "PRDC",
        "(Ran et al., 2023, arXiv 2306.06569)",
        ("rlx.regularizers.behavior.dataset_constraint", "rlx.data.nearest_neighbor"),
        prdc,
        SIZE,
        QUICK,
        "datasets",
    ),
}
