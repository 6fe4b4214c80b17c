"""Files of D4RL and Minari, written here as those projects write them, and the ways in which one may be broken."""

import json
import os
import resource
import zlib

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.data import (
    DatasetError,
    files,
    make_dataset,
    minari,
    read_behavior_log_prob,
    read_d4rl,
    read_dataset,
    read_metadata,
    read_minari,
    reference_scores,
    write_d4rl,
    write_dataset,
    write_minari,
)
from rlx.data.reference_scores import d4rl_name
from rlx.diagnostics import normalized_score

NUM = 9


def log(**changes):
    """A log of D4RL: an episode that terminates, one that runs out of time, one that the log cuts."""
    row = np.arange(NUM, dtype=np.float32)
    return {
        "observations": np.stack([row, -row], 1),
        "actions": row[:, None] / 10,
        "rewards": row,
        "terminals": row == 2,
        "timeouts": row == 6,
    } | changes


def write_log(path, arrays):
    with h5py.File(path, "w") as file:
        for name, x in arrays.items():
            if x is not None:
                file[name] = x
    return path


def write_folder(path, episodes, **metadata):
    """A folder as Minari writes it."""
    folder = path / "data"
    folder.mkdir(parents=True)
    with h5py.File(folder / "main_data.hdf5", "w", track_order=True) as file:
        for number, episode in enumerate(episodes):
            group = file.create_group(f"episode_{number}")
            for name, x in episode.items():
                group[name] = x
    (folder / "metadata.json").write_text(
        json.dumps({"total_episodes": len(episodes), "data_format": "hdf5", "dataset_id": "a/b-v0"} | metadata)
    )
    return path


def episode(steps, *, terminated=False, truncated=False, start=0.0, **changes):
    row = start + np.arange(steps + 1, dtype=np.float64)
    last = np.arange(steps) == steps - 1
    return {
        "observations": np.stack([row, row**2], 1),
        "actions": row[:-1, None],
        "rewards": row[:-1],
        "terminations": last & terminated,
        "truncations": last & truncated,
    } | changes


class TestD4RL:
    def test_without_next_observations_the_last_step_of_a_timeout_is_left_out(self, tmp_path):
        dataset = read_dataset(write_log(tmp_path / "log.hdf5", log())).dataset
        # Row 6 ran out of time, and what row 8, the last of the log, reached is not known.
        assert dataset.observation[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 7]
        # What row 2 reached, the end of its episode, is not known either, but counts for nothing.
        assert dataset.next_observation[:, 0].tolist() == [1, 2, 2, 4, 5, 6, 8]
        assert np.flatnonzero(dataset.terminated).tolist() == [2]
        assert np.flatnonzero(dataset.truncated).tolist() == [5, 6]
        assert dataset.episode_start.tolist() == [0, 3, 6]

    def test_without_next_observations_it_equals_the_loop_of_d4rl(self, tmp_path, rng):
        num = 200
        arrays = {
            "observations": rng.normal(size=(num, 3)).astype(np.float32),
            "actions": rng.normal(size=(num, 2)).astype(np.float32),
            "rewards": rng.normal(size=num).astype(np.float32),
            "terminals": rng.random(num) < 0.1,
        }
        arrays["timeouts"] = (rng.random(num) < 0.1) & ~arrays["terminals"]
        arrays["terminals"][-1] = False
        expected = {name: [] for name in ("observation", "action", "reward", "next_observation", "terminated")}
        for i in range(num - 1):
            if arrays["timeouts"][i]:
                continue
            row = (
                arrays["observations"][i],
                arrays["actions"][i],
                arrays["rewards"][i],
                arrays["observations"][i + 1],
                arrays["terminals"][i],
            )
            for name, value in zip(expected, row):
                expected[name].append(value)
        dataset = read_d4rl(write_log(tmp_path / "log.h5", arrays)).dataset
        going_on = ~np.array(expected["terminated"])
        for name, values in expected.items():
            rows = going_on if name == "next_observation" else slice(None)
            np.testing.assert_array_equal(np.asarray(getattr(dataset, name))[rows], np.array(values)[rows], name)

    def test_a_log_that_ends_with_termination_keeps_its_last_step(self, tmp_path):
        terminals = np.isin(np.arange(NUM), (2, NUM - 1))
        dataset = read_dataset(write_log(tmp_path / "log.hdf5", log(terminals=terminals))).dataset
        assert dataset.reward.tolist() == [0, 1, 2, 3, 4, 5, 7, 8] and dataset.terminated[-1]

    def test_next_observations_are_taken_as_they_are(self, tmp_path):
        following = log()["observations"] + 100
        dataset = read_dataset(write_log(tmp_path / "log.hdf5", log(next_observations=following))).dataset
        np.testing.assert_array_equal(dataset.next_observation, following)
        assert dataset.num_rows == NUM and dataset.episode_start.tolist() == [0, 3, 7]
        assert np.flatnonzero(dataset.truncated).tolist() == [6, 8]

    def test_double_precision_and_numbers_for_flags_are_read(self, tmp_path):
        arrays = {name: x.astype(np.float64) for name, x in log().items()}
        dataset = read_dataset(write_log(tmp_path / "log.hdf5", arrays)).dataset
        assert dataset.observation.dtype == np.float32 and dataset.terminated.dtype == bool

    def test_what_is_written_is_read(self, tmp_path):
        dataset = read_dataset(write_log(tmp_path / "log.hdf5", log())).dataset
        metadata = {"env": "rlx:pendulum", "seed": 3, "ref_min_score": -1.5, "low": [0.0, 1.0], "none": None}
        for name in ("copy.hdf5", "copy.h5"):
            write_dataset(tmp_path / name, dataset, metadata)
            again = read_dataset(tmp_path / name)
            jax.tree.map(np.testing.assert_array_equal, again.dataset, dataset)
            assert again.metadata == {"dataset_id": "copy"} | {k: v for k, v in metadata.items() if v is not None}
        assert not list(tmp_path.glob(".*"))

    def test_discrete_actions_stay_whole_numbers(self, tmp_path):
        dataset = read_dataset(write_log(tmp_path / "a.hdf5", log(actions=np.arange(NUM) % 3))).dataset
        assert dataset.action.dtype == np.int32 and dataset.action.shape == (7,)

    def test_an_occupied_name_is_left_alone(self, tmp_path):
        path = write_log(tmp_path / "log.hdf5", log())
        before = path.read_bytes()
        with pytest.raises(DatasetError, match="log.hdf5 exists already"):
            write_d4rl(path, read_dataset(path).dataset)
        assert path.read_bytes() == before

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"rewards": None}, "it has no 'rewards'; it holds actions, observations, terminals, timeouts"),
            ({"timeouts": None}, "it has no 'timeouts'"),
            ({"rewards": np.zeros(NUM - 1)}, "same number of rows, got observations 9, actions 9, rewards 8"),
            ({"observations": np.full((NUM, 2), np.nan)}, "observations holds NaN or infinity in 9 of 9 rows"),
            ({"rewards": np.where(np.arange(NUM) == 8, np.inf, 0)}, "rewards.*1 of 9 rows, first in row 8"),
            ({"actions": np.array([b"left"] * NUM)}, "actions must hold integers or floating-point numbers, got"),
            ({"terminals": np.full(NUM, 2)}, "terminals must hold booleans or only 0 and 1"),
            ({name: x[:0] for name, x in log().items()}, "there are no transitions"),
            ({name: x[:1] for name, x in log().items()}, "no step has a next observation"),
            ({"actions": 3.0}, "actions a scalar"),
            ({"next_observations": np.zeros((NUM, 3))}, "next_observations must have the shape of observations"),
        ],
    )
    def test_broken_files_are_one_error_that_says_where(self, tmp_path, changes, message):
        path = write_log(tmp_path / "broken.hdf5", log(**changes))
        with pytest.raises(DatasetError, match=f"broken.hdf5: .*{message}") as error:
            read_dataset(path)
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize("kept", [0, 5, 300, 0.5, 0.99])
    def test_truncated_files_are_one_error(self, tmp_path, kept):
        path = write_log(tmp_path / "broken.hdf5", log(observations=np.zeros((NUM, 500))))
        content = path.read_bytes()
        path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
        with pytest.raises(DatasetError, match="broken.hdf5: it cannot be read as HDF5") as error:
            read_dataset(path)
        assert "\n" not in str(error.value)

    def test_missing_files_and_groups_are_one_error(self, tmp_path):
        with pytest.raises(DatasetError, match="there is no dataset '.*none.hdf5'"):
            read_dataset(tmp_path / "none.hdf5")
        with h5py.File(tmp_path / "group.hdf5", "w") as file:
            file["observations/position"] = np.zeros(3)
        with pytest.raises(DatasetError, match="observations must be an array, it is a group of position"):
            read_dataset(tmp_path / "group.hdf5")


def put(name, value):
    def change(file):
        del file[name]
        file[name] = value

    return change


def create(name, shape, **options):
    def change(file):
        del file[name]
        file.create_dataset(name, shape, **options)

    return change


def bomb(file):
    """A packed chunk of nine numbers that unpacks to ten megabytes."""
    create("rewards", (NUM,), dtype="f4", chunks=(NUM,), compression="gzip")(file)
    file["rewards"].id.write_direct_chunk((0,), zlib.compress(bytes(10**7)))


def virtual(file):
    layout = h5py.VirtualLayout((NUM,), "f4")
    layout[:] = h5py.VirtualSource("other.hdf5", "x", (NUM,))
    del file["rewards"]
    file.create_virtual_dataset("rewards", layout)


class TestHostileFiles:
    """Nothing outside of the file is read, nothing is read that does not fit, and the error names the array."""

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (put("rewards", h5py.ExternalLink("other.hdf5", "/x")), "rewards is a link to another file, 'other.hdf5'"),
            (put("rewards", h5py.SoftLink("/actions")), "rewards is a link to '/actions', which is not followed"),
            (put("rewards", h5py.SoftLink("/nothing")), "rewards is a link to '/nothing'"),
            (put("rewards", h5py.SoftLink("rewards")), "rewards is a link to 'rewards'"),
            (virtual, "rewards is stored in other files"),
            (create("rewards", (NUM,), dtype="f8", external=[("other.raw", 0, 72)]), "rewards is stored in other"),
            (create("rewards", (10**12,), dtype="f8", chunks=(9,)), "rewards was never written"),
            (bomb, "rewards is damaged: a packed chunk of .* bytes is larger than the chunk itself"),
            (put("rewards", np.dtype("f4")), "rewards must be an array, it is a datatype"),
            (put("rewards", h5py.Empty("f4")), "rewards is empty"),
            (put("rewards", np.zeros(NUM, complex)), "rewards must hold integers or floating-point numbers"),
            (
                put("actions", np.full(NUM, 2**40)),
                "actions holds whole numbers that int32 cannot hold in 7 of 7|9 of 9",
            ),
            (put("actions", np.zeros((NUM, 0))), "actions must have at least one number per row"),
        ],
    )
    def test_arrays(self, tmp_path, change, message):
        path = write_log(tmp_path / "log.hdf5", log())
        write_log(tmp_path / "other.hdf5", {"x": np.zeros(NUM)})
        np.zeros(NUM).tofile(tmp_path / "other.raw")
        with h5py.File(path, "a") as file:
            change(file)
        with pytest.raises(DatasetError, match=f"log.hdf5: {message}") as error:
            read_dataset(path)
        assert "\n" not in str(error.value)

    def test_what_is_larger_than_memory_is_not_read(self, tmp_path, monkeypatch):
        path = tmp_path / "zeros.hdf5"
        with h5py.File(path, "w") as file:
            for name, shape in {"observations": (10**9, 500), "actions": (10**9, 9)}.items():
                x = file.create_dataset(name, shape, "f4", chunks=(1000, shape[1]), compression="gzip")
                x[:1] = 0
            for name in ("rewards", "terminals", "timeouts"):
                file[name] = np.zeros(NUM)
        assert path.stat().st_size < 10**6
        with pytest.raises(DatasetError, match="zeros.hdf5: reading it takes about .* GB of memory, .* are free"):
            read_dataset(path)
        log_path, episodes = write_log(tmp_path / "log.hdf5", log()), write_folder(tmp_path / "set", [episode(9)])
        monkeypatch.setattr("rlx.memory.free", lambda: 500.0)
        for path in (log_path, episodes):
            with pytest.raises(DatasetError, match="reading it takes about"):
                read_dataset(path)

    def test_every_member_may_be_damaged(self, tmp_path):
        """Errors of HDF5 that come after a file is opened."""
        path = write_log(tmp_path / "log.hdf5", log(observations=np.zeros((NUM, 500))))
        content = path.read_bytes()
        found = set()
        for place in range(len(content) // 2, len(content), 97):
            path.write_bytes(content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :])
            try:
                read_dataset(path)
            except DatasetError as error:
                found.add(str(error).partition("(")[0])
        assert all("log.hdf5: " in message for message in found)

    def test_attributes_are_plain(self, tmp_path):
        path = write_log(tmp_path / "log.hdf5", log())
        with h5py.File(path, "a") as file:
            file.attrs.update({"empty": h5py.Empty("f4"), "texts": ["a", "b"], "bytes": np.bytes_(b"\xff")})
        metadata = read_dataset(path).metadata
        assert metadata == {"dataset_id": "log", "empty": None, "texts": ["a", "b"], "bytes": "\ufffd"}
        with h5py.File(path, "a") as file:
            file.attrs["pointer"] = file["rewards"].ref
        with pytest.raises(DatasetError, match="the attribute 'pointer' must be a text, a number or a list"):
            read_dataset(path)

    @pytest.mark.parametrize("name", ["log.hdf5", "set/data/main_data.hdf5", "set/data/metadata.json"])
    def test_pipes_are_not_opened(self, tmp_path, name):
        write_log(tmp_path / "log.hdf5", log())
        write_folder(tmp_path / "set", [episode(2)])
        (tmp_path / name).unlink()
        os.mkfifo(tmp_path / name)
        with pytest.raises(DatasetError, match="is a pipe or device, not a file"):
            read_dataset(tmp_path / name.partition("/")[0])

    def test_what_is_no_path_is_one_error(self, tmp_path):
        for path in ("a" * 5000, "a\0b"):
            with pytest.raises(DatasetError, match="there is no dataset"):
                read_dataset(path)

    def test_spaces_and_groups_that_never_end(self, tmp_path):
        path = write_folder(tmp_path / "set", [{k: v for k, v in episode(2).items() if k != "observations"}])
        with h5py.File(path / "data" / "main_data.hdf5", "a") as file:
            inner = file["episode_0"].create_group("observations")
            inner["again"] = inner
        with pytest.raises(DatasetError, match="again is nested more than 32 deep"):
            read_dataset(path)


class TestTargets:
    """Where nothing can be written nothing is left, and the error names the target."""

    @pytest.mark.parametrize("name", ["a_file/out.hdf5", "a_file/x/out", "x" * 300, "/dev/null/out.h5", "/proc/x/out"])
    def test_nothing_can_be_written_there(self, tmp_path, name):
        dataset = read_dataset(write_log(tmp_path / "a_file", log())).dataset
        before = sorted(tmp_path.rglob("*"))
        for attempt in (files.check_target, lambda path: write_dataset(path, dataset)):
            with pytest.raises(DatasetError, match="cannot be written"):
                attempt(tmp_path / name)
        assert sorted(tmp_path.rglob("*")) == before

    def test_checking_leaves_nothing(self, tmp_path):
        files.check_target(tmp_path / "a" / "b" / "out.hdf5")
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("name", ["a/b/out.hdf5", "a/b/out"])
    def test_a_full_disk_leaves_nothing(self, tmp_path, name):
        row = np.sin(np.arange(4001.0))[:, None]
        dataset = make_dataset(row[:-1], row[:-1], row[:-1, 0], row[1:], np.zeros(4000), np.zeros(4000))
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        try:
            with pytest.raises(DatasetError, match="out.* cannot be written"):
                write_dataset(tmp_path / name, dataset)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert not list(tmp_path.iterdir())

    def test_metadata_of_other_kinds_are_json_in_hdf5(self, tmp_path):
        dataset = read_dataset(write_log(tmp_path / "log.hdf5", log())).dataset
        write_d4rl(tmp_path / "out.hdf5", dataset, {"nested": {"a": 1}, "mixed": [1, "a"]})
        metadata = read_dataset(tmp_path / "out.hdf5").metadata
        assert json.loads(metadata["nested"]) == {"a": 1} and json.loads(metadata["mixed"]) == [1, "a"]
        with pytest.raises(DatasetError, match="'long' of the metadata cannot be an attribute"):
            write_d4rl(tmp_path / "long.hdf5", dataset, {"long": list(range(10**5))})
        with pytest.raises(DatasetError, match="metadata must be texts, numbers"):
            write_minari(tmp_path / "set", dataset, {"odd": object()})
        assert not (tmp_path / "long.hdf5").exists() and not (tmp_path / "set").exists()


class TestMinari:
    def test_every_step_has_its_next_observation(self, tmp_path):
        episodes = [
            episode(3, terminated=True),
            episode(2, truncated=True, start=10.0),
            episode(2, start=20.0),
        ]
        path = write_folder(tmp_path / "set", episodes)
        dataset, metadata, kind = read_dataset(path)
        assert kind == "Minari" and metadata["dataset_id"] == "a/b-v0"
        assert dataset.observation[:, 0].tolist() == [0, 1, 2, 10, 11, 20, 21]
        assert dataset.next_observation[:, 0].tolist() == [1, 2, 3, 11, 12, 21, 22]
        assert np.flatnonzero(dataset.terminated).tolist() == [2]
        # The last episode was logged without an end.
        assert np.flatnonzero(dataset.truncated).tolist() == [4, 6]
        for name in ("data", "data/main_data.hdf5"):
            jax.tree.map(np.testing.assert_array_equal, read_dataset(path / name).dataset, dataset)

    def test_episodes_come_in_the_order_of_their_numbers(self, tmp_path):
        path = write_folder(tmp_path / "set", [episode(1, start=float(number)) for number in range(12)])
        assert read_minari(path).dataset.observation[:, 0].tolist() == list(range(12))

    def test_observations_in_parts_become_vectors(self, tmp_path):
        position, goal = np.arange(6.0).reshape(3, 2), np.array([2, 0, 1])
        parts = {"position": position, "goal": goal}
        space = {
            "type": "Dict",
            "subspaces": {"position": {"type": "Box", "shape": [2]}, "goal": {"type": "Discrete", "n": 3}},
        }
        actions_only = {name: x for name, x in episode(2).items() if name != "observations"}
        path = write_folder(tmp_path / "set", [actions_only], observation_space=json.dumps(space))
        with h5py.File(path / "data" / "main_data.hdf5", "a") as file:
            for name, x in parts.items():
                file[f"episode_0/observations/{name}"] = x
        found = read_minari(path).dataset
        expected = np.concatenate([position, np.eye(3)[goal]], axis=1)
        np.testing.assert_array_equal(found.observation, expected[:-1])
        np.testing.assert_array_equal(found.next_observation, expected[1:])

    def test_what_is_written_is_read_and_both_formats_hold_the_same(self, tmp_path):
        dataset = read_dataset(write_log(tmp_path / "log.hdf5", log())).dataset
        write_dataset(tmp_path / "set", dataset, {"env": "rlx:pendulum", "seed": 3, "none": None})
        again = read_dataset(tmp_path / "set")
        jax.tree.map(np.testing.assert_array_equal, again.dataset, dataset)
        assert again.metadata["seed"] == 3 and again.metadata["dataset_id"] == "set-v0"
        assert again.metadata["total_episodes"] == 3 and again.metadata["total_steps"] == 7
        assert json.loads(again.metadata["observation_space"])["shape"] == [2]
        write_dataset(tmp_path / "back.hdf5", again.dataset, again.metadata)
        jax.tree.map(np.testing.assert_array_equal, read_dataset(tmp_path / "back.hdf5").dataset, dataset)

    def test_unconnected_steps_are_refused(self, tmp_path):
        arrays = log(next_observations=log()["observations"] + 100)
        dataset = read_dataset(write_log(tmp_path / "log.hdf5", arrays)).dataset
        with pytest.raises(DatasetError, match="next observations differ.*write it as .hdf5"):
            write_minari(tmp_path / "set", dataset)
        assert [path.name for path in tmp_path.iterdir()] == ["log.hdf5"]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"rewards": np.zeros(3)}, "episode_0: observations must be one more than steps"),
            ({"actions": np.zeros((1, 1))}, "episode_0: observations must be one more.*actions 1"),
            ({"truncations": None}, "episode_0: it has no 'truncations'"),
            ({"observations": np.full((3, 2), np.nan)}, "observations holds NaN or infinity in 2 of 2 rows"),
        ],
    )
    def test_broken_episodes_are_one_error(self, tmp_path, change, message):
        broken = {name: x for name, x in (episode(2) | change).items() if x is not None}
        with pytest.raises(DatasetError, match=f"set: {message}"):
            read_dataset(write_folder(tmp_path / "set", [broken]))

    @pytest.mark.parametrize(
        ("metadata", "message"),
        [
            ({"total_episodes": 2}, "tells of 2 episodes, main_data.hdf5 holds 1"),
            ({"data_format": "arrow"}, "stored as 'arrow'"),
            ({"action_space": json.dumps({"type": "Dict"})}, "actions must be of one part"),
            ({"observation_space": json.dumps({"type": "Box", "shape": [64, 64, 3]})}, "space has"),
            ({"observation_space": "{"}, "observation_space is not valid JSON"),
            ({"observation_space": "[" * 100_000}, "observation_space is not valid JSON .it is nested too deeply"),
            ({"observation_space": {}}, "observation_space must be a text, got {}"),
            ({"observation_space": "[1]"}, r"observation_space must be a space with a type, got \[1\]"),
            ({"observation_space": '{"type": ["Box"]}'}, "must have a text as type"),
            ({"observation_space": '{"type": "Box", "shape": "2"}'}, "must have a list as shape, got '2'"),
            ({"observation_space": '{"type": "Box", "shape": ["2"]}'}, "must have whole numbers from 0 .* as shape"),
            ({"observation_space": '{"type": "Discrete"}'}, "observation_space is a Discrete without n"),
            ({"observation_space": '{"type": "Discrete", "n": 1000000000000}'}, "must have whole numbers from 1 to"),
            ({"observation_space": '{"type": "Discrete", "n": [3]}'}, "whose n and start are one number each"),
            ({"observation_space": '{"type": "Discrete", "n": 3}'}, "observations must be numbers of 3 things"),
            ({"observation_space": '{"type": "MultiDiscrete", "nvec": [3]}'}, r"must have the shape \(1,\) in a row"),
            ({"observation_space": '{"type": "Dict", "subspaces": 3}'}, "must have spaces as subspaces, got 3"),
            ({"observation_space": '{"type": "Dict", "subspaces": {"a": 1}}'}, "observation_space/a must be a space"),
            ({"observation_space": '{"type": "Dict", "subspaces": {"a": {}}}'}, "observations must be a group"),
            ({"total_episodes": "1"}, "total_episodes must be a whole number, got '1'"),
            ({"dataset_id": 3}, "dataset_id must be a text, got 3"),
            ({"data_format": []}, r"it is stored as \[\]; only 'hdf5' is read"),
        ],
    )
    def test_unreadable_metadata_are_one_error(self, tmp_path, metadata, message):
        with pytest.raises(DatasetError, match=f"set: .*{message}"):
            read_dataset(write_folder(tmp_path / "set", [episode(2)], **metadata))

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("[" * 100_000, "is not valid JSON .it is nested too deeply"),
            ('{"a": ' * 100_000, "is not valid JSON .it is nested too deeply"),
            ("[]", "must hold names and values, got list"),
            ("1" * 5000, "is not valid JSON"),
            (b"\xff\xfe\xfa", "is not valid JSON"),
        ],
    )
    def test_metadata_that_are_no_metadata_are_one_error(self, tmp_path, text, message):
        path = write_folder(tmp_path / "set", [episode(2)])
        (path / "data" / "metadata.json").write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(DatasetError, match=f"set: metadata.json {message}"):
            read_dataset(path)

    def test_missing_and_damaged_parts_are_one_error(self, tmp_path):
        path = write_folder(tmp_path / "set", [episode(2)])
        data, text = path / "data" / "main_data.hdf5", path / "data" / "metadata.json"
        content = data.read_bytes()
        data.write_bytes(content[: len(content) // 2])
        with pytest.raises(DatasetError, match="set: it cannot be read as HDF5"):
            read_dataset(path)
        data.unlink()
        with pytest.raises(DatasetError, match="there is no file main_data.hdf5"):
            read_dataset(path)
        text.write_text("{")
        with pytest.raises(DatasetError, match="metadata.json is not valid JSON"):
            read_dataset(path)
        text.unlink()
        with pytest.raises(DatasetError, match="there is no file metadata.json"):
            read_dataset(path)
        with pytest.raises(DatasetError, match="there are no episodes"):
            read_dataset(write_folder(tmp_path / "empty", []))


@pytest.mark.parametrize("name", ["log.hdf5", "minari"])
def test_metadata_are_those_of_the_dataset(tmp_path, name):
    write_log(tmp_path / "logged.hdf5", log())
    dataset = read_dataset(tmp_path / "logged.hdf5").dataset
    write_dataset(tmp_path / name, dataset, {"env": "rlx:pendulum", "episodes": [1, 2]})
    metadata = read_metadata(tmp_path / name)
    assert metadata == read_dataset(tmp_path / name).metadata and metadata["env"] == "rlx:pendulum"


class TestBehaviorLogProb:
    LOGGED = np.arange(NUM, dtype=np.float32) / -10

    @pytest.mark.parametrize("following", [None, np.ones((NUM, 2), np.float32)])
    def test_it_has_the_rows_of_the_dataset(self, tmp_path, following):
        changes = {"next_observations": following, "infos/action_log_probs": self.LOGGED}
        path = write_log(tmp_path / "log.hdf5", log(**changes))
        found, dataset = read_behavior_log_prob(path), read_dataset(path).dataset
        # Rewards number the rows of the file.
        np.testing.assert_allclose(found, dataset.reward / -10, rtol=1e-6)
        assert len(found) == (NUM if following is not None else NUM - 2)

    def test_where_there_is_none(self, tmp_path):
        assert read_behavior_log_prob(write_log(tmp_path / "log.hdf5", log())) is None
        other = write_log(tmp_path / "other.hdf5", log(**{"infos/qpos": self.LOGGED}))
        assert read_behavior_log_prob(other) is None
        dataset = read_dataset(other).dataset
        write_dataset(tmp_path / "folder", dataset)
        assert read_behavior_log_prob(tmp_path / "folder") is None

    @pytest.mark.parametrize("wrong", [LOGGED[:-1], np.full(NUM, np.nan)])
    def test_what_is_not_a_number_for_each_row(self, tmp_path, wrong):
        path = write_log(tmp_path / "log.hdf5", log(**{"infos/action_log_probs": wrong}))
        with pytest.raises(DatasetError, match="infos/action_log_probs must be 9 finite numbers"):
            read_behavior_log_prob(path)


class TestReferenceScores:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("hopper_medium-v2", (-20.272305, 3234.3)),
            ("halfcheetah-medium-expert-v2", (-280.178953, 12135.0)),
            ("antmaze-umaze-v2", (0.0, 1.0)),
            ("maze2d-medium-dense-v1", (44.264742, 297.455255)),
            ("D4RL/pen/human-v2", (96.262799, 3076.8331)),
            ("D4RL/antmaze/large-diverse-v1", (0.0, 1.0)),
            ("D4RL/kitchen/complete-v2", (0.0, 4.0)),
            ("kitchen_microwave_kettle_bottomburner_light-v0", (0.0, 4.0)),
            ("door-demos-v0-bc-combined", (-56.512833, 2880.5693)),
            ("minigrid-fourrooms-random-v0", (0.01442, 2.89685)),
            # The files of AntMaze, which begin with the name of another task.
            ("Ant_maze_u-maze_noisy_multistart_False_multigoal_False_sparse_fixed", (0.0, 1.0)),
            ("walker_mixed", (1.629008, 4592.3)),
            ("ants-medium", None),
            ("mujoco/hopper/medium-v0", None),
            ("mine", None),
        ],
    )
    def test_by_name(self, name, expected):
        found = reference_scores({"dataset_id": name})
        assert (None if found is None else found[:2]) == expected

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("antmaze-umaze-v2", "antmaze-umaze"),
            ("Ant_maze_u-maze_noisy_multistart_True_multigoal_True_sparse_fixed", "antmaze-umaze-diverse"),
            ("Ant_maze_big-maze_noisy_multistart_True_multigoal_False_sparse", "antmaze-medium-play"),
            ("Ant_maze_hardest-maze_noisy_multistart_True_multigoal_True_sparse_fixed", "antmaze-large-diverse"),
            ("mini_kitchen_microwave_kettle_light_slider-v0", "kitchen-complete"),
            ("kitchen_microwave_kettle_light_slider-v0", "kitchen-partial"),
            ("pen-v0_demos_clipped", "pen-human"),
            ("hammer-v0_expert_clipped", "hammer-expert"),
            ("halfcheetah_mixed", "halfcheetah-medium-replay"),
            ("D4RL/relocate/cloned-v2", "relocate-cloned"),
            ("mine", None),
            ("", None),
        ],
    )
    def test_d4rl_names_by_what_else_they_are_called(self, name, expected):
        assert d4rl_name(name) == expected

    def test_a_dataset_knows_better_than_its_name(self):
        own = {"dataset_id": "hopper-v0", "ref_min_score": 1, "ref_max_score": 2.0}
        assert reference_scores(own) == (1.0, 2.0, "the file's own")
        assert reference_scores({"dataset_id": "hopper-v0", "env": "brax:hopper"}) is None

    @pytest.mark.parametrize("scores", [("a", 1), ([], 1), (float("nan"), 1), (1, 1), (2, 1), (0, True), (0, 10**400)])
    def test_two_numbers_in_order(self, scores):
        with pytest.raises(DatasetError, match="ref_min_score and ref_max_score of the metadata must be finite"):
            reference_scores(dict(zip(("ref_min_score", "ref_max_score"), scores)))
        assert reference_scores({"ref_min_score": None, "ref_max_score": 1}) is None

    def test_the_oracle_of_d4rl(self):
        minimum, maximum, _ = reference_scores({"dataset_id": "halfcheetah-medium-v2"})
        score = normalized_score(jnp.float32(3000), minimum=minimum, maximum=maximum)
        np.testing.assert_allclose(score, 26.420714, rtol=1e-6)


def test_spaces_are_described_as_minari_does():
    from gymnasium import spaces

    box = json.loads(minari.describe_space(spaces.Box(-1, 2, (2,), np.float32)))
    assert box == {"type": "Box", "dtype": "float32", "shape": [2], "low": [-1.0, -1.0], "high": [2.0, 2.0]}
    assert json.loads(minari.describe_space(spaces.Discrete(3, start=1))) == {
        "type": "Discrete",
        "dtype": "int64",
        "start": 1,
        "n": 3,
    }
    with pytest.raises(DatasetError, match="must be a Box or Discrete"):
        minari.describe_space(spaces.Text(4))


def test_an_episode_of_one_timed_out_row_vanishes(tmp_path):
    timeouts = np.isin(np.arange(NUM), (3, 6))
    dataset = read_dataset(write_log(tmp_path / "log.hdf5", log(timeouts=timeouts))).dataset
    assert dataset.observation[:, 0].tolist() == [0, 1, 2, 4, 5, 7]
    assert np.flatnonzero(dataset.is_last).tolist() == [2, 4, 5]
    made = make_dataset(*(np.asarray(x) for x in dataset[:-1]))
    np.testing.assert_array_equal(made.episode_start, dataset.episode_start)
