"""What a recipe is: a config, and how it becomes a program."""

from __future__ import annotations

import dataclasses
import inspect
import math
import numbers
import pkgutil
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from rlx.envs.registry import nearest
from rlx.recipes import memory
from rlx.recipes.presets.preset import Preset
from rlx.recipes.settings import LARGEST_COUNT, STEPS, SettingError, check, setting

if TYPE_CHECKING:
    from rlx.algorithms import Learner
    from rlx.training.program import Program, Source


@dataclasses.dataclass(frozen=True)
class Config:
    """What every config has. Fields that may be swept take traced arrays too; the others are static."""

    steps_name: ClassVar[str] = "env_steps"
    """What a run counts: environment steps, gradient steps of learning from a dataset, responses."""

    total_steps: int = setting(
        1_000_000, "Steps of each seed, rounded up to whole updates.", group="scale", within=STEPS
    )

    def __post_init__(self):
        check(self)
        if self.num_updates > LARGEST_COUNT:
            raise SettingError(
                "total_steps",
                f"must be at most {LARGEST_COUNT * self.steps_per_update:.3g}, which are {LARGEST_COUNT} updates of "
                f"{self.steps_per_update} steps, got {self.total_steps:.3g}",
            )

    @property
    def env_name(self) -> str:
        """What a run is called after: its environment or task."""
        return self.env

    @property
    def num_envs_per_seed(self) -> int:
        """Environments that a seed steps side by side; 0 where it steps none."""
        return getattr(self, "num_envs", 0)

    @property
    def initial_steps(self) -> int:
        """Steps of one seed before its first update."""
        return 0

    @property
    def phases(self) -> tuple[int, ...]:
        """Updates of each phase of a run; where there are several, none is rounded up to whole reports."""
        return (self.num_updates,)

    @property
    def asked_steps(self) -> int:
        """Steps of one seed that were asked for, before they are rounded up to whole updates."""
        return self.total_steps

    @property
    def steps_per_update(self) -> int:
        """Steps of one update of one seed."""
        raise AttributeError(f"{type(self).__name__} must say what one update takes")

    @property
    def num_updates(self) -> int:
        """Updates needed for `total_steps`."""
        return max(1, math.ceil((self.total_steps - self.initial_steps) / self.steps_per_update))


class Recipe(NamedTuple):
    """An algorithm wired up. Functions take the config first; none is called before something is trained.

    Attributes:
        name: on the command line.
        title: what the algorithm is called in a sentence.
        config: class of its config.
        make_environment: `(config) -> environment`, or the task of a language model.
        make_learner: `(config, environment, *, num_updates, data, **slots) -> Learner`.
        make_source: `(config, environment, learner, data) -> Source`.
        make_evaluator: `(config, environment, learner, data) -> (learner_state, key) -> metrics`.
        load: `(config) -> data`: arrays read from files, which become arguments of the compiled program.
        core: the function, "MODULE:FUNCTION", whose keywords are slots beside those of `make_learner`.
        presets: environment, suite, or what else `subject` says -> values that suit it, with their source.
        subject: `(values) -> name`: what presets go by, from values of fields; or None.
        examples: command lines for the help.
        about: further sentences for the help.
        evaluate_start: whether what a run begins with, such as a policy that was warmed up, is evaluated too.
        watch: how a trained policy is shown: as `"episodes"` in an environment, as `"responses"` of a language model,
            or None.
        methods: `() -> table` of methods that `--method` may name, or None.
        command: words of the command that trains it.
        env_of: `(values) -> env`: the environment that the values of other fields imply, such as a dataset's, or None.
        notes: `(config) -> lines` that a person should read before the run starts.
        check_seeds: `(config, seeds)`: raises where a seed has nothing to begin with, before anything is compiled.
    """

    name: str
    title: str
    config: type[Config]
    make_environment: Callable[..., Any]
    make_learner: Callable[..., Learner]
    make_source: Callable[..., Source]
    make_evaluator: Callable[..., Callable]
    load: Callable[[Any], Any] = lambda config: None
    core: str | None = None
    presets: Mapping[str, Preset] = {}
    subject: Callable[[Mapping[str, Any]], str | None] = lambda values: values.get("env")
    examples: tuple[str, ...] = ()
    about: str = ""
    evaluate_start: bool = False
    watch: str | None = "episodes"
    methods: Callable[[], Mapping[str, Any]] | None = None
    command: str = ""
    env_of: Callable[[Mapping[str, Any]], str | None] = lambda values: None
    notes: Callable[[Any], list[str]] = lambda config: []
    check_seeds: Callable[[Any, Any], None] = lambda config, seeds: None

    @property
    def command_line(self) -> str:
        """The command that trains it."""
        return self.command or f"rlx train {self.name}"

    def preset(self, subject: str | None) -> Preset | None:
        """The preset of an environment, or else of its suite, or of what else `subject` says; None where none is."""
        if not isinstance(subject, str):
            return None
        return self.presets.get(subject) or self.presets.get(subject.partition(":")[0])

    def configure(self, **values: Any) -> Config:
        """The config with the preset of its environment filled in, and these values on top.

        Where the environment is not given, other fields may imply it, as a dataset does.
        """
        if "env" not in values and (implied := self.env_of(values)) is not None:
            values["env"] = implied
        found = self.preset(self.subject(values))
        return self.config(**((found.overrides if found else {}) | values))

    def slots(self) -> dict[str, str]:
        """What may be put in place of a part of the algorithm, by name in their order, with its type as annotated."""
        functions = ([] if self.core is None else [pkgutil.resolve_name(self.core)]) + [self.make_learner]
        named = {"environment": "Any"} | {
            parameter.name: str(parameter.annotation)
            for function in functions
            for parameter in inspect.signature(function).parameters.values()
            if parameter.kind is parameter.KEYWORD_ONLY
        }
        return {name: named[name] for name in sorted(named.keys() - {"num_updates", "data"})}


def make_program(
    recipe: Recipe,
    config: Config,
    *,
    environment: Any = None,
    num_updates: int | None = None,
    data: Any = None,
    num_runs: int | None = None,
    **slots: Any,
) -> Program:
    """A config as a `rlx.training.Program`.

    Args:
        recipe: of the algorithm.
        config: its config.
        environment: in place of the one that the config names.
        num_updates: of the run, for schedules; None takes the config's.
        data: what `recipe.load` gave; None loads it.
        num_runs: how many such runs shall fit into memory side by side; None checks nothing.
        **slots: parts of the algorithm in place of the config's.
    """
    from rlx.training import program

    environment = recipe.make_environment(config) if environment is None else environment
    data = recipe.load(config) if data is None else data
    learner = recipe.make_learner(
        config, environment, num_updates=config.num_updates if num_updates is None else num_updates, data=data, **slots
    )
    source = recipe.make_source(config, environment, learner, data)
    if num_runs is not None:
        source = memory.guarded(source, config, num_runs)
    return program.make_program(source, learner, recipe.make_evaluator(config, environment, learner, data))


def make_build(
    recipe: Recipe, config: Config, num_updates: int | None = None, *, num_runs: int | None = None, **slots: Any
):
    """What `rlx.training.fit` drives: from values of swept fields, and the data, to a program.

    Arguments are those of `make_program`.

    Returns:
        A `rlx.training.compiled.Build`.
    """
    from rlx.training.compiled import Build

    environment = slots.pop("environment", None)
    environment = recipe.make_environment(config) if environment is None else environment

    def make(values: Mapping[str, Any], data: Any) -> Program:
        changed = dataclasses.replace(config, **values)
        return make_program(
            recipe,
            changed,
            environment=environment,
            num_updates=num_updates,
            data=data,
            num_runs=num_runs,
            **slots,
        )

    return Build(make, recipe.load(config))


def make_train(recipe: Recipe, **arguments: Any) -> Callable:
    """A whole run as a pure function, from names of config fields and slots; see `rlx.make_train`."""
    from rlx.training import program

    values, slots = split_arguments(recipe, arguments)
    config = recipe.configure(**values)
    return program.make_train(make_program(recipe, config, **slots), config.num_updates)


def split_arguments(recipe: Recipe, arguments: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fields of the config, and slots of the algorithm.

    A name that is both (`value_loss`) is the field where it is given a string or a number, else the slot.

    Raises:
        TypeError: a name that is neither, of which the message holds the nearest; or a slot that takes a function, a
            network or the like, and is given a number, text or an array.
        SettingError: a slot that takes a number, and is given one that is not finite.
    """
    fields, slots = {field.name for field in dataclasses.fields(recipe.config)}, set(recipe.slots())
    values, given = {}, {}
    for name, value in arguments.items():
        if name not in fields | slots:
            raise TypeError(f"{recipe.name} has no argument {name!r}; {nearest(name, sorted(fields | slots))}")
        is_slot = name in slots and (name not in fields or callable(value))
        if is_slot:
            _check_slot(recipe, name, value)
        (given if is_slot else values)[name] = value
    return values, given


def _check_slot(recipe: Recipe, name: str, value: Any) -> None:
    """Check that a slot which takes a function or the like is not given a plain value."""
    if value is None:
        return
    if _PLAIN.match(recipe.slots()[name]):
        if isinstance(value, float) and not math.isfinite(value):
            raise SettingError(name, f"must be finite, got {value!r}")
    elif isinstance(value, (numbers.Number, str, bytes)) or hasattr(value, "dtype"):
        raise TypeError(
            f"{name} of {recipe.name} takes no {type(value).__name__}, but what computes it; got {value!r:.60}"
        )


_PLAIN = re.compile(r"(<class ')?(Scalar|ArrayLike|Float|int|float|str|bool|inspect)\b")
"""Annotations of slots that take plain values, or anything, as they have none."""
