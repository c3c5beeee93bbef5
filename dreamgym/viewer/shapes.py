"""Smooth shapes: pygame's own have ragged edges."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pygame

from dreamgym.viewer.colours import LINE, NEGATIVE, PANEL, POSITIVE, Colour, mix
from dreamgym.viewer.layout import Rect

FINER = 4  # times, before the edges are averaged


def rounded(surface: pygame.Surface, rect: Rect, radius: int, colour: Colour, edge: Colour | None = None) -> None:
    """Draw a filled rectangle with round corners, with another colour at its edge if one is given."""
    surface.blit(_rounded((rect.width, rect.height), radius, colour, edge), rect[:2])


@lru_cache(maxsize=256)
def _rounded(size: tuple[int, int], radius: int, colour: Colour, edge: Colour | None) -> pygame.Surface:
    large = pygame.Surface((size[0] * FINER, size[1] * FINER), pygame.SRCALPHA)
    large.fill((*(edge or colour), 0))
    shape = large.get_rect()
    if edge is not None:
        pygame.draw.rect(large, edge, shape, border_radius=radius * FINER)
        shape = shape.inflate(-2 * FINER, -2 * FINER)
    pygame.draw.rect(large, colour, shape, border_radius=max(0, radius * FINER - (FINER if edge else 0)))
    return pygame.transform.smoothscale(large, size)


def disc(surface: pygame.Surface, centre: tuple[int, int], radius: int, colour: Colour) -> None:
    """Draw a filled circle."""
    side = 2 * radius
    rounded(surface, Rect(centre[0] - radius, centre[1] - radius, side, side), radius, colour)


def curve(
    values: np.ndarray, size: tuple[int, int], low: float, high: float, colour: Colour, thickness: float, steps: int
) -> pygame.Surface:
    """Return a line through values, the newest at the right end, over a faint ground from zero on.

    Args:
        values: `[n]`, finite.
        size: of the picture.
        low, high: values at the bottom and at the top.
        colour: of the line.
        thickness: of the line in pixels.
        steps: values that the width has room for.
    """
    width, height = size
    span, inset = max(high - low, 1e-9), thickness / 2 + 0.5

    def rows(y: np.ndarray) -> np.ndarray:
        return inset + (1 - (y - low) / span) * (height - 1 - 2 * inset)

    zero = float(rows(np.clip(np.zeros(1), low, high))[0])
    pixels = np.empty((width, height, 3))
    pixels[:] = PANEL
    pixels[:, round(zero)] = LINE
    if len(values) > 0:
        age = (width - 1 - np.arange(width)) * (steps - 1) / max(width - 1, 1)  # of each column, in steps
        there = age <= max(len(values) - 1, 0)
        line = rows(np.interp(age, np.arange(len(values)), values[::-1].astype(float)))  # [width]
        slope = np.hypot(1, np.gradient(line)) if width > 1 else np.ones(width)
        y = np.arange(height)[None]  # [1, height]
        ink = np.clip(thickness / 2 + 0.5 - np.abs(y - line[:, None]) / slope[:, None], 0, 1) * there[:, None]
        low_edge, high_edge = np.minimum(line, zero)[:, None], np.maximum(line, zero)[:, None]
        ground = 0.16 * np.clip(y - low_edge + 0.5, 0, 1) * np.clip(high_edge - y + 0.5, 0, 1) * there[:, None]
        share = np.maximum(ink, ground)[..., None]
        pixels += share * (np.array(colour) - pixels)
    return pygame.surfarray.make_surface(pixels.astype(np.uint8))


_SHADES = np.array(
    [mix(PANEL, NEGATIVE, -i / 128) if i < 0 else mix(PANEL, POSITIVE, i / 127) for i in range(-128, 128)], np.uint8
)


def heat_map(values: np.ndarray, size: tuple[int, int]) -> pygame.Surface:
    """Return numbers as small fields row by row, dark at zero, of one hue above and another below it.

    Args:
        values: `[n]`; each is squeezed into -1 to 1 by tanh.
        size: that the picture has at most; it is as wide.
    """
    columns, rows = grid(len(values), size)
    shown = np.zeros(rows * columns)
    shown[: len(values)] = np.tanh(np.nan_to_num(values.astype(float)))[: len(shown)]
    shades = _SHADES[np.rint(shown * 127).astype(int) + 128].reshape(rows, columns, 3)
    small = pygame.surfarray.make_surface(shades.swapaxes(0, 1))
    return pygame.transform.scale(small, (size[0], min(size[1], max(1, round(rows * size[0] / columns)))))


def grid(count: int, size: tuple[int, int]) -> tuple[int, int]:
    """Return columns and rows of fields that are about square, with as few empty ones as that allows.

    >>> grid(512, (224, 120)), grid(6, (200, 100))
    ((32, 16), (4, 2))
    """
    ideal = max(1.0, np.sqrt(max(1, count) * size[0] / size[1]))
    shapes = [(n, -(-max(1, count) // n)) for n in range(int(np.ceil(ideal)), min(size[0], int(1.5 * ideal)) + 1)]
    return min(shapes or [(size[0], size[1])], key=lambda shape: (shape[0] * shape[1] - count, shape[0]))
