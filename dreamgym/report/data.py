"""Held-out episodes for a report: those of a dataset that training left out, or fresh ones of the real twin."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dreamgym.core.codec import encode_action, encode_obs
from dreamgym.core.model import Obs, WorldModel
from dreamgym.core.tree import tree_map
from dreamgym.data.collect import collect
from dreamgym.data.drivers import find_drivers
from dreamgym.data.episodes import Dataset, Episode
from dreamgym.envs.twin import make_real, real_id
from dreamgym.errors import InvalidArgument, InvalidDataset
from dreamgym.evaluation.driver import PolicyDriver
from dreamgym.hub import LoadedDream


def held_out(dream: LoadedDream, folders: Sequence[Path], holdout: float = 0.05) -> Dataset:
    """Return the episodes of datasets that training held out.

    Args:
        dream: that is reported on.
        folders: the datasets; those that it was trained on, or others of the same env.
        holdout: share of them that was held out; 1 takes all, of a dataset that training never saw.

    Raises:
        InvalidArgument: if `holdout` is no share.
        InvalidDataset: if they are of another env, or no episode is held out.
    """
    if not 0 < holdout <= 1:
        raise InvalidArgument(f"holdout is {holdout}; expected a number in (0, 1].")
    dataset = Dataset(folders)
    for name in ("observation_space", "action_space"):
        ours, theirs = getattr(dream.model, name), getattr(dataset, name)
        if ours != theirs:
            raise InvalidDataset(f"{folders[0]} has {name} {theirs}; {dream.name} was trained on {ours}.")
    known = {str(name) for name in (dream.card.get("real"), dream.card.get("data", {}).get("env")) if name}
    if known and dataset.env_id not in known:
        raise InvalidDataset(
            f"{folders[0]} was recorded in {dataset.env_id}; {dream.name} is a dream of {' or '.join(sorted(known))}."
        )
    found = dataset.split(holdout)[1]
    if len(found) == 0:
        raise InvalidDataset(
            f"0 of the {len(dataset)} episodes of {folders[0]} are held out at holdout {holdout}; record more, or, if "
            "the dream was not trained on them, give holdout 1."
        )
    return found


def record(
    dream: LoadedDream, name: str, variant: str | None, out: Path, episodes: int, seed: int, num_workers: int
) -> Dataset:
    """Return fresh episodes of the real twin: half by its own drivers, half by the shipped policy if there is one.

    Args:
        dream: whose twin plays.
        name: its id or folder, by which worker processes load it.
        variant: which of a registered dream's variants.
        out: folder of the recordings.
        episodes: how many.
        seed: of the first episode.
        num_workers: processes that record.

    Raises:
        MissingExtra: if the real env needs a package that is not installed.
    """
    make_real(dream).close()  # says what is missing, or that the twin has other spaces
    shares: dict[str, float] = dict(find_drivers(real_id(dream))[1])
    drivers = {}
    if dream.ships_policy:
        total = sum(shares.values())
        shares = {driver: share / total for driver, share in shares.items()} | {"policy": 1.0}
        drivers = {"policy": partial(PolicyDriver, name, "shipped", variant)}
    collect(
        real_id(dream), out, episodes=episodes, driver=shares, drivers=drivers, seed=seed, num_workers=num_workers,
        max_episode_steps=dream.card.get("max_episode_steps"), progress=False,
    )  # fmt: skip
    return Dataset(out)


class Stretches:
    """Parts of episodes side by side, read a step at a time: pictures of many whole episodes would fill the memory.

    Args:
        model: in whose units they are read.
        episodes: B episodes.
        starts: where each part begins.
        steps: T, how long they are at most; shorter ones repeat their last moment.
    """

    def __init__(self, model: WorldModel[Any], episodes: Sequence[Episode], starts: Sequence[int], steps: int) -> None:
        self.model = model
        self._episodes, self._starts = list(episodes), [int(start) for start in starts]
        rest = [len(episode) - start for episode, start in zip(self._episodes, self._starts, strict=True)]
        self.lengths = np.minimum(rest, steps)
        self.recorded = np.arange(steps) < self.lengths[:, None]
        """`[B, T]` bool: the step was recorded."""
        self.reward = np.stack([self._pad(e.reward, s, steps) for e, s in self._parts()]) * self.recorded
        self.terminated = np.stack([self._pad(e.terminations, s, steps) for e, s in self._parts()]) & self.recorded

    def __len__(self) -> int:
        return len(self._episodes)

    def obs(self, t: int) -> Obs:
        """Return the observations before step t, `[B, ...]` in model units."""
        rows = [tree_map(lambda x, e=e, s=s: x[min(s + t, len(e))], e.obs) for e, s in self._parts()]
        return encode_obs(self.model.observation_space, tree_map(lambda *parts: np.stack(parts), *rows))

    def action(self, t: int) -> Tensor:
        """Return the actions of step t, `[B, A]` in model units."""
        rows = np.stack([e.action[min(s + t, len(e) - 1)] for e, s in self._parts()])
        return encode_action(self.model.action_space, rows)

    def _parts(self) -> list[tuple[Episode, int]]:
        return list(zip(self._episodes, self._starts, strict=True))

    @staticmethod
    def _pad(values: np.ndarray, start: int, steps: int) -> np.ndarray:
        part = values[start : start + steps]
        return np.pad(part, (0, steps - len(part)), mode="edge")


def flat(obs: Obs) -> Tensor:
    """Return an observation's numbers, `[B, n]`, whatever its parts."""
    if isinstance(obs, Tensor):
        return obs.flatten(1)
    return torch.cat([part.flatten(1) for part in obs.values()], 1)
