"""Policies of different quality for one dream: what its judgement of policies is tried on."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import Space, spaces
from torch import Tensor

from dreamgym.core.policy import Policy, PolicyConfig
from dreamgym.evaluation.policies import Actor, PolicyActor, PolicyLike, make_policy
from dreamgym.evaluation.probes import probe_policies
from dreamgym.hub import LoadedDream

SHARES = (0.1, 0.3, 0.5, 0.75)
"""Of the shipped policy's decisions that random actions take over."""
FEWEST = 8
"""Policies; if there are fewer, perceptrons that nobody trained join in."""
MOST_CONSTANTS = 4


class NoisyActor:
    """Does what another actor says, but for a share of decisions that random actions take over.

    Args:
        actor: without a memory, as policies are.
        space: of the actions.
        share: of the decisions, in [0, 1].
    """

    def __init__(self, actor: Actor, space: Space[Any], share: float) -> None:
        self._actor, self._space, self._share = actor, space, share
        self._lanes: list[tuple[np.random.Generator, Space[Any]]] = []

    def reset(self, seeds: Sequence[int]) -> None:
        """Seed each lane."""
        self._actor.reset(seeds)
        self._lanes = [(np.random.default_rng([int(seed), 3]), copy.deepcopy(self._space)) for seed in seeds]
        for (_, space), seed in zip(self._lanes, seeds, strict=True):
            space.seed(int(seed))

    def act(self, features: Tensor) -> np.ndarray:
        """Return one action a lane."""
        wanted = self._actor.act(features)
        drawn = [(rng.random() < self._share, space.sample()) for rng, space in self._lanes]
        return np.stack([random if over else own for own, (over, random) in zip(wanted, drawn, strict=True)])


def rivals(dream: LoadedDream, files: Sequence[Path] = ()) -> dict[str, PolicyLike]:
    """Return at least `FEWEST` policies by name.

    They are a random one, the probes of the real twin, constant actions, the shipped policy and noisier versions of it,
    the given files, and, if these are too few, untrained perceptrons.

    Args:
        dream: where they act.
        files: of further policies, such as snapshots of a training.

    Raises:
        PolicyMismatch: if a policy was made for other spaces or another dream.
        FileNotFoundError: if there is no such file.
    """
    for file in files:
        make_policy(file, dream)  # finds faults before anything is played
    space = dream.model.action_space
    found: dict[str, PolicyLike] = dict(probe_policies(dream))
    taken = set(map(str, found.values()))
    found |= {f"always {spec.partition(':')[2]}": spec for spec in _constants(space) if spec not in taken}
    if dream.ships_policy:
        shipped = make_policy("shipped", dream)
        found |= {f"shipped, {share:.0%} random": NoisyActor(shipped, space, share) for share in SHARES}
    found |= {_name(file, files): file for file in files}
    for number in range(1, FEWEST + 1):
        if len(found) >= FEWEST:
            break
        found[f"untrained {number}"] = PolicyActor(_untrained(dream, number))
    return found


def _constants(space: Space[Any]) -> list[str]:
    """Return some constant actions, as `make_policy` takes them."""
    if isinstance(space, spaces.Discrete):
        return [f"constant:{space.start + i}" for i in range(min(int(space.n), MOST_CONSTANTS))]
    if isinstance(space, spaces.Box) and space.is_bounded():
        low, high = space.low.flatten(), space.high.flatten()
        return ["constant:" + ",".join(f"{x:g}" for x in low + part * (high - low)) for part in (0.25, 0.5, 0.75)]
    return []


def _untrained(dream: LoadedDream, seed: int) -> Policy:
    """Return a linear policy with random weights that does one thing here and another there."""
    config = PolicyConfig(input_dim=dream.model.feature_dim, dream=dream.name, model_sha256=dream.model_sha256)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        policy = Policy(config, dream.model.action_space)
        features = dream.model.features(dream.starts.sample(torch.rand(64)))
        raw = policy(features)
        last: Any = policy.net[-1]
        last.weight.div_(raw.std(0).clamp(min=1e-3)[:, None])
        last.bias.zero_().sub_(policy(features).mean(0))
    return policy.eval()


def _name(file: Path, files: Sequence[Path]) -> str:
    """Return what a policy's file is called: its name, or its path if another has the same name."""
    return str(file) if sum(other.stem == file.stem for other in files) > 1 else file.stem
