"""Episodes survive on disk: the format, its checks and its promises."""

import json
import resource
from dataclasses import replace

import numpy as np
import pytest
from data.toy import ACTION, OBS, make_episode, write
from gymnasium import spaces

from dreamgym.data import Dataset, DatasetWriter, Episode
from dreamgym.errors import DreamgymError, InvalidDataset, UnsupportedSpace


def test_what_is_written_is_read_back(tmp_path):
    dataset = write(tmp_path / "data", 5, 1, 3)
    assert dataset.env_id == "Toy-v0"
    assert dataset.observation_space == OBS
    assert dataset.action_space == ACTION
    assert list(dataset.lengths) == [5, 1, 3]
    assert dataset.num_steps == 9
    for i, length in enumerate((5, 1, 3)):
        expected, episode = make_episode(length, 100 * i), dataset[i]
        np.testing.assert_array_equal(episode.obs, expected.obs)
        np.testing.assert_array_equal(episode.action, expected.action)
        np.testing.assert_array_equal(episode.reward, expected.reward)
        assert (episode.terminated, episode.truncated, episode.meta) == (True, False, {"seed": 100 * i})
        assert dataset.returns[i] == expected.reward.sum() == episode.total_reward
    assert dataset.obs_offset(2) == 6 + 2


@pytest.mark.parametrize("room", [10, 100])
def test_a_disk_without_room_for_the_first_episode_is_left_as_it_was(room, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if room == 100:  # there is room for no header, but for a description
        DatasetWriter(tmp_path, "Toy-v0", OBS, ACTION).close()
    before = sorted(tmp_path.iterdir())
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            DatasetWriter(tmp_path, "Toy-v0", OBS, ACTION).add(make_episode(3))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(tmp_path.iterdir()) == before


def test_only_the_last_action_terminates():
    assert list(make_episode(3).terminations) == [False, False, True]
    assert not make_episode(3, terminated=False).terminations.any()


def test_episodes_are_views_of_the_file(tmp_path):
    obs = write(tmp_path / "data", 5)[0].obs
    assert not obs.flags.owndata
    assert not obs.flags.writeable


def test_shards_are_plain_npy_files_of_bounded_size(tmp_path):
    dataset = write(tmp_path / "data", 5, 5, 5, 5, shard_bytes=100)
    shards = list((tmp_path / "data").glob("shard-*"))
    assert len(shards) == 2
    assert all(np.load(shard / "obs.npy").shape == (12, 2) for shard in shards)
    assert [episode.meta["seed"] for episode in dataset] == [0, 100, 200, 300]


def test_an_episode_larger_than_a_shard_is_kept(tmp_path):
    assert list(write(tmp_path / "data", 50, 2, shard_bytes=100).lengths) == [50, 2]


def test_dict_observations(tmp_path):
    space = spaces.Dict({"a/b": OBS, "n": spaces.Discrete(4)})
    obs = {"a/b": np.ones((3, 2), np.float32), "n": np.arange(3)}
    with DatasetWriter(tmp_path / "data", "Toy-v0", space, ACTION) as writer:
        writer.add(Episode(obs, np.array([0, 2]), np.zeros(2), False, True))
    episode = Dataset(tmp_path / "data")[0]
    assert set(episode.obs) == {"a/b", "n"}
    np.testing.assert_array_equal(episode.obs["n"], [0, 1, 2])
    np.testing.assert_array_equal(episode.obs["a/b"], obs["a/b"])


def test_several_writers_share_a_folder_and_keys_give_the_order(tmp_path):
    with DatasetWriter(tmp_path, "Toy-v0", OBS, ACTION) as one, DatasetWriter(tmp_path, "Toy-v0", OBS, ACTION) as two:
        for i in (3, 1, 2, 0):
            (one if i % 2 else two).add(make_episode(2, i), key=f"{i}")
    assert [meta["seed"] for meta in Dataset(tmp_path).metas] == [0, 1, 2, 3]


def test_an_open_writer_and_an_unfinished_index_line_do_not_disturb_a_reader(tmp_path):
    writer = DatasetWriter(tmp_path, "Toy-v0", OBS, ACTION)
    writer.add(make_episode(3))
    writer.add(make_episode(4))
    (index,) = tmp_path.glob("shard-*/index.jsonl")
    text = index.read_bytes()
    index.write_bytes(text[:-5])  # as a process killed while writing the line leaves it
    assert list(Dataset(tmp_path).lengths) == [3]
    writer.close()


@pytest.mark.parametrize(
    ("length", "meta"), [(5000, {}), (50, {"note": "x" * 20_000})], ids=["in the arrays", "in the index"]
)
def test_a_full_disk_is_reported_and_leaves_finished_episodes_readable(tmp_path, length, meta):
    writer = DatasetWriter(tmp_path, "Toy-v0", OBS, ACTION)
    writer.add(make_episode(3), key="first")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(OSError, match="episode 'big' cannot be written .*recorded before it are intact"):
            writer.add(replace(make_episode(length), meta=meta), key="big")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(Dataset(tmp_path).lengths) == [3]
    writer.add(make_episode(4, 7), key="later")
    dataset = Dataset(tmp_path)
    assert dataset.keys == ["first", "later"]
    np.testing.assert_array_equal(dataset[1].obs, make_episode(4, 7).obs)
    writer.close()


def test_split_is_stable_when_episodes_are_added(tmp_path):
    before = write(tmp_path / "small", *[1] * 60)
    after = write(tmp_path / "large", *[1] * 90)
    train, validation = before.split(0.3, seed=1)
    assert len(train) + len(validation) == 60
    assert 5 < len(validation) < 35
    grown_train, grown_validation = after.split(0.3, seed=1)
    assert set(train.keys) <= set(grown_train.keys)
    assert set(validation.keys) <= set(grown_validation.keys)
    assert set(before.split(0.3, seed=2)[1].keys) != set(validation.keys)


def test_folders_are_concatenated_in_the_order_given(tmp_path):
    write(tmp_path / "a", 5)
    write(tmp_path / "b", 2, 3)
    assert list(Dataset([tmp_path / "b", tmp_path / "a"]).lengths) == [2, 3, 5]


def test_folders_of_different_spaces_are_refused(tmp_path):
    write(tmp_path / "a", 5)
    DatasetWriter(tmp_path / "b", "Toy-v0", spaces.Box(0, 1, (4,), np.float32), ACTION)
    with pytest.raises(InvalidDataset, match=r"b has observation_space .*\(4,\).*a has .*\(2,\)"):
        Dataset([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(InvalidDataset, match=r"action_space is Discrete\(2\), but .*a holds episodes of Discrete\(3\)"):
        DatasetWriter(tmp_path / "a", "Toy-v0", OBS, spaces.Discrete(2))


def test_zero_episodes_are_refused(tmp_path):
    DatasetWriter(tmp_path / "empty", "Toy-v0", OBS, ACTION).close()
    with pytest.raises(InvalidDataset, match="empty holds 0 finished episodes"):
        Dataset(tmp_path / "empty")


def test_a_foreign_folder_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InvalidDataset, match=f"{tmp_path} is no dataset: it has no dataset.json"):
        Dataset(tmp_path)
    with pytest.raises(InvalidDataset, match=f"{tmp_path} is not empty and no dataset"):
        DatasetWriter(tmp_path, "Toy-v0", OBS, ACTION)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 1}'])
def test_a_damaged_description_is_refused(tmp_path, text):
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(InvalidDataset, match="dataset.json describes no dataset"):
        Dataset(tmp_path)


def test_a_later_format_is_refused(tmp_path):
    write(tmp_path, 2)
    description = json.loads((tmp_path / "dataset.json").read_text())
    (tmp_path / "dataset.json").write_text(json.dumps({**description, "format": 99}))
    with pytest.raises(InvalidDataset, match="has format 99; this version of dreamgym reads 1"):
        Dataset(tmp_path)


def test_a_truncated_shard_is_refused(tmp_path):
    write(tmp_path, 5, 3)
    (obs,) = tmp_path.glob("shard-*/obs.npy")
    data = obs.read_bytes()
    obs.write_bytes(data[:-20])
    with pytest.raises(InvalidDataset, match="obs.npy is truncated or damaged"):
        Dataset(tmp_path)
    obs.unlink()
    with pytest.raises(InvalidDataset, match="obs.npy is missing"):
        Dataset(tmp_path)


def test_an_array_shorter_than_its_index_is_refused(tmp_path):
    write(tmp_path, 5, 3)
    (reward,) = tmp_path.glob("shard-*/reward.npy")
    np.save(reward, np.zeros(4, np.float32))
    with pytest.raises(InvalidDataset, match="reward.npy is truncated: it has 4 rows, its index needs 10"):
        Dataset(tmp_path)
    np.save(reward, np.zeros((10, 2), np.float32))
    with pytest.raises(InvalidDataset, match=r"reward.npy holds float32 rows \(2,\); expected float32 \(\)"):
        Dataset(tmp_path)


def test_a_damaged_index_is_refused(tmp_path):
    write(tmp_path, 5)
    (index,) = tmp_path.glob("shard-*/index.jsonl")
    index.write_text("nonsense\n" + index.read_text())
    with pytest.raises(InvalidDataset, match="index.jsonl is damaged"):
        Dataset(tmp_path)


@pytest.mark.parametrize("name", ["obs", "reward"])
def test_values_that_are_not_finite_are_found(tmp_path, name):
    episode = make_episode(4)
    getattr(episode, name)[2] = np.nan
    with DatasetWriter(tmp_path, "Toy-v0", OBS, ACTION) as writer:
        writer.add(make_episode(4), key="good")
        writer.add(episode, key="bad")
    with pytest.raises(InvalidDataset, match=f"{name} of episode 'bad' is not finite at step 2"):
        Dataset(tmp_path).validate()
    Dataset(tmp_path)[1:].validate()


def test_an_episode_that_does_not_fit_is_refused(tmp_path):
    writer = DatasetWriter(tmp_path, "Toy-v0", OBS, ACTION)
    good = make_episode(3)

    def broken(**changes):
        return Episode(**{**vars(good), **changes})

    with pytest.raises(InvalidDataset, match="0 actions"):
        writer.add(make_episode(0))
    with pytest.raises(InvalidDataset, match=r"obs has shape \(3, 2\); an episode with 3 rewards needs \(4, 2\)"):
        writer.add(broken(obs=good.obs[1:]))
    with pytest.raises(InvalidDataset, match=r"action has shape \(4,\)"):
        writer.add(broken(action=np.zeros(4, int)))
    with pytest.raises(InvalidDataset, match="action has dtype float64; the space expects int64"):
        writer.add(broken(action=np.zeros(3)))
    with pytest.raises(InvalidDataset, match="observations are a dict"):
        writer.add(broken(obs={"a": good.obs}))
    assert not list(tmp_path.glob("shard-*"))


def test_a_space_that_cannot_be_recorded_is_refused(tmp_path):
    with pytest.raises(UnsupportedSpace, match="action is a Text"):
        DatasetWriter(tmp_path / "data", "Toy-v0", OBS, spaces.Text(5))
    assert not (tmp_path / "data").exists()


def test_every_error_is_a_dreamgym_error():
    with pytest.raises(DreamgymError, match="0 dataset folders"):
        Dataset([])
