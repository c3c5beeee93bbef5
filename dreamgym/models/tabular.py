"""The oldest world model: a table of what followed each state and action, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from gymnasium import Space, spaces
from torch import Tensor, nn
from torch.nn.functional import one_hot

from dreamgym.core.model import Obs, SequenceBatch, StageConfig, Transition, WorldModel
from dreamgym.core.sampling import PerLane, sample_categorical
from dreamgym.errors import InvalidArgument, UnsupportedSpace

PAIR, NEXT, REWARD, TERMINATED = range(4)
"""Columns of `Tabular.outcomes`."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a `Tabular` counts."""

    decay: float = 1.0
    """What an outcome's count is multiplied by whenever its pair is seen again, in [0, 1]: 1 counts all that happened
    alike, 0 keeps the last outcome alone, as Dyna's deterministic model does in a world that may change."""


@dataclass(frozen=True)
class State:
    """One moment."""

    index: Tensor
    """`[B]` int64, the number of the state, counted from 0."""


class Tabular(WorldModel[State], nn.Module):
    """Draws what followed a state and action among all that was recorded of them, as often as it was recorded.

    An outcome is a next state, a reward and whether the episode ended there, together; each pair of state and action
    has as many rows as it had distinct outcomes, so that the table never outgrows the data. A pair that was never
    recorded leads nowhere: the state stays, the reward is 0, the episode goes on, and `info["visits"]` is 0; it is the
    number of recordings of the pair, `[B]` int64.

    Args:
        config: what is counted.
        observation_space: a Discrete.
        action_space: a Discrete.

    Raises:
        UnsupportedSpace: if a space is another.
        InvalidArgument: if the decay is not in [0, 1].

    Source: Sutton 1990; Sutton & Barto 2018, section 8.2, whose table holds the last outcome alone, and 8.3 for pairs
    that were never tried.
    """

    config_class: ClassVar[type[Config]] = Config
    differentiable: ClassVar[bool] = False
    stages: ClassVar[Mapping[str, StageConfig]] = {}
    """None: it learns in one pass."""
    noise_dim = 1
    outcomes: Tensor
    """`[R, 4]` float64, sorted by pair, each row once: pair, next state, reward, terminated. The last row belongs to no
    pair, so that there always is one. Float64, because dreams on disk round float32."""
    counts: Tensor
    """`[R]` float64, how often each outcome was seen."""
    visits: Tensor
    """`[S * A]` int64, how often each pair was seen."""
    first: Tensor
    """`[S * A + 1]` int64, where each pair's rows begin."""
    _window: Tensor

    def __init__(self, config: Config, observation_space: Space[Any], action_space: Space[Any]) -> None:
        super().__init__()
        for name, space in (("observation", observation_space), ("action", action_space)):
            if not isinstance(space, spaces.Discrete):
                raise UnsupportedSpace(
                    f"{name} space {space} is not supported by tabular, which counts; expected a Discrete. Use another "
                    "family, such as rssm."
                )
        if not 0 <= config.decay <= 1:
            raise InvalidArgument(f"decay is {config.decay}; expected a number in [0, 1].")
        assert isinstance(observation_space, spaces.Discrete)
        assert isinstance(action_space, spaces.Discrete)
        self.config, self.observation_space, self.action_space = config, observation_space, action_space
        self.feature_dim, self.num_actions = int(observation_space.n), int(action_space.n)
        num_pairs = self.feature_dim * self.num_actions
        self.register_buffer("outcomes", torch.tensor([[num_pairs, 0, 0, 0]], dtype=torch.float64))
        self.register_buffer("counts", torch.zeros(1, dtype=torch.float64))
        self.register_buffer("visits", torch.zeros(num_pairs, dtype=torch.int64))
        self.register_buffer("first", None, persistent=False)
        self.register_buffer("_window", None, persistent=False)
        self._index()

    def initial(self, batch_size: int) -> State:
        """Return the first state, which stands for nothing seen yet."""
        return State(self.visits.new_zeros(batch_size))

    def observe(self, state: State, action: Tensor, obs: Obs, is_first: Tensor, noise: Tensor | None = None) -> State:
        """Return the state that an observation `[B, S]` names; it tells everything."""
        assert isinstance(obs, Tensor)
        return State(obs.argmax(1))

    def step(
        self, state: State, action: Tensor, noise: Tensor | None = None, temperature: PerLane = 1.0
    ) -> Transition[State]:
        """Return one of the recorded outcomes; the temperature divides the logarithms of their counts."""
        noise = torch.randn(len(action), 1, device=action.device) if noise is None else noise
        pair = self._pair(state.index, action)
        rows, valid = self._rows(pair)  # [B, K]
        visits = self.visits[pair]
        if rows.shape[1] > 1:
            logits = self.counts[rows].log().float().masked_fill_(~valid, -torch.inf)  # [B, K]
            logits[:, 0].masked_fill_(visits == 0, 0)  # something has to be drawn there, too
            drawn = sample_categorical(logits[:, None], noise, temperature).argmax(2)  # [B, 1]
            drawn = torch.minimum(drawn, valid.sum(1, keepdim=True) - 1).clamp_(min=0)  # the last normals round to 1
            rows = rows.gather(1, drawn)  # [B, 1]
        outcome = self.outcomes[rows[:, 0]] * (visits > 0)[:, None]  # [B, 4]
        return Transition(
            State(torch.where(visits > 0, outcome[:, NEXT].long(), state.index)),
            outcome[:, REWARD].float(),
            outcome[:, TERMINATED].float(),
            {"visits": visits},
        )

    def decode(self, state: State) -> Obs:
        """Return `[B, S]` one-hot."""
        return one_hot(state.index, self.feature_dim).float()

    def features(self, state: State) -> Tensor:
        """Return `[B, S]` one-hot."""
        return one_hot(state.index, self.feature_dim).float()

    @torch.no_grad()
    def learn(self, batch: SequenceBatch) -> None:
        """Count the transitions of a batch, each of its windows in order."""
        recorded = self._recorded(batch)
        row = self._find(recorded)
        if (row < 0).any():
            new = recorded[row < 0]
            new = new if len(new) == 1 else new.unique(dim=0)
            outcomes = torch.cat([self.outcomes, new])
            order = outcomes[:, PAIR].argsort(stable=True)
            self.outcomes = outcomes[order]
            self.counts = torch.cat([self.counts, self.counts.new_zeros(len(new))])[order]
            self._index()
            row = self._find(recorded)
        pair = recorded[:, PAIR].long()
        weight = torch.ones_like(recorded[:, PAIR])
        if self.config.decay < 1:
            rows, own = self._rows(pair)
            fewer = self.config.decay * own + ~own  # once for each time that the pair was seen
            self.counts.scatter_reduce_(0, rows.flatten(), fewer.double().flatten(), "prod")
            weight = self.config.decay ** _later(pair).double()
        self.counts.index_add_(0, row, weight)
        self.visits.index_add_(0, pair, torch.ones_like(pair))

    @torch.no_grad()
    def measure(self, batch: SequenceBatch) -> dict[str, Tensor]:
        """Return of each transition of a batch, `[N]`, whether its pair was visited, and this outcome known."""
        recorded = self._recorded(batch)
        return {
            "visited": (self.visits[recorded[:, PAIR].long()] > 0).float(),
            "known": (self._find(recorded) >= 0).float(),
        }

    def _pair(self, index: Tensor, action: Tensor) -> Tensor:
        return index * self.num_actions + action.argmax(-1)

    def _recorded(self, batch: SequenceBatch) -> Tensor:
        """Return the transitions of a batch as rows of outcomes, `[N, 4]`."""
        assert isinstance(batch.obs, Tensor)
        index = batch.obs.argmax(-1)  # [B, T + 1]
        columns = (self._pair(index[:, :-1], batch.action), index[:, 1:], batch.reward, batch.terminated)
        return torch.stack([column.double() for column in columns], -1)[batch.mask.bool()]

    def _rows(self, pair: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows of each pair, `[B, K]` with K the most that any pair has, and which of them are its own."""
        rows = self.first[pair][:, None] + self._window  # [B, K]
        return rows.clamp(max=len(self.counts) - 1), rows < self.first[pair + 1][:, None]

    def _find(self, recorded: Tensor) -> Tensor:
        """Return the row of each of these outcomes, `[N]`; -1 where there is none."""
        rows, valid = self._rows(recorded[:, PAIR].long())
        same = (self.outcomes[rows] == recorded[:, None]).all(2) & valid  # [N, K]
        return torch.where(same.any(1), rows.gather(1, same.long().argmax(1, keepdim=True))[:, 0], -1)

    def _index(self) -> None:
        """Set what follows from the outcomes: where each pair's rows begin, and the most that any pair has."""
        pairs = torch.arange(len(self.visits) + 1, dtype=torch.float64, device=self.outcomes.device)
        self.first = torch.searchsorted(self.outcomes[:, PAIR].contiguous(), pairs)
        most = max(1, int(self.first.diff().max()))
        self._window = torch.arange(most, device=self.outcomes.device)  # [K]

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        for name in ("outcomes", "counts"):  # of as many rows as there were outcomes
            if prefix + name in state_dict:
                setattr(self, name, torch.empty_like(state_dict[prefix + name], device=self.visits.device))
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._index()


def _later(pair: Tensor) -> Tensor:
    """Return how often each entry of `pair [N]` comes again behind it.

    >>> _later(torch.tensor([7, 5, 7, 7])).tolist()
    [2, 0, 1, 0]
    """
    if len(pair) == 1:
        return torch.zeros_like(pair)
    order = pair.flip(0).argsort(stable=True)  # groups of equal entries, each from its last one to its first
    place = torch.arange(len(pair), device=pair.device)
    _, sizes = pair.unique(return_counts=True)
    within = place - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    return torch.empty_like(place).scatter_(0, order, within).flip(0)
