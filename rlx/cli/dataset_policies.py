"""The policies that a run folder's checkpoints hold, and the run that is done where none is named."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rlx import recipes
from rlx.cli import train
from rlx.cli.errors import CommandError
from rlx.cli.options import Options, user_cache
from rlx.recipes import trained
from rlx.recipes.datasets import Policies, PolicyScores, score_policies
from rlx.recipes.wiring import make_build
from rlx.training import checkpoints, runs


def train_policies(
    algorithm: str, env: str, *, seed: int, changes: Mapping[str, Any], num_checkpoints: int, quiet: bool
) -> Path:
    """The run folder of a training run in the user's cache, which is done or finished now unless it is there.

    Args:
        algorithm: its name.
        env: name of the environment; its preset is what is trained with.
        seed: of the run.
        changes: fields of the config that differ from the preset.
        num_checkpoints: how many policies to keep, evenly over the run.
        quiet: print nothing but warnings and errors.

    Raises:
        CommandError: the training failed, or was stopped.
    """
    import rlx

    found = recipes.recipe(algorithm)
    config = found.configure(env=env, **changes)
    options = Options(
        seeds=1,
        first_seed=seed,
        reports=num_checkpoints,
        evaluations=1,
        checkpoints=num_checkpoints,
        keep_checkpoints=2 * num_checkpoints,
        no_report=True,
        no_rollout=True,
        quiet=quiet,
    )
    plan = train.make_plan(config, options, {}, None)
    known_by = json.dumps([rlx.__version__, plan], sort_keys=True)
    name = f"{algorithm}-{env}-seed{seed}-{hashlib.sha256(known_by.encode()).hexdigest()[:10]}"
    folder = user_cache() / "policies" / name.replace(":", "-").replace("/", "-")
    if (folder / "summary.json").exists():
        return folder
    started = (folder / "config.json").exists()
    options = Options(**vars(options) | {"run_dir": str(folder), "resume": started})
    with contextlib.redirect_stdout(io.StringIO()) if quiet else contextlib.nullcontext():
        code = train.train(found, config, options, trained.read(folder) if started else None)
    if code:
        raise CommandError(f"the policy in {folder} is not trained to its end; the same command goes on with it")
    return folder


def restored(run_dir: str | Path) -> tuple[trained.Record, Any, Policies]:
    """A run's record, its environment, and the policies of its best seed: the untrained one and all that were saved.

    Raises:
        CommandError: it is not a run folder, or holds no checkpoint.
    """
    import jax
    import jax.numpy as jnp

    record = trained.read(run_dir)
    member = trained.choose_member(trained.read_metrics(record))
    environment = record.recipe.make_environment(record.config)
    learner = trained.make_learner(record, environment)
    updates = checkpoints.updates(record.folder.checkpoints)
    if not updates:
        raise CommandError(f"{run_dir} has no checkpoint yet")

    program = make_build(record.recipe, record.config, record.plan["num_updates"])({})
    untrained = jax.jit(lambda key: program.init(key).learner)(jax.random.key(member.seed))
    template, layout = trained.state_template(record)
    kept = trained.kept_parts(record, layout)
    states = [untrained]
    for update in updates:
        state, _ = checkpoints.restore(record.folder.checkpoints, template, update=update, kept=kept)
        states.append(jax.tree.map(lambda x: x[member.index], state.learner))
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    return record, environment, Policies(learner, stacked, (0, *updates))


def scored(
    run_dir: str | Path,
    record: trained.Record,
    environment: Any,
    found: Policies,
    *,
    seed: int,
    num_episodes: int,
    keep: bool,
) -> PolicyScores:
    """How good the policies of a run are; measured once, if the run's folder may `keep` it."""
    import jax

    path = Path(run_dir) / "scores.json"
    known_by = {"seed": seed, "num_episodes": num_episodes, "updates": list(found.updates)}
    if keep and path.exists():
        # What is damaged is measured again.
        with contextlib.suppress(runs.RunError, KeyError, TypeError, ValueError, RecursionError):
            saved = runs.read_json(path)
            if saved["of"] == known_by:
                return PolicyScores(**saved["scores"] | {"returns": np.array(saved["scores"]["returns"], float)})
    scores = score_policies(
        environment,
        found,
        jax.random.key(seed),
        num_episodes=num_episodes,
        max_steps=record.config.max_eval_steps,
    )
    if keep:
        runs.write_json(path, {"of": known_by, "scores": scores._asdict() | {"returns": scores.returns.tolist()}})
    return scores
