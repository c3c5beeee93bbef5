"""The table of counts: what was recorded is what is dreamed, as often as it was recorded."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

import dreamgym  # noqa: F401  registers the envs
from dreamgym.core.model import SequenceBatch
from dreamgym.core.starts import make_start_bank
from dreamgym.data.episodes import Dataset, Episode
from dreamgym.data.writer import DatasetWriter
from dreamgym.errors import InvalidArgument, UnsupportedSpace
from dreamgym.hub import load, save_dream
from dreamgym.models.tabular import Config, State, Tabular
from dreamgym.training.run import TrainConfig, fit

STATES, ACTIONS = spaces.Discrete(4), spaces.Discrete(2)


def batch(*steps):
    """Return one window of a transition for each (state, action, reward, terminated, next state)."""
    states, actions, rewards, ended, after = zip(*steps, strict=True)
    one_hot = torch.nn.functional.one_hot
    return SequenceBatch(
        obs=one_hot(torch.tensor([states, after]).t(), 4).float(),
        action=one_hot(torch.tensor(actions)[:, None], 2).float(),
        reward=torch.tensor(rewards, dtype=torch.float32)[:, None],
        terminated=torch.tensor(ended, dtype=torch.float32)[:, None],
        mask=torch.ones(len(steps), 1),
        is_first=torch.zeros(len(steps), dtype=torch.bool),
    )


def table(*steps, **config):
    model = Tabular(Config(**config), STATES, ACTIONS)
    model.learn(batch(*steps))
    return model


def dream(model, state, action, lanes=4000, **options):
    """Return next states, rewards and terminations of many dreams of one pair, over evenly spread noise."""
    noise = torch.special.ndtri((torch.arange(lanes) + 0.5) / lanes)[:, None]
    actions = torch.eye(2)[action].expand(lanes, 2)
    return model.step(State(torch.full((lanes,), state)), actions, noise, **options)


def test_outcomes_come_as_often_as_they_were_recorded_and_keep_their_rewards():
    model = table((0, 1, 1.0, 0, 1), (0, 1, 1.0, 0, 1), (0, 1, 1.0, 0, 1), (0, 1, -2.0, 1, 3), (2, 0, 5.0, 0, 0))
    out = dream(model, 0, 1)
    left = out.state.index == 3
    assert left.float().mean() == pytest.approx(0.25, abs=1e-3)
    assert torch.equal(out.reward, torch.where(left, -2.0, 1.0))
    assert torch.equal(out.termination, left.float())
    assert set(out.info["visits"].tolist()) == {4}


def test_a_pair_that_was_never_recorded_leads_nowhere_and_says_so():
    out = dream(table((0, 1, 1.0, 0, 1)), 2, 1)
    assert set(out.state.index.tolist()) == {2}
    assert not out.reward.any()
    assert not out.termination.any()
    assert not out.info["visits"].any()


def test_temperature_divides_the_logarithms_of_the_counts():
    model = table(*[(0, 0, 0.0, 0, 1)] * 9, (0, 0, 0.0, 0, 2))
    seen = [float((dream(model, 0, 0, temperature=t).state.index == 2).float().mean()) for t in (0.5, 1.0, 2.0)]
    expected = [1 / (1 + 9 ** (1 / t)) for t in (0.5, 1.0, 2.0)]
    assert seen == pytest.approx(expected, abs=1e-3)


def test_counting_in_pieces_is_counting_at_once():
    steps = [(0, 1, 1.0, 0, 1), (1, 0, 0.0, 0, 0), (0, 1, 1.0, 0, 2), (0, 1, 1.0, 0, 1), (3, 1, 0.5, 1, 3)]
    for decay in (1.0, 0.5, 0.0):
        whole, pieces = table(*steps, decay=decay), Tabular(Config(decay=decay), STATES, ACTIONS)
        for step in steps:
            pieces.learn(batch(step))
        for state, action in ((0, 1), (1, 0), (3, 1)):
            a, b = (torch.bincount(dream(m, state, action).state.index, minlength=4) for m in (whole, pieces))
            assert torch.equal(a, b)


def test_without_memory_the_last_outcome_alone_is_dreamed():
    model = table((0, 1, 1.0, 0, 1), (0, 1, 0.0, 0, 0), decay=0.0)
    assert set(dream(model, 0, 1).state.index.tolist()) == {0}


def test_padding_is_not_counted():
    model, padded = Tabular(Config(), STATES, ACTIONS), batch((0, 1, 1.0, 0, 1), (1, 1, 1.0, 0, 1))
    padded.mask[1] = 0
    model.learn(padded)
    assert model.visits.sum() == 1


def test_what_is_known_is_measured():
    model = table((0, 1, 1.0, 0, 1))
    figures = model.measure(batch((0, 1, 1.0, 0, 1), (0, 1, 9.0, 0, 1), (2, 0, 1.0, 0, 1)))
    assert figures["visited"].tolist() == [1, 1, 0]
    assert figures["known"].tolist() == [1, 0, 0]


def test_boxes_are_refused_by_name():
    with pytest.raises(
        UnsupportedSpace, match=r"observation space Box.* is not supported by tabular.*expected a Discr"
    ):
        Tabular(Config(), spaces.Box(0, 1, (2,)), ACTIONS)
    with pytest.raises(UnsupportedSpace, match="action space Box"):
        Tabular(Config(), STATES, spaces.Box(0, 1, (2,)))
    with pytest.raises(InvalidArgument, match=r"decay is 1.5; expected a number in \[0, 1\]"):
        Tabular(Config(decay=1.5), STATES, ACTIONS)


def record(folder, env_id, episodes=30, limit=60):
    """Return a dataset of random play."""
    env = gym.make(env_id)
    env.action_space.seed(0)
    with DatasetWriter(folder, env_id, env.observation_space, env.action_space) as writer:
        for i in range(episodes):
            obs, actions, rewards, ended = [env.reset(seed=i)[0]], [], [], False
            while not ended and len(actions) < limit:
                actions.append(env.action_space.sample())
                seen, reward, ended, _, _ = env.step(actions[-1])
                obs.append(seen)
                rewards.append(reward)
            arrays = np.array(obs), np.array(actions), np.array(rewards, np.float32)
            writer.add(Episode(*arrays, terminated=bool(ended), truncated=not ended), key=f"{i:04d}")
    return Dataset(folder)


def test_a_slippery_lake_is_dreamed_as_it_was_recorded(tmp_path):
    dataset = record(tmp_path / "data", "FrozenLake-v1")
    model = Tabular(Config(), dataset.observation_space, dataset.action_space)
    result = fit(model, dataset, tmp_path / "run", config=TrainConfig(holdout=0.1))
    assert 0.9 < result.validation["one pass"]["visited"] <= 1
    train = dataset.split(0.1)[0]
    assert int(model.visits.sum()) == sum(len(episode) for episode in train)
    folder = save_dream(tmp_path / "lake", model, make_start_bank(model, list(train), 50),
                        {"id": "lake", "real": "FrozenLake-v1", "max_episode_steps": 100})  # fmt: skip
    assert torch.equal(load(folder).model.counts, model.counts)
    env = gym.make("DreamEnv-v0", model=str(folder))
    obs, _ = env.reset(seed=3)
    assert obs == 0
    recorded = {(int(s), int(a), int(n)) for e in train for s, a, n in zip(e.obs, e.action, e.obs[1:], strict=False)}
    env.action_space.seed(0)
    ended = False
    while not ended:
        action = env.action_space.sample()
        after, _, terminated, truncated, info = env.step(action)
        assert (int(obs), int(action), int(after)) in recorded or info["visits"] == 0
        obs, ended = after, terminated or truncated
