"""What the window shows, as a video of a steady rate however unsteady the window is."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import Queue
from threading import Thread

import numpy as np
import pygame

from dreamgym.errors import DreamgymError
from dreamgym.evaluation.video import Video
from dreamgym.viewer.colours import BACKGROUND

WAITING = 8  # pictures for the encoder, 3 MB each
RATE = 30.0
"""Pictures a second of a video recorded while somebody plays."""
PIXELS = 1280 * 800
"""Of a picture at most: a larger window is recorded smaller, so that the encoder keeps up."""


class Recorder:
    """Records pictures while it is on; a slow encoder makes the video jerk, never the window.

    Args:
        rate: pictures a second of the video.
        preset: of the encoder, see `Video`.
    """

    def __init__(self, rate: float = RATE, preset: str = "veryfast") -> None:
        self.rate, self._preset = rate, preset
        self._writer: _Writer | None = None
        self._ending: list[_Writer] = []
        self._size = (0, 0)
        self._last = np.empty((0, 0, 3), np.uint8)
        self._count, self._owed = 0, 0.0  # pictures
        self.told: list[str] = []
        """How the recordings ended, for people."""

    @property
    def seconds(self) -> float | None:
        """How long the recording is, or None if it is off."""
        return None if self._writer is None else (self._count + self._owed) / self.rate

    def start(self, path: Path) -> str:
        """Begin a video and return what to tell the player.

        Raises:
            MissingExtra, NotWritable: as for `Video`.
        """
        self._writer = _Writer(Video(path, self.rate, self._preset))
        self._count, self._owed, self._size = 0, 1.0, (0, 0)
        return f"recording {self._writer.video.path}"

    def add(self, surface: pygame.Surface, seconds: float) -> str:
        """Record what is shown for so many seconds, and return what to tell the player of a recording that ended."""
        writer = self._writer
        if writer is not None and writer.error is not None:
            self.stop()
        elif writer is not None:
            self._owed += seconds * self.rate
            if self._owed >= 1 and not writer.pictures.full():  # else the next picture makes up for this one
                self._size = self._size if self._count else _recorded_size(*surface.get_size())
                self._last = frame_of(_fit(surface, self._size))
                self._put(writer)
        ended = [writer for writer in self._ending if not writer.is_alive()]
        self._ending = [writer for writer in self._ending if writer not in ended]
        self.told += [writer.verdict for writer in ended]
        return self.told[-1] if ended else ""

    def stop(self) -> None:
        """Complete the video; `add` tells when that is done."""
        if self._writer is None:
            return
        if self._count and self._owed >= 1:
            self._put(self._writer)
        self._writer.pictures.put(None)
        self._ending.append(self._writer)
        self._writer = None

    def close(self) -> None:
        """Complete all videos."""
        self.stop()
        for writer in self._ending:
            writer.join()
            self.told.append(writer.verdict)
        self._ending = []

    def _put(self, writer: _Writer) -> None:
        times = int(self._owed)
        writer.pictures.put((self._last, times))
        self._count, self._owed = self._count + times, self._owed - times


class _Writer(Thread):
    """Hands pictures to a video, and completes it after a last None."""

    def __init__(self, video: Video) -> None:
        super().__init__(daemon=True)
        self.video = video
        self.pictures: Queue[tuple[np.ndarray, int] | None] = Queue(WAITING)
        self.error: Exception | None = None
        self.verdict = "nothing was recorded"
        self.start()

    def run(self) -> None:
        while (picture := self.pictures.get()) is not None:
            frame, times = picture
            for _ in range(times):
                self._try(partial(self.video.add, frame))
        path = self._try(self.video.close)
        if self.error is not None:
            self.verdict = f"the recording stopped: {self.error}"
        elif path is not None:
            self.verdict = f"{path} holds the recording"

    def _try(self, write: Callable[[], Path | None]) -> Path | None:
        """Write unless it has failed before."""
        try:
            return write() if self.error is None else None
        except (DreamgymError, OSError) as error:
            self.error = error
            return None


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
