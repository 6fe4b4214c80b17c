"""`rlx evaluate`: what a trained policy is worth by a dataset alone, without a simulator."""

from __future__ import annotations

import dataclasses
import math
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TextIO

import tyro

from rlx.cli import play
from rlx.cli.errors import CommandError
from rlx.cli.outputs import check_out
from rlx.cli.parsing import parse
from rlx.recipes import trained
from rlx.recipes.settings import COUNT, SettingError, contains
from rlx.training.progress import duration

DESCRIPTION = """\
Estimate the discounted return of a trained policy from a dataset of other policies' episodes, each estimate with a
95 % interval. Fitted Q evaluation (FQE) always; with --stochastic also weighted importance sampling (WIS, and per
decision) and the doubly robust estimate (WDR), for which the behavior's densities are those of the file
(infos/action_log_probs of D4RL), or else estimated by cloning the dataset.
All start where the dataset's episodes start, and use the rewards of the file. Beside them stands what the logged
episodes earned themselves. Where a time limit cut an episode, FQE and WDR add what would have followed; WIS and the
logged episodes stop there, and so are worth less where rewards are positive.

The defaults take some minutes on two cores; the time is in proportion to --steps and to --members.
Importance weights of long episodes leave few of them: see how many before you believe the estimate. The best seed of a
run is flattered by that choice: name one with --seed.

examples:
  rlx evaluate runs/NAME --dataset held_out.hdf5
  rlx evaluate runs/NAME --dataset held_out.hdf5 --stochastic --seed 0 --out estimates.json
"""


@dataclasses.dataclass(frozen=True)
class Options(play.Choice):
    """What to evaluate, and by what."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(help="Folder of the run.", metavar="RUN")]
    dataset: Annotated[
        str | None,
        tyro.conf.arg(help="File (D4RL's HDF5) or folder (Minari) of the episodes; None takes the run's own dataset."),
    ] = None
    stochastic: Annotated[
        bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(help="Evaluate the exploring policy, not its mode.")
    ] = False
    discount: Annotated[
        float | None, tyro.conf.arg(help="Discount γ, below 1; None takes the run's own, or 0.99 if it has none.")
    ] = None
    steps: Annotated[int, tyro.conf.arg(help="Gradient steps of the fitted values; a discount near 1 needs more.")] = (
        20_000
    )
    cloning_steps: Annotated[int, tyro.conf.arg(help="Gradient steps of the cloned behavior, with --stochastic.")] = (
        10_000
    )
    members: Annotated[
        int,
        tyro.conf.arg(help="Bootstrap replicates of the fitted values, for their interval; each costs as much as one."),
    ] = 10
    batch_size: Annotated[int, tyro.conf.arg(help="Transitions of a minibatch.")] = 256
    learning_rate: Annotated[float, tyro.conf.arg(help="Adam's step size.")] = 3e-4
    hidden_sizes: Annotated[
        tuple[int, ...], tyro.conf.arg(help="Hidden layers of the fitted values and of the cloned behavior.")
    ] = (256, 256)
    random_seed: Annotated[int, tyro.conf.arg(help="Where random numbers of the fits come from.")] = 0
    out: Annotated[str | None, tyro.conf.arg(help="File to write the estimates to, as JSON.")] = None
    quiet: Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(help="Print only the table.")] = False


RANGES = {
    "discount": "[0, 1)",
    "steps": COUNT,
    "cloning_steps": COUNT,
    "members": "[2, 1000]",
    "batch_size": COUNT,
    "learning_rate": "(0, inf)",
    "random_seed": "[0, 4294967295]",
}
"""What numbers of the command line may be."""


def main(arguments: Sequence[str]) -> int:
    """`rlx evaluate RUN …`."""
    options = parse(Options, arguments, prog="rlx evaluate", description=DESCRIPTION)
    _check(options)
    record = play.read(options)
    if record.recipe.watch != "episodes":
        raise CommandError(
            f"rlx evaluate takes policies that act in an environment; {options.run} is of {record.algorithm}"
        )
    path = options.dataset or getattr(record.config, "dataset", "")
    if not path:
        raise CommandError("rlx evaluate needs --dataset FILE: this run has no dataset of its own")
    table = trained.read_metrics(record)
    member = trained.choose_member(table, seed=options.seed, setting=play.read_setting(options.setting))

    from rlx import data
    from rlx.recipes import off_policy_evaluation
    from rlx.training import runs

    dataset, _, _ = data.read_dataset(path)
    environment = record.recipe.make_environment(record.config)
    learner = trained.make_learner(record, environment)
    _check_fit(environment, dataset, path)
    learner_state, update = trained.restore(record, table, member, options.checkpoint)
    behavior_log_prob = data.read_behavior_log_prob(path) if options.stochastic else None
    discount = options.discount
    if discount is None:
        discount = member.setting.get("discount", getattr(record.config, "discount", 0.99))
    if not discount < 1:
        raise CommandError("the run's own discount is 1, at which fitted values need not end: add --discount")
    if options.steps < (needed := off_policy_evaluation.steps_to_rest(discount)):
        warnings.warn(
            f"fitted values need about {needed:,} gradient steps at a discount of {discount:g} and may be far off "
            f"after {options.steps:,}: add --steps {needed}",
            stacklevel=2,
        )
    found = off_policy_evaluation.evaluate(
        learner,
        learner_state,
        dataset,
        environment.action_space,
        discount=discount,
        stochastic=options.stochastic,
        behavior_log_prob=behavior_log_prob,
        fitting=_fitting(options),
        seed=options.random_seed,
        report=(lambda what, done, total: None) if options.quiet else reporting(),
    )
    heading = play.heading(record, table, member, update, options)
    print(f"{heading} · {dataset.num_episodes:,} episodes of {path} · γ {discount:g}")
    print(as_table(found))
    if found.effective_episodes is not None:
        source = "estimated by cloning the dataset" if behavior_log_prob is None else "those of the file"
        print(f"  log-probabilities of the behavior: {source}")
    if options.stochastic and found.effective_episodes is None:
        print(f"{record.algorithm} gives its actions no density: there are no importance-weighted estimates")
    if options.out is not None:
        known = {"policy": heading, "dataset": str(path), "discount": discount}
        runs.write_json(Path(options.out), known | as_json(found))
        print(f"wrote {options.out}")
    return 0


def as_json(found: Any) -> dict[str, Any]:
    """An `rlx.recipes.off_policy_evaluation.Evaluation` as JSON holds it, None for what is undefined."""
    plain = lambda x: None if isinstance(x, float) and not math.isfinite(x) else x
    estimates = {name: {key: plain(x) for key, x in of._asdict().items()} for name, of in found.estimates.items()}
    return {"effective_episodes": plain(found.effective_episodes), "estimates": estimates}


def as_table(found: Any) -> str:
    """An `rlx.recipes.off_policy_evaluation.Evaluation` as lines."""
    width = max(map(len, found.estimates))
    lines = [
        f"  {name:<{width}}  {value:>10.4g}  ({low:.4g} to {high:.4g})"
        for name, (value, low, high, _) in found.estimates.items()
    ]
    if found.effective_episodes is not None:
        lines.append(f"  importance weights leave {found.effective_episodes:.1f} effective episodes")
    kinds: dict[str, list[str]] = {}
    for name, estimate in found.estimates.items():
        kinds.setdefault(estimate.interval, []).append(name)
    lines += [f"  95 % intervals of {', '.join(names)}: {kind}" for kind, names in kinds.items()]
    return "\n".join(lines)


def _fitting(options: Options) -> Any:
    from rlx.recipes.off_policy_evaluation import Fitting

    names = ("steps", "cloning_steps", "members", "batch_size", "learning_rate", "hidden_sizes")
    return Fitting(**{name: getattr(options, name) for name in names})


def _check(options: Options) -> None:
    for name, within in RANGES.items():
        value = getattr(options, name)
        if value is not None and not contains(within, value):
            raise SettingError(name, f"must be in {within}, got {value}")
    if not options.hidden_sizes or min(options.hidden_sizes) < 1:
        raise SettingError("hidden_sizes", f"must be positive, got {options.hidden_sizes}")
    if options.out is not None:
        check_out(options.out)


def _check_fit(environment: Any, dataset: Any, path: str) -> None:
    """Whether the policy can act on what the dataset holds."""
    from rlx import data

    for what, space, array in (
        ("observations", environment.observation_space, dataset.observation),
        ("actions", environment.action_space, dataset.action),
    ):
        if getattr(space, "shape", None) != array.shape[1:]:
            wanted = getattr(space, "shape", None) or "another kind"
            raise CommandError(f"{path} has {what} of the shape {array.shape[1:]}, the policy's are of {wanted}")
    data.ActionRange.of(dataset).check(environment.action_space)


def reporting(
    *, stream: TextIO | None = None, interval: float = 30.0, clock: Callable[[], float] = time.monotonic
) -> Callable[[str, int, int], None]:
    """A function that tells how far fits have come and how long they still take.

    Args:
        stream: where to; standard error by default. On a terminal one line is written over.
        interval: seconds between lines elsewhere.
        clock: seconds from any fixed origin.
    """
    stream = sys.stderr if stream is None else stream
    is_terminal = stream.isatty()
    # By what is fitted: when its first steps, before which it is compiled, were done, and how many these were.
    begun: dict[str, tuple[float, int]] = {}
    told = -math.inf

    def report(what: str, done: int, total: int) -> None:
        nonlocal told
        now, is_end = clock(), done in (0, total)
        if done:
            begun.setdefault(what, (now, done))
        if not (is_terminal or is_end or now - told >= interval):
            return
        told = now
        since, first = begun.get(what, (now, done))
        left = (total - done) * (now - since) / (done - first) if first < done < total else math.nan
        line = f"  fitting {what}: {done:,} of {total:,} gradient steps"
        line += f", {duration(left)} left" if math.isfinite(left) else ""
        print(f"\r{line:<78}" if is_terminal else line, end="" if is_terminal and done < total else "\n", file=stream)
        stream.flush()

    return report
