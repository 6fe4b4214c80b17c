"""What runs give alone and in company, as a process of its own: `python -m tests.training.seed_runs FOLDER [KIND …]`.

It prints, as JSON, kind -> company -> digest of one run's whole state, metrics and evaluations. Everything is as
`rlx train` has it: recipes, `fit` and its defaults.
"""

import hashlib
import json
import sys
from pathlib import Path

import jax
import numpy as np

from rlx import data
from rlx.recipes import recipe
from rlx.recipes.settings import hyperparameters
from rlx.recipes.wiring import make_build
from rlx.training.fit import fit
from rlx.training.sharding import fetch

ACTING = dict(env="rlx:pendulum", hidden_sizes=(8,), eval_episodes=2)
LANGUAGE = dict(
    task="sorting@length=2@symbols=3", hidden_size=8, num_layers=1, num_heads=2, warmup_steps=2, warmup_batch_size=4,
    eval_prompts=4, eval_samples=2,
)  # fmt: skip
KINDS = {
    "rollouts": ("ppo", ACTING | dict(num_envs=8, unroll_length=8, num_minibatches=2, update_epochs=2)),
    "replay": ("sac", ACTING | dict(num_envs=4, batch_size=16, buffer_size=64, warmup_steps=16)),
    "dataset": ("td3_bc", dict(env="rlx:pendulum", hidden_sizes=(8,), eval_episodes=2, batch_size=16)),
    "responses": ("grpo", LANGUAGE | dict(num_prompts=4, group_size=4, minibatches=2)),
    "pairs": ("dpo", LANGUAGE | dict(sampled_prompts=8, samples=4, batch_size=4, updates_per_step=2)),
}
SEED, RATE, REPORTS = 1, 1e-3, 2
COMPANIES = {"alone": [], "two at a time": [(5, 2e-3)], "one after the other": [(0, 3e-2), (2, 1e-3)]}
"""Seeds and learning rates of further runs; three do not divide evenly among two devices, so they take one."""
MANY = ("rollouts",)
"""Kinds that are tried in all companies, the others only alone and two at a time."""


def digest(fitted, index: int) -> str:
    """Of run `index`: SHA-256 of its final state and of its rows in the metrics, times aside."""
    of = hashlib.sha256()
    for leaf in jax.tree.leaves(fetch(fitted.state)):
        leaf = jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
        of.update(np.ascontiguousarray(np.asarray(leaf)[index]).tobytes())
    for name, column in fitted.metrics.columns.items():
        if name not in ("sps", "wall_time"):
            of.update(name.encode() + column.filled(-1).reshape(REPORTS, -1)[:, index].tobytes())
    return of.hexdigest()


def results(kind: str, folder: Path) -> dict[str, str]:
    """Digests of one run in several companies."""
    name, values = KINDS[kind]
    if kind == "dataset":
        path = folder / "data.hdf5"
        rng = np.random.default_rng(0)
        observation, ends = rng.normal(size=(50, 3)), np.arange(50) % 5 == 4
        rows = data.make_dataset(
            observation, rng.uniform(-1, 1, (50, 1)), rng.normal(size=50), observation + 1, 0 * ends, ends
        )
        data.write_dataset(path, rows)
        values = values | {"dataset": str(path)}
    found = recipe(name)
    config = found.configure(**values)
    build = make_build(found, config, REPORTS)
    digests = {}
    for company, others in list(COMPANIES.items())[: None if kind in MANY else 2]:
        runs = [*others[:1], (SEED, RATE), *others[1:]]
        fitted = fit(
            build,
            seeds=[seed for seed, _ in runs],
            hyperparameters={
                field: [rate if field == "learning_rate" else value for _, rate in runs]
                for field, value in hyperparameters(config).items()
            },
            num_envs=config.num_envs_per_seed,
            steps_per_update=config.steps_per_update,
            initial_steps=config.initial_steps,
            steps_name=config.steps_name,
            num_updates=REPORTS,
            updates_per_report=1,
            quiet=True,
        )
        digests[company] = digest(fitted, len(others[:1]))
    return digests


if __name__ == "__main__":
    folder, *kinds = sys.argv[1:]
    # As `rlx train` does: what has been compiled once for a run alone is not compiled again for runs in company.
    jax.config.update("jax_compilation_cache_dir", str(Path(folder) / "cache"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    print(json.dumps({kind: results(kind, Path(folder)) for kind in kinds or KINDS}))
