"""The mazes of Sutton & Barto's chapter on planning and learning: one stays as it is, two change their walls."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Discrete

from dreamgym.errors import InvalidAction, InvalidArgument, StepBeforeReset, UnknownName
from dreamgym.real.maze_pictures import draw

MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))
"""Row and column of the actions up, right, down, left."""
_TRAIL = 24  # fields of the present episode that are shown


@dataclass(frozen=True)
class Maze:
    """Walls (`#`), start (`S`) and goal (`G`), before and after some number of real steps."""

    before: tuple[str, ...]
    after: tuple[str, ...] | None = None
    change_after: int | None = None
    """Real steps after which the walls are those of `after`."""


_OPEN = (".........",)
_HALL_ABOVE = ("........G", *_OPEN * 2)
_HALL_BELOW = (*_OPEN, "...S.....")
MAZES = {
    "dyna": Maze((".......#G", "..#....#.", "S.#....#.", "..#......", ".....#...", ".........")),
    "blocking": Maze(
        (*_HALL_ABOVE, "########.", *_HALL_BELOW), (*_HALL_ABOVE, ".########", *_HALL_BELOW), change_after=1000
    ),
    "shortcut": Maze(
        (*_HALL_ABOVE, ".########", *_HALL_BELOW), (*_HALL_ABOVE, ".#######.", *_HALL_BELOW), change_after=3000
    ),
}


class MazeEnv(gym.Env[Any, Any]):
    """Find the way to the goal; in two of the mazes the way changes.

    **Observation**: the field, counted row by row from the upper left, one of 54. **Actions**: 0 up, 1 right, 2 down,
    3 left; a wall and the edge stop the move. **Reward**: 1 for reaching the goal, which ends the episode, else 0.

    **Mazes.** The shortest way takes 14 steps in `"dyna"`. In `"blocking"` it takes 10, until the gap in the wall
    closes after 1000 steps and another one opens, by which it takes 16. In `"shortcut"` it takes 16, until a second
    gap opens after 3000 steps, by which it takes 10: the old way stays, and whoever does not look never knows.

    The steps are those of all episodes since the last reset with a seed; nothing is drawn at random. There is no time
    limit.

    Args:
        maze: one of `MAZES`.
        change_after: real steps after which the walls change; by default as above.
        render_mode: "rgb_array" or None; `gym.make` makes "human" of it.

    Raises:
        UnknownName: if there is no such maze.
        InvalidArgument: if the maze never changes but a step is given, it is negative, or the render mode is unknown.

    Source: Sutton & Barto 2018, examples 8.1 to 8.3.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 15}  # noqa: RUF012  Gymnasium's own form

    def __init__(self, maze: str = "dyna", change_after: int | None = None, render_mode: str | None = None) -> None:
        if maze not in MAZES:
            raise UnknownName("maze", maze, MAZES)
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise InvalidArgument(f"render_mode is {render_mode!r}; expected 'rgb_array' or None.")
        self.maze, self.render_mode = MAZES[maze], render_mode
        if change_after is not None and (self.maze.after is None or change_after < 0):
            raise InvalidArgument(
                f"change_after is {change_after} for the maze {maze!r}; expected a maze that changes, and steps."
            )
        self.change_after = self.maze.change_after if change_after is None else change_after
        self.shape = len(self.maze.before), len(self.maze.before[0])
        self._before, self._after = (_walls(rows or ()) for rows in (self.maze.before, self.maze.after))
        letters = "".join(self.maze.before)
        self._start, self._goal = letters.index("S"), letters.index("G")
        self.observation_space = Discrete(len(letters))
        self.action_space = Discrete(len(MOVES))
        self.steps = 0
        """Real steps since the last reset with a seed."""
        self.s: int | None = None  # the field, by the name that it has in Gymnasium's own grids
        self._ended = False
        self._trail: deque[int] = deque(maxlen=_TRAIL)

    @property
    def walls(self) -> frozenset[int]:
        """The fields that are walls now."""
        return self._before if self.change_after is None or self.steps < self.change_after else self._after

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Return the start and an empty info; with a seed the walls are those of the beginning."""
        super().reset(seed=seed)
        if seed is not None:
            self.steps = 0
        self.s, self._ended = self._start, False
        self._trail.clear()
        return self.s, {}

    def step(self, action: Any) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """Return field, reward, terminated, truncated (always False) and an empty info.

        Raises:
            InvalidAction: if the action is not 0, 1, 2 or 3.
            StepBeforeReset: before the first reset, or after the goal.
        """
        if self.s is None or self._ended:
            reason = "there was no reset yet" if self.s is None else "the episode has ended"
            raise StepBeforeReset(f"step was called, but {reason}; call reset first.")
        if not self.action_space.contains(action):
            raise InvalidAction(f"action is {action!r}; expected 0 (up), 1 (right), 2 (down) or 3 (left).")
        rows, columns = self.shape
        row, column = (here + by for here, by in zip(divmod(self.s, columns), MOVES[int(action)], strict=True))
        field = row * columns + column
        self._trail.append(self.s)
        if 0 <= row < rows and 0 <= column < columns and field not in self.walls:
            self.s = field
        self.steps += 1
        self._ended = self.s == self._goal
        return self.s, float(self._ended), self._ended, False, {}

    def render(self) -> np.ndarray | None:
        """Return the maze from above, `[rows * 48, columns * 48, 3]` uint8; None without a render mode."""
        if self.render_mode is None:
            return None
        if self.s is None:
            raise StepBeforeReset("render was called, but there was no reset yet; call reset first.")
        return draw(self.shape, self.walls, self._start, self._goal, self.s, list(self._trail))

    def get_keys_to_action(self) -> dict[tuple[str, ...], int]:
        """Return the keys of `gymnasium.utils.play`: w, d, s and a."""
        return {("w",): 0, ("d",): 1, ("s",): 2, ("a",): 3}


def _walls(rows: tuple[str, ...]) -> frozenset[int]:
    return frozenset(i for i, letter in enumerate("".join(rows)) if letter == "#")
