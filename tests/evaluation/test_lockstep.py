"""Real episodes played several at once: each is what it would be alone."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from dreamgym.core.tree import num_lanes
from dreamgym.envs.twin import make_real
from dreamgym.errors import InvalidArgument
from dreamgym.evaluation.lockstep import StateActor, play_in_lockstep
from dreamgym.hub import load


class Leaning:
    """Pushes the cart to the side on which a number of the state lies; it keeps what it sees."""

    def __init__(self) -> None:
        self.lanes: list[int] = []
        self.seeds: list[int] = []
        self.seen: list[torch.Tensor] = []

    def reset(self, seeds) -> None:
        self.seeds = list(seeds)

    def keep(self, lanes) -> None:
        self.seeds = [self.seeds[i] for i in lanes.tolist()]

    def act_on(self, state) -> np.ndarray:
        assert len(self.seeds) == num_lanes(state)
        self.lanes.append(num_lanes(state))
        self.seen.append(torch.cat([state.deter, state.stoch], 1))
        return (state.deter[:, 0] > 0).long().numpy()


@pytest.fixture(scope="module")
def dream():
    return load("DreamCartPole-v0", "rssm")  # whose state says more than an observation


def test_episodes_are_the_same_however_many_are_played_at_once(dream):
    alone, together = Leaning(), Leaning()
    assert isinstance(alone, StateActor)
    outcomes = play_in_lockstep(dream, alone, range(5))
    assert play_in_lockstep(dream, together, range(5), lanes=3) == outcomes
    assert len({outcome.length for outcome in outcomes}) > 1
    assert sum(alone.lanes) == sum(together.lanes) == sum(outcome.length for outcome in outcomes)
    assert together.lanes[0] == 3
    assert min(together.lanes) == 1
    assert all(outcome.terminated and outcome.total_reward == outcome.length for outcome in outcomes)


def test_the_actor_acts_on_the_filtered_state_of_the_real_env(dream):
    actor = Leaning()
    (outcome,) = play_in_lockstep(dream, actor, [7])
    env = make_real(dream, observation="features")
    features, _ = env.reset(seed=7)
    for seen in actor.seen:
        assert np.allclose(seen[0], features, atol=1e-6)
        features, _, terminated, *_ = env.step(int(seen[0, 0] > 0))
    assert terminated
    assert outcome.length == len(actor.seen)


def test_an_episode_that_reaches_the_time_limit_has_not_terminated():
    class Still(Leaning):
        def act_on(self, state) -> np.ndarray:
            return np.zeros((num_lanes(state), 1), np.float32)

    (outcome,) = play_in_lockstep(load("DreamPendulum-v0"), Still(), [0])
    assert (outcome.length, outcome.terminated) == (gym.spec("Pendulum-v1").max_episode_steps, False)


def test_no_lanes_are_refused(dream):
    with pytest.raises(InvalidArgument, match="lanes is 0; expected at least 1"):
        play_in_lockstep(dream, Leaning(), range(2), lanes=0)
