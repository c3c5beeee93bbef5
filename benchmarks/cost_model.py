"""What a dreamed step costs, counted, and what should follow for a GPU: a model that a reader can check by hand.

    python benchmarks/cost_model.py
    python benchmarks/cost_model.py --tflops 60 --bandwidth 3300 --memory 80

Counts, for each shipped dream, the products, the bytes and the operators of a step and of a picture. A device that does
F operations and moves M bytes a second, and takes L seconds to launch an operator, then needs for a step of B lanes at
least the largest of

    B * flops / F          (weights + B * bytes) / M          operators * L

To check the model, it is fed with what this machine's one core does in a matrix product and a copy, and its prediction
is printed beside the step that was measured. About a minute.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import tyro
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from dreamgym.bench.speed import measure, plain_copy, sample_actions
from dreamgym.core.codec import encode_action
from dreamgym.core.tree import leaves
from dreamgym.hub import load
from dreamgym.registry import DREAMS


@dataclass(frozen=True, kw_only=True)
class Options:
    """Of the GPU in question; by default an H200's data sheet, in float32 without tensor cores."""

    tflops: float = 67.0
    bandwidth: float = 4800.0
    """GB/s."""
    memory: float = 141.0
    """GB."""
    launch_us: float = 4.0
    """Microseconds to launch an operator; a CUDA graph needs less."""
    lanes: int = 4096
    seconds: float = 0.5
    """To measure each step on this machine."""


@dataclass(frozen=True)
class Cost:
    """Of one lane, but for `weights` and `operators`, which do not depend on the number of lanes."""

    flops: float
    bytes: float
    """Read and written: twice what the operators return."""
    state: float
    """Bytes that a lane keeps from one step to the next."""
    weights: float
    """Bytes."""
    operators: int

    def seconds(self, lanes: int, flops: float, bandwidth: float, launch: float) -> float:
        """Return the least time of a step."""
        return max(lanes * self.flops / flops, (self.weights + lanes * self.bytes) / bandwidth, self.operators * launch)

    def fitting(self, memory: float) -> int:
        """Return how many lanes fit, if nothing that a step computes is freed before its end."""
        return int((memory - self.weights) / (2 * self.state + self.bytes / 2))


class Traffic(TorchDispatchMode):
    """Counts the operators and what they return."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes, self.operators = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {x.data_ptr() for x in leaves(args) if isinstance(x, torch.Tensor)}
        fresh = [x for x in leaves(result) if isinstance(x, torch.Tensor) and x.data_ptr() not in given]
        self.bytes += sum(x.numel() * x.element_size() for x in fresh)  # a view moves nothing
        self.operators += bool(fresh)
        return result


def count(call: Callable[[], object], model: Any, state: Any, lanes: int) -> Cost:
    """Return what a call costs that steps or draws all lanes."""
    with torch.enable_grad():  # else layers answer from packed weights, by products that nobody counts
        with FlopCounterMode(display=False) as flops:
            call()
        with Traffic() as traffic:
            call()
    kept = sum(x.numel() * x.element_size() for x in leaves(state))
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    return Cost(flops.get_total_flops() / lanes, 2 * traffic.bytes / lanes, kept / lanes, weights, traffic.operators)


def this_machine(lanes: int) -> tuple[float, float]:
    """Return operations and bytes a second of this core, in a product of `lanes` rows and in a copy."""
    a, b, big = torch.rand(lanes, 256), torch.rand(256, 256), torch.rand(2**24)
    out, copy = torch.empty(lanes, 256), torch.empty_like(big)
    product, copying = (
        min(_time(call) for _ in range(20)) for call in (lambda: torch.mm(a, b, out=out), lambda: copy.copy_(big))
    )
    return 2 * lanes * 256 * 256 / product, 2 * big.numel() * 4 / copying


def _time(call: Callable[[], object]) -> float:
    since = time.process_time()
    call()
    return time.process_time() - since


@torch.no_grad()
def main(options: Options) -> None:
    """Count, predict, measure and print."""
    torch.set_num_threads(1)
    lanes, gpu = options.lanes, (options.tflops * 1e12, options.bandwidth * 1e9, options.launch_us * 1e-6)
    here = this_machine(1024)
    print(f"this core: {here[0] / 1e9:.0f} GFLOP/s, {here[1] / 1e9:.1f} GB/s")
    print("| dream | | MFLOP | kB moved | B kept | weights MB | operators | lanes that fit | million/s at most, "
          f"{lanes} lanes | here, predicted | here, measured |")  # fmt: skip
    print("| --- | --- | " + "--- | " * 9)
    for id, entry in DREAMS.items():
        for variant in entry.variants:
            dream = load(id, variant)
            model = plain_copy(dream.model)
            state = dream.starts.sample(torch.rand(1024))
            action = encode_action(model.action_space, sample_actions(model, 1024))
            noise = torch.randn(1024, model.noise_dim)
            calls: dict[str, Callable[[], object]] = {
                "step": lambda m=model, s=state, a=action, n=noise: m.step(s, a, n),  # type: ignore[misc]
                "picture": lambda m=model, s=state: m.decode(s),  # type: ignore[misc]
            }
            for what, call in calls.items():
                cost = count(call, model, state, 1024)
                best = lanes / cost.seconds(lanes, *gpu) / 1e6
                predicted = 1024 / cost.seconds(1024, *here, 0.0)
                measured = 1024 / measure({what: call}, options.seconds)[what]
                print(
                    f"| {id} {variant} | {what} | {cost.flops / 1e6:.2f} | {cost.bytes / 1e3:.0f} | {cost.state:.0f} | "
                    f"{cost.weights / 1e6:.1f} | {cost.operators} | {cost.fitting(options.memory * 1e9):,} | "
                    f"{best:.1f} | {predicted:,.0f} | {measured:,.0f} |"
                )


if __name__ == "__main__":
    main(tyro.cli(Options))
