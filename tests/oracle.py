"""Exact toy worlds: small enough to say by hand what every figure must be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from dreamgym.core import noise as noise_by_counter
from dreamgym.core.model import Obs, SequenceBatch, StageConfig, Transition, WorldModel
from dreamgym.core.tree import where
from dreamgym.data.episodes import Dataset, Episode
from dreamgym.data.writer import DatasetWriter
from dreamgym.testing.counting import (  # noqa: F401  exact as well, and shipped with the package
    BUTTONS,
    LEVER,
    NUMBERS,
    PICTURES,
    PICTURES64,
    Counted,
    CountingConfig,
    CountingWorld,
    counting_dream,
    counting_starts,
    counting_world,
)

PUSH = np.array([0.0, 0.5], np.float32)
TURN = np.array([[0.9, 0.2], [-0.2, 0.9]], np.float32)


@dataclass(frozen=True)
class LinearState:
    x: Tensor  # [B, 2]


class LinearWorld(WorldModel[LinearState], nn.Module):
    """Learns `obs' = TURN obs + PUSH action`, with reward `obs'[0]`, in two stages that both draw random numbers."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)
    noise_dim = feature_dim = 2
    stages: Mapping[str, StageConfig] = {
        "encoder": StageConfig(steps=60, batch_size=8, sequence_length=0, learning_rate=0.05),
        "dynamics": StageConfig(steps=60, batch_size=8, sequence_length=4, learning_rate=0.05),
    }

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.encoder = nn.Linear(2, 2)
            self.decoder = nn.Linear(2, 2)
            self.dynamics = nn.Linear(3, 2)
            self.reward = nn.Linear(2, 1)

    def initial(self, batch_size: int) -> LinearState:
        return LinearState(torch.zeros(batch_size, 2))

    def observe(
        self, state: LinearState, action: Tensor, obs: Obs, is_first: Tensor, noise: Tensor | None = None
    ) -> LinearState:
        return where(is_first, LinearState(self.encoder(obs)), LinearState(self.encoder(obs)))

    def step(
        self, state: LinearState, action: Tensor, noise: Tensor | None = None, temperature: float = 1.0
    ) -> Transition[LinearState]:
        x = self.dynamics(torch.cat([state.x, action], 1))
        return Transition(LinearState(x), self.reward(x)[:, 0], torch.zeros(len(x)))

    def features(self, state: LinearState) -> Tensor:
        return state.x

    def decode(self, state: LinearState) -> Obs:
        return self.decoder(state.x)

    def stage_parameters(self, stage: str) -> Iterable[nn.Parameter]:
        modules = (self.encoder, self.decoder) if stage == "encoder" else (self.dynamics, self.reward)
        return [parameter for module in modules for parameter in module.parameters()]

    @torch.no_grad()
    def stage_inputs(self, obs: Obs, stage: str) -> Tensor | None:
        return None if stage == "encoder" else self.encoder(obs)

    def loss(self, batch: SequenceBatch, stage: str) -> tuple[Tensor, dict[str, Tensor]]:
        if stage == "encoder":
            z = self.encoder(batch.obs)
            terms = {"error": (self.decoder(z + 0.01 * torch.randn_like(z)) - batch.obs).square().mean()}
        else:
            z = batch.obs + 0.01 * torch.randn_like(batch.obs)
            x = self.dynamics(torch.cat([z[:, :-1], batch.action], 2))
            terms = {
                "latent": (x - z[:, 1:]).square().mean(),
                "reward": (self.reward(x)[..., 0] - batch.reward).square().mean(),
            }
        return torch.stack(list(terms.values())).sum(), {name: term.detach() for name, term in terms.items()}


def record_linear_world(folder: Path, num_episodes: int = 12, length: int = 20) -> Dataset:
    """Return recorded episodes of the world that `LinearWorld` learns."""
    rng = np.random.default_rng(0)
    with DatasetWriter(folder, "Linear-v0", LinearWorld.observation_space, LinearWorld.action_space) as writer:
        for i in range(num_episodes):
            action = rng.uniform(-1, 1, (length, 1)).astype(np.float32)
            obs = [rng.normal(size=2).astype(np.float32)]
            for t in range(length):
                obs.append(TURN @ obs[t] + PUSH * action[t])
            episode = Episode(np.stack(obs), action, np.stack(obs)[1:, 0], terminated=False, truncated=True)
            writer.add(episode, key=f"{i:04d}")
    return Dataset(folder)


@dataclass(frozen=True)
class CountState:
    count: Tensor  # [B]


class CountingPictures(WorldModel[CountState]):
    """A grey picture that brightens by the action at each step, from black; it dreams `bias` too much."""

    observation_space = spaces.Box(0, 255, (4, 6, 3), np.uint8)
    action_space = spaces.Box(0, 1, (1,), np.float32)
    noise_dim = feature_dim = 1

    def __init__(self, bias: float = 0.0) -> None:
        self.bias = bias

    def initial(self, batch_size: int) -> CountState:
        return CountState(torch.zeros(batch_size))

    def observe(
        self, state: CountState, action: Tensor, obs: Obs, is_first: Tensor, noise: Tensor | None = None
    ) -> CountState:
        assert isinstance(obs, Tensor)
        return CountState(obs[:, 0, 0, 0])

    def step(
        self, state: CountState, action: Tensor, noise: Tensor | None = None, temperature: float = 1.0
    ) -> Transition[CountState]:
        count = state.count + action[:, 0] + self.bias
        return Transition(CountState(count), action[:, 0], torch.zeros_like(count))

    def features(self, state: CountState) -> Tensor:
        return state.count[:, None]

    def decode(self, state: CountState) -> Any:
        return state.count[:, None, None, None].expand(-1, 3, 4, 6)


def seed_of(starts: list[int], num_starts: int = 8) -> int:
    """Return a seed with which a lane begins its episodes in these starts of a bank of `num_starts`."""
    seeds = torch.arange(100_000)
    fits = torch.ones(len(seeds), dtype=torch.bool)
    for episode, start in enumerate(starts):
        uniform = noise_by_counter.uniform(seeds, noise_by_counter.START, torch.full_like(seeds, episode))
        fits &= (uniform * num_starts).long() == start
    return int(fits.nonzero()[0, 0])
