import builtins
import sys
import types

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from rlx.training.statistics import interquartile_mean
from rlx.training.writers import scalars, tensorboard, wandb


def test_scalars_are_tagged_by_seed_with_their_interquartile_mean():
    rows = {
        "seed": np.array([0, 1, 5]),
        "update": 3,
        "env_steps": 96,
        "return_mean": np.ma.masked_array([1.0, 2.0, 9.0], [False, True, False]),
        "loss": np.array([1.0, np.nan, 4.0]),
        "eval_return_mean": None,
        "sps": 100.0,
    }
    tags = scalars(rows)
    assert np.isnan(tags.pop("loss/seed_1"))
    assert tags == {
        "return_mean/seed_0": 1.0,
        "return_mean/seed_5": 9.0,
        "return_mean/iqm": 5.0,
        "loss/seed_0": 1.0,
        "loss/seed_5": 4.0,
        "loss/iqm": 2.5,
        "sps": 100.0,
    }


def test_scalars_of_a_sweep_name_the_setting():
    y = np.arange(6.0) ** 2
    tags = scalars(
        {"seed": np.tile([0, 1, 2], 2), "clip": np.repeat([0.1, 0.2], 3), "update": 1, "env_steps": 1, "y": y}
    )
    assert tags["y/clip_0.2/seed_1"] == 16.0
    assert tags["y/clip_0.1/iqm"] == interquartile_mean(y[:3])
    assert len(tags) == 8


def read_events(directory):
    for path in sorted(directory.iterdir()):
        data = path.read_bytes()
        while data:
            # A TFRecord: length (8 bytes), its checksum (4), the message, its checksum (4).
            length = int.from_bytes(data[:8], "little")
            event = Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            yield from ((event.step, value.tag, value.simple_value) for value in event.summary.value)


def test_tensorboard_event_files_hold_what_was_written(tmp_path, caplog):
    writer = tensorboard(tmp_path / "tensorboard")
    writer.write(10, {"return_mean/seed_3": 1.5, "y/learning_rate_0.001_clip_1e-05/iqm": 2.0})
    writer.write(20, {"return_mean/seed_3": float("nan")})
    writer.close()
    events = list(read_events(tmp_path / "tensorboard"))
    assert events[:2] == [(10, "return_mean/seed_3", 1.5), (10, "y/learning_rate_0.001_clip_1e-05/iqm", 2.0)]
    assert events[2][:2] == (20, "return_mean/seed_3") and np.isnan(events[2][2])
    assert not caplog.records  # tensorboardX itself remarks on every NaN


def test_a_resumed_run_hides_what_was_written_after_its_checkpoint(tmp_path):
    for resume_step, value in ((None, 1.0), (11, 2.0)):
        writer = tensorboard(tmp_path, resume_step=resume_step)
        writer.write(20, {"a": value})
        writer.close()
    first, second = sorted(tmp_path.iterdir())
    data, statuses = second.read_bytes(), []
    while data:
        length = int.from_bytes(data[:8], "little")
        event = Event.FromString(data[12 : 12 + length])
        data = data[16 + length :]
        statuses.append((event.step, event.session_log.status))
    assert statuses == [(11, 0), (11, SessionLog.START), (20, 0)]


def test_wandb_gets_the_same_scalars(monkeypatch):
    calls = []

    class Run:
        def log(self, values, step):
            calls.append((step, values))

        def finish(self):
            calls.append("finished")

    def init(**options):
        calls.append(options)
        return Run()

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))
    writer = wandb("project", name="run", config={"gamma": 0.99}, mode="offline")
    writer.write(5, {"a": 1.0})
    writer.close()
    assert calls == [
        {"project": "project", "name": "run", "config": {"gamma": 0.99}, "mode": "offline"},
        (5, {"a": 1.0}),
        "finished",
    ]


def test_wandb_missing_says_how_to_install_it(monkeypatch):
    real_import = builtins.__import__

    def no_wandb(name, *arguments, **options):
        if name == "wandb":
            raise ImportError(name)
        return real_import(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", no_wandb)
    with pytest.raises(ImportError, match=r"pip install 'rlx\[wandb\]'"):
        wandb()
