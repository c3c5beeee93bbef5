"""The episode that is being played, as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dreamgym.data.episodes import ArrayObs, Episode

Obs = np.ndarray | Mapping[str, np.ndarray]
"""One observation in env units, or the parts of one of a Dict space."""


class Trail:
    """What was seen and done since an episode began; it can be cut short, as by rewinding.

    Args:
        obs: the first observation.
        meta: of the episode, see `Episode`.
    """

    def __init__(self, obs: Obs, meta: Mapping[str, Any] | None = None) -> None:
        self.meta = dict(meta or {})
        self._obs = [_copy(obs)]
        self._steps: list[tuple[np.ndarray, float, bool, bool]] = []

    def add(self, action: Any, reward: float, terminated: bool, truncated: bool, obs: Obs) -> None:
        """Append a step: what was done, and what it led to."""
        assert not self.over, "the episode has ended; nothing can follow"
        self._steps.append((np.array(action), float(reward), bool(terminated), bool(truncated)))
        self._obs.append(_copy(obs))

    def cut(self, length: int) -> None:
        """Forget all but the first `length` steps."""
        del self._steps[length:], self._obs[length + 1 :]

    def copy(self) -> Trail:
        """Return a trail that goes its own way from here; what lies behind is shared."""
        other = object.__new__(Trail)
        other.meta, other._obs, other._steps = dict(self.meta), self._obs.copy(), self._steps.copy()
        return other

    def __len__(self) -> int:
        """Return how many steps there are."""
        return len(self._steps)

    @property
    def over(self) -> bool:
        """Whether the last step ended the episode."""
        return bool(self._steps) and (self._steps[-1][2] or self._steps[-1][3])

    def episode(self) -> Episode | None:
        """Return the steps as an episode, cut off where it has not ended; None if there are no steps."""
        if not self._steps:
            return None
        actions, rewards, terminated, truncated = zip(*self._steps, strict=True)
        return Episode(
            obs=_stack(self._obs),
            action=np.stack(actions),
            reward=np.array(rewards, np.float32),
            terminated=terminated[-1],
            truncated=truncated[-1] or not terminated[-1],
            meta=dict(self.meta),
        )


def _copy(obs: Obs) -> Obs:
    """Return a copy: an env may reuse its arrays."""
    return {name: np.array(part) for name, part in obs.items()} if isinstance(obs, Mapping) else np.array(obs)


def _stack(all_obs: list[Obs]) -> ArrayObs:
    first = all_obs[0]
    if isinstance(first, Mapping):
        return {name: np.stack([obs[name] for obs in all_obs]) for name in first}  # type: ignore[call-overload]
    return np.stack(all_obs)  # type: ignore[arg-type]
