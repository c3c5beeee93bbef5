"""Windows for training: the time convention, padding, endings, purity."""

from collections import Counter

import numpy as np
import pytest
import torch
from data.toy import write
from gymnasium import spaces

from dreamgym.data import Dataset, DatasetWriter, Episode
from dreamgym.data.sequences import SequenceSampler, iterate_obs
from dreamgym.errors import InvalidArgument, InvalidDataset


def test_reward_and_action_of_a_window_belong_to_the_step_that_they_name(tmp_path):
    batch = SequenceSampler(write(tmp_path, 20, 7), sequence_length=4, batch_size=64).batch(0)
    assert batch.obs.shape == (64, 5, 2)
    assert batch.action.shape == (64, 4, 3)
    now, after, recorded = batch.obs[:, :-1, 0], batch.obs[:, 1:, 0], batch.mask.bool()
    assert torch.equal(after[recorded], now[recorded] + 1)
    assert torch.equal(batch.reward, after * batch.mask)  # the reward names the step at whose end it is paid
    assert torch.equal(batch.action.argmax(-1)[recorded], now[recorded].long() % 3)  # of the step that it begins
    assert torch.equal(batch.terminated, ((after == 20) | (after == 107)) * batch.mask)
    assert torch.equal(batch.is_first, (now[:, 0] == 0) | (now[:, 0] == 100))
    assert batch.is_first.any()
    assert batch.terminated.any()


@pytest.mark.parametrize("length", [1, 4])
def test_windows_in_order_hold_every_transition_once(tmp_path, length):
    sampler = SequenceSampler(write(tmp_path, 1, 9, 4), sequence_length=length, batch_size=3)
    batches = list(sampler.in_order())
    assert all(len(batch.mask) == 3 for batch in batches[:-1])
    after = torch.cat([batch.obs[:, 1:, 0][batch.mask > 0] for batch in batches])
    assert after.tolist() == [1, *range(101, 110), *range(201, 205)]
    assert torch.equal(torch.cat([batch.reward[batch.mask > 0] for batch in batches]), after)
    assert sum(batch.is_first.sum() for batch in batches) == 3


def test_single_observations_in_order_are_all_observations(tmp_path):
    sampler = SequenceSampler(write(tmp_path, 2, 3), sequence_length=0, batch_size=4)
    obs = torch.cat([batch.obs[:, 0, 0] for batch in sampler.in_order()])
    assert obs.tolist() == [0, 1, 2, 100, 101, 102, 103]


@pytest.mark.parametrize("length", [0, 4])
def test_windows_of_observations_that_are_kept_on_the_device_are_the_same(tmp_path, length):
    dataset = write(tmp_path, 20, 7, 2)
    for step in range(3):
        kept, read = (
            SequenceSampler(dataset, length, 32, ending_share=0.3, resident=resident).batch(step)
            for resident in (True, False)
        )
        assert torch.equal(kept.obs, read.obs)
        assert torch.equal(kept.mask, read.mask)


@pytest.mark.parametrize("length", [3, 50])
def test_what_reaches_beyond_the_end_of_an_episode_is_padded(tmp_path, length):
    batch = SequenceSampler(write(tmp_path, length), sequence_length=4, batch_size=64).batch(0)
    for b in range(64):
        first = int(batch.obs[b, 0, 0])
        left = min(length - first, 4)
        assert left > 0
        assert batch.is_first[b] == (first == 0)
        assert batch.mask[b].tolist() == [1] * left + [0] * (4 - left)
        assert batch.obs[b, :, 0].tolist() == [first + min(t, left) for t in range(5)]
        assert batch.terminated[b].tolist() == [float(first + t == length - 1) for t in range(4)]
        assert not batch.reward[b, left:].any()
        assert torch.equal(batch.action[b].sum(-1), torch.ones(4))


def test_padding_never_invents_an_action_outside_of_the_space(tmp_path):
    space = spaces.Discrete(2, start=5)
    with DatasetWriter(tmp_path, "Toy-v0", spaces.Discrete(4), space) as writer:
        writer.add(Episode(np.array([0, 3]), np.array([6]), np.ones(1), True, False))
    batch = SequenceSampler(Dataset(tmp_path), sequence_length=3, batch_size=2).batch(0)
    assert batch.action.tolist() == [[[0, 1]] * 3] * 2
    assert batch.obs[0, 1].tolist() == [0, 0, 0, 1]


def test_a_window_is_laid_as_often_on_every_place_that_holds_a_transition(tmp_path):
    sampler = SequenceSampler(write(tmp_path, 9, 3), sequence_length=4, batch_size=18_000)
    starts = Counter(sampler.batch(0).obs[:, 0, 0].int().tolist())
    assert set(starts) == {*range(9), 100, 101, 102}
    assert all(starts[t] == pytest.approx(4000 if t in (0, 100) else 1000, rel=0.1) for t in starts)


def test_endings_come_as_often_at_every_position_of_a_window_as_they_were_recorded(tmp_path):
    lengths = np.random.default_rng(0).geometric(0.05, 100).clip(max=99)
    batch = SequenceSampler(write(tmp_path, *lengths), sequence_length=30, batch_size=50_000).batch(0)
    hazard = np.array([(lengths == t + 1).sum() / max((lengths > t).sum(), 1) for t in range(100)], np.float32)
    expected = batch.mask * torch.from_numpy(hazard)[batch.obs[:, :-1, 0].long() % 100]
    assert batch.terminated.sum(0).tolist() == pytest.approx(expected.sum(0).tolist(), rel=0.15)


def test_ending_share_places_terminations_anywhere_in_the_window(tmp_path):
    dataset = write(tmp_path, 200)
    share = SequenceSampler(dataset, sequence_length=4, batch_size=4000, ending_share=0.5).batch(0).terminated
    assert share.sum(1).mean() == pytest.approx(0.5, abs=0.04)
    assert share.mean(0).tolist() == pytest.approx([0.125] * 4, abs=0.02)
    none = SequenceSampler(dataset, sequence_length=4, batch_size=4000).batch(0).terminated
    assert none.sum(1).mean() == pytest.approx(4 / 203, abs=0.01)


def test_a_forced_ending_keeps_the_episode_before_it_and_pads_behind_it(tmp_path):
    batch = SequenceSampler(write(tmp_path, 6, 2), sequence_length=4, batch_size=500, ending_share=0.9).batch(0)
    now = batch.obs[:, :-1, 0]
    recorded = batch.mask.bool()
    assert torch.equal(batch.reward[recorded], (now + 1)[recorded])
    assert not batch.terminated[~recorded].any()
    assert torch.equal(batch.is_first, (now[:, 0] == 0) | (now[:, 0] == 100))
    assert not recorded.all()


def test_ending_share_without_any_recorded_termination_draws_ordinary_windows(tmp_path):
    batch = SequenceSampler(write(tmp_path, 6, terminated=False), 4, 100, ending_share=0.5).batch(0)
    assert not batch.terminated.any()
    assert 0.5 < batch.mask.mean() < 1


def test_batches_depend_on_seed_and_step_alone(tmp_path):
    dataset = write(tmp_path, 50, 30)
    one, two = (SequenceSampler(dataset, 4, 8, ending_share=0.3, seed=1) for _ in range(2))
    for step in (0, 1, 2):
        one.batch(step)
    for name, value in vars(one.batch(3)).items():
        assert torch.equal(value, getattr(two.batch(3), name))
    assert not torch.equal(one.batch(3).obs, one.batch(4).obs)
    assert not torch.equal(one.batch(3).obs, SequenceSampler(dataset, 4, 8, ending_share=0.3, seed=2).batch(3).obs)


def test_sequence_length_0_gives_every_single_observation(tmp_path):
    batch = SequenceSampler(write(tmp_path, 3, 1), sequence_length=0, batch_size=500).batch(0)
    assert batch.obs.shape == (500, 1, 2)
    assert batch.action.shape == (500, 0, 3)
    assert batch.reward.shape == batch.mask.shape == (500, 0)
    assert set(batch.obs[:, 0, 0].tolist()) == {0, 1, 2, 3, 100, 101}
    endings = SequenceSampler(write(tmp_path / "b", 300), 0, 500, ending_share=0.9).batch(0)
    assert (endings.obs[:, 0, 0] == 300).float().mean() > 0.8


def test_precomputed_inputs_replace_the_observations_they_were_made_of(tmp_path):
    dataset = write(tmp_path, 20, 2)
    inputs = torch.cat([obs * 10 for obs in iterate_obs(dataset, batch_size=7)])
    plain = SequenceSampler(dataset, 4, 32, ending_share=0.3).batch(5)
    given = SequenceSampler(dataset, 4, 32, ending_share=0.3, inputs=inputs).batch(5)
    assert torch.equal(given.obs, plain.obs * 10)
    assert torch.equal(given.reward, plain.reward)


def test_iterate_obs_gives_all_observations_in_order(tmp_path):
    dataset = write(tmp_path, 5, 1, 3)
    batches = list(iterate_obs(dataset, batch_size=5))
    assert [len(batch) for batch in batches] == [5, 5, 2]
    everything = torch.cat(batches)
    for i, episode in enumerate(dataset):
        offset = dataset.obs_offset(i)
        assert torch.equal(everything[offset : offset + len(episode) + 1], torch.tensor(episode.obs))


def test_pictures_arrive_in_model_units(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (4, 8, 6, 3), np.uint8)
    with DatasetWriter(tmp_path, "Toy-v0", spaces.Box(0, 255, (8, 6, 3), np.uint8), spaces.Discrete(2)) as writer:
        writer.add(Episode(frames, np.zeros(3, int), np.zeros(3), False, True))
    batch = SequenceSampler(Dataset(tmp_path), 3, 2).batch(0)
    expected = torch.from_numpy(frames).permute(0, 3, 1, 2) / 255
    torch.testing.assert_close(batch.obs, expected.expand(2, -1, -1, -1, -1))


def test_dict_observations(tmp_path):
    space = spaces.Dict({"x": spaces.Box(0, 9, (1,)), "k": spaces.Discrete(3)})
    obs = {"x": np.arange(3, dtype=np.float32)[:, None], "k": np.arange(3)}
    with DatasetWriter(tmp_path, "Toy-v0", space, spaces.Discrete(2)) as writer:
        writer.add(Episode(obs, np.zeros(2, int), np.zeros(2), False, True))
    batch = SequenceSampler(Dataset(tmp_path), 4, 1).batch(0)
    assert batch.obs["x"][0, :, 0].tolist() == [0, 1, 2, 2, 2]
    assert batch.obs["k"].argmax(-1).tolist() == [[0, 1, 2, 2, 2]]
    assert sum(len(part["x"]) for part in iterate_obs(Dataset(tmp_path), 2)) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sequence_length": -1}, "sequence_length is -1"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"ending_share": 1.0}, "ending_share is 1.0"),
        ({"inputs": torch.zeros(5, 2)}, "inputs has 5 rows; the dataset has 4 observations"),
    ],
)
def test_arguments_out_of_range_are_refused(tmp_path, arguments, message):
    with pytest.raises(InvalidArgument, match=message):
        SequenceSampler(**{"dataset": write(tmp_path, 3), "sequence_length": 2, "batch_size": 2, **arguments})


def test_an_empty_side_of_a_split_is_refused(tmp_path):
    with pytest.raises(InvalidDataset, match="0 episodes to draw from"):
        SequenceSampler(write(tmp_path, 3)[:0], 2, 2)


@pytest.mark.parametrize("ending_share", [0.0, 0.5])
def test_the_source_of_a_window_names_its_folder_episode_and_place(tmp_path, ending_share):
    write(tmp_path / "a", 9, 3)
    write(tmp_path / "b", 5)
    sampler = SequenceSampler(Dataset([tmp_path / "a", tmp_path / "b"]), 4, 40, ending_share)
    obs = sampler.batch(7).obs  # the first observation of a window says 100 times the episode, plus the place
    sources = sampler.sources(7)
    assert len(sources) == 40
    for source, first in zip(sources, obs[:, 0, 0].int().tolist(), strict=True):
        folder = "b" if source.startswith(str(tmp_path / "b")) else "a"
        assert source == f"{tmp_path / folder}: '{first // 100:03d}' from {first % 100}"
    assert {source.partition(":")[0] for source in sources} == {str(tmp_path / "a"), str(tmp_path / "b")}
