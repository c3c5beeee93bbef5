"""What keeps a window from opening is one clear line."""

import os
import subprocess
import sys

import pytest

from dreamgym.viewer import screen
from dreamgym.viewer.screen import NoPygame, check_pygame, suitable_size


@pytest.mark.parametrize(
    ("versions", "told"),
    [
        ({}, "pip install pygame-ce"),
        ({"pygame": "2.6.1"}, "pip uninstall -y pygame pygame-ce && pip install pygame-ce"),
        ({"pygame": "2.6.1", "pygame-ce": "2.5.8"}, "overwrite each other. Try: pip uninstall"),
    ],
)
def test_a_missing_or_foreign_pygame_is_told_with_its_cure(monkeypatch, versions, told):
    monkeypatch.setattr(screen, "installed", versions.get)
    with pytest.raises(NoPygame, match="dreamgym play draws with pygame-ce") as caught:
        check_pygame()
    assert told in str(caught.value)


def test_the_pygame_of_this_machine_will_do():
    check_pygame()


def run(arguments, **environment):
    """Return what a process without display or sound card does."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("SDL_", "DISPLAY", "WAYLAND"))}
    command = [sys.executable, "-c", arguments]
    return subprocess.run(command, env={**env, **environment}, capture_output=True, text=True, timeout=120)


OPEN = """
from dreamgym.viewer.screen import NoDisplay, check_pygame, open_window
check_pygame()
try:
    open_window("test", (640, 480), (480, 360))
except NoDisplay as error:
    print(error)
else:
    import pygame
    print("open", pygame.mixer.get_init())
"""


def test_without_a_display_the_way_without_a_window_is_told():
    done = run(OPEN)
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith("no window can open: there is no display.")
    assert "dreamgym play ID --headless --video out.mp4" in done.stdout


def test_a_display_that_does_not_answer_is_told():
    done = run(OPEN, DISPLAY=":4711", SDL_VIDEODRIVER="x11")
    assert done.stdout.startswith("no window can open: ")
    assert "--headless" in done.stdout
    assert "Traceback" not in done.stderr


def test_sound_is_never_opened():
    done = run(OPEN, SDL_VIDEODRIVER="dummy")
    assert done.stdout == "open None\n"


def test_a_window_fits_every_desktop():
    for desktop in [(800, 600), (1366, 768), (1920, 1080), (2560, 1440), (3840, 2160), (5120, 1440)]:
        size = suitable_size(desktop)
        assert size[0] <= 0.9 * desktop[0]
        assert size[1] <= 0.85 * desktop[1] + 1
