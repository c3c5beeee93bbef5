"""Minari in and out."""

import sys

import numpy as np
import pytest
from data.toy import ACTION, OBS, make_episode, write
from gymnasium import spaces

from dreamgym.data import Dataset, DatasetWriter, Episode
from dreamgym.data.minari import from_minari, to_minari
from dreamgym.errors import InvalidDataset, MissingExtra


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


def test_without_minari_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(MissingExtra, match=r'pip install "dreamgym\[minari\]"'):
        to_minari(write(tmp_path, 5), "toy/test-v0")
