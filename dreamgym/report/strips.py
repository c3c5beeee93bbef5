"""Real moments beside dreamed ones: strips of pictures, or curves where observations are numbers."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from dreamgym.core.model import WorldModel
from dreamgym.core.spaces import is_image
from dreamgym.core.tree import tree_map
from dreamgym.report.drawing import BLUE, INK, begin, page_style, to_svg
from dreamgym.report.open_loop import Dreams

COLUMNS = 10
_GAP = 2  # pixels
_NUMBERS = 4  # curves of as many numbers of a vector


def draw_strips(model: WorldModel[Any], dreams: Dreams, shown: Mapping[str, int]) -> dict[str, str]:
    """Return what happened beside what was dreamed: name of a stretch -> an HTML element, an image or an SVG.

    Args:
        model: that dreamed them.
        dreams: with frames.
        shown: the stretches, by name.
    """
    if dreams.obs is None:
        return {}
    with page_style():
        return {name: _draw(model, dreams, place, name) for name, place in shown.items()}


def _draw(model: WorldModel[Any], dreams: Dreams, place: int, name: str) -> str:
    there = dreams.recorded[place, dreams.shown - 1]
    after = dreams.shown[there]
    real, dream = (tree_map(lambda x: x[place][there].astype(np.float32), frames)
                   for frames in (dreams.real_frames, dreams.dream_frames))  # fmt: skip
    space = model.observation_space
    if isinstance(space, spaces.Dict):
        key = next((key for key, part in space.items() if is_image(part)), next(iter(space)))
        space, real, dream = space[key], real[key], dream[key]
    if is_image(space):
        return picture_strip(real, dream, [int(h) for h in after], name)
    return _curves(real, dream, after, name)


def picture_strip(real: np.ndarray, dream: np.ndarray, after: list[int], name: str) -> str:
    """Return two rows of pictures as an `img` element, the real ones above.

    Args:
        real, dream: `[G, c, h, w]` in [0, 1].
        after: `[G]`, the steps at which they were.
        name: what readers that show no pictures say.
    """
    from PIL import Image

    chosen = np.unique(np.linspace(0, len(after) - 1, min(COLUMNS, len(after))).round().astype(int))
    rows = np.stack([real[chosen], dream[chosen]])  # [2, N, c, h, w]
    pixels = (rows.clip(0, 1) * 255).round().astype(np.uint8).transpose(0, 1, 3, 4, 2)  # [2, N, h, w, c]
    pixels = np.broadcast_to(pixels, (*pixels.shape[:-1], 3))
    padding = ((0, 0), (0, 0), (0, _GAP), (0, _GAP))
    alpha = np.pad(np.full(pixels.shape[:-1], 255, np.uint8), padding)[..., None]
    tiles = np.concatenate([np.pad(pixels, (*padding, (0, 0))), alpha], -1)  # [2, N, H, W, 4]
    whole = tiles.transpose(0, 2, 1, 3, 4).reshape(2 * tiles.shape[2], -1, 4)
    file = io.BytesIO()
    few = Image.fromarray(np.ascontiguousarray(whole)).quantize(256, method=Image.Quantize.FASTOCTREE)  # a third of it
    few.save(file, "PNG", optimize=True)
    data = base64.b64encode(file.getvalue()).decode()
    label = f"{name}: real above, dreamed below, after {', '.join(str(after[i]) for i in chosen)} steps"
    return f'<img class="strip" alt="{label}" src="data:image/png;base64,{data}">'


def _curves(real: np.ndarray, dream: np.ndarray, after: np.ndarray, name: str) -> str:
    """Return curves of the first numbers of a vector as SVG."""
    figure, axes = begin((4.6, 2.2))
    axes.remove()
    count = min(real.shape[1], _NUMBERS)
    for number in range(count):
        axes = figure.add_subplot(1, count, number + 1)
        axes.plot(after, real[:, number], color=INK, linewidth=2.2, alpha=0.45, label="real")
        axes.plot(after, dream[:, number], color=BLUE, linewidth=1.2, label="dreamed")
        axes.set_title(f"number {number + 1}", fontsize=8)
        axes.tick_params(labelsize=7)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=2, fontsize=8, labelcolor=INK)
    figure.supxlabel("steps with closed eyes", fontsize=8)
    return to_svg(figure, f"strip-{name}")
