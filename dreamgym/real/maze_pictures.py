"""The pictures of the mazes: every field is drawn from shapes once, at import."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from dreamgym.real.dodge_sprites import Layer, Shape, blend, burst, disc

FIELD = 48  # pixels, the side of a field
_GROUND = np.array([17.0, 19.0, 32.0])


def rounded(side: float, radius: float, cx: float = 0.0, cy: float = 0.0) -> Shape:
    """Return the shape of a square with round corners, in pixels from the field's centre."""
    inner = side / 2 - radius
    return lambda x, y: np.hypot(np.maximum(np.abs(x - cx) - inner, 0), np.maximum(np.abs(y - cy) - inner, 0)) <= radius


_FLOOR: list[Layer] = [(rounded(46, 7), (33, 37, 58)), (rounded(43, 6), (37, 42, 65))]
_START: list[Layer] = [(disc(15), (70, 92, 130)), (disc(12.5), (37, 42, 65))]
_WALL: list[Layer] = [
    (rounded(46, 6, 0, 1), (66, 52, 82)),
    (rounded(44, 6, 0, -2), (126, 100, 140)),
    (rounded(41, 5, 0, -2.5), (108, 85, 124)),
]
_GOAL: list[Layer] = [
    (disc(21), (64, 60, 60)),
    (disc(17), (96, 82, 52)),
    (burst(5, 18, 7.5), (255, 200, 70)),
    (burst(5, 11, 5), (255, 238, 170)),
]
_AGENT: list[Layer] = [
    (disc(15.5), (38, 86, 118)),
    (disc(12.5), (64, 196, 224)),
    (disc(10, -1, -1.5), (120, 228, 244)),
    (disc(3.2, -3.5, -4.5), (244, 255, 255)),
]
_CRUMB: tuple[int, int, int] = (84, 190, 214)

_fields = {
    name: blend(layers, FIELD, _GROUND)[0]
    for name, layers in {
        "floor": _FLOOR, "wall": _WALL, "start": _FLOOR + _START, "goal": _FLOOR + _GOAL,
    }.items()
}  # fmt: skip


def draw(
    shape: tuple[int, int], walls: Collection[int], start: int, goal: int, agent: int, trail: Sequence[int] = ()
) -> np.ndarray:
    """Return a maze from above, `[rows * FIELD, columns * FIELD, 3]` uint8.

    Args:
        shape: rows and columns of fields; all others are counted row by row.
        walls: the fields that are walls.
        start, goal, agent: a field each.
        trail: the fields that the agent was on, the latest last: dots that fade.
    """
    rows, columns = shape
    kinds = (
        dict.fromkeys(range(rows * columns), "floor") | dict.fromkeys(walls, "wall") | {start: "start", goal: "goal"}
    )
    fields = np.stack([_fields[kinds[i]] for i in range(rows * columns)])  # [rows * columns, FIELD, FIELD, 3]
    for age, field in enumerate(reversed(trail)):
        dot = [(disc(1.5 + 3 * 0.9**age), _CRUMB)]
        fields[field] += 0.9**age * (blend(dot, FIELD, fields[field])[0] - fields[field])
    fields[agent] = blend(_AGENT, FIELD, fields[agent])[0]
    picture = fields.reshape(rows, columns, FIELD, FIELD, 3).swapaxes(1, 2).reshape(rows * FIELD, columns * FIELD, 3)
    return np.rint(picture).astype(np.uint8)
