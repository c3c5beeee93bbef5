"""Training on pictures: strips of real and dreamed frames, and bfloat16."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces
from PIL import Image

from dreamgym.core.model import StageConfig
from dreamgym.data.episodes import Dataset, Episode
from dreamgym.data.writer import DatasetWriter
from dreamgym.models.vae_mdn_rnn import Config, VaeMdnRnn
from dreamgym.training import TrainConfig, fit

PICTURES = spaces.Box(0, 255, (64, 64, 3), np.uint8)
ACTIONS = spaces.Discrete(2)
STAGES = {
    "vae": StageConfig(steps=4, batch_size=4, sequence_length=0),
    "mdn_rnn": StageConfig(steps=4, batch_size=4, sequence_length=3),
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    with DatasetWriter(folder, "Pictures-v0", PICTURES, ACTIONS) as writer:
        for length in (3, 70):
            obs = rng.integers(0, 255, (length + 1, 64, 64, 3), np.uint8)
            action = rng.integers(0, 2, length)
            writer.add(Episode(obs, action, np.ones(length, np.float32), True, False), key=f"{length:04d}")
    return Dataset(folder)


def model() -> VaeMdnRnn:
    torch.manual_seed(0)
    return VaeMdnRnn(Config(latent_dim=2, hidden_dim=4, num_mixtures=2, channels=(2, 2, 2, 2)), PICTURES, ACTIONS)


def config(**changes: object) -> TrainConfig:
    return TrainConfig(**{"log_every": 2, "checkpoint_every": 2, "holdout": 0.0, "tensorboard": False, **changes})  # type: ignore[arg-type]


def test_every_checkpoint_comes_with_a_picture_of_real_above_dreamed_frames(dataset: Dataset, tmp_path: Path) -> None:
    fit(model(), dataset, tmp_path, stages=STAGES, config=config())
    names = {path.name for path in (tmp_path / "strips").iterdir()}
    assert names == {"vae-2.png", "vae-4.png", "mdn_rnn-2.png", "mdn_rnn-4.png"}
    picture = np.asarray(Image.open(tmp_path / "strips" / "mdn_rnn-4.png"))
    assert picture.shape == (2 * 3 * 66, 16 * 66, 3)  # two episodes, three rows each; the short one leaves white behind
    assert (picture[:64, :64] == dataset[0].obs[0]).all()
    assert (picture[:198, 4 * 66 :] == 255).all()
    assert (picture[198:262, :64] == dataset[1].obs[3]).all()  # 64 steps from the middle of 70
    assert (picture[198:262, -66:-2] == dataset[1].obs[67]).all()


def test_no_pictures_are_made_of_zero_episodes(dataset: Dataset, tmp_path: Path) -> None:
    fit(model(), dataset, tmp_path, stages=STAGES, config=config(strip_episodes=0))
    assert not (tmp_path / "strips").exists()


@pytest.mark.parametrize(("stage", "equal"), [("vae", False), ("mdn_rnn", True)])
def test_bfloat16_is_used_where_pictures_are_learned_and_nowhere_else(
    dataset: Dataset, tmp_path: Path, stage: str, equal: bool
) -> None:
    results = [
        fit(model(), dataset, tmp_path / precision, stages=STAGES, only=[stage], config=config(precision=precision))
        for precision in ("fp32", "bf16")
    ]
    full, half = (result.model.state_dict() for result in results)
    assert all(value.dtype == torch.float32 for value in half.values())
    assert all(torch.equal(full[name], half[name]) for name in full) == equal
    for name, value in results[0].terms[stage].items():
        assert results[1].terms[stage][name] == pytest.approx(value, rel=0.02)
