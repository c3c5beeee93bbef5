"""Pictures of real beside dreamed frames, which a training writes beside its checkpoints."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dreamgym.core.codec import encode_action, encode_obs
from dreamgym.core.model import WorldModel
from dreamgym.core.spaces import is_image
from dreamgym.core.strips import strip
from dreamgym.data.episodes import Dataset
from dreamgym.errors import NotDecodable

_STEPS = 64


def write_strips(path: Path, model: WorldModel[Any], episodes: Dataset, count: int, device: torch.device) -> None:
    """Write a picture of the first episodes, three rows for each as `strip` draws them, if the model decodes pictures.

    Args:
        path: the PNG.
        model: in evaluation mode, on `device`.
        episodes: of the model's spaces; 64 steps from the middle of each are shown.
        count: of how many episodes; of 0 nothing is written.
        device: where the model computes.
    """
    if not is_image(model.observation_space) or not count:
        return
    rows = []
    for i in range(min(count, len(episodes))):
        episode = episodes[i]
        assert isinstance(episode.obs, np.ndarray)
        start = max(0, len(episode) - _STEPS) // 2  # openings can be unlike all that follows
        end = start + _STEPS
        obs = encode_obs(model.observation_space, episode.obs[start : end + 1], device)
        assert isinstance(obs, Tensor)
        action = encode_action(model.action_space, episode.action[start:end]).to(device)
        try:
            rows.append(strip(model, obs, action))
        except NotDecodable:
            return
    _write(path, rows)


def _write(path: Path, rows: Sequence[np.ndarray]) -> None:
    try:
        from PIL import Image
    except ImportError:
        warnings.warn('strips of real and dreamed frames need pillow: pip install "dreamgym[video]"', stacklevel=2)
        return
    width = max((row.shape[1] for row in rows), default=0)
    padded = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.concatenate(padded)).save(path)
