"""Work recorded once as a CUDA graph and launched at once: thousands of small operators cost one launch."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch

_WARM_UP = 3


def record(call: Callable[[], object]) -> torch.cuda.CUDAGraph:
    """Return a graph whose every replay does on the GPU what `call` does; Python runs here, and not in replays.

    A replay reads and writes the memory that the last call read and wrote. Random numbers follow `torch.manual_seed`.
    `call` runs three times before it is recorded: the first use of a kernel cannot be.

    Raises:
        RuntimeError: if `call` makes the host wait for the device.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for i in range(_WARM_UP):
            last = i == _WARM_UP - 1
            # found out now: a recording that fails leaves torch's random numbers unusable
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Synchronization debug mode is a prototype")
                torch.cuda.set_sync_debug_mode("error" if last else "default")
            try:
                call()
            finally:
                torch.cuda.set_sync_debug_mode("default")
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph
