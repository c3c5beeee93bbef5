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
    """Return pairs of pictures side by side, the real one above, as an HTML element whose rows break on a phone.

    Args:
        real, dream: `[G, c, h, w]` in [0, 1].
        after: `[G]`, the steps at which they were.
        name: of the stretch, for readers that show no pictures.
    """
    chosen = np.unique(np.linspace(0, len(after) - 1, min(COLUMNS, len(after))).round().astype(int))
    pairs = [
        f'<span><img alt="{name}, step {after[i]}: real above, dreamed below" src="{_pair(real[i], dream[i])}">'
        f"{after[i]}</span>"
        for i in chosen
    ]
    return f'<div class="strip">{"".join(pairs)}</div>'


def _pair(real: np.ndarray, dream: np.ndarray) -> str:
    """Return two pictures `[c, h, w]`, one above the other, as the address of a PNG."""
    from PIL import Image

    height = real.shape[1]
    pixels = np.zeros((2 * height + _GAP, real.shape[2], 4), np.uint8)  # between them the page shows through
    for top, picture in ((0, real), (height + _GAP, dream)):
        pixels[top : top + height, :, :3] = (picture.clip(0, 1) * 255).round().transpose(1, 2, 0)
        pixels[top : top + height, :, 3] = 255
    file = io.BytesIO()
    few = Image.fromarray(pixels).quantize(256, method=Image.Quantize.FASTOCTREE)  # a third of the size
    few.save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


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
