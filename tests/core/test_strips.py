"""The picture of real and dreamed frames, on a world whose every frame is known."""

from __future__ import annotations

import numpy as np
import torch
from oracle import CountingPictures

from dreamgym.core.strips import strip

ACTION = torch.full((20, 1), 0.02)
OBS = (torch.arange(21) * 0.02)[:, None, None, None].expand(-1, 3, 4, 6)


def tiles(picture: np.ndarray) -> np.ndarray:
    """Return the grey value of each frame, `[3, columns]`."""
    assert picture.dtype == np.uint8
    return picture[::6, ::8, 0]


def test_a_perfect_model_dreams_what_is_recorded() -> None:
    shown = tiles(strip(CountingPictures(), OBS, ACTION))
    assert shown.shape == (3, 16)
    assert (shown == shown[0]).all()
    assert shown[0, 0] == 0
    assert shown[0, -1] == round(0.4 * 255)


def test_a_wrong_dream_leaves_the_recorded_frames_only_after_its_context() -> None:
    real, posterior, dreamed = tiles(strip(CountingPictures(bias=0.01), OBS, ACTION, context=5, columns=21)).astype(int)
    assert (posterior == real).all()
    assert (dreamed[:5] == real[:5]).all()
    assert abs(dreamed[5:] - real[5:] - 2.55 * np.arange(1, 17)).max() <= 1


def test_a_short_episode_gives_a_short_picture() -> None:
    assert tiles(strip(CountingPictures(), OBS[:3], ACTION[:2])).shape == (3, 3)


def test_frames_are_separated_by_white() -> None:
    picture = strip(CountingPictures(), OBS, ACTION)
    assert picture.shape == (3 * 6, 16 * 8, 3)
    assert (picture[4:6] == 255).all()
    assert (picture[:, 6:8] == 255).all()
