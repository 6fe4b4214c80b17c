"""Group-relative policy optimization on a task of tokens: any method of the table, from a warmed-up or a loaded policy.

from rlx.recipes.grpo import Config, make_train
train = make_train(Config(task="addition", method="siren"))
state, metrics = jax.jit(jax.vmap(train))(jax.random.split(jax.random.key(0), 8))
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

from rlx.recipes.language_methods import METHODS, make_method


@dataclasses.dataclass(frozen=True)
class Config:
    """Configuration of a run. Numbers listed in `SWEEPABLE` may be traced arrays; the rest is static."""

    algorithm = "grpo"
    steps_name = "responses"
    num_envs = 0
    is_drawable = False

    task: str = "addition"
    """Task of tokens, `NAME` or `NAME@OPTION=VALUE`, such as addition@digits=4; `rlx methods` lists them. Or a file of
    questions and answers, FILE.jsonl, for --pretrained weights."""
    method: str = "grpo"
    """What is optimized, `NAME` or `NAME@OPTION=VALUE`; `rlx methods` lists them."""
    total_steps: int = 65_536
    """Sampled responses of each seed (rounded up to whole updates)."""
    num_prompts: int = 16
    """Prompts of an update."""
    group_size: int = 8
    """Responses to each."""
    oversample: int = 1
    """Prompts sampled for each that is learned from, among which groups with different rewards are preferred."""
    replayed: int = 0
    """Prompts of an update whose groups are drawn from those of past updates instead of being sampled."""
    replay_size: int = 512
    """Groups of the past that are kept for it."""
    epochs: int = 1
    """Passes over the responses of an update."""
    minibatches: int = 4
    """Gradient steps of a pass."""
    renew_behavior: int = 1
    """Updates after which the sampling policy becomes the trained one; responses in between are stale."""
    learning_rate: float = 3e-4
    """AdamW's step size."""
    weight_decay: float = 0.0
    """AdamW's decay."""
    max_grad_norm: float = 1.0
    """Norm to which gradients are clipped."""
    temperature: float = 1.0
    """Of sampling."""
    warmup_steps: int = 1000
    """Gradient steps on the task's own solutions before the first update; 0 for none."""
    warmup_batch_size: int = 128
    """Solutions of such a step."""
    warmup_learning_rate: float = 1e-3
    """AdamW's step size in it."""
    warm_start: str = ""
    """File of warmed-up policies to begin with, one of each seed, as `rlx ablate grpo` leaves it."""
    pretrained: str = ""
    """Folder of weights to begin with, in Hugging Face's format; none for a small random policy."""
    lora_rank: int = 0
    """Rank of adapters to the pretrained weights, which then stay as they are; 0 trains the weights themselves."""
    lora_alpha: float = 32.0
    """What adapters add is multiplied by this over their rank."""
    lora_matrices: tuple[str, ...] = ("query", "key", "value", "output", "gate", "up", "down")
    """Matrices that have an adapter."""
    hidden_size: int = 64
    """Width of the policy."""
    num_layers: int = 2
    """Its layers."""
    num_heads: int = 4
    """Its heads."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of its matrix products."""
    remat: bool = False
    """Recompute layers in the backward pass, for less memory."""
    eval_prompts: int = 128
    """Held-out prompts of an evaluation."""
    eval_samples: int = 16
    """Responses to each, for pass@k and majority votes."""

    @property
    def env(self) -> str:
        """What the run is called after."""
        return f"tokens:{self.task}"

    @property
    def steps_per_update(self) -> int:
        """Responses that an update of one seed samples."""
        return (self.num_prompts - self.replayed) * self.oversample * self.group_size

    @property
    def num_updates(self) -> int:
        """Updates needed for `total_steps`."""
        return math.ceil(self.total_steps / self.steps_per_update)


SWEEPABLE = ("learning_rate", "weight_decay", "max_grad_norm", "temperature", "warmup_learning_rate")
"""Hyperparameters that may be arrays: each can be an axis of a `vmap`."""


def hyperparameters(config: Config) -> dict[str, float]:
    """The sweepable numbers of a config."""
    return {name: getattr(config, name) for name in SWEEPABLE}


def named(text: str) -> tuple[str, dict[str, Any]]:
    """`"addition@digits=4"` as `("addition", {"digits": 4})`.

    Raises:
        ValueError: an option without a value.
    """
    name, *options = text.split("@")
    values = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals:
            raise ValueError(f"options are NAME@OPTION=VALUE, got {text!r}")
        try:
            values[key.strip()] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            values[key.strip()] = value  # a word
    return name, values


def make_environment(config: Config) -> Any:
    """The config's task.

    Raises:
        ValueError: there is no such task or option; a file of texts without a policy whose tokenizer reads it.
    """
    name, options = named(config.task)
    if name.endswith(".jsonl"):
        return _texts(name, config.pretrained, tuple(options.items()))
    from rlx.envs import language

    return language.make(name, **options)


@functools.lru_cache(maxsize=1)
def _texts(path: str, pretrained: str, options: tuple[tuple[str, Any], ...]) -> Any:
    from rlx.envs.language import text
    from rlx.policies import transformer

    if not pretrained:
        raise ValueError(f"the texts of task={path!r} need a tokenizer: name a folder of weights as pretrained")
    given = dict(options)
    if "end_token" not in given:
        given["end_token"] = text.end_of(pretrained)
    return text.from_jsonl(path, transformer.load_tokenizer(pretrained), **given)


def make_policy(config: Config, task: Any, weights: Any = None) -> tuple[Any, Callable]:
    """Structure of the policy, and from a random key what is learned of it: its parameters, or adapters.

    Args:
        config: the config.
        task: whose tokens a policy that is not pretrained knows.
        weights: the pretrained ones; None loads them.

    Raises:
        ValueError: adapters to weights that are random.
    """
    from rlx.policies import transformer

    if config.pretrained:
        structure, loaded = _pretrained(config.pretrained, config.dtype)
        weights = loaded if weights is None else weights
        if not config.lora_rank:
            return structure, lambda key: weights
        return structure, functools.partial(
            transformer.lora.init, params=weights, rank=config.lora_rank, matrices=config.lora_matrices
        )
    if config.lora_rank:
        raise ValueError(f"lora_rank={config.lora_rank} needs pretrained weights, which stay as they are")
    structure = transformer.Config(
        vocab_size=len(task.vocabulary),
        hidden_size=config.hidden_size,
        intermediate_size=4 * config.hidden_size,
        num_layers=config.num_layers,
        num_heads=config.num_heads,
        num_key_value_heads=config.num_heads,
        head_dim=max(2, config.hidden_size // config.num_heads),
        dtype=config.dtype,
    )
    return structure, functools.partial(transformer.init, config=structure)


@functools.lru_cache(maxsize=1)
def _pretrained(path: str, dtype: str) -> tuple[Any, Any]:
    import jax

    from rlx.policies import transformer

    # What is remembered must outlive the trace that asks for it.
    with jax.ensure_compile_time_eval():
        return transformer.load_pretrained(path, dtype=dtype)


def make_model(config: Config, weights: Any = None, combine: Literal["attach", "merge"] = "attach") -> Callable:
    """From what is learned to the policy's parameters.

    Args:
        config: the config.
        weights: the pretrained ones; None loads them.
        combine: how they go together with adapters: as the function of `transformer.lora`.
    """
    from rlx.policies import transformer

    if not config.lora_rank:
        return lambda params: params
    weights = _pretrained(config.pretrained, config.dtype)[1] if weights is None else weights
    return functools.partial(getattr(transformer.lora, combine), weights, scale=config.lora_alpha / config.lora_rank)


def make_learner(config: Config, task: Any, num_updates: int | None = None, weights: Any = None) -> Any:
    """The config's learner, a `rlx.algorithms.grpo.GRPO`."""
    import optax

    from rlx.algorithms import grpo

    structure, _ = make_policy(config, task, weights)
    name, options = named(config.method)
    optimizer = optax.chain(
        optax.clip_by_global_norm(config.max_grad_norm),
        optax.adamw(config.learning_rate, weight_decay=config.weight_decay),
    )
    return grpo.learner(
        structure,
        optimizer,
        make_method(name, **options),
        model=make_model(config, weights),
        epochs=config.epochs,
        minibatches=config.minibatches,
        renew_behavior=config.renew_behavior,
        remat=config.remat,
    )


def warm_up(config: Config, task: Any, key: Any, weights: Any = None) -> Any:
    """What is learned after `warmup_steps` of supervised learning on the task's training solutions.

    Args:
        config: the config.
        task: what has the solutions.
        key: random key.
        weights: the pretrained ones; None loads them.
    """
    import jax
    import optax

    from rlx.algorithms import sft
    from rlx.training import sequences

    structure, init = make_policy(config, task, weights)
    init_key, key = jax.random.split(key)
    params = init(init_key)
    if config.warmup_steps == 0:
        return params
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(config.warmup_learning_rate, weight_decay=config.weight_decay)
    )
    learner = sft.learner(structure, optimizer, model=make_model(config, weights), remat=config.remat)

    def step(state, key):
        draw_key, update_key = jax.random.split(key)
        batch = sequences.solutions(task, sequences.draw(draw_key, task, "train", config.warmup_batch_size))
        return learner.update(state, batch, update_key)

    state, _ = jax.lax.scan(step, learner.init(params), jax.random.split(key, config.warmup_steps))
    return state.params["policy"]


def make_program(
    config: Config,
    task: Any = None,
    num_updates: int | None = None,
    policy_params: Callable | None = None,
    weights: Any = None,
):
    """The config as a `rlx.training.Program`.

    Args:
        config: the config.
        task: in place of the one that it names.
        num_updates: of the run.
        policy_params: what to begin with, from a run's key, in place of a warm-up.
        weights: the pretrained ones, where they are an argument of the compiled program; None loads them.
    """
    from rlx.training import sequences

    task = make_environment(config) if task is None else task
    return sequences.make_program(
        task,
        make_learner(config, task, num_updates, weights),
        policy_params=functools.partial(warm_up, config, task, weights=weights)
        if policy_params is None
        else policy_params,
        num_prompts=config.num_prompts,
        group_size=config.group_size,
        oversample=config.oversample,
        replayed=config.replayed,
        replay_size=config.replay_size,
        temperature=config.temperature,
        eval_prompts=config.eval_prompts,
        eval_samples=config.eval_samples,
    )


def make_build(config: Config, num_updates: int) -> Callable[[Mapping], object]:
    """From a setting of the sweepable numbers to a `Program`: what `rlx.training.fit` drives."""
    from rlx.recipes import warm_start
    from rlx.training.compiled import WithData

    task = make_environment(config)
    policies = warm_start.load(config, task) if config.warm_start else None
    weights = _pretrained(config.pretrained, config.dtype)[1] if config.pretrained else None

    # What was read from files is an argument of the compiled program: constants would be compiled into it.
    def make(setting: Mapping, data: Any):
        policies, weights = data
        begin = functools.partial(warm_start.pick, policies) if config.warm_start else None
        return make_program(dataclasses.replace(config, **setting), task, num_updates, begin, weights)

    return WithData(make, (policies, weights))


def make_train(config: Config) -> Callable:
    """A whole run as a pure function `key -> (state, metrics)`, metrics one row per update; jit and vmap it."""
    from rlx.training import loop

    return loop.make_train(make_program(config), config.num_updates)


__all__ = [
    "METHODS",
    "SWEEPABLE",
    "Config",
    "hyperparameters",
    "make_build",
    "make_environment",
    "make_learner",
    "make_program",
    "make_train",
    "warm_up",
]
