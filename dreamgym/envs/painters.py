"""Observations as pictures for people: those of image dreams as they are, others drawn by their real env or plotted."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

from dreamgym.core.spaces import is_image
from dreamgym.envs.twin import real_id
from dreamgym.errors import DreamgymError
from dreamgym.hub import LoadedDream

Painter = Callable[[Any, Any], np.ndarray]
"""Observation and action -> `[h, w, 3]` uint8."""

BACKGROUND, AXIS, BAR = (18, 20, 26), (70, 76, 90), (134, 170, 255)
SIDE = 400  # pixels of a plot


def make_painter(dream: LoadedDream, dark: bool = False) -> Painter:
    """Return what draws a dream's observations.

    Args:
        dream: whose observations.
        dark: whether those that the real env would draw on white are drawn on a dark ground.
    """
    space = dream.model.observation_space
    if is_image(space):
        return lambda obs, action: np.broadcast_to(obs, (*obs.shape[:2], 3))
    if isinstance(space, gym.spaces.Dict):
        for name, part in space.items():
            if is_image(part):
                return lambda obs, action: np.broadcast_to(obs[name], (*obs[name].shape[:2], 3))
        return lambda obs, action: plot(np.concatenate([np.ravel(obs[key]) for key in space]))
    try:
        name = real_id(dream)
    except DreamgymError:  # a dream without a real twin can still be seen
        name = ""
    if name not in RENDERED:
        return lambda obs, action: plot(np.ravel(obs))
    draw = RENDERED[name](name)
    return (lambda obs, action: darken(draw(obs, action))) if dark else draw


def cart_pole(name: str) -> Painter:
    """Return the painter of CartPole, whose observation is its state."""
    env = gym.make(name, render_mode="rgb_array").unwrapped
    env.reset(seed=0)

    def paint(obs: np.ndarray, action: Any) -> np.ndarray:
        env.state = obs.astype(float)  # type: ignore[attr-defined]
        return np.asarray(env.render())

    return paint


def pendulum(name: str) -> Painter:
    """Return the painter of Pendulum, which observes cosine and sine of its angle, and its speed."""
    env = gym.make(name, render_mode="rgb_array").unwrapped
    env.reset(seed=0)

    def paint(obs: np.ndarray, action: Any) -> np.ndarray:
        env.state = np.array([math.atan2(obs[1], obs[0]), obs[2]])  # type: ignore[attr-defined]
        env.last_u = None if action is None else float(np.ravel(action)[0])  # type: ignore[attr-defined]
        return np.asarray(env.render())

    return paint


RENDERED: dict[str, Callable[[str], Painter]] = {"CartPole-v1": cart_pole, "Pendulum-v1": pendulum}
"""Real ids -> painters that set the real env's state and let it draw; of these the observation says it all."""


def darken(picture: np.ndarray) -> np.ndarray:
    """Return a picture on white as one on `BACKGROUND`: what was light is dark, colours keep their hue."""
    pixels = picture.reshape(-1, 3)
    drawn = np.unique(np.flatnonzero(pixels != 255) // 3)  # little of a picture; the rest is quickly done
    ink = pixels[drawn].astype(np.int16)  # [n, 3]
    dark = np.tile(np.array(BACKGROUND, np.uint8), (len(pixels), 1))
    dark[drawn] = np.maximum(ink + 255 - ink.max(1, keepdims=True) - ink.min(1, keepdims=True), BACKGROUND)
    return dark.reshape(picture.shape)


def plot(values: np.ndarray) -> np.ndarray:
    """Return numbers `[n]` as bars around zero, each squeezed into -1 to 1 by tanh."""
    canvas = np.empty((SIDE, SIDE, 3), np.uint8)
    canvas[:] = BACKGROUND
    middle, margin = SIDE // 2, SIDE // 20
    reach = middle - margin
    pitch = (SIDE - 2 * margin) / max(1, len(values))
    for i, value in enumerate(np.tanh(np.nan_to_num(values.astype(float)))):
        left, right = margin + round(i * pitch), margin + round((i + 0.8) * pitch)
        top, bottom = sorted((middle, middle - round(reach * value)))
        canvas[top : max(bottom, top + 1), left : max(right, left + 1)] = BAR
    canvas[middle, margin:-margin] = AXIS
    return canvas
