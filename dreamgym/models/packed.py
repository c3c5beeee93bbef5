"""Linear layers whose weights lie ready for the processor while a trained model dreams."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from operator import attrgetter
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from dreamgym.errors import InvalidArgument

T = TypeVar("T")

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}

_edits = attrgetter("_version")


class Derived(Generic[T]):
    """A value computed from weights, and again once one of them has changed; copies and pickles of it start empty.

    What torch counts as a change is seen: optimiser steps, `load_state_dict`, `to(device)`, edits in place. An edit
    through `weight.data` is not.

    Args:
        build: returns the value of the weights and the dtype that a call gives.
    """

    def __init__(self, build: Callable[..., T]) -> None:
        self._build = build
        self._key: Any = None
        self._value: Any = None

    def __call__(self, dtype: torch.dtype, *weights: Tensor) -> T:
        """Return `build(dtype, *weights)`."""
        # the addresses tell apart weights that replaced each other, which both may have been edited 0 times
        try:
            edits = list(map(_edits, weights))
        except RuntimeError:  # of some, made in inference mode, torch counts none
            edits = [0 if weight.is_inference() else weight._version for weight in weights]
        key = [dtype, list(map(Tensor.data_ptr, weights)), edits]
        if key != self._key:
            with torch.no_grad(), torch.autocast(weights[0].device.type, enabled=False):  # it outlives the context
                self._value, self._key = self._build(dtype, *(w.detach() for w in weights)), key
        return self._value

    def __reduce__(self) -> Any:
        return Derived, (self._build,)


class PackedLinear(nn.Linear):
    """A linear layer that keeps its weights repacked for oneDNN while no gradient is wanted.

    On some processors this runs at 2.4 times the speed of the float32 product of MKL that torch takes by default.
    """

    precision = "fp32"
    """Of the product: `set_precision` says what there is."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self._packed = Derived(pack)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B, out_features]` of `x [B, in_features]`."""
        dtype = PRECISIONS[self.precision]
        if plain_torch() or self.weight.dtype != torch.float32 or (len(x) < 4 and dtype == torch.float32):
            return super().forward(x)  # a few lanes gain nothing
        weight, bias = self._packed(dtype, self.weight, self.bias)
        return packed_linear(x.to(dtype), weight, bias).float()


def plain_torch() -> bool:
    """Return whether layers have to be what autograd and the compiler expect: no caches, no private calls."""
    return torch.is_grad_enabled() or torch.compiler.is_compiling()


def pack(dtype: torch.dtype, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Return what `packed_linear` needs of the weights of a linear layer."""
    weight, bias = weight.to(dtype), bias.to(dtype)
    if weight.device.type == "cpu" and can_pack():
        weight = torch.ops.mkldnn._reorder_linear_weight(weight, 256)  # 256 lanes: a hint, any number may follow
    return weight, bias


def packed_linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return `[B, out_features]` of `x [B, in_features]` and weights from `pack`."""
    if weight.is_mkldnn:
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return nn.functional.linear(x, weight, bias)


@cache
def can_pack() -> bool:
    """Return whether this torch has oneDNN's repacked products; the calls are not public, so they are tried."""
    try:
        weight = torch.ops.mkldnn._reorder_linear_weight(torch.eye(8), 256)
        x = torch.arange(32.0).view(4, 8)
        return torch.equal(torch.ops.mkldnn._linear_pointwise(x, weight, torch.ones(8), "none", [], ""), x + 1)
    except (AttributeError, NotImplementedError, RuntimeError):
        return False


def set_precision(module: nn.Module, precision: str) -> None:
    """Make the layers of `module` compute in `precision` while no gradient is wanted; weights and states stay float32.

    Args:
        module: a world model, or a part of one.
        precision: `"fp32"`, or `"bf16"`, which is faster on some processors and keeps 8 bits of every product.

    Raises:
        InvalidArgument: if it is neither.
    """
    if precision not in PRECISIONS:
        raise InvalidArgument(f"precision is {precision!r}; expected one of {', '.join(map(repr, PRECISIONS))}.")
    for layer in module.modules():
        if hasattr(layer, "precision"):
            layer.precision = precision  # type: ignore[assignment]
