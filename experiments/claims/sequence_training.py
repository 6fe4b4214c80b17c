"""Language models for claims: one warm-up for each seed, whoever goes on from it; tuned alike, judged alike.

laboratory = laboratory_of(CONFIG, size)
cloning = laboratory.trainer(lambda numbers: Side(make_method("oreal", negative_coefficient=numbers["negative"])))
accuracy = cloning.tuned({"negative": 0.5}).last("accuracy")
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from experiments.claims.tuning import Setting, choose
from experiments.claims.verdicts import Curves, Finding, Size
from rlx import reduce
from rlx.algorithms import grpo
from rlx.algorithms.grpo import GRPOState, Method
from rlx.algorithms.learner import Learner
from rlx.algorithms.responses import Responses
from rlx.diagnostics import pass_at_k
from rlx.envs.language.protocol import TokenTask
from rlx.recipes import grpo as recipe
from rlx.recipes import language, language_tasks
from rlx.training import responses, sources
from rlx.training.statistics import interquartile_mean

SIZE = Size(num_seeds=8, num_updates=80)
"""Seeds, and updates of each, a multiple of the evaluations."""
QUICK = Size(num_seeds=2, num_updates=2)
LEARNING_RATES = (1e-4, 3e-4, 1e-3)
"""What tuning begins with."""
LADDER = (1e-6, 3e-6, 1e-5, 3e-5, *LEARNING_RATES, 3e-3, 1e-2)
"""All learning rates. AdamW moves a weight by about the rate in a step: at 1e-6 some hundred steps leave weights of 0.1
as they are, and at 1e-2 ten steps are as large as the weights."""
NUM_EVALUATIONS = 8
NUM_LAST = 2
# Seeds that a learning rate is chosen on are none of those that a claim is judged by.
TUNING_SEEDS = 10_000
MARGIN = 0.05
"""Accuracy that a method may lose and still count as no worse."""

CONFIG = recipe.Config(
    task="addition@digits=2",
    warmup_steps=300,
    warmup_batch_size=64,
    eval_prompts=128,
    eval_samples=8,
)
"""Task and sizes of policies and batches; a claim says where it departs from them."""
WEAK = dataclasses.replace(CONFIG, warmup_steps=200)
"""After as many steps of warm-up half of the groups fail as a whole."""
TINY = {
    "warmup_steps": 2,
    "warmup_batch_size": 4,
    "num_prompts": 4,
    "group_size": 4,
    "eval_prompts": 4,
    "eval_samples": 2,
    "hidden_size": 8,
    "num_layers": 1,
    "num_heads": 1,
}
"""Sizes at which a claim is only seen to run."""

Numbers = Mapping[str, Float[Array, ""]]


def is_quick(size: Size) -> bool:
    """Whether it is only to be seen that a claim runs."""
    return size.num_seeds <= QUICK.num_seeds


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class FewPrompts(TokenTask):
    """A task with a given number of training prompts, which come again and again; its test prompts stay as many.

    Attributes:
        num_prompts: training prompts.
    """

    num_prompts: int

    def sample(self, key: PRNGKeyArray, split: str = "train") -> Any:
        """A problem of a split."""
        if split == "train":
            key = self._key(jax.random.randint(key, (), 0, self.num_prompts))
        return super().sample(key, split)

    def problems(self) -> Any:
        """The training problems, with a leading axis `[number]`; two of them may be the same."""
        return jax.vmap(lambda number: TokenTask.sample(self, self._key(number)))(jnp.arange(self.num_prompts))

    def _key(self, number: Int[Array, ""]) -> PRNGKeyArray:
        return jax.random.fold_in(jax.random.key(0), number)


def few_prompts(task: TokenTask, num_prompts: int) -> FewPrompts:
    """A task with so many training prompts."""
    fields = {field.name: getattr(task, field.name) for field in dataclasses.fields(task)}
    return FewPrompts(**fields, num_prompts=num_prompts)


def clipped_adam(learning_rate: Float[Array, ""]) -> optax.GradientTransformation:
    """The optimizer of every side."""
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(learning_rate))


class Side(NamedTuple):
    """One side of a comparison.

    Attributes:
        method: what is optimized.
        sample: what is learned from, `(key, structure, params, task, problems, *, group_size, temperature) ->
            Responses`.
        optimizer: from the learning rate.
        report: from the method's memory after an update to measures.
    """

    method: Method
    sample: Callable[..., Responses] = responses.rollout
    optimizer: Callable[[Float[Array, ""]], optax.GradientTransformation] = clipped_adam
    report: Callable[[PyTree], dict[str, Array]] = lambda memory: {}


class Run(NamedTuple):
    """Runs of one side.

    Attributes:
        evaluations: on test prompts, before training and after each share of it `[seed, 1 + evaluation]`; the prompts
            are the same all along, and at the same seed those of every side. `accuracy` is that of samples at
            temperature 1, `pass_at_k` for the number of samples, `entropy` in nats per token, `length` in tokens,
            `solved` the share of right samples to each prompt `[seed, 1 + evaluation, prompt]`, beside the
            laboratory's measures.
        metrics: of the updates in between, means `[seed, evaluation]`.
        numbers: that were trained with.
        updates: done before each evaluation.
    """

    evaluations: dict[str, np.ndarray]
    metrics: dict[str, np.ndarray]
    numbers: dict[str, float]
    updates: np.ndarray

    def last(self, name: str) -> np.ndarray:
        """Mean of the last evaluations; nothing is chosen by looking at them."""
        return self.evaluations[name][:, -NUM_LAST:].mean(axis=1)

    def first(self, name: str) -> np.ndarray:
        """What the warm-up gave."""
        return self.evaluations[name][:, 0]

    @property
    def setting(self) -> str:
        """In words, the learning rate that was chosen and what came of it."""
        start, end = (interquartile_mean(values("accuracy")) for values in (self.first, self.last))
        return f"learning rate {self.numbers['learning_rate']:g}, accuracy {start:.2f} to {end:.2f}"


class Laboratory:
    """A task, policies that were warmed up on its solutions, and what is measured of a policy.

    Attributes:
        task: the task.
        config: sizes.
        structure: of the policy.
        size: seeds and updates.
        lanes: runs at once.
    """

    def __init__(
        self,
        config: recipe.Config,
        size: Size,
        *,
        task: TokenTask | None = None,
        demonstrated: TokenTask | None = None,
        measures: Callable[[Any, Responses], dict[str, Array]] = lambda problems, batch: {},
    ):
        """Nothing is trained before the first side asks for it.

        Args:
            config: task and sizes of policies and batches; in a quick run the sizes of `TINY` take their place.
            size: seeds and updates.
            task: in place of the one that the config names.
            demonstrated: the task whose solutions the warm-up shows, if it is another.
            measures: more to measure, from test problems and samples `[prompt, sample]`.
        """
        self.config = dataclasses.replace(config, **TINY) if is_quick(size) else config
        self.task = language_tasks.make_environment(config) if task is None else task
        self.size, self.measures = size, measures
        self.structure = language.make_structure(self.config, self.task)
        # As many runs at once as there are seeds for tuning, so that one program serves; one after the other, which on
        # a CPU is faster than a batch of them.
        self.lanes = max(1, size.num_seeds // 2)
        shown = self.task if demonstrated is None else demonstrated
        warm_up = lambda seed: language.warm_up(self.config, shown, jax.random.key(seed))
        self._warm_up = jax.jit(lambda seeds: jax.lax.map(warm_up, seeds))
        self._evaluate = jax.jit(lambda params, seeds: jax.lax.map(lambda row: self._evaluation(*row), (params, seeds)))
        self._policies: dict[int, tuple[PyTree, dict[str, np.ndarray]]] = {}

    def policy(self, first_seed: int) -> tuple[PyTree, dict[str, np.ndarray]]:
        """Warmed-up policies of as many seeds as there are lanes, and their evaluation; made once for all sides."""
        if first_seed not in self._policies:
            seeds = self.seeds(first_seed)
            params = self._warm_up(seeds)
            self._policies[first_seed] = params, self.evaluate(params, seeds)
        return self._policies[first_seed]

    def seeds(self, first_seed: int) -> Int[Array, " lane"]:
        """Seeds of the lanes."""
        return first_seed + jnp.arange(self.lanes)

    def evaluate(self, params: PyTree, seeds: Int[Array, " lane"]) -> dict[str, np.ndarray]:
        """Measures of policies with a leading axis `[lane]`."""
        return jax.tree.map(np.asarray, self._evaluate(params, seeds))

    def trainer(self, side: Callable[[Numbers], Side], *, minibatches: int = 2) -> Trainer:
        """Trains a side with any of its numbers in one program.

        Args:
            side: from numbers to what is optimized.
            minibatches: gradient steps on each batch.
        """
        return Trainer(self, side, minibatches)

    @functools.cached_property
    def grpo(self) -> Run:
        """GRPO from these policies, what most are compared with; trained once for all claims in the laboratory."""
        return self.trainer(lambda numbers: Side(Method())).tuned()

    def _evaluation(self, params: PyTree, seed: Int[Array, ""]) -> dict[str, Array]:
        draw_key, sample_key = jax.random.split(jax.random.fold_in(jax.random.key(seed), 1))
        problems = responses.draw(draw_key, self.task, "test", self.config.eval_prompts)
        samples = self.config.eval_samples
        batch = responses.rollout(sample_key, self.structure, params, self.task, problems, group_size=samples)
        return {
            "accuracy": jnp.mean(batch.correct * 1.0),
            "pass_at_k": jnp.mean(pass_at_k(batch.correct, k=samples)),
            "entropy": reduce.token_mean(grpo.score(self.structure, params, batch).entropy, where=batch.where),
            "length": jnp.mean(batch.length * 1.0),
            "solved": jnp.mean(batch.correct * 1.0, axis=1),
        } | self.measures(problems, batch)


class Trainer:
    """Trains one side from the laboratory's policies."""

    def __init__(self, laboratory: Laboratory, side: Callable[[Numbers], Side], minibatches: int):
        self.laboratory, self.side, self._minibatches = laboratory, side, minibatches
        begin = lambda params, numbers: self._learner(numbers, params).init(jax.random.key(0), self._example)
        self._begin = jax.jit(jax.vmap(begin, (0, None)))
        self._train = jax.jit(lambda *lanes: jax.lax.map(lambda row: self._updates(*row, lanes[-1]), lanes[:-1]))

    def tuned(self, numbers: Mapping[str, float] | None = None) -> Run:
        """Choose the learning rate on seeds of its own, and train with it on others.

        Every side goes through here alike: it begins with the same rates and goes on by the same rule, the accuracy of
        the last evaluations decides, and half as many seeds are tried as the comparison has.

        Args:
            numbers: that the side depends on, beside the learning rate.
        """
        numbers, rates = dict(numbers or {}), LEARNING_RATES
        if is_quick(self.laboratory.size):
            rates = rates[1:2]

        def scores(settings: Sequence[Setting]) -> list[np.ndarray]:
            return [self._runs(numbers | dict(setting), TUNING_SEEDS).last("accuracy") for setting in settings]

        best = choose([{"learning_rate": rate} for rate in rates], {"learning_rate": LADDER}, scores)
        return self._trained(numbers | dict(best))

    def _trained(self, numbers: Mapping[str, float]) -> Run:
        """Runs of all seeds with given numbers, the learning rate among them."""
        count, lanes = self.laboratory.size.num_seeds, self.laboratory.lanes
        runs = [self._runs(numbers, seed) for seed in range(0, count, lanes)]
        joined = lambda *parts: np.concatenate(parts)[:count]
        evaluations, metrics = (
            jax.tree.map(joined, *(getattr(run, name) for run in runs)) for name in ("evaluations", "metrics")
        )
        return runs[0]._replace(evaluations=evaluations, metrics=metrics)

    def _runs(self, numbers: Mapping[str, float], first_seed: int) -> Run:
        """Runs of as many seeds as there are lanes."""
        laboratory = self.laboratory
        params, start = laboratory.policy(first_seed)
        seeds = laboratory.seeds(first_seed)
        traced = {name: jnp.asarray(value, jnp.float32) for name, value in numbers.items()}
        states = self._begin(params, traced)
        evaluations, metrics = [start], []
        for _ in range(self._num_evaluations):
            states, measured = self._train(states, seeds, traced)
            evaluations.append(laboratory.evaluate(states.params["policy"], seeds))
            metrics.append(jax.tree.map(np.asarray, measured))
        stacked = lambda *parts: np.stack(parts, axis=1)
        return Run(
            jax.tree.map(stacked, *evaluations),
            jax.tree.map(stacked, *metrics),
            dict(numbers),
            self._updates_between * np.arange(self._num_evaluations + 1),
        )

    @property
    def _num_evaluations(self) -> int:
        return min(NUM_EVALUATIONS, self.laboratory.size.num_updates)

    @property
    def _updates_between(self) -> int:
        return self.laboratory.size.num_updates // self._num_evaluations

    @property
    def _shape(self) -> tuple[int, int]:
        return self.laboratory.config.num_prompts, self.laboratory.config.group_size

    @property
    def _example(self) -> Responses:
        """A batch, of which shapes matter alone."""
        num_prompts, group_size = self._shape
        source = sources.responses(
            self.laboratory.task, self.laboratory.structure, num_prompts=num_prompts, group_size=group_size
        )
        return source.example(jax.random.key(0))

    def _learner(self, numbers: Numbers, params: PyTree = None) -> Learner:
        """The side's learner; what it begins with is for its `init` alone."""
        side = self.side(numbers)
        return grpo.learner(
            self.laboratory.structure,
            side.optimizer(numbers["learning_rate"]),
            side.method,
            params=lambda key: params,
            minibatches=self._minibatches,
        )

    def _updates(self, state: GRPOState, seed: Int[Array, ""], numbers: Numbers) -> tuple[GRPOState, dict[str, Array]]:
        laboratory, side, learner = self.laboratory, self.side(numbers), self._learner(numbers)
        num_prompts, group_size = self._shape

        def update(state: GRPOState, _: None):
            # Of seed and update alone: all sides see the same problems.
            key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), 2), state.update)
            draw_key, sample_key, update_key = jax.random.split(key, 3)
            batch = side.sample(
                sample_key,
                laboratory.structure,
                state.sampling_params,
                laboratory.task,
                responses.draw(draw_key, laboratory.task, "train", num_prompts),
                group_size=group_size,
                temperature=laboratory.config.temperature * side.method.temperature(state.memory),
            )
            state, metrics = learner.update(state, batch, update_key)
            return state, metrics | side.report(state.memory)

        state, metrics = jax.lax.scan(update, state, length=self._updates_between)
        return state, jax.tree.map(jnp.mean, metrics)


def laboratory_of(config: recipe.Config, size: Size) -> Laboratory:
    """The laboratory of a task as it is; claims of one process share it, and its warmed-up policies."""
    # In a quick run configs that differ in sizes alone are one.
    return _laboratory(dataclasses.replace(config, **TINY) if is_quick(size) else config, size)


@functools.lru_cache(maxsize=2)
def _laboratory(config: recipe.Config, size: Size) -> Laboratory:
    return Laboratory(config, size)


def no_less_accurate(method: Run, baseline: Run, name: str) -> Finding:
    """That a method's accuracy is at most `MARGIN` below another's."""
    return Finding(
        f"accuracy does not fall by {MARGIN} or more below that of {name}",
        f"accuracy at the end; the baseline is that of {name} less {MARGIN}",
        method.last("accuracy"),
        baseline.last("accuracy") - MARGIN,
        source="prediction",
    )


def more_accurate(method: Run, baseline: Run, statement: str, name: str, *, source: str) -> Finding:
    """That a method's accuracy is above another's, as the `source` expects."""
    return Finding(
        statement,
        f"accuracy at the end; against {name}",
        method.last("accuracy"),
        baseline.last("accuracy"),
        source=source,
    )


def curves_of(runs: Mapping[str, Run], measures: Mapping[str, str]) -> Curves:
    """The picture of runs by name: a panel for each measure, from its name to its title."""
    panels = {
        title: {name: run.evaluations[measure] for name, run in runs.items()} for measure, title in measures.items()
    }
    return Curves(next(iter(runs.values())).updates, "updates", "", panels)


def settings_of(runs: Mapping[str, Run]) -> dict[str, str]:
    """What was chosen for each run by name."""
    return {name: run.setting for name, run in runs.items()}
