"""Dodge-v0, our own small environment: one world, shown as a Gymnasium env and as a vector env."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from gymnasium.wrappers import TimeLimit

from dreamgym.errors import InvalidAction, InvalidActionType, InvalidArgument, StepBeforeReset
from dreamgym.real.dodge_drivers import DRIVERS, MIXTURE
from dreamgym.real.dodge_sprites import SIZE
from dreamgym.real.dodge_world import DodgeWorld

__all__ = ["DRIVERS", "MAX_EPISODE_STEPS", "MIXTURE", "PROBES", "DodgeEnv", "DodgeVectorEnv", "make"]

MAX_EPISODE_STEPS = 300
RENDER_SCALE = 8  # screen pixels per pixel of the observation
METADATA: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 15}
PROBES = {"nothing": "constant:0", "always left": "constant:1"}
"""Policies whose score in a dream shows its holes, as `dreamgym eval` takes them."""


def make(render_mode: str | None = None) -> gym.Env:
    """Return the real twin of a Dodge dream: `DodgeEnv` with its time limit of 300 steps, and nothing else."""
    return TimeLimit(DodgeEnv(render_mode), MAX_EPISODE_STEPS)


class DodgeEnv(gym.Env[np.ndarray, np.integer]):
    """A ship at the bottom of the night sky; things come down at it. Survive.

    **Observation**: the picture, `[64, 64, 3]` uint8. **Actions**: 0 stay, 1 left, 2 right, by 3 pixels a step.

    **Reward**: 1 for each step survived. A hit pays 0 and terminates the episode; the last picture shows the explosion.
    After 300 steps `Dodge-v0` truncates it.

    **Things.** At each step one may appear at the top:

    - a grey *rock* falls straight, 3 pixels a step, from about where the ship is;
    - a fiery *comet*, 4 pixels a step, is aimed at where the ship is when it appears; it slants left or right or not at
      all, as its tail shows;
    - half of all are *branching things*: pink diamonds with a horn on either side, 3 pixels a step. A third of the way
      down, each tosses a coin, veers left or right by 15 pixels within 5 steps, and falls straight again, violet and
      without horns.

    Nothing in the picture tells how the coin will fall: it is tossed in the step in which the thing begins to veer. A
    Gaussian over the next pictures must therefore fail, where a mixture of two need not. All else follows from the
    picture: a thing's shape gives its velocity, so that only what appears, and where, has to be guessed.

    Lane `i` of a `DodgeVectorEnv` seeded with `s` plays exactly this game seeded with `s + i`.
    """

    metadata = METADATA

    def __init__(self, render_mode: str | None = None) -> None:
        _check_render_mode(render_mode)
        self.render_mode = render_mode
        self.observation_space = Box(0, 255, (SIZE, SIZE, 3), np.uint8)
        self.action_space = Discrete(3)
        self.world = DodgeWorld(1)
        self._ended: bool | None = None  # None until the first reset

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Return the first picture of a new episode and an empty info."""
        super().reset(seed=seed)
        if seed is not None:
            self.world.seed(0, seed)
        self.world.reset(np.array([0]))
        self._ended = False
        return self._picture(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Return picture, reward (1.0, or 0.0 for a hit), terminated, truncated (always False) and an empty info.

        Raises:
            InvalidAction: if the action is not 0, 1 or 2.
            StepBeforeReset: before the first reset, or after a hit.
        """
        if self._ended is not False:
            raise StepBeforeReset(_why_no_step("the episode has ended" if self._ended else "there was no reset yet"))
        if not self.action_space.contains(action):
            raise InvalidAction(f"action is {action!r}; Dodge-v0 expects 0 (stay), 1 (left) or 2 (right).")
        self._ended = bool(self.world.step(np.array([action]))[0])
        return self._picture(), 0.0 if self._ended else 1.0, self._ended, False, {}

    def render(self) -> np.ndarray | None:
        """Return the picture, eight times enlarged, `[512, 512, 3]` uint8; None without a render mode."""
        if self._ended is None:
            raise StepBeforeReset("render was called, but there was no reset yet; call reset first.")
        return _enlarge(self._picture()) if self.render_mode else None

    def get_keys_to_action(self) -> dict[tuple[str, ...], int]:
        """Return the keys of `gymnasium.utils.play`: a and d move the ship."""
        return {("a",): 1, ("d",): 2}

    def _picture(self) -> np.ndarray:
        return self.world.draw(np.array([0]))[0]


class DodgeVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """Many lanes of `DodgeEnv`, which explains the rules, in one array computation.

    It behaves as Gymnasium's `SyncVectorEnv` of single envs, in each autoreset mode, but steps all lanes at once.
    """

    def __init__(
        self,
        num_envs: int = 1,
        render_mode: str | None = None,
        max_episode_steps: int | None = MAX_EPISODE_STEPS,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    ) -> None:
        _check_render_mode(render_mode)
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.max_episode_steps = max_episode_steps
        self.autoreset_mode = _autoreset_mode(autoreset_mode)
        self.metadata = {**METADATA, "autoreset_mode": self.autoreset_mode}
        self.single_observation_space = Box(0, 255, (SIZE, SIZE, 3), np.uint8)
        self.single_action_space = Discrete(3)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.world = DodgeWorld(num_envs)
        self._lanes = np.arange(num_envs)
        self._ended: np.ndarray | None = None  # [B] bool, None until the first reset

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Return all pictures, `[B, 64, 64, 3]` uint8, after resetting every lane or those in `options["reset_mask"]`.

        Args:
            seed: an integer `s` seeds lane i with `s + i`; a list gives one seed or None for each lane.
            options: `reset_mask`, `[B]` bool with at least one True, resets only these lanes.

        Raises:
            InvalidArgument: if the seeds or the mask have a wrong length, or the mask is all False.
            TypeError: if the mask is no boolean array.
        """
        seeds = self._seeds(seed)
        mask = self._reset_mask(options)
        for lane, lane_seed in enumerate(seeds):
            if mask[lane] and lane_seed is not None:
                self.world.seed(lane, lane_seed)
        self.world.reset(np.flatnonzero(mask))
        self._ended = np.zeros(self.num_envs, bool) if self._ended is None else self._ended & ~mask
        return self.world.draw(self._lanes), {}

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Return pictures, rewards (float64), terminated, truncated (bool), `[B, ...]` each, and info.

        Raises:
            InvalidAction: if there is not one action a lane, each 0, 1 or 2.
            StepBeforeReset: before the first reset, or with autoreset disabled in a lane whose episode has ended.
        """
        actions = self._check_actions(actions)
        if self._ended is None:
            raise StepBeforeReset(_why_no_step("there was no reset yet"))
        resting = self._ended if self.autoreset_mode is AutoresetMode.NEXT_STEP else np.zeros(self.num_envs, bool)
        if self.autoreset_mode is AutoresetMode.DISABLED and self._ended.any():
            raise StepBeforeReset(
                _why_no_step(f"the episodes of lanes {np.flatnonzero(self._ended).tolist()} have ended")
            )
        terminated = self.world.step(actions) & ~resting
        self.world.reset(np.flatnonzero(resting))
        rewards = np.where(terminated | resting, 0.0, 1.0)
        truncated = np.zeros(self.num_envs, bool)
        if self.max_episode_steps is not None:
            truncated = self.world.time >= self.max_episode_steps
        self._ended = terminated | truncated
        info: dict[str, Any] = {}
        if self.autoreset_mode is AutoresetMode.SAME_STEP and self._ended.any():
            info = self._final_info(self._ended)
            self.world.reset(np.flatnonzero(self._ended))
        return self.world.draw(self._lanes), rewards, terminated, truncated, info

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Return each lane's picture, eight times enlarged; None without a render mode."""
        if self._ended is None:
            raise StepBeforeReset("render was called, but there was no reset yet; call reset first.")
        return tuple(_enlarge(picture) for picture in self.world.draw(self._lanes)) if self.render_mode else None

    def _final_info(self, ended: np.ndarray) -> dict[str, Any]:
        lanes = np.flatnonzero(ended)
        final_obs = np.full(self.num_envs, None, dtype=object)
        for lane, picture in zip(lanes, self.world.draw(lanes), strict=True):
            final_obs[lane] = picture
        return {"final_obs": final_obs, "_final_obs": ended.copy(), "final_info": {}, "_final_info": ended.copy()}

    def _check_actions(self, actions: Any) -> np.ndarray:
        actions = np.asarray(actions)
        expected = f"DodgeVectorEnv expects ({self.num_envs},) integers: 0 (stay), 1 (left) or 2 (right)."
        if actions.ndim == 0:
            raise InvalidActionType(f"action is the scalar {actions}; {expected}")
        if actions.shape != (self.num_envs,) or actions.dtype.kind not in "iu":
            raise InvalidAction(f"action has shape {actions.shape} and dtype {actions.dtype}; {expected}")
        if not ((actions >= 0) & (actions <= 2)).all():
            raise InvalidAction(f"action holds values from {actions.min()} to {actions.max()}; {expected}")
        return actions

    def _seeds(self, seed: int | list[int | None] | None) -> list[int | None]:
        seeds: list[int | None]
        if seed is None:
            seeds = [None] * self.num_envs
        elif isinstance(seed, int | np.integer):
            seeds = [int(seed) + lane for lane in range(self.num_envs)]
        else:
            seeds = list(seed)
        if len(seeds) != self.num_envs:
            raise InvalidArgument(
                f"seed has {len(seeds)} entries; give one integer, or one for each of {self.num_envs} lanes."
            )
        if any(lane_seed is not None and lane_seed < 0 for lane_seed in seeds):
            raise InvalidArgument(f"seed is {seed}; give integers that are not negative.")
        return seeds

    def _reset_mask(self, options: dict[str, Any] | None) -> np.ndarray:
        """Return the lanes to reset, `[B]` bool. The mask stays in the caller's dict: outer wrappers read it too."""
        if options is None or "reset_mask" not in options:
            return np.ones(self.num_envs, dtype=bool)
        mask = options["reset_mask"]
        expected = f"give a boolean array of shape ({self.num_envs},) with at least one True."
        if not isinstance(mask, np.ndarray):
            raise TypeError(f"options['reset_mask'] is of type {type(mask).__name__}; {expected}")
        if mask.dtype != np.bool_:
            raise TypeError(f"options['reset_mask'] has dtype {mask.dtype}; {expected}")
        if mask.shape != (self.num_envs,) or not mask.any():
            raise InvalidArgument(f"options['reset_mask'] has shape {mask.shape} and {mask.sum()} True; {expected}")
        if self._ended is None and not mask.all():
            raise StepBeforeReset(
                "options['reset_mask'] was given to the first reset; reset all lanes once, without it."
            )
        return mask


def _why_no_step(reason: str) -> str:
    return f"step was called, but {reason}; call reset first."


def _enlarge(picture: np.ndarray) -> np.ndarray:
    return picture.repeat(RENDER_SCALE, axis=0).repeat(RENDER_SCALE, axis=1)


def _check_render_mode(render_mode: str | None) -> None:
    if render_mode not in (None, *METADATA["render_modes"]):
        raise InvalidArgument(f"render_mode is {render_mode!r}; Dodge-v0 has 'rgb_array' or None.")


def _autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    """Return the mode for a member, its name ("NEXT_STEP") or its value ("NextStep"), which a spec keeps in JSON."""
    for member in AutoresetMode:
        if mode in (member, member.name, member.value):
            return member
    raise InvalidArgument(f"autoreset_mode is {mode!r}; give one of {[member.name for member in AutoresetMode]}.")
