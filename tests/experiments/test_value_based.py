"""The benchmark of DQN and PQN runs at a tiny size, its settings reach the peer, its record is what was measured."""

import json

import numpy as np
import pytest

from experiments.benchmarks import timing, value_based

PEER = """
import hydra, wandb
from omegaconf import OmegaConf
from gymnax.wrappers.purerl import LogWrapper

@hydra.main(version_base=None)
def main(config):
    raise AssertionError

def flags(environment, key):
    environment = LogWrapper(environment)
    _, state = environment.reset(key)
    return environment.step(key, state, 0)
"""


@pytest.mark.slow
def test_a_quick_run_evaluates_every_seed_and_writes_nothing(monkeypatch):
    monkeypatch.setattr(timing, "save", lambda *_: pytest.fail("a quick run must not write results"))
    results = value_based.main(["--quick", "--trainers", "cartpole_dqn"])["results"]
    assert results.keys() == {"cartpole_dqn"}
    found = results["cartpole_dqn"]
    assert len(found["runs"]["eval_return_mean"]) == found["num_runs"] == 2 and not found["solved"]
    # Eight random steps come before the first update of eight.
    assert found["curve"]["env_steps"] == [16, 24, 32]
    with pytest.raises(SystemExit):
        value_based.main(["--quick", "--trainers", "breakout_purejaxql"])


def test_trainers_that_are_not_run_stay_in_the_record(monkeypatch):
    saved = {}
    run = lambda value: value_based.measured({"eval_return_mean": np.full(4, value)}, np.arange(3), np.ones((4, 3)))
    evaluated = lambda value: (
        run(value) | {"runs": {name: [value] * 4 for name in ("eval_return_mean", "eval_stochastic_return_mean")}}
    )
    monkeypatch.setattr(timing, "load", lambda *_: {"results": {"cartpole_pqn": evaluated(480.0)}})
    monkeypatch.setattr(timing, "save", lambda name, record: saved.update(record) or timing.RESULTS)
    monkeypatch.setattr(value_based, "ours", lambda *_, **__: evaluated(470.0))
    value_based.main(["--trainers", "cartpole_dqn"])
    assert {name: one["solved"] for name, one in saved["results"].items()} == {
        "cartpole_dqn": False,
        "cartpole_pqn": True,
    }


def test_a_curve_has_no_return_before_an_episode_has_ended():
    curve = np.array([[np.nan, 1.0, 2.0]])
    found = value_based.measured({"eval_return_mean": np.array([3.0])}, np.array([10, 20, 30]), curve)
    assert json.loads(json.dumps(found, allow_nan=False))["curve"] == {
        "env_steps": [10, 20, 30],
        "return_mean": [[None, 1.0, 2.0]],
    }


def test_the_peer_gets_the_settings_of_the_config():
    """Those of its own file for MinAtar but for the length of the run, which is as many whole updates as rlx takes."""
    _, config = value_based.configs(300_000)["breakout_pqn"]
    assert value_based.peer_settings(config) == dict(
        ENV_NAME="Breakout-MinAtar",
        TOTAL_TIMESTEPS=74 * 128 * 32,
        TOTAL_TIMESTEPS_DECAY=74 * 128 * 32,
        NUM_ENVS=128,
        NUM_STEPS=32,
        EPS_START=1.0,
        EPS_FINISH=0.05,
        EPS_DECAY=0.1,
        NUM_MINIBATCHES=32,
        NUM_EPOCHS=2,
        NORM_TYPE="layer_norm",
        LR=0.0005,
        LR_LINEAR_DECAY=True,
        MAX_GRAD_NORM=10,
        GAMMA=0.99,
        LAMBDA=0.65,
        REW_SCALE=1.0,
        WANDB_MODE="disabled",
        TEST_DURING_TRAINING=False,
    )


def test_the_peers_script_is_loaded_without_what_it_does_not_use(tmp_path):
    import sys

    import gymnax
    import jax

    (tmp_path / "purejaxql").mkdir()
    (tmp_path / "purejaxql" / "pqn_minatar.py").write_text(PEER)
    before = {name: sys.modules.get(name) for name in ("hydra", "omegaconf", "wandb")}
    with value_based.peer_module(tmp_path) as module:
        out = module.flags(gymnax.make("CartPole-v1")[0], jax.random.key(0))
    assert len(out) == 5 and "returned_episode_returns" in out[-1]
    assert {name: sys.modules.get(name) for name in before} == before
