"""`dreamgym play`: drive a dream in a window."""

from __future__ import annotations

import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import tyro

from dreamgym.cli.output import print_json
from dreamgym.errors import InvalidArgument


def play(
    dream: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ID")],
    policy: str = "shipped",
    variant: str | None = None,
    real: bool = False,
    side_by_side: bool = False,
    seed: int = 0,
    temperature: float = 1.0,
    rate: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None,
    size: Annotated[str | None, tyro.conf.arg(metavar="WIDTHxHEIGHT")] = None,
    scale: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None,
    record_data: Path | None = None,
    video: Path | None = None,
    fps: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None,
    headless: bool = False,
    steps: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
    json: bool = False,
) -> int:
    """Play a dream in a window: drive it yourself, let the policy drive, compare it with reality, fork it.

    Arrow keys or W A S D drive where they mean anything; h shows all keys.

    Args:
        dream: id of a registered dream (see `dreamgym list`), or a folder that `dreamgym train` wrote.
        policy: drives while you hold no key: shipped, random, constant:0,0,0, cycle:1x25,2x25, a file, or none.
        variant: which variant of a registered dream; by default its first.
        real: begin with the real environment; tab goes to the dream.
        side_by_side: play both from the same situation with the same actions.
        seed: of the first episode; each further one has the next.
        temperature: of the dream, above 1 less certain.
        rate: steps a second; by default those of real time.
        size: of the window, or of the video without one; by default what suits the screen, or 1280x800.
        scale: of type, 2 is 200 %; by default it follows the size.
        record_data: folder of a dataset that gets the episodes, of the real side where it is played from the start, for
            `dreamgym train`.
        video: file that gets all that is seen.
        fps: pictures a second of the video; by default 50 without a window, and 30 of one.
        headless: open no window; the policy drives, as fast as it goes.
        steps: after which it ends; by default a window stays open, and a run without one makes 300.
        json: print JSON.
    """
    import torch

    from dreamgym.viewer.play import play as play_dream

    torch.set_num_threads(1)  # one dream is too small to be shared out
    played = play_dream(
        dream,
        variant=variant,
        policy=None if policy == "none" else policy,
        real=real,
        side_by_side=side_by_side,
        seed=seed,
        temperature=temperature,
        rate=rate,
        size=parse_size(size),
        scale=scale,
        record_data=record_data,
        video=video,
        fps=fps,
        headless=headless,
        steps=steps,
    )
    if json:
        print_json(asdict(played))
    else:
        for message in played.messages:
            print(message)
        pace = played.pictures / played.seconds if played.seconds else 0.0
        print(f"{played.steps} steps, {played.pictures} pictures, {pace:.0f} a second")
    if played.signal:
        print(f"ended by {signal.Signals(played.signal).name}", file=sys.stderr)
    return 128 + played.signal if played.signal else 0


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Return the size that a text such as `1280x800` gives.

    >>> parse_size("1280x800")
    (1280, 800)

    Raises:
        InvalidArgument: if it is none.
    """
    if text is None:
        return None
    try:
        width, height = map(int, text.lower().split("x"))
    except ValueError as error:
        raise InvalidArgument(f"size is {text!r}; expected WIDTHxHEIGHT in pixels, e.g. 1280x800.") from error
    return width, height
