"""What tables of dreams share: train a policy in a kind of dream, score it there and in the real twin, keep the row.

`temperature_table.py` and `mixtures.py` fill their tables with it, `car_ablation.py` writes its own.
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dreamgym.bridges.sb3 import export_policy
from dreamgym.bridges.sb3_ppo import PPOConfig, train_ppo
from dreamgym.core.policy import Policy
from dreamgym.core.wrapper import WrapSpec
from dreamgym.envs.open import open_dream
from dreamgym.evaluation.lockstep import play_in_lockstep
from dreamgym.evaluation.policies import make_policy
from dreamgym.evaluation.transfer import Outcome, dream_episodes
from dreamgym.hub import LoadedDream

LANES = 50  # real episodes side by side: a batch of pictures costs little more than one


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """In which dreams a policy is trained; it names a row."""

    world: str
    """Which model dreams."""
    dreams: str
    """What is done to its dreams: a temperature, "random" or "penalty"."""
    starts: str = "all"
    """Where a dream begins: in "all" recorded situations, or in the "first" ones of episodes."""
    horizon: int = 100
    """Decisions after which a dream begins anew."""
    seed: int = 0
    """Of the training."""
    decisions: int = 500_000
    """Of all dreams together."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """Returns of whole episodes, each side with the standard deviation of an episode."""

    own: float
    """In dreams as they were in the training, from where episodes began."""
    own_std: float
    learned: float
    """In dreams as the model learned them: at temperature 1 and without a penalty."""
    learned_std: float
    real: float
    real_std: float
    real_min: float
    episodes: int
    """On each side."""
    seconds: float
    """Of the process, for training and scores."""


Row = tuple[Lesson, Score]


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a table on disk; none if there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [(_parse(Lesson, row), _parse(Score, row)) for row in csv.DictReader(file)]


def _parse(cls: type[Any], row: dict[str, str]) -> Any:
    kinds = {"int": int, "float": float, "str": str}
    return cls(**{field.name: kinds[str(field.type)](row[field.name]) for field in fields(cls)})


def append_row(path: Path, lesson: Lesson, score: Score) -> None:
    """Add a row to a table on disk."""
    append(path, {**asdict(lesson), **asdict(score)})


def append(path: Path, row: Mapping[str, Any]) -> None:
    """Add a row to any table on disk, which begins with its columns' names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow({name: round(value, 3) if isinstance(value, float) else value for name, value in row.items()})


def take(
    dream: LoadedDream, lesson: Lesson, wrap: WrapSpec, ppo: PPOConfig, *, lanes: int, episodes: int, first_seed: int
) -> Score:
    """Return what a policy scores that is trained from scratch in a kind of dream.

    Args:
        dream: as it was learned.
        lesson: where dreams begin and how long they are; decisions and seed of the training.
        wrap: what is done to the dreams of the training.
        ppo: how the policy learns.
        lanes: dreams at once.
        episodes: of each score.
        first_seed: of these, on each side. No choice may have been made on them.
    """
    since = time.process_time()
    algorithm, _ = train_ppo(
        dream, decisions=lesson.decisions, lanes=lanes, horizon=lesson.horizon, starts=lesson.starts, wrap=wrap,
        seed=lesson.seed, config=ppo,
    )  # fmt: skip
    policy = export_policy(algorithm, dream)
    seeds = range(first_seed, first_seed + episodes)
    learned = dream_returns(dream, policy, seeds)
    own = dream_returns(dream, policy, seeds, [item for item in wrap if item[0] != "penalize_disagreement"])
    real = returns(play_in_lockstep(dream, OnFeatures(dream, policy), list(seeds), LANES))
    figures = {"own": own, "learned": learned, "real": real}
    means = {side: float(values.mean()) for side, values in figures.items()}
    stds = {f"{side}_std": float(values.std(ddof=1)) for side, values in figures.items()}
    seconds = time.process_time() - since
    return Score(**means, **stds, real_min=float(real.min()), episodes=episodes, seconds=seconds)


def dream_returns(dream: LoadedDream, policy: Policy | str, seeds: range, wrap: WrapSpec = ()) -> np.ndarray:
    """Return `[E]` the returns of dreamed episodes, as `dreamgym eval` plays them, in wrapped dreams."""
    wrapped = open_dream(dream, None, wrap, "cpu")
    return returns(dream_episodes(wrapped, make_policy(policy, dream), seeds))


def returns(outcomes: Sequence[Outcome]) -> np.ndarray:
    """Return `[E]` the return of each episode."""
    return np.array([outcome.total_reward for outcome in outcomes])


class OnFeatures:
    """A policy that is shown the model's state, as `play_in_lockstep` asks for."""

    def __init__(self, dream: LoadedDream, policy: Policy | str) -> None:
        self.model, self.actor = dream.model, make_policy(policy, dream)

    def reset(self, seeds: Sequence[int]) -> None:
        """Begin these episodes."""
        self.actor.reset(seeds)

    def keep(self, lanes: Tensor) -> None:
        """Do nothing: a policy has no memory."""

    @torch.no_grad()
    def act_on(self, state: Any) -> np.ndarray:
        """Return the policy's actions."""
        return self.actor.act(self.model.features(state))


@dataclass(frozen=True)
class Mean:
    """Of the seeds of a training: the mean, and its standard error over all their episodes."""

    value: float
    error: float
    each: tuple[float, ...]
    """The mean of each seed."""

    def __str__(self) -> str:
        return f"{self.value:.0f} ± {self.error:.0f}"


def mean(rows: Sequence[Row], side: str) -> Mean:
    """Return the mean over seeds of one side, "own", "learned" or "real".

    The error is the larger one of the standard errors over episodes and over seeds: the first knows nothing of luck in
    training, and the second is wild with two seeds.
    """
    each = [getattr(score, side) for _, score in rows]
    within = math.sqrt(sum(getattr(score, f"{side}_std") ** 2 / score.episodes for _, score in rows)) / len(rows)
    between = float(np.std(each, ddof=1)) / math.sqrt(len(each)) if len(each) > 1 else 0.0
    return Mean(float(np.mean(each)), max(within, between), tuple(each))
