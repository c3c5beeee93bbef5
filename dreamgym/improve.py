"""The iterative procedure of the 2018 paper: dream, act in the real world, record, learn a better dream, repeat."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from dreamgym.bridges.sb3 import export_policy
from dreamgym.bridges.sb3_ppo import PPOConfig, train_ppo
from dreamgym.core.kept import Kept
from dreamgym.core.model import StageConfig
from dreamgym.core.starts import make_start_bank
from dreamgym.core.wrapper import WrapSpec
from dreamgym.data.collect import collect, summarize
from dreamgym.data.episodes import Dataset
from dreamgym.envs.twin import real_id
from dreamgym.evaluation.driver import PolicyDriver
from dreamgym.evaluation.transfer import evaluate
from dreamgym.hub import LoadedDream, load, save_dream
from dreamgym.training import TrainConfig, fit


@dataclass(frozen=True, kw_only=True)
class ImproveConfig:
    """How a dream and its policy are improved together."""

    rounds: int = 3
    """Times that the policy goes out and the world model learns from what it met."""
    decisions: int = 3_000_000
    """Dreamed decisions that a round's policy is trained with."""
    horizon: int = 64
    """Decisions after which a dream begins anew while the policy is trained."""
    wrap: WrapSpec = ()
    """Model wrappers for the policy's training, e.g. `[("tent", {"peak": 4.2})]`."""
    episodes: int = 40
    """Real episodes that a round records."""
    noise: tuple[float, ...] = (0.0, 0.1, 0.3)
    """Of the recording policy, one drawn for each episode; see `PolicyDriver`."""
    score_episodes: int = 8
    """Real and dreamed episodes that score a round; they choose the best one, so report on other seeds."""
    score_seed: int = 500_000
    """Of the first scored episode."""
    record_seed: int = 600_000
    """Of the first recorded episode; a round takes the next 10,000."""
    num_starts: int = 2000
    """States in the start bank."""
    num_workers: int = 2
    """Processes that play real episodes."""
    seed: int = 0
    """Of weights, dreams and exploration."""
    ppo: PPOConfig = field(default_factory=PPOConfig)


@dataclass(frozen=True)
class Round:
    """What a round reached, before the world model learned from it."""

    number: int
    dream: str
    """Folder of the dream that the policy was trained in."""
    policy: str
    """The policy's file."""
    dream_score: float
    """Mean return in the dream."""
    real_score: float
    """Mean return in the real env over the scored episodes."""
    real_std: float
    steps: int
    """Recorded decisions that the dream was learned from."""


def improve(
    dream: str | Path,
    data: Sequence[str | Path],
    out: str | Path,
    *,
    stages: Mapping[str, StageConfig] | None = None,
    config: ImproveConfig | None = None,
    train: TrainConfig | None = None,
    progress: bool = True,
) -> list[Round]:
    """Return what each round reached; the best one's dream and policy are written to `out/best`.

    A round trains a policy in the newest dream from scratch, scores it in the dream and in the real env, records with
    it, and trains the world model further on everything. Interrupted, the same call goes on where it stopped.

    Args:
        dream: the dream to begin with: an id or a folder.
        data: the datasets that it was learned from.
        out: holds a folder for each round.
        stages: how the world model is trained further in each round; a stage that is left out keeps its weights.
        config: everything else.
        train: how the runs of `fit` are done.
        progress: print a line for each round.
    """
    config, out = config or ImproveConfig(), Path(out)
    folder, datasets = Path(load(dream).folder or dream), [Path(d) for d in data]
    rounds: list[Round] = []
    for number in range(config.rounds + 1):
        here = out / f"round-{number:02d}"
        rounds.append(_score(number, folder, Dataset(datasets).num_steps, here, config))
        if progress:
            row = rounds[-1]
            print(f"round {number}: {row.steps:,} recorded decisions, dream {row.dream_score:.1f}, "
                  f"real {row.real_score:.1f} +- {row.real_std:.1f}", flush=True)  # fmt: skip
        if number == config.rounds:
            break
        datasets.append(_record(rounds[-1], here / "data", config))
        folder = _learn(folder, datasets, here, stages, config, train)
    best = max(rounds, key=lambda row: row.real_score)
    chosen = load(best.dream)
    card = {**chosen.card, "rounds": [asdict(row) | {"dream": Path(row.dream).name, "policy": ""} for row in rounds]}
    save_dream(out / "best", chosen.model, chosen.starts, card, policy=Path(best.policy))
    return rounds


def _score(number: int, folder: Path, steps: int, here: Path, config: ImproveConfig) -> Round:
    """Train and score a round's policy, or return what an earlier call wrote."""
    report = here / "round.json"
    if report.is_file():
        return Round(**json.loads(report.read_text()))
    here.mkdir(parents=True, exist_ok=True)
    policy, keep = here / "policy.safetensors", Kept(here / "policy.unfinished")
    algorithm, _ = train_ppo(
        folder,
        decisions=config.decisions,
        horizon=config.horizon,
        wrap=config.wrap,
        seed=config.seed,
        config=config.ppo,
        keep=keep,
    )
    export_policy(algorithm, folder, policy)
    figures = evaluate(
        folder, policy, episodes=config.score_episodes, seed=config.score_seed, num_workers=config.num_workers
    )
    real = figures["real"]
    row = Round(number, str(folder), str(policy), figures["dream"]["mean"], real["mean"], real["std"], steps)
    report.write_text(json.dumps(asdict(row), indent=2) + "\n")
    keep.remove()
    return row


def _record(row: Round, out: Path, config: ImproveConfig) -> Path:
    """Record with a round's policy; `collect` goes on where an earlier call was interrupted."""
    driver = PolicyDriver(row.dream, row.policy, noise=config.noise)
    collect(
        real_id(load(row.dream)),
        out,
        episodes=config.episodes,
        driver="policy",
        drivers={"policy": driver},
        seed=config.record_seed + 10_000 * row.number,
        num_workers=config.num_workers,
    )
    return out


def _learn(
    folder: Path, datasets: list[Path], here: Path, stages: Mapping[str, StageConfig] | None, config: ImproveConfig,
    train: TrainConfig | None,
) -> Path:  # fmt: skip
    """Train a dream's world model further on all data and return the new dream's folder."""
    out = here / "dream"
    if (out / "card.toml").is_file():
        return out
    before: LoadedDream = load(folder)
    dataset = Dataset(datasets)
    result = fit(
        copy.deepcopy(before.model), dataset, here / "training", stages=stages,
        only=tuple(stages) if stages is not None else None, config=train,
    )  # fmt: skip
    holdout = (train or TrainConfig()).holdout
    starts = make_start_bank(result.model, dataset.split(holdout)[0], config.num_starts, seed=config.seed)
    data = {"env": dataset.env_id, **summarize(dataset)}
    return save_dream(out, result.model, starts, {**before.card, "data": data})
