"""A world that counts: everything that it shows and pays says which episode and step it belongs to.

Whatever stands between a dream and a learner (a bridge, a wrapper, a worker process) can be checked with it: two
episodes that were spliced, an action that came one step late or a last observation that got lost shows in the numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from dreamgym.core.model import Obs, Transition, WorldModel
from dreamgym.core.sampling import PerLane
from dreamgym.core.starts import StartBank
from dreamgym.core.tree import where
from dreamgym.hub import LoadedDream

PICTURES64 = spaces.Box(0, 255, (64, 64, 3), np.uint8)
PICTURES = spaces.Box(0, 255, (4, 6, 3), np.uint8)
NUMBERS = spaces.Box(-np.inf, np.inf, (4,), np.float32)
BUTTONS = spaces.Discrete(3)
LEVER = spaces.Box(-2, 2, (1,), np.float32)


@dataclass(frozen=True, kw_only=True)
class CountingConfig:
    """How long its episodes are."""

    lengths: tuple[int, ...] = (3, 5, 4, 6)
    """An episode from start i ends after `lengths[i % len(lengths)]` steps; 0 is never."""
    hazard: float = 0.0
    """Probability that any other step ends it."""
    diverge_above: float | None = None
    """The sum of actions above which a step leaves the finite numbers."""


@dataclass(frozen=True)
class Counted:
    """Where an episode stands, `[B]` each."""

    start: Tensor
    """The number of the start in its bank."""
    t: Tensor
    """Steps since then."""
    total: Tensor
    """Sum of the actions since then, as numbers."""
    walk: Tensor
    """Sum of the noise since then."""


class CountingWorld(WorldModel[Counted], nn.Module):
    """Step t of an episode earns `t + action / 10`; everything that it shows says which start and step it is.

    Observations are `(start, t, total, walk)`, or pictures whose red, green and blue are start, t and total.
    """

    config_class = CountingConfig
    noise_dim = 2
    feature_dim = 4
    lengths: Tensor

    def __init__(self, config: CountingConfig, observation_space: Any, action_space: Any) -> None:
        super().__init__()
        self.config, self.observation_space, self.action_space = config, observation_space, action_space
        self.tick = nn.Parameter(torch.ones(()), requires_grad=False)
        self.register_buffer("lengths", torch.tensor(config.lengths), persistent=False)

    def initial(self, batch_size: int) -> Counted:
        """Return zeros."""
        zeros = torch.zeros(batch_size)
        return Counted(zeros, zeros, zeros, zeros)

    def observe(
        self, state: Counted, action: Tensor, obs: Obs, is_first: Tensor, noise: Tensor | None = None
    ) -> Counted:
        """Return what an observation says of the start, and counts of our own."""
        assert isinstance(obs, Tensor)
        start = obs[:, 0, 0, 0].mul(255).round() if obs.ndim == 4 else obs[:, 0]
        walk = torch.zeros(len(start)) if noise is None else noise[:, 1]
        zeros = torch.zeros(len(start))
        later = Counted(start, state.t + self.tick, state.total + self._value(action), state.walk + walk)
        return where(is_first, Counted(start, zeros, zeros, walk), later)

    def step(
        self, state: Counted, action: Tensor, noise: Tensor | None = None, temperature: PerLane = 1.0
    ) -> Transition[Counted]:
        """Count on; `info["pair"]` is `[B, 2]`, the step and the action."""
        noise = torch.randn(len(action), 2) if noise is None else noise
        value = self._value(action)
        t, total, walk = state.t + self.tick, state.total + value, state.walk + (temperature**0.5 * noise[:, :1])[:, 0]
        if self.config.diverge_above is not None:
            total = torch.where(total > self.config.diverge_above, torch.nan, total)
        length = self.lengths[state.start.long() % len(self.lengths)]
        termination = torch.where(t == length, 1.0, self.config.hazard)
        info = {"pair": torch.stack([t, value], 1)}
        return Transition(Counted(state.start, t, total, walk), t + value / 10, termination, info)

    def features(self, state: Counted) -> Tensor:
        """Return `[B, 4]`: start, t, total, walk."""
        return torch.stack([state.start, state.t, state.total, state.walk], 1)

    def decode(self, state: Counted) -> Obs:
        """Return the features, or pictures in their colours."""
        shape = self.observation_space.shape
        assert shape is not None
        if len(shape) == 1:
            return self.features(state)
        colours = self.features(state)[:, :3] / 255
        return colours[:, :, None, None].expand(-1, -1, *shape[:2])

    def _value(self, action: Tensor) -> Tensor:
        """Return what a Discrete action counts, or the first number of a Box action."""
        return action @ torch.arange(3.0) if isinstance(self.action_space, spaces.Discrete) else action[:, 0]


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
    """Return a dream of a `CountingWorld` with a number for each start.

    Args:
        observation_space: `NUMBERS`, or pictures.
        action_space: `BUTTONS`, which count 0, 1 and 2, or `LEVER`, whose number counts.
        num_starts: at most 2,048, which 16 bits tell apart.
        max_episode_steps: the time limit in steps.
        **config: of `CountingConfig`.
    """
    card = (
        {"id": "Counting"} if max_episode_steps is None else {"id": "Counting", "max_episode_steps": max_episode_steps}
    )
    model = counting_world(observation_space, action_space, **config)
    return LoadedDream(model, counting_starts(num_starts), card)
