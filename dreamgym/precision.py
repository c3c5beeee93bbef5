"""Convolutions in bfloat16, everything else in float32: about half the time of training on pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_CONVOLUTIONS = {getattr(torch, name) for name in (f"conv{kind}{n}d" for kind in ("", "_transpose") for n in (1, 2, 3))}
_MODULES = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d


def has_bf16(device: torch.device) -> bool:
    """Return whether the device multiplies bfloat16 faster than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # not `torch.autocast`'s own test, which is also true where bfloat16 is emulated, and slow
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def has_convolutions(model: nn.Module) -> bool:
    """Return whether there is anything to speed up."""
    return any(isinstance(module, _MODULES) for module in model.modules())


class Bf16Convolutions(TorchFunctionMode):
    """Within it convolutions compute in bfloat16 and return float32.

    `torch.autocast` would turn linear layers and recurrent cells to bfloat16 too, whose errors a dream accumulates.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func not in _CONVOLUTIONS:
            return func(*args, **(kwargs or {}))
        args = tuple(_to_bf16(arg) for arg in args)
        return func(*args, **{name: _to_bf16(arg) for name, arg in (kwargs or {}).items()}).float()


def _to_bf16(x: Any) -> Any:
    if not isinstance(x, Tensor):
        return x
    return x.to(torch.bfloat16, memory_format=torch.channels_last if x.ndim == 4 else torch.preserve_format)
