"""Training that meets odd data: rewards of any scale, episodes of one step, pictures without news, broken numbers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces
from oracle import LinearWorld, record_linear_world

from dreamgym.core.model import StageConfig
from dreamgym.data.episodes import Dataset, Episode
from dreamgym.data.sequences import SequenceSampler
from dreamgym.data.writer import DatasetWriter
from dreamgym.errors import InvalidDataset, TrainingFailed
from dreamgym.models.rssm import Config, Rssm
from dreamgym.training import TrainConfig, fit
from dreamgym.training.checkpoints import newest_checkpoint
from dreamgym.training.log import read_log
from dreamgym.training.stage import derive_seed

VECTOR = spaces.Box(-np.inf, np.inf, (2,), np.float32)
PICTURE = spaces.Box(0, 255, (16, 16, 3), np.uint8)
ACTION = spaces.Box(-1, 1, (1,), np.float32)
TINY = Config(groups=4, classes=4, deter_dim=16, hidden_dim=16, channels=(2, 2, 2, 2), free_nats=0.1)
CONFIG = TrainConfig(log_every=1, checkpoint_every=20, holdout=0.0, strip_episodes=0, progress=False, tensorboard=False)
STAGE = {"rssm": StageConfig(steps=60, batch_size=8, sequence_length=4, learning_rate=1e-2, grad_clip=50.0)}


def record(
    folder: Path, space: spaces.Space = VECTOR, length: int = 8, scale: float = 1.0, over: bool = False
) -> Dataset:
    """Return episodes of a point that is pushed about, paid by `scale` times 1 to 3; a picture shows nothing of it."""
    rng = np.random.default_rng(0)
    with DatasetWriter(folder, "Point-v0", space, ACTION) as writer:
        for i in range(10):
            action = rng.uniform(-1, 1, (length, 1)).astype(np.float32)
            point = np.cumsum(np.concatenate([rng.normal(size=(1, 1)), 0.3 * action]), 0)
            obs = np.concatenate([point, -point], 1).astype(np.float32)
            if space == PICTURE:
                obs = np.full((length + 1, 16, 16, 3), 100, np.uint8)
            reward = (scale * (2 + np.tanh(point[1:, 0]))).astype(np.float32)
            writer.add(Episode(obs, action, reward, terminated=over, truncated=not over), key=f"{i:04d}")
    return Dataset(folder)


def train(
    dataset: Dataset, out: Path, model_config: Config = TINY, **settings: object
) -> tuple[Rssm, dict[str, list[float]]]:
    """Return a trained model and its losses at each step."""
    torch.manual_seed(0)
    model = Rssm(model_config, dataset.observation_space, dataset.action_space)
    fit(model, dataset, out, **{"stages": STAGE, "config": CONFIG, **settings})
    log = read_log(out / "logs" / "rssm.csv")
    return model, {name: log[name] for name in ("reconstruction", "dynamics", "representation", "reward", "continue")}


def assert_sound(model: Rssm, losses: dict[str, list[float]], *falling: str) -> None:
    assert all(np.isfinite(column).all() for column in losses.values())
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    for name in falling:
        assert np.mean(losses[name][-10:]) < 0.7 * np.mean(losses[name][:5]), name


@torch.no_grad()
def predictions(model: Rssm, dataset: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rewards and probabilities of the end that the model expects of recorded first steps."""
    batch = SequenceSampler(dataset, 1, 64).batch(0)
    state = model.observe(model.initial(64), batch.action[:, 0], batch.obs[:, 0], torch.ones(64, dtype=torch.bool))
    out = model.step(state, batch.action[:, 0])
    return out.reward, out.termination


@pytest.mark.parametrize(
    ("scale", "head", "head_scale"), [(1e6, "two_hot", 1.0), (1e6, "squared", 1e-6), (1e-6, "two_hot", 1e6)]
)
def test_rewards_of_any_scale_are_learned(scale: float, head: str, head_scale: float, tmp_path: Path) -> None:
    dataset = record(tmp_path / "data", scale=scale)
    model, losses = train(dataset, tmp_path / "run", replace(TINY, reward=head, reward_scale=head_scale))
    assert_sound(model, losses, "reconstruction", "reward")
    assert 0.5 < predictions(model, dataset)[0].mean() / scale < 4  # it is 1 to 3; a new model says 0


def test_small_rewards_that_are_not_scaled_stay_small(tmp_path: Path) -> None:
    dataset = record(tmp_path / "data", scale=1e-6)
    model, losses = train(dataset, tmp_path / "run")
    assert_sound(model, losses, "reconstruction", "reward")
    assert predictions(model, dataset)[0].abs().median() < 0.05


def test_large_rewards_that_are_not_scaled_break_nothing_in_the_squared_head(tmp_path: Path) -> None:
    dataset = record(tmp_path / "data", scale=1e6)
    assert_sound(*train(dataset, tmp_path / "run", replace(TINY, reward="squared")))


def test_episodes_of_one_step_that_all_end_are_learned(tmp_path: Path) -> None:
    dataset = record(tmp_path / "data", length=1, over=True)
    model, losses = train(dataset, tmp_path / "run")
    assert_sound(model, losses, "reconstruction", "reward", "continue")
    assert (predictions(model, dataset)[1] > 0.9).all()


def test_windows_that_all_end_are_learned(tmp_path: Path) -> None:
    dataset = record(tmp_path / "data", length=4, over=True)
    endings = {"rssm": replace(STAGE["rssm"], ending_share=0.9)}
    assert_sound(*train(dataset, tmp_path / "run", stages=endings), "reward")


def test_pictures_that_never_change_are_learned(tmp_path: Path) -> None:
    dataset = record(tmp_path / "data", PICTURE)
    model, losses = train(dataset, tmp_path / "run", stages={"rssm": replace(STAGE["rssm"], steps=40)})
    assert_sound(model, losses, "reconstruction")
    dreamed = model.decode(model.step(model.initial(1), torch.zeros(1, 1)).state)
    assert (dreamed - 100 / 255).abs().mean() < 0.1


def test_two_trainings_of_one_seed_have_the_same_losses_and_another_seed_has_not(tmp_path: Path) -> None:
    dataset = record(tmp_path / "data")
    short = {"rssm": replace(STAGE["rssm"], steps=8)}
    runs = [
        train(dataset, tmp_path / str(i), stages=short, config=replace(CONFIG, seed=seed))
        for i, seed in enumerate((0, 0, 1))
    ]
    assert runs[0][1] == runs[1][1] != runs[2][1]
    for ours, theirs in zip(runs[0][0].parameters(), runs[1][0].parameters(), strict=True):
        assert torch.equal(ours, theirs)


HALF = {"rssm": replace(STAGE["rssm"], steps=30)}
KILLED = """
import os, pathlib, signal, sys, threading, time
sys.path[:0] = {paths!r}
from dreamgym.data.episodes import Dataset
from test_robust import HALF, train

def kill():
    while not pathlib.Path({out!r}, "checkpoints", "rssm-20").exists():
        time.sleep(0.0005)
    os.kill(os.getpid(), signal.SIGKILL)

threading.Thread(target=kill, daemon=True).start()
train(Dataset({data!r}), pathlib.Path({out!r}), stages=HALF)
"""


def test_a_training_that_was_killed_and_resumed_equals_one_that_was_not(tmp_path: Path) -> None:
    dataset, killed = record(tmp_path / "data"), tmp_path / "killed"
    paths = [str(folder) for folder in Path(__file__).parents[:3]]
    script = KILLED.format(paths=paths, data=str(tmp_path / "data"), out=str(killed))
    assert subprocess.run([sys.executable, "-c", script], timeout=500).returncode == -signal.SIGKILL
    resumed, losses = train(dataset, killed, stages=HALF)
    whole, expected = train(dataset, tmp_path / "whole", stages=HALF)
    assert losses == expected
    for ours, theirs in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_run_goes_on_after_its_config_got_a_new_field_that_has_its_default(tmp_path: Path) -> None:
    dataset, out = record(tmp_path / "data"), tmp_path / "run"
    short = {"rssm": replace(STAGE["rssm"], steps=2)}
    train(dataset, out, stages=short)
    newest = newest_checkpoint(out / "checkpoints")
    assert newest is not None
    state = json.loads((newest.folder / "state.json").read_text())
    del state["record"]["identity"]["model"]["config"]["free_nats_each"]
    (newest.folder / "state.json").write_text(json.dumps(state))
    train(dataset, out, stages=short)
    with pytest.raises(TrainingFailed, match=r"model.config.free_nats_each was False, is True"):
        train(dataset, out, replace(TINY, free_nats_each=True), stages=short)


@pytest.mark.parametrize(
    ("name", "space", "text"),
    [
        ("observation_space", PICTURE, r"observation_space is Box\(-inf.*the model expects Box\(0, 255, \(16, 16, 3\)"),
        ("action_space", spaces.Discrete(3), r"action_space is Box\(-1.0.*the model expects Discrete\(3\)"),
    ],
)  # fmt: skip
def test_data_of_other_spaces_are_refused_before_the_first_step(
    name: str, space: spaces.Space, text: str, tmp_path: Path
) -> None:
    dataset = record(tmp_path / "data")
    own = {"observation_space": VECTOR, "action_space": ACTION, name: space}
    with pytest.raises(InvalidDataset, match=text):
        fit(Rssm(TINY, **own), dataset, tmp_path / "run", stages=STAGE, config=CONFIG)
    assert not (tmp_path / "run").exists()


class NotANumber(LinearWorld):
    """Its reward is not a number in the 25th batch of its dynamics."""

    def loss(self, batch, stage):  # type: ignore[no-untyped-def]
        loss, terms = super().loss(batch, stage)
        self.calls = getattr(self, "calls", 0) + (stage == "dynamics" and self.training)
        if self.calls == 25:
            return loss * torch.nan, {**terms, "reward": terms["reward"] * torch.nan}
        return loss, terms


class Steep(NotANumber):
    """Its loss is a number there whose gradient is infinite."""

    def loss(self, batch, stage):  # type: ignore[no-untyped-def]
        loss, terms = LinearWorld.loss(self, batch, stage)
        self.calls = getattr(self, "calls", 0) + (stage == "dynamics" and self.training)
        if self.calls == 25:
            return loss + (self.reward.bias - self.reward.bias.detach()).abs().sqrt().sum(), terms
        return loss, terms


@pytest.mark.parametrize(
    ("world", "text"),
    [(NotANumber, "reward is nan at step 25"), (Steep, "the norm of the gradient is (inf|nan) at step 25")],
)
def test_what_is_not_finite_stops_the_run_before_it_reaches_the_weights(world, text: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    dataset = record_linear_world(tmp_path / "data")
    model, config = world(), replace(CONFIG, log_every=5)
    with pytest.raises(TrainingFailed, match=rf"{text} of stage 'dynamics'; expected a finite number") as error:
        fit(model, dataset, tmp_path / "run", config=config)
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    newest = newest_checkpoint(tmp_path / "run" / "checkpoints")
    assert newest is not None
    assert newest.folder.name == "dynamics-20"
    assert all(value.isfinite().all() for value in newest.weights.values())
    stage = LinearWorld.stages["dynamics"]
    sampler = SequenceSampler(
        dataset, stage.sequence_length, stage.batch_size, seed=derive_seed(config.seed, "dynamics", 0)
    )
    assert str(error.value).endswith(f"The batch: {'; '.join(sampler.sources(25))}.")
    assert f"{tmp_path / 'data'}: '00" in str(error.value)
