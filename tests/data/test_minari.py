"""Minari in and out."""

import sys

import numpy as np
import pytest
from data.toy import ACTION, OBS, make_episode, write
from gymnasium import spaces

from dreamgym.data import Dataset, DatasetWriter, Episode
from dreamgym.data.minari import find_data, from_minari, to_minari
from dreamgym.errors import InvalidDataset, MissingExtra, UnsupportedSpace


@pytest.fixture
def minari(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return pytest.importorskip("minari")


def assert_equal(one: Dataset, two: Dataset) -> None:
    assert len(one) == len(two)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_equal(a.obs, b.obs)
        np.testing.assert_array_equal(a.action, b.action)
        np.testing.assert_array_equal(a.reward, b.reward)
        assert (a.terminated, a.truncated) == (b.terminated, b.truncated)


def test_a_dataset_survives_the_way_through_minari(tmp_path, minari):
    with DatasetWriter(tmp_path / "data", "Toy-v0", OBS, ACTION) as writer:
        for i, length in enumerate((5, 1, 3)):
            writer.add(make_episode(length, 100 * i, terminated=i != 1), key=f"{i}")
    dataset = Dataset(tmp_path / "data")
    to_minari(dataset, "toy/test-v0", description="counts")
    copy = from_minari("toy/test-v0", tmp_path / "copy")
    assert_equal(dataset, copy)
    assert (copy.observation_space, copy.action_space) == (OBS, ACTION)
    assert [meta["seed"] for meta in copy.metas] == [0, 100, 200]


def test_minari_reads_what_we_wrote(tmp_path, minari):
    to_minari(write(tmp_path / "data", 5, 3), "toy/test-v0")
    episodes = list(minari.load_dataset("toy/test-v0").iterate_episodes())
    assert [len(episode.rewards) for episode in episodes] == [5, 3]
    assert episodes[1].observations[:, 0].tolist() == [100, 101, 102, 103]
    assert episodes[1].terminations.tolist() == [False, False, True]
    assert not episodes[1].truncations.any()
    to_minari(write(tmp_path / "cut", 3, terminated=False), "toy/cut-v0")
    (cut,) = minari.load_dataset("toy/cut-v0").iterate_episodes()
    assert cut.truncations.tolist() == [False, False, True]
    assert not cut.terminations.any()


def test_pictures_and_dicts_are_not_altered_on_the_way(tmp_path, minari):
    frames = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), np.uint8)
    picture, parts = spaces.Box(0, 255, (40, 40, 3), np.uint8), {"n": spaces.Discrete(4)}
    cases = [(picture, frames), (spaces.Dict({"picture": picture, **parts}), {"picture": frames, "n": np.arange(3)})]
    for i, (space, obs) in enumerate(cases):
        with DatasetWriter(tmp_path / f"data{i}", "Toy-v0", space, spaces.Box(-1, 1, (2,))) as writer:
            writer.add(Episode(obs, np.ones((2, 2), np.float32) / 3, np.ones(2, np.float32), False, True))
        dataset = Dataset(tmp_path / f"data{i}")
        to_minari(dataset, f"toy/test{i}-v0")
        assert_equal(dataset, from_minari(f"toy/test{i}-v0", tmp_path / f"copy{i}"))


def test_an_id_is_never_overwritten(tmp_path, minari):
    dataset = write(tmp_path / "data", 5)
    to_minari(dataset, "toy/test-v0")
    with pytest.raises(InvalidDataset, match="has a dataset 'toy/test-v0' already"):
        to_minari(dataset, "toy/test-v0")


def test_an_unknown_id_is_refused(tmp_path, minari):
    with pytest.raises(InvalidDataset, match="no local dataset 'toy/nope-v0'; download it"):
        from_minari("toy/nope-v0", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def dataset_of(minari, dataset_id, action_space=ACTION, rewards=(1.0, 2.0), **metadata):
    """Write a Minari dataset with float64 observations, as MuJoCo's envs have them."""
    buffer = minari.data_collector.EpisodeBuffer(
        observations=np.arange(3.0)[:, None] / 3,
        actions=np.stack([action_space.sample() for _ in range(2)]),
        rewards=np.array(rewards),
        terminations=np.zeros(2, bool),
        truncations=np.array([False, True]),
    )
    space = spaces.Box(-np.inf, np.inf, (1,), np.float64)
    minari.create_dataset_from_buffers(
        dataset_id, [buffer], observation_space=space, action_space=action_space,
        author="a", author_email="b", code_permalink="c", algorithm_name="d", description="e",
        **{"eval_env": "CartPole-v1", **metadata},
    )  # fmt: skip


def test_observations_keep_their_precision(tmp_path, minari):
    dataset_of(minari, "toy/double-v0", env="CartPole-v1")
    dataset = from_minari("toy/double-v0", tmp_path / "copy")
    np.testing.assert_array_equal(dataset[0].obs, np.arange(3.0)[:, None] / 3)
    assert (dataset[0].obs.dtype, dataset.env_id) == (np.float64, "CartPole-v1")


def test_a_named_dataset_is_copied_once_and_a_folder_stays_what_it_is(tmp_path, minari):
    to_minari(write(tmp_path / "data", 5, 3), "toy/test-v0")
    folder = find_data("minari:toy/test-v0", tmp_path / "copies")
    before = sorted(folder.rglob("*"))
    assert_equal(Dataset(folder), Dataset(tmp_path / "data"))
    assert find_data("minari:toy/test-v0", tmp_path / "copies") == folder
    assert sorted(folder.rglob("*")) == before
    assert [path.name for path in (tmp_path / "copies").iterdir()] == ["toy"]  # nothing unfinished stays
    assert find_data(str(tmp_path / "data"), tmp_path / "copies") == tmp_path / "data"


def test_a_copy_of_another_dataset_with_the_same_id_is_made_anew(tmp_path, minari):
    to_minari(write(tmp_path / "data", 5, 3), "toy/test-v0")
    find_data("minari:toy/test-v0", tmp_path / "copies")
    minari.delete_dataset("toy/test-v0")
    to_minari(write(tmp_path / "other", 4), "toy/test-v0")
    assert Dataset(find_data("minari:toy/test-v0", tmp_path / "copies")).lengths.tolist() == [4]


def test_a_dataset_without_rewards_is_refused(tmp_path, minari):
    import h5py

    dataset_of(minari, "toy/nan-v0", rewards=(np.nan, np.nan), env="CartPole-v1")
    dataset_of(minari, "toy/none-v0", env="CartPole-v1")
    with h5py.File(tmp_path / "minari" / "toy/none-v0/data/main_data.hdf5", "a") as file:
        del file["episode_0/rewards"]
    for name in ("nan", "none"):
        message = f"dataset 'toy/{name}-v0' has no rewards in episode 0; a dream needs the reward of each action"
        with pytest.raises(InvalidDataset, match=message):
            find_data(f"minari:toy/{name}-v0", tmp_path / "copies")
    assert not list((tmp_path / "copies").iterdir())


def test_unsupported_spaces_are_refused_by_name(tmp_path, minari):
    dataset_of(minari, "toy/multi-v0", action_space=spaces.MultiDiscrete([2, 3]), env="CartPole-v1")
    message = r"'toy/multi-v0' cannot be read: action is a MultiDiscrete\(\[2 3\]\); only Box and Discrete"
    with pytest.raises(UnsupportedSpace, match=message):
        find_data("minari:toy/multi-v0", tmp_path / "copies")
    assert not (tmp_path / "copies").exists()


def test_without_minari_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(MissingExtra, match=r'pip install "dreamgym\[minari\]"'):
        to_minari(write(tmp_path, 5), "toy/test-v0")
