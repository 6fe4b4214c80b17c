"""One small run as a process of its own: `python mesh_run.py OUT [process_id num_processes port]`.

The tests start it with different numbers of devices and processes and compare what it saves.
"""

import sys

import jax
import numpy as np

from rlx import envs
from rlx.training.fit import fit
from rlx.training.sharding import fetch, make_mesh, use_cores
from tests.training.toy import make_program

SEEDS, ENVS, UPDATES = 4, 8, 3


def main(out: str, process_id: str = "0", num_processes: str = "1", port: str = "0", seed_axis: str = "") -> None:
    if num_processes != "1":
        jax.distributed.initialize(f"127.0.0.1:{port}", int(num_processes), int(process_id))
    use_cores(SEEDS)
    environment = envs.make("rlx:pendulum", max_episode_steps=6)
    fitted = fit(
        lambda setting: make_program(setting, environment=environment, num_envs=ENVS, unroll_length=8),
        seeds=range(SEEDS),
        hyperparameters={"learning_rate": [1e-3] * SEEDS},
        num_envs=ENVS,
        steps_per_update=ENVS * 8,
        num_updates=UPDATES,
        updates_per_report=1,
        run_dir=f"{out}_run",
        mesh=make_mesh(SEEDS, ENVS, seed=int(seed_axis) if seed_axis else None),
        quiet=True,
    )
    params = fetch(fitted.state.params)
    if jax.process_index() == 0:
        leaves = {f"p{i}": leaf for i, leaf in enumerate(jax.tree.leaves(params))}
        np.savez(out, devices=jax.device_count(), returns=fitted.metrics["eval_return_mean"], **leaves)


if __name__ == "__main__":
    main(*sys.argv[1:])
