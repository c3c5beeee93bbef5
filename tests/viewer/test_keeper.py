"""Played episodes become a dataset."""

import pytest

from dreamgym.data.episodes import Dataset
from dreamgym.errors import InvalidDataset
from dreamgym.hub import load
from dreamgym.viewer.keeper import Keeper
from dreamgym.viewer.session import Session

DREAM = "DreamCartPole-v0"


@pytest.fixture
def kept(tmp_path):
    """Return a function that plays some episodes and returns the dataset."""

    def play(side, kept_side, drivers, seconds=0.5):
        keeper = Keeper(tmp_path / "data", load(DREAM), kept_side)
        session = Session(DREAM, side=side, seed=5, ended=keeper.keep)
        for person in drivers:
            for i in range(int(seconds * 50)):
                keeper.note(person and i == 3)
                session.advance(0.02, 1 if person and i == 3 else None)
            session.reset()
        session.close()
        keeper.close()
        assert keeper.message == ""
        return Dataset(tmp_path / "data")

    return play


@pytest.mark.parametrize(("side", "env_id"), [("dream", DREAM), ("real", "CartPole-v1")])
def test_what_was_played_can_be_read(kept, side, env_id):
    dataset = kept(side, side, [False, False, False])
    assert dataset.env_id == env_id
    assert all(20 <= len(episode) <= 26 for episode in dataset)
    assert [episode.meta["seed"] for episode in dataset] == [5, 6, 7]
    assert all(episode.truncated for episode in dataset)


def test_side_by_side_only_the_real_episodes_are_kept(tmp_path):
    keeper, ended = Keeper(tmp_path / "data", load(DREAM), "real"), []

    def end(side, trail):
        keeper.keep(side, trail)
        ended.append((side, len(trail)))

    session = Session(DREAM, side="both", seed=5, ended=end)
    for _ in range(2):
        for _ in range(30):
            session.advance(0.02)
        session.reset()
    session.close()
    keeper.close()
    dataset = Dataset(tmp_path / "data")
    assert dataset.env_id == "CartPole-v1"
    assert [len(episode) for episode in dataset] == [steps for side, steps in ended if side == "real"]
    assert {side for side, _ in ended} == {"real", "dream"}


def test_an_episode_in_which_a_person_drove_is_theirs(kept):
    dataset = kept("dream", "dream", [False, True, False])
    assert [episode.meta["driver"] for episode in dataset] == ["policy", "person", "policy"]


def test_a_dataset_can_be_added_to(kept):
    assert len(kept("dream", "dream", [False])) == 1
    assert len(kept("dream", "dream", [False])) == 2


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(InvalidDataset, match="no dataset"):
        Keeper(tmp_path, load(DREAM), "dream")


def test_an_episode_that_cannot_be_written_is_said_and_the_next_one_is_kept(tmp_path, monkeypatch):
    keeper = Keeper(tmp_path / "data", load(DREAM), "dream")
    session = Session(DREAM, ended=keeper.keep)

    def fail(*args):
        raise OSError(28, "No space left on device")

    session.advance(0.2)
    with monkeypatch.context() as patch:
        patch.setattr("dreamgym.data.writer._write_all", fail)
        session.reset()
    assert "No space left" in keeper.message
    session.advance(0.2)
    session.close()
    keeper.close()
    assert keeper.episodes == len(Dataset(tmp_path / "data")) == 1
