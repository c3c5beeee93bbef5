"""A training batch that several processes share: what a loss must know of the rows that lie elsewhere.

A loss is written as if there were one process. If it draws its noise and takes its means through these functions, then
the gradients of the processes, averaged, are those of one process with the whole batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
import torch.distributed
from torch import Tensor


@dataclass(frozen=True)
class Share:
    """Which rows of a batch are ours: those of `rank`, of `world` equal parts in order."""

    rank: int = 0
    world: int = 1

    def rows(self, batch_size: int) -> slice:
        """Return our rows of a batch that divides into equal parts."""
        part = batch_size // self.world
        return slice(self.rank * part, (self.rank + 1) * part)


_ALONE = Share()
_share: ContextVar[Share] = ContextVar("share", default=_ALONE)


@contextmanager
def shared(share: Share) -> Iterator[None]:
    """Within it, losses work on a share of a batch, in all processes of torch's default group at once."""
    token = _share.set(share)
    try:
        yield
    finally:
        _share.reset(token)


def normal(rows: int, *shape: int, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return `[rows, *shape]` standard normals: our rows of those that one process would draw for the whole batch."""
    share = _share.get()
    drawn = torch.randn(rows * share.world, *shape, device=device, dtype=dtype)
    return drawn[share.rows(len(drawn))]


def mean_over_processes(x: Tensor) -> Tensor:
    """Return the mean of a number over all processes, without a gradient; with one process, the number."""
    share = _share.get()
    x = x.detach()
    if share.world == 1:
        return x
    x = x.clone()
    torch.distributed.all_reduce(x)
    return x / share.world
