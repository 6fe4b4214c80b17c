"""Group-relative policy optimization of a language model: any method of the table, from a warmed-up or a loaded policy.

import jax, rlx
train = rlx.make_train("grpo", task="addition@forgetful=0.8", method="siren")
state, metrics = jax.jit(jax.vmap(train))(jax.random.split(jax.random.key(0), 8))
"""

from __future__ import annotations

import dataclasses
from typing import Any

from rlx.recipes import language, language_tasks
from rlx.recipes.language_methods import METHODS, make_method
from rlx.recipes.language_methods.table import check_method
from rlx.recipes.presets.language import GRPO
from rlx.recipes.settings import COUNT, FRACTION, NOT_NEGATIVE, POSITIVE, SettingError, setting
from rlx.recipes.wiring import Recipe


@dataclasses.dataclass(frozen=True)
class Config(language.Language):
    """Configuration of a GRPO run."""

    method: str = setting("grpo", "What is optimized, NAME or NAME@OPTION=VALUE; `rlx methods` lists them.")
    """From Python also a `rlx.algorithms.grpo.Method` itself."""
    total_steps: int = setting(
        65_536, "Sampled responses of each seed, rounded up to whole updates.", group="scale", within=COUNT
    )
    num_prompts: int = setting(16, "Prompts of an update.", group="scale", within=COUNT)
    group_size: int = setting(8, "Responses to each prompt of an update.", group="scale", within=COUNT)
    oversample: int = setting(
        1,
        "Prompts sampled for each that is learned from, among which groups with different rewards are preferred.",
        group="scale",
        within=COUNT,
    )
    sampling_rows: int = setting(
        0,
        "Responses that are sampled at a time, in tasks of one turn: where one ends, the next takes its place. It pays "
        "where most are far shorter than the longest, and changes none but by rounding; 0 for all at a time.",
        group="scale",
        within=NOT_NEGATIVE,
    )
    packed_share: float = setting(
        0.0,
        "Responses are scored in this share of as many rows, several in one, where they fit, which pays where most are "
        "far shorter than the room for them; 0 for a row to each. It excludes --microbatch-size.",
        group="scale",
        within=FRACTION,
    )
    replayed: int = setting(
        0,
        "Prompts of an update whose groups are drawn from those of past updates instead of being sampled.",
        group="scale",
        within=NOT_NEGATIVE,
    )
    replay_size: int = setting(512, "Groups of past updates that are kept to be replayed.", group="scale", within=COUNT)
    epochs: int = setting(1, "Passes over the responses of an update.", within=COUNT)
    minibatches: int = setting(4, "Gradient steps of a pass.", within=COUNT)
    renew_behavior: int = setting(
        1,
        "Updates after which the sampling policy becomes the trained one; responses in between are stale.",
        within=COUNT,
    )
    temperature: float = setting(1.0, "Temperature of sampling.", within=POSITIVE, swept=True)
    measure_drift: bool = setting(
        True, "Keep the policy of the start, from which evaluations tell the divergence.", group="reporting"
    )

    def __post_init__(self):
        given = self.method
        if hasattr(given, "advantage"):
            # A method itself is no text to check.
            object.__setattr__(self, "method", "grpo")
        super().__post_init__()
        # `rlx ablate` has another field for the names of its methods.
        if self.method:
            check_method(METHODS, *language_tasks.named(self.method))
        object.__setattr__(self, "method", given)

    @property
    def steps_per_update(self) -> int:
        """Responses that an update of one seed samples."""
        if self.replayed >= self.num_prompts:
            raise SettingError(
                "replayed", f"must be below num_prompts={self.num_prompts}, since each update samples some, "
                f"got {self.replayed}",
            )  # fmt: skip
        return (self.num_prompts - self.replayed) * self.oversample * self.group_size


def chosen_method(config: Config) -> Any:
    """The config's `rlx.algorithms.grpo.Method`.

    Raises:
        ValueError: as `rlx.recipes.language_methods.make_method`.
    """
    if not isinstance(config.method, str):
        return config.method
    name, options = language_tasks.named(config.method)
    return make_method(name, **options)


def make_learner(
    config: Config, environment: Any, *, num_updates: int, data: Any = None, optimizer: Any = None, **slots: Any
):
    """The config's GRPO learner on a task.

    Args:
        config: the config.
        environment: the task.
        num_updates: of the run, which nothing here depends on.
        data: what was read from files; None reads it.
        optimizer: an `optax.GradientTransformation`, in place of AdamW with clipping, also of a critic.
        **slots: further keywords of `rlx.algorithms.grpo.learner`, such as `params`.
    """
    from rlx.algorithms import grpo

    arguments = dict(
        params=language.initial_params(config, environment, data),
        model=language.make_model(config, data),
        epochs=config.epochs,
        minibatches=config.minibatches,
        renew_behavior=config.renew_behavior,
        remat=config.remat,
        microbatch_size=config.microbatch_size or None,
        packed_share=config.packed_share,
        measure_drift=config.measure_drift,
    )
    method = chosen_method(config)
    if optimizer is None:
        optimizer = language.make_optimizer(config)
        rate = config.learning_rate * method.critic_rate
        arguments["critic_optimizer"] = language.make_optimizer(dataclasses.replace(config, learning_rate=rate))
    structure = language.make_structure(config, environment)
    return grpo.learner(structure, optimizer, method, **(arguments | slots))


def make_source(config: Config, environment: Any, learner: Any, data: Any = None):
    """The policy's own responses, some of them perhaps of past updates."""
    from rlx.training import sources

    return sources.responses(
        environment,
        language.make_structure(config, environment),
        method=chosen_method(config),
        model=language.make_model(config, data),
        num_prompts=config.num_prompts,
        group_size=config.group_size,
        oversample=config.oversample,
        replayed=config.replayed,
        replay_size=config.replay_size,
        temperature=config.temperature,
        rows=config.sampling_rows or None,
    )


def notes(config: Config) -> list[str]:
    """What a person should know before pretrained weights are trained."""
    if not config.pretrained:
        return []
    from rlx.algorithms.grpo import JUDGES

    uses = chosen_method(config).uses
    copies = ("reference" in uses) + config.measure_drift + (config.renew_behavior > 1)
    return language.notes(config, copies=copies, models=1 + len(uses & set(JUDGES)))


RECIPE = Recipe(
    name="grpo",
    title="GRPO",
    config=Config,
    make_environment=language_tasks.make_environment,
    make_learner=make_learner,
    make_source=make_source,
    make_evaluator=language.make_evaluator,
    load=language.load,
    check_seeds=language.check_seeds,
    presets=GRPO,
    subject=language.subject,
    notes=notes,
    core="rlx.algorithms.grpo:learner",
    examples=(
        "rlx train grpo --task addition@forgetful=0.8 --seeds 4",
        "rlx train grpo --task countdown --method clip_cov",
        "rlx train grpo --task countdown --method grpo@beta=0.01 --sweep learning_rate=1e-4,2e-4",
        "rlx train grpo --task FILE.jsonl --pretrained FOLDER --lora-rank 16 --dtype bfloat16",
        "rlx train grpo --task FILE.parquet@turn=module:function --pretrained FOLDER",
    ),
    about="Tasks have verifiers and solutions of their own: a warm-up on these comes first. It solves addition,\n"
    "unless those who teach it forget to carry in some of the solutions (forgetful=0.8).",
    evaluate_start=True,
    watch="responses",
    methods=lambda: METHODS,
)
