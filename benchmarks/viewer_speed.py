"""Is the viewer smooth, does it start soon, does a key show at once, and does it keep its size?

    python benchmarks/viewer_speed.py DreamCarRacing-v0

Prints the time of a picture in each mode, how long the program takes from its start to its first picture, how many
pictures pass between a key and what it changes, and how memory grows over half an hour of play at 50 pictures a second
without their pauses. Opens a window if there is a display, else draws where nobody looks. About ten minutes on one
core, two with `--minutes 5`; run it on a free machine, since every figure but the last is of wall time too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from dreamgym.viewer.layout import NATURAL, SMALLEST
from dreamgym.viewer.screen import check_pygame, open_window

FRAME = 1 / 50
# what the program does, and when it has shown its first picture
START = """
import sys, time
from dreamgym.cli import main
import dreamgym.viewer.window as window

class First(window.Window):
    def frame(self, seconds):
        super().frame(seconds)
        print(time.time(), time.process_time(), flush=True)
        self.open = False

window.Window = First
main(["play", *sys.argv[1:]])
"""


@dataclass(kw_only=True)
class Options:
    """What is measured."""

    dream: tyro.conf.Positional[str] = "DreamCarRacing-v0"
    """Id or folder."""
    seconds: float = 5.0
    """How long each mode is measured."""
    minutes: float = 30.0
    """Of simulated play, for memory."""
    starts: int = 3
    """Of the program."""
    json: bool = False


def main(options: Options) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    check_pygame()
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or sys.platform in ("win32", "darwin")):
        os.environ["SDL_VIDEODRIVER"] = "dummy"
    window = open_window("viewer_speed", NATURAL, SMALLEST)
    found = {
        "pictures": {mode: pace(options, mode, window) for mode in ("dream", "real", "both", "futures", "recording")},
        "start": [start(options.dream) for _ in range(options.starts)],
        "key": key(options.dream, window),
        "memory": memory(options.dream, options.minutes),
    }
    if options.json:
        print(json.dumps(found))
        return
    print("mode        pictures a second   processor ms a picture   longest ms")
    for mode, row in found["pictures"].items():
        print(f"{mode:10}  {row['rate']:17.0f}   {row['processor_ms']:22.1f}   {row['longest_ms']:10.0f}")
    starts = ", ".join(f"{row['seconds']:.1f} s ({row['processor']:.1f} s of the processor)" for row in found["start"])
    print(f"from start to first picture: {starts}")
    changes = ", ".join(f"{change:.0f}" for change in found["key"])
    print(f"largest change of a pixel, of 255, in the pictures 1, 2, ... after a key: {changes}")
    megabytes = ", ".join(f"{row['minute']:.0f}: {row['mb']:.0f}" for row in found["memory"])
    print(f"memory in MB after so many minutes: {megabytes}")


def player(dream: str, window: Any, **options: Any) -> Any:
    """Return a window that plays."""
    from dreamgym.viewer.recorder import Recorder
    from dreamgym.viewer.session import Session
    from dreamgym.viewer.window import Window

    return Window(window, Session(dream, **options), Recorder(), lambda: Path("viewer_speed.mp4"))


def pace(options: Options, mode: str, window: Any) -> dict[str, float]:
    """Return pictures a second without pauses between them, each a 50th of a second of play after the last."""
    playing = player(options.dream, window, side=mode if mode in ("real", "both") else "dream")
    for _ in range(25):
        playing.frame(FRAME)
    if mode == "futures":
        playing.do("fork")
    if mode == "recording":
        playing.do("record")
    count, longest, processor, began = 0, 0.0, time.process_time(), time.perf_counter()
    while (passed := time.perf_counter() - began) < options.seconds:
        playing.frame(FRAME)
        count, longest = count + 1, max(longest, time.perf_counter() - began - passed)
    processor = time.process_time() - processor
    playing.recorder.close()
    playing.session.close()
    Path("viewer_speed.mp4").unlink(missing_ok=True)
    return {"rate": count / passed, "processor_ms": 1000 * processor / count, "longest_ms": 1000 * longest}


def start(dream: str) -> dict[str, float]:
    """Return the seconds between the start of the program and its first picture, and those of the processor."""
    began = time.time()
    done = subprocess.run([sys.executable, "-c", START, dream], capture_output=True, text=True, check=True)
    ended, processor = map(float, done.stdout.split()[:2])
    return {"seconds": ended - began, "processor": processor}


def key(dream: str, window: Any, pictures: int = 4) -> list[float]:
    """Return how much the pictures after a key differ from those without it."""
    import pygame

    shown = []
    for pressed in (False, True):
        playing = player(dream, window, seed=3, policy=None)
        for _ in range(40):
            playing.frame(FRAME)
        if pressed:
            playing.handle(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_RIGHT, mod=0, unicode=""))
        shown.append([])
        for _ in range(pictures):
            playing.frame(FRAME)
            place = playing.scene.layout.places[0].picture
            shown[-1].append(pygame.surfarray.array3d(window.get_surface().subsurface(place)).astype(int))
        playing.session.close()
    return [float(abs(one - other).max()) for one, other in zip(*shown, strict=True)]


def memory(dream: str, minutes: float) -> list[dict[str, float]]:
    """Return the size of the process now and then."""
    import pygame

    from dreamgym.viewer.scene import Marks, Scene
    from dreamgym.viewer.session import Session

    surface, session = pygame.Surface(NATURAL), Session(dream)
    scene, rows, frames = Scene(session), [], int(minutes * 60 / FRAME)
    looks = {round(frames * share): share for share in (1 / 30, 1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6, 1)}
    for i in range(1, frames + 1):
        session.advance(FRAME)
        scene.draw(surface, Marks(50), FRAME)
        if i in looks:
            rows.append({"minute": i * FRAME / 60, "mb": resident()})
    session.close()
    return rows


def resident() -> float:
    """Return the memory that the process holds, in MB."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
