"""A picture of how well a model dreams: real frames above what it remembers of them and what it imagines instead."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from dreamgym.core.model import WorldModel
from dreamgym.core.tree import concatenate

_GAP = 2  # pixels


@torch.no_grad()
def strip(model: WorldModel[Any], obs: Tensor, action: Tensor, context: int = 5, columns: int = 16) -> np.ndarray:
    """Return three rows of pictures of one episode as uint8 `[H, W, 3]`.

    The first row is real; the second is decoded from the posterior, which has seen every frame up to its own; the third
    has seen the first `context` frames and dreams the rest from the recorded actions, one draw with fixed noise.

    Args:
        model: it must decode pictures.
        obs: `[T + 1, 3, h, w]` in [0, 1].
        action: `[T, A]`, model units.
        context: how many frames the dream sees before it closes its eyes.
        columns: how many moments are shown, evenly spaced from the first to the last.

    Raises:
        NotDecodable: if the model has no decoder.
    """
    shown = np.unique(np.linspace(0, len(action), min(columns, len(obs))).round().astype(int))
    generator = torch.Generator().manual_seed(0)
    is_first = torch.ones(1, dtype=torch.bool, device=obs.device)
    mean = torch.zeros(1, model.noise_dim, device=obs.device)
    posterior = dreamed = model.observe(model.initial(1), torch.zeros_like(action[:1]), obs[:1], is_first, mean)
    states = {0: (posterior, dreamed)}
    for t in range(1, len(obs)):
        a = action[t - 1 : t]  # [1, A]
        posterior = model.observe(posterior, a, obs[t : t + 1], ~is_first, mean)
        noise = torch.randn(1, model.noise_dim, generator=generator).to(obs.device)
        dreamed = posterior if t < context else model.step(dreamed, a, noise).state
        states[t] = (posterior, dreamed)
    rows = [obs[shown]]  # [columns, 3, h, w] each
    for row in range(2):
        decoded = model.decode(concatenate([states[t][row] for t in shown]))
        assert isinstance(decoded, Tensor)
        rows.append(decoded)
    return _tile(torch.stack([row.float().cpu() for row in rows]))


def _tile(pictures: Tensor) -> np.ndarray:
    """Return `[R, N, c, h, w]` in [0, 1] as one uint8 picture `[H, W, 3]` with white gaps."""
    pictures = pictures.expand(-1, -1, 3, -1, -1)
    pictures = torch.nn.functional.pad(pictures, (0, _GAP, 0, _GAP), value=1.0)
    rows, columns, _, height, width = pictures.shape
    tiled = pictures.permute(0, 3, 1, 4, 2).reshape(rows * height, columns * width, 3)
    return (tiled.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
