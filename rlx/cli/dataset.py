"""`rlx dataset`: look at datasets, convert them, make them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from rlx.cli.errors import CommandError, flag
from rlx.cli.options import Switch
from rlx.cli.parsing import parse
from rlx.envs.registry import nearest

HELP = """\
usage: rlx dataset COMMAND [OPTIONS]

  info      what a dataset holds: episodes, returns, quality and coverage
  convert   from D4RL's HDF5 to Minari's folders, or back
  make      train a policy and log what it does

A file is taken for one of D4RL's, a folder for one of Minari's. Every command answers to --help.
"""

INFO = """\
Describe a dataset: its arrays, how its episodes end, their lengths and returns, its trajectory quality (TQ) and
state-action coverage (SACo).

examples:
  rlx dataset info hopper_medium-v2.hdf5
  rlx dataset info poor.hdf5 --reference replay.hdf5     coverage relative to that of another dataset
"""

CONVERT = """\
Write a dataset in the other format: D4RL's where the name ends in .hdf5 or .h5, else a folder of Minari's.

examples:
  rlx dataset convert hopper_medium-v2.hdf5 hopper/medium-v2
  rlx dataset convert ~/.minari/datasets/D4RL/pen/human-v2 pen.hdf5
"""

MAKE = """\
Train a policy, or take those of a run folder, and log what it does under D4RL's protocol.

levels:
{levels}

The policy is kept in the user's cache, so that the other levels need no second training.

examples:
  rlx dataset make --env rlx:pendulum --level medium --out medium.hdf5
  rlx dataset make --env brax:hopper --level mixed --out mixed.hdf5 --steps 1e6
  rlx dataset make --policy runs/NAME --level expert --out expert.hdf5
"""

PERCENTILES = (0, 5, 25, 50, 75, 95, 100)

MAX_COUNT = 10_000
"""The most policies and episodes; they are evaluated side by side."""

LEAST_BYTES = 18
"""What a transition takes at least: a number of either observation, of the action and of the reward, two flags."""


@dataclasses.dataclass(frozen=True)
class InfoOptions:
    """What to describe."""

    file: Annotated[str, tyro.conf.Positional, tyro.conf.arg(help="The dataset.", metavar="FILE")] = ""
    reference: str | None = None
    """Dataset whose coverage counts as 1, best the replay of an online run; None takes what the file notes."""


@dataclasses.dataclass(frozen=True)
class ConvertOptions:
    """What to convert."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(help="The dataset.", metavar="FROM")] = ""
    target: Annotated[str, tyro.conf.Positional, tyro.conf.arg(help="Where to write it.", metavar="TO")] = ""


@dataclasses.dataclass(frozen=True)
class MakeOptions:
    """What to make."""

    level: str = ""
    """Which level."""
    out: str = ""
    """Where to write, NAME.hdf5 for D4RL's format, else a folder in Minari's."""
    env: str | None = None
    """Environment; --policy knows its own."""
    max_episode_steps: int | None = None
    """Time limit in decisions; None takes the task's own. --policy knows its own."""
    policy: str | None = None
    """Run folder whose best seed acts; None trains one, or takes it from the user's cache."""
    steps: int = 1_000_000
    """Transitions."""
    seed: int = 0
    """Of the training and of the log; the same seed makes the same dataset."""
    algorithm: str = "ppo"
    """What the policy is trained by."""
    train_steps: int | None = None
    """Environment steps of its training; None takes the preset's."""
    checkpoints: int = 50
    """Policies kept over the training, from which medium and replay levels choose."""
    eval_episodes: int = 16
    """Episodes by which each of them is judged."""
    quiet: Switch = False
    """Print only warnings, errors and the path."""


def main(arguments: Sequence[str]) -> int:
    """`rlx dataset COMMAND …`."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP, end="")
        return 0
    command, *rest = arguments
    commands: dict[str, Callable[[Sequence[str]], int]] = {"info": info, "convert": convert, "make": make}
    if command not in commands:
        raise CommandError(f"no command {command!r} of rlx dataset; {nearest(command, commands)}")
    return commands[command](rest)


def info(arguments: Sequence[str]) -> int:
    """`rlx dataset info FILE`."""
    options = parse(InfoOptions, arguments, prog="rlx dataset info", description=INFO)
    if not options.file:
        raise CommandError("rlx dataset info needs a file: rlx dataset info FILE")
    from rlx import data

    found = data.read_dataset(options.file)
    reference = None if options.reference is None else data.read_dataset(options.reference).dataset
    print("\n".join(describe(options.file, found, reference)))
    return 0


def convert(arguments: Sequence[str]) -> int:
    """`rlx dataset convert FROM TO`."""
    options = parse(ConvertOptions, arguments, prog="rlx dataset convert", description=CONVERT)
    if not (options.source and options.target):
        raise CommandError("rlx dataset convert needs two paths: rlx dataset convert FROM TO")
    from rlx import data
    from rlx.data import files

    target = Path(options.target).expanduser()
    files.check_target(target)
    found = data.read_dataset(Path(options.source).expanduser())
    data.write_dataset(target, found.dataset, found.metadata)
    print(f"{target}: {found.dataset.num_rows:,} transitions in {found.dataset.num_episodes:,} episodes")
    return 0


def make(arguments: Sequence[str]) -> int:
    """`rlx dataset make --env ENV --level LEVEL --out FILE`."""
    from rlx.recipes import datasets

    width = max(map(len, datasets.LEVELS))
    levels = "\n".join(f"  {name:<{width}}  {what}" for name, what in datasets.LEVELS.items())
    description = MAKE.format(levels=levels)
    options = parse(MakeOptions, arguments, prog="rlx dataset make", description=description)
    check(options, datasets.LEVELS)
    from rlx import data
    from rlx.cli import dataset_policies, train
    from rlx.cli.options import Options

    if options.policy is None:
        train.check_environment(options.env)
    train.prepare_jax(Options())
    say = (lambda text: None) if options.quiet else (lambda text: print(text, flush=True))
    run_dir = options.policy or dataset_policies.train_policies(
        options.algorithm,
        options.env,
        seed=options.seed,
        changes={
            name: value
            for name, value in (
                ("total_steps", options.train_steps),
                ("max_episode_steps", options.max_episode_steps),
            )
            if value is not None
        },
        num_checkpoints=options.checkpoints,
        quiet=options.quiet,
    )
    record, environment, found = dataset_policies.restored(run_dir)
    if options.env not in (None, record.config.env):
        raise CommandError(f"--policy {run_dir} was trained on {record.config.env}, not on {options.env}")
    say(f"{len(found.updates)} policies of {run_dir}")
    scores = dataset_policies.scored(
        run_dir,
        record,
        environment,
        found,
        seed=options.seed,
        num_episodes=options.eval_episodes,
        keep=options.policy is None,
    )
    say(
        f"random {scores.minimum:,.4g} · expert {scores.maximum:,.4g} (update {found.updates[scores.expert]}) · "
        f"medium: score {scores.scores[scores.medium]:.0f} (update {found.updates[scores.medium]})"
    )
    dataset, metadata = datasets.make(
        environment, found, scores, options.level, num_steps=options.steps, seed=options.seed
    )
    # What an evaluation has to make again as it was.
    same = {name: getattr(record.config, name) for name in ("backend", "max_episode_steps", "action_repeat")}
    metadata |= same | {"algorithm": record.algorithm}
    data.write_dataset(options.out, dataset, metadata)
    if options.quiet:
        print(options.out)
    else:
        print("\n".join(["", *describe(options.out, data.read_dataset(options.out))]))
    return 0


def check(options: MakeOptions, levels: Mapping[str, str]) -> None:
    """Raises `CommandError` or `DatasetError` where a dataset could not be made as asked."""
    if options.level not in levels:
        if not options.level:
            raise CommandError(f"rlx dataset make needs --level, one of {', '.join(levels)}")
        raise CommandError(f"no level {options.level!r}; {nearest(options.level, levels)}")
    if not options.out:
        raise CommandError("rlx dataset make needs --out, where to write")
    if options.env is None and options.policy is None:
        raise CommandError("rlx dataset make needs --env, or --policy with a run folder")
    for name in ("steps", "checkpoints", "eval_episodes", "train_steps", "max_episode_steps"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise CommandError(f"{flag(name)} must be at least 1, got {value}")
        if name in ("checkpoints", "eval_episodes") and value > MAX_COUNT:
            raise CommandError(f"{flag(name)} must be at most {MAX_COUNT}, got {value}")
    if not 0 <= options.seed < 2**32:
        raise CommandError(f"--seed must be from 0 to 2^32 - 1, got {options.seed}")
    from rlx.data import files

    # So that nothing is trained for a log that no memory or no file can hold.
    files.check_memory(LEAST_BYTES * options.steps, f"--steps {options.steps:,}: so many transitions")
    files.check_target(options.out)


def describe(path: str | Path, found: Any, reference: Any | None = None) -> list[str]:
    """A dataset in words, and the histogram of its returns.

    Args:
        path: what it is called.
        found: what `rlx.data.read_dataset` gave.
        reference: a dataset to compare its coverage with; None takes what its metadata note.
    """
    from rlx import data

    dataset, metadata = found.dataset, found.metadata
    # In double precision, where sums of the largest rewards are finite as well.
    returns = np.add.reduceat(np.asarray(dataset.reward, float), np.asarray(dataset.episode_start))
    lengths = np.asarray(dataset.episode_length)
    terminated, truncated = int(dataset.terminated.sum()), int(dataset.truncated.sum())
    known = [
        f"{name} {_printable(metadata[name])}" for name in ("env", "level", "seed", "algorithm") if name in metadata
    ]
    scores = data.reference_scores(metadata)
    lines = [
        ("dataset", f"{_printable(metadata.get('dataset_id', '–'))} ({found.format})"),
        ("made by", " · ".join(known)) if known else None,
        ("transitions", f"{dataset.num_rows:,} in {dataset.num_episodes:,} episodes"),
        ("ends", f"{terminated:,} terminated, {truncated:,} truncated"),
        ("observation", _array(dataset.observation)),
        ("action", _array(dataset.action)),
        ("reward", f"{_range(dataset.reward)}, mean {np.mean(dataset.reward, dtype=float):.4g}"),
        ("length", _quantiles(lengths)),
        ("return", _quantiles(returns)),
        ("score", _score(returns, scores)),
        ("TQ", _quality(returns, scores)),
        ("SACo", _coverage(dataset, metadata, reference)),
    ]
    words = [f"  {name:<12} {text}" for name, text in filter(None, lines)]
    return [str(path), *words, "", f"  returns of {len(returns):,} episodes", *histogram(returns)]


def histogram(values: np.ndarray, *, num_bins: int = 12, width: int = 48) -> list[str]:
    """A histogram in lines of text, the largest value at the bottom."""
    low, high = float(np.min(values)), float(np.max(values))
    if np.float32(low) == np.float32(high):
        return [f"  {low:>10.4g}  {'█' * width} {len(values):,}"]
    counts, edges = np.histogram(values, num_bins, (low, high))
    blocks = " ▏▎▍▌▋▊▉█"
    lines = []
    for count, edge in zip(counts, edges):
        eighths = int(np.ceil(8 * width * count / counts.max()))
        bar = "█" * (eighths // 8) + blocks[eighths % 8].strip()
        lines.append(f"  {edge:>10.4g}  {bar} {count:,}" if count else f"  {edge:>10.4g}")
    return [*lines, f"  {high:>10.4g}"]


def _printable(value: Any) -> str:
    """What a file says of itself, without what would move the cursor of a terminal, and not at any length."""
    return "".join(letter if letter.isprintable() else "�" for letter in str(value))[:200]


def _array(x: Any) -> str:
    return f"{x.dtype} ({', '.join(map(str, x.shape[1:]))}), {_range(x)}"


def _range(x: Any) -> str:
    return f"from {float(x.min()):.4g} to {float(x.max()):.4g}"


def _quantiles(values: np.ndarray) -> str:
    low, *inner, high = np.percentile(values, PERCENTILES)
    shown = " ".join(f"{value:.4g}" for value in inner)
    return f"mean {values.mean():.4g}, from {low:.4g} to {high:.4g}; 5, 25, 50, 75, 95 %: {shown}"


def _score(returns: np.ndarray, scores: Any | None) -> str:
    import jax.numpy as jnp

    from rlx.diagnostics import normalized_score

    if scores is None:
        return "– (no reference scores are known)"
    normalized = np.asarray(
        normalized_score(jnp.asarray(returns, float), minimum=scores.minimum, maximum=scores.maximum)
    )
    return (
        f"mean {normalized.mean():.4g}, best {normalized.max():.4g} "
        f"(0: random {scores.minimum:.4g}, 100: expert {scores.maximum:.4g}; {scores.source})"
    )


def _quality(returns: np.ndarray, scores: Any | None) -> str:
    import jax.numpy as jnp

    from rlx.diagnostics import trajectory_quality

    if scores is None:
        return "– (no reference scores are known)"
    quality = trajectory_quality(jnp.asarray(returns, float), minimum=scores.minimum, maximum=scores.maximum)
    return f"{float(quality):.3f}"


def _coverage(dataset: Any, metadata: Mapping[str, Any], reference: Any | None) -> str:
    from rlx.diagnostics import state_action_coverage
    from rlx.recipes import datasets

    if reference is not None:
        shapes = [(x.observation.shape[1:], x.action.shape[1:]) for x in (dataset, reference)]
        if shapes[0] != shapes[1]:
            raise CommandError(f"--reference has other observations and actions: {shapes[1]}, not {shapes[0]}")
        # Of two datasets the larger one has the larger coverage, whatever it holds.
        rows = min(dataset.num_rows, reference.num_rows)
        dataset, reference = (_subset(x, rows) for x in (dataset, reference))
        measure, against = datasets.coverage_reference(reference), f"the reference, {rows:,} rows of each"
    elif "saco_unique" in metadata:
        measure = _noted_coverage(dataset, metadata)
        against = f"the replay of the training run, {measure['saco_rows']:,} rows"
    else:
        own = datasets.coverage_reference(dataset)
        return f"– (--reference names what to compare with); {own['saco_unique']:,} distinct state-action pairs"
    count = datasets.count_pairs(dataset, measure["saco_low"], measure["saco_high"])
    covered = float(state_action_coverage(count, reference=measure["saco_unique"]))
    return f"{covered:.3f} ({count:,} distinct state-action pairs, {measure['saco_unique']:,} in {against})"


def _noted_coverage(dataset: Any, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What a file notes for the coverage, as `rlx.recipes.datasets.coverage_reference` made it."""
    from rlx.data import DatasetError

    features = int(np.prod(dataset.observation.shape[1:]) + np.prod(dataset.action.shape[1:]))
    shapes = {"saco_unique": (), "saco_rows": (), "saco_low": (features,), "saco_high": (features,)}
    for name, shape in shapes.items():
        with contextlib.suppress(TypeError, ValueError):
            found = np.asarray(metadata.get(name), float)
            if found.shape == shape and np.isfinite(found).all() and (shape or found >= 1):
                continue
        what = f"{features} finite numbers" if shape else "a number from 1 on"
        raise DatasetError(f"{name} of the metadata must be {what}, got {metadata.get(name)!r:.60}")
    return {name: metadata[name] for name in shapes}


def _subset(dataset: Any, num_rows: int) -> Any:
    """Some rows, spread evenly; only good for counting, as they are no episodes."""
    rows = np.linspace(0, dataset.num_rows - 1, num_rows).round().astype(int)
    return dataset._replace(
        observation=dataset.observation[rows], action=dataset.action[rows], reward=dataset.reward[rows]
    )
