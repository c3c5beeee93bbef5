"""Dyna-Q and Dyna-Q+: a table of values learned from what happens, and from what a world model says would happen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import Space, spaces

from dreamgym.core.codec import encode_action, encode_obs
from dreamgym.core.model import Obs, OnePass, SequenceBatch, WorldModel
from dreamgym.errors import InvalidArgument, InvalidModel, UnsupportedSpace


@dataclass(frozen=True, kw_only=True)
class DynaConfig:
    """How a `Dyna` learns; the defaults are those of example 8.1."""

    planning_steps: int = 50
    """n, updates from the model after each real step; 0 is plain Q-learning."""
    step_size: float = 0.1
    """Alpha, the share of an error that an update removes."""
    gamma: float = 0.95
    """Discount a step."""
    epsilon: float = 0.1
    """Share of real actions that are drawn at random."""
    kappa: float = 0.0
    """Reward that planning adds for a pair not tried for t real steps is this times sqrt(t); above 0 this is Dyna-Q+,
    which plans with untried actions, too."""

    def __post_init__(self) -> None:
        bounds = {"step_size": (0, 1), "gamma": (0, 1), "epsilon": (0, 1), "kappa": (0, math.inf)}
        for name, (low, high) in {**bounds, "planning_steps": (0, math.inf)}.items():
            if not low <= getattr(self, name) <= high:
                raise InvalidArgument(f"{name} is {getattr(self, name)}; expected a number in {low}..{high}.")


class Dyna:
    """Acts in a world of Discrete observations and actions, and teaches its model and itself with every real step.

    Planning draws a visited state and an action that was tried there, both evenly. The model does not depend on the
    values, so that one call of it answers for all planning steps of a real step; their updates follow each other.

    Args:
        model: a world model that takes transitions in as they happen, such as `tabular`.
        config: how it learns.
        seed: of its actions and of planning.

    Raises:
        UnsupportedSpace: if a space is no Discrete.
        InvalidModel: if the model cannot take single transitions in.

    Source: Sutton 1990, 1991; Sutton & Barto 2018, section 8.2 and 8.3. As there, untried actions lead nowhere in the
    model (that is what `tabular` says of them) and earn 0 besides the bonus.
    """

    def __init__(self, model: WorldModel[Any], config: DynaConfig | None = None, seed: int = 0) -> None:
        for name in ("observation_space", "action_space"):
            if not isinstance(getattr(model, name), spaces.Discrete):
                raise UnsupportedSpace(f"{name} is {getattr(model, name)}; Dyna keeps a table and expects a Discrete.")
        if not isinstance(model, OnePass):
            raise InvalidModel(
                f"{type(model).__name__} cannot take in a transition as it happens; expected a model with learn and "
                "measure (dreamgym.core.model.OnePass), such as tabular."
            )
        self.model, self.config, self._take_in = model, config or DynaConfig(), model.learn
        self._states, self._actions = _numbers(model.observation_space), _numbers(model.action_space)
        num_states, num_actions = len(self._states), len(self._actions)
        self._values = [[0.0] * num_actions for _ in range(num_states)]  # of lists: single numbers are read and set
        self._visited: list[int] = []
        self._tried: list[list[int]] = [[] for _ in range(num_states)]
        self._last = np.zeros((num_states, num_actions))  # the real step in which a pair was tried last
        self.steps = 0
        """Real steps so far."""
        # every observation and action in model units, so that a real step encodes nothing
        self._obs = _encoded(encode_obs(model.observation_space, np.array(self._states)))  # [S, S]
        self._one_hot = encode_action(model.action_space, np.array(self._actions))  # [A, A]
        n = self.config.planning_steps
        self._is_first = torch.ones(max(n, 1), dtype=torch.bool)
        self._mean = torch.zeros(n, model.noise_dim)
        self._rng = np.random.default_rng(seed)
        self._generator = torch.Generator().manual_seed(seed)

    @property
    def values(self) -> np.ndarray:
        """`[S, A]` float64, the value of each action in each state."""
        return np.array(self._values)

    def act(self, obs: Any, greedy: bool = False) -> int:
        """Return an action in env units: the one of the greatest value, ties broken by chance, or a random one.

        Args:
            obs: in env units.
            greedy: never a random one.
        """
        if not greedy and self._rng.random() < self.config.epsilon:
            return int(self._actions[self._rng.integers(len(self._actions))])
        values = self._values[int(obs) - self._states.start]
        best = max(values)
        among = [action for action, value in enumerate(values) if value == best]
        return self._actions[among[0] if len(among) == 1 else among[self._rng.integers(len(among))]]

    def learn(self, obs: Any, action: Any, reward: float, terminated: bool, next_obs: Any) -> None:
        """Learn from a real step, let the model learn from it, and plan.

        Args:
            obs, action: in env units.
            reward, terminated: what the action earned, and whether it ended the episode.
            next_obs: what followed.
        """
        state, next_state = int(obs) - self._states.start, int(next_obs) - self._states.start
        chosen = int(action) - self._actions.start
        self._update(state, chosen, float(reward), float(terminated), next_state)
        self.steps += 1
        self._last[state, chosen] = self.steps
        if not self._tried[state]:
            self._visited.append(state)
        if chosen not in self._tried[state]:
            self._tried[state].append(chosen)
        if self.config.planning_steps:
            self._teach(state, chosen, float(reward), float(terminated), next_state)
            self._plan()

    def _update(self, state: int, action: int, reward: float, termination: float, next_state: int) -> None:
        """Move a value towards what a step earned and led to (Watkins 1989)."""
        values, config = self._values[state], self.config
        target = reward + config.gamma * (1 - termination) * max(self._values[next_state])
        values[action] += config.step_size * (target - values[action])

    def _teach(self, state: int, action: int, reward: float, termination: float, next_state: int) -> None:
        self._take_in(
            SequenceBatch(
                obs=self._obs[None, [state, next_state]],  # [1, 2, S]
                action=self._one_hot[None, [action]],  # [1, 1, A]
                reward=torch.tensor([[reward]]),
                terminated=torch.tensor([[termination]]),
                mask=torch.ones(1, 1),
                is_first=self._is_first[:1],
            )
        )

    @torch.no_grad()
    def _plan(self) -> None:
        model, n = self.model, self.config.planning_steps
        choices = self._rng.random((n, 2)).tolist()
        states = [self._visited[int(u * len(self._visited))] for u, _ in choices]
        everything = range(len(self._actions))
        tried = [everything if self.config.kappa else self._tried[state] for state in states]
        actions = [among[int(u * len(among))] for among, (_, u) in zip(tried, choices, strict=True)]
        index, chosen = np.array(states), np.array(actions)
        action = self._one_hot[chosen]
        before = model.observe(model.initial(n), action, self._obs[index], self._is_first, self._mean)
        out = model.step(before, action, torch.randn(n, model.noise_dim, generator=self._generator))
        after = _encoded(model.decode(out.state)).argmax(1)
        bonus = self.config.kappa * np.sqrt(self.steps - self._last[index, chosen])
        rewards = out.reward.numpy() + bonus
        for step in zip(states, actions, rewards.tolist(), out.termination.tolist(), after.tolist(), strict=True):
            self._update(*step)


def _numbers(space: Space[Any]) -> range:
    """Return the elements of a Discrete."""
    assert isinstance(space, spaces.Discrete)
    return range(int(space.start), int(space.start + space.n))


def _encoded(x: Obs) -> torch.Tensor:
    assert isinstance(x, torch.Tensor)
    return x
