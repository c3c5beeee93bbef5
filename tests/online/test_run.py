"""The online agent on small real environments: what it records, learns, keeps when it is killed, and leaves behind."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from dreamgym.agents.dreamer_config import DreamerConfig
from dreamgym.cli.dreamer import default_model
from dreamgym.data.episodes import Dataset
from dreamgym.errors import InvalidArgument, InvalidDataset, InvalidModel, TrainingFailed, UnsupportedSpace
from dreamgym.evaluation.transfer import evaluate
from dreamgym.hub import load
from dreamgym.models.rssm import Config
from dreamgym.online import OnlineConfig, train_online
from dreamgym.training.checkpoints import newest_checkpoint
from dreamgym.training.log import read_log

ROOT = Path(__file__).parents[2]
MODEL = Config(deter_dim=8, hidden_dim=8, groups=2, classes=3, channels=(2, 2, 2, 2))
AGENT = DreamerConfig(hidden=(8,), horizon=3)
RUN = OnlineConfig(
    steps=120, prefill=60, train_ratio=4, batch_size=2, sequence_length=6, starts_per_update=4, eval_every=60,
    eval_episodes=1, log_every=20, checkpoint_every=30, num_starts=10, max_episode_steps=25, tensorboard=False,
)  # fmt: skip


def train(out, env="CartPole-v1", agent=AGENT, **changes):
    return train_online(env, out, model=MODEL, agent=agent, config=replace(RUN, **changes))


class Spaces(gym.Env):
    """An env that must never be stepped."""

    def __init__(self, observation_space, action_space):
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, **kwargs):
        raise AssertionError("reset")


class Broken(gym.Env):
    """Shows NaN at its third step."""

    observation_space, action_space = spaces.Box(-np.inf, np.inf, (2,)), spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        self.t = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.full(2, np.nan if self.t == 3 else 0.0, np.float32), 0.0, self.t == 5, False, {}


def endless():
    return Spaces(spaces.Box(-1, 1, (2,)), spaces.Box(-np.inf, np.inf, (1,)))


def tuples():
    return Spaces(spaces.Tuple([spaces.Discrete(2)]), spaces.Discrete(2))


def many():
    return Spaces(spaces.Box(-1, 1, (2,)), spaces.MultiDiscrete([2, 2]))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("online") / "cart"
    return out, train(out)


def test_a_run_spends_exactly_its_steps_and_its_replay(finished):
    out, result = finished
    dataset = Dataset(out / "data")
    assert result.steps == dataset.num_steps == 120
    assert result.updates == 60 * 4 // (2 * 6)
    assert max(dataset.lengths) <= 25
    assert max(result.score["lengths"]) <= 25
    drivers = [meta["driver"] for meta in dataset.metas]
    first = drivers.index("dreamer")
    assert 60 <= dataset.lengths[:first].sum() < 60 + 25
    assert set(drivers[first:]) == {"dreamer"}
    assert not dataset[len(dataset) - 1].terminated or dataset.num_steps == 120


def test_what_is_evaluated_was_never_learned_from(finished):
    seeds = [meta["seed"] for meta in Dataset(finished[0] / "data").metas]
    assert len(set(seeds)) == len(seeds)
    assert max(seeds) < RUN.eval_seed


def test_the_log_has_the_terms_of_model_and_agent_and_the_score_in_the_real_env(finished):
    log = read_log(finished[0] / "training" / "logs" / "online.csv")
    assert log["step"][-1] == 120
    assert log["updates"][-1] == finished[1].updates
    assert {"reconstruction", "dynamics", "reward", "continue", "actor_loss", "critic_loss", "entropy"} <= set(log)
    assert log["evaluation"][-1] == finished[1].score["mean"]


def test_its_dream_is_a_gymnasium_env_and_its_policy_is_scored_on_both_sides(finished):
    out, result = finished
    env = gym.make("DreamEnv-v0", model=str(out))
    obs, _ = env.reset(seed=0)
    assert obs.shape == (4,)
    assert env.step(1)[0].shape == (4,)
    env.close()
    figures = evaluate(out, result.policy, episodes=2)
    assert set(figures) == {"real", "dream"}
    card = load(out).card
    assert (card["real"], card["max_episode_steps"], card["training"]["steps"]) == ("CartPole-v1", 25, 120)


def test_a_finished_run_is_not_repeated_and_goes_on_when_it_is_given_more_steps(tmp_path):
    first = train(tmp_path / "run", steps=70)
    assert train(tmp_path / "run", steps=70).score == first.score
    assert train(tmp_path / "run", steps=90).steps == 90
    assert Dataset(tmp_path / "run" / "data").num_steps == 90
    log = read_log(tmp_path / "run" / "training" / "logs" / "online.csv")
    assert log["step"] == sorted(set(log["step"]))


def test_the_same_seed_gives_the_same_run_even_if_it_is_stopped_where_an_episode_ends(tmp_path):
    one = train(tmp_path / "one", checkpoint_every=1)
    other = train(tmp_path / "other", checkpoint_every=1)
    assert weights(tmp_path / "one") == weights(tmp_path / "other")
    assert one.score == other.score
    assert train(tmp_path / "third", seed=1).score["returns"] != one.score["returns"] or weights(
        tmp_path / "third"
    ) != weights(tmp_path / "one")


def weights(out):
    checkpoint = newest_checkpoint(out / "training" / "checkpoints")
    return {name: value.double().sum().item() for name, value in checkpoint.weights.items() if "ends" not in name}


def last_updates(out):
    """Return the updates of the newest checkpoint of a run that is still writing."""
    found = [0]
    for path in out.glob("training/checkpoints/online-*/state.json"):
        with contextlib.suppress(FileNotFoundError):  # pruned
            found.append(json.loads(path.read_text())["record"]["updates"])
    return max(found)


@pytest.mark.filterwarnings("ignore:.*is damaged and skipped")  # the kill may come while an old checkpoint is removed
def test_killed_it_goes_on_with_its_episodes_weights_and_moments(tmp_path):
    out = tmp_path / "run"
    script = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests' / 'online')!r}]\n"
        f"from test_run import train; train({str(out)!r}, steps=100_000, eval_every=100_000)"
    )
    process = subprocess.Popen([sys.executable, "-c", script])
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and last_updates(out) <= 3:
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    before = newest_checkpoint(out / "training" / "checkpoints")
    keys = Dataset(out / "data").keys
    steps = Dataset(out / "data").num_steps
    assert before.record["updates"] > 3
    assert steps >= before.step
    result = train(out, steps=steps + 30, eval_every=100_000)
    assert result.steps == steps + 30
    assert result.updates == (steps + 30 - RUN.prefill) * 4 // 12
    assert Dataset(out / "data").keys[: len(keys)] == keys
    after = newest_checkpoint(out / "training" / "checkpoints")
    assert after.weights["agent.num_updates"].item() == result.updates
    assert after.optimizer["model.0.step"].item() == result.updates  # the moments were taken along
    assert after.optimizer["agent.actor.0.step"].item() == result.updates


def test_a_run_with_other_settings_is_not_resumed(tmp_path):
    train(tmp_path / "run", steps=65)
    with pytest.raises(TrainingFailed, match=r"settings: agent.horizon was 3, is 4; run.batch_size was 2, is 3\."):
        train(tmp_path / "run", agent=replace(AGENT, horizon=4), batch_size=3)


def test_a_run_goes_on_after_its_configs_got_new_fields(tmp_path):
    train(tmp_path / "run", steps=65)
    state = newest_checkpoint(tmp_path / "run" / "training" / "checkpoints").folder / "state.json"
    kept = json.loads(state.read_text())
    for part, name in (("model", "bright_weight"), ("agent", "slow_weight")):
        del kept["record"]["identity"][part][name]
    state.write_text(json.dumps(kept))
    assert train(tmp_path / "run", steps=70).steps == 70


@pytest.mark.parametrize(("env", "shape"), [("Pendulum-v1", (3,)), ("Dodge-v0", (64, 64, 3))])
def test_levers_and_pictures_are_learned_too(env, shape, tmp_path):
    result = train(tmp_path / "run", env=env, steps=68, prefill=60)
    assert Dataset(tmp_path / "run" / "data").observation_space.shape == shape
    assert result.updates == 2
    assert np.isfinite(result.score["mean"])


@pytest.mark.parametrize(
    ("env", "text"),
    [
        ("endless", r"dreamer cannot act in Box\(-inf, inf.*, which has no bounds"),
        ("tuples", r"observation space Tuple\(Discrete\(2\)\) is not supported by rssm"),
        ("many", r"action space MultiDiscrete\(\[2 2\]\) is not supported; expected a Box or a Discrete"),
    ],
)
def test_spaces_that_cannot_be_learned_are_refused_before_the_first_step(env, text, tmp_path):
    with pytest.raises(UnsupportedSpace, match=text):
        train(tmp_path / "run", env=f"{__name__}:{env}")
    assert not (tmp_path / "run").exists()


def test_a_model_that_is_learned_in_several_stages_is_refused(tmp_path):
    with pytest.raises(InvalidModel, match="VaeMdnRnn is learned in the stages vae, mdn_rnn; .* learned in one"):
        train_online("Dodge-v0", tmp_path / "run", family="vae_mdn_rnn", config=RUN)


def test_a_device_that_is_not_there_is_refused_by_its_name(tmp_path):
    with pytest.raises(InvalidArgument, match="device is 'abacus', which is not to be had here"):
        train(tmp_path / "run", device="abacus")


def test_an_env_that_is_not_finite_is_refused_by_its_field(tmp_path):
    with pytest.raises(InvalidDataset, match=r"gave a obs that is not finite in episode 0"):
        train(tmp_path / "run", env=f"{__name__}:Broken")


def test_a_world_model_that_diverges_stops_the_run_by_the_name_of_the_term(tmp_path, monkeypatch):
    from dreamgym.models.rssm import Rssm

    loss = Rssm.loss

    def spoiled(self, batch, stage):
        value, terms = loss(self, batch, stage)
        return value * torch.nan, {**terms, "reward": terms["reward"] * torch.nan}

    monkeypatch.setattr(Rssm, "loss", spoiled)
    with pytest.raises(TrainingFailed, match=r"reward is nan at update 1 of the world model, after \d+ real steps"):
        train(tmp_path / "run")
    assert newest_checkpoint(tmp_path / "run" / "training" / "checkpoints") is not None


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"steps": 0}, "steps is 0; expected at least 1"),
        ({"batch_size": 0}, "batch_size is 0; expected at least 1"),
        ({"train_ratio": -1.0}, "train_ratio is -1.0; expected a positive number"),
    ],
)
def test_counts_out_of_range_are_refused_by_their_value(changes, text):
    with pytest.raises(InvalidArgument, match=text):
        OnlineConfig(**changes)


def test_the_card_and_record_are_plain_json(finished):
    record = newest_checkpoint(finished[0] / "training" / "checkpoints").record
    assert json.loads(json.dumps(record))["identity"]["env"] == "CartPole-v1"


@pytest.mark.slow
def test_cartpole_is_learned_in_a_few_thousand_real_steps(tmp_path):
    model = default_model("rssm", "CartPole-v1")
    result = train_online("CartPole-v1", tmp_path / "run", model=model, config=OnlineConfig(steps=2000))
    assert result.score["mean"] > 100  # by chance 22
