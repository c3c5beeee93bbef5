"""The real twin of CarRacing dreams: Gymnasium's CarRacing-v3, four frames a decision, seen at 64x64.

Needs Box2D and pygame, which are imported by `make` and not before.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from dreamgym.errors import MissingExtra
from dreamgym.real.car_drivers import FULL_LOCK, Constant, FullGas, Pursuit, SmoothRandom, brake, coast, idle
from dreamgym.real.drivers import Driver

if TYPE_CHECKING:
    from dreamgym.real.car_pixels import CarPixels

ACTION_REPEAT = 4

DRIVERS: dict[str, Callable[[], Driver]] = {
    "pursuit": Pursuit,
    "random": SmoothRandom,
    "idle": idle,
    "coast": coast,
    "brake": brake,
    "full_gas": FullGas,
    "constant": Constant,
}
MIXTURE: dict[str, float] = {
    "pursuit": 0.74,
    "random": 0.12,
    "idle": 0.01,
    "coast": 0.02,
    "brake": 0.02,
    "full_gas": 0.06,
    "constant": 0.03,
}
PROBES = {
    "nothing": "constant:0,0,0",
    "full gas": "constant:0,1,0",
    "constant steering": "constant:0.1,0.3,0",
}
"""Policies whose score in a dream shows its holes, as `dreamgym eval` takes them."""

_RIGHT, _LEFT, _DOWN, _UP = range(1073741903, 1073741907)  # pygame's codes of the arrow keys
_STEER = {(): 0.0, (_LEFT,): -FULL_LOCK, (_RIGHT,): FULL_LOCK}
_PEDALS = {(): (0.0, 0.0), (_UP,): (0.4, 0.0), (_DOWN,): (0.0, 0.25)}
KEYS: dict[tuple[int, ...], np.ndarray] = {
    (*turn, *pedal): np.array([_STEER[turn], *_PEDALS[pedal]], np.float32) for turn in _STEER for pedal in _PEDALS
}
"""Arrow keys held -> `[steer, gas, brake]`; with none of them the car rolls.

They are gentler than the keys of Gymnasium's own game, full gas and a brake of 0.8, which spin the car in a second and
stop it in half of one: with these, the person in `tests/viewer/test_driving.py` is off the road half of the time.
"""


def make(render_mode: str | None = None) -> gym.Env:
    """Return CarRacing-v3 as its dreams show it, without a time limit; `gym.make("CarRacing64-v0")` sets 250 decisions.

    A step is one decision: the action holds for 4 frames (fewer where the episode ends), rewards are summed and only
    the last frame is drawn. Observations are `[64, 64, 3]` uint8, the env's 96x96 averaged by area, status bar and all.
    Actions are the env's own: `[steer -1..1, gas 0..1, brake 0..1]` float32.

    One thing differs from Gymnasium: a finished lap is `truncated`, not `terminated`, with `info["lap_finished"]` kept
    as it is. No pixel tells that this is the last tile, so a dream cannot predict it, and the road does go on. Leaving
    the playfield is `terminated`.

    Args:
        render_mode: None, "rgb_array" (600x400, one picture a decision) or "human" (a window, every frame).

    Raises:
        MissingExtra: if Box2D or pygame is not installed.
    """
    try:
        with warnings.catch_warnings():
            # Box2D's SWIG types warn while they load, and the interpreter crashes where warnings are errors
            warnings.simplefilter("ignore", DeprecationWarning)
            from dreamgym.real.car_pixels import CarPixels
    except (ImportError, gym.error.DependencyNotInstalled) as error:
        raise MissingExtra("the real CarRacing", "Box2D", "box2d") from error
    return CarDecisions(CarPixels(render_mode=render_mode))


class CarDecisions(gym.Wrapper):
    """CarRacing in decisions of several frames; see `make`."""

    env: CarPixels

    def __init__(self, env: CarPixels) -> None:
        super().__init__(env)
        self.observation_space = gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)
        self.metadata = {**env.metadata, "render_fps": round(env.metadata["render_fps"] / ACTION_REPEAT)}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Return the first observation of a new track."""
        obs, info = self.env.reset(seed=seed, options=options)
        return shrink(obs), info

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Return the outcome of one decision."""
        action = np.asarray(action, np.float32)
        total = 0.0
        for _ in range(ACTION_REPEAT):
            _, reward, terminated, truncated, info = self.env.step_without_drawing(action)
            total += reward
            if terminated or truncated:
                break
        if info.get("lap_finished"):
            terminated, truncated = False, True
        return shrink(self.env.draw()), float(total), terminated, truncated, info

    def get_keys_to_action(self) -> dict[tuple[int, ...], np.ndarray]:
        """Return what `gymnasium.utils.play` reads: `KEYS` without the action for no key, which it is told apart."""
        return {held: action for held, action in KEYS.items() if held}


def shrink(image: np.ndarray) -> np.ndarray:
    """Return a uint8 image `[3h, 3w, C]` averaged by area to `[2h, 2w, C]`, rounded to the nearest.

    Three pixels become two: each takes a whole outer pixel and half of the middle one.
    """
    rows = image.astype(np.uint16).reshape(-1, 3, *image.shape[1:])  # [h, 3, 3w, C]
    tall = _three_to_two(rows[:, 0], rows[:, 1], rows[:, 2], axis=1)  # [h, 2, 3w, C], times 3
    columns = tall.reshape(-1, image.shape[1] // 3, 3, image.shape[2])  # [2h, w, 3, C]
    wide = _three_to_two(columns[:, :, 0], columns[:, :, 1], columns[:, :, 2], axis=2)  # [2h, w, 2, C], times 9
    sums = wide.reshape(wide.shape[0], -1, image.shape[2])
    return ((sums + 4) // 9).astype(np.uint8)


def _three_to_two(first: np.ndarray, middle: np.ndarray, last: np.ndarray, axis: int) -> np.ndarray:
    return np.stack((2 * first + middle, middle + 2 * last), axis)
