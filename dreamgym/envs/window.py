"""A plain pygame window that tiles pictures; the viewer proper is `dreamgym play`."""

from __future__ import annotations

import math

import numpy as np


class Window:
    """Shows a batch of pictures at a steady rate.

    Args:
        title: of the window.
        fps: pictures a second at most.
    """

    def __init__(self, title: str, fps: float) -> None:
        import pygame

        self._pygame = pygame
        pygame.display.init()
        pygame.display.set_caption(title)
        self._clock = pygame.time.Clock()
        self._fps = fps
        self._surface: pygame.Surface | None = None

    def show(self, pictures: np.ndarray) -> None:
        """Draw `[B, H, W, 3]` uint8 pictures as a near-square mosaic."""
        mosaic = tile(pictures)
        size = mosaic.shape[1], mosaic.shape[0]
        if self._surface is None or self._surface.get_size() != size:
            self._surface = self._pygame.display.set_mode(size)
        self._pygame.surfarray.blit_array(self._surface, mosaic.swapaxes(0, 1))
        self._pygame.event.pump()
        self._pygame.display.flip()
        self._clock.tick(self._fps)

    def close(self) -> None:
        """Close the window."""
        self._pygame.display.quit()


def tile(pictures: np.ndarray) -> np.ndarray:
    """Return `[B, H, W, 3]` pictures as one near-square mosaic, empty places black.

    >>> tile(np.ones((5, 2, 2, 3), np.uint8)).shape
    (4, 6, 3)
    """
    count, height, width, channels = pictures.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    full = np.zeros((rows * columns, height, width, channels), pictures.dtype)
    full[:count] = pictures
    grid = full.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return grid.reshape(rows * height, columns * width, channels)
