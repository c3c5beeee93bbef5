"""A rollout of PPO in which nobody dies, but what follows a danger counts for less."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from stable_baselines3.common.buffers import RolloutBuffer


class ExpectedEndings(RolloutBuffer):
    """A rollout whose returns are expectations over the ends of episodes that were not drawn.

    With p, how likely a step ended the episode, its reward is multiplied by 1 - p, and so is the discount of all that
    follows. The caller gives p by `note` before each `add`.
    """

    def reset(self) -> None:
        """Begin a rollout."""
        super().reset()
        self._termination = np.zeros((self.buffer_size, self.n_envs), np.float32)

    def note(self, termination: np.ndarray) -> None:
        """Take p `[B]` of the step that is added next."""
        self._termination[self.pos] = termination

    def add(self, obs: Any, action: Any, reward: np.ndarray, *rest: Any) -> None:
        """Add a step; SB3 has added to its reward the value of what a time limit cut off, which counts less, too."""
        super().add(obs, action, reward * (1 - self._termination[self.pos]), *rest)

    def compute_returns_and_advantage(self, last_values: torch.Tensor, dones: np.ndarray) -> None:
        """Compute lambda returns; SB3 reads from the next row, or `dones`, how much of the future is lost."""
        np.maximum(self.episode_starts[1:], self._termination[:-1], out=self.episode_starts[1:])
        super().compute_returns_and_advantage(last_values, np.maximum(dones, self._termination[-1]))
