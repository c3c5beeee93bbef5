"""A dream and its real twin, stepped and shown alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode

from dreamgym.core.codec import encode_action
from dreamgym.core.tree import gather, tree_map
from dreamgym.envs.open import make_simulator, time_limit
from dreamgym.envs.simulator import Lanes
from dreamgym.envs.twin import make_real, real_id
from dreamgym.envs.view import View
from dreamgym.hub import LoadedDream
from dreamgym.wrappers.temperature import Temperature

Obs = Any
"""An observation in env units, or a Dict's parts."""


@dataclass(frozen=True)
class Moment:
    """What one step of one lane brought."""

    reward: float
    terminated: bool
    truncated: bool
    diverged: bool = False
    """The dream left the finite numbers and was cut off."""
    info: Mapping[str, float] | None = None
    """What a dream reports: `"termination"`, its probability, and `"disagreement"` where the model has it."""


class World(Protocol):
    """What can be played: one situation, or several lanes of one."""

    kind: str
    """`"dream"` or `"real"`."""
    name: str

    @property
    def lanes(self) -> int:
        """How many there are."""

    def reset(self, seed: int) -> None:
        """Begin an episode."""

    def step(self, action: Any) -> list[Moment]:
        """Go on by one step, with the same action in all lanes."""

    def observations(self) -> list[Obs]:
        """Return what is there to be seen, one for each lane."""

    def between(self, action: Any, phase: float) -> list[Obs]:
        """Return what is seen when a share `phase` in [0, 1) of the next step has passed."""

    def features(self) -> np.ndarray:
        """Return `[lanes, F]`, what a policy sees."""

    def close(self) -> None:
        """Let go of what the world holds."""


class DreamWorld:
    """Some lanes of a dream: one that is played, or a few futures of one situation.

    Args:
        dream: what is dreamed.
        temperature: of the dream, above 1 less certain.
    """

    kind = "dream"

    def __init__(self, dream: LoadedDream, temperature: float = 1.0) -> None:
        self.dream, self.name = dream, dream.name
        self.view = View(dream.model, "pixels", "numpy")
        self.temperature = temperature
        self._lanes: Lanes[Any] | None = None

    @property
    def temperature(self) -> float:
        """Of the dream; a change leaves the situation as it is."""
        return self._temperature

    @temperature.setter
    def temperature(self, temperature: float) -> None:
        warm = replace(self.dream, model=Temperature(self.dream.model, temperature))
        limit = time_limit(self.name, self.dream)
        self._simulator = make_simulator(warm, "first", limit, AutoresetMode.DISABLED, "draw")
        self._temperature = temperature

    @property
    def lanes(self) -> int:
        """How many there are."""
        return len(self.moment.done)

    @property
    def moment(self) -> Lanes[Any]:
        """All that there is to know of this moment; assigned, the world goes there."""
        assert self._lanes is not None, "no episode has begun"
        return self._lanes

    @moment.setter
    def moment(self, moment: Lanes[Any]) -> None:
        self._lanes = moment

    @torch.no_grad()
    def reset(self, seed: int) -> None:
        """Begin an episode where recorded ones began."""
        self._lanes = self._simulator.begin(torch.tensor([seed]))

    def step(self, action: Any) -> list[Moment]:
        """Dream one step with the same action in all lanes."""
        return self.step_each(self._repeat(action))

    @torch.no_grad()
    def step_each(self, actions: np.ndarray) -> list[Moment]:
        """Dream one step with an action for each lane, `[lanes, ...]`."""
        self._lanes, outcome = self._simulator.step(self.moment, encode_action(self.dream.model.action_space, actions))
        infos = {key: value.tolist() for key, value in outcome.info.items() if value.ndim == 1}
        columns = (outcome.reward, outcome.terminated, outcome.truncated, outcome.diverged)
        rows = enumerate(zip(*(column.tolist() for column in columns), strict=True))
        return [
            Moment(reward, terminated, truncated, diverged, {key: float(values[i]) for key, values in infos.items()})
            for i, (reward, terminated, truncated, diverged) in rows
        ]

    def observations(self) -> list[Obs]:
        """Return what the dream looks like now, one for each lane."""
        return self._draw(self.moment.state)

    def between(self, action: Any, phase: float) -> list[Obs]:
        """Return what is seen on the way to where the action held now would lead.

        The step is dreamed anew for each picture, by the random numbers that it will be dreamed with in the end: a key
        shows at once, and no picture ever has to be taken back.
        """
        return self.between_each(self._repeat(action), phase)

    @torch.no_grad()
    def between_each(self, actions: np.ndarray, phase: float) -> list[Obs]:
        """Return what is seen on the way to where the lanes' actions, `[lanes, ...]`, would lead."""
        before = self.moment.state
        after = self._simulator.step(self.moment, encode_action(self.dream.model.action_space, actions))[0].state
        return self._draw(tree_map(lambda a, b: a + phase * (b - a) if a.is_floating_point() else a, before, after))

    def features(self) -> np.ndarray:
        """Return `[lanes, F]`."""
        with torch.no_grad():
            return np.asarray(self.dream.model.features(self.moment.state).numpy())

    def follow(self, state: Any, elapsed: int) -> None:
        """Take over the state of a filter, one lane, so many steps into its episode: the dream goes on from there."""
        steps = torch.full_like(self.moment.elapsed, elapsed)
        self.moment = replace(self.moment, state=state, elapsed=steps, done=torch.zeros_like(self.moment.done))

    def fork(self, num: int, seed: int) -> DreamWorld:
        """Return as many futures of this situation."""
        futures = DreamWorld(self.dream, self.temperature)
        futures.moment = self._simulator.fork(self.moment, 0, torch.arange(num) + seed)
        return futures

    def only(self, lane: int) -> DreamWorld:
        """Return one of the lanes as a world of its own."""
        alone = DreamWorld(self.dream, self.temperature)
        alone.moment = gather(self.moment, torch.tensor([lane]))
        return alone

    def close(self) -> None:
        """Do nothing: a dream is only numbers."""

    def _repeat(self, action: Any) -> np.ndarray:
        return np.repeat(np.asarray(action)[None], self.lanes, 0)

    @torch.no_grad()
    def _draw(self, state: Any) -> list[Obs]:
        obs = self.view.observe(state)
        return [tree_map(lambda x, i=i: x[i], obs) if isinstance(obs, dict) else obs[i] for i in range(self.lanes)]


class RealWorld:
    """The environment that a dream was learned from, followed by the dream's filter.

    Args:
        dream: whose twin it is.
    """

    kind = "real"

    def __init__(self, dream: LoadedDream) -> None:
        self.name = real_id(dream)
        self._env: gym.Env[Any, Any] = make_real(dream, observation="both")
        self._before: Any = None
        self._now: Any = None

    @property
    def state(self) -> Any:
        """The world model's state after what was really seen."""
        return self._env.state  # type: ignore[attr-defined]

    @property
    def lanes(self) -> int:
        """How many there are: reality happens once."""
        return 1

    def reset(self, seed: int) -> None:
        """Begin an episode."""
        self._now, _ = self._env.reset(seed=seed)
        self._before = self._now

    def step(self, action: Any) -> list[Moment]:
        """Act in the environment."""
        self._before = self._now
        self._now, reward, terminated, truncated, _ = self._env.step(action)
        return [Moment(float(reward), bool(terminated), bool(truncated))]

    def observations(self) -> list[Obs]:
        """Return what the environment shows."""
        return [self._now["pixels"]]

    def between(self, action: Any, phase: float) -> list[Obs]:
        """Return the last two observations, the later one fading in: nobody knows what reality will look like."""
        return [fade(self._before["pixels"], self._now["pixels"], phase)]

    def features(self) -> np.ndarray:
        """Return `[1, F]`."""
        return np.asarray(self._now["features"][None])

    def close(self) -> None:
        """Close the environment."""
        self._env.close()


def fade(before: Obs, after: Obs, phase: float) -> Obs:
    """Return an observation between two, in their dtype."""
    if isinstance(before, dict):
        return {key: fade(before[key], after[key], phase) for key in before}
    if not np.issubdtype(before.dtype, np.floating) and before.ndim < 2:
        return before  # the number of a gear
    mixed = before + phase * (after.astype(np.float32) - before)
    return mixed.astype(before.dtype)
