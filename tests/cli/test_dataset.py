"""Datasets made here: what is logged against the task itself, the choice of policies, and `rlx dataset`."""

import json
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from rlx import cli, data, envs
from rlx.algorithms.learner import Learner
from rlx.cli import dataset as command
from rlx.recipes import datasets
from rlx.training.interaction import uniform_actions

pytestmark = [pytest.mark.usefixtures("environment_cache"), pytest.mark.long(minutes=0.8)]

MAKE = [
    *("dataset", "make", "--env", "rlx:bandit", "--max-episode-steps", "5", "--steps", "1200"),
    *("--train-steps", "6000", "--checkpoints", "6"),
]


@pytest.fixture(scope="module")
def environment_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(path))
        yield path


RANDOM = ["make", "--level", "random", "--env", "rlx:bandit"]
UNWRITABLE = ["/dev/null/a.hdf5", "/proc/a.hdf5", "/proc/set", "/dev/null/a/b"]


def constant(action, observation, key):
    return jnp.broadcast_to(action, (len(observation), 1))


class TestCollect:
    def test_a_log_tells_what_the_task_did(self):
        environment = envs.make("rlx:pendulum", max_episode_steps=5)
        torque = lambda observation, key: -0.5 * observation[:, 2:]
        log = datasets.collect(environment, torque, jax.random.key(0), num_steps=35, num_envs=3)
        # 12 steps of each of three environments, less one.
        assert log.num_rows == 35 and not log.terminated.any()
        assert np.flatnonzero(log.truncated).tolist() == [4, 9, 11, 16, 21, 23, 28, 33, 34]
        observation, following = np.asarray(log.observation), np.asarray(log.next_observation)
        inside = ~np.asarray(log.truncated)[:-1]
        np.testing.assert_array_equal(following[:-1][inside], observation[1:][inside])
        # The pendulum's own reward and speed, from what was seen and done.
        angle, speed, action = np.arctan2(observation[:, 1], observation[:, 0]), observation[:, 2], log.action[:, 0]
        np.testing.assert_array_equal(action, -0.5 * speed)
        action = np.clip(action, -2, 2)
        np.testing.assert_allclose(log.reward, -(angle**2 + 0.1 * speed**2 + 0.001 * action**2), atol=1e-4)
        faster = np.clip(speed + 0.05 * (15 * np.sin(angle) + 3 * action), -8, 8)
        np.testing.assert_allclose(following[:, 2], faster, atol=1e-4)
        starts = observation[np.asarray(log.episode_start)]
        assert len(np.unique(starts, axis=0)) == log.num_episodes

    def test_terminations_are_told_from_the_end_of_the_log(self):
        environment = envs.make("gymnax:CartPole-v1")
        right = lambda observation, key: jnp.ones(len(observation), jnp.int32)
        log = datasets.collect(environment, right, jax.random.key(1), num_steps=60, num_envs=2)
        assert log.terminated.sum() > 4 and np.flatnonzero(log.truncated).tolist() in ([29, 59], [29], [59])
        # A pole that falls has left its range.
        fallen = np.abs(np.asarray(log.next_observation)[:, 2]) > 12 * 2 * np.pi / 360
        np.testing.assert_array_equal(fallen, log.terminated)
        np.testing.assert_array_equal(log.episode_return, log.episode_length)

    def test_other_parameters_need_no_other_program(self):
        environment = envs.make("rlx:pendulum")
        traces = []

        def act(action, observation, key):
            traces.append(1)
            return constant(action, observation, key)

        for action in (0.5, -1.5):
            log = datasets.collect(environment, Partial(act, jnp.array(action)), jax.random.key(0), 4, 2)
            np.testing.assert_array_equal(log.action, action)
        assert len(traces) == 1

    def test_it_depends_on_its_key_alone(self):
        environment = envs.make("rlx:pendulum")
        act = uniform_actions(environment.action_space)
        first, again, other = (datasets.collect(environment, act, jax.random.key(seed), 30, 3) for seed in (0, 0, 1))
        jax.tree.map(np.testing.assert_array_equal, first, again)
        assert not np.array_equal(first.action, other.action)
        with pytest.raises(ValueError, match="num_steps must be at least 1, got 0"):
            datasets.collect(environment, act, jax.random.key(0), 0)


class Skill(NamedTuple):
    """A policy for the bandit: the best arm with this probability, else any."""

    probability: jax.Array


SKILLS = (0.0, 0.1, 0.3, 0.8, 1.0, 0.9)


@pytest.fixture(scope="module")
def made():
    """Policies of the bandit whose returns are known: skill times what the best arm gives."""
    environment = envs.make("rlx:bandit")
    # The bandit's weights, as its documentation says they are drawn.
    weights = np.random.default_rng(0).normal(size=(4, 4))
    weights = jnp.asarray(weights / np.linalg.norm(weights, axis=1, keepdims=True), jnp.float32)

    def act(skill, observation, key):
        skill_key, arm_key = jax.random.split(key)
        best = jnp.argmax(observation @ weights.T, axis=1)
        chosen = jax.random.bernoulli(skill_key, skill.probability, best.shape)
        return jnp.where(chosen, best, jax.random.randint(arm_key, best.shape, 0, 4)), {}

    mode = lambda skill, observation: act(skill, observation, jax.random.key(7))[0]
    learner = Learner(init=None, act=act, mode=mode, update=None)
    found = datasets.Policies(learner, Skill(jnp.array(SKILLS)), (0, 10, 20, 30, 40, 50))
    scores = datasets.score_policies(environment, found, jax.random.key(0), num_episodes=3000, max_steps=1)
    return environment, found, scores


class TestLevels:
    def test_the_expert_is_the_best_and_medium_a_third(self, made):
        _, _, scores = made
        assert (scores.expert, scores.medium) == (4, 2)
        np.testing.assert_allclose(scores.minimum, 0, atol=0.3)
        # The maximum of four correlated normal numbers, one hundred times.
        assert 0.6 < scores.maximum < 1.6
        np.testing.assert_allclose(scores.scores / scores.scores[4], SKILLS, atol=0.3)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("level", "skill"),
        [("random", 0), ("medium", 0.3), ("medium-expert", 0.65), ("expert", 1), ("mixed", 0.05)],
    )
    def test_levels_are_as_good_as_their_policies(self, made, level, skill):
        environment, found, scores = made
        dataset, metadata = datasets.make(environment, found, scores, level, num_steps=6000)
        again, _ = datasets.make(environment, found, scores, level, num_steps=6000)
        jax.tree.map(np.testing.assert_array_equal, dataset, again)
        best, _ = datasets.make(environment, found, scores, "expert", num_steps=6000)
        assert dataset.num_rows == 6000
        np.testing.assert_allclose(dataset.reward.mean() / best.reward.mean(), skill, atol=0.06)
        assert metadata["level"] == level and metadata["ref_max_score"] == scores.maximum

    @pytest.mark.slow
    def test_replay_holds_equal_shares_of_the_policies_up_to_its_end(self, made):
        environment, found, scores = made
        best = datasets.make(environment, found, scores, "expert", num_steps=6000)[0].reward.mean()
        for level, last in (("medium-replay", 3), ("full-replay", 6)):
            dataset, metadata = datasets.make(environment, found, scores, level, num_steps=6000)
            shares = np.asarray(dataset.reward).reshape(last, -1).mean(1) / best
            np.testing.assert_allclose(shares, SKILLS[:last], atol=0.15)
        assert metadata["saco_unique"] == datasets.count_pairs(dataset, metadata["saco_low"], metadata["saco_high"])

    def test_a_run_without_a_medium_policy_says_so(self, made):
        environment, found, scores = made
        few = found.take([0, 4])
        scores = scores._replace(returns=scores.returns[[0, 4]], expert=1, medium=0)
        with pytest.raises(ValueError, match="no policy of the run is of medium quality: of 2 saved ones.*has -"):
            datasets.make(environment, few, scores, "medium", num_steps=10)
        with pytest.raises(ValueError, match="level must be one of random, medium"):
            datasets.make(environment, few, scores, "good", num_steps=10)

    def test_a_run_that_learned_nothing_says_so(self, made):
        environment, found, _ = made
        worst = found._replace(states=Skill(jnp.zeros(6)))
        with pytest.raises(ValueError, match="no more than random actions|medium") as error:
            scores = datasets.score_policies(environment, worst, jax.random.key(3), num_episodes=2, max_steps=1)
            datasets.make(environment, worst, scores, "medium", num_steps=10)
        assert "run" in str(error.value)


@pytest.fixture(scope="module")
def files(tmp_path_factory, environment_cache):
    folder = tmp_path_factory.mktemp("datasets")
    for level in ("random", "expert"):
        path = folder / f"{level}.hdf5"
        assert cli.main([*MAKE, "--level", level, "--out", str(path), "--quiet"]) == 0
    return folder


SACO = {"saco_unique": 3, "saco_rows": 4, "saco_low": [0.0, 0.0], "saco_high": [1.0, 1.0]}


def write(path, reward=(0.0, 1.0, 2.0, 3.0), metadata=None):
    """A dataset of one episode of four steps."""
    row = np.arange(4.0)[:, None]
    data.write_dataset(path, data.make_dataset(row, row, reward, row + 1, np.zeros(4), np.zeros(4)), metadata or {})


class TestCommand:
    @pytest.mark.slow
    def test_a_policy_is_trained_once_and_makes_better_data_than_chance(self, files, environment_cache):
        (run_dir,) = (environment_cache / "rlx" / "policies").iterdir()
        assert run_dir.name.startswith("ppo-rlx-bandit-seed0-") and (run_dir / "summary.json").exists()
        random, expert = (data.read_dataset(files / f"{level}.hdf5") for level in ("random", "expert"))
        assert random.dataset.num_rows == expert.dataset.num_rows == 1200
        assert expert.dataset.reward.mean() > random.dataset.reward.mean() + 0.2
        scores = data.reference_scores(expert.metadata)
        assert scores == data.reference_scores(random.metadata) and scores.maximum > scores.minimum
        metadata = expert.metadata
        assert (metadata["env"], metadata["level"], metadata["algorithm"]) == ("rlx:bandit", "expert", "ppo")
        assert json.loads(metadata["action_space"])["n"] == 4 and metadata["action_repeat"] == 1

    @pytest.mark.slow
    def test_the_same_seed_makes_the_same_file(self, files, tmp_path, environment_cache):
        (run_dir,) = (environment_cache / "rlx" / "policies").iterdir()
        arguments = ["dataset", "make", "--policy", str(run_dir), "--level", "expert", "--steps", "1200", "--quiet"]
        assert cli.main([*arguments, "--out", str(tmp_path / "again.hdf5")]) == 0
        assert (tmp_path / "again.hdf5").read_bytes() == (files / "expert.hdf5").read_bytes()

    def test_info_tells_quality_and_coverage(self, files, capsys):
        assert cli.main(["dataset", "info", str(files / "expert.hdf5")]) == 0
        shown = capsys.readouterr().out
        for word in (
            "1,200 in 1,200 episodes",
            "1,200 terminated, 0 truncated",
            "env rlx:bandit",
            "float32 (4)",
            "the file's own",
            "replay of the training run, 1,200 rows",
            "returns of 1,200 episodes",
        ):
            assert word in shown
        assert cli.main(["dataset", "info", str(files / "random.hdf5"), "--reference", str(files / "random.hdf5")]) == 0
        own = capsys.readouterr().out
        assert "SACo         1.000" in own and "1,200 rows of each" in own
        quality = [float(text.partition("TQ")[2].split()[0]) for text in (own, shown)]
        assert abs(quality[0]) < 0.2 < 0.4 < quality[1]

    @pytest.mark.slow
    def test_convert_there_and_back(self, files, tmp_path, capsys):
        there, back = str(tmp_path / "set-v0"), str(tmp_path / "back.hdf5")
        assert cli.main(["dataset", "convert", str(files / "expert.hdf5"), there]) == 0
        assert cli.main(["dataset", "convert", there, back]) == 0
        assert "1,200 transitions in 1,200 episodes" in capsys.readouterr().out
        first, last = data.read_dataset(files / "expert.hdf5"), data.read_dataset(back)
        jax.tree.map(np.testing.assert_array_equal, first.dataset, last.dataset)
        assert data.reference_scores(last.metadata) == data.reference_scores(first.metadata)

    @pytest.mark.parametrize(
        ("arguments", "parts"),
        [
            (["inf"], ["'inf'", "info"]),
            (["info"], ["rlx dataset info FILE"]),
            (["info", "none.hdf5"], ["there is no dataset 'none.hdf5'"]),
            (["convert", "one.hdf5"], ["needs two paths"]),
            (["make"], ["--level, one of random"]),
            (["make", "--level", "mediun"], ["'mediun'", "medium"]),
            (["make", "--level", "medium"], ["--out"]),
            (["make", "--level", "medium", "--out", "a.hdf5"], ["--env, or --policy"]),
            (["make", "--level", "medium", "--out", "a.hdf5", "--env", "rlx:pendul"], ["rlx:pendulum"]),
            (["make", "--level", "medium", "--out", "a.hdf5", "--env", "rlx:bandit", "--steps", "0"], ["--steps"]),
            (["make", "--level", "expert", "--out", "a.hdf5", "--policy", "nothing"], ["'nothing'"]),
            (["make", "--level", "expert", "--out", "a.hdf5", "--env", "rlx:chain", "--algorithm", "pppo"], ["ppo"]),
            *(([*RANDOM, "--out", out], [out, "cannot be written"]) for out in UNWRITABLE),
            ([*RANDOM, "--out", "/tmp"], ["/tmp exists already"]),
            ([*RANDOM, "--out", "a.hdf5", "--steps", "1e12"], ["--steps 1,000,000,000,000", "GB of memory"]),
            ([*RANDOM, "--out", "a.hdf5", "--seed", "-1"], ["--seed must be from 0 to 2^32 - 1, got -1"]),
            ([*RANDOM, "--out", "a.hdf5", "--seed", "4294967296"], ["--seed must be"]),
            ([*RANDOM, "--out", "a.hdf5", "--checkpoints", "1e9"], ["--checkpoints must be at most 10000"]),
            ([*RANDOM, "--out", "a.hdf5", "--eval-episodes", "1e9"], ["--eval-episodes must be at most 10000"]),
        ],
    )
    def test_wrong_requests_are_one_line(self, arguments, parts, capsys):
        assert cli.main(["dataset", *arguments]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("rlx: error: ") and all(part in line for part in parts), line

    def test_an_occupied_name_is_left_alone(self, files, capsys):
        path = files / "random.hdf5"
        before = path.read_bytes()
        assert cli.main([*MAKE, "--level", "random", "--out", str(path)]) == 2
        assert cli.main(["dataset", "convert", str(files / "expert.hdf5"), str(path)]) == 2
        assert capsys.readouterr().err.count("exists already") == 2 and path.read_bytes() == before

    @pytest.mark.parametrize("out", UNWRITABLE)
    def test_a_copy_that_cannot_be_written_is_one_line(self, tmp_path, out, capsys):
        write(tmp_path / "a.hdf5")
        assert cli.main(["dataset", "convert", str(tmp_path / "a.hdf5"), out]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{out} cannot be written" in line

    @pytest.mark.parametrize(
        ("metadata", "parts"),
        [
            ({"ref_min_score": "a", "ref_max_score": 1}, ["ref_min_score", "finite numbers", "'a'"]),
            ({"saco_unique": 3}, ["saco_rows of the metadata must be a number from 1 on, got None"]),
            ({"saco_unique": "a"}, ["saco_unique", "'a'"]),
            (SACO | {"saco_low": [0.0]}, ["saco_low of the metadata must be 2 finite numbers", "[0.0]"]),
            (SACO | {"saco_high": [0.0, float("nan")]}, ["saco_high"]),
        ],
    )
    def test_metadata_of_the_wrong_kind_are_one_line(self, tmp_path, metadata, parts, capsys):
        write(tmp_path / "a.hdf5", metadata=metadata)
        assert cli.main(["dataset", "info", str(tmp_path / "a.hdf5")]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert all(part in line for part in parts), line

    def test_the_largest_rewards_and_the_oddest_names_are_told(self, tmp_path, capsys):
        write(tmp_path / "a.hdf5", reward=np.full(4, 3e38), metadata={"dataset_id": "a\x1b[2J\nb", "env": [1]})
        assert cli.main(["dataset", "info", str(tmp_path / "a.hdf5")]) == 0
        shown = capsys.readouterr().out
        assert "1.2e+39" in shown and "\x1b" not in shown and "a�[2J�b" in shown

    def test_a_broken_file_is_one_line(self, files, tmp_path, capsys):
        content = (files / "expert.hdf5").read_bytes()
        (tmp_path / "cut.hdf5").write_bytes(content[: len(content) // 2])
        assert cli.main(["dataset", "info", str(tmp_path / "cut.hdf5")]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "cut.hdf5: it cannot be read as HDF5" in line


def test_help_is_for_every_command(capsys):
    assert cli.main(["dataset"]) == 0 and "convert" in capsys.readouterr().out
    for name in ("info", "convert", "make"):
        assert cli.main(["dataset", name, "--help"]) == 0
        assert "examples:" in capsys.readouterr().out


def test_histogram_counts_every_value():
    values = np.concatenate([np.full(30, -1.0), np.linspace(0, 10, 60)])
    lines = command.histogram(values, num_bins=5)
    assert sum(int(line.split()[-1]) for line in lines[:-1]) == 90 and lines[-1].split() == ["10"]
    assert command.histogram(np.full(3, 2.0))[0].split()[-1] == "3"
