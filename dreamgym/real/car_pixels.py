"""CarRacing with drawing on demand. Importing this module needs Box2D; `dreamgym.real.car_racing.make` does it."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.envs.box2d.car_racing import CarRacing


class CarPixels(CarRacing):
    """Gymnasium's CarRacing, whose `step_without_drawing` leaves the picture to a later `draw`.

    Drawing takes most of a frame's time, so an action repeat that shows only its last frame should draw only that one.
    """

    _drawing = True
    _reward_on_display = 0.0

    def step_without_drawing(self, action: np.ndarray) -> tuple[None, float, bool, bool, dict[str, Any]]:
        """Return what `step` returns, with None for the picture."""
        self._drawing = False
        try:
            return super().step(action)
        finally:
            self._drawing = True

    def draw(self) -> np.ndarray:
        """Return the picture `[96, 96, 3]` uint8 that `step` would have returned for the latest frame."""
        # `step` draws before it takes the frame's 0.1 off the score, and the score is in the picture
        score, self.reward = self.reward, self._reward_on_display
        try:
            return self._render("state_pixels")
        finally:
            self.reward = score

    def _render(self, mode: str) -> Any:
        if mode == "state_pixels":
            self._reward_on_display = self.reward
            if not self._drawing:
                return None
        return super()._render(mode)

    def render(self) -> np.ndarray | None:
        """Return the 600x400 picture in mode "rgb_array", else None."""
        return None if self.render_mode is None else super().render()
