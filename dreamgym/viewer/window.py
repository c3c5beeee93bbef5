"""The window: events go to the session, and what the session shows goes to the screen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pygame

from dreamgym.errors import DreamgymError
from dreamgym.viewer.bindings import BY_NAME, code_of, command_of, drives
from dreamgym.viewer.keys import Hands
from dreamgym.viewer.pads import Pads
from dreamgym.viewer.recorder import Recorder
from dreamgym.viewer.scene import Marks, Scene
from dreamgym.viewer.session import Session

RATE = 60  # pictures a second at most
DELAY, INTERVAL = 350, 60  # milliseconds of a held key that repeats
COUNTED = 0.5  # seconds over which pictures are counted


class Window:
    """Plays a session in a window, until it is closed.

    Args:
        window: what is drawn on.
        session: what is played.
        recorder: of videos.
        new_path: returns where the next recording goes.
        drove: called before steps with whether a person drives.
        scale: of type; by default it follows the window.
    """

    def __init__(
        self,
        window: pygame.Window,
        session: Session,
        recorder: Recorder,
        new_path: Callable[[], Path],
        drove: Callable[[bool], object] = lambda person: None,
        scale: float | None = None,
    ) -> None:
        self.session, self.recorder, self.open = session, recorder, True
        self.scene = Scene(session, scale)
        self.help = False
        self.steps = self.pictures = 0
        self._window, self._new_path, self._drove = window, new_path, drove
        self._down: set[int] = set()
        self._held: set[int] = set()  # those of them that drive
        self._taps: set[int] = set()  # pressed since the last step: even the shortest tap lasts for one
        self._pads = Pads()
        self._hands: Hands | None = None
        self._keys: Any = None
        self._dragged = ""
        self._driving = self._fullscreen = self._away = False
        self._counted, self._seconds, self._rate = 0, 0.0, 0.0
        pygame.key.set_repeat(DELAY, INTERVAL)
        pygame.key.stop_text_input()

    def run(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Play until the window is closed, a key quits, or `stop` says so."""
        clock = pygame.time.Clock()
        while self.open and not stop():
            seconds = clock.tick(RATE) / 1000
            for event in pygame.event.get():
                self.handle(event)
            self.frame(seconds)

    def frame(self, seconds: float) -> None:
        """Let time pass, and show what is there then."""
        session = self.session
        action = self._act(seconds)
        if not session.over:
            self._drove(self._driving or session.person or session.actor is None)
        due = session.advance(seconds, action)
        if due:
            self._taps.clear()
        self.steps, self.pictures = self.steps + due, self.pictures + 1
        surface = self._window.get_surface()
        marks = Marks(self._count(seconds), self._driving, self.recorder.seconds, self.help)
        self.scene.draw(surface, marks, seconds)
        self._window.flip()
        session.message = self.recorder.add(surface, seconds) or session.message

    def handle(self, event: pygame.event.Event) -> None:
        """Do what an event asks for."""
        if event.type in (pygame.QUIT, pygame.WINDOWCLOSE):
            self.open = False
        elif event.type == pygame.KEYDOWN and not self._away:
            self._press(event)
        elif event.type == pygame.KEYUP:
            self._down.discard(event.key)
            self._held.discard(event.key)
        elif event.type == pygame.WINDOWFOCUSGAINED:
            self._away = False
        elif event.type == pygame.WINDOWFOCUSLOST:
            self._away = True  # some systems go on telling of keys
            for keys in (self._down, self._held, self._taps):
                keys.clear()
            self._dragged = ""
        elif event.type == pygame.MOUSEBUTTONDOWN and event.button == 1:
            self._click(event.pos)
        elif event.type == pygame.MOUSEBUTTONUP and event.button == 1:
            self._dragged = ""
        elif event.type == pygame.MOUSEMOTION and self._dragged:
            self._drag(event.pos[0])
        else:
            self.session.message = self._pads.handle(event) or self.session.message

    def do(self, name: str, code: int = 0) -> None:
        """Carry out a command of `bindings`.

        Args:
            name: of the command.
            code: of its key.
        """
        session = self.session
        actions: dict[str, Callable[[], object]] = {
            "pause": session.pause,
            "step": session.step_once,
            "rewind": session.rewind,
            "save": session.save,
            "restore": session.restore,
            "reset": session.reset,
            "driver": session.toggle_driver,
            "side": session.toggle_side,
            "synchronise": session.synchronise,
            "fork": session.fork,
            "choose": lambda: session.choose(code - ord("1")),
            "variant": session.change_variant,
            "warmer": lambda: self._turn("temperature", 1),
            "colder": lambda: self._turn("temperature", -1),
            "faster": lambda: self._turn("rate", 1),
            "slower": lambda: self._turn("rate", -1),
            "record": self.toggle_recording,
            "fullscreen": self.toggle_fullscreen,
            "help": self.toggle_help,
            "quit": self.close,
        }
        actions[name]()

    def toggle_recording(self) -> None:
        """Begin or complete a video of the window."""
        if self.recorder.seconds is not None:
            self.recorder.stop()
            return
        try:
            self.session.message = self.recorder.start(self._new_path())
        except (DreamgymError, OSError) as error:
            self.session.message = f"not recording: {error}"

    def toggle_fullscreen(self) -> None:
        """Fill the screen, or go back into a window."""
        self._fullscreen = not self._fullscreen
        self._window.set_fullscreen(desktop=True) if self._fullscreen else self._window.set_windowed()

    def toggle_help(self) -> None:
        """Show the keys, or hide them."""
        self.help = not self.help

    def close(self) -> None:
        """End `run`."""
        self.open = False

    def _press(self, event: pygame.event.Event) -> None:
        again, code = event.key in self._down, code_of(event)
        ctrl = bool(event.mod & (pygame.KMOD_CTRL | pygame.KMOD_META))
        name = command_of(code, ctrl, self.session.keys)
        if self.help and event.key == pygame.K_ESCAPE:
            name = "help"
        self._down.add(event.key)
        if not ctrl and drives(event.key, self.session.keys):
            self._held.add(event.key)
            self._taps.add(event.key)
        if name and (not again or BY_NAME[name].repeats):
            self.do(name, code)

    def _act(self, seconds: float) -> Any:
        """Return what the person does, or None to leave it to the policy."""
        session = self.session
        if session.keys is None:
            self._driving = False
            return None
        if session.keys is not self._keys:
            self._keys = session.keys
            self._hands = Hands(session.keys, session.dream.model.action_space)
        assert self._hands is not None
        action = self._hands.act(self._driving_keys(), self._pads.read(), seconds)
        self._driving = action is not None
        if self._driving:
            return action
        if session.actor is not None and not session.person:
            self._hands.follow(session.last_action)  # the wheel is taken over as it stands
            return None
        return self._hands.rest(seconds)

    def _driving_keys(self) -> set[int]:
        """Return the held keys that drive, without the digits while they choose a future."""
        keys = self._held | self._taps
        return keys - set(BY_NAME["choose"].keys) if len(self.session.lines[0].lanes) > 1 else keys

    def _click(self, point: tuple[int, int]) -> None:
        if self.help:
            self.help = False
            return
        name = self.scene.widget_at(point)
        if name in self.scene.ranges:
            self._dragged = name
            self._drag(point[0])
        elif name in ("driver", "pause", "record", "variant"):
            self.do(name)
        elif name == "foot":
            self.do("help")

    def _drag(self, x: int) -> None:
        setattr(self.session, self._dragged, self.scene.value_at(self._dragged, x))

    def _turn(self, name: str, steps: int) -> None:
        now = getattr(self.session, name)
        setattr(self.session, name, self.scene.ranges[name].beside(now, steps))

    def _count(self, seconds: float) -> float:
        """Return pictures a second, a figure that stands still long enough to be read."""
        self._counted, self._seconds = self._counted + 1, self._seconds + seconds
        if self._seconds >= COUNTED:
            self._rate, self._counted, self._seconds = self._counted / self._seconds, 0, 0.0
        return self._rate
