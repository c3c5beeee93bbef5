"""Record the gallery's loops: a policy drives the real environment, and the dream of the same moment beside it.

    python tools/record_gallery.py                          # every shipped dream, about three minutes on one core
    python tools/record_gallery.py dodge_rssm pendulum_rssm

The dream begins in a moment of the real episode; from there on the shipped policy drives each side by what it sees of
it, and the dream makes up its own road. Writes NAME.webp, and its first picture as NAME.png for readers who prefer no
motion, into docs/pictures/gallery, NAME being the dream's folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from PIL import Image, ImageDraw, ImageFont

from dreamgym.cli.listing import listing
from dreamgym.core.spaces import is_image
from dreamgym.envs.painters import make_painter
from dreamgym.evaluation.policies import Actor, make_policy
from dreamgym.hub import LoadedDream, load
from dreamgym.viewer.worlds import DreamWorld, RealWorld, World

OUT = Path(__file__).parents[1] / "docs" / "pictures" / "gallery"
SIDE, BAR, GAP = 192, 24, 8  # pixels: a picture, the line above it, what lies between two
GROUND = (18, 20, 26)
TITLES = {"real": (240, 184, 92), "dream": (134, 170, 255)}


def main(
    names: Annotated[tuple[str, ...], tyro.conf.Positional] = (), seed: int = 700_000, seconds: float = 6.0
) -> None:
    """Record loops.

    Args:
        names: folders of shipped dreams; all by default.
        seed: of the real episode and of the dream.
        seconds: that a loop lasts, in the world's own time.
    """
    torch.set_num_threads(1)
    for row in listing()["dreams"]:
        name = Path(row["folder"]).name
        if row["present"] and (not names or name in names):
            print(write(name, row["id"], row["variant"], seed, seconds))


def write(name: str, dream: str, variant: str, seed: int, seconds: float) -> Path:
    """Record one dream's loop, and return its file."""
    loaded = load(dream, variant)
    rate = float(loaded.card["render_fps"])
    every = max(1, round(rate / 15))  # of quick worlds not every decision is shown
    frames = list(record(loaded, seed, round(seconds * rate)))[::every]
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{name}.webp"
    pictures = [Image.fromarray(frame) for frame in frames]
    pictures[0].save(OUT / f"{name}.png", optimize=True)
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=round(1000 * every / rate), loop=0,
                     quality=70, method=6)  # fmt: skip
    return path


def record(loaded: LoadedDream, seed: int, steps: int) -> Iterator[np.ndarray]:
    """Yield a picture of both sides for each decision; none after the first end of an episode."""
    actor, paint = make_policy("shipped", loaded), make_painter(loaded, dark=True)
    real, dream = RealWorld(loaded), DreamWorld(loaded)
    real.reset(seed)
    dream.reset(seed)
    for _ in range(warm_up := 16 if is_image(loaded.model.observation_space) else 4):
        real.step(act(actor, real))
    dream.follow(real.state, warm_up)
    for _ in range(steps):
        actions = {side.kind: act(actor, side) for side in (real, dream)}
        yield beside({side.kind: paint(side.observations()[0], actions[side.kind]) for side in (real, dream)})
        moments = [side.step(actions[side.kind])[0] for side in (real, dream)]
        if any(moment.terminated or moment.truncated for moment in moments):
            break
    real.close()


def act(actor: Actor, side: World) -> Any:
    """Return what a policy does in a world of one lane."""
    return actor.act(torch.from_numpy(side.features()))[0]


def beside(pictures: dict[str, np.ndarray]) -> np.ndarray:
    """Return pictures under their titles, side by side."""
    canvas = Image.new("RGB", (len(pictures) * (SIDE + GAP) + GAP, BAR + SIDE + GAP), GROUND)
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(15)
    for i, (title, pixels) in enumerate(pictures.items()):
        left = GAP + i * (SIDE + GAP)
        picture = Image.fromarray(pixels)
        scale = SIDE / max(picture.size)
        method = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
        picture = picture.resize((round(scale * picture.width), round(scale * picture.height)), method)
        canvas.paste(picture, (left + (SIDE - picture.width) // 2, BAR + (SIDE - picture.height) // 2))
        pen.text((left, BAR - 6), title, TITLES[title], font, anchor="ls")
    return np.asarray(canvas)


if __name__ == "__main__":
    tyro.cli(main)
