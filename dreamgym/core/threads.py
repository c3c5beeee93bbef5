"""How many threads torch computes with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def use_threads(count: int = 1) -> Iterator[None]:
    """Let torch compute with so many threads on the CPU, and with as many as before afterwards.

    With one, small batches on shared cores are faster, and sums come in the same order wherever they are made.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
