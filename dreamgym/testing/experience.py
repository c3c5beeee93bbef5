"""What a learner was handed in a counting world, checked number by number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dreamgym.testing.counting import CountingConfig


@dataclass(frozen=True, kw_only=True)
class Experience:
    """Steps of a `CountingWorld` as a library recorded them; `[T, B]` lanes side by side, in the order of time.

    A library that says less leaves `next_obs` out; one that steps only some lanes, or pads, masks the rest.
    """

    obs: np.ndarray
    """`[T, B, 4]`, before the action: the features start, t, total, walk."""
    action: np.ndarray
    """`[T, B]` or `[T, B, 1]`, as the learner chose it."""
    reward: np.ndarray
    """`[T, B]`."""
    terminated: np.ndarray
    """`[T, B]` bool."""
    truncated: np.ndarray
    """`[T, B]` bool."""
    next_obs: np.ndarray | None = None
    """`[T, B, 4]`, after the action and before any reset: the last observation where an episode ends."""
    valid: np.ndarray | None = None
    """`[T, B]` bool: the step is real; None says all are."""


@dataclass(frozen=True)
class Episodes:
    """What `check_experience` found."""

    returns: np.ndarray
    """`[N]` of the episodes that were seen from their first step to their last, lane by lane."""
    lengths: np.ndarray
    """`[N]` steps."""
    terminated: int
    """Ends, of all that were seen, by the world's own termination."""
    truncated: int
    """Ends by the time limit."""


def check_experience(
    seen: Experience, max_episode_steps: int | None = None, config: CountingConfig | None = None
) -> Episodes:
    """Return the episodes in recorded steps, after making sure that each step is what the world did.

    Args:
        seen: by the learner, in a dream of `counting_dream` with `observation="features"` and no hazard.
        max_episode_steps: of the env; none of the world's lengths may equal it, else an end would be both.
        config: of the world.

    Raises:
        AssertionError: at the first step that the world cannot have made, with lane, step and both versions: two
            spliced episodes, a reward or action off by one, a wrong flag or last observation.
    """
    lengths = (config or CountingConfig()).lengths
    limit = max_episode_steps or 0
    assert not limit or limit not in lengths, f"an episode of {limit} steps ends in two ways"
    steps, lanes = seen.reward.shape
    valid = np.ones((steps, lanes), bool) if seen.valid is None else seen.valid.astype(bool)
    action = seen.action.reshape(steps, lanes).astype(float)
    returns: list[float] = []
    counts: list[int] = []
    ends = {"terminated": 0, "truncated": 0}
    for lane in range(lanes):
        now: tuple[float, ...] | None = None  # start, t, total: where the lane must be
        whole, earned = False, 0.0
        for step in np.flatnonzero(valid[:, lane]):
            where = f"lane {lane}, step {step}"
            start, t, total = seen.obs[step, lane, :3].astype(float)
            if now is None:
                whole, earned = t == 0, 0.0
                if step > 0:
                    _same(where, "the first observation of an episode", (t, total), (0, 0))
            else:
                _same(where, "the observation", (start, t, total), now)
            value = action[step, lane]
            t, total, length = t + 1, total + value, lengths[int(start) % len(lengths)]
            _same(where, "the reward", seen.reward[step, lane], t + value / 10)
            if seen.next_obs is not None:
                _same(where, "the next observation", seen.next_obs[step, lane, :3], (start, t, total))
            over = {"terminated": t == length, "truncated": t == limit}
            for name, flag in over.items():
                _same(where, name, bool(getattr(seen, name)[step, lane]), flag)
                ends[name] += flag
            earned, now = earned + float(seen.reward[step, lane]), (start, t, total)
            if any(over.values()):
                if whole:
                    returns.append(earned)
                    counts.append(int(t))
                now = None
    return Episodes(np.array(returns), np.array(counts), ends["terminated"], ends["truncated"])


def _same(where: str, what: str, given: Any, expected: Any) -> None:
    same = np.allclose(np.asarray(given, float), np.asarray(expected, float), atol=1e-4)
    assert same, f"{where}: {what} is {_text(given)}; the world made it {_text(expected)}."


def _text(value: Any) -> str:
    return np.array2string(np.asarray(value), precision=4) if not isinstance(value, bool) else str(value)
