"""Training of ensembles: statistics, elites, resuming, and data of any scale."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

import dreamgym
from dreamgym.cli import main
from dreamgym.core.model import StageConfig
from dreamgym.data.collect import collect
from dreamgym.data.episodes import Dataset, Episode
from dreamgym.data.writer import DatasetWriter
from dreamgym.errors import TrainingFailed
from dreamgym.models.mlp_ensemble import Config, MlpEnsemble
from dreamgym.training import TrainConfig, fit
from dreamgym.training.checkpoints import newest_checkpoint

SMALL = Config(num_members=3, num_elites=2, hidden_dim=16, layers=1)
STAGES = {"ensemble": StageConfig(steps=40, batch_size=32, sequence_length=1, learning_rate=1e-2)}
CONFIG = TrainConfig(log_every=5, checkpoint_every=20, holdout=0.2, progress=False, tensorboard=False)
ACTION = spaces.Box(-1, 1, (1,), np.float32)


def record(folder: Path, scale: float = 1.0, length: int = 12, over: bool = False) -> Dataset:
    """Return episodes of a point that is pushed about beside a number that never changes, both of any scale."""
    rng = np.random.default_rng(0)
    space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    with DatasetWriter(folder, "Point-v0", space, ACTION) as writer:
        for i in range(20):
            action = rng.uniform(-1, 1, (length, 1)).astype(np.float32)
            point = np.cumsum(np.concatenate([rng.normal(size=(1, 1)), 0.5 * action]), 0)
            obs = (scale * np.concatenate([point, np.full_like(point, 3)], 1)).astype(np.float32)
            reward = (scale * point[1:, 0]).astype(np.float32)
            writer.add(Episode(obs, action, reward, terminated=over, truncated=not over), key=f"{i:04d}")
    return Dataset(folder)


def train(dataset: Dataset, out: Path, steps: int = 40, **settings: object) -> MlpEnsemble:
    torch.manual_seed(0)
    model = MlpEnsemble(SMALL, dataset.observation_space, dataset.action_space)
    stages = {"ensemble": replace(STAGES["ensemble"], steps=steps)}
    fit(model, dataset, out, **{"stages": stages, "config": CONFIG, **settings})  # type: ignore[arg-type]
    return model


def values(model: MlpEnsemble) -> dict[str, list[float]]:
    return {name: value.tolist() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_numbers_of_any_scale_are_learned_and_what_is_constant_stays(scale: float, tmp_path: Path) -> None:
    model = train(record(tmp_path / "data", scale), tmp_path / "run", steps=300)
    obs, action = torch.tensor([[0.2, 3.0], [-1.0, 3.0]]) * scale, torch.tensor([[0.8], [-0.4]])
    state = model.observe(model.initial(2), action, obs, torch.ones(2, dtype=torch.bool))
    with torch.no_grad():
        out = model.step(state, action, torch.zeros(2, model.noise_dim))
    after = model.decode(out.state)
    expected = torch.tensor([0.6, -1.2])
    assert isinstance(after, torch.Tensor)
    assert (after[:, 0] / scale - expected).abs().max() < 0.05
    assert (after[:, 1] / scale).tolist() == pytest.approx([3, 3])
    assert (out.reward / scale - expected).abs().max() < 0.1
    assert out.termination.eq(0).all()  # an ending that was never recorded is never dreamed
    assert out.info["disagreement"].max() < 0.5


def test_members_disagree_where_nothing_was_recorded(tmp_path: Path) -> None:
    model = train(record(tmp_path / "data"), tmp_path / "run", steps=300)
    obs = torch.tensor([[0.0, 3.0], [40.0, 3.0]])
    state = model.observe(model.initial(2), obs, obs, torch.ones(2, dtype=torch.bool))
    known, unknown = model.step(state, torch.zeros(2, 1)).info["disagreement"].tolist()
    assert unknown > 3 * known


def test_episodes_of_one_step_that_all_end_are_learned(tmp_path: Path) -> None:
    dataset = record(tmp_path / "data", length=1, over=True)
    model = train(dataset, tmp_path / "run", steps=100)
    out = model.step(model.initial(4), torch.zeros(4, 1))
    assert out.termination.eq(1).all()


def test_statistics_are_those_of_the_episodes_that_are_trained_on(tmp_path: Path) -> None:
    dataset = record(tmp_path / "data")
    model = train(dataset, tmp_path / "run")
    used, held_out = dataset.split(CONFIG.holdout)
    assert len(held_out) > 0
    obs = np.concatenate([episode.obs[:-1] for episode in used]).astype(np.float64)  # type: ignore[call-overload]
    assert model.obs_mean.tolist() == pytest.approx(obs.mean(0))
    assert model.obs_std.tolist() == pytest.approx([obs[:, 0].std(), 0])


@pytest.mark.parametrize("holdout", [0.2, 0.0])
def test_elites_are_chosen_at_the_end_of_a_run(holdout: float, tmp_path: Path) -> None:
    class Watched(MlpEnsemble):
        def end_stage(self, stage, batches):  # type: ignore[no-untyped-def]
            seen = list(batches)
            self.judged = sum(int(batch.mask.sum()) for batch in seen)
            super().end_stage(stage, iter(seen))
            self.totals = sum((self._errors(b) * b.mask.flatten()).sum(1) for b in seen)

    dataset = record(tmp_path / "data")
    model = Watched(SMALL, dataset.observation_space, dataset.action_space)
    fit(model, dataset, tmp_path / "run", stages=STAGES, config=replace(CONFIG, holdout=holdout))
    used, held_out = dataset.split(holdout)
    assert model.judged == (held_out if holdout else used).num_steps
    assert model.elites.tolist() == sorted(model.totals.argsort()[:2].tolist())
    checkpoint = newest_checkpoint(tmp_path / "run" / "checkpoints")
    assert checkpoint is not None
    assert torch.equal(checkpoint.weights["elites"], model.elites)


def test_a_run_that_was_interrupted_and_resumed_equals_one_that_was_not(tmp_path: Path) -> None:
    class Interrupted(MlpEnsemble):
        calls = 0

        def loss(self, batch, stage):  # type: ignore[no-untyped-def]
            self.calls += self.training
            if self.calls == 33:
                raise KeyboardInterrupt
            return super().loss(batch, stage)

    dataset = record(tmp_path / "data")
    torch.manual_seed(0)
    model = Interrupted(SMALL, dataset.observation_space, dataset.action_space)
    with pytest.raises(KeyboardInterrupt):
        fit(model, dataset, tmp_path / "run", stages=STAGES, config=CONFIG)
    model.calls = 100
    fit(model, dataset, tmp_path / "run", stages=STAGES, config=CONFIG)
    assert model.calls == 120  # it went on at step 20
    assert values(model) == values(train(dataset, tmp_path / "whole"))


def test_training_anew_takes_the_statistics_of_the_new_data(tmp_path: Path) -> None:
    model = train(record(tmp_path / "data"), tmp_path / "run")
    before = model.obs_std[0].item()
    larger = record(tmp_path / "larger", scale=10.0)
    fit(model, larger, tmp_path / "more", stages=STAGES, config=CONFIG)
    assert model.obs_std[0].item() == pytest.approx(10 * before)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    dataset = record(tmp_path / "data")
    model = MlpEnsemble(SMALL, dataset.observation_space, dataset.action_space)
    with torch.no_grad():
        model.net.biases[0][1] = torch.nan
    with pytest.raises(TrainingFailed, match="likelihood is nan at step 1 of stage 'ensemble'; expected a finite"):
        fit(model, dataset, tmp_path / "run", stages=STAGES, config=CONFIG)


def test_recordings_of_cart_pole_become_an_env_from_the_command_line(tmp_path: Path) -> None:
    collect("CartPole-v1", tmp_path / "data", episodes=60)
    arguments = ["train", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "dream"), "--model", "mlp_ensemble"]
    sizes = ["--model.hidden-dim", "32", "--model.num-members", "3", "--ensemble.steps", "300", "--starts", "100"]
    with pytest.raises(SystemExit, match="0"):
        main([*arguments, "--preset", "pets", *sizes, "--log-every", "300", "--holdout", "0.1"])
    env, real = gym.make("DreamEnv-v0", model=str(tmp_path / "dream"), starts="first"), gym.make("CartPole-v1")
    obs, _ = env.reset(seed=3)
    real.reset(seed=0)
    real.unwrapped.state = obs
    for action in (0, 1, 1, 0, 1):
        dreamed, reward, terminated, truncated, info = env.step(action)
        assert dreamed == pytest.approx(real.step(action)[0], abs=0.1)
        assert (reward, terminated, truncated) == (pytest.approx(1), False, False)
        assert 0 < info["disagreement"] < 1
    assert dreamgym.load(tmp_path / "dream").model.config.num_members == 3
