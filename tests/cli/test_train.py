"""Training from Minari datasets, without a folder of recordings in between."""

import gymnasium as gym
import numpy as np
import pytest
import torch

import dreamgym
from dreamgym.cli import commands as cli
from dreamgym.data.collect import collect
from dreamgym.data.episodes import Dataset
from dreamgym.data.minari import to_minari


@pytest.fixture
def minari(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return pytest.importorskip("minari")


def train(out, *names):
    """Train for a moment."""
    model = ["--model=mlp_ensemble", "--model.hidden-dim=4", "--model.num-members=2", "--model.termination=never"]
    brief = ["--ensemble.steps=2", "--starts=4", "--no-tensorboard"]
    data = [f"minari:{name}" for name in names]
    with pytest.raises(SystemExit) as exit_:
        cli.main(["train", "--data", *data, "--out", str(out), *model, *brief])
    return exit_.value.code


def test_minari_datasets_become_a_dream_with_the_real_twin_that_they_name(tmp_path, minari):
    for i in range(2):
        collect("Pendulum-v1", tmp_path / f"data{i}", episodes=2, seed=10 * i, max_episode_steps=8, progress=False)
        to_minari(Dataset(tmp_path / f"data{i}"), f"pendulum/part{i}-v0", env="Pendulum-v1")
    assert train(tmp_path / "dream", "pendulum/part0-v0", "pendulum/part1-v0") == 0
    env = gym.make("DreamEnv-v0", model=str(tmp_path / "dream"))
    assert env.observation_space == gym.make("Pendulum-v1").observation_space
    card = env.unwrapped.dream.card
    assert (card["real"], card["max_episode_steps"]) == ("Pendulum-v1", 200)
    assert card["data"]["minari"] == ["pendulum/part0-v0", "pendulum/part1-v0"]
    assert card["data"]["steps"] == 32
    figures = dreamgym.evaluate(tmp_path / "dream", "random", episodes=1)
    assert figures["real"]["lengths"] == figures["dream"]["lengths"] == [200]


def test_dreams_begin_in_the_recordings_that_are_named_for_it(tmp_path):
    for name, seed in (("learned", 0), ("begun", 7)):
        collect("Pendulum-v1", tmp_path / name, episodes=3, seed=seed, max_episode_steps=9, progress=False)
    model = ["--model=mlp_ensemble", "--model.hidden-dim=4", "--model.num-members=2", "--model.termination=never"]
    brief = ["--ensemble.steps=1", "--starts=8", "--no-tensorboard", "--holdout=0"]
    for out, more in (("usual", []), ("named", [f"--starts-data={tmp_path / 'begun'}"])):
        data, folder = str(tmp_path / "learned"), tmp_path / out
        with pytest.raises(SystemExit, match="0"):
            cli.main(["train", "--data", data, "--out", str(folder), *model, *brief, *more])
    for out, source in (("usual", "learned"), ("named", "begun")):
        recorded = np.concatenate([episode.obs for episode in Dataset(tmp_path / source)])
        dream = dreamgym.load(tmp_path / out)
        first = dream.model.decode(dream.starts.sample(torch.linspace(0, 0.99, 8))).numpy()
        assert all(np.abs(recorded - obs).sum(1).min() < 0.05 for obs in first), out


def test_a_missing_dataset_is_said_in_one_line(tmp_path, minari, capsys):
    assert train(tmp_path / "dream", "toy/nope-v0") == 2
    assert "no local dataset 'toy/nope-v0'; download it with `minari download" in capsys.readouterr().err
    assert not (tmp_path / "dream").exists()


@pytest.mark.parametrize(
    ("env", "advice"),
    [
        ("Pendulum-v1", "Train a family that reads vectors: --model mlp_ensemble, or --model rssm."),
        ("DynaMaze-v0", "Train a family that counts: --model tabular."),
    ],
)
def test_data_that_the_default_family_cannot_see_name_one_that_can(env, advice, tmp_path, capsys):
    collect(env, tmp_path / "data", episodes=1, max_episode_steps=5, progress=False)
    with pytest.raises(SystemExit, match="2"):
        cli.main(["train", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "dream")])
    assert f"is not supported by vae_mdn_rnn; expected uint8 pictures (64, 64, 3). {advice}" in capsys.readouterr().err
