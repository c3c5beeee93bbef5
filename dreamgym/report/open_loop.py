"""With its eyes closed: dreams of recorded episodes beside what happened, the recorded actions given.

Squared errors are told as shares of the variance of the held-out data, so that they compare between worlds: 1 is the
error of always guessing the mean, 2 that of any other moment in place of the true one. Numbers of a vector are scaled
one by one, since their units differ; the pixels of a picture, and features, together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dreamgym.core.codec import action_dim
from dreamgym.core.model import Obs, WorldModel
from dreamgym.core.noise import normal
from dreamgym.core.spaces import is_image
from dreamgym.core.tree import gather, tree_map
from dreamgym.data.episodes import Dataset
from dreamgym.errors import InvalidDataset, NotDecodable
from dreamgym.report.data import Stretches, flat
from dreamgym.report.one_step import Steps
from dreamgym.report.statistics import is_covered

_DYNAMICS, _POSTERIOR = 22, 23  # noise streams
_TOGETHER = 16  # stretches dreamed at once, each with all its draws
_POOL = 256  # moments of other episodes
SAME = 0.01
"""Two numbers that differ by less, in standard deviations of the data, are the same to `is_covered`."""


@dataclass(frozen=True)
class Dreams:
    """W stretches of H steps, each dreamed N times; errors in shares of variance, NaN where nothing was recorded."""

    recorded: np.ndarray
    """`[W, H]` bool."""
    shown: np.ndarray
    """`[G]` int, the steps after which observations are compared: all, or a few of pictures, which cost most."""
    features: dict[str, np.ndarray]
    """`"dream"` `[W, N, H]`, `"still"` `[W, H]`, `"other"` `[W, N, H]`, `"covered"` `[W, H]`, a share."""
    reward: dict[str, np.ndarray]
    """The same of the reward since the eyes were closed: absolute errors in env units."""
    obs: dict[str, np.ndarray] | None
    """The same of observations, `[..., G]`; None if the model does not decode."""
    real_frames: Any
    """`[W, G, ...]` in model units; None if the model does not decode."""
    dream_frames: Any
    """The same of each stretch's first dream."""


@torch.no_grad()
def dream_on(
    model: WorldModel[Any],
    dataset: Dataset,
    steps: Steps,
    *,
    horizon: int = 100,
    context: int = 8,
    windows: int = 96,
    draws: int = 19,
    seed: int = 0,
) -> Dreams:
    """Return dreams of stretches of held-out episodes, at most one of each episode.

    Args:
        model: it need not decode.
        dataset: held-out episodes.
        steps: what `one_step_ahead` returned for them.
        horizon: H, steps dreamed with closed eyes; a shorter episode is dreamed to its end.
        context: observations seen before; shorter episodes are left out.
        windows: how many stretches.
        draws: N, dreams of each.
        seed: of all that is drawn.

    Raises:
        InvalidDataset: if fewer than two episodes are long enough.
    """
    rng = np.random.default_rng(seed)
    long = np.flatnonzero(dataset.lengths > context)
    if len(long) < 2:
        raise InvalidDataset(f"{len(long)} of {len(dataset)} episodes have more than {context} steps; expected 2.")
    chosen = rng.permutation(long)[:windows]
    starts = rng.integers(np.maximum(dataset.lengths[chosen] - context - horizon, 0) + 1)
    pool = _Pool(model, dataset, steps, rng)
    parts = []
    for first in range(0, len(chosen), _TOGETHER):
        part = slice(first, first + _TOGETHER)
        lanes = Stretches(model, [dataset[int(i)] for i in chosen[part]], starts[part], context + horizon)
        parts.append(_dream(model, lanes, chosen[part], pool, context, horizon, draws, seed, rng))
    return _with_other_rewards(_join(parts), rng)


class _Pool:
    """The scale of errors, and moments of other episodes to compare with."""

    def __init__(self, model: WorldModel[Any], dataset: Dataset, steps: Steps, rng: np.random.Generator) -> None:
        rows = rng.integers(len(steps.episode), size=min(_POOL, len(steps.episode)))
        self.episode, self.features = steps.episode[rows], torch.from_numpy(steps.features[rows])
        place = rows - np.searchsorted(steps.episode, self.episode)  # the step's place in its episode
        moments = Stretches(model, [dataset[int(i)] for i in self.episode], place.tolist(), 1)
        self.obs = flat(moments.obs(0))  # [P, n]
        self.obs_scale = obs_scale(model, self.obs)
        self.feature_scale = steps.features.var(0).sum().clip(1e-12)
        self.obs_std, self.feature_std = self.obs.std(0), torch.from_numpy(steps.features.std(0))
        self._rng = rng

    def of_others(self, episode: np.ndarray, draws: int) -> Tensor | None:
        """Return `[B, N]` places in the pool, of other episodes than each of `episode` `[B]`; None if there is one."""
        if len(np.unique(self.episode)) < 2:
            return None
        found = [self._rng.choice(np.flatnonzero(self.episode != own), size=draws) for own in episode]
        return torch.from_numpy(np.stack(found))


def obs_scale(model: WorldModel[Any], obs: Tensor) -> Tensor:
    """Return `[n]` weights with which squared errors add up to a share of the variance of `obs` `[P, n]`."""
    variance = obs.double().var(0).float()
    if is_image(model.observation_space):
        return torch.full_like(variance, 1 / max(float(variance.sum()), 1e-12))
    varies = variance > 1e-12  # a number that never changes has no scale, and says nothing
    return torch.where(varies, 1 / variance.clamp(min=1e-12), 0) / varies.sum().clamp(min=1)


def _dream(
    model: WorldModel[Any], lanes: Stretches, episode: np.ndarray, pool: _Pool, context: int, horizon: int, draws: int,
    seed: int, rng: np.random.Generator,
) -> Dreams:  # fmt: skip
    """Return the dreams of some stretches."""
    num = len(lanes)
    repeated = torch.arange(num).repeat_interleave(draws)
    seeds = (torch.from_numpy(episode.copy())[:, None] * draws + torch.arange(draws)).flatten() + (seed << 20)
    zeros = torch.zeros(num, model.noise_dim)
    first = torch.ones(num, dtype=torch.bool)

    def noise(stream: int, t: int) -> Tensor:
        return normal(seeds, stream, torch.full_like(seeds, t), model.noise_dim)

    nothing = torch.zeros(num, action_dim(model.action_space))
    before = model.initial(num)
    seen = model.observe(before, nothing, lanes.obs(0), first, zeros)
    action = nothing
    for t in range(context):
        before, action = seen, lanes.action(t)
        seen = model.observe(before, action, lanes.obs(t + 1), ~first, zeros)
    still_obs, still_features, still_reward = lanes.obs(context), model.features(seen), lanes.reward[:, context - 1]
    # each dream begins in a draw of its own of what the eyes saw last
    dreamed = model.observe(gather(before, repeated), action[repeated], tree_map(lambda x: x[repeated], still_obs),
                            ~first[repeated], noise(_POSTERIOR, 0))  # fmt: skip
    others = pool.of_others(episode, draws)
    decodes, shown = True, _shown(model, horizon)
    found: dict[str, list[Any]] = {
        name: [] for name in (*_names("features"), *_names("obs"), "reward", "real", "dream")
    }
    for h in range(1, horizon + 1):
        t = context + h - 1
        out = model.step(dreamed, lanes.action(t)[repeated], noise(_DYNAMICS, h))
        dreamed, now = out.state, lanes.obs(t + 1)
        before, seen = seen, model.observe(seen, lanes.action(t), now, ~first, zeros)
        found["reward"].append(_split(out.reward, num))
        truth, guess = model.features(seen), _split(model.features(dreamed), num)  # [B, F], [B, N, F]
        drawn = model.observe(before, lanes.action(t), now, ~first, noise(_POSTERIOR, h)[::draws])
        _compare(found, "features", truth, guess, still_features, None if others is None else pool.features[others],
                 1 / pool.feature_scale, model.features(drawn), pool.feature_std, rng)  # fmt: skip
        if h not in shown or not decodes:
            continue
        try:
            pictures = model.decode(dreamed)
        except NotDecodable:
            decodes = False
            continue
        other_obs = None if others is None else pool.obs[others]
        _compare(found, "obs", flat(now), _split(flat(pictures), num), flat(still_obs), other_obs, pool.obs_scale,
                 flat(now), pool.obs_std, rng)  # fmt: skip
        found["real"].append(now)
        found["dream"].append(tree_map(lambda x: x[::draws], pictures))
    recorded = lanes.recorded[:, context:]
    earned, promised = (
        lanes.reward[:, context:].cumsum(1),
        np.stack(found["reward"], -1).cumsum(-1),
    )  # [B, H], [B, N, H]
    reward = {
        "dream": np.abs(promised - earned[:, None]),
        "still": np.abs(still_reward[:, None] * np.arange(1, horizon + 1) - earned),
        "promised": promised,
        "earned": earned,
    }
    return Dreams(
        recorded=recorded,
        shown=np.array(shown),
        features=_collect(found, "features", recorded),
        reward={name: _masked(values, recorded) for name, values in reward.items()},
        obs=_collect(found, "obs", recorded[:, np.array(shown) - 1]) if decodes else None,
        real_frames=_stack(found["real"]) if decodes else None,
        dream_frames=_stack(found["dream"]) if decodes else None,
    )


def _compare(
    found: dict[str, list[Any]], kind: str, truth: Tensor, guess: Tensor, still: Tensor, other: Tensor | None,
    scale: Any, drawn: Tensor, std: Tensor, rng: np.random.Generator,
) -> None:  # fmt: skip
    """Note how far from the truth `[B, n]` dreams `[B, N, n]`, the last moment seen and other moments are."""
    far = lambda x: ((x - truth[:, None]).square() * scale).sum(-1).numpy()  # noqa: E731  [B, N]
    found[f"{kind}.dream"].append(far(guess))
    found[f"{kind}.still"].append(far(still[:, None])[:, 0])
    found[f"{kind}.other"].append(np.full(guess.shape[:2], np.nan) if other is None else far(other))
    varies = (std > 1e-6).numpy()
    inside = is_covered(drawn.numpy()[:, varies], guess.transpose(0, 1).numpy()[..., varies],
                        SAME * std.numpy()[varies], rng)  # fmt: skip
    found[f"{kind}.covered"].append(inside.mean(-1) if varies.any() else np.full(len(truth), np.nan))


def _with_other_rewards(dreams: Dreams, rng: np.random.Generator) -> Dreams:
    """Return dreams that also know what other stretches earned in as many steps, and how often rewards are covered."""
    reward, num = dreams.reward, len(dreams.recorded)
    earned, promised = reward["earned"], reward["promised"]
    other = np.stack([np.roll(earned, shift, axis=0) for shift in range(1, min(promised.shape[1], num - 1) + 1)], 1)
    count = dreams.recorded.sum(0).clip(1)
    mean = np.where(dreams.recorded, earned, 0).sum(0) / count  # [H]
    spread = np.sqrt(np.where(dreams.recorded, (earned - mean) ** 2, 0).sum(0) / count)
    tolerance = SAME * np.maximum(spread, np.abs(mean))
    covered = is_covered(earned, promised.transpose(1, 0, 2), tolerance, rng).astype(float)
    return replace(dreams, reward={
        "dream": reward["dream"],
        "still": reward["still"],
        "other": np.abs(other - earned[:, None]),
        "covered": _masked(covered, dreams.recorded),
    })  # fmt: skip


def _shown(model: WorldModel[Any], horizon: int) -> list[int]:
    """Return the steps after which observations are compared."""
    if not is_image(model.observation_space):
        return list(range(1, horizon + 1))
    return sorted({round(h) for h in np.geomspace(1, horizon, 14)})


def _split(x: Tensor, lanes: int) -> Tensor:
    return x.view(lanes, -1, *x.shape[1:])


def _names(kind: str) -> list[str]:
    return [f"{kind}.{name}" for name in ("dream", "still", "other", "covered")]


def _collect(found: dict[str, list[Any]], kind: str, recorded: np.ndarray) -> dict[str, np.ndarray]:
    return {name.partition(".")[2]: _masked(np.stack(found[name], -1), recorded) for name in _names(kind)}


def _masked(values: np.ndarray, recorded: np.ndarray) -> np.ndarray:
    """Return values `[B, H]` or `[B, N, H]` with NaN where nothing was recorded."""
    return np.where(recorded if values.ndim == 2 else recorded[:, None], values, np.nan)


def _stack(frames: list[Obs]) -> Any:
    return tree_map(lambda *x: torch.stack(x, 1).half().numpy(), *frames)  # [B, G, ...]


def _join(parts: list[Dreams]) -> Dreams:
    joined = lambda *dicts: {name: np.concatenate([d[name] for d in dicts]) for name in dicts[0]}  # noqa: E731
    first = parts[0]
    return Dreams(
        recorded=np.concatenate([part.recorded for part in parts]),
        shown=first.shown,
        features=joined(*[part.features for part in parts]),
        reward=joined(*[part.reward for part in parts]),
        obs=None if first.obs is None else joined(*[part.obs for part in parts]),
        real_frames=None if first.obs is None else _concatenate([part.real_frames for part in parts]),
        dream_frames=None if first.obs is None else _concatenate([part.dream_frames for part in parts]),
    )


def _concatenate(frames: list[Any]) -> Any:
    return tree_map(lambda *x: np.concatenate(x), *frames)
