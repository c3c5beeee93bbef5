"""The episode being played: what is recorded, forgotten and shared."""

import numpy as np
import pytest
from gymnasium import spaces

from dreamgym.data import Dataset, DatasetWriter
from dreamgym.data.sequences import SequenceSampler
from dreamgym.real.dodge import DodgeEnv
from dreamgym.viewer.trail import Trail


def counted(steps, last=(False, False), first=0):
    """Return a trail whose every number names its step."""
    trail = Trail(np.array([first, 0], np.float32), {"seed": first})
    extend(trail, steps, last)
    return trail


def extend(trail, steps, last=(False, False)):
    for i in range(steps):
        t = len(trail) + 1
        flags = last if i == steps - 1 else (False, False)
        trail.add(t % 3, t + 0.5, *flags, np.array([0, t], np.float32))


def test_what_is_added_is_the_episode():
    episode = counted(4, last=(True, False), first=7).episode()
    assert episode.obs.tolist() == [[7, 0], [0, 1], [0, 2], [0, 3], [0, 4]]
    assert episode.action.tolist() == [1, 2, 0, 1]
    assert episode.reward.tolist() == [1.5, 2.5, 3.5, 4.5]
    assert (episode.obs.dtype, episode.reward.dtype) == (np.float32, np.float32)
    assert (episode.terminated, episode.truncated, episode.meta) == (True, False, {"seed": 7})


@pytest.mark.parametrize(
    ("last", "ends"),
    [((False, False), (False, True)), ((False, True), (False, True)), ((True, True), (True, True))],
)
def test_an_episode_that_has_not_ended_is_truncated(last, ends):
    episode = counted(3, last).episode()
    assert (episode.terminated, episode.truncated) == ends


def test_there_is_no_episode_without_a_step():
    assert counted(0).episode() is None
    trail = counted(3)
    trail.cut(0)
    assert trail.episode() is None
    assert len(trail) == 0


def test_steps_that_are_cut_off_are_forgotten_with_their_ending():
    trail = counted(5, last=(True, False))
    assert trail.over
    trail.cut(3)
    assert (len(trail), trail.over) == (3, False)
    episode = trail.episode()
    assert episode.obs.tolist() == [[0, 0], [0, 1], [0, 2], [0, 3]]
    assert (episode.terminated, episode.truncated) == (False, True)
    extend(trail, 1)
    assert trail.episode().obs.tolist() == [[0, 0], [0, 1], [0, 2], [0, 3], [0, 4]]
    trail.cut(9)
    assert len(trail) == 4


def test_a_copy_goes_its_own_way_and_shares_what_lies_behind():
    trail = counted(3)
    other = trail.copy()
    extend(trail, 2)
    other.cut(1)
    other.meta["driver"] = "person"
    assert (len(trail), len(other)) == (5, 1)
    assert trail.episode().obs.tolist() == counted(5).episode().obs.tolist()
    assert trail.meta == {"seed": 0}
    assert other._obs[1] is trail._obs[1]


def test_an_env_may_use_its_arrays_again():
    obs, action = {"x": np.zeros(1)}, np.zeros(2)
    trail = Trail(obs)
    for i in range(3):
        obs["x"][:] = action[:] = i + 1
        trail.add(action, 1, False, False, obs)
    episode = trail.episode()
    assert episode.obs["x"].tolist() == [[0], [1], [2], [3]]
    assert episode.action.tolist() == [[1, 1], [2, 2], [3, 3]]


def test_nothing_follows_the_end():
    trail = counted(2, last=(True, False))
    with pytest.raises(AssertionError, match="the episode has ended"):
        extend(trail, 1)


def test_training_draws_its_batches_from_played_games(tmp_path):
    env = DodgeEnv()
    with DatasetWriter(tmp_path, "Dodge-v0", env.observation_space, env.action_space) as writer:
        for seed in range(3):
            trail = Trail(env.reset(seed=seed)[0], {"driver": "person", "seed": seed})
            while not trail.over and len(trail) < 30:
                obs, reward, terminated, truncated, _ = env.step(1)
                trail.add(1, reward, terminated, truncated, obs)
            writer.add(trail.episode())
    dataset = Dataset(tmp_path)
    dataset.validate()
    assert [meta["seed"] for meta in dataset.metas] == [0, 1, 2]
    batch = SequenceSampler(dataset, sequence_length=8, batch_size=4, ending_share=0.5).batch(0)
    assert batch.obs.shape == (4, 9, 3, 64, 64)
    assert batch.action.tolist() == [[[0, 1, 0]] * 8] * 4


def test_the_parts_of_a_dict_and_the_numbers_of_an_action_are_recorded(tmp_path):
    obs_space = spaces.Dict({"x": spaces.Box(-9, 9, (2,), np.float32), "gear": spaces.Discrete(4)})
    action_space = spaces.Box(-1, 1, (2,), np.float32)
    trail = Trail({"x": np.float32([1, 2]), "gear": np.int64(3)})
    for i in range(3):
        trail.add(np.float32([0.5, -0.5]), 1.0, i == 2, False, {"x": np.float32([i, i]), "gear": np.int64(i)})
    with DatasetWriter(tmp_path, "Some-v0", obs_space, action_space) as writer:
        writer.add(trail.episode())
    batch = next(SequenceSampler(Dataset(tmp_path), sequence_length=3, batch_size=1).in_order())
    assert batch.obs["x"].tolist() == [[[1, 2], [0, 0], [1, 1], [2, 2]]]
    assert batch.obs["gear"].argmax(-1).tolist() == [[3, 0, 1, 2]]
    assert batch.action.tolist() == [[[0.5, -0.5]] * 3]
    assert batch.terminated.tolist() == [[0, 0, 1]]
