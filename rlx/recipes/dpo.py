"""Preference optimization of a language model: any method of the table, on pairs of a verifier or of a file.

import jax, rlx
train = rlx.make_train("dpo", task="addition@forgetful=0.8", method="simpo")
state, metrics = jax.jit(jax.vmap(train))(jax.random.split(jax.random.key(0), 8))
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

from rlx.recipes import language, language_tasks
from rlx.recipes.language_methods.table import check_method
from rlx.recipes.preference_methods import METHODS, make_method
from rlx.recipes.presets.language import DPO
from rlx.recipes.settings import COUNT, POSITIVE, SettingError, setting
from rlx.recipes.wiring import Recipe

WITHOUT_VERIFIER = ("eval_episode_length", "eval_entropy", "eval_drift")
"""What an evaluation tells where nothing judges responses."""


@dataclasses.dataclass(frozen=True)
class Config(language.Language):
    """Configuration of a run on pairs."""

    steps_name: ClassVar[str] = "pairs"

    method: str = setting("dpo", "What is optimized, NAME or NAME@OPTION=VALUE; `rlx methods` lists them.")
    """From Python also a function of `rlx.losses.preference`, or another of what `rlx.algorithms.dpo` tells it."""
    beta: float | None = setting(
        None,
        "Strength β of the method, by which it stays close to the policy of the start or scales rewards; None takes "
        "the method's own.",
        within=POSITIVE,
        swept=True,
    )
    pairs: str = setting(
        "",
        "File of pairs, FILE.jsonl, FILE.parquet or FILE.jsonl@OPTION=VALUE, with prompt, chosen and rejected in each "
        "row, texts or chats, for --pretrained weights; empty for pairs of the policy's own responses to the task. Its "
        "options are prompt_length and response_length, the most tokens (256 each), template, which is what the policy "
        "sees with {prompt} in it, test_share and end_token.",
        group="data",
    )
    test_pairs: str = setting(
        "", "File of pairs to evaluate on; empty for the last tenth of those of --pairs.", group="data"
    )
    learning_rate: float = setting(1e-4, "AdamW's step size.", within=POSITIVE, swept=True)
    total_steps: int = setting(
        65_536,
        "Pairs of each seed, counted as often as each is drawn, rounded up to whole updates.",
        group="scale",
        within=COUNT,
    )
    batch_size: int = setting(64, "Pairs of a gradient step.", group="scale", within=COUNT)
    updates_per_step: int = setting(
        16, "Gradient steps of one update, as metrics count updates.", group="scale", within=COUNT
    )
    sampled_prompts: int = setting(
        1024, "Prompts that the policy answers when the run begins, to make pairs of.", group="scale", within=COUNT
    )
    samples: int = setting(
        8, "Responses to each sampled prompt; a right and a wrong one make a pair.", group="scale", within="[2, inf)"
    )
    temperature: float = setting(1.0, "Temperature of sampling pairs.", within=POSITIVE, swept=True)
    measure_drift: bool = setting(
        True, "Keep the policy of the start, from which evaluations tell the divergence.", group="reporting"
    )

    def __post_init__(self):
        given = self.method
        if callable(given):
            # A function is no text to check.
            object.__setattr__(self, "method", "dpo")
        super().__post_init__()
        # `rlx ablate` has another field for the names of its methods.
        if self.method:
            check_method(METHODS, *language_tasks.named(self.method))
        object.__setattr__(self, "method", given)
        if self.test_pairs and not self.pairs:
            raise SettingError("test_pairs", "needs --pairs to train on")
        if self.pairs and not self.pretrained:
            self.check_files()
            raise SettingError("pretrained", f"must name a folder of weights whose tokenizer reads {self.pairs!r}")

    def check_files(self) -> None:
        """Check that there are the files of pairs that are named.

        Raises:
            SettingError: one is missing.
        """
        for name, file in (("pairs", language_tasks.named(self.pairs)[0]), ("test_pairs", self.test_pairs)):
            if file and not os.path.isfile(file):
                raise SettingError(name, f"must be a file of pairs, got {file!r:.200}")

    @property
    def env_name(self) -> str:
        """What a run is called after: its file of pairs, or its task."""
        return self.pairs or self.task

    @property
    def steps_per_update(self) -> int:
        """Pairs of one update of one seed."""
        return self.batch_size * self.updates_per_step


class Loaded(NamedTuple):
    """What was read from files, an argument of the compiled program; None where there is no such file.

    Attributes:
        weights: pretrained parameters.
        policies: a `rlx.recipes.warm_start.Policies`.
        pairs: `rlx.training.sources.pairs.Pairs` to train and to evaluate on.
    """

    weights: Any = None
    policies: Any = None
    pairs: Any = None


def chosen_loss(config: Config) -> Callable:
    """The config's loss, as `rlx.algorithms.dpo.learner` takes it.

    Raises:
        ValueError: as `rlx.recipes.preference_methods.make_method`.
        SettingError: β given twice.
    """
    if callable(config.method):
        return config.method if config.beta is None else functools.partial(config.method, beta=config.beta)
    name, options = language_tasks.named(config.method)
    if config.beta is not None:
        if "beta" in options:
            raise SettingError("beta", f"is given by method={config.method!r} already")
        options["beta"] = config.beta
    return make_method(name, **options)


def make_environment(config: Config) -> Any:
    """The config's task, or that of the prompts of its file of pairs.

    Raises:
        ValueError: there is no such task, option or file of pairs.
    """
    if not config.pairs:
        return language_tasks.make_environment(config)
    config.check_files()
    return _preferences(config.pairs, config.test_pairs, config.pretrained, config.chat_template)


@functools.lru_cache(maxsize=1)
def _preferences(file: str, test: str, pretrained: str, chat_template: str) -> Any:
    import jax

    from rlx.envs.language import pairs, tokens
    from rlx.policies import transformer

    path, given = language_tasks.named(file)
    tokenizer = transformer.load_tokenizer(pretrained)
    if "end_token" not in given:
        given["end_token"] = tokens.ends_of(pretrained)
    given = {"test": test or None, "folder": pretrained, "chat_template": chat_template} | given
    # What is remembered must outlive the trace that asks for it.
    with jax.ensure_compile_time_eval():
        return pairs.from_file(path, tokenizer, **given)


def load(config: Config) -> Loaded | None:
    """What the config's files hold; None where it names none."""
    files = language.load(config)
    if files is None:
        return None
    return Loaded(files.weights, files.policies, _given(config) if config.pairs else None)


def _given(config: Config) -> Any:
    import numpy as np

    from rlx.training.sources.pairs import Pairs

    def of(split: str) -> Pairs:
        prompt, prompt_where, token, where = make_environment(config).pairs_of(split)
        better = np.broadcast_to(np.array([1.0, 0.0], np.float32), (len(prompt), 2))
        return Pairs(prompt, prompt_where, token, present=where, where=where, reward=better, win_rate=better)

    return of("train"), of("test")


def make_learner(
    config: Config, environment: Any, *, num_updates: int, data: Any = None, optimizer: Any = None, **slots: Any
):
    """The config's learner of preferences.

    Args:
        config: the config.
        environment: the task.
        num_updates: of the run, which nothing here depends on.
        data: what was read from files; None reads it.
        optimizer: an `optax.GradientTransformation`, in place of AdamW with clipping.
        **slots: further keywords of `rlx.algorithms.dpo.learner`, such as `params`.
    """
    from rlx.algorithms import dpo

    arguments = dict(
        params=language.initial_params(config, environment, data),
        model=language.make_model(config, data),
        remat=config.remat,
        microbatch_size=config.microbatch_size or None,
        measure_drift=config.measure_drift,
    )
    optimizer = language.make_optimizer(config) if optimizer is None else optimizer
    structure = language.make_structure(config, environment)
    return dpo.learner(structure, optimizer, chosen_loss(config), **(arguments | slots))


def make_source(config: Config, environment: Any, learner: Any, data: Any = None):
    """Pairs of the config's file, or of the policy's own responses."""
    from rlx.training import sources

    return sources.pairs(
        environment,
        language.make_structure(config, environment),
        chosen_loss(config),
        given=None if data is None else data.pairs,
        model=language.make_model(config, data),
        num_prompts=config.sampled_prompts,
        num_samples=config.samples,
        temperature=config.temperature,
        num_held_out=config.eval_prompts,
        batch_size=config.batch_size,
        updates_per_step=config.updates_per_step,
    )


def make_evaluator(config: Config, environment: Any, learner: Any, data: Any = None) -> Callable:
    """Held-out pairs, and responses to held-out prompts, greedy and sampled.

    Nothing judges responses to the prompts of a file, so that some of them are enough: `eval_return_mean` is then the
    share of all held-out pairs that the policy tells apart as the file does.
    """
    from rlx.algorithms import dpo

    structure, model = language.make_structure(config, environment), language.make_model(config, data)
    on_responses = language.make_evaluator(config, environment, learner, data, exact=not config.pairs)
    on_pairs = dpo.evaluator(structure, chosen_loss(config), model=model, batch_size=config.batch_size)

    def evaluate(learner_state: Any, key: Any) -> dict[str, Any]:
        responses, pairs = on_responses(learner_state, key), on_pairs(learner_state)
        if config.pairs:
            responses = {name: responses[name] for name in WITHOUT_VERIFIER if name in responses}
            responses["eval_return_mean"] = pairs["eval_pair_accuracy"]
        return responses | pairs

    return evaluate


RECIPE = Recipe(
    name="dpo",
    title="DPO",
    config=Config,
    make_environment=make_environment,
    make_learner=make_learner,
    make_source=make_source,
    make_evaluator=make_evaluator,
    load=load,
    check_seeds=language.check_seeds,
    presets=DPO,
    subject=language.subject,
    notes=lambda config: language.notes(config, copies=int(config.measure_drift)),
    core="rlx.algorithms.dpo:learner",
    examples=(
        "rlx train dpo --task addition@forgetful=0.8 --seeds 4",
        "rlx train dpo --task countdown --method simpo@margin=1.0 --sweep beta=1,2,4",
        "rlx train dpo --task sorting --method dpo@divergence=forward_kl",
        "rlx train dpo --pairs FILE.jsonl --pretrained FOLDER --lora-rank 16 --dtype bfloat16",
    ),
    about="The policy of the start writes the pairs of a task: of several responses to a prompt, a right one is "
    "preferred to a wrong one.",
    evaluate_start=True,
    watch="responses",
    methods=lambda: METHODS,
)
