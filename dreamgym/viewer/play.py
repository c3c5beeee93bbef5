"""Plays a dream in a window, or without one into a video."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamgym.errors import InvalidArgument
from dreamgym.evaluation.policies import PolicyLike
from dreamgym.evaluation.video import Video
from dreamgym.hub import LoadedDream
from dreamgym.viewer.keeper import Keeper
from dreamgym.viewer.layout import NATURAL, SMALLEST
from dreamgym.viewer.screen import check_pygame, open_window, stay_unseen
from dreamgym.viewer.session import Session
from dreamgym.viewer.trail import Trail

if TYPE_CHECKING:
    import pygame

FOLDER = Path("runs/play")
"""Where `r` records to."""
STEPS = 300  # of a run without a window
FPS = 50.0  # of its video


@dataclass
class Played:
    """What happened."""

    steps: int = 0
    pictures: int = 0
    seconds: float = 0.0
    messages: list[str] = field(default_factory=list)
    """What there is to know of the files, for people."""
    signal: int = 0
    """The signal that ended it in order, or 0."""


def play(
    dream: str | LoadedDream,
    *,
    variant: str | None = None,
    policy: PolicyLike | None = "shipped",
    real: bool = False,
    side_by_side: bool = False,
    seed: int = 0,
    temperature: float = 1.0,
    rate: float | None = None,
    size: tuple[int, int] | None = None,
    scale: float | None = None,
    record_data: Path | None = None,
    video: Path | None = None,
    fps: float | None = None,
    headless: bool = False,
    steps: int | None = None,
) -> Played:
    """Play a dream and return what happened.

    Args:
        dream: a registered dream's id, a folder, or a `LoadedDream`.
        variant: of a registered dream.
        policy: drives while no key is held; see `make_policy`. None for nobody.
        real: begin with the real twin.
        side_by_side: play the real twin and the dream from the same situation with the same actions.
        seed: of the first episode; each further one has the next.
        temperature: of the dream, above 1 less certain.
        rate: steps a second; by default those of real time.
        size: of the window, or of the video without one.
        scale: of type; by default it follows the size.
        record_data: folder of a dataset that gets the episodes of the real twin where it is played, else of the dream.
        video: file that gets all that is seen.
        fps: pictures a second of the video; by default 50 without a window, and 30 of one.
        headless: open no window; the policy drives.
        steps: after which it ends; by default a window stays open, and a run without one makes 300.

    Raises:
        NoPygame, NoDisplay: if nothing can be drawn, or no window can open.
        InvalidArgument: if an argument is out of range, or nobody can drive.
        DreamgymError, OSError: as `Session`, `Keeper` and `Video` raise them.
    """
    side = _check(real, side_by_side, steps, fps, size)
    check_pygame()
    if headless:
        stay_unseen()
    played, keepers = Played(), list[Keeper]()

    def ended(side: str, trail: Trail) -> None:
        for keeper in keepers:
            keeper.keep(side, trail)

    with ExitStack() as stack:
        stack.enter_context(_signals(played))
        window = None if headless else stack.enter_context(_window(_name(dream), size))
        session = Session(
            dream, variant=variant, policy=policy, side=side, seed=seed, temperature=temperature, rate=rate,
            ended=ended,
        )  # fmt: skip
        if session.keys is None and session.actor is None:
            raise InvalidArgument(f"{_name(dream)} has neither keys nor a policy: nobody can drive it. Give a policy.")
        if record_data is not None:
            keepers.append(Keeper(record_data, session.dream, "dream" if side == "dream" else "real"))
            stack.callback(_finish, keepers[0], played)
        stack.callback(session.close)
        began = time.perf_counter()
        if window is None:
            _play_unseen(session, keepers, size or NATURAL, scale, video, fps or FPS, steps or STEPS, played)
        else:
            _play_seen(window, session, keepers, scale, video, fps, steps, played)
        played.seconds = time.perf_counter() - began
    return played


def _check(real: bool, both: bool, steps: int | None, fps: float | None, size: tuple[int, int] | None) -> str:
    """Return the session's side."""
    if real and both:
        raise InvalidArgument("real and side_by_side are both True; expected one of them, side_by_side shows both.")
    if steps is not None and steps < 1:
        raise InvalidArgument(f"steps is {steps}; expected at least 1.")
    if fps is not None and not 1 <= fps <= 240:
        raise InvalidArgument(f"fps is {fps}; expected 1 to 240 pictures a second.")
    if size is not None and not all(least <= x <= 8192 for x, least in zip(size, SMALLEST, strict=True)):
        raise InvalidArgument(f"size is {size[0]}x{size[1]}; expected {SMALLEST[0]}x{SMALLEST[1]} to 8192x8192.")
    return "real" if real else "both" if both else "dream"


def _name(dream: str | LoadedDream) -> str:
    return dream if isinstance(dream, str) else dream.name


@contextmanager
def _signals(played: Played) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the play in order; a second one does what it always does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: Any) -> None:
        played.signal = number
        signal.signal(number, before[number])

    for number in before:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _window(name: str, size: tuple[int, int] | None) -> Iterator[pygame.Window]:
    import pygame

    window = open_window(f"{name} - dreamgym", size, SMALLEST)
    try:
        yield window
    finally:
        window.destroy()
        pygame.joystick.quit()
        pygame.display.quit()


def _finish(keeper: Keeper, played: Played) -> None:
    keeper.close()
    played.messages.append(keeper.message or f"{keeper.folder} got {keeper.episodes} episodes")


def _play_seen(
    window: pygame.Window, session: Session, keepers: list[Keeper], scale: float | None,
    video: Path | None, fps: float | None, steps: int | None, played: Played,
) -> None:  # fmt: skip
    from dreamgym.viewer.recorder import RATE, Recorder
    from dreamgym.viewer.window import Window

    recorder = Recorder(fps or RATE)

    def new_path() -> Path:
        return FOLDER / f"{session.dream.name}-{time.strftime('%Y%m%d-%H%M%S')}.mp4"

    def drove(person: bool) -> None:
        for keeper in keepers:
            keeper.note(person)
            session.message, keeper.message = keeper.message or session.message, ""

    shown = Window(window, session, recorder, new_path, drove, scale)
    if video is not None:
        recorder.start(video)
    try:
        shown.run(lambda: bool(played.signal) or (steps is not None and shown.steps >= steps))
    finally:
        window.hide()  # completing a film may take a moment
        recorder.close()
        played.messages += recorder.told
        played.steps, played.pictures = shown.steps, shown.pictures


def _play_unseen(
    session: Session, keepers: list[Keeper], size: tuple[int, int], scale: float | None,
    video: Path | None, fps: float, steps: int, played: Played,
) -> None:  # fmt: skip
    """Draw the pictures of a steady rate as fast as it goes."""
    import pygame

    from dreamgym.viewer.recorder import frame_of
    from dreamgym.viewer.scene import Marks, Scene

    pygame.font.init()
    surface, scene, shown = pygame.Surface(size), Scene(session, scale), Marks(fps)
    for keeper in keepers:
        keeper.note(session.actor is None)
    with ExitStack() as stack:
        film = None if video is None else stack.enter_context(Video(video, fps))
        while played.steps < steps and not played.signal:
            played.steps += session.advance(1 / fps)
            scene.draw(surface, shown, 1 / fps)
            played.pictures += 1
            if film is not None:
                film.add(frame_of(surface))
    if film is not None:
        played.messages.append(f"{film.path} holds the video")
