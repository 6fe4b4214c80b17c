"""Rollouts against a hand-driven environment, videos, and the way from `train` to `play` and `plot`."""

import json
import shutil

import imageio.v3 as imageio
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import rlx
from rlx import cli, envs
from rlx.algorithms.learner import Learner
from rlx.recipes import recipe, trained, watching
from rlx.training import checkpoints
from rlx.training.metrics import MetricsTable

pytestmark = pytest.mark.long(minutes=0.5)

ARGUMENTS = [
    *("train", "ppo", "--env", "rlx:pendulum", "--seeds", "2", "--first-seed", "5", "--num-envs", "8"),
    *("--unroll-length", "8", "--num-minibatches", "2", "--update-epochs", "1", "--hidden-sizes", "8"),
    *(
        "--eval-episodes",
        "2",
        "--total-steps",
        "640",
        "--reports",
        "5",
        "--evaluations",
        "5",
        "--checkpoints",
        "5",
    ),
    *("--sweep", "learning_rate=1e-3,1e-4", "--keep-checkpoints", "5"),
]


# Torque that opposes the speed, with noise on demand.
POLICY = Learner(
    init=None,
    update=None,
    act=lambda gain, observation, key: (
        -gain * observation[:, 2:] + jax.random.normal(key, (len(observation), 1)),
        {},
    ),
    mode=lambda gain, observation: -gain * observation[:, 2:],
)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    assert cli.main([*ARGUMENTS, "--run-dir", str(path)]) == 0
    return path


class TestRollout:
    @pytest.mark.slow
    def test_equals_an_environment_driven_by_hand(self):
        environment = envs.make("rlx:pendulum", max_episode_steps=5)
        played = watching.rollout(environment, POLICY, 0.5, jax.random.key(1), num_steps=8, num_episodes=3)
        np.testing.assert_array_equal(played.done, np.arange(8)[:, None].repeat(3, 1) == 4)
        state = jax.tree.map(lambda x: x[0], played.states)
        for t in range(5):
            np.testing.assert_allclose(played.states.task[t], state.task, rtol=1e-6)
            speed = state.task[:, 1:]
            state, step = jax.vmap(environment.step)(state, -0.5 * speed, jax.random.split(jax.random.key(2), 3))
            np.testing.assert_allclose(played.reward[t], step.reward, rtol=1e-5)

    def test_stochastic_policy_explores(self):
        environment = envs.make("rlx:pendulum")
        twice = [
            watching.rollout(environment, POLICY, 0.5, jax.random.key(1), num_steps=4, stochastic=stochastic)
            for stochastic in (False, True)
        ]
        np.testing.assert_array_equal(twice[0].states.task[0], twice[1].states.task[0])
        assert not np.allclose(twice[0].reward[1:], twice[1].reward[1:])

    def test_returns_and_lengths_end_with_the_first_episode(self):
        done = jnp.array([[0, 0, 1], [1, 0, 0], [0, 0, 0], [1, 0, 1]], bool)
        reward = jnp.array([[1.0, 1, 1], [2, 2, 2], [4, 4, 4], [8, 8, 8]])
        played = watching.Rollout(None, reward, done)
        np.testing.assert_array_equal(watching.lengths(done), [2, 4, 1])
        np.testing.assert_array_equal(watching.returns(played), [3, 15, 1])


class Recorder:
    """An environment that draws a state, a number, as a picture of that gray."""

    name = "test:recorder"

    def __init__(self, time_step):
        self.time_step = time_step

    def render(self, states, *, width, height):
        return np.broadcast_to(states[:, None, None, None], (len(states), height, width, 3)).astype(np.uint8)


class TestPictures:
    PLAYED = watching.Rollout(
        jnp.arange(20).reshape(10, 2), jnp.zeros((10, 2)), jnp.zeros((10, 2), bool).at[3, 0].set(True)
    )

    @pytest.mark.parametrize(
        ("time_step", "expected", "seconds"),
        [
            (0.04, [0, 2, 4, 6, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19], 0.04),
            (0.02, [0, 4, 1, 5, 9, 13, 17], 0.04),
            (0.1, [0, 2, 4, 6, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19], 0.1),
            (None, [0, 2, 4, 6, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19], watching.DEFAULT_TIME_STEP),
        ],
    )
    def test_first_episodes_in_the_simulators_time(self, time_step, expected, seconds):
        frames, shown = watching.pictures(Recorder(time_step), self.PLAYED, width=4, height=2, fps=25)
        assert frames.shape == (len(expected), 2, 4, 3)
        np.testing.assert_array_equal(frames[:, 0, 0, 0], expected)
        assert shown == pytest.approx(seconds)

    def test_frames_are_limited(self):
        frames, _ = watching.pictures(Recorder(0.04), self.PLAYED, max_frames=3)
        assert len(frames) == 3

    def test_fps_must_be_positive(self):
        with pytest.raises(ValueError, match="fps must be positive, got 0"):
            watching.pictures(Recorder(0.04), self.PLAYED, fps=0)


class TestVideo:
    FRAMES = np.zeros((9, 33, 47, 3), np.uint8)
    FRAMES[np.arange(9), :, 5 * np.arange(9)] = [255, 0, 0]

    @pytest.mark.parametrize("seconds", [0.05, 0.045, 0.0333])
    def test_gif_lasts_as_long_as_what_it_shows(self, tmp_path, seconds):
        path = tmp_path / "a.gif"
        watching.write_video(path, self.FRAMES, seconds)
        with Image.open(path) as image:
            durations = []
            for frame in range(image.n_frames):
                image.seek(frame)
                durations.append(image.info["duration"])
                reds = np.asarray(image.convert("RGB"))[0, :, 0]
                np.testing.assert_array_equal(np.flatnonzero(reds > 128), [5 * frame])
        assert sum(durations) == pytest.approx(9000 * seconds, abs=5.001)

    @pytest.mark.filterwarnings("ignore:os.fork")
    def test_mp4(self, tmp_path):
        path = tmp_path / "a.mp4"
        watching.write_video(path, self.FRAMES, 0.05)
        assert imageio.imread(path).shape == (9, 32, 46, 3)
        assert imageio.immeta(path)["fps"] == pytest.approx(20)

    def test_suffix(self, tmp_path):
        with pytest.raises(ValueError, match=r"\.gif or \.mp4"):
            watching.write_video(tmp_path / "a.webm", self.FRAMES, 0.05)
        assert not list(tmp_path.iterdir())


class TestRunFolder:
    def test_holds_what_it_promises(self, run_dir):
        names = {path.name for path in run_dir.iterdir()}
        assert names >= {"config.json", "metrics.parquet", "summary.json", "tensorboard", "checkpoints"}
        assert names >= {"curve.png", "rollout.gif", "report.html"}
        saved = json.loads((run_dir / "config.json").read_text())
        assert (saved["algorithm"], saved["env"]) == ("ppo", "rlx:pendulum")
        assert saved["config"]["seeds"] == 2 and saved["config"]["first_seed"] == 5
        assert saved["config"]["sweep"] == {"learning_rate": [1e-3, 1e-4]}
        assert (saved["config"]["num_updates"], saved["config"]["updates_per_report"]) == (10, 2)

    def test_settings_and_seeds_multiply(self, run_dir):
        table = MetricsTable.read(run_dir / "metrics.parquet")
        assert len(table) == 5 * 4
        np.testing.assert_array_equal(table["seed"][:4], [5, 6, 5, 6])
        np.testing.assert_array_equal(table["learning_rate"][:4], [1e-3, 1e-3, 1e-4, 1e-4])

    def test_record_gives_back_the_config(self, run_dir):
        record = trained.read(run_dir)
        assert record.algorithm == "ppo"
        assert record.config == record.recipe.config(
            env="rlx:pendulum",
            num_envs=8,
            unroll_length=8,
            num_minibatches=2,
            update_epochs=1,
            hidden_sizes=(8,),
            eval_episodes=2,
            total_steps=640,
            **{name: value for name, value in _preset("rlx:pendulum").items() if name not in _given()},
        )

    def test_restored_parameters_are_those_of_the_summary(self, run_dir):
        from rlx.training.compiled import params_digest

        record = trained.read(run_dir)
        template, _ = trained.state_template(record)
        state, update = checkpoints.restore(record.folder.checkpoints, template)
        summary = json.loads(record.folder.summary.read_text())
        assert update == 10
        assert [params_digest(state.params, run) for run in range(4)] == [
            run["params_sha256"] for run in summary["runs"]
        ]


class TestResume:
    @pytest.mark.parametrize("command", [ARGUMENTS, ["train", "ppo"]], ids=["same command", "folder alone"])
    def test_finished_run_is_left_alone(self, run_dir, command, capsys):
        before = {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")}
        assert cli.main([*command, "--run-dir", str(run_dir), "--resume"]) == 0
        assert "nothing to resume" in capsys.readouterr().out
        assert {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")} == before

    @pytest.mark.slow
    def test_longer_training_goes_on_from_where_it_was(self, run_dir, tmp_path, capsys):
        longer = shutil.copytree(run_dir, tmp_path / "longer")
        command = [
            "train",
            "ppo",
            "--run-dir",
            str(longer),
            "--resume",
            "--total-steps",
            "1280",
            "--no-rollout",
        ]
        assert cli.main(command) == 2
        assert "total_steps: 640 -> 1280" in capsys.readouterr().err
        assert cli.main([*command, "--allow-changes"]) == 0
        before, after = (MetricsTable.read(path / "metrics.parquet")["return_mean"] for path in (run_dir, longer))
        assert len(after) == 2 * len(before)
        np.testing.assert_array_equal(after[: len(before)].filled(0), before.filled(0))

    def test_a_state_of_another_shape_is_refused(self, run_dir, capsys):
        before = {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")}
        command = [
            "train",
            "ppo",
            "--run-dir",
            str(run_dir),
            "--resume",
            "--allow-changes",
            "--num-envs",
            "16",
        ]
        assert cli.main(command) == 2
        assert "num_envs: 8 -> 16" in capsys.readouterr().err
        assert {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")} == before


class TestPlay:
    @pytest.mark.slow
    def test_writes_a_video_and_says_what_it_shows(self, run_dir, tmp_path, capsys):
        out = tmp_path / "a.gif"
        assert cli.main(["play", str(run_dir), "--seed", "6", "--episodes", "2", "--out", str(out)]) == 0
        text = capsys.readouterr().out
        assert "seed 6" in text and text.count("200 steps") == 2
        with Image.open(out) as image:
            assert image.size == (320, 240) and image.n_frames > 200

    def test_deterministic_policy_repeats_itself(self, run_dir, tmp_path, capsys):
        texts = []
        for _ in range(2):
            assert (
                cli.main(
                    [
                        "play",
                        str(run_dir),
                        "--out",
                        str(tmp_path / "a.gif"),
                        "--width",
                        "32",
                        "--height",
                        "24",
                    ]
                )
                == 0
            )
            texts.append(capsys.readouterr().out)
        assert texts[0] == texts[1]

    @pytest.mark.parametrize(
        ("arguments", "parts"),
        [
            (["--seed", "7"], ["seed 7", "5, 6"]),
            (["--checkpoint", "3"], ["checkpoint 3", "best, latest", "10"]),
            (["--checkpoint", "newest"], ["'newest'", "latest"]),
            (["--setting", "clip=0.1"], ["clip", "learning_rate"]),
            (["--setting", "learning_rate=1"], ["learning_rate=1", "learning_rate=0.001"]),
            (["--out", "a.webm"], ["--out", ".gif", ".mp4"]),
            (["--episodes", "0"], ["--episodes", "0"]),
            (["--fps", "0"], ["--fps", "0"]),
            (["--fps", "nan"], ["--fps", "nan"]),
            (["--width", "1e8"], ["--width", "16384", "100000000"]),
            (["--width", "0"], ["--width", "0"]),
            (["--height", "-1"], ["--height", "-1"]),
            (["--episodes", "1e30"], ["--episodes", "1000000"]),
            (["--max-steps", "1e12"], ["--max-steps", "100000000"]),
            (["--random-seed", "1e30"], ["--random-seed", "4294967295"]),
            (["--checkpoint", "²"], ["'²'", "latest"]),
            (["--out", "/proc/a.gif"], ["/proc/a.gif cannot be written"]),
            (["--out", "/dev/null/a.gif"], ["/dev/null/a.gif", "/dev/null"]),
        ],
        ids=lambda value: " ".join(value[:2]),
    )
    def test_wrong_requests(self, run_dir, arguments, parts, capsys):
        assert cli.main(["play", str(run_dir), *arguments]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("rlx: error: ") and all(part in line for part in parts), line

    def test_pictures_beyond_memory_are_refused_before_anything_is_compiled(self, run_dir, monkeypatch, capsys):
        monkeypatch.setattr(jax, "jit", lambda function: pytest.fail("nothing may be compiled"))
        size = ["--episodes", "1000000", "--width", "16384", "--height", "16384"]
        assert cli.main(["play", str(run_dir), *size]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "episodes" in line and "16384×16384 need" in line and "TiB" in line

    def test_says_what_is_missing_where_nothing_can_draw(self, run_dir, monkeypatch, capsys):
        def refuse(self, states, *, width, height):
            raise envs.RenderingUnavailable("no OpenGL here: set MUJOCO_GL=egl")

        monkeypatch.setattr("rlx.envs.episodes.EpisodicEnvironment.render", refuse)
        assert cli.main(["play", str(run_dir)]) == 2
        output = capsys.readouterr()
        assert "return" in output.out
        assert output.err == "rlx: error: no OpenGL here: set MUJOCO_GL=egl\n"

    def test_best_is_the_best_of_this_run_and_the_newest_of_equals(self):
        table = MetricsTable()
        for update, returns in ((1, [0.0, 9.0]), (2, [5.0, 1.0]), (3, [5.0, np.nan]), (4, [4.0, 2.0])):
            table.append({"seed": np.arange(2), "update": update, "eval_return_mean": np.array(returns)})
        choose = lambda index, wanted: trained.choose_checkpoint(
            [4, 1, 3, 2], table, trained.Member(index, index, {}), wanted
        )
        assert (choose(0, "best"), choose(1, "best"), choose(1, "latest"), choose(0, "1")) == (3, 1, 4, 1)
        assert trained.choose_member(table) == trained.Member(0, 0, {})


class TestLoad:
    @pytest.mark.slow
    def test_a_policy_in_two_lines(self, run_dir):
        policy = rlx.load(run_dir, seed=6, setting={"learning_rate": 1e-3})
        observation = np.array([[0.1, 0.9, 1.0], [-0.5, 0.5, 0.0]], np.float32)
        action = policy(observation)
        assert action.shape == (2, 1) and policy(observation[0]).shape == (1,)
        np.testing.assert_allclose(policy(observation[0]), action[0], rtol=1e-6)
        assert policy.seed == 6 and set(policy.params) == {"torso", "policy", "critic"}
        explored = [policy(observation, key=jax.random.key(i)) for i in range(2)]
        assert not np.allclose(*explored)

    @pytest.mark.slow
    def test_all_seeds_side_by_side_are_each_alone(self, run_dir):
        setting = {"learning_rate": 1e-4}
        together = rlx.load(run_dir, seed="all", setting=setting, checkpoint="latest")
        observation = np.array([0.1, 0.9, 1.0], np.float32)
        assert together.seed == (5, 6) and together(observation).shape == (2, 1)
        for index, seed in enumerate(together.seed):
            alone = rlx.load(run_dir, seed=seed, setting=setting, checkpoint="latest")
            np.testing.assert_allclose(together(observation)[index], alone(observation), rtol=1e-5)

    def test_a_trained_policy_is_the_one_that_was_evaluated(self, run_dir):
        """Its parameters are those whose digest the summary holds."""
        from rlx.training.compiled import params_digest

        policy = rlx.load(run_dir, seed="all", setting={"learning_rate": 1e-3}, checkpoint=10)
        summary = json.loads((run_dir / "summary.json").read_text())
        wanted = [run["params_sha256"] for run in summary["runs"] if run["hyperparameters"]["learning_rate"] == 1e-3]
        assert [params_digest(policy.params, i) for i in range(2)] == wanted

    @pytest.mark.parametrize("size", [0, 40])
    def test_a_damaged_best_checkpoint_gives_way_to_the_newest_readable_one(self, run_dir, tmp_path, size):
        copy = shutil.copytree(run_dir, tmp_path / "copy")
        best = rlx.load(copy, seed=6).update
        data = max((copy / "checkpoints" / str(best) / "default" / "d").iterdir(), key=lambda path: path.stat().st_size)
        data.write_bytes(data.read_bytes()[:size])
        before = sorted(copy.rglob("*"))
        with pytest.warns(UserWarning, match=f"checkpoint {best} in .* cannot be read and is skipped") as caught:
            policy = rlx.load(copy, seed=6)
        assert policy.update == max({2, 4, 6, 8, 10} - {best}) and len(caught) == 1
        assert sorted(copy.rglob("*")) == before
        with pytest.raises(RuntimeError, match=f"no readable checkpoint in .*: {best}: "):
            rlx.load(copy, seed=6, checkpoint=best)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"seed": 7}, "no seed 7 in this run; its seeds are 5, 6"),
            ({"checkpoint": 3}, "no checkpoint 3"),
            ({"setting": {"clip": 0.1}}, "clip was not swept"),
        ],
    )
    def test_what_is_not_there_is_said(self, run_dir, options, message):
        with pytest.raises(ValueError, match=message):
            rlx.load(run_dir, **options)

    def test_an_observation_of_another_shape_is_refused(self, run_dir):
        with pytest.raises(ValueError, match=r"observation must end in the shape \(3,\), got \(2,\)"):
            rlx.load(run_dir)(np.zeros(2))

    def test_a_folder_of_an_earlier_release_gets_one_line(self, run_dir, tmp_path, capsys):
        old = shutil.copytree(run_dir, tmp_path / "old")
        config = json.loads((old / "config.json").read_text())
        del config["format"]
        (old / "config.json").write_text(json.dumps(config))
        for command in (["play", str(old)], ["train", "ppo", "--resume", "--run-dir", str(old)]):
            assert cli.main(command) == 2
            (line,) = capsys.readouterr().err.splitlines()
            assert "is a run of an earlier rlx" in line


class TestPlot:
    def test_runs_of_two_environments_get_axes_of_their_own(self, run_dir, tmp_path, monkeypatch):
        other = shutil.copytree(run_dir, tmp_path / "other")
        saved = json.loads((other / "config.json").read_text())
        saved["config"]["env"] = "gymnax:Pendulum-v1"
        (other / "config.json").write_text(json.dumps(saved))
        drawn = []
        monkeypatch.setattr("rlx.training.plots.learning_curves", lambda groups, **options: drawn.append(groups))
        assert cli.main(["plot", str(run_dir), str(other), "--labels", "ppo", "ppo"]) == 0
        assert [(env, list(group)) for env, group in drawn[0].items()] == [
            ("rlx:pendulum", ["ppo"]),
            ("gymnax:Pendulum-v1", ["ppo"]),
        ]

    def test_several_runs(self, run_dir, tmp_path, capsys):
        out = tmp_path / "a.png"
        command = ["plot", str(run_dir), str(run_dir), "--labels", "mine", "theirs", "--out", str(out)]
        assert cli.main(command) == 0
        assert str(out) in capsys.readouterr().out
        with Image.open(out) as image:
            assert image.width > 500

    @pytest.mark.parametrize(
        ("arguments", "parts"),
        [
            (["--y", "eval_retrun_mean"], ["'eval_retrun_mean'", "eval_return_mean"]),
            (["--out", "curve.bmp"], ["--out", ".png"]),
            (["--labels", "a", "b"], ["--labels", "1", "2"]),
            (["--out", "/proc/a.png"], ["/proc/a.png cannot be written"]),
            (["--out", "/dev/null/a.png"], ["/dev/null/a.png", "/dev/null"]),
            (["--out", "folder.png"], ["--out must be a file", "folder.png"]),
        ],
        ids=lambda value: value[0],
    )
    def test_wrong_requests(self, run_dir, arguments, parts, capsys, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "folder.png").mkdir()
        assert cli.main(["plot", str(run_dir), *arguments]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("rlx: error: ") and all(part in line for part in parts), line


def _preset(env):
    return recipe("ppo").presets[env].overrides


def _given():
    return {word[2:].replace("-", "_") for word in ARGUMENTS if word.startswith("--")}
