"""Datasets against loops in NumPy: views by episode, returns, statistics, and draws against their frequencies."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from rlx import weighting
from rlx.algorithms.learner import Transition
from rlx.data import (
    ActionRange,
    Batch,
    DatasetError,
    alias_table,
    concatenate,
    make_dataset,
    normalize_observations,
    returns_to_go,
    sample,
    sample_sequences,
    select_episodes,
)

LENGTHS = (4, 1, 6, 3)


def arrays(lengths=LENGTHS, seed=0):
    """Episodes that end by termination and by truncation in turn; observations tell their row."""
    rng, num = np.random.default_rng(seed), sum(lengths)
    end = np.isin(np.arange(num), np.cumsum(lengths) - 1)
    number = np.repeat(np.arange(len(lengths)), lengths)
    row = np.arange(num, dtype=np.float32)
    return dict(
        observation=np.stack([row, number], 1).astype(np.float32),
        action=row[:, None] + 0.5,
        reward=rng.normal(size=num).astype(np.float32),
        next_observation=np.stack([row + 1, number], 1).astype(np.float32),
        terminated=end & (number % 2 == 0),
        truncated=end & (number % 2 == 1),
    )


@pytest.fixture
def dataset():
    return make_dataset(**arrays())


class TestDataset:
    def test_views_equal_loops(self, dataset):
        assert (dataset.num_rows, dataset.num_episodes) == (14, 4)
        assert dataset.episode_start.tolist() == [0, 4, 5, 11] and dataset.episode_length.tolist() == [4, 1, 6, 3]
        np.testing.assert_array_equal(dataset.episode_number, dataset.observation[:, 1])
        expected = [float(x.sum()) for x in np.split(arrays()["reward"].astype(float), np.cumsum(LENGTHS)[:-1])]
        np.testing.assert_allclose(dataset.episode_return, expected, atol=1e-5)
        third = dataset.episode(2)
        assert third.observation[:, 0].tolist() == [5, 6, 7, 8, 9, 10] and third.episode_start.tolist() == [0]

    def test_every_episode_ends_once_and_so_does_the_log(self):
        rows = arrays()
        rows["truncated"][-1] = False  # the log stops in the middle of an episode
        rows["truncated"][3] = True  # both flags: the task itself ended
        dataset = make_dataset(**rows)
        assert dataset.truncated[-1] and not dataset.truncated[3] and dataset.terminated[3]
        assert np.flatnonzero(dataset.is_last).tolist() == [3, 4, 10, 13]

    def test_returns_to_go_equal_a_loop(self, dataset):
        expected = np.zeros(14)
        for end, length in zip(np.cumsum(LENGTHS), LENGTHS):
            total = 0.0
            for row in reversed(range(end - length, end)):
                total = float(dataset.reward[row]) + 0.9 * total
                expected[row] = total
        np.testing.assert_allclose(jax.jit(returns_to_go)(dataset, discount=0.9), expected, rtol=1e-5)
        starts = returns_to_go(dataset)[dataset.episode_start]
        np.testing.assert_allclose(starts, dataset.episode_return, rtol=1e-5)

    def test_a_truncated_episode_may_go_on_with_its_mean_reward(self, dataset):
        """Which no episode may that the task ended; and none changes where nothing was cut."""
        expected = np.zeros(14)
        for end, length in zip(np.cumsum(LENGTHS), LENGTHS):
            rewards = np.asarray(dataset.reward[end - length : end], np.float64)
            following = rewards.mean() / (1 - 0.9) if dataset.truncated[end - 1] else 0.0
            for row in reversed(range(end - length, end)):
                expected[row] = following = float(dataset.reward[row]) + 0.9 * following
        assert dataset.truncated.any() and dataset.terminated.any()
        found = jax.jit(lambda dataset: returns_to_go(dataset, discount=0.9, continued=True))(dataset)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        ended = dataset._replace(terminated=dataset.is_last, truncated=jnp.zeros(14, bool))
        same = returns_to_go(ended, discount=0.9, continued=True)
        np.testing.assert_array_equal(same, returns_to_go(ended, discount=0.9))

    def test_a_failed_episode_of_a_sparse_reward_is_worth_its_reward_for_ever(self, dataset):
        failed = dataset._replace(reward=jnp.full(14, -5.0), truncated=dataset.is_last, terminated=jnp.zeros(14, bool))
        np.testing.assert_allclose(returns_to_go(failed, discount=0.99, continued=True), -500.0, rtol=1e-5)
        with pytest.raises(DatasetError, match="discount must be below 1 .* got 1.0"):
            returns_to_go(failed, continued=True)

    def test_next_observations_are_normalized_by_the_statistics_of_observations(self, dataset):
        normalized, mean, scale = normalize_observations(dataset)
        x = arrays()["observation"].astype(float)
        np.testing.assert_allclose(mean, x.mean(0), rtol=1e-6)
        np.testing.assert_allclose(scale, x.std(0) + 1e-3, rtol=1e-6)
        np.testing.assert_allclose(normalized.next_observation * scale + mean, dataset.next_observation, atol=1e-4)

    def test_selected_and_joined_episodes_are_those_of_the_original(self, dataset):
        chosen = select_episodes(dataset, [2, 0])
        assert chosen.observation[:, 0].tolist() == [5, 6, 7, 8, 9, 10, 0, 1, 2, 3]
        assert chosen.episode_start.tolist() == [0, 6]
        joined = concatenate([dataset.episode(number) for number in range(4)])
        jax.tree.map(np.testing.assert_array_equal, joined, dataset)
        with pytest.raises(DatasetError, match="0 … 3, got .4"):
            dataset.episode(4)
        other = make_dataset(**arrays() | {"action": np.zeros((14, 2))})
        with pytest.raises(DatasetError, match="of one shape"):
            concatenate([dataset, other])

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"reward": np.zeros(13)}, "same number of rows.*observation 14.*reward 13"),
            ({"reward": np.zeros((14, 1))}, r"reward must have one number per row.*\(14, 1\)"),
            ({"next_observation": np.zeros((14, 3))}, r"next_observation must have the shape of observation"),
            ({"action": np.array(["left"] * 14)}, "action must hold integers or floating-point.*U4"),
            ({"observation": np.where(np.arange(28).reshape(14, 2) == 9, np.nan, 0)}, "observation.*1 of 14.*row 4"),
            ({"reward": np.full(14, 1e300)}, "reward holds NaN or infinity in 14 of 14"),
            ({"terminated": np.full(14, 0.5)}, "terminated must hold booleans or only 0 and 1"),
            ({name: x[:0] for name, x in arrays().items()}, "there are no transitions"),
            ({"reward": 1.0}, "reward a scalar"),
        ],
    )
    def test_what_is_wrong_is_named(self, changes, message):
        with pytest.raises(DatasetError, match=message):
            make_dataset(**arrays() | changes)


class TestActionRange:
    """Where a dataset meets an environment."""

    BOX = spaces.Box(-2, 2, (1,), np.float32)

    def of(self, low, high):
        action = np.linspace(low, high, 14, dtype=type(low))
        return ActionRange.of(make_dataset(**arrays() | {"action": action[:, None]}))

    @pytest.mark.parametrize(
        ("low", "high", "space"),
        [
            (-2.0, 2.0, BOX),
            (-2.001, 2.001, BOX),
            (-1e6, 1e6, spaces.Box(-np.inf, np.inf, (1,), np.float32)),
            (0, 3, spaces.Discrete(4)),
            (1, 4, spaces.Discrete(4, start=1)),
        ],
    )
    def test_bounds_and_rounding_are_fine(self, low, high, space):
        with warnings.catch_warnings(action="error"):
            self.of(low, high).check(space)

    def test_a_little_outside_is_named(self):
        with pytest.warns(UserWarning, match="actions reach from -3 to 2 in component 0, .* from -2 to 2: a policy"):
            self.of(-3.0, 2.0).check(self.BOX)

    @pytest.mark.parametrize(
        ("low", "high", "space", "message"),
        [
            (-100.0, 2.0, BOX, "actions reach from -100 to 2 in component 0, those of the environment from -2 to 2"),
            (0.0, 100.0, BOX, "actions reach from 0 to 100"),
            (0, 4, spaces.Discrete(4), "from 0 to 4 in component 0, those of the environment from 0 to 3"),
            (-1, 3, spaces.Discrete(4), "from -1 to 3"),
            (0, 3, spaces.MultiDiscrete([3]), "from 0 to 3"),
            (0.0, 3.0, spaces.Discrete(4), "actions must be whole numbers"),
        ],
    )
    def test_another_environments_are_refused(self, low, high, space, message):
        with pytest.raises(DatasetError, match=message):
            self.of(low, high).check(space)

    def test_it_is_known_while_a_program_is_traced(self):
        @jax.jit
        def double(given):
            given[1].check(self.BOX)
            return 2 * given[0]

        assert double((1.0, self.of(-1.0, 1.0))) == 2
        with pytest.raises(DatasetError, match="reach"):
            double((1.0, self.of(-100.0, 1.0)))


class TestSample:
    def test_a_batch_is_rows_of_the_dataset_and_a_transition(self, dataset):
        batch = jax.jit(sample, static_argnums=2)(dataset, jax.random.key(0), 256)
        # What an actor remembers is known of rollouts alone.
        assert (*Batch._fields, "memory") == Transition._fields
        index = np.asarray(batch.extras["index"])
        np.testing.assert_array_equal(batch.observation[:, 0], index)
        np.testing.assert_array_equal(batch.reward, dataset.reward[index])
        following = np.where(dataset.is_last[index], index, index + 1)
        np.testing.assert_array_equal(batch.extras["next_action"][:, 0], following + 0.5)
        assert set(index.tolist()) == set(range(14))
        assert sample(dataset, jax.random.key(0), (3, 5)).observation.shape == (3, 5, 2)

    def test_all_rows_are_drawn_alike(self, dataset):
        counts = np.bincount(sample(dataset, jax.random.key(1), 70_000).extras["index"], minlength=14)
        # 5000 of each are expected, with a standard deviation of 68.
        assert np.abs(counts - 5000).max() < 4 * 68

    def test_rows_are_drawn_by_weight(self, dataset):
        weight = np.array([0, 1, 2, 3, 0, 10, 0.5, 0.1, 1, 1, 1, 1, 0, 4])
        draw = jax.jit(lambda table, key: sample(dataset, key, 100_000, weight=table).extras["index"])
        index = draw(alias_table(weight), jax.random.key(2))
        share = weight / weight.sum()
        observed = np.bincount(index, minlength=14) / 100_000
        assert np.all(observed[weight == 0] == 0)
        assert np.all(np.abs(observed - share) <= 4.5 * np.sqrt(share / 100_000))
        np.testing.assert_array_equal(sample(dataset, jax.random.key(2), 100_000, weight=weight).extras["index"], index)

    def test_equal_weights_change_nothing(self, dataset):
        key = jax.random.key(3)
        np.testing.assert_array_equal(
            sample(dataset, key, 100, weight=np.full(14, 0.1)).extras["index"],
            sample(dataset, key, 100).extras["index"],
        )

    @pytest.mark.parametrize("kind", ["uniform", "heavy", "sparse", "equal"])
    def test_an_alias_table_holds_the_weights_exactly(self, rng, kind):
        num = 3000
        weight = {
            "uniform": rng.random(num),
            "heavy": np.exp(4 * rng.normal(size=num)),
            "sparse": rng.random(num) * (rng.random(num) < 0.01),
            "equal": np.full(num, 1 / 3),
        }[kind]
        keep, other = (np.asarray(x, np.float64) for x in alias_table(weight))
        chance = keep.copy()
        np.add.at(chance, other.astype(int), 1 - keep)
        np.testing.assert_allclose(chance / num, weight / weight.sum(), rtol=1e-4, atol=1e-9)
        assert keep.min() >= 0 and keep.max() <= 1

    def test_trajectories_are_drawn_by_their_return(self, dataset):
        weight = weighting.trajectory_weight(dataset.episode_return, length=dataset.episode_length, temperature=0.1)[
            dataset.episode_number
        ]
        np.testing.assert_allclose(weight.sum(), 1, rtol=1e-5)
        index = sample(dataset, jax.random.key(4), 20_000, weight=weight).extras["index"]
        best = int(dataset.episode_return.argmax())
        share = np.mean(np.asarray(dataset.episode_number)[np.asarray(index)] == best)
        assert abs(share - float(weight[dataset.episode_number == best].sum())) < 0.02

    def test_unusable_weights_are_refused(self, dataset):
        for weight in (np.zeros(14), -np.ones(14), np.full(14, np.nan), np.ones((14, 1))):
            with pytest.raises(DatasetError, match="weight must"):
                sample(dataset, jax.random.key(0), 2, weight=weight)
        with pytest.raises(DatasetError, match="one number per row, 14"):
            sample(dataset, jax.random.key(0), 2, weight=np.ones(13))
        with pytest.raises(DatasetError, match="outside of the compiled function"):
            jax.jit(lambda weight: sample(dataset, jax.random.key(0), 2, weight=weight).reward)(jnp.ones(14))

    def test_seeds_draw_as_they_would_alone(self, dataset):
        keys = jax.random.split(jax.random.key(5), 3)
        together = jax.vmap(lambda key: sample(dataset, key, 8))(keys)
        alone = [sample(dataset, key, 8) for key in keys]
        jax.tree.map(lambda x, *parts: np.testing.assert_array_equal(x, jnp.stack(parts)), together, *alone)


class TestSampleSequences:
    def test_pieces_stay_within_their_episode(self, dataset):
        batch = jax.jit(sample_sequences, static_argnums=2, static_argnames="length")(
            dataset, jax.random.key(0), 500, length=4
        )
        rows, where = arrays(), np.asarray(batch.extras["where"])
        ends = np.cumsum(LENGTHS)
        assert batch.observation.shape == (500, 4, 2) and where[:, 0].all()
        seen = set()
        for i in range(500):
            first = int(batch.extras["index"][i, 0])
            episode = int(np.searchsorted(ends, first, side="right"))
            count = min(4, ends[episode] - first)
            np.testing.assert_array_equal(where[i], np.arange(4) < count)
            np.testing.assert_array_equal(batch.observation[i, :count], rows["observation"][first : first + count])
            np.testing.assert_array_equal(batch.action[i, :count], rows["action"][first : first + count])
            start = ends[episode] - LENGTHS[episode]
            np.testing.assert_array_equal(batch.extras["timestep"][i, :count], first - start + np.arange(count))
            seen.add(first)
        assert seen == set(range(14))
        for x in (*batch[:-1], batch.extras["timestep"]):
            assert not np.asarray(x)[~where].any()

    def test_what_is_kept_per_row_is_gathered(self, dataset):
        batch = sample_sequences(dataset, jax.random.key(1), 50, length=3)
        to_go = returns_to_go(dataset)[batch.extras["index"]]
        both = batch.extras["where"][:, 1:]
        difference = to_go[:, :-1] - to_go[:, 1:]
        np.testing.assert_allclose(difference[both], batch.reward[:, :-1][both], atol=1e-5)

    def test_first_rows_follow_the_weights(self, dataset):
        weight = np.arange(14) == 6
        batch = sample_sequences(dataset, jax.random.key(2), 20, length=3, weight=weight)
        assert np.all(batch.extras["index"] == np.array([6, 7, 8]))
        with pytest.raises(ValueError, match="length must be at least 1, got 0"):
            sample_sequences(dataset, jax.random.key(2), 20, length=0)
