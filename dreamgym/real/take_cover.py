"""The real twin of Doom dreams: VizDoom's TakeCover, four tics a decision, seen at 32x128 or 64x64.

Needs vizdoom, which brings the game and its data and is imported by `make` and not before.
"""

from __future__ import annotations

import tempfile
from multiprocessing.util import Finalize
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from dreamgym.errors import InvalidAction, InvalidArgument, MissingExtra, StepBeforeReset
from dreamgym.real.take_cover_drivers import DRIVERS, MIXTURE

if TYPE_CHECKING:
    from vizdoom import DoomGame

__all__ = ["DRIVERS", "KEYS", "MAX_EPISODE_STEPS", "MIXTURE", "PROBES", "TakeCover", "make"]

ACTION_REPEAT = 4
MAX_EPISODE_STEPS = 525  # decisions: 2,100 tics, a minute of play
BUTTONS = ([0, 0], [0, 1], [1, 0])
"""What each action presses of MOVE_LEFT and MOVE_RIGHT: nothing, right, left, as in `VizdoomTakeCover-v1`."""
ROWS = slice(72, 200)
"""Of the screen's 240: between them lies all that moves; above is ceiling, below are floor and status bar."""
SIZES = {"wide": (32, 128), "square": (64, 64)}
"""Height and width of an observation."""
PROBES = {"nothing": "constant:0", "sweep": "cycle:1x25,2x25"}
"""Policies whose score in a dream shows its holes, as `dreamgym eval` takes them; the sweep turns every 100 tics."""

_RIGHT, _LEFT = 1073741903, 1073741904  # pygame's codes of the arrow keys
KEYS: dict[tuple[int, ...], int] = {(): 0, (_RIGHT,): 1, (_LEFT,): 2}
"""Arrow keys held -> action."""


def make(render_mode: str | None = None, size: str = "wide") -> gym.Env:
    """Return TakeCover as its dreams show it; `gym.make("DoomTakeCover-v0")` adds the limit of 525 decisions.

    A step is one decision: the button is held for 4 tics (fewer where the episode ends), and each tic survived pays 1.
    Observations are the middle of the screen by area, uint8 `[32, 128, 3]`, or `[64, 64, 3]` for the 2018 model.
    Actions are 0 stay, 1 right, 2 left. Death is `terminated`, and its picture is that before it: the game shows none.

    Nothing but that picture, the size and the limit differs from `gym.make("VizdoomTakeCover-v1", frame_skip=4)`.

    Args:
        render_mode: None or "rgb_array" (the whole screen, 240x320).
        size: "wide" for 32x128, "square" for 64x64.

    Raises:
        InvalidArgument: if there is no such size or render mode.
        MissingExtra: if vizdoom is not installed.
    """
    return TakeCover(render_mode, size)


class TakeCover(gym.Env[np.ndarray, np.integer]):
    """Imps throw fireballs at a player who can only step aside; see `make`."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 9}  # noqa: RUF012  35 tics a second

    def __init__(self, render_mode: str | None = None, size: str = "wide") -> None:
        if render_mode not in (None, "rgb_array"):
            raise InvalidArgument(f"render_mode is {render_mode!r}; TakeCover has 'rgb_array' or None.")
        if size not in SIZES:
            raise InvalidArgument(f"size is {size!r}; expected one of {', '.join(map(repr, SIZES))}.")
        self.render_mode = render_mode
        self._size = SIZES[size]
        self.observation_space = gym.spaces.Box(0, 255, (*self._size, 3), np.uint8)
        self.action_space = gym.spaces.Discrete(len(BUTTONS))
        self._game = open_game()
        # a game outlives a process that forgets it, such as a worker of a pool, which runs no atexit handlers
        self._finalizer = Finalize(self, self._game.close, exitpriority=0)
        self._screen: np.ndarray | None = None  # [240, 320, 3] uint8, None until the first reset

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Return the first observation of a new episode and an empty info."""
        super().reset(seed=seed)
        self._game.set_seed(int(self.np_random.integers(2**32, dtype=np.uint32)))  # as VizDoom's own env does
        self._game.new_episode()
        self._screen = self._game.get_state().screen_buffer
        return self._obs(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Return the outcome of one decision; truncated is always False and the info empty.

        Raises:
            InvalidAction: if the action is not 0, 1 or 2.
            StepBeforeReset: before the first reset, or after a death.
        """
        if self._screen is None or self._game.is_episode_finished():
            raise StepBeforeReset("step was called, but no episode is under way; call reset first.")
        if not self.action_space.contains(action):
            raise InvalidAction(f"action is {action!r}; DoomTakeCover expects 0 (stay), 1 (right) or 2 (left).")
        reward = self._game.make_action(BUTTONS[action], ACTION_REPEAT)
        terminated = self._game.is_episode_finished()
        if not terminated:
            self._screen = self._game.get_state().screen_buffer
        return self._obs(), float(reward), terminated, False, {}

    def render(self) -> np.ndarray | None:
        """Return the whole screen `[240, 320, 3]` in mode "rgb_array", else None."""
        if self._screen is None:
            raise StepBeforeReset("render was called, but there was no reset yet; call reset first.")
        return None if self.render_mode is None else self._screen.copy()

    def close(self) -> None:
        """End the game's process."""
        self._finalizer()

    def get_keys_to_action(self) -> dict[tuple[int, ...], int]:
        """Return what `gymnasium.utils.play` reads: `KEYS` without the action for no key, which it is told apart."""
        return {held: action for held, action in KEYS.items() if held}

    def _obs(self) -> np.ndarray:
        assert self._screen is not None
        return shrink(self._screen[ROWS], self._size)


def open_game() -> DoomGame:
    """Return TakeCover as VizDoom ships it, running in a process of its own, without window or sound.

    Raises:
        MissingExtra: if vizdoom is not installed.
    """
    try:
        import vizdoom
    except ImportError as error:
        raise MissingExtra("the real TakeCover", "vizdoom", "doom") from error
    game = vizdoom.DoomGame()
    game.load_config(str(Path(vizdoom.scenarios_path) / "take_cover.cfg"))
    game.set_doom_config_path(str(Path(tempfile.gettempdir()) / "dreamgym-vizdoom.ini"))  # else the working folder's
    game.set_screen_format(vizdoom.ScreenFormat.RGB24)
    game.set_window_visible(False)
    game.init()
    return game


def shrink(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a uint8 image `[H, W, C]` averaged by area to `size`, rounded to the nearest.

    H is a multiple of the height; W is one of the width, or of half of it (5 pixels become 2, the middle one shared).
    """
    height, width = size
    down, across = image.shape[0] // height, 2 * image.shape[1] // width  # `across` pixels become two
    tall = image.reshape(height, down, *image.shape[1:]).sum(1, dtype=np.uint16)  # [h, W, C], times `down`
    columns = tall.reshape(height, width // 2, across, -1)
    half = across // 2
    left, right = columns[:, :, :half].sum(2), columns[:, :, across - half :].sum(2)  # [h, w / 2, C]
    shared = columns[:, :, half] if across % 2 else 0
    sums = np.stack((2 * left + shared, 2 * right + shared), 2).reshape(height, width, -1)  # times `down * across`
    return ((sums + down * across // 2) // (down * across)).astype(np.uint8)
