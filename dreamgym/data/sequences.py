"""Windows of recorded episodes for training, drawn at random but decided by seed and step alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dreamgym.core.codec import encode_action, encode_obs
from dreamgym.core.model import Obs, SequenceBatch
from dreamgym.core.share import Share
from dreamgym.core.tree import tree_map
from dreamgym.data.episodes import ArrayObs, Dataset
from dreamgym.errors import InvalidArgument, InvalidDataset


class SequenceSampler:
    """Draws batches of windows; `batch(step)` is a pure function, so that training resumes exactly.

    A window is laid anywhere that it holds a transition of an episode, each place as likely as any other. One that
    would begin before the episode begins with it, and what reaches beyond its end is padded. So where a window begins
    says nothing of where its episode ends, and at every position of a window endings come as often as they were
    recorded. Were no window to reach beyond an end, all endings would stand at the last position, and a memory that
    counts its steps would learn that nothing ends before. A window that is made to hold an ending has it anywhere.

    Args:
        dataset: what to draw from.
        sequence_length: T, actions a window; 0 gives single observations, `[B, 1, ...]`.
        batch_size: B.
        ending_share: share of windows that are made to hold a termination, in [0, 1), if any was recorded; single
            observations are then those that followed one.
        seed: of the draws.
        inputs: `[all observations, ...]` in the order of `iterate_obs`, given out in place of the observations.
        device: where the batch lies; pictures travel there as bytes.
        share: of each batch, where several processes train together; only its episodes are read.
        resident: whether all observations are kept on the device; by default they are on a GPU, if they take no more
            than half of its free memory.

    Raises:
        InvalidDataset: if `dataset` has no episode.
        InvalidArgument: if a size or share is out of range, the batch does not divide among the processes, or `inputs`
            are not one for each observation.
    """

    def __init__(
        self,
        dataset: Dataset,
        sequence_length: int,
        batch_size: int,
        ending_share: float = 0.0,
        seed: int = 0,
        inputs: Tensor | None = None,
        device: torch.device | str = "cpu",
        share: Share | None = None,
        resident: bool | None = None,
    ) -> None:
        if len(dataset) == 0:
            raise InvalidDataset("the dataset has 0 episodes to draw from; record more, or hold out fewer.")
        if sequence_length < 0:
            raise InvalidArgument(f"sequence_length is {sequence_length}; expected at least 0.")
        if batch_size < 1:
            raise InvalidArgument(f"batch_size is {batch_size}; expected at least 1.")
        if not 0 <= ending_share < 1:
            raise InvalidArgument(f"ending_share is {ending_share}; expected a number in [0, 1).")
        self._share = share or Share()
        if batch_size % self._share.world:
            raise InvalidArgument(
                f"batch_size is {batch_size}, which does not divide among {self._share.world} processes; choose a "
                "multiple of their number."
            )
        self._lengths = dataset.lengths
        self._places = self._lengths + (sequence_length - 1 if sequence_length else 1)  # for a window in each episode
        self._last_place = self._places.cumsum()
        self._offsets = np.concatenate([[0], (self._lengths + 1).cumsum()])
        if inputs is not None and len(inputs) != self._offsets[-1]:
            raise InvalidArgument(f"inputs has {len(inputs)} rows; the dataset has {self._offsets[-1]} observations.")
        self.sequence_length, self.batch_size, self.ending_share, self.seed = (
            sequence_length,
            batch_size,
            ending_share,
            seed,
        )
        self._inputs = inputs
        self._device = inputs.device if inputs is not None else torch.device(device)
        self._obs_space, self._action_space = dataset.observation_space, dataset.action_space
        episodes = list(dataset)
        self._obs = [episode.obs for episode in episodes]
        resident = inputs is None and _fits(self._obs, self._device) if resident is None else resident
        self._resident = _upload(self._obs, self._device) if resident else None
        # one row for each observation, so that they share its index; the last row of an episode serves as padding
        self._action = np.concatenate([x for episode in episodes for x in (episode.action, episode.action[-1:])])
        self._reward = np.concatenate([x for episode in episodes for x in (episode.reward, np.zeros(1, np.float32))])
        self._terminated = np.concatenate(
            [x for episode in episodes for x in (episode.terminations, np.zeros(1, bool))]
        ).astype(np.float32)
        self._endings = np.flatnonzero([episode.terminated for episode in episodes])
        self._sources = dataset.sources

    def sources(self, step: int) -> list[str]:
        """Return where the windows of `batch(step)` come from: folder, episode and place of each."""
        episode, start = self._draw(step)
        return [f"{self._sources[i]} from {place}" for i, place in zip(episode, start, strict=True)]

    def batch(self, step: int) -> SequenceBatch:
        """Return the windows of a training step, in model units."""
        return self._cut(*self._draw(step))

    def in_order(self) -> Iterator[SequenceBatch]:
        """Yield windows that hold every recorded transition once, in order; the last batch has fewer."""
        stride = max(self.sequence_length, 1)
        starts = [np.arange(0, length + (self.sequence_length == 0), stride) for length in self._lengths]
        episode = np.repeat(np.arange(len(starts)), [len(start) for start in starts])
        start = np.concatenate(starts)
        for first in range(0, len(start), self.batch_size):
            part = slice(first, first + self.batch_size)
            yield self._cut(episode[part], start[part])

    def _cut(self, episode: np.ndarray, start: np.ndarray) -> SequenceBatch:
        """Return the windows that begin at these observations of these episodes."""
        length = self._lengths[episode][:, None]  # [B, 1]
        places = start[:, None] + np.arange(self.sequence_length + 1)  # [B, T + 1]
        rows = self._offsets[episode][:, None] + np.minimum(places, length)  # [B, T + 1]
        now = rows[:, :-1]  # [B, T]
        action = encode_action(self._action_space, self._action[now.ravel()])  # [B * T, A]
        return SequenceBatch(
            obs=self._observations(episode, start, rows),
            action=action.view(*now.shape, action.shape[-1]).to(self._device),
            reward=torch.from_numpy(self._reward[now]).to(self._device),
            terminated=torch.from_numpy(self._terminated[now]).to(self._device),
            mask=torch.from_numpy((places[:, :-1] < length).astype(np.float32)).to(self._device),
            is_first=torch.from_numpy(start == 0).to(self._device),
        )

    def _draw(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the episode and the first observation of each window of our share."""
        rng = np.random.default_rng([self.seed, step])
        size = self.batch_size
        episode = np.searchsorted(self._last_place, rng.integers(self._last_place[-1], size=size), side="right")
        start = rng.integers(self._places[episode])
        start = np.maximum(start - max(self.sequence_length - 1, 0), 0)
        if self.ending_share > 0 and len(self._endings) > 0:
            ended = self._endings[rng.integers(len(self._endings), size=size)]
            length = self._lengths[ended]
            position = rng.integers(np.maximum(np.minimum(self.sequence_length, length), 1))
            make = rng.random(size) < self.ending_share
            episode = np.where(make, ended, episode)
            start = np.where(make, length - (position + 1 if self.sequence_length else 0), start)
        ours = self._share.rows(size)
        return episode[ours], start[ours]

    def _observations(self, episode: np.ndarray, start: np.ndarray, rows: np.ndarray) -> Any:
        """Return the observations or inputs `[B, T + 1, ...]` that lie in these rows."""
        if self._inputs is not None:
            return self._inputs[torch.from_numpy(rows)]
        if self._resident is None:
            return self._windows(episode, start)
        flat = torch.from_numpy(rows.ravel()).to(self._device)
        encoded = encode_obs(self._obs_space, tree_map(lambda x: x[flat], self._resident), self._device)
        return tree_map(lambda x: x.view(*rows.shape, *x.shape[1:]), encoded)

    def _windows(self, episode: np.ndarray, start: np.ndarray) -> Any:
        """Return the observations of windows, `[B, T + 1, ...]` in model units."""
        num = self.sequence_length + 1

        def cut(name: str | None) -> np.ndarray:
            parts = [self._obs[i] if name is None else self._obs[i][name] for i in episode]  # type: ignore[call-overload]
            windows = np.empty((len(parts), num, *parts[0].shape[1:]), parts[0].dtype)
            for window, part, first in zip(windows, parts, start, strict=True):
                recorded = part[first : first + num]
                window[: len(recorded)] = recorded
                window[len(recorded) :] = recorded[-1]
            return windows.reshape(-1, *windows.shape[2:])  # [B * (T + 1), ...]

        first_obs = self._obs[0]
        raw: ArrayObs = {name: cut(name) for name in first_obs} if isinstance(first_obs, dict) else cut(None)
        encoded = encode_obs(self._obs_space, raw, self._device)
        if isinstance(encoded, dict):
            return {name: x.view(-1, num, *x.shape[1:]) for name, x in encoded.items()}
        return encoded.view(-1, num, *encoded.shape[1:])


def _fits(obs: list[ArrayObs], device: torch.device) -> bool:
    """Return whether a GPU has room for all observations of these episodes, and as much again for its work."""
    if device.type != "cuda":
        return False
    size = sum(
        part.nbytes for episode in obs for part in (episode.values() if isinstance(episode, dict) else [episode])
    )
    return 2 * size <= torch.cuda.mem_get_info(device)[0]


def _upload(obs: list[ArrayObs], device: torch.device) -> Any:
    """Return `[N, ...]`, the observations of all episodes on a device, in env units, as recorded; a dict for a Dict."""
    first = obs[0]
    if isinstance(first, dict):
        return {name: _upload([episode[name] for episode in obs], device) for name in first}  # type: ignore[call-overload, misc]
    dtype = torch.from_numpy(np.empty(0, first.dtype)).dtype
    whole = torch.empty(sum(map(len, obs)), *first.shape[1:], dtype=dtype, device=device)
    for part, episode in zip(whole.split([len(episode) for episode in obs]), obs, strict=True):
        part.copy_(torch.from_numpy(np.array(episode)))  # a copy: recordings are read-only, which torch warns of
    return whole


def iterate_obs(dataset: Dataset, batch_size: int, device: torch.device | str = "cpu") -> Iterator[Obs]:
    """Yield all observations in order, `[batch_size, ...]` in model units, fewer in the last batch."""

    def encode(pieces: list[ArrayObs]) -> Obs:
        if isinstance(pieces[0], dict):
            raw: ArrayObs = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}  # type: ignore[call-overload]
        else:
            raw = np.concatenate(pieces)  # type: ignore[arg-type]
        return encode_obs(dataset.observation_space, raw, device)

    pieces: list[ArrayObs] = []
    room = batch_size
    for episode in dataset:
        start, end = 0, len(episode) + 1
        while start < end:
            piece = slice(start, min(end, start + room))
            obs = episode.obs
            pieces.append({name: x[piece] for name, x in obs.items()} if isinstance(obs, dict) else obs[piece])
            room -= piece.stop - piece.start
            start = piece.stop
            if room == 0:
                yield encode(pieces)
                pieces, room = [], batch_size
    if pieces:
        yield encode(pieces)
