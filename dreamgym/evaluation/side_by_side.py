"""One policy in the real environment and in the dream of the same moment, side by side, as the frames of a video."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from dreamgym.core.spaces import is_image
from dreamgym.envs.env import DreamEnv
from dreamgym.envs.open import Model, open_dream
from dreamgym.envs.twin import make_real, real_id
from dreamgym.errors import MissingExtra, NotDecodable
from dreamgym.evaluation.policies import Actor, PolicyLike, make_policy

PANEL = 384  # pixels, each side's picture
MARGIN = 16
BAR = 44  # height of a line of text
BACKGROUND, TEXT, FAINT = (18, 20, 26), (236, 238, 242), (139, 147, 161)
ACCENTS = ((240, 184, 92), (134, 170, 255))  # real, dream


@dataclass(frozen=True)
class Side:
    """What happened on one side."""

    title: str
    pictures: list[np.ndarray]
    """`[h, w, 3]` uint8, the shared moment and one after each decision."""
    returns: list[float]
    """What was earned since the shared moment, at each picture."""
    ending: str
    """"terminated", "truncated", or "" if it was still going on when the recording stopped."""


def play_both(
    dream: Model,
    policy: PolicyLike = "shipped",
    *,
    variant: str | None = None,
    seed: int = 0,
    warm_up: int = 16,
    decisions: int = 1000,
) -> tuple[Side, Side]:
    """Return what a policy does in the real env and in the dream, both from the same real moment.

    The policy first acts in the real env alone; the dream takes over the filtered state in which that leaves it.

    Args:
        dream: as for `evaluate`.
        policy: see `make_policy`.
        variant: which of a registered dream's variants.
        seed: of the real episode and of the dream.
        warm_up: decisions before the shared moment; 0 if the real episode ends within them.
        decisions: at most so many after it.

    Raises:
        NotDecodable: if the observations are no pictures.
    """
    opened = open_dream(dream, variant, (), "cpu")
    if not is_image(opened.model.observation_space):
        raise NotDecodable(f"a video shows pictures; the observations of {opened.name} are no pictures.")
    actor = make_policy(policy, opened)
    real = make_real(dream, variant=variant, observation="both")
    obs, _ = real.reset(seed=seed)
    for _ in range(warm_up):
        obs, _, terminated, truncated, _ = real.step(_act(actor, obs))
        if terminated or truncated:
            obs, _ = real.reset(seed=seed)
            warm_up = 0
            break
    dreamed = DreamEnv(opened, observation="both")
    dreamed.reset(seed=seed)
    lanes = dreamed.get_state()
    shared = replace(lanes, state=real.state, elapsed=torch.full_like(lanes.elapsed, warm_up))  # type: ignore[attr-defined]
    dream_obs = dreamed.set_state(shared)
    sides = (
        _play(f"real  {real_id(opened)}", real, obs, actor, decisions),
        _play(f"dream  {opened.name}", dreamed, dream_obs, actor, decisions),
    )
    real.close()
    return sides


def _act(actor: Actor, obs: dict[str, np.ndarray]) -> np.ndarray:
    return actor.act(torch.from_numpy(obs["features"])[None])[0]


def _play(title: str, env: gym.Env[Any, Any], obs: dict[str, np.ndarray], actor: Actor, decisions: int) -> Side:
    pictures, returns, ending = [obs["pixels"]], [0.0], ""
    while not ending and len(pictures) <= decisions:
        obs, reward, terminated, truncated, _ = env.step(_act(actor, obs))
        pictures.append(obs["pixels"])
        returns.append(returns[-1] + float(reward))
        ending = "terminated" if terminated else "truncated" if truncated else ""
    return Side(title, pictures, returns, ending)


def draw(sides: Iterable[Side], fps: float) -> Iterator[np.ndarray]:
    """Yield the frames of a video, `[H, W, 3]` uint8; a side that has ended stays in its last picture.

    Raises:
        MissingExtra: if Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtra("a video", "Pillow", "video") from error
    sides, hold = list(sides), round(fps)
    size = len(sides) * (PANEL + MARGIN) + MARGIN, PANEL + 2 * BAR
    for t in range(max(len(side.pictures) for side in sides) + hold):  # a second more, to see the end
        canvas = Image.new("RGB", size, BACKGROUND)
        for i, (side, accent) in enumerate(zip(sides, ACCENTS, strict=True)):
            over = side.ending == "terminated" and t >= len(side.pictures) + hold // 2
            _draw_side(canvas, MARGIN + i * (PANEL + MARGIN), side, min(t, len(side.pictures) - 1), fps, accent, over)
        yield np.asarray(canvas)


def _draw_side(canvas: Any, left: int, side: Side, t: int, fps: float, accent: tuple[int, ...], over: bool) -> None:
    """Draw picture t of a side with its captions; dimmed if it is over."""
    from PIL import Image, ImageDraw, ImageFont

    pen, large, small = ImageDraw.Draw(canvas), ImageFont.load_default(20), ImageFont.load_default(18)
    picture = side.pictures[t] // 3 if over else side.pictures[t]
    height, width = picture.shape[:2]
    scale = max(1, PANEL // max(height, width))
    enlarged = Image.fromarray(np.broadcast_to(picture, (height, width, 3))).resize(
        (scale * width, scale * height), Image.Resampling.NEAREST
    )
    canvas.paste(enlarged, (left + (PANEL - scale * width) // 2, BAR + (PANEL - scale * height) // 2))
    kind, name = side.title.split(maxsplit=1)
    pen.text((left, BAR - 11), kind, accent, large, anchor="ls")
    pen.text((left + pen.textlength(kind, large) + 10, BAR - 11), name, FAINT, small, anchor="ls")
    pen.text((left, BAR + PANEL + 27), f"return {side.returns[t]:.0f}", TEXT, large, anchor="ls")
    pen.text((left + PANEL, BAR + PANEL + 27), f"{t / fps:.1f} s", FAINT, small, anchor="rs")
    if over:
        pen.text((left + PANEL // 2, BAR + PANEL // 2), "episode over", TEXT, large, anchor="mm")
