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
from dreamgym.core.starts import StartBank
from dreamgym.core.tree import where
from dreamgym.data.episodes import Dataset, Episode
from dreamgym.data.writer import DatasetWriter
from dreamgym.hub import LoadedDream
from dreamgym.registry import register_model

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


@dataclass(frozen=True, kw_only=True)
class CountingConfig:
    lengths: tuple[int, ...] = (3, 5, 4, 6)
    """An episode from start i ends after `lengths[i % len(lengths)]` steps; 0 is never."""
    hazard: float = 0.0
    """Probability that any other step ends it."""
    diverge_above: float | None = None
    """The sum of actions above which a step leaves the finite numbers."""


@dataclass(frozen=True)
class Counted:
    start: Tensor  # [B] the number of the start in its bank
    t: Tensor  # [B] steps since then
    total: Tensor  # [B] sum of the actions since then, which no observation tells
    walk: Tensor  # [B] sum of the noise since then


class CountingWorld(WorldModel[Counted], nn.Module):
    """Step t of an episode earns `t + action / 10`; everything that it shows says which start and step it is.

    Observations are `(start, t, total, walk)`, or pictures whose red, green and blue are start, t and total.
    """

    config_class = CountingConfig
    noise_dim = 2
    feature_dim = 4

    def __init__(self, config: CountingConfig, observation_space: Any, action_space: Any) -> None:
        super().__init__()
        self.config, self.observation_space, self.action_space = config, observation_space, action_space
        self.tick = nn.Parameter(torch.ones(()), requires_grad=False)
        self.register_buffer("lengths", torch.tensor(config.lengths), persistent=False)

    def initial(self, batch_size: int) -> Counted:
        zeros = torch.zeros(batch_size)
        return Counted(zeros, zeros, zeros, zeros)

    def observe(
        self, state: Counted, action: Tensor, obs: Obs, is_first: Tensor, noise: Tensor | None = None
    ) -> Counted:
        assert isinstance(obs, Tensor)
        start = obs[:, 0, 0, 0].mul(255).round() if obs.ndim == 4 else obs[:, 0]
        walk = torch.zeros(len(start)) if noise is None else noise[:, 1]
        zeros = torch.zeros(len(start))
        later = Counted(start, state.t + self.tick, state.total + self._value(action), state.walk + walk)
        return where(is_first, Counted(start, zeros, zeros, walk), later)

    def step(
        self, state: Counted, action: Tensor, noise: Tensor | None = None, temperature: float = 1.0
    ) -> Transition[Counted]:
        noise = torch.randn(len(action), 2) if noise is None else noise
        value = self._value(action)
        t, total, walk = state.t + self.tick, state.total + value, state.walk + temperature**0.5 * noise[:, 0]
        if self.config.diverge_above is not None:
            total = torch.where(total > self.config.diverge_above, torch.nan, total)
        length = self.lengths[state.start.long() % len(self.lengths)]
        termination = torch.where(t == length, 1.0, self.config.hazard)
        info = {"pair": torch.stack([t, value], 1)}
        return Transition(Counted(state.start, t, total, walk), t + value / 10, termination, info)

    def features(self, state: Counted) -> Tensor:
        return torch.stack([state.start, state.t, state.total, state.walk], 1)

    def decode(self, state: Counted) -> Obs:
        if len(self.observation_space.shape) == 1:
            return self.features(state)
        colours = self.features(state)[:, :3] / 255
        return colours[:, :, None, None].expand(-1, -1, *self.observation_space.shape[:2])

    def _value(self, action: Tensor) -> Tensor:
        """Return what a Discrete action counts, or the first number of a Box action."""
        return action @ torch.arange(3.0) if isinstance(self.action_space, spaces.Discrete) else action[:, 0]


PICTURES64 = spaces.Box(0, 255, (64, 64, 3), np.uint8)
PICTURES = spaces.Box(0, 255, (4, 6, 3), np.uint8)
NUMBERS = spaces.Box(-np.inf, np.inf, (4,), np.float32)
BUTTONS = spaces.Discrete(3)
LEVER = spaces.Box(-2, 2, (1,), np.float32)

register_model("counting", "oracle:CountingWorld")


def counting_world(observation_space: Any = NUMBERS, action_space: Any = BUTTONS, **config: Any) -> CountingWorld:
    """Return a `CountingWorld`."""
    return CountingWorld(CountingConfig(**config), observation_space, action_space).eval()


def counting_starts(num_starts: int = 8) -> StartBank[Counted]:
    """Return a bank whose start i says i; the even ones open an episode."""
    number, zeros = torch.arange(num_starts, dtype=torch.float16), torch.zeros(num_starts, dtype=torch.float16)
    return StartBank(Counted(number, zeros, zeros, zeros), number % 2 == 0)


def counting_dream(
    observation_space: Any = NUMBERS,
    action_space: Any = BUTTONS,
    num_starts: int = 8,
    max_episode_steps: int | None = None,
    **config: Any,
) -> LoadedDream:
    """Return a dream of a `CountingWorld` with a number for each start."""
    card = (
        {"id": "Counting"} if max_episode_steps is None else {"id": "Counting", "max_episode_steps": max_episode_steps}
    )
    model = counting_world(observation_space, action_space, **config)
    return LoadedDream(model, counting_starts(num_starts), card)


def seed_of(starts: list[int], num_starts: int = 8) -> int:
    """Return a seed with which a lane begins its episodes in these starts of a bank of `num_starts`."""
    seeds = torch.arange(100_000)
    fits = torch.ones(len(seeds), dtype=torch.bool)
    for episode, start in enumerate(starts):
        uniform = noise_by_counter.uniform(seeds, noise_by_counter.START, torch.full_like(seeds, episode))
        fits &= (uniform * num_starts).long() == start
    return int(fits.nonzero()[0, 0])
