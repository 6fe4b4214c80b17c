"""`rlx envs`: what can be trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import tyro

from rlx import envs
from rlx.cli.errors import CommandError
from rlx.cli.parsing import parse
from rlx.envs.registry import nearest_name

DESCRIPTION = """\
List environments: observation space, action space, time limit in decisions, and who has a preset for it.

examples:
  rlx envs                   all of them
  rlx envs brax              those with brax in their name
  rlx envs --suite gymnax
  rlx envs brax:ant          that one, made here and now, with its bounds
"""


@dataclasses.dataclass(frozen=True)
class Options:
    """What to list."""

    words: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(help="Only names that hold all of these words.", metavar="[WORD ...]"),
    ] = ()
    suite: Annotated[str | None, tyro.conf.arg(help="Only this suite's.")] = None


def main(arguments: Sequence[str]) -> int:
    """`rlx envs [WORD …]`."""
    options = parse(Options, arguments, prog="rlx envs", description=DESCRIPTION)
    known = envs.names(options.suite)
    if len(options.words) == 1 and (options.words[0] in known or options.words[0].startswith("gym:")):
        print(card(envs.make(options.words[0])))
        return 0
    names = [name for name in known if all(word.lower() in name.lower() for word in options.words)]
    if not names:
        wanted = " ".join(options.words)
        raise CommandError(f"no environment matches {wanted!r}; {nearest_name(options.words[0], options.suite)}")
    print(table(names))
    return 0


def summarize(environment: envs.Environment) -> tuple[str, str, int | None]:
    """Observation space, action space and time limit in the words of the table."""
    return (
        describe(environment.observation_space),
        describe(environment.action_space),
        environment.max_episode_steps,
    )


def describe(space: Any) -> str:
    """A space in a few words: `Discrete(4)`, `Box(27)`, `Box(8) [-1, 1]` where bounds are shared."""
    import gymnasium
    import numpy as np

    match space:
        case gymnasium.spaces.Dict():
            return ", ".join(f"{name}: {describe(part)}" for name, part in space.spaces.items())
        case gymnasium.spaces.Tuple():
            return ", ".join(map(describe, space.spaces))
        case gymnasium.spaces.Box():
            low, high = np.unique(space.low), np.unique(space.high)
            # Simulators write "no bound" as infinity or as the largest float.
            bounded = low.size == high.size == 1 and max(abs(low[0]), abs(high[0])) < 1e9
            return f"Box({', '.join(map(str, space.shape))})" + (f" [{low[0]:g}, {high[0]:g}]" if bounded else "")
    return str(space)


def card(environment: envs.Environment) -> str:
    """Everything about one environment."""
    limit = environment.max_episode_steps
    lines = [
        ("observation", describe(environment.observation_space)),
        ("", str(environment.observation_space)),
        ("action", describe(environment.action_space)),
        ("", str(environment.action_space)),
        ("time limit", "none" if limit is None else f"{limit} decisions"),
        ("presets", _presets(environment.name) or "none: defaults apply"),
        ("train", f"rlx train ppo --env {environment.name}"),
    ]
    return "\n".join([environment.name, *(f"  {name:<12} {' '.join(text.split())}" for name, text in lines)])


def table(names: Iterable[str]) -> str:
    """Name, spaces, time limit and presets of environments, one line each."""
    from rlx.cli.catalog import ENVIRONMENTS

    rows = [("environment", "observation", "action", "limit", "preset")]
    for name in names:
        observation, action, limit = ENVIRONMENTS.get(name, ("?", "?", "?"))
        rows.append((name, observation, action, "–" if limit is None else str(limit), _presets(name)))
    widths = [max(map(len, column)) for column in zip(*rows)]
    align = ("<", "<", "<", ">", "<")
    return "\n".join(
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, align, widths)).rstrip() for row in rows
    )


def _presets(env: str) -> str:
    from rlx.recipes import RECIPES, recipe

    return " ".join(algorithm for algorithm in RECIPES if env in recipe(algorithm).presets)
