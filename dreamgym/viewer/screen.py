"""Makes sure that pygame can draw, and that a window can open; each fault is one clear line.

Nothing here imports pygame before it is known to be sound.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dreamgym.doctor import installed, pygame_line
from dreamgym.errors import DreamgymError

if TYPE_CHECKING:
    import pygame

UNSEEN = ("dummy", "offscreen", "evdev")
"""Drivers of SDL whose windows nobody sees; SDL falls back to them in silence."""
SHARE = 0.75  # of the desktop that a window takes at most


class NoPygame(DreamgymError, ImportError):
    """pygame-ce is missing, or another pygame is in its place."""


class NoDisplay(DreamgymError, RuntimeError):
    """No window can open."""


def check_pygame() -> None:
    """Make sure that pygame-ce is what `import pygame` finds, and that it leaves sound alone.

    Raises:
        NoPygame: if it is not; the message says what to install.
    """
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    os.environ.setdefault("SDL_AUDIODRIVER", "dummy")  # envs that draw themselves would open the loudspeaker
    os.environ.setdefault("SDL_VIDEO_X11_WMCLASS", "dreamgym")  # pygame would set it when it is imported
    line = pygame_line(installed("pygame"), installed("pygame-ce"))
    if line.state == "problem":
        raise NoPygame(f"dreamgym play draws with pygame-ce. pygame: {line.finding}. Try: {line.advice}")


def stay_unseen() -> None:
    """Let nothing open a window from here on, whatever display there is."""
    os.environ["SDL_VIDEODRIVER"] = "dummy"


def open_window(title: str, size: tuple[int, int] | None, smallest: tuple[int, int]) -> pygame.Window:
    """Return a window; SDL swaps its pictures with the screen's rhythm where it can.

    Args:
        title: of the window.
        size: in pixels; by default what suits the desktop.
        smallest: size that the window can be given.

    Raises:
        NoDisplay: if none can open.
    """
    import pygame

    os.environ.setdefault("SDL_RENDER_VSYNC", "1")
    if sys.platform == "linux" and not any(Path("/dev").glob("dri/render*")):
        os.environ.setdefault("SDL_FRAMEBUFFER_ACCELERATION", "0")  # OpenGL without a GPU takes 20 times as long
    hint = "Without a display: dreamgym play ID --headless --video out.mp4, or dreamgym watch ID --video out.mp4"
    try:
        pygame.display.init()
        driver = pygame.display.get_driver()
        if driver in UNSEEN and os.environ.get("SDL_VIDEODRIVER") != driver:
            pygame.display.quit()
            raise NoDisplay(f"no window can open: there is no display. {hint}")
        desktop = pygame.display.get_desktop_sizes()[0]
        window = pygame.Window(title, size or suitable_size(desktop), resizable=True)
        window.minimum_size = smallest
        window.set_icon(icon())
        window.get_surface()
    except pygame.error as error:
        raise NoDisplay(f"no window can open: {error}. {hint}") from error
    return window


def suitable_size(desktop: tuple[int, int]) -> tuple[int, int]:
    """Return how large a window is on a desktop: larger on one of many small pixels, on which type must be larger.

    >>> suitable_size((1920, 1080)), suitable_size((3840, 2160)), suitable_size((1024, 768))
    ((1280, 800), (2560, 1600), (921, 652))
    """
    room = SHARE * min(desktop[0] / 1280, desktop[1] / 800)
    scale = max(1.0, int(4 * room) / 4)
    return min(int(1280 * scale), int(0.9 * desktop[0])), min(int(800 * scale), int(0.85 * desktop[1]))


def icon(side: int = 64) -> pygame.Surface:
    """Return the window's icon: the dream before reality, in their colours."""
    import pygame

    from dreamgym.viewer.colours import DREAM, REAL

    large = pygame.Surface((4 * side, 4 * side), pygame.SRCALPHA)
    for colour, x in ((REAL, 2.6), (DREAM, 1.4)):
        pygame.draw.circle(large, colour, (int(x * side), 2 * side), int(1.35 * side))
    return pygame.transform.smoothscale(large, (side, side))
