"""What the window shows, as a video of a steady rate however unsteady the window is."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pygame

from dreamgym.errors import DreamgymError
from dreamgym.evaluation.video import Video
from dreamgym.viewer.colours import BACKGROUND

RATE = 30.0
"""Pictures a second of a video recorded while somebody plays."""
PIXELS = 1280 * 800
"""Of a picture at most: a larger window is recorded smaller, so that the encoder keeps up."""


class Recorder:
    """Records pictures while it is on.

    Args:
        rate: pictures a second of the video.
        preset: of the encoder, see `Video`.
    """

    def __init__(self, rate: float = RATE, preset: str = "veryfast") -> None:
        self.rate, self._preset = rate, preset
        self._video: Video | None = None
        self._size = (0, 0)
        self._count, self._owed = 0, 0.0  # pictures
        self.told: list[str] = []
        """How the recordings ended, for people."""

    @property
    def seconds(self) -> float | None:
        """How long the recording is, or None if it is off."""
        return None if self._video is None else self._count / self.rate

    def start(self, path: Path) -> str:
        """Begin a video and return what to tell the player.

        Raises:
            MissingExtra, NotWritable: as for `Video`.
        """
        self._video = Video(path, self.rate, self._preset)
        self._count, self._owed, self._size = 0, 1.0, (0, 0)
        return f"recording {self._video.path}"

    def add(self, surface: pygame.Surface, seconds: float) -> str:
        """Record what is shown for so many seconds, and return what to tell the player if that fails."""
        if self._video is None:
            return ""
        self._owed += seconds * self.rate
        if self._owed < 1:
            return ""
        if self._size == (0, 0):
            self._size = _recorded_size(*surface.get_size())
        frame = frame_of(_fit(surface, self._size))
        try:
            while self._owed >= 1:
                self._video.add(frame)
                self._count, self._owed = self._count + 1, self._owed - 1
        except (DreamgymError, OSError) as error:
            self._video = None
            return self._tell(f"the recording stopped: {error}")
        return ""

    def stop(self) -> str:
        """Complete the video and return what to tell the player."""
        video, self._video = self._video, None
        if video is None:
            return ""
        try:
            path = video.close()
        except (DreamgymError, OSError) as error:
            return self._tell(f"the recording is lost: {error}")
        return self._tell(f"{path} holds the recording") if path else "nothing was recorded"

    def _tell(self, message: str) -> str:
        self.told.append(message)
        return message


def frame_of(surface: pygame.Surface) -> np.ndarray:
    """Return a picture as `[H, W, 3]` uint8."""
    width, height = surface.get_size()
    return np.frombuffer(pygame.image.tobytes(surface, "RGB"), np.uint8).reshape(height, width, 3)


def _recorded_size(width: int, height: int) -> tuple[int, int]:
    factor = min(1.0, math.sqrt(PIXELS / (width * height)))
    return int(factor * width) // 2 * 2, int(factor * height) // 2 * 2


def _fit(surface: pygame.Surface, size: tuple[int, int]) -> pygame.Surface:
    """Return the picture in another size, within dark margins; a video has one size and a window may change its own."""
    if surface.get_size() == size:
        return surface
    factor = min(size[0] / surface.get_width(), size[1] / surface.get_height())
    wide, tall = (max(1, int(factor * length)) for length in surface.get_size())
    small = pygame.transform.smoothscale(surface, (wide, tall))
    fitted = pygame.Surface(size)
    fitted.fill(BACKGROUND)
    fitted.blit(small, ((size[0] - wide) // 2, (size[1] - tall) // 2))
    return fitted
