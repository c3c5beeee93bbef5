"""Several processes that train one model together, as `torchrun` starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn

from dreamgym.core.share import Share
from dreamgym.errors import TrainingFailed


@dataclass(frozen=True)
class Ranks:
    """Which of the processes this one is, counted from 0."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes: checkpoints, logs, the dream."""
        return self.rank == 0

    @property
    def share(self) -> Share:
        """The rows of every batch that this process computes."""
        return Share(self.rank, self.world)

    def wait(self) -> None:
        """Return when all processes are here."""
        if self.world > 1:
            dist.barrier()

    def means(self, values: Mapping[str, float], device: torch.device) -> dict[str, float]:
        """Return the mean of each value over the processes."""
        if self.world == 1:
            return dict(values)
        mean = torch.tensor(list(values.values()), dtype=torch.float64, device=device)
        dist.all_reduce(mean)
        return dict(zip(values, (mean / self.world).tolist(), strict=True))

    def parallel(self, module: nn.Module) -> nn.Module:
        """Return a module whose gradients are averaged over the processes while they are computed."""
        if self.world == 1:
            return module
        # unused parameters: what takes part may differ from batch to batch, e.g. in a model of one's own
        return nn.parallel.DistributedDataParallel(module, broadcast_buffers=False, find_unused_parameters=True)


def is_first_process() -> bool:
    """Return if this process is the only one, or the one that writes."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def join(cuda: bool) -> Iterator[Ranks]:
    """Yield the processes that `torchrun` started, connected by nccl or gloo; or this one, if it is alone.

    Raises:
        TrainingFailed: if another process ends before this one has finished.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks()
        return
    ours = not dist.is_initialized()
    if ours:
        dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size())
    except RuntimeError as error:
        if not _is_lost(error):
            raise
        raise TrainingFailed(
            f"process {dist.get_rank()} of {world} lost another one, which was killed or failed; the last complete "
            "checkpoint is intact. Run the same command again to resume, on any number of processes."
        ) from error
    finally:
        if ours:
            dist.destroy_process_group()


def _is_lost(error: RuntimeError) -> bool:
    """Return if an error is that of a connection; gloo has no class for it."""
    return isinstance(error, dist.DistError) or "gloo" in str(error) or "Connection" in str(error)
