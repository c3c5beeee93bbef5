"""Where everything lies in the window: arithmetic alone, in pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

SMALLEST = (480, 360)
"""A smaller window shows the upper left part of this one."""
NATURAL = (1280, 800)
"""The window at 100 %."""
LINE = 20  # the baseline grid; this and what follows is at 100 %
PANEL = 264
GAP = 20
CRISP = 0.75
"""Whole-number magnification is chosen where it fills at least this share of the width or height."""


class Rect(NamedTuple):
    """A rectangle of whole pixels; pygame takes it as one of its own."""

    left: int
    top: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """The first column beyond it."""
        return self.left + self.width

    @property
    def bottom(self) -> int:
        """The first row beyond it."""
        return self.top + self.height

    def holds(self, point: tuple[int, int]) -> bool:
        """Return whether a point lies in it."""
        return self.left <= point[0] < self.right and self.top <= point[1] < self.bottom


class Place(NamedTuple):
    """Where one picture is and the line above it."""

    caption: Rect
    picture: Rect


class Row(NamedTuple):
    """A widget of the panel and how much height it wants, in lines."""

    name: str
    least: float
    most: float
    rank: int
    """Where there is no room for all, the widgets of the highest rank go first."""


ROWS = (
    Row("state", 1.2, 1.2, 0),
    Row("temperature", 1.8, 1.8, 1),
    Row("rate", 1.8, 1.8, 1),
    Row("variant", 1.2, 1.2, 3),
    Row("reward", 2.4, 4.5, 2),
    Row("return", 2.4, 4.5, 4),
    Row("termination", 2.4, 4.5, 2),
    Row("disagreement", 2.4, 4.5, 5),
    Row("latent", 3.0, 9.0, 6),
)
"""From the top to the bottom of the panel; the foot is below them."""
NAMES = tuple(row.name for row in ROWS)


@dataclass(frozen=True)
class Layout:
    """Where everything lies."""

    size: tuple[int, int]
    scale: float
    panel: Rect
    places: tuple[Place, ...]
    widgets: dict[str, Rect]
    """Names of `ROWS`, and "foot": those that there is room for."""
    message: Rect

    @property
    def line(self) -> int:
        """Pixels between two baselines."""
        return round(LINE * self.scale)

    def rects(self) -> Iterator[Rect]:
        """Yield everything that must not overlap."""
        for place in self.places:
            yield from place
        yield from self.widgets.values()
        yield self.message


def natural_scale(size: tuple[int, int]) -> float:
    """Return how large type is in a window: 1 at 1280x800 and in smaller ones, 2 at 2560x1600, in quarters.

    >>> natural_scale((1280, 800)), natural_scale((1920, 1200)), natural_scale((480, 360))
    (1.0, 1.5, 1.0)
    """
    return max(1.0, math.floor(4 * min(size[0] / NATURAL[0], size[1] / NATURAL[1])) / 4)


def magnify(picture: tuple[int, int], room: tuple[int, int]) -> tuple[int, int]:
    """Return the size of a picture in some room: a whole number of times its own if that fills most of it.

    >>> magnify((64, 64), (700, 650)), magnify((600, 400), (900, 900)), magnify((600, 400), (300, 300))
    ((640, 640), (900, 600), (300, 200))
    """
    exact = min(room[0] / picture[0], room[1] / picture[1])
    factor = math.floor(exact) if exact >= 1 and math.floor(exact) >= CRISP * exact else exact
    return max(1, int(picture[0] * factor)), max(1, int(picture[1] * factor))


def arrange(
    size: tuple[int, int],
    pictures: Sequence[tuple[int, int]],
    widgets: Sequence[str] = NAMES,
    scale: float | None = None,
) -> Layout:
    """Return where everything lies.

    Args:
        size: of the window.
        pictures: widths and heights of the panes' pictures.
        widgets: names of the rows of the panel that there are.
        scale: of type and gaps; by default it follows the window.
    """
    size = max(size[0], SMALLEST[0]), max(size[1], SMALLEST[1])
    limit = min(size[0] / SMALLEST[0], size[1] / SMALLEST[1])
    scale = min(natural_scale(size) if scale is None else scale, limit)
    tight = min(1.0, limit / (2 * scale))  # small windows have small gaps
    gap, line = max(6, round(GAP * scale * tight)), round(LINE * scale)
    width = min(round(PANEL * scale), round(0.38 * size[0]))
    panel = Rect(size[0] - width, 0, width, size[1])
    foot = Rect(gap, size[1] - gap - line, panel.left - 2 * gap, line)
    stage = Rect(gap, gap, foot.width, foot.top - 2 * gap)
    inside = Rect(panel.left + gap, gap, width - 2 * gap, size[1] - 2 * gap)
    return Layout(size, scale, panel, _stage(stage, pictures, line, gap), _panel(inside, widgets, line, gap), foot)


def _stage(stage: Rect, pictures: Sequence[tuple[int, int]], line: int, gap: int) -> tuple[Place, ...]:
    """Return the grid in which the pictures are largest, in the middle of the stage."""
    caption = line + max(2, gap // 4)
    grids = [(n, math.ceil(len(pictures) / n)) for n in range(1, len(pictures) + 1) if len(pictures) % n == 0]

    def room(columns: int, rows: int) -> tuple[int, int]:
        wide = (stage.width - (columns - 1) * gap) // columns
        return max(1, wide), max(1, (stage.height - (rows - 1) * gap) // rows - caption)

    def filled(grid: tuple[int, int]) -> int:
        return sum(math.prod(magnify(picture, room(*grid))) for picture in pictures)

    columns, rows = max(reversed(grids), key=filled)
    sizes = [magnify(picture, room(columns, rows)) for picture in pictures]
    cell = max(width for width, _ in sizes), max(height for _, height in sizes) + caption
    left = stage.left + (stage.width - columns * cell[0] - (columns - 1) * gap) // 2
    top = stage.top + (stage.height - rows * cell[1] - (rows - 1) * gap) // 2
    found = []
    for i, (width, height) in enumerate(sizes):
        x, y = left + i % columns * (cell[0] + gap), top + i // columns * (cell[1] + gap)
        found.append(Place(Rect(x, y, cell[0], line), Rect(x + (cell[0] - width) // 2, y + caption, width, height)))
    return tuple(found)


def _panel(inside: Rect, widgets: Sequence[str], line: int, gap: int) -> dict[str, Rect]:
    """Return the rows from the top, as many as there is room for, and the foot at the bottom."""
    rows, between = [row for row in ROWS if row.name in widgets], max(gap // 2, 4)
    room = inside.height - line - between

    def height(least: bool) -> float:
        return sum((row.least if least else row.most) * line + between for row in rows)

    while rows and height(True) > room:
        rows.remove(max(rows, key=lambda row: row.rank))
    spare = room - height(True)
    share = min(1.0, spare / max(1.0, height(False) - height(True)))
    found, top = {}, inside.top
    for row in rows:
        tall = int(line * (row.least + share * (row.most - row.least)))
        found[row.name] = Rect(inside.left, top, inside.width, tall)
        top += tall + between
    found["foot"] = Rect(inside.left, inside.bottom - line, inside.width, line)
    return found
