"""The iterative procedure, in miniature: a round's policy, recording and better dream, and going on after a stop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny import dodge_episode, save_tiny_dream

from dreamgym.bridges.sb3_ppo import PPOConfig
from dreamgym.core.model import StageConfig
from dreamgym.data import Dataset, DatasetWriter
from dreamgym.hub import load, load_policy
from dreamgym.improve import ImproveConfig, improve
from dreamgym.publish import publish
from dreamgym.training import TrainConfig

CONFIG = ImproveConfig(
    rounds=1, decisions=512, horizon=8, episodes=3, score_episodes=2, num_starts=16, num_workers=1,
    ppo=PPOConfig(rollout=2, minibatch=256, epochs=1, hidden=(8,)),
)  # fmt: skip
STAGES = {"mdn_rnn": StageConfig(steps=2, batch_size=2, sequence_length=4)}
TRAIN = TrainConfig(holdout=0.0, strip_episodes=0, progress=False, tensorboard=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("improve")
    model = load(save_tiny_dream(out / "tiny")).model
    with DatasetWriter(out / "data", "Dodge-v0", model.observation_space, model.action_space) as writer:
        for seed in range(3):
            writer.add(dodge_episode(seed))
    improve(out / "tiny", [out / "data"], out / "run", stages=STAGES, config=CONFIG, train=TRAIN, progress=False)
    return out


def again(out: Path) -> list[int]:
    rounds = improve(out / "tiny", [out / "data"], out / "run", stages=STAGES, config=CONFIG, train=TRAIN)
    return [row.steps for row in rounds]


def test_a_round_records_with_its_policy_and_the_next_dream_learns_from_it(run: Path) -> None:
    recorded = Dataset(run / "run" / "round-00" / "data")
    assert [meta["driver"] for meta in recorded.metas] == ["policy"] * 3
    before, after = load(run / "tiny").model, load(run / "run" / "round-00" / "dream").model
    changed = {n for n, w in after.state_dict().items() if not w.equal(before.state_dict()[n])}
    assert changed
    assert all(name.startswith(("lstm", "heads")) for name in changed)  # only the stage that was named


def test_each_round_counts_the_data_behind_it(run: Path) -> None:
    assert again(run) == [24, 24 + Dataset(run / "run" / "round-00" / "data").num_steps]


def test_the_same_call_goes_on_where_it_stopped(run: Path) -> None:
    report = run / "run" / "round-00" / "round.json"
    told = json.loads(report.read_text()) | {"real_score": 123.0}
    report.write_text(json.dumps(told))  # had it begun again, it would be written anew
    stamp = (run / "run" / "round-00" / "dream" / "card.toml").stat().st_mtime_ns
    again(run)
    assert json.loads(report.read_text())["real_score"] == 123.0
    assert (run / "run" / "round-00" / "dream" / "card.toml").stat().st_mtime_ns == stamp


def test_the_round_that_is_best_in_the_real_env_is_kept_with_its_policy(run: Path) -> None:
    rounds = [json.loads((run / "run" / f"round-{n:02d}" / "round.json").read_text()) for n in range(2)]
    best = load(run / "run" / "best")
    chosen = load(max(rounds, key=lambda row: row["real_score"])["dream"])
    assert best.model_sha256 == chosen.model_sha256
    assert load_policy("shipped", best).config.model_sha256 == best.model_sha256


def test_a_published_dream_says_what_it_scored_on_which_seeds(run: Path) -> None:
    made: dict[str, Any] = {"commands": ["make it"], "remark": "Made by hand."}
    card = publish(run / "run" / "best", run / "shipped", id="Tiny-v0", **made, episodes=2, seed=40)
    assert load(run / "shipped").card == card | {"files": load(run / "shipped").card["files"]}
    assert card["id"] == "Tiny-v0"
    assert (card["commands"], card["remark"]) == (["make it"], "Made by hand.")
    assert card["seed"] == 40
    assert card["scores"]["real"]["episodes"] == 2
    assert {"random", "nothing"} <= card["probes"].keys()
