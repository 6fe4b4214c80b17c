"""What recipes of language models have in common: a task, a policy and where it begins, a warm-up, evaluations."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

from rlx.recipes.language_tasks import check_task
from rlx.recipes.settings import COUNT, NOT_NEGATIVE, POSITIVE, SettingError, setting
from rlx.recipes.wiring import Config


@dataclasses.dataclass(frozen=True)
class Language(Config):
    """A task, a language model, and how it begins and is evaluated."""

    steps_name: ClassVar[str] = "responses"

    task: str = setting(
        "addition@forgetful=0.8",
        "Task of tokens, NAME or NAME@OPTION=VALUE, such as addition@digits=4; `rlx methods` lists them. Or a file of "
        "questions and answers, FILE.jsonl or FILE.parquet, for --pretrained weights: evaluations ask each of its test "
        "prompts once, and training asks all of its training prompts before one comes again. Options of a file: prompt "
        "and answer are its columns (question and answer; reward_model.ground_truth is one within another); "
        "prompt_length and response_length the most tokens (256 each); test is a file to test on (otherwise an eighth "
        "of the prompts); template is what the policy sees, a text with {prompt} in it; reward is a function "
        "module:function of prompt, response and answer, and without it answers are compared, of a response the one in "
        "\\boxed{…} or behind ####, with last_number=True else its last number; turn is a function module:function "
        "that replies to the messages so far.",
        group="environment",
    )
    learning_rate: float = setting(3e-4, "AdamW's step size.", within=POSITIVE, swept=True)
    weight_decay: float = setting(0.0, "AdamW's weight decay.", within=NOT_NEGATIVE, swept=True)
    max_grad_norm: float = setting(
        1.0, "Norm to which the gradient of all parameters is clipped.", within=POSITIVE, swept=True
    )
    warmup_steps: int = setting(
        1000,
        "Gradient steps on the task's own solutions before the first update; 0 for none.",
        group="scale",
        within=NOT_NEGATIVE,
    )
    warmup_batch_size: int = setting(128, "Solutions of a step of the warm-up.", group="scale", within=COUNT)
    warmup_learning_rate: float = setting(1e-3, "AdamW's step size in the warm-up.", within=POSITIVE, swept=True)
    warm_start: str = setting(
        "",
        "File of warmed-up policies to begin with, one of each seed, as `rlx ablate grpo` leaves it; empty for a "
        "warm-up of the run's own.",
        group="data",
    )
    pretrained: str = setting(
        "",
        "Folder of weights to begin with, in Hugging Face's format; empty for a small random policy.",
        group="data",
    )
    chat_template: str = setting(
        "",
        "Chat template of prompts that are lists of messages: a file, a name among those of --pretrained, or none for "
        "the messages' contents, each on a line of its own; empty for the template of --pretrained.",
        group="data",
    )
    lora_rank: int = setting(
        0,
        "Rank of adapters to the pretrained weights, which then stay as they are; 0 trains the weights themselves.",
        group="network",
        within=NOT_NEGATIVE,
    )
    lora_alpha: float = setting(
        32.0, "What adapters add is multiplied by this over their rank.", group="network", within=POSITIVE
    )
    lora_matrices: tuple[str, ...] = setting(
        ("query", "key", "value", "output", "gate", "up", "down"), "Matrices that have an adapter.", group="network"
    )
    hidden_size: int = setting(64, "Width of a policy that is not pretrained.", group="network", within=COUNT)
    num_layers: int = setting(2, "Layers of a policy that is not pretrained.", group="network", within=COUNT)
    num_heads: int = setting(4, "Attention heads of a policy that is not pretrained.", group="network", within=COUNT)
    dtype: Literal["float32", "bfloat16"] = setting(
        "float32",
        "Precision of the policy's matrix products, and of pretrained weights that have adapters; what is learned, and "
        "the optimizer's moments, stay in float32.",
        group="network",
    )
    remat: bool = setting(
        False, "Recompute the policy's layers in the backward pass, for less memory.", group="network"
    )
    microbatch_size: int = setting(
        0,
        "Responses that are scored, forward and backward, at a time, which bounds the memory of a gradient step and "
        "changes nothing else; 0 for all of a minibatch.",
        group="network",
        within=NOT_NEGATIVE,
    )
    eval_prompts: int = setting(
        128,
        "Held-out prompts of an evaluation, drawn at random; those of a file of questions are all asked, this many at "
        "a time.",
        group="reporting",
        within=COUNT,
    )
    eval_samples: int = setting(
        16,
        "Responses to each held-out prompt of an evaluation, for pass@k and majority votes.",
        group="reporting",
        within=COUNT,
    )

    def __post_init__(self):
        super().__post_init__()
        check_task(self.task, self.pretrained)
        if self.lora_rank and not self.pretrained:
            raise SettingError(
                "lora_rank", f"must be 0 without pretrained weights, which adapters are added to; got {self.lora_rank}"
            )
        if self.chat_template and not self.pretrained:
            raise SettingError(
                "chat_template",
                f"is for files of texts, which need pretrained weights; leave it out, or name both; got "
                f"{self.chat_template!r:.200}",
            )

    @property
    def env_name(self) -> str:
        """What a run is called after: its task."""
        return self.task


def subject(values: Mapping[str, Any]) -> str:
    """What presets of language models go by: whether there are weights to begin with, or else the task."""
    if values.get("pretrained"):
        return "adapters to pretrained weights" if values.get("lora_rank") else "pretrained weights"
    return values.get("task", Language.task).partition("@")[0]


def notes(config: Language, *, copies: int, models: int = 1) -> list[str]:
    """What a person should know before pretrained weights are trained: how much is learned, how fast, in what memory.

    Args:
        config: the config.
        copies: of the policy's parameters that a run keeps beside them.
        models: that are learned, with a critic two.
    """
    if not config.pretrained:
        return []
    import jax

    from rlx.policies import transformer
    from rlx.training.progress import bytes_in_words, engineering

    structure = make_structure(config, None)
    key = jax.random.key(0)
    whole = jax.eval_shape(functools.partial(transformer.init, config=structure), key)
    learned, frozen, what = whole, 0, "all weights"
    if config.lora_rank:
        adapters = functools.partial(transformer.lora.init, rank=config.lora_rank, matrices=config.lora_matrices)
        learned, frozen = jax.eval_shape(adapters, key, whole), structure.num_parameters * structure.bytes_per_parameter
        what = f"adapters of rank {config.lora_rank}"
    count = sum(leaf.size for leaf in jax.tree.leaves(learned))
    # Parameters, their gradients and AdamW's two moments, in float32.
    needed = frozen + 4 * count * (4 * models + copies)
    return [
        f"trains {what} of {config.pretrained}: {engineering(count)} of {engineering(structure.num_parameters)} "
        f"parameters, at a learning rate of {config.learning_rate:g}",
        f"each seed takes {bytes_in_words(needed)} of memory, and what a gradient step computes on the way",
    ]


class Loaded(NamedTuple):
    """What was read from files, an argument of the compiled program; None where there is no such file.

    Attributes:
        weights: pretrained parameters.
        policies: a `rlx.recipes.warm_start.Policies`.
    """

    weights: Any = None
    policies: Any = None


def load(config: Language) -> Loaded | None:
    """What the config's files hold; None where it names none.

    Raises:
        SettingError: a file of warmed-up policies that is none, or has policies of another shape.
    """
    if not (config.pretrained or config.warm_start):
        return None
    from rlx.recipes import warm_start

    return Loaded(
        weights=_weights(config, None) if config.pretrained else None,
        policies=warm_start.load(config) if config.warm_start else None,
    )


def check_seeds(config: Language, seeds: Sequence[int]) -> None:
    """Check that a run of each seed has something to begin with, before anything is compiled.

    Raises:
        SettingError: a seed of which the file of warmed-up policies has none.
    """
    if config.warm_start:
        from rlx.recipes import warm_start

        warm_start.check_seeds(config.warm_start, seeds)


@functools.lru_cache(maxsize=1)
def _pretrained(path: str, dtype: str) -> Any:
    import jax

    from rlx.policies import transformer

    # What is remembered must outlive the trace that asks for it.
    with jax.ensure_compile_time_eval():
        return transformer.load_pretrained(path, dtype=dtype)[1]


def params_dtype(config: Language) -> str:
    """Precision of the policy's parameters: float32 where they are learned, whatever that of the products is.

    A step of Adam is about as large as the learning rate; at 1e-6 bfloat16, which has 8 bits, rounds nearly all of
    them away.
    """
    return config.dtype if config.lora_rank else "float32"


def make_structure(config: Language, task: Any) -> Any:
    """Structure of the policy, a `rlx.policies.transformer.Config`.

    Args:
        config: the config.
        task: whose tokens a policy that is not pretrained knows.
    """
    from rlx.policies import transformer

    if config.pretrained:
        return transformer.read_config(config.pretrained, config.dtype)
    head_dim = max(2, config.hidden_size // config.num_heads)
    if head_dim % 2:
        raise SettingError(
            "num_heads", f"must leave each head an even width of hidden_size={config.hidden_size}, not {head_dim}, "
            f"since rotary positions turn pairs; got {config.num_heads}",
        )  # fmt: skip
    structure = transformer.Config(
        vocab_size=len(task.vocabulary),
        hidden_size=config.hidden_size,
        intermediate_size=4 * config.hidden_size,
        num_layers=config.num_layers,
        num_heads=config.num_heads,
        num_key_value_heads=config.num_heads,
        head_dim=head_dim,
        dtype=config.dtype,
    )
    # Before it is traced: JAX has no shapes of some sizes.
    transformer.memory.check(structure, f"hidden_size={config.hidden_size} with num_layers={config.num_layers}")
    return structure


def make_params(config: Language, task: Any, data: Loaded | None = None) -> Callable:
    """From a random key to what is learned, before any warm-up: parameters, or adapters to pretrained ones.

    Args:
        config: the config.
        task: whose tokens a policy that is not pretrained knows.
        data: what `load` gave; None loads it.
    """
    from rlx.policies import transformer

    if config.pretrained:
        weights = _weights(config, data)
        if not config.lora_rank:
            return lambda key: weights
        return functools.partial(
            transformer.lora.init, params=weights, rank=config.lora_rank, matrices=config.lora_matrices
        )
    structure = dataclasses.replace(make_structure(config, task), dtype=params_dtype(config))
    return functools.partial(transformer.init, config=structure)


def make_model(
    config: Language, data: Loaded | None = None, combine: Literal["attach", "merge"] = "attach"
) -> Callable:
    """From what is learned to the policy's parameters, in the precision of its products.

    Args:
        config: the config.
        data: what `load` gave; None loads it.
        combine: how weights go together with adapters: as the function of `transformer.lora`.
    """
    import optax

    from rlx.policies import transformer

    if not config.lora_rank:
        if config.dtype == params_dtype(config):
            return lambda params: params
        # Once, and not at each token that is sampled.
        return functools.partial(optax.tree.cast, dtype=config.dtype)
    scale = config.lora_alpha / config.lora_rank
    return functools.partial(getattr(transformer.lora, combine), _weights(config, data), scale=scale)


def _weights(config: Language, data: Loaded | None) -> Any:
    return _pretrained(config.pretrained, params_dtype(config)) if data is None else data.weights


def make_optimizer(config: Language) -> Any:
    """AdamW with clipping."""
    import optax

    return optax.chain(
        optax.clip_by_global_norm(config.max_grad_norm),
        optax.adamw(config.learning_rate, weight_decay=config.weight_decay),
    )


def warm_up(config: Language, task: Any, key: Any, data: Loaded | None = None) -> Any:
    """What is learned after `warmup_steps` of supervised learning on the task's training solutions.

    Args:
        config: the config.
        task: what has the solutions.
        key: random key.
        data: what `load` gave; None loads it.
    """
    import optax

    from rlx.algorithms import sft
    from rlx.training import program, sources

    params = make_params(config, task, data)
    if config.warmup_steps == 0:
        return params(key)
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(config.warmup_learning_rate, weight_decay=config.weight_decay)
    )
    learner = sft.learner(
        make_structure(config, task),
        optimizer,
        params=params,
        model=make_model(config, data),
        remat=config.remat,
        microbatch_size=config.microbatch_size or None,
    )
    imitation = program.make_program(sources.solutions(task, batch_size=config.warmup_batch_size), learner)
    state, _ = program.make_train(imitation, config.warmup_steps)(key)
    return state.params["policy"]


def initial_params(config: Language, task: Any, data: Loaded | None = None) -> Callable:
    """From the key that a learner's `init` is given to what it begins with: a policy of `warm_start`, or a warm-up's.

    Args:
        config: the config.
        task: what has the solutions.
        data: what `load` gave; None loads it.
    """
    if config.warm_start:
        from rlx.recipes import warm_start

        policies = warm_start.load(config, task) if data is None else data.policies
        return functools.partial(warm_start.pick, policies)
    return lambda key: warm_up(config, task, key, data)


def make_evaluator(
    config: Language, environment: Any, learner: Any, data: Loaded | None = None, *, exact: bool = True
) -> Callable:
    """Responses to held-out prompts, greedy and sampled; to all of a file, unless it need not be `exact`."""
    from rlx.training import responses

    return responses.evaluator(
        environment,
        make_structure(config, environment),
        model=make_model(config, data),
        num_prompts=config.eval_prompts,
        num_samples=config.eval_samples,
        microbatch_size=config.microbatch_size or None,
        exact=exact,
    )


def respond(
    config: Language, task: Any, learner_state: Any, key: Any, *, num_prompts: int, stochastic: bool
) -> list[str]:
    """Held-out prompts and a trained policy's responses to them, a line for each.

    Args:
        config: the config.
        task: where the prompts come from, and what judges the responses.
        learner_state: of the run.
        key: where prompts and samples come from.
        num_prompts: how many.
        stochastic: sample at temperature 1, instead of the likeliest token each time.
    """
    import jax

    from rlx.training import responses

    # The file of a warm start, which may be gone, says nothing of a trained policy.
    data = load(dataclasses.replace(config, warm_start=""))
    structure = make_structure(config, task)

    @jax.jit
    def ask(data: Any, params: Any, key: Any) -> Any:
        draw_key, sample_key = jax.random.split(key)
        problems = responses.draw(draw_key, task, "test", num_prompts)
        policy, temperature = make_model(config, data)(params), 1.0 if stochastic else 0.0
        return responses.rollout(sample_key, structure, policy, task, problems, group_size=1, temperature=temperature)

    batch = jax.device_get(ask(data, learner_state.params["policy"], key))
    return [
        f"  {'right' if batch.correct[i, 0] else 'wrong'}  "
        f"{task.decode(batch.prompt[i, 0][batch.prompt_where[i, 0]])}  →  "
        f"{task.decode(batch.token[i, 0][batch.present[i, 0]])}"
        for i in range(num_prompts)
    ]


def merged_policy(config: Language, task: Any, learner_state: Any) -> tuple[Any, Any]:
    """Structure and parameters of a trained policy, adapters merged into the weights."""
    params = make_model(config, combine="merge")(learner_state.params["policy"])
    return make_structure(config, task), params
